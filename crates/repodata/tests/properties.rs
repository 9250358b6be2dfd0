//! What holds for any input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

use std::io::Write;
use std::ops::ControlFlow;

use drivetrain_model::{Architecture, Capability, Checksum, Comparison, Evr, Nevra, Package, Sha256Digest};
use drivetrain_repodata::{
    Error, Limits, PathPattern, RepositoryIndex, decompress, parse_repomd, read_filelists, read_primary,
    who_owns,
};
use proptest::prelude::*;
use rpmrepo_metadata::utils::create_xml_writer;
use rpmrepo_metadata::{Checksum as Written, PrimaryXml, Requirement, RequirementType};

fn capability() -> impl Strategy<Value = Capability> {
    let constraint = (
        prop::sample::select(vec![
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Equal,
            Comparison::GreaterOrEqual,
            Comparison::Greater,
        ]),
        (0_u32..3, "[0-9][0-9a-z.~^]{0,8}", "[0-9a-z._]{0,6}"),
    );
    let name = prop_oneof![
        "[a-zA-Z/][a-zA-Z0-9_.+-]{0,12}",
        "[a-z]{1,4}\\([A-Z&<>\"']{0,4}\\)",
        "\\([a-z]{1,4} if [a-z]{1,4}\\)"
    ];
    (name, prop::option::of(constraint)).prop_map(|(name, constraint)| match constraint {
        None => Capability::unversioned(name),
        Some((comparison, (epoch, version, release))) => {
            Capability::versioned(name, comparison, Evr::new(epoch, version, release))
        }
    })
}

fn package() -> impl Strategy<Value = Package> {
    let lists = prop::collection::vec(prop::collection::vec(capability(), 0..6), 8);
    let files = prop::collection::vec("/(etc|usr/bin)/[a-zA-Z&<.'+ -]{1,12}[a-z]", 0..4);
    (
        ("[a-zA-Z0-9][a-zA-Z0-9_.+&<>-]{0,16}", 0_u32..4, "[0-9a-z.~^]{1,8}", "[0-9a-z._]{1,8}"),
        prop::sample::select(vec!["x86_64", "aarch64", "noarch", "src"]),
        any::<[u8; 32]>(),
        (any::<u32>(), any::<u32>()),
        "[a-zA-Z0-9_+&'\"-]{1,20}\\.rpm",
        prop::option::of("[a-z&]{1,9}-1-1\\.src\\.rpm"),
        (lists, files),
    )
        .prop_map(
            |(
                (name, epoch, version, release),
                arch,
                digest,
                (size, time),
                location,
                source_rpm,
                (lists, files),
            )| {
                let mut lists = lists.into_iter();
                let mut list = || lists.next().unwrap_or_default();
                let evr = Evr::new(epoch, version, release);
                let nevra = Nevra::new(name, evr, Architecture::parse(arch).unwrap());
                let checksum = Sha256Digest::from_bytes(digest).into();
                Package {
                    build_time: time.into(),
                    source_rpm,
                    provides: list(),
                    requires: list(),
                    conflicts: list(),
                    obsoletes: list(),
                    recommends: list(),
                    supplements: list(),
                    suggests: list(),
                    enhances: list(),
                    files,
                    ..Package::bare(nevra, checksum, size.into(), location)
                }
            },
        )
}

fn requirements(capabilities: &[Capability]) -> Vec<Requirement> {
    let requirement = |capability: &Capability| {
        let requirement = Requirement::new(capability.name.clone());
        let Some(constraint) = &capability.constraint else { return requirement };
        let flags = match constraint.comparison {
            Comparison::Less => RequirementType::LT,
            Comparison::LessOrEqual => RequirementType::LE,
            Comparison::Equal => RequirementType::EQ,
            Comparison::GreaterOrEqual => RequirementType::GE,
            Comparison::Greater => RequirementType::GT,
        };
        let release = Some(constraint.evr.release.as_str()).filter(|release| !release.is_empty());
        requirement
            .set_flags(Some(flags))
            .set_epoch(Some(&constraint.evr.epoch.to_string()))
            .set_version(Some(&constraint.evr.version))
            .set_release(release)
    };
    capabilities.iter().map(requirement).collect()
}

