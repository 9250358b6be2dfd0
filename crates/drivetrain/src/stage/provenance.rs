//! What was made of what: a statement and a bill of materials, among the evidence of what is published.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use drivetrain_build::digest_of;
use drivetrain_kmod::{is_module_path, module_name_of};
use drivetrain_model::{Cell, ComponentAction, ComponentName, ExitCode, RunId, Sha256Digest};
use drivetrain_prove::ProvenModule;
use drivetrain_provenance::{
    BILL, ComponentMade, EvidenceFile, Facts, Made, ModuleIn, PublishedPackage, SIGNATURE, STATEMENT,
    Signatory, Source, state, write_bill,
};
use drivetrain_publish::Verdicts;
use drivetrain_rpmfile::{PackageKey, RpmFile};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::failure::{Failure, Result};
use crate::stage::plan::Planned;
use crate::stage::publish::{Evidence, who};
use crate::stage::{blocking, modsign, utf8};

/// What is about to be published.
pub struct Subject<'a> {
    /// What it was made of.
    pub made: Made,
    /// The driver stack's name.
    pub driver_name: String,
    /// What it is for.
    pub cell: Cell,
    /// The packages, as they will be served.
    pub rpms: &'a [PathBuf],
    /// The modules in them, where they were looked at.
    pub modules: &'a [ProvenModule],
    /// How they were proven.
    pub verdicts: Option<Verdicts>,
    /// Who signs the modules.
    pub module_signing: Option<&'a modsign::ModuleSigning>,
    /// The run.
    pub run: &'a RunId,
}

/// Adds both to the evidence, the statement signed where there is a key.
pub async fn add(subject: Subject<'_>, key: Option<&PackageKey>, evidence: &mut Evidence) -> Result<()> {
    let (rpms, modules) = (subject.rpms.to_vec(), subject.modules.to_vec());
    let packages = blocking(move || rpms.iter().map(|rpm| package(rpm, &modules)).collect::<Result<_>>());
    for stale in [STATEMENT, SIGNATURE, BILL] {
        evidence.remove(stale);
    }
    let mut facts = Facts {
        made: subject.made,
        driver_name: subject.driver_name,
        cell: subject.cell,
        packages: packages.await??,
        evidence: Vec::new(),
        module_signers: subject.module_signing.map(signatories).unwrap_or_default(),
        signed_by: key.map(|key| key.fingerprint().to_owned()),
        run: subject.run.clone(),
        at: Timestamp::now(),
        by: who(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let unwritten = |error: &(dyn std::error::Error + 'static)| Failure::of(ExitCode::Internal, error);
    let bill = write_bill(&facts).map_err(|error| unwritten(&error))?;
    evidence.insert(BILL.to_owned(), bill);
    facts.evidence =
        evidence.iter().map(|(name, bytes)| file(name, bytes, subject.verdicts.as_ref())).collect();
    let mut statement = serde_json::to_vec_pretty(&state(&facts)).map_err(|error| unwritten(&error))?;
    statement.push(b'\n');
    if let Some(key) = key {
        let moment = u64::try_from(facts.at.as_second()).unwrap_or(0);
        let signature = key.sign_bytes(&statement, moment);
        let signature = signature.map_err(|error| {
            Failure::because(ExitCode::Publish, "the statement of provenance cannot be signed", &error)
        })?;
        evidence.insert(SIGNATURE.to_owned(), signature.into_bytes());
    }
    evidence.insert(STATEMENT.to_owned(), statement);
    Ok(())
}

/// What the packages of a cell were made of, by its plan.
pub fn of_cell(planned: &Planned) -> Made {
    let plan = &planned.plan;
    let action = |name: &ComponentName| {
        plan.components.iter().find(|planned| planned.name == *name).map(|one| &one.action)
    };
    let made = |locked: &drivetrain_model::LockedComponent| {
        let action = action(&locked.name);
        ComponentMade {
            name: locked.name.clone(),
            source: locked.source.file_name(),
            key: action.and_then(ComponentAction::key).unwrap_or(locked.key),
            built_for: match action {
                Some(ComponentAction::Repackage { kernel, .. }) => Some(kernel.clone()),
                _ => None,
            },
        }
    };
    Made::Cell {
        lock: Box::new(plan.lock.clone()),
        components: plan.lock.components.iter().map(made).collect(),
        builder: plan.builder.clone(),
    }
}

/// What a repository for several kernels was put together from: packages, and where each is served.
pub async fn of_several(digest: Sha256Digest, packages: Vec<(PathBuf, Option<String>)>) -> Result<Made> {
    blocking(move || {
        let source = |(rpm, uri): (PathBuf, Option<String>)| -> Result<Source> {
            let package = package(&rpm, &[])?;
            Ok(Source { name: package.file, uri, checksum: package.sha256.into() })
        };
        let sources = packages.into_iter().map(source).collect::<Result<_>>()?;
        Ok(Made::Lockstep { digest, sources })
    })
    .await?
}

fn package(rpm: &Path, modules: &[ProvenModule]) -> Result<PublishedPackage> {
    let failed = |error: &(dyn std::error::Error + 'static)| Failure::of(ExitCode::Publish, error);
    let header = RpmFile::open(rpm).map_err(|error| failed(&error))?;
    let (_, sha256) = digest_of(&utf8(rpm)?).map_err(|error| failed(&error))?;
    // By the name that it gets in the repository.
    let file = header.nevra.file_name();
    let proven = |path: &str| {
        modules.iter().find(|module| module.package.as_deref() == Some(&*file) && module.path == path)
    };
    let modules = header
        .files
        .iter()
        .filter(|fact| is_module_path(&fact.path))
        .map(|fact| {
            let proven = proven(&fact.path);
            ModuleIn {
                name: proven.map_or_else(|| module_name_of(&fact.path), |module| module.name.clone()),
                path: fact.path.clone(),
                content: proven.map(|module| module.digest),
            }
        })
        .collect();
    Ok(PublishedPackage {
        nevra: header.nevra,
        sha256,
        license: header.license,
        source_rpm: header.source_rpm,
        modules,
        file,
    })
}

fn signatories(signing: &modsign::ModuleSigning) -> Vec<Signatory> {
    let certificates = signing.certificates();
    let signatory = |certificate: &drivetrain_modsign::Certificate| Signatory {
        subject: certificate.name(),
        fingerprint: certificate.fingerprint(),
    };
    certificates.iter().map(signatory).collect()
}

fn file(name: &str, bytes: &[u8], verdicts: Option<&Verdicts>) -> EvidenceFile {
    let says = match (name, verdicts) {
        ("verdicts.json", Some(found)) => {
            words([("modules", json!(found.modules)), ("symbols", json!(found.symbols))])
        }
        ("installation.json", Some(found)) => {
            words([("installed", json!(found.installed)), ("from_train", json!(found.from_train))])
        }
        ("boot.json", Some(Verdicts { booted: Some(booted), .. })) => words([
            ("modules", json!(booted.modules)),
            ("problems", json!(booted.problems)),
            ("functional", json!(booted.functional)),
        ]),
        _ => BTreeMap::new(),
    };
    EvidenceFile { name: name.to_owned(), sha256: Sha256Digest::of(bytes), says }
}

fn words<const N: usize>(words: [(&str, Value); N]) -> BTreeMap<String, Value> {
    words.into_iter().map(|(word, value)| (word.to_owned(), value)).collect()
}
