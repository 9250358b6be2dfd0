//! The documents, as they are published, and what is found where they do not fit.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::collections::BTreeMap;

use drivetrain_model::{
    Architecture, Cell, Checksum, ComponentName, DriverVersion, InputRole, KernelRelease, Lock,
    LockedComponent, LockedInput, LockedRepository, Nevra, RepositoryId, RunId, Sha256Digest, TrainName,
};
use drivetrain_provenance::{
    ComponentMade, Described, Discrepancy, EvidenceFile, Facts, Made, ModuleIn, PublishedPackage, Signatory,
    Source, compare_bill, compare_subjects, read_bill, read_statement, state, write_bill,
};
use proptest::prelude::*;

fn digest(text: &str) -> Sha256Digest {
    Sha256Digest::of(text.as_bytes())
}

fn cell() -> Cell {
    Cell {
        train: TrainName::parse("rocky-9.4").unwrap(),
        arch: Architecture::parse("x86_64").unwrap(),
        kernel: KernelRelease::parse("5.14.0-427.31.1.el9_4.x86_64").unwrap(),
        driver: DriverVersion::parse("3.2.0").unwrap(),
    }
}

fn lock() -> Lock {
    let input = |role, nevra: &str, url: &str| LockedInput {
        role,
        nevra: Nevra::parse(nevra).unwrap(),
        repository: None,
        url: url.parse().unwrap(),
        size: 10,
        checksum: Checksum::from(digest(nevra)),
    };
    let repository = LockedRepository {
        url: "https://ark.example.com/baseos/".parse().unwrap(),
        repomd: digest("repomd"),
        keys: vec!["0123456789abcdef0123456789abcdef01234567".to_owned()],
    };
    Lock {
        format: Lock::FORMAT,
        cell: cell(),
        repositories: BTreeMap::from([(RepositoryId::parse("baseos").unwrap(), repository)]),
        inputs: vec![
            input(
                InputRole::KernelDevel,
                "kernel-devel-5.14.0-427.31.1.el9_4.x86_64",
                "https://ark.example.com/baseos/Packages/k/kernel-devel.rpm",
            ),
            input(
                InputRole::Userspace,
                "libibverbs-2507mlnx58-1.el9.x86_64",
                "https://vendor.example.com/libibverbs.rpm",
            ),
        ],
        components: vec![LockedComponent {
            name: ComponentName::parse("iser").unwrap(),
            source: Nevra::parse("iser-24.10-1.src").unwrap(),
            sha256: digest("iser source"),
            needs: Vec::new(),
            patches: vec![("0001-fix.patch".to_owned(), digest("patch"))],
            key: digest("iser key"),
        }],
        settings: BTreeMap::from([("build macros".to_owned(), "{}".to_owned())]),
        toolchain: digest("gcc"),
        toolchain_description: "gcc 11.4.1".to_owned(),
    }
}

fn package(nevra: &str, source: Option<&str>, license: &str, modules: &[&str]) -> PublishedPackage {
    let nevra = Nevra::parse(nevra).unwrap();
    let module = |path: &&str| ModuleIn {
        name: "ib_iser".to_owned(),
        path: (*path).to_owned(),
        content: Some(digest(path)),
    };
    PublishedPackage {
        file: nevra.file_name(),
        sha256: digest(&nevra.to_string()),
        nevra,
        license: license.to_owned(),
        source_rpm: source.map(str::to_owned),
        modules: modules.iter().map(module).collect(),
    }
}

fn facts() -> Facts {
    Facts {
        made: Made::Cell {
            lock: Box::new(lock()),
            components: vec![ComponentMade {
                name: ComponentName::parse("iser").unwrap(),
                source: "iser-24.10-1.src.rpm".to_owned(),
                key: digest("iser key"),
                built_for: Some(KernelRelease::parse("5.14.0-427.28.1.el9_4.x86_64").unwrap()),
            }],
            builder: Vec::new(),
        },
        driver_name: "doca-ofed".to_owned(),
        cell: cell(),
        packages: vec![
            package(
                "kmod-iser-24.10-1.x86_64",
                Some("iser-24.10-1.src.rpm"),
                "GPLv2",
                &["/lib/modules/5.14.0-427.31.1.el9_4.x86_64/extra/iser/ib_iser.ko"],
            ),
            package("libibverbs-2507mlnx58-1.el9.x86_64", None, "GPL-2.0-only OR Linux-OpenIB", &[]),
        ],
        evidence: vec![EvidenceFile {
            name: "verdicts.json".to_owned(),
            sha256: digest("verdicts"),
            says: BTreeMap::from([("modules".to_owned(), serde_json::json!(1))]),
        }],
        module_signers: vec![Signatory { subject: "CN=site".to_owned(), fingerprint: digest("certificate") }],
        signed_by: Some("0011223344556677889900112233445566778899".to_owned()),
        run: RunId::parse("20261101T000000Z-abc").unwrap(),
        at: "2026-11-01T00:00:00Z".parse().unwrap(),
        by: "root@builder".to_owned(),
        version: "0.1.0".to_owned(),
    }
}