/// The packages as the library that we write with writes them.
fn write(packages: &[Package]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = PrimaryXml::new_writer(create_xml_writer(&mut bytes));
    writer.write_header(packages.len()).unwrap();
    for package in packages {
        let mut written = rpmrepo_metadata::Package::default();
        let evr = &package.nevra.evr;
        written.set_name(package.nevra.name.clone());
        written.set_arch(package.nevra.arch.to_string());
        written.set_evr(rpmrepo_metadata::Evr::new(
            evr.epoch.to_string(),
            evr.version.clone(),
            evr.release.clone(),
        ));
        written.set_checksum(Written::Sha256(package.checksum.hex.clone()));
        written.set_size_package(package.size);
        written.set_time_build(package.build_time);
        written.set_location_href(package.location.clone());
        written.set_rpm_sourcerpm(package.source_rpm.clone().unwrap_or_default());
        written.set_provides(requirements(&package.provides));
        written.set_requires(requirements(&package.requires));
        written.set_conflicts(requirements(&package.conflicts));
        written.set_obsoletes(requirements(&package.obsoletes));
        written.set_recommends(requirements(&package.recommends));
        written.set_supplements(requirements(&package.supplements));
        written.set_suggests(requirements(&package.suggests));
        written.set_enhances(requirements(&package.enhances));
        for file in &package.files {
            written.add_file(rpmrepo_metadata::FileType::File, file);
        }
        writer.write_package(&written).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<Package>, Error> {
    let mut packages = Vec::new();
    read_primary(
        bytes,
        &Limits::default(),
        |_, _| true,
        |package| {
            packages.push(package);
            ControlFlow::Continue(())
        },
    )?;
    Ok(packages)
}

/// A reader that returns a few bytes at a time: where a buffer ends must not matter.
struct Trickle<'a>(&'a [u8], usize);

impl std::io::Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(buffer.len()).min(self.0.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

/// One change to a text: bytes replaced, left out, or the rest cut off.
fn mutate(bytes: &mut Vec<u8>, changes: &[(prop::sample::Index, u8, u8)]) {
    for (at, kind, value) in changes {
        if bytes.is_empty() {
            return;
        }
        let at = at.index(bytes.len());
        match kind % 4 {
            0 => bytes[at] = *value,
            1 => {
                bytes.remove(at);
            }
            2 => bytes.insert(at, b"<>&\"'/!?"[usize::from(*value) % 8]),
            _ => bytes.truncate(at),
        }
    }
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<u8>()), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_is_read_back(packages in prop::collection::vec(package(), 0..8), step in 1_usize..40) {
        let bytes = write(&packages);
        prop_assert_eq!(&read(&bytes).unwrap(), &packages);
        let mut slowly = Vec::new();
        read_primary(Trickle(&bytes, step), &Limits::default(), |_, _| true, |package| {
            slowly.push(package);
            ControlFlow::Continue(())
        }).unwrap();
        prop_assert_eq!(&slowly, &packages);
        // Their text, too: equality of versions is RPM's, to which 1.0 and 1.00 are one.
        prop_assert_eq!(format!("{slowly:?}"), format!("{packages:?}"));
    }

    #[test]
    fn passing_over_finds_the_same_packages(packages in prop::collection::vec(package(), 1..8), pick in any::<prop::sample::Index>()) {
        let bytes = write(&packages);
        let wanted = &packages[pick.index(packages.len())].nevra;
        let mut found = Vec::new();
        read_primary(bytes.as_slice(), &Limits::default(), |name, arch| name == wanted.name && arch == wanted.arch.as_str(), |package| {
            found.push(package);
            ControlFlow::Continue(())
        }).unwrap();
        let expected: Vec<_> = packages.iter().filter(|p| p.nevra.name == wanted.name && p.nevra.arch == wanted.arch).cloned().collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn damaged_documents_never_panic(packages in prop::collection::vec(package(), 1..4), changes in changes()) {
        let mut bytes = write(&packages);
        mutate(&mut bytes, &changes);
        drop(read(&bytes).map_err(|error| error.to_string()));
        drop(read_primary(bytes.as_slice(), &Limits::default(), |_, _| false, |_| ControlFlow::Continue(())));
        drop(read_filelists(bytes.as_slice(), &Limits::default(), |_, _| true, |_| ControlFlow::Continue(())));
        let filelists = String::from_utf8_lossy(&bytes).replace("metadata", "filelists");
        drop(who_owns(filelists.as_bytes(), &Limits::default(), &[PathPattern::new("*a*")]));
        drop(parse_repomd(&bytes, &Limits::default()));
    }

    /// Every cut of a document is an error, and none is taken for a shorter document.
    #[test]
    fn truncated_documents_are_errors(packages in prop::collection::vec(package(), 1..4), at in any::<prop::sample::Index>()) {
        let bytes = write(&packages);
        let end = bytes.windows(11).rposition(|window| window == b"</metadata>").unwrap();
        prop_assert!(read(&bytes[..at.index(end + 9)]).is_err());
    }

    #[test]
    fn damaged_compression_never_panics(text in prop::collection::vec(any::<u8>(), 0..2000), changes in changes(), kind in 0_u8..3) {
        let mut bytes = match kind {
            0 => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&text).unwrap();
                encoder.finish().unwrap()
            }
            1 => zstd::stream::encode_all(text.as_slice(), 1).unwrap(),
            _ => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
                encoder.write_all(&text).unwrap();
                encoder.finish().unwrap()
            }
        };
        mutate(&mut bytes, &changes);
        let limits = Limits { max_open_bytes: 1 << 20, ..Limits::default() };
        if let Ok(mut opened) = decompress("primary", bytes.as_slice(), None, &limits) {
            let mut open = Vec::new();
            drop(std::io::Read::read_to_end(&mut opened, &mut open));
            prop_assert!(open.len() <= 1 << 20);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(read(&bytes));
        drop(parse_repomd(&bytes, &Limits::default()));
    }

    #[test]
    fn patterns_match_what_they_are_made_from(pieces in prop::collection::vec("[a-z/.]{0,5}", 1..5), between in "[a-z/]{0,5}") {
        let path = pieces.join(&between);
        prop_assert!(PathPattern::new(&pieces.join("*")).matches(&path));
        prop_assert!(PathPattern::new(&path).matches(&path));
    }
}

#[test]
fn one_name_for_two_files_is_a_conflict_and_the_same_file_twice_is_not() {
    let package = |digest: &[u8], location: &str| {
        let nevra = Nevra::parse("kmod-iser-25.10-1.x86_64").unwrap();
        Package::bare(nevra, Checksum::from(Sha256Digest::of(digest)), 1, location)
    };
    let mut index = RepositoryIndex::new();
    assert!(index.insert(package(b"1", "a.rpm")).unwrap());
    assert!(!index.insert(package(b"1", "b.rpm")).unwrap());
    let conflict = index.insert(package(b"2", "c.rpm")).unwrap_err().to_string();
    assert!(
        conflict.starts_with("conflicting NEVRA: kmod-iser-25.10-1.x86_64 is both a.rpm (sha256:"),
        "{conflict}"
    );
    assert_eq!((index.len(), index.duplicates().len()), (1, 1));
}
