//! That what is published is what was proven, byte for byte but for a signature of one's own.
//!
//! Minutes lie between the two: machines boot, people are asked for signatures. What became of a file meanwhile is not
//! known, so its digests are taken before it is proven and compared when it is handed over, and then once more with what
//! the repository lists before anything of it is served.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use drivetrain_model::{ExitCode, Package, Sha256Digest};
use drivetrain_publish::Accept;
use drivetrain_rpmfile::{PackageDigests, package_digests};

use crate::failure::{Failure, Result};
use crate::stage::blocking;

/// What packages were when they were proven.
#[derive(Debug, Clone, Default)]
pub struct AsProven(BTreeMap<PathBuf, PackageDigests>);

impl AsProven {
    /// Takes the digests of packages, before they are proven.
    pub async fn take(packages: Vec<PathBuf>) -> Result<Self> {
        blocking(move || {
            let of = |path: PathBuf| digests(&path, ExitCode::Proof).map(|digests| (path, digests));
            packages.into_iter().map(of).collect::<Result<_>>().map(Self)
        })
        .await?
    }

    /// Refuses a package that is not the one that was made.
    pub fn require(&self, package: &Path, made: Sha256Digest) -> Result<()> {
        let found = self.0.get(package).ok_or_else(|| unknown(package))?;
        as_made(package, made, found)
    }

    /// Compares what is handed over to be published, in the order of the packages that it was made of: each the very file,
    /// or a copy of it with a signature. What comes back has the last word about what the repository lists.
    pub async fn hand_over(&self, packages: Vec<PathBuf>, handed_over: Vec<PathBuf>) -> Result<Accept> {
        let proven = self.clone();
        blocking(move || proven.compare(&packages, &handed_over))
            .await?
            .map(|expected| Accept::new(listing(expected)))
    }

    fn compare(&self, packages: &[PathBuf], handed_over: &[PathBuf]) -> Result<BTreeSet<Sha256Digest>> {
        if packages.len() != handed_over.len() {
            let (of, count) = (packages.len(), handed_over.len());
            let message = format!("{of} packages were proven, and {count} are to be published");
            return Err(Failure::new(ExitCode::Internal, message));
        }
        packages.iter().zip(handed_over).map(|(package, handed)| self.same(package, handed)).collect()
    }

    /// Whether a package is the one that was proven, its signature aside where it is a copy; and its digest.
    fn same(&self, package: &Path, handed: &Path) -> Result<Sha256Digest> {
        let proven = self.0.get(package).ok_or_else(|| unknown(package))?;
        let found = digests(handed, ExitCode::Publish)?;
        let (before, after) =
            if package == handed { (proven.file, found.file) } else { (proven.content, found.content) };
        if before == after {
            return Ok(found.file);
        }
        let failure = changed(ExitCode::Publish, package, ("proven", before), ("to be published", after));
        Err(failure.next("find out what writes there, and run again: what is to be published is proven anew"))
    }
}

/// Refuses a package that is not, or not any more, the one that was made.
pub fn require_made(package: &Path, made: Sha256Digest) -> Result<()> {
    as_made(package, made, &digests(package, ExitCode::Proof)?)
}

fn as_made(package: &Path, made: Sha256Digest, found: &PackageDigests) -> Result<()> {
    if found.file == made {
        return Ok(());
    }
    let failure = changed(ExitCode::Proof, package, ("made", made), ("there", found.file));
    Err(failure.next("find out what writes there, and run again: what was changed is made anew"))
}

fn digests(path: &Path, code: ExitCode) -> Result<PackageDigests> {
    package_digests(path).map_err(|error| Failure::of(code, &error))
}

fn changed(
    code: ExitCode,
    package: &Path,
    (was, before): (&str, Sha256Digest),
    (is, after): (&str, Sha256Digest),
) -> Failure {
    let package = package.display();
    let message = format!("{package} was changed by somebody after it was {was}; nothing was published");
    let mut failure = Failure::new(code, message);
    failure.causes = vec![format!("sha256 {before} was {was}"), format!("sha256 {after} is {is}")];
    failure
}

fn unknown(package: &Path) -> Failure {
    Failure::new(ExitCode::Internal, format!("{} was not proven", package.display()))
}

/// Whether a repository lists just these packages.
fn listing(expected: BTreeSet<Sha256Digest>) -> impl Fn(&[Package]) -> Result<(), String> {
    move |listed| {
        let known =
            |package: &Package| package.checksum.as_sha256().is_none_or(|sha256| expected.contains(&sha256));
        match listed.iter().find(|package| !known(package)) {
            Some(other) => Err(format!(
                "{} is listed with {}, which is not what was proven",
                other.nevra, other.checksum
            )),
            None if listed.len() == expected.len() => Ok(()),
            None => Err(format!("{} packages were proven, and it lists {}", expected.len(), listed.len())),
        }
    }
}

#[cfg(test)]
mod tests;
