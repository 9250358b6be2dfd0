//! Headers as facts, payloads as streams, and unpacking that stays where it belongs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

mod support;

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use drivetrain_model::Capability;
use drivetrain_rpmfile::{Entry, FileKind, PayloadLimits, Problem, RpmFile, extract, for_each_file};
use rpm::{BuildConfig, CompressionType, FileOptions, PackageBuilder};
use support::{run, small, try_run, write};

const COMPRESSIONS: [CompressionType; 4] =
    [CompressionType::None, CompressionType::Gzip, CompressionType::Xz, CompressionType::Zstd];

#[test]
fn a_header_says_what_rpm_says() {
    let (_directory, path) = write(&small(CompressionType::Zstd));
    let file = RpmFile::open(&path).unwrap();
    let query = |format: &str| run(Command::new("rpm").args(["-qp", "--qf", format]).arg(&path));
    assert_eq!(file.nevra.to_string(), query("%{NAME}-%{EPOCH}:%{VERSION}-%{RELEASE}.%{ARCH}"));
    assert!(!file.is_source);
    assert_eq!(file.build_time.to_string(), query("%{BUILDTIME}"));
    let texts = |list: &[Capability]| list.iter().map(Capability::to_string).collect::<Vec<_>>();
    let rpm = |option: &str| -> Vec<String> {
        run(Command::new("rpm").args(["-qp", option]).arg(&path)).lines().map(str::to_owned).collect()
    };
    assert_eq!(texts(&file.provides), rpm("--provides"));
    assert_eq!(
        texts(&file.requires),
        rpm("--requires").into_iter().filter(|text| !text.starts_with("rpmlib(")).collect::<Vec<_>>()
    );
    assert_eq!(texts(&file.conflicts), rpm("--conflicts"));
    assert_eq!(texts(&file.obsoletes), rpm("--obsoletes"));
    let paths: Vec<_> = file.files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(paths, rpm("-l"));
    let sizes: String = file.files.iter().map(|file| format!("{} {:o}\n", file.size, file.mode)).collect();
    let theirs = query("[%{FILESIZES} %{FILEMODES:octal}\\n]");
    let theirs: String = theirs
        .lines()
        .map(|line| {
            let (size, mode) = line.split_once(' ').unwrap();
            format!("{size} {:o}\n", u32::from_str_radix(mode, 8).unwrap() & 0o7777)
        })
        .collect();
    assert_eq!(sizes, theirs);
    assert_eq!(file.uname_r().unwrap().as_str(), "6.1.0-56-cloud-amd64");
    let again = RpmFile::from_reader(fs::File::open(&path).unwrap(), "a stream").unwrap();
    assert_eq!(again, file);
}

#[test]
fn every_file_comes_with_its_content_in_every_compression() {
    for compression in COMPRESSIONS {
        let (_directory, path) = write(&small(compression));
        let mut found = Vec::new();
        for_each_file(&path, &PayloadLimits::default(), |entry, content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            found.push((entry.file.path.clone(), entry.file.kind, bytes.len() as u64, entry.content_size));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        let get = |path: &str| found.iter().find(|file| file.0 == path).unwrap();
        assert_eq!(get("/lib/modules/x/extra/ib_iser.ko").2, 5000, "{compression:?}");
        assert_eq!(get("/usr/share/x").1, FileKind::Directory);
        assert_eq!(get("/usr/share/x/inside").2, 4);
        assert!(found.iter().all(|file| file.2 == file.3));
        // A ghost is in the header and not in the payload.
        assert!(!found.iter().any(|file| file.0 == "/var/lib/ghost"));
    }
}

/// What stands early is found without the rest: the archive behind it may be damaged.
#[test]
fn reading_stops_where_the_visitor_stops() {
    let (_directory, path) = write(&small(CompressionType::None));
    let mut seen = 0;
    for_each_file(&path, &PayloadLimits::default(), |_, _| {
        seen += 1;
        Ok(ControlFlow::Break(()))
    })
    .unwrap();
    assert_eq!(seen, 1);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 200]).unwrap();
    for_each_file(&path, &PayloadLimits::default(), |_, _| Ok(ControlFlow::Break(()))).unwrap();
    let error =
        for_each_file(&path, &PayloadLimits::default(), |_, _| Ok(ControlFlow::Continue(()))).unwrap_err();
    assert!(matches!(*error.problem, Problem::Truncated("payload")), "{error}");
}

