//! Source RPMs, spec files and the vendor's source archive.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

mod support;

use std::fs;
use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use drivetrain_rpmfile::{
    DriverSources, Problem, RpmFile, SourceEntry, SourceLimits, SourceRpm, spec_build_requires, spec_packages,
};
use support::{run, small, write};

/// In the vendor's conventions: what is built depends on `--with building_kmods`, names on macros.
const SPEC: &str = r#"%bcond_with building_kmods
%{!?KVERSION: %global KVERSION %(uname -r)}
%{!?KMP: %global KMP 0}
%{!?_name: %global _name iser}
%{!?_version: %define _version 25.10}

%if "%{KMP}" == "1"
%global kmod_name kmod-%{_name}
%else
%global kmod_name %{_name}-modules
%endif

Name: %{_name}
Version: %{_version}
Release: 1%{?_dist}
Summary: A driver
License: GPL-2.0-only
Source: %{_name}-%{_version}.tgz
Source1: extra.conf
Patch0: fix.patch
BuildRequires: gcc, make >= 4.0 (python3 or python2)
%if %{with building_kmods}
BuildRequires: mlnx-ofa_kernel-devel
BuildRequires: kernel-devel-uname-r = %{KVERSION}
%endif

%description
A driver.

%package dkms
Summary: x
%description dkms
x
%package -n lib%{name}%{?nothing}
Summary: x
%description -n lib%{name}
x
%package -n %{_name}-%{KVERSION}
Summary: its name needs a shell
%description -n %{_name}-%{KVERSION}
x
%if 0
%package never
Summary: x
%endif
%if %{with building_kmods}
%package -n %{kmod_name}
Summary: x
%description -n %{kmod_name}
x
%endif

%files dkms
%if %{with building_kmods}
%files -n %{kmod_name}
%endif

%changelog
* Mon Jan 05 2026 Lab <lab@example.com> - 1
- %package never-mentioned
"#;

fn source_rpm(directory: &Path) -> PathBuf {
    for (file, content) in
        [("iser-25.10.tgz", vec![1; 200_000]), ("extra.conf", vec![2; 10]), ("fix.patch", vec![3; 10])]
    {
        fs::create_dir_all(directory.join("SOURCES")).unwrap();
        fs::write(directory.join("SOURCES").join(file), content).unwrap();
    }
    fs::write(directory.join("iser.spec"), SPEC).unwrap();
    run(Command::new("rpmbuild")
        .args(["-bs", "--quiet", "--define"])
        .arg(format!("_topdir {}", directory.display()))
        .arg(directory.join("iser.spec")));
    directory.join("SRPMS/iser-25.10-1.src.rpm")
}

#[test]
fn a_source_rpm_shows_its_spec_file_and_needs() {
    let directory = tempfile::tempdir().unwrap();
    let path = source_rpm(directory.path());
    let source = SourceRpm::open(&path).unwrap();
    assert_eq!(source.facts.nevra.to_string(), "iser-25.10-1.src");
    assert!(source.facts.is_source && source.facts.source_rpm.is_none());
    assert_eq!((source.spec_name.as_str(), source.spec_text.as_str()), ("iser.spec", SPEC));
    let texts =
        |list: &[drivetrain_model::Capability]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut needs = texts(&source.build_requires);
    needs.sort();
    assert_eq!(needs, ["(python3 or python2)", "gcc", "make >= 4.0"]);
    assert_eq!(source.patches, ["fix.patch"]);
    let mut sources = source.sources.clone();
    sources.sort();
    assert_eq!(sources, ["extra.conf", "iser-25.10.tgz"]);
    // The header knows nothing of what stands under the condition; the order of the components needs it.
    assert!(texts(&source.may_need()).contains(&"mlnx-ofa_kernel-devel".to_owned()));
    assert_eq!(source.packages(), ["iser-dkms", "iser-modules", "kmod-iser", "libiser"]);
    // One byte at a time: where the header ends in a buffer must not matter to what is behind it.
    let again = SourceRpm::from_reader(Slow(fs::File::open(&path).unwrap()), "a stream").unwrap();
    assert_eq!(again, source);
}

struct Slow<R>(R);

impl<R: std::io::Read> std::io::Read for Slow<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(1);
        self.0.read(&mut buffer[..count])
    }
}

#[test]
fn a_binary_package_is_no_source() {
    let (_directory, path) = write(&small(rpm::CompressionType::Gzip));
    let error = SourceRpm::open(&path).unwrap_err();
    assert!(error.to_string().ends_with("its header is not that of a source RPM"), "{error}");
}

