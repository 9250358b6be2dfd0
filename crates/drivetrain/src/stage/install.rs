//! That what is published can be installed, keeps its place, and owns its files.
//!
//! The plan judged by names and versions what will be built; here are the packages, and their headers decide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::Utf8PathBuf;
use drivetrain_config::{Config, Repository};
use drivetrain_fetch::Request;
use drivetrain_model::{Checksum, Event, ExitCode, Nevra, Package, RepositoryId, Sha256Digest};
use drivetrain_plan::{Installation, Inventories, Refusal, files_to_install, installation, takeovers};
use drivetrain_prove::{FileConflict, file_conflicts};
use drivetrain_publish::Accept;
use drivetrain_rpmfile::{FileKind, RpmFile};
use drivetrain_solve::{IndexBuilder, RepositoryIndex, Takeover};
use serde::Serialize;

use crate::context::{Context, source};
use crate::failure::{Failure, Result};
use crate::stage::blocking;
use crate::stage::keys::Trust;
use crate::stage::plan::Planned;

/// What was found, for the evidence.
#[derive(Debug, Serialize)]
pub struct InstallationProof {
    /// How it installs.
    pub installation: Installation,
    /// What would take the place of it; nothing, or it is not published.
    pub takeovers: Vec<Takeover>,
    /// Files that two packages want to own; none, or it is not published.
    pub file_conflicts: Vec<FileConflict>,
}

/// The packages to publish, by their headers.
pub(super) struct Own {
    pub(super) files: Vec<RpmFile>,
    pub(super) index: Arc<RepositoryIndex>,
    /// What is meant to be installed at once.
    pub(super) wanted: Vec<String>,
}

/// Proves it, or refuses.
pub async fn prove(
    context: &Context,
    config: &Config,
    planned: &mut Planned,
    packages: &[Utf8PathBuf],
) -> Result<(InstallationProof, Accept)> {
    let own = read(config, packages).await?;
    let (settings, index, wanted) = (config.clone(), own.index.clone(), own.wanted.clone());
    let ask = move |inventories: &Inventories| files_to_install(&settings, inventories, &index, &wanted);
    let inventories = planned.repositories.look_up_all(context, config, ask).await?;
    let (installation, takeovers) = solve(config, &inventories, &own.index, &own.wanted).await?;
    for package in &installation.uninstallable {
        context.reporter.warn(format!("{} cannot be installed: {}", package.package, package.because));
    }
    let train = &installation.together.train;
    let files = installed_files(&own, &installation);
    let neighbours = planned.repositories.neighbours(context, &inventories, train, &paths_of(&files)).await?;
    let file_conflicts = conflicts(context, config, files, neighbours).await?;
    let proof = InstallationProof { installation, takeovers, file_conflicts };
    proof.require_good(config)?;
    let together = &proof.installation.together;
    context
        .reporter
        .emit(Event::Installable { packages: together.packages.len(), from_train: together.train.len() });
    let accept = judge_of(config, inventories, own.wanted, &proof.installation);
    Ok((proof, accept))
}

/// Judges packages as a repository lists them: that what is wanted installs from them as it did from the files.
fn judge_of(config: &Config, inventories: Inventories, wanted: Vec<String>, proven: &Installation) -> Accept {
    let config = config.clone();
    let names = |installation: &Installation| -> BTreeSet<Nevra> {
        installation.together.packages.iter().map(|package| package.nevra.clone()).collect()
    };
    let proven = names(proven);
    Accept::new(move |listed| {
        let mut builder = IndexBuilder::default();
        for package in listed {
            builder.push(package);
        }
        let index = Arc::new(builder.finish().map_err(|duplicate| duplicate.to_string())?);
        let found = installation(&config, &inventories, &index, &wanted)
            .map_err(|refusal| Failure::from(refusal).one_line())?;
        if names(&found) == proven {
            return Ok(());
        }
        Err("what installs from it is not what installed from the files that were built".to_owned())
    })
}

pub(super) async fn read(config: &Config, packages: &[Utf8PathBuf]) -> Result<Own> {
    let packages = packages.to_vec();
    let wanted = config.driver.userspace.as_ref().map(|userspace| userspace.packages.clone());
    blocking(move || {
        let files = packages
            .iter()
            .map(|path| {
                RpmFile::open(path.as_std_path()).map_err(|error| Failure::of(ExitCode::Proof, &error))
            })
            .collect::<Result<Vec<RpmFile>>>()?;
        let modules = files.iter().filter(|file| has_modules(file)).map(|file| file.nevra.to_string());
        let wanted = modules.chain(wanted.into_iter().flatten()).collect();
        Ok(Own { index: Arc::new(index(&files)?), wanted, files })
    })
    .await?
}

/// Whether a package has kernel modules.
pub fn has_modules(package: &RpmFile) -> bool {
    const ENDINGS: [&str; 5] = [".ko", ".ko.xz", ".ko.gz", ".ko.zst", ".ko.bz2"];
    package.files.iter().any(|file| {
        let path = file.path.strip_prefix("/usr").unwrap_or(&file.path);
        path.starts_with("/lib/modules/") && ENDINGS.iter().any(|ending| path.ends_with(ending))
    })
}