#[test]
fn a_visitor_that_fails_is_named_with_the_file() {
    let (_directory, path) = write(&small(CompressionType::Gzip));
    let error =
        for_each_file(&path, &PayloadLimits::default(), |_, _| Err(std::io::Error::other("disk full")))
            .unwrap_err();
    assert!(
        matches!(&*error.problem, Problem::Visitor { source, .. } if source.to_string() == "disk full"),
        "{error}"
    );
}

#[test]
fn every_limit_is_enforced_and_named() {
    let (_directory, path) = write(&small(CompressionType::Zstd));
    for (limits, setting) in [
        (PayloadLimits { max_files: 3, ..PayloadLimits::default() }, "max_files"),
        (PayloadLimits { max_file: 4999, ..PayloadLimits::default() }, "max_file"),
        (PayloadLimits { max_total: 5004, ..PayloadLimits::default() }, "max_total"),
    ] {
        let error = for_each_file(&path, &limits, |_, _| Ok(ControlFlow::Continue(()))).unwrap_err();
        assert!(error.to_string().ends_with(&format!("({setting})")), "{setting}: {error}");
    }
}

fn unpack(
    package: &Path,
) -> (tempfile::TempDir, Result<drivetrain_rpmfile::Extracted, drivetrain_rpmfile::Error>) {
    let outer = tempfile::tempdir().unwrap();
    fs::create_dir(outer.path().join("in")).unwrap();
    let result = extract(package, &outer.path().join("in"), &PayloadLimits::default(), |_| true);
    (outer, result)
}