/// What `rpmspec` makes of the same text with and without the condition is within what we say.
#[test]
fn rpmspec_finds_no_package_that_we_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("iser.spec");
    fs::write(&spec, SPEC).unwrap();
    let ours = spec_packages(SPEC, "iser");
    for arguments in
        [&[][..], &["--with", "building_kmods"], &["--with", "building_kmods", "--define", "KMP 1"]]
    {
        let listed = run(Command::new("rpmspec")
            .args(["-q", "--builtrpms", "--qf", "%{NAME}\\n", "--define", "KVERSION 5.14"])
            .args(arguments)
            .arg(&spec));
        assert!(!listed.is_empty());
        for name in listed.lines() {
            assert!(ours.iter().any(|ours| ours == name), "{arguments:?}: {name} is not in {ours:?}");
        }
    }
}

#[test]
fn simple_macros_are_expanded_and_others_left_out() {
    for (spec, expected) in [
        ("%files\n/x", &["knem"][..]),
        ("%files -f list\n/x", &["knem"]),
        ("%global a b\n%package %{a}\n", &["knem-b"]),
        ("%define a() b\n%package -n %a\n", &[]),
        ("%package -n kmod-%{name}\n%package -n kmod-%name\n", &["kmod-knem"]),
        ("%package -n %{?x:a}%{!?x:b}\n", &["b"]),
        ("%define x 1\n%package -n %{?x:a}%{!?x:b}\n", &["a"]),
        ("%package -n %(echo evil)\n%package -n %{lua:x}\n%package -n %[1+1]\n%package -n %{unknown}\n", &[]),
        ("%global a %{a}\n%package -n %{a}\n", &[]),
        ("%package -n ../x\n%package -n a/b\n%package -n ''\n%package\n%package -n\n", &[]),
        ("%kernel_module_package -f x -r y\n", &["kmod-knem"]),
        ("%kernel_module_package -n other -r y\n", &["kmod-other"]),
        ("%if 1\n%package a\n%else\n%package b\n%endif\n", &["knem-a"]),
        ("%if %{unknown}\n%package a\n%else\n%package b\n%endif\n", &["knem-a", "knem-b"]),
        ("%if \"x\" != \"x\"\n%package a\n%elif 1\n%package b\n%endif\n", &["knem-b"]),
        ("%package \\\n a\n", &["knem-a"]),
        ("%endif\n%else\n%package a\n", &["knem-a"]),
    ] {
        assert_eq!(spec_packages(spec, "knem"), expected, "{spec}");
    }
    let needs =
        spec_build_requires("buildrequires: a,b >= 1 , c\nBuildRequires: %{unknown} x\nRequires: r\n", "x");
    assert_eq!(needs.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b >= 1", "c"]);
}

/// Each macro is twice the one before: 2 to the 60th characters, if anybody wrote them down.
#[test]
fn macro_bombs_cost_nothing() {
    let mut spec = "%global m0 aaaaaaaaaa\n".to_owned();
    for n in 1..60 {
        spec.push_str(&format!("%if %{{x}}\n%global m{n} %{{m{}}}%{{m{}}}\n%endif\n", n - 1, n - 1));
        spec.push_str(&format!("%if %{{x}}\n%global m{n} %{{m{}}}x%{{m{}}}\n%endif\n", n - 1, n - 1));
    }
    spec.push_str(&"%package -n %{m59}\n".repeat(100));
    let start = std::time::Instant::now();
    assert!(spec_packages(&spec, "x").is_empty());
    assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
}

fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn read_with(
    archive: &[u8],
    limits: &SourceLimits,
) -> Result<Vec<(SourceEntry, Vec<u8>)>, drivetrain_rpmfile::Error> {
    let mut found = Vec::new();
    let count = DriverSources::read("MLNX_OFED_SRC.tgz", archive, limits, |entry, content| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        found.push((entry.clone(), bytes));
        Ok(ControlFlow::Continue(()))
    })?;
    assert_eq!(count, found.len());
    Ok(found)
}

fn compress(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    xz.write_all(bytes).unwrap();
    vec![
        bytes.to_vec(),
        gzip.finish().unwrap(),
        xz.finish().unwrap(),
        zstd::stream::encode_all(bytes, 1).unwrap(),
    ]
}

