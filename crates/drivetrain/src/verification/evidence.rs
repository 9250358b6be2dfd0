//! What is published beside a repository, and whether it is what the statement says.

use drivetrain_fetch::Source;
use drivetrain_model::{ExitCode, Lock, Sha256Digest};
use drivetrain_modsign::Certificate;
use drivetrain_provenance::{BILL, SIGNATURE, STATEMENT, Statement, compare_bill, read_bill};

use super::{Check, Served, described};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::repository_at::RepositoryAt;

/// A signature is a few hundred bytes.
pub(super) const MAX_SIGNATURE: u64 = 64 << 10;
/// A statement names thousands of inputs at the most.
const MAX_STATEMENT: u64 = 16 << 20;
/// Logs of builds are the largest.
const MAX_EVIDENCE: u64 = 256 << 20;
/// As many as a repository of a large stack has, several times.
const MAX_FILES: usize = 1000;

/// Where the evidence is.
pub(super) struct Place {
    source: Source,
    /// The statement's bytes.
    pub statement: Vec<u8>,
}

impl Place {
    /// A directory has it below the repository, a Pulp server beside it, by the digest of `repomd.xml`.
    pub(super) async fn find(context: &Context, repository: &RepositoryAt) -> Result<Option<Self>> {
        let failed = |error: &(dyn std::error::Error + 'static)| Failure::of(ExitCode::Input, error);
        let below = repository.source.join("evidence/").map_err(|error| failed(&error))?;
        let mut url = repository.source.url().clone();
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{path}-evidence/{}/", Sha256Digest::of(&repository.repomd)));
        let beside = Source::new(url)
            .map_err(|error| failed(&error))?
            .with_credentials(repository.source.credentials().cloned())
            .with_ca(repository.source.ca().map(ToOwned::to_owned));
        for source in [below, beside] {
            let statement = RepositoryAt::beside(context, &source, STATEMENT, MAX_STATEMENT).await?;
            if let Some(statement) = statement {
                return Ok(Some(Self { source, statement }));
            }
        }
        Ok(None)
    }

    /// The signature over the statement.
    pub(super) async fn signature(&self, context: &Context) -> Result<Option<Vec<u8>>> {
        self.file(context, SIGNATURE, MAX_SIGNATURE).await
    }

    /// One of its files.
    pub(super) async fn file(&self, context: &Context, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
        RepositoryAt::beside(context, &self.source, name, most).await
    }
}

/// What was found.
pub(super) struct Found {
    pub checks: Vec<Check>,
    /// The certificates that modules are signed for, by the statement.
    pub certificates: Vec<Certificate>,
}

/// Fetches every file that the statement names, and compares.
pub(super) async fn check(
    context: &Context,
    place: &Place,
    statement: &Statement,
    packages: &[Served],
) -> Result<Found> {
    let names: Vec<String> = statement.evidence_names().map(str::to_owned).collect();
    if names.len() > MAX_FILES {
        let problem = format!("it names {} files of evidence, and {MAX_FILES} are the most", names.len());
        return Ok(Found { checks: vec![Check::bad("evidence", problem)], certificates: Vec::new() });
    }
    let (mut problems, mut checks, mut certificates) = (Vec::new(), Vec::new(), Vec::new());
    for name in &names {
        let Some(bytes) = place.file(context, name, MAX_EVIDENCE).await? else {
            problems.push(format!("{name} is not there"));
            continue;
        };
        if statement.evidence(name) != Some(Sha256Digest::of(&bytes)) {
            problems.push(format!("{name} is another file than the statement names"));
            continue;
        }
        match name.as_str() {
            BILL => checks.push(bill(&bytes, packages)),
            "lock.json" => checks.push(lock(&bytes, statement)),
            _ if name.ends_with(".der") => certificates.extend(certificate(&bytes, statement)),
            _ => {}
        }
    }
    let good = format!("{} files, each as the statement says", names.len());
    checks.insert(0, Check::of("evidence", good, "not what the statement says", problems));
    checks.extend(booted(statement));
    Ok(Found { checks, certificates })
}

fn bill(bytes: &[u8], packages: &[Served]) -> Check {
    const WHAT: &str = "materials";
    match read_bill(bytes) {
        Ok(bill) => {
            let problems =
                compare_bill(&bill, &described(packages)).iter().map(ToString::to_string).collect();
            let good = format!("CycloneDX, {} packages: these", bill.packages.len());
            Check::of(WHAT, good, format!("{BILL} is not about these packages"), problems)
        }
        Err(error) => Check::bad(WHAT, Failure::of(ExitCode::Input, &error).one_line()),
    }
}

fn lock(bytes: &[u8], statement: &Statement) -> Check {
    const WHAT: &str = "lock";
    match serde_json::from_slice::<Lock>(bytes) {
        Err(error) => Check::bad(WHAT, format!("lock.json cannot be read: {error}")),
        Ok(lock) if lock.digest() != statement.lock() || lock.cell != *statement.cell() => {
            Check::bad(WHAT, "lock.json is another one than the statement was made for")
        }
        Ok(lock) => Check::good(
            WHAT,
            format!(
                "{}…: {} inputs, {} components; {}",
                lock.digest().short(),
                lock.inputs.len(),
                lock.components.len(),
                lock.toolchain_description
            ),
        ),
    }
}

/// One that the statement names; others are no business of it.
fn certificate(bytes: &[u8], statement: &Statement) -> Option<Certificate> {
    let certificate = Certificate::read(bytes).ok()?;
    let internal = &statement.predicate.build_definition.internal_parameters;
    let named = internal.module_certificates.iter().filter_map(|one| one.sha256());
    named.into_iter().any(|named| named == certificate.fingerprint()).then_some(certificate)
}

/// What the statement says of a boot test, which cannot be found out from here.
fn booted(statement: &Statement) -> Option<Check> {
    let files = &statement.predicate.run_details.byproducts;
    let boot = files.iter().find(|file| file.name.as_deref() == Some("boot.json"))?;
    let number = |word: &str| boot.annotations.get(word).and_then(serde_json::Value::as_u64).unwrap_or(0);
    let (modules, problems) = (number("modules"), number("problems"));
    let found = format!("by the statement: {modules} modules were loaded, {problems} problems");
    Some(if problems == 0 { Check::good("boot", found) } else { Check::warning("boot", found) })
}