#[test]
fn unpacking_keeps_content_times_and_harmless_modes() {
    let (_directory, path) = write(&small(CompressionType::Zstd));
    let (outer, result) = unpack(&path);
    let done = result.unwrap();
    let root = outer.path().join("in");
    assert_eq!(fs::read(root.join("lib/modules/x/extra/ib_iser.ko")).unwrap(), vec![7; 5000]);
    let tool = fs::metadata(root.join("usr/bin/tool")).unwrap();
    // It was 04777.
    assert_eq!(tool.permissions().mode() & 0o7777, 0o755);
    assert_eq!(tool.mtime(), 1_700_000_000);
    assert_eq!(fs::metadata(root.join("usr/share/x")).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(fs::read_link(root.join("usr/share/x/absolute")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(done.outside_links, ["/usr/share/x/absolute", "/usr/share/x/outside"]);
    assert_eq!((done.entries, done.bytes), (6, 5010));
    assert!(!root.join("var").exists());
    // Once more over what is there.
    extract(&path, &root, &PayloadLimits::default(), |_| true).unwrap();
    // And a part of it.
    let part = tempfile::tempdir().unwrap();
    let only = |entry: &Entry<'_>| entry.file.path.ends_with(".ko");
    assert_eq!(extract(&path, part.path(), &PayloadLimits::default(), only).unwrap().entries, 1);
    assert!(!part.path().join("usr").exists());
}

/// Writes a package with two files, without compression, and replaces texts of equal length in it: what no
/// builder would write.
fn forged(
    files: &[(&str, Option<&str>)],
    replace: &[(&str, &str)],
) -> (tempfile::TempDir, std::path::PathBuf) {
    let mut builder = PackageBuilder::new("forged", "1", "MIT", "noarch", "x");
    builder.using_config(BuildConfig::default().compression(CompressionType::None).source_date(1));
    for (path, target) in files {
        match target {
            None => builder.with_file_contents(b"data".to_vec(), FileOptions::new(*path)).unwrap(),
            Some(target) => builder.with_symlink(FileOptions::symlink(*path, *target)).unwrap(),
        };
    }
    let (directory, path) = write(&builder.build().unwrap());
    let mut bytes = fs::read(&path).unwrap();
    for (from, to) in replace {
        assert_eq!(from.len(), to.len());
        let places: Vec<_> =
            (0..bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from.as_bytes())).collect();
        assert!(!places.is_empty(), "{from}");
        for at in places {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    fs::write(&path, bytes).unwrap();
    (directory, path)
}

#[test]
fn a_path_that_climbs_is_refused() {
    let (_directory, path) = forged(&[("/ab/evil", None)], &[("/ab/", "/../")]);
    let (outer, result) = unpack(&path);
    let error = result.unwrap_err();
    assert!(
        matches!(&*error.problem, Problem::Path { problem, .. } if problem.contains("leads out")),
        "{error}"
    );
    assert!(!outer.path().join("evil").exists());
}

/// The archive plants a link and writes through it.
#[test]
fn a_planted_link_is_not_written_through() {
    for target in ["..", "/tmp", "somewhere"] {
        let (_directory, path) = forged(&[("/d", Some(target)), ("/e/evil", None)], &[("/e/", "/d/")]);
        let (outer, result) = unpack(&path);
        let error = result.unwrap_err();
        assert!(
            matches!(&*error.problem, Problem::Path { problem, .. } if problem.contains("symbolic link")),
            "{error}"
        );
        assert!(!outer.path().join("evil").exists() && !Path::new("/tmp/evil").exists());
    }
}

/// Somebody else's link stands where a file or a directory is to be written.
#[test]
fn links_that_are_there_are_not_followed() {
    let (_directory, path) = forged(&[("/file", None), ("/sub/file", None)], &[]);
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("in");
    fs::create_dir(&root).unwrap();
    fs::write(outer.path().join("victim"), "untouched").unwrap();
    std::os::unix::fs::symlink("../victim", root.join("file")).unwrap();
    extract(&path, &root, &PayloadLimits::default(), |_| true).unwrap();
    assert_eq!(fs::read_to_string(outer.path().join("victim")).unwrap(), "untouched");
    assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "data");
    fs::remove_dir_all(root.join("sub")).unwrap();
    std::os::unix::fs::symlink(outer.path(), root.join("sub")).unwrap();
    assert!(extract(&path, &root, &PayloadLimits::default(), |_| true).is_err());
    assert!(!outer.path().join("file").exists());
}

/// The archive has a file that the signed header does not list, or lists with another size.
#[test]
fn an_archive_that_is_not_the_headers_is_refused() {
    let (_directory, path) = forged(&[("/usr/share/one", None)], &[("./usr/share/one", "./usr/share/two")]);
    let error = unpack(&path).1.unwrap_err();
    assert!(error.to_string().contains("a file that the header does not list"), "{error}");
    let (_directory, path) = forged(
        &[("/usr/share/one", None)],
        &[("00000004000000000000000000000000", "00000003000000000000000000000000")],
    );
    let error = unpack(&path).1.unwrap_err();
    assert!(error.to_string().contains("and the header says 4"), "{error}");
}

/// Made by rpmbuild, which writes the content with the last of the names.
#[test]
fn hard_links_are_linked_as_rpm_links_them() {
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("links.spec");
    fs::write(&spec, "Name: links\nVersion: 1\nRelease: 1\nSummary: x\nLicense: MIT\nBuildArch: noarch\n%description\nx\n%install\nmkdir -p %{buildroot}/a %{buildroot}/b\necho content >%{buildroot}/a/one\nln %{buildroot}/a/one %{buildroot}/a/two\nln %{buildroot}/a/one %{buildroot}/b/three\n: >%{buildroot}/a/empty\nln %{buildroot}/a/empty %{buildroot}/b/empty\n%files\n/a\n/b\n").unwrap();
    run(Command::new("rpmbuild")
        .args(["-bb", "--quiet", "--define"])
        .arg(format!("_topdir {}", directory.path().display()))
        .arg(&spec));
    let path = directory.path().join("RPMS/noarch/links-1-1.noarch.rpm");
    let (outer, result) = unpack(&path);
    assert_eq!(result.unwrap().bytes, 8);
    let inode = |name: &str| fs::metadata(outer.path().join("in").join(name)).unwrap().ino();
    assert_eq!(fs::read_to_string(outer.path().join("in/b/three")).unwrap(), "content\n");
    assert!(inode("a/one") == inode("a/two") && inode("a/two") == inode("b/three"));
    assert_eq!(inode("a/empty"), inode("b/empty"));
    // The same tree as rpm2cpio and cpio make of it.
    let theirs = tempfile::tempdir().unwrap();
    let script =
        format!("cd '{}' && rpm2cpio '{}' | cpio -idm --quiet", theirs.path().display(), path.display());
    run(Command::new("sh").args(["-c", &script]));
    assert!(
        try_run(Command::new("diff").arg("-r").arg(theirs.path()).arg(outer.path().join("in")))
            .status
            .success()
    );
}