fn described(facts: &Facts) -> Vec<Described> {
    let packages = facts.packages.iter();
    packages.map(|package| Described { file: package.file.clone(), sha256: package.sha256 }).collect()
}

#[test]
fn the_statement_names_packages_inputs_toolchain_patches_and_verdicts() {
    insta::assert_json_snapshot!(state(&facts()));
}

#[test]
fn the_bill_says_what_is_in_the_packages_and_where_it_came_from() {
    let text = String::from_utf8(write_bill(&facts()).unwrap()).unwrap();
    insta::assert_snapshot!(text);
}

#[test]
fn what_is_written_is_read_again() {
    let facts = facts();
    let statement = state(&facts);
    let text = serde_json::to_vec(&statement).unwrap();
    assert_eq!(read_statement(&text).unwrap(), statement);
    assert_eq!(compare_subjects(&statement, &described(&facts)), []);
    let bill = read_bill(&write_bill(&facts).unwrap()).unwrap();
    assert_eq!(compare_bill(&bill, &described(&facts)), []);
    assert_eq!(statement.evidence("verdicts.json"), Some(digest("verdicts")));
    assert_eq!(statement.input_keys().collect::<Vec<_>>(), ["0123456789abcdef0123456789abcdef01234567"]);
}

#[test]
fn a_package_that_another_kernels_build_stands_in_for_is_told() {
    let facts = facts();
    let sources = facts.packages.iter();
    let sources = sources.filter_map(|package| Some((package.file.clone(), package.source_rpm.clone()?)));
    let built_for = state(&facts).built_for(&sources.collect());
    let told: Vec<(&str, &str)> =
        built_for.iter().map(|(file, kernel)| (file.as_str(), kernel.as_str())).collect();
    assert_eq!(told, [("kmod-iser-24.10-1.x86_64.rpm", "5.14.0-427.28.1.el9_4.x86_64")]);
}

#[test]
fn what_is_added_taken_away_or_changed_is_found() {
    let facts = facts();
    let statement = state(&facts);
    let mut packages = described(&facts);
    packages[0].sha256 = digest("other");
    packages.pop();
    packages.push(Described { file: "evil.rpm".to_owned(), sha256: digest("evil") });
    let found = compare_subjects(&statement, &packages);
    assert!(matches!(&found[0], Discrepancy::Other { file, .. } if file.starts_with("kmod-iser")));
    assert_eq!(found[1], Discrepancy::Unstated("evil.rpm".to_owned()));
    assert_eq!(found[2], Discrepancy::Missing("libibverbs-2507mlnx58-1.el9.x86_64.rpm".to_owned()));
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_repository_for_several_kernels_has_its_own_kind_of_statement() {
    let mut facts = facts();
    facts.made = Made::Lockstep {
        digest: digest("lockstep"),
        sources: vec![Source {
            name: "kmod-iser-24.10-1.x86_64.rpm".to_owned(),
            uri: Some("https://ark.example.com/rocky-9.4/".to_owned()),
            checksum: Checksum::from(digest("source")),
        }],
    };
    let statement = state(&facts);
    assert!(!statement.is_of_one_kernel());
    assert_eq!(statement.lock(), digest("lockstep"));
    assert_eq!(read_statement(&serde_json::to_vec(&statement).unwrap()).unwrap(), statement);
    write_bill(&facts).unwrap();
}

#[test]
fn another_form_of_statement_is_refused_by_name() {
    let mut statement = serde_json::to_value(state(&facts())).unwrap();
    statement["predicateType"] = "https://slsa.dev/provenance/v2".into();
    let error = read_statement(statement.to_string().as_bytes()).unwrap_err();
    insta::assert_snapshot!(error, @r#"it is "https://slsa.dev/provenance/v2", and "https://slsa.dev/provenance/v1" is needed"#);
}

#[test]
fn a_licence_that_is_none_of_spdx_and_odd_names_break_no_rule() {
    for license in ["", "GPLv2 or BSD", "GPL-2.0-only", "<script>", "a\nb", "(((("] {
        let mut facts = facts();
        facts.packages[0].license = license.to_owned();
        read_bill(&write_bill(&facts).unwrap()).unwrap();
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_readers_fail_otherwise_than_with_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(read_statement(&bytes));
        drop(read_bill(&bytes));
    }

    #[test]
    fn a_damaged_document_is_read_or_refused(place in 0_usize..4000, byte: u8) {
        let mut statement = serde_json::to_vec(&state(&facts())).unwrap();
        let mut bill = write_bill(&facts()).unwrap();
        for document in [&mut statement, &mut bill] {
            let place = place % document.len();
            document[place] = byte;
        }
        drop(read_statement(&statement));
        drop(read_bill(&bill));
    }
}
