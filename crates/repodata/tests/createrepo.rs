//! Judged by the tools of the trade: `createrepo_c` and `dnf` over real RPMs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use drivetrain_model::{Package, Sha256Digest};
use drivetrain_repodata::write::{
    PackageFile, WriteCompression, WriteError, WriteOptions, Written, write_repository,
};
use drivetrain_repodata::{
    Limits, PackageFiles, RecordKind, VerifyingReader, open_record, parse_repomd, read_filelists,
    read_primary,
};
use rpm::{BuildConfig, Dependency, FileOptions, PackageBuilder};

/// Makes some RPMs of different kinds, and returns them sorted by name.
fn build_rpms(directory: &Path) -> Vec<PackageFile> {
    let config = || BuildConfig::default().compression(rpm::CompressionType::Gzip).source_date(1_700_000_000);
    let mut packages = Vec::new();
    for (name, version) in [("kmod-iser", "25.10"), ("kmod-iser", "25.7"), ("libfoo++", "1.0~rc1^git2")] {
        let mut builder =
            PackageBuilder::new(name, version, "GPL-2.0-only", "x86_64", "A driver <for> tests");
        let builder = builder
            .using_config(config())
            .epoch(if name == "kmod-iser" { 0 } else { 2 })
            .release("1.el9")
            .description("Text with \"quotes\" & <brackets>")
            .url("https://example.com/?a=1&b=2")
            .requires(Dependency::eq("kernel-uname-r", "6.1.0-56-cloud-amd64"))
            .requires(Dependency::greater_eq("glibc", "2.34"))
            .requires(Dependency::any("(foo if bar)"))
            .requires(Dependency::script_post("/usr/sbin/depmod"))
            .provides(Dependency::eq("kmod(ib_iser.ko)", "5:1.0-2"))
            .provides(Dependency::any("bare"))
            .conflicts(Dependency::less("old", "1:3"))
            .obsoletes(Dependency::less_eq("older", "4-1"))
            .with_file_contents(b"module".to_vec(), FileOptions::new("/lib/modules/x/extra/ib_iser.ko"))
            .unwrap()
            .with_file_contents(b"conf".to_vec(), FileOptions::new("/etc/depmod.d/a+b.conf"))
            .unwrap()
            .with_dir_entry(FileOptions::dir("/lib/modules/x/extra"))
            .unwrap()
            .with_ghost(FileOptions::ghost("/var/lib/x"))
            .unwrap();
        let file = format!("{}-{version}-1.el9.x86_64.rpm", name.replace('&', "_"));
        let path = directory.join(&file);
        builder.build().unwrap().write_file(&path).unwrap();
        packages.push(PackageFile { path, location: file });
    }
    packages
}

