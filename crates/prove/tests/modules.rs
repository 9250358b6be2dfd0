//! Where modules are read from, and what is refused.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;

use camino::Utf8PathBuf;
use drivetrain_prove::{Limits, read_modules};
use fs_err as fs;
use rpm::CompressionType;
use support::{EXTRA, Place, gzip, module, names, package, patch, read, sealed, zstd, zstd_package};

fn ko(name: &str) -> Vec<u8> {
    module(name).build()
}

fn at(name: &str) -> String {
    format!("{EXTRA}/{name}")
}

#[test]
fn a_directory_yields_the_modules_of_its_rpms_and_its_own() {
    let place = Place::new();
    let (one, two) = (at("one.ko"), at("deep/two.ko.zst"));
    let files: [(&str, &[u8]); 3] =
        [(&one, &ko("one")), (&two, &zstd(&ko("two"))), ("/usr/share/doc/x.txt", b"hello")];
    place.write("rpms/kmod-x.rpm", zstd_package(&files));
    place.write("rpms/tools.rpm", zstd_package(&[("/usr/bin/tool", b"#!/bin/sh\n")]));
    place.write("loose/three.ko.gz", gzip(&ko("three")));
    place.write("loose/README", "not a module");
    let read = read(&[place.path()]).unwrap();
    assert_eq!(
        names(&read.modules, &place),
        ["PLACE/loose/three.ko.gz".to_owned(), format!("kmod-x.rpm:{two}"), format!("kmod-x.rpm:{one}"),]
    );
    assert_eq!(
        read.modules.iter().map(|m| m.bytes.clone()).collect::<Vec<_>>(),
        [ko("three"), ko("two"), ko("one")]
    );
    assert_eq!(read.without, [place.path().join("rpms/tools.rpm")]);
}

#[test]
fn content_tells_what_a_file_is() {
    let place = Place::new();
    let (name, gz) = (at("one.ko.xz"), at("two.ko"));
    let rpm = package(&[(&name, &ko("one")), (&gz, &gzip(&ko("two")))], CompressionType::Gzip);
    let files = [
        place.write("rpm.ko", rpm),
        place.write("module.rpm", ko("three")),
        place.write("nameless", zstd(&ko("four"))),
    ];
    let modules = read(&files).unwrap().modules;
    let expected = ["three", "four", "one", "two"].map(ko);
    assert_eq!(modules.into_iter().map(|module| module.bytes).collect::<Vec<_>>(), expected);
}

#[test]
fn a_file_is_read_once_whatever_it_is_called() {
    let place = Place::new();
    let file = place.write("a/one.ko", ko("one"));
    fs::hard_link(&file, place.path().join("a/two.ko")).unwrap();
    std::os::unix::fs::symlink(&file, place.path().join("a/three.ko")).unwrap();
    std::os::unix::fs::symlink(place.path(), place.path().join("a/circle")).unwrap();
    let read = read(&[file.clone(), place.path(), file]).unwrap();
    assert_eq!(read.modules.len(), 1);
}

#[test]
fn packages_of_one_name_are_told_apart() {
    let place = Place::new();
    let path = at("one.ko");
    for directory in ["a", "b"] {
        let content = zstd_package(&[(&path, &module("one").info("version", directory).build())]);
        place.write(&format!("{directory}/kmod-x.rpm"), content);
    }
    let modules = read(&[place.path()]).unwrap().modules;
    let expected = ["a", "b"].map(|directory| format!("PLACE/{directory}/kmod-x.rpm:{path}"));
    assert_eq!(names(&modules, &place), expected);
}

#[test]
fn names_in_a_package_lead_nowhere_and_do_nothing() {
    let place = Place::new();
    let bytes = package(&[("/lib/modules/aa/bb/cc/evil.ko", &ko("evil"))], CompressionType::None);
    let bytes = patch(bytes, b"/lib/modules/aa/bb/cc/", b"/lib/modules/../../../");
    place.write("a.rpm", sealed(bytes.clone()));
    place.write("b.rpm", sealed(patch(bytes, b"/lib/modules/../../../", b"/lib/modules/\x1b[31m\n/x/")));
    let before = fs::read_dir(place.path()).unwrap().count();
    let modules = read(&[place.path()]).unwrap().modules;
    assert_eq!(
        names(&modules, &place),
        [r"a.rpm:/lib/modules/../../../evil.ko", r"b.rpm:/lib/modules/\u{1b}[31m\n/x/evil.ko"]
    );
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), before);
}

