//! A published repository, from end to end: what a consumer can find out of it, and what it says of itself.

mod evidence;
mod keys;
mod modules;

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use drivetrain_fetch::Source;
use drivetrain_model::{Cell, ExitCode, KernelRelease, Sha256Digest};
use drivetrain_provenance::{Described, STATEMENT, Statement, compare_subjects, read_statement};
use drivetrain_rpmfile::{RpmFile, verify};
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::repository_at::{self, PackageAt, RepositoryAt};
use crate::stage::blocking;
use evidence::Place;
use keys::Trusted;

/// What is asked of a repository.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Keys that are trusted, armored; where there are none, those that the repository itself serves have to do.
    pub keys: Vec<Vec<u8>>,
    /// The kernel that it has to be for.
    pub kernel: Option<KernelRelease>,
    /// What says which symbols that kernel has, to judge every module anew.
    pub against: Option<Utf8PathBuf>,
    /// That it is not signed is no fault.
    pub allow_unsigned: bool,
    /// That nothing says what it was made of is no fault.
    pub allow_unstated: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Verification {
    /// The repository.
    pub url: String,
    /// What it is for, by its statement.
    pub cell: Option<Cell>,
    /// The driver stack's name, by its statement.
    pub driver: Option<String>,
    /// What was looked at, in order.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What: a word or two.
    pub what: &'static str,
    /// What came of it.
    pub result: Outcome,
    /// In words.
    pub found: String,
    /// What is wrong, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it should be.
    Good,
    /// Worth knowing.
    Warning,
    /// Not as it should be: a checksum, a signature, or what is said.
    Bad,
    /// A kernel would not load it.
    Unfit,
}

impl Check {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, result: Outcome::Good, found: found.into(), problems: Vec::new() }
    }

    fn warning(what: &'static str, found: impl Into<String>) -> Self {
        Self { result: Outcome::Warning, ..Self::good(what, found) }
    }

    fn bad(what: &'static str, found: impl Into<String>) -> Self {
        Self { result: Outcome::Bad, ..Self::good(what, found) }
    }

    /// Good where there are no problems.
    fn of(
        what: &'static str,
        good: impl Into<String>,
        bad: impl Into<String>,
        problems: Vec<String>,
    ) -> Self {
        if problems.is_empty() { Self::good(what, good) } else { Self { problems, ..Self::bad(what, bad) } }
    }
}

impl Verification {
    /// How a process ends that was asked whether all is well.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self.checks.iter().map(|check| check.result).max() {
            Some(Outcome::Unfit) => ExitCode::Proof,
            Some(Outcome::Bad) => ExitCode::Input,
            _ => ExitCode::Success,
        }
    }
}

/// One package, as it is looked at.
#[derive(Debug, Clone)]
struct Served {
    /// Where its bytes are.
    file: Utf8PathBuf,
    /// The name of its file in the repository.
    name: String,
    sha256: Sha256Digest,
    header: RpmFile,
}

/// The packages, as documents name them.
fn described(packages: &[Served]) -> Vec<Described> {
    let described = |package: &Served| Described { file: package.name.clone(), sha256: package.sha256 };
    packages.iter().map(described).collect()
}

/// Looks at all of it.
///
/// # Errors
/// Where something cannot be had, or is not what the metadata say of it: then nothing more can be said.
pub async fn verify_at(context: &Context, source: Source, wanted: Wanted) -> Result<Verification> {
    let repository = repository_at::read(context, source).await?;
    let packages = served(&repository).await?;
    let mut checks =
        vec![Check::good("metadata", format!("{} documents, each as repomd.xml says", repository.documents))];
    let bytes: u64 = repository.packages.iter().map(|package| package.size).sum();
    checks.push(Check::good(
        "packages",
        format!("{} of {bytes} bytes, each as the metadata say", packages.len()),
    ));

    let place = Place::find(context, &repository).await?;
    let trusted = Trusted::of(context, &repository, place.as_ref(), &wanted).await?;
    checks.extend(trusted.check());
    checks.push(metadata_signature(context, &repository, &trusted, &wanted).await?);
    let statement = match &place {
        None => None,
        Some(place) => statement(context, place, &trusted, &packages, &wanted, &mut checks).await?,
    };
    if place.is_none() {
        checks.push(lacking("statement", "none: nothing says what it was made of", wanted.allow_unstated));
    }
    checks.push(package_signatures(&packages, &trusted, statement.as_ref(), &wanted).await?);
    let mut certificates = Vec::new();
    if let (Some(place), Some(statement)) = (&place, &statement) {
        let found = evidence::check(context, place, statement, &packages).await?;
        checks.extend(found.checks);
        certificates = found.certificates;
    }
    checks.extend(modules::check(packages, statement.clone(), certificates, wanted).await?);
    let parameters = statement.map(|statement| statement.predicate.build_definition.external_parameters);
    Ok(Verification {
        url: repository.source.shown(),
        cell: parameters.as_ref().map(|parameters| parameters.cell.clone()),
        driver: parameters.map(|parameters| parameters.driver),
        checks,
    })
}