#[test]
fn source_rpms_are_found_in_archives_of_every_compression() {
    let directory = tempfile::tempdir().unwrap();
    let rpm = fs::read(source_rpm(directory.path())).unwrap();
    let long = format!("MLNX_OFED_SRC-25.10/{}/SRPMS/long-1-1.src.rpm", "d".repeat(150));
    let archive = tar(&[
        ("MLNX_OFED_SRC-25.10/install.pl", b"#!/usr/bin/perl"),
        ("MLNX_OFED_SRC-25.10/SRPMS/iser-25.10-1.src.rpm", &rpm),
        ("MLNX_OFED_SRC-25.10/SRPMS/README", b"x"),
        (&long, b"long"),
        ("MLNX_OFED_SRC-25.10/other/x-1-1.src.rpm", b"elsewhere"),
    ]);
    for compressed in compress(&archive) {
        let found = read_with(&compressed, &SourceLimits::default()).unwrap();
        let names: Vec<_> = found.iter().map(|(entry, _)| entry.file_name.as_str()).collect();
        assert_eq!(names, ["iser-25.10-1.src.rpm", "long-1-1.src.rpm"]);
        assert_eq!(found[0].1, rpm);
        assert_eq!(RpmFile::from_reader(Cursor::new(&found[0].1), "iser").unwrap().nevra.name, "iser");
        assert_eq!((found[1].0.path.as_str(), found[1].0.size), (long.as_str(), 4));
    }
}

/// As the vendor makes it: GNU tar, and pax headers as well.
#[test]
fn archives_of_gnu_tar_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let below =
        directory.path().join(format!("MLNX_OFED_SRC-25.10/{}/{}/SRPMS", "d".repeat(60), "e".repeat(60)));
    fs::create_dir_all(&below).unwrap();
    fs::write(below.join("a-1-1.src.rpm"), "content").unwrap();
    for format in ["gnu", "pax", "ustar"] {
        let archive = directory.path().join("x.tgz");
        run(Command::new("tar")
            .arg("--format")
            .arg(format)
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(directory.path())
            .arg("MLNX_OFED_SRC-25.10"));
        let found = read_with(&fs::read(&archive).unwrap(), &SourceLimits::default()).unwrap();
        assert_eq!(found.len(), 1, "{format}");
        assert_eq!(found[0].1, b"content");
    }
}

#[test]
fn archives_that_lead_out_are_refused() {
    for path in [
        "a/../../SRPMS/x.src.rpm",
        "/SRPMS/x.src.rpm",
        "SRPMS/a\nb.src.rpm",
        "../SRPMS/x",
        "SRPMS/-x.src.rpm",
    ] {
        let mut archive = tar(&[("SRPMS/placeholder.src.rpm", b"x")]);
        // The builder refuses such names, so it is written over what the builder made.
        archive[..100].fill(0);
        archive[..path.len()].copy_from_slice(path.as_bytes());
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes().copy_from_slice(&archive[..512]);
        header.set_cksum();
        archive[..512].copy_from_slice(header.as_bytes());
        let error = read_with(&archive, &SourceLimits::default()).unwrap_err();
        assert!(matches!(*error.problem, Problem::Path { .. }), "{path}: {error}");
    }
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "SRPMS/x.src.rpm", "/etc/passwd").unwrap();
    assert!(read_with(&builder.into_inner().unwrap(), &SourceLimits::default()).is_err());
}

#[test]
fn archives_are_bounded_and_may_not_be_cut() {
    let archive = tar(&[("SRPMS/a-1-1.src.rpm", &[1; 10_000]), ("SRPMS/b-1-1.src.rpm", &[2; 10_000])]);
    for (limits, setting) in [
        (SourceLimits { max_total: 5_000, ..SourceLimits::default() }, "max_total"),
        (SourceLimits { max_file: 9_999, ..SourceLimits::default() }, "max_file"),
        (SourceLimits { max_entries: 1, ..SourceLimits::default() }, "max_entries"),
    ] {
        for compressed in compress(&archive) {
            let error = read_with(&compressed, &limits).unwrap_err();
            assert!(error.to_string().ends_with(&format!("({setting})")), "{setting}: {error}");
        }
    }
    let error = read_with(&archive[..5_000], &SourceLimits::default()).unwrap_err();
    assert!(matches!(*error.problem, Problem::Truncated("archive")), "{error}");
    // A name that claims to be a gigabyte long is not read.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 30);
    header.set_cksum();
    let mut bomb = header.as_bytes().to_vec();
    bomb.resize(100_000, b'a');
    let error = read_with(&bomb, &SourceLimits::default()).unwrap_err();
    assert!(error.to_string().contains("a name of more than 4096 bytes"), "{error}");
}