#[test]
fn what_cannot_be_read_is_named() {
    let place = Place::new();
    let path = at("one.ko");
    let rpm = zstd_package(&[(&path, &ko("one"))]);
    let cut = &rpm[..rpm.len() - 40];
    let tail = package(&[(&path, &ko("one")), (&at("two.ko"), &ko("two"))], CompressionType::None);
    let name = format!(".{}\0", at("two.ko"));
    let trailer = format!("TRAILER!!!{}", "\0".repeat(name.len() - 10));
    let incomplete = patch(tail, name.as_bytes(), trailer.as_bytes());
    fs::create_dir(place.path().join("nothing")).unwrap();
    let pipe = place.path().join("pipe.ko");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let damaged = gzip(&ko("one"));
    let mut text = String::new();
    for file in [
        place.write("empty.ko", ""),
        place.write("text.ko", "hello\n"),
        place.write("text.ko.gz", gzip(b"hello\n")),
        place.write("damaged.ko.gz", &damaged[..damaged.len() - 9]),
        place.write("cut.rpm", cut),
        place.write("head.rpm", &rpm[..50]),
        place.write("damaged.rpm", &incomplete),
        place.write("incomplete.rpm", sealed(incomplete)),
        // What says that it is built takes the place of what says from which source.
        place.write("x.src.rpm", patch(rpm.clone(), &[0, 0, 4, 0x14], &[0, 0, 4, 0x52])),
        place.path().join("nothing"),
        place.path().join("missing.ko"),
        pipe,
    ] {
        text.extend([place.error(&[file]), "\n".to_owned()]);
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_module_in_a_compression_that_no_kernel_knows_is_refused_by_its_name() {
    let place = Place::new();
    let bzip2 = b"BZh91AY&SY and so on";
    let packed = at("two.ko.bz2");
    for (file, shown) in [
        (place.write("one.ko.bz2", bzip2), "PLACE/one.ko.bz2"),
        (place.write("one.ko", bzip2), "PLACE/one.ko"),
        (place.write("kmod-x.rpm", zstd_package(&[(&packed, bzip2)])), "kmod-x.rpm:EXTRA/two.ko.bz2"),
    ] {
        let error = read(&[file]).unwrap_err().to_string();
        let error = error.replace(place.path().as_str(), "PLACE").replace(EXTRA, "EXTRA");
        let expected = format!(
            "{shown}: is compressed with bzip2, which no kernel and no modprobe unpacks. Modules are supported \
             uncompressed (.ko), and compressed with gzip (.ko.gz), xz (.ko.xz) or zstd (.ko.zst)"
        );
        assert_eq!(error, expected);
    }
    // Beside one that can be judged, it is not left out in silence.
    place.write("set/one.ko", ko("one"));
    place.write("set/two.ko.bz2", bzip2);
    assert!(read(&[place.path().join("set")]).unwrap_err().to_string().contains("set/two.ko.bz2"));
}

#[test]
fn of_several_files_that_cannot_be_read_each_is_named() {
    let place = Place::new();
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let path = at("two.ko.zst");
    let mut files = vec![
        place.write("gz.ko.gz", half(gzip(&ko("gz")))),
        place.write("kmod-x.rpm", zstd_package(&[(&path, &half(zstd(&ko("two"))))])),
        place.write("cut.rpm", &zstd_package(&[(&path, &ko("two"))])[..50]),
        place.write("text.ko", "hello\n"),
        place.write("whole.ko", ko("whole")),
        place.write("zst.ko.zst", half(zstd(&ko("zst")))),
    ];
    let whole = place.write("xz.ko", ko("xz"));
    assert!(Command::new("xz").args(["-k", whole.as_str()]).status().unwrap().success());
    files.push(place.write("cut.ko.xz", half(fs::read(format!("{whole}.xz")).unwrap())));
    let told = place.error(&files).replace(": PLACE", "\nPLACE").replace("; ", "\n").replace(EXTRA, "EXTRA");
    insta::assert_snapshot!(told, @r"
    6 files cannot be judged
    PLACE/cut.rpm: is truncated: it ends within the lead
    PLACE/text.ko: is neither an RPM nor a kernel module: it begins like neither
    PLACE/cut.ko.xz: cannot be unpacked: damaged xz data: premature eof
    PLACE/gz.ko.gz: cannot be unpacked: damaged gzip data: incomplete deflate stream
    kmod-x.rpm:EXTRA/two.ko.zst: cannot be unpacked: damaged zstd data: incomplete frame
    PLACE/zst.ko.zst: cannot be unpacked: damaged zstd data: incomplete frame
    ");
}

#[test]
fn nothing_to_judge_is_an_error_that_says_where_it_looked() {
    let place = Place::new();
    place.write("tools.rpm", zstd_package(&[("/usr/bin/tool", b"#!/bin/sh\n")]));
    let many: Vec<Utf8PathBuf> = (0..7).map(|n| place.path().join(format!("{n}"))).collect();
    many.iter().for_each(|path| fs::create_dir(path).unwrap());
    insta::assert_snapshot!(place.error(&[place.path().join("tools.rpm")]), @"nothing to judge: not one kernel module in PLACE/tools.rpm");
    insta::assert_snapshot!(place.error(&many), @"nothing to judge: not one kernel module in PLACE/0, PLACE/1, PLACE/2, PLACE/3, PLACE/4 and 2 more");
}

#[test]
fn a_source_rpm_in_a_directory_is_passed_over() {
    let place = Place::new();
    let rpm = zstd_package(&[(&at("one.ko"), &ko("one"))]);
    let source = place.write("x.src.rpm", patch(rpm.clone(), &[0, 0, 4, 0x14], &[0, 0, 4, 0x52]));
    place.write("x.rpm", rpm);
    let read = read(&[place.path()]).unwrap();
    assert_eq!((read.modules.len(), read.without), (1, vec![source]));
}

#[test]
fn limits_hold() {
    let place = Place::new();
    let bomb = zstd(&vec![0; 40 << 20]);
    assert!(bomb.len() < 10_000);
    let bomb = [
        place.write("bomb.ko", &bomb),
        place.write("bomb.rpm", zstd_package(&[(&at("bomb.ko.zst"), &bomb)])),
        place.write("large.rpm", zstd_package(&[(&at("large.ko"), &vec![0; 40 << 20])])),
    ];
    let one = place.write("one.ko", ko("one"));
    let two = place.write("two.ko.gz", gzip(&ko("two")));
    let size = ko("one").len() as u64;
    let limits = Limits { module_bytes: 1 << 20, total_bytes: 4 << 20, count: 10 };
    let error =
        |files: &[Utf8PathBuf], limits: Limits| place.text(&read_modules(files, &limits).unwrap_err());
    let mut texts: Vec<String> = bomb.iter().map(|file| error(std::slice::from_ref(file), limits)).collect();
    let both = [one, two];
    texts.push(error(&both, Limits { total_bytes: size + 10, ..limits }));
    texts.push(error(&both, Limits { total_bytes: size * 2 - 1, ..limits }));
    texts.push(error(&both, Limits { count: 1, ..limits }));
    let two_in_one = zstd_package(&[(&at("one.ko"), &ko("one")), (&at("two.ko"), &ko("two"))]);
    texts.push(error(&[place.write("two.rpm", two_in_one)], Limits { count: 1, ..limits }));
    insta::assert_snapshot!(texts.join("\n"));
    // What is unpacked counts, and not what it was unpacked from.
    assert!(read_modules(&both, &Limits { total_bytes: size * 2, ..limits }).is_ok());
}