/// A package as metadata would have it. The header has no checksum of its own file, and the world asks for none: the name
/// stands for it.
pub(super) fn listed(file: &RpmFile, location: String) -> Package {
    let checksum = Checksum::from(Sha256Digest::of(file.nevra.to_string().as_bytes()));
    file.clone().into_package(checksum, 0, location)
}

/// Packages as a repository.
pub(super) fn index<'f>(files: impl IntoIterator<Item = &'f RpmFile>) -> Result<RepositoryIndex> {
    let mut builder = IndexBuilder::default();
    for file in files {
        builder.push(&listed(file, file.nevra.file_name()));
    }
    builder.finish().map_err(|duplicate| Failure::of(ExitCode::Proof, &*duplicate))
}

/// How what is wanted installs from a repository, and what would take the place of its packages.
pub(super) async fn solve(
    config: &Config,
    inventories: &Inventories,
    index: &Arc<RepositoryIndex>,
    wanted: &[String],
) -> Result<(Installation, Vec<Takeover>)> {
    let (config, inventories) = (config.clone(), inventories.clone());
    let (index, wanted) = (Arc::clone(index), wanted.to_vec());
    let solved = blocking(move || {
        let installation = installation(&config, &inventories, &index, &wanted)?;
        Ok((installation, takeovers(&config, &inventories, &index)))
    });
    solved.await?.map_err(|refusal: Refusal| Failure { code: ExitCode::Proof, ..Failure::from(refusal) })
}

/// The published packages that are installed together.
fn installed_files<'o>(own: &'o Own, installation: &Installation) -> Vec<&'o RpmFile> {
    let together: BTreeSet<&Nevra> =
        installation.together.packages.iter().map(|package| &package.nevra).collect();
    own.files.iter().filter(|file| together.contains(&file.nevra)).collect()
}

/// All paths that packages bring, each with whether it is a directory.
fn paths_of<'o>(files: &[&'o RpmFile]) -> BTreeMap<&'o str, bool> {
    files
        .iter()
        .flat_map(|file| &file.files)
        .filter(|file| !file.ghost)
        .map(|file| (file.path.as_str(), file.kind == FileKind::Directory))
        .collect()
}

/// Files that packages want to own against each other, or against those of the train that have the same paths.
async fn conflicts(
    context: &Context,
    config: &Config,
    mut files: Vec<&RpmFile>,
    neighbours: Vec<(RepositoryId, Vec<Package>)>,
) -> Result<Vec<FileConflict>> {
    let mut headers = Vec::new();
    for (id, packages) in neighbours {
        let Some((_, repository)) = config.repositories().find(|(known, _)| *known == id) else { continue };
        let trust = Trust::of(context, &id, repository).await?;
        for package in packages {
            headers.push(header(context, repository, package, &trust).await?);
        }
    }
    files.extend(&headers);
    Ok(file_conflicts(&files))
}

/// A package of the train's, for its header: what is in its files is told nowhere else.
async fn header(
    context: &Context,
    repository: &Repository,
    package: Package,
    trust: &Trust,
) -> Result<RpmFile> {
    let from = source(&repository.url, repository.credentials.as_ref())?
        .join(&package.location)
        .map_err(|error| Failure::of(ExitCode::Input, &error))?;
    let request = Request { source: from, checksum: package.checksum, size: Some(package.size) };
    let (fetched, _) = trust.fetch(context, &request, &package.nevra).await?;
    let opened = blocking(move || RpmFile::open(fetched.path.as_std_path())).await?;
    opened.map_err(|error| Failure::of(ExitCode::Input, &error))
}

impl InstallationProof {
    fn require_good(&self, config: &Config) -> Result<()> {
        if !self.takeovers.is_empty() {
            return Err(would_be_taken_over(config, &self.takeovers));
        }
        if self.file_conflicts.is_empty() {
            return Ok(());
        }
        let mut by_packages: BTreeMap<(&Nevra, &Nevra), usize> = BTreeMap::new();
        for conflict in &self.file_conflicts {
            *by_packages.entry((&conflict.package, &conflict.other)).or_default() += 1;
        }
        let mut failure = Failure::new(
            ExitCode::Proof,
            format!(
                "{} of packages want to own the same files; nothing was published",
                crate::view::words::count(by_packages.len(), "pair")
            ),
        );
        failure.causes = self.file_conflicts.iter().take(20).map(ToString::to_string).collect();
        Err(failure.next(
            "leave one of the packages out (driver.components.exclude, consumers.exclude), or ask the vendor",
        ))
    }
}

/// That packages would not stay on nodes.
pub fn would_be_taken_over(config: &Config, takeovers: &[Takeover]) -> Failure {
    let mut failure = Failure::new(
        ExitCode::Proof,
        "nodes would not keep what is published: other packages would take its place; nothing was published",
    );
    failure.causes = takeovers.iter().map(ToString::to_string).collect();
    let names: BTreeSet<&str> = takeovers.iter().map(|takeover| takeover.taken_by.name.as_str()).collect();
    failure.next(format!(
        "give the driver repository a lower consumers.priority (it is {}) than the repositories of these have, or keep \
         them from the nodes: `exclude` of the repository, or consumers.exclude: [{}]",
        config.consumers.priority,
        names.into_iter().collect::<Vec<_>>().join(", ")
    ))
}