/// What is missing, and whether that was allowed.
fn lacking(what: &'static str, found: &str, allowed: bool) -> Check {
    if allowed { Check::warning(what, found) } else { Check::bad(what, found) }
}

async fn served(repository: &RepositoryAt) -> Result<Vec<Served>> {
    let packages = repository.packages.clone();
    let read = move || packages.into_iter().map(read_one).collect::<Result<Vec<_>>>();
    blocking(read).await?
}

fn read_one(package: PackageAt) -> Result<Served> {
    let PackageAt { file, name, checksum, .. } = package;
    let failed = |error: &(dyn std::error::Error + 'static)| {
        Failure::because(ExitCode::Input, format!("{name} cannot be used"), error)
    };
    let header = RpmFile::open(file.as_std_path()).map_err(|error| failed(&error))?;
    let sha256 = match checksum.as_sha256() {
        Some(sha256) => sha256,
        None => drivetrain_build::digest_of(&file).map_err(|error| failed(&error))?.1,
    };
    Ok(Served { file, name, sha256, header })
}

async fn metadata_signature(
    context: &Context,
    repository: &RepositoryAt,
    trusted: &Trusted,
    wanted: &Wanted,
) -> Result<Check> {
    const WHAT: &str = "repomd.xml";
    let name = "repodata/repomd.xml.asc";
    let signature = RepositoryAt::beside(context, &repository.source, name, evidence::MAX_SIGNATURE).await?;
    Ok(match signature {
        None => lacking(WHAT, "not signed", wanted.allow_unsigned),
        Some(signature) => trusted.judge(WHAT, &repository.repomd, &signature),
    })
}

/// The statement: that it is signed, and is about these packages and no others.
async fn statement(
    context: &Context,
    place: &Place,
    trusted: &Trusted,
    packages: &[Served],
    wanted: &Wanted,
    checks: &mut Vec<Check>,
) -> Result<Option<Statement>> {
    const WHAT: &str = "statement";
    let signature = place.signature(context).await?;
    let check = match &signature {
        None => lacking(WHAT, "not signed", wanted.allow_unsigned),
        Some(signature) => trusted.judge(WHAT, &place.statement, signature),
    };
    checks.push(check);
    let statement = match read_statement(&place.statement) {
        Ok(statement) => statement,
        Err(error) => {
            let failure = Failure::of(ExitCode::Input, &error);
            checks.push(Check::bad(WHAT, format!("{STATEMENT} cannot be used: {}", failure.one_line())));
            return Ok(None);
        }
    };
    let differs = compare_subjects(&statement, &described(packages));
    let run = &statement.predicate.run_details.metadata;
    checks.push(Check::of(
        "subjects",
        format!("it names these packages and no others; made by run {}", run.invocation_id),
        "it is not about these packages",
        differs.iter().map(ToString::to_string).collect(),
    ));
    Ok(Some(statement))
}

/// That every package is signed by a key that is trusted, or that the statement names for what came from elsewhere.
async fn package_signatures(
    packages: &[Served],
    trusted: &Trusted,
    statement: Option<&Statement>,
    wanted: &Wanted,
) -> Result<Check> {
    const WHAT: &str = "signatures";
    let Some(keyring) = trusted.all.clone() else {
        return Ok(lacking(WHAT, "of packages: there is no key to verify with", wanted.allow_unsigned));
    };
    let mut accepted = trusted.fingerprints.clone();
    accepted.extend(statement.iter().flat_map(|statement| statement.input_keys()).map(str::to_owned));
    let packages = packages.to_vec();
    let allowed = wanted.allow_unsigned;
    blocking(move || {
        let (mut problems, mut by) = (Vec::new(), BTreeMap::<String, usize>::new());
        for package in &packages {
            match verify(package.file.as_std_path(), &keyring) {
                Ok(signer) if accepted.iter().any(|key| key.eq_ignore_ascii_case(&signer.fingerprint)) => {
                    *by.entry(signer.fingerprint).or_default() += 1;
                }
                Ok(signer) => problems.push(format!(
                    "{}: signed with {}, which neither --key nor the statement names",
                    package.name, signer.fingerprint
                )),
                Err(error) => {
                    let why = Failure::of(ExitCode::Input, &*error.problem).one_line();
                    problems.push(format!("{}: {why}", package.name));
                }
            }
        }
        let by = by.iter().map(|(key, count)| format!("{count} by {key}")).collect::<Vec<_>>().join(", ");
        let bad = format!("{} of {} packages have no good one", problems.len(), packages.len());
        let mut check = Check::of(WHAT, format!("of packages: {by}"), bad, problems);
        if allowed && check.result == Outcome::Bad {
            check.result = Outcome::Warning;
        }
        check
    })
    .await
}