fn run(command: &mut Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.output().unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// All of a repository, held to its checksums.
fn read_repository(directory: &Path) -> (Vec<Package>, Vec<PackageFiles>) {
    let limits = Limits::default();
    let repomd = parse_repomd(&fs::read(directory.join("repodata/repomd.xml")).unwrap(), &limits).unwrap();
    let open = |kind| {
        let record = repomd.record(&kind).unwrap();
        let file = fs::File::open(directory.join(&record.location)).unwrap();
        VerifyingReader::new(kind.name(), file, record.checksum.clone(), record.size).finish().unwrap();
        open_record(record, fs::File::open(directory.join(&record.location)).unwrap(), &limits).unwrap()
    };
    let mut packages = Vec::new();
    let mut primary = open(RecordKind::Primary);
    read_primary(
        &mut primary,
        &limits,
        |_, _| true,
        |package| {
            packages.push(package);
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    primary.finish().unwrap();
    let mut files = Vec::new();
    let mut filelists = open(RecordKind::Filelists);
    read_filelists(
        &mut filelists,
        &limits,
        |_, _| true,
        |package| {
            files.push(package);
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    filelists.finish().unwrap();
    let mut other = open(RecordKind::Other);
    other.read_to_end(&mut Vec::new()).unwrap();
    other.finish().unwrap();
    packages.sort_by_key(|package| package.nevra.clone());
    files.sort_by_key(|package| package.nevra.clone());
    (packages, files)
}

fn options() -> WriteOptions {
    WriteOptions { revision: "run-7".into(), timestamp: 1_700_000_000, compression: WriteCompression::Gzip }
}

/// What we write of a package, and what `createrepo_c` writes of it, read alike.
#[test]
fn our_metadata_says_what_createrepo_says() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let packages = build_rpms(ours.path());
    build_rpms(theirs.path());
    write_repository(ours.path(), &packages, &options()).unwrap();
    run(Command::new("createrepo_c").args(["--quiet", "--no-database"]).arg(theirs.path()));

    let (our_packages, our_files) = read_repository(ours.path());
    let (their_packages, their_files) = read_repository(theirs.path());
    assert_eq!(our_packages.len(), 3);
    let by_name = |packages: Vec<Package>| {
        packages.into_iter().map(|p| (p.nevra.to_string(), sorted(p))).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(by_name(our_packages), by_name(their_packages));
    let files = |packages: Vec<PackageFiles>| -> Vec<_> {
        packages
            .into_iter()
            .map(|mut package| {
                package.files.sort_by(|a, b| a.path.cmp(&b.path));
                (package.pkgid, package.nevra.to_string(), package.files)
            })
            .collect()
    };
    assert_eq!(files(our_files), files(their_files));
}

/// The order of dependencies means nothing.
fn sorted(mut package: Package) -> Package {
    for list in [&mut package.provides, &mut package.requires, &mut package.conflicts, &mut package.obsoletes]
    {
        list.sort_by_key(ToString::to_string);
    }
    package
}

/// `dnf` accepts the repository, in both compressions, and sees the packages.
#[test]
fn dnf_reads_what_was_written() {
    for compression in [WriteCompression::Gzip, WriteCompression::Zstd] {
        let directory = tempfile::tempdir().unwrap();
        let packages = build_rpms(directory.path());
        write_repository(directory.path(), &packages, &WriteOptions { compression, ..options() }).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let dnf = |arguments: &[&str]| {
            run(Command::new("dnf")
                .arg(format!("--repofrompath=written,file://{}", directory.path().display()))
                .arg(format!("--setopt=cachedir={}", cache.path().display()))
                .arg(format!("--installroot={}", cache.path().join("root").display()))
                .args([
                    "--repo=written",
                    "--releasever=9",
                    "--forcearch=x86_64",
                    "--quiet",
                    "--nogpgcheck",
                    "--setopt=gpgcheck=0",
                    "repoquery",
                ])
                .args(arguments))
        };
        let listed = dnf(&["--all"]);
        let mut listed: Vec<_> = listed.lines().filter(|line| line.contains("el9")).collect();
        listed.sort_unstable();
        assert_eq!(
            listed,
            [
                "kmod-iser-0:25.10-1.el9.x86_64",
                "kmod-iser-0:25.7-1.el9.x86_64",
                "libfoo++-2:1.0~rc1^git2-1.el9.x86_64"
            ],
            "{compression:?}"
        );
        assert!(
            dnf(&["--latest-limit=1", "--whatprovides", "/lib/modules/x/extra/ib_iser.ko"])
                .contains("kmod-iser-0:25.10")
        );
        assert!(dnf(&["--requires", "kmod-iser-25.10"]).contains("kernel-uname-r = 6.1.0-56-cloud-amd64"));
    }
}

#[test]
fn the_same_packages_give_the_same_bytes_in_any_order() {
    let write = |reverse: bool| -> (Written, Vec<Vec<u8>>) {
        let directory = tempfile::tempdir().unwrap();
        let mut packages = build_rpms(directory.path());
        if reverse {
            packages.reverse();
        }
        packages.push(packages[0].clone());
        let written = write_repository(directory.path(), &packages, &options()).unwrap();
        let bytes = written.files.iter().map(|file| fs::read(directory.path().join(file)).unwrap()).collect();
        (written, bytes)
    };
    let (first, second) = (write(false), write(true));
    assert_eq!(first, second);
    let names: Vec<_> = first.0.packages.iter().map(|package| package.nevra.to_string()).collect();
    assert_eq!(
        names,
        [
            "kmod-iser-25.7-1.el9.x86_64",
            "kmod-iser-25.10-1.el9.x86_64",
            "libfoo++-2:1.0~rc1^git2-1.el9.x86_64"
        ]
    );
    assert_eq!(first.0.repomd, Sha256Digest::of(first.1.last().unwrap()));
    let repomd = String::from_utf8(first.1.last().unwrap().clone()).unwrap();
    assert!(
        repomd.contains("<revision>run-7</revision>") && repomd.contains("<timestamp>1700000000</timestamp>")
    );
}

#[test]
fn one_name_for_two_files_is_refused_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut packages = build_rpms(directory.path());
    // Another build of the same version.
    let other = directory.path().join("other.rpm");
    PackageBuilder::new("kmod-iser", "25.10", "GPL-2.0-only", "x86_64", "Another build")
        .release("1.el9")
        .build()
        .unwrap()
        .write_file(&other)
        .unwrap();
    packages.push(PackageFile { path: other, location: "other.rpm".into() });
    let error = write_repository(directory.path(), &packages, &options()).unwrap_err();
    assert!(matches!(error, WriteError::Conflict(_)), "{error}");
    assert!(
        error.to_string().starts_with(
            "conflicting NEVRA: kmod-iser-25.10-1.el9.x86_64 is both kmod-iser-25.10-1.el9.x86_64.rpm"
        ),
        "{error}"
    );
    packages.pop();
    packages[0].location = "../outside.rpm".into();
    assert!(matches!(
        write_repository(directory.path(), &packages, &options()),
        Err(WriteError::Location { .. })
    ));
    assert!(!directory.path().join("repodata").exists());
}
