//! How fast a package like kernel-devel is unpacked. Not part of the suite, for the figures depend on the machine:
//!
//! `cargo test --release -p drivetrain-rpmfile --test speed -- --ignored --nocapture`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

mod support;

use std::ops::ControlFlow;
use std::time::Instant;

use drivetrain_rpmfile::{PayloadLimits, RpmFile, extract, for_each_file, verify_digests};
use rpm::{BuildConfig, CompressionWithLevel, FileOptions, PackageBuilder};
use support::write;

#[test]
#[ignore = "a measurement"]
fn unpacking_eighteen_thousand_files() {
    let mut builder = PackageBuilder::new("kernel-devel", "5.14.0", "GPL-2.0-only", "x86_64", "x");
    builder.using_config(
        BuildConfig::default().compression(CompressionWithLevel::Zstd(3)).source_date(1_700_000_000),
    );
    let root = "/usr/src/kernels/5.14.0-427.31.1.el9_4.x86_64";
    builder
        .with_file_contents(vec![b'0'; 1 << 20], FileOptions::new(format!("{root}/Module.symvers")))
        .unwrap();
    let line = b"#define SOMETHING_OR_OTHER(x) do { something(x); } while (0)\n";
    for n in 0..18_000_usize {
        let path = format!("{root}/include/directory-{}/sub-{}/header-{n}.h", n % 90, n % 7);
        let mut content = format!("/* {n} */\n").into_bytes();
        content.extend(line.repeat(n % 120));
        builder.with_file_contents(content, FileOptions::new(path)).unwrap();
    }
    let (directory, path) = write(&builder.build().unwrap());
    let size = std::fs::metadata(&path).unwrap().len();
    let time = |what: &str, work: &mut dyn FnMut() -> String| {
        let start = Instant::now();
        let result = work();
        println!("{what:30} {:?} {result}", start.elapsed());
    };
    println!("{} MiB", size >> 20);
    time("header", &mut || format!("{} files", RpmFile::open(&path).unwrap().files.len()));
    time("verify digests", &mut || format!("{:?}", verify_digests(&path).is_ok()));
    time("find Module.symvers", &mut || {
        let mut found = 0;
        for_each_file(&path, &PayloadLimits::default(), |entry, _| {
            let is_it = entry.file.path.ends_with("/Module.symvers");
            found += usize::from(is_it);
            Ok(if is_it { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .unwrap();
        format!("{found} found")
    });
    time("walk", &mut || {
        for_each_file(&path, &PayloadLimits::default(), |_, _| Ok(ControlFlow::Continue(()))).unwrap();
        String::new()
    });
    let to = directory.path().join("to");
    std::fs::create_dir(&to).unwrap();
    time("extract", &mut || {
        format!("{:?}", extract(&path, &to, &PayloadLimits::default(), |_| true).unwrap())
    });
    time("the rpm crate's PackageReader", &mut || {
        let mut reader = rpm::PackageReader::open(&path).unwrap();
        let mut count = 0;
        while reader.next_file().unwrap().is_some() {
            count += 1;
        }
        format!("{count} files")
    });
    let theirs = directory.path().join("theirs");
    time("rpm2cpio | cpio", &mut || {
        std::fs::create_dir(&theirs).unwrap();
        let script =
            format!("cd '{}' && rpm2cpio '{}' | cpio -idm --quiet", theirs.display(), path.display());
        support::run(std::process::Command::new("sh").args(["-c", &script]));
        support::run(std::process::Command::new("diff").arg("-r").arg(&theirs).arg(&to));
        "and diff -r: the same".to_owned()
    });
}
