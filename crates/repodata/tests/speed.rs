//! How fast a large repository is read, and in how much memory. Not part of the suite, for the figures depend on
//! the machine:
//!
//! `cargo test --release -p drivetrain-repodata --test speed -- --ignored --nocapture`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

use std::fmt::Write as _;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::Instant;

use drivetrain_repodata::{
    Limits, PathPattern, VerifyingReader, decompress, read_filelists, read_primary, who_owns,
};

const PACKAGES: usize = 60_000;

/// Packages of the shape and size of EL9's: 3.5 KiB, 12 provides, 25 requirements.
fn primary() -> Vec<u8> {
    let mut text = format!(
        "<?xml version=\"1.0\"?>\n<metadata xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{PACKAGES}\">\n"
    );
    for n in 0..PACKAGES {
        let name = match n % 600 {
            0 => "kernel-core".to_owned(),
            1 => "kernel-devel".to_owned(),
            _ => format!("package-{}", n * 7919 % 20_011),
        };
        let digest = format!("{:064x}", (n as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834));
        write!(text, "<package type=\"rpm\">\n  <name>{name}</name>\n  <arch>x86_64</arch>\n  <version epoch=\"0\" ver=\"{}.{}\" rel=\"{}.el9\"/>\n  <checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum>\n  <summary>Package number {n} of a synthetic repository</summary>\n  <description>{}</description>\n  <packager>Somebody &lt;somebody@example.com&gt;</packager>\n  <url>https://example.com/{n}</url>\n  <time file=\"1700000000\" build=\"16{n:08}\"/>\n  <size package=\"{n}\" installed=\"9\" archive=\"8\"/>\n  <location href=\"Packages/p/{name}-{n}.x86_64.rpm\"/>\n  <format>\n    <rpm:license>GPL</rpm:license>\n    <rpm:sourcerpm>s-{n}.src.rpm</rpm:sourcerpm>\n    <rpm:provides>\n", n % 13, n % 7, n / 600, "Some words that describe it. ".repeat(6)).unwrap();
        for k in 0..12 {
            writeln!(text, "      <rpm:entry name=\"lib{}.so.{k}()(64bit)\" flags=\"EQ\" epoch=\"0\" ver=\"{n}\" rel=\"{k}.el9\"/>", n * 31 % 977).unwrap();
        }
        text.push_str("    </rpm:provides>\n    <rpm:requires>\n");
        for k in 0..25 {
            writeln!(
                text,
                "      <rpm:entry name=\"lib{}.so.{}(GLIBC_2.{k})(64bit)\"/>",
                (n * 17 + k * 3) % 977,
                k % 9
            )
            .unwrap();
        }
        text.push_str("    </rpm:requires>\n  </format>\n</package>\n");
    }
    text.push_str("</metadata>\n");
    text.into_bytes()
}

fn filelists() -> Vec<u8> {
    let mut text = format!("<?xml version=\"1.0\"?>\n<filelists packages=\"{PACKAGES}\">\n");
    for n in 0..PACKAGES {
        writeln!(text, "<package pkgid=\"{n:064x}\" name=\"package-{n}\" arch=\"x86_64\">\n  <version epoch=\"0\" ver=\"1\" rel=\"{n}\"/>").unwrap();
        for k in 0..100 {
            writeln!(
                text,
                "  <file>/usr/share/package-{}/directory-{}/file-{k}.txt</file>",
                n % 5000,
                k % 10
            )
            .unwrap();
        }
        if n % 20_000 == 7 {
            text.push_str("  <file>/usr/src/kernels/5.14/Module.symvers</file>\n");
        }
        text.push_str("</package>\n");
    }
    text.push_str("</filelists>\n");
    text.into_bytes()
}

/// The most memory that the process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
#[ignore = "a measurement"]
fn reading_sixty_thousand_packages() {
    let limits = Limits::default();
    let open = primary();
    let open_bytes = open.len();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("plain"), &open).unwrap();
    std::fs::write(directory.path().join("gzip"), gzip(&open)).unwrap();
    std::fs::write(directory.path().join("zstd"), zstd::stream::encode_all(open.as_slice(), 10).unwrap())
        .unwrap();
    let digest = drivetrain_model::Sha256Digest::of(&open);
    drop(open);
    println!("primary: {PACKAGES} packages, {} MiB", open_bytes >> 20);
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    for kind in ["plain", "zstd", "gzip"] {
        for (what, all, verified) in
            [("some", false, false), ("some, open checksum", false, true), ("all", true, false)]
        {
            let file = std::fs::File::open(directory.path().join(kind)).unwrap();
            let start = Instant::now();
            let reader = decompress("primary", file, None, &limits).unwrap();
            let wanted = |name: &str, _: &str| all || matches!(name, "kernel-core" | "kernel-devel");
            let mut count = 0;
            let sink = |_| {
                count += 1;
                ControlFlow::Continue(())
            };
            let summary = if verified {
                let mut reader = VerifyingReader::new("primary", reader, digest.into(), None);
                let summary = read_primary(&mut reader, &limits, wanted, sink).unwrap();
                reader.finish().unwrap();
                summary
            } else {
                read_primary(reader, &limits, wanted, sink).unwrap()
            };
            assert_eq!((summary.packages, summary.taken), (PACKAGES as u64, count));
            println!("  {kind:5} {what:20}: {:?}, {count} packages", start.elapsed());
        }
    }
    println!("  memory: {} KiB more than before", peak() - before);

    let open = filelists();
    std::fs::write(directory.path().join("filelists"), zstd::stream::encode_all(open.as_slice(), 3).unwrap())
        .unwrap();
    println!("filelists: {} MiB, {} files", open.len() >> 20, PACKAGES * 100);
    drop(open);
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    let reader = || {
        decompress(
            "filelists",
            std::fs::File::open(directory.path().join("filelists")).unwrap(),
            None,
            &limits,
        )
        .unwrap()
    };
    let start = Instant::now();
    read_filelists(reader(), &limits, |name, _| name == "package-77", |_| ControlFlow::Continue(())).unwrap();
    println!("  zstd, one package: {:?}", start.elapsed());
    let start = Instant::now();
    let owners = who_owns(reader(), &limits, &[PathPattern::new("*/Module.symvers")]).unwrap();
    println!("  zstd, who owns */Module.symvers: {:?}, {} owners", start.elapsed(), owners.len());
    println!("  memory: {} KiB more than before", peak() - before);
}
