//! A repository as the plan sees it.

use drivetrain_model::{Architecture, Package, RepositoryId, Sha256Digest, Snapshot};
use glob::Pattern;
use url::Url;

/// What a repository says of the packages that the plan asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryMetadata {
    /// Its id.
    pub id: RepositoryId,
    /// Its base URL, without credentials.
    pub url: Url,
    /// The snapshot that the URL names.
    pub snapshot: Option<Snapshot>,
    /// As DNF means it: of the repositories that have a package of a name, only those with the lowest number
    /// count.
    pub priority: u32,
    /// Name patterns of packages that are treated as if they were not there.
    pub exclude: Vec<String>,
    /// The SHA-256 of `repomd.xml`.
    pub repomd: Sha256Digest,
    /// The fingerprints of the keys that its packages are verified with; none where checksums have to do.
    pub keys: Vec<String>,
    /// The packages of the names that the plan asks about; others may be left out.
    pub packages: Vec<Package>,
}

impl RepositoryMetadata {
    /// For people: `appstream (snapshot 20261001T000000)`.
    pub(crate) fn shown(&self) -> String {
        match &self.snapshot {
            Some(snapshot) => format!("{} (snapshot {snapshot})", self.id),
            None => self.id.to_string(),
        }
    }

    fn excludes(&self, package: &Package) -> bool {
        let nevra = package.nevra.to_string();
        self.exclude.iter().filter_map(|text| Pattern::new(text).ok()).any(|pattern| {
            pattern.matches(&package.nevra.name)
                || pattern.matches(&nevra)
                || pattern.matches(nevra.rsplit_once('.').map_or("", |(rest, _)| rest))
        })
    }
}

/// A package and the repository that has it.
pub(crate) type Found<'a> = (&'a RepositoryMetadata, &'a Package);

/// The packages of a name that DNF would see: not excluded, of an architecture that fits, and from the
/// repositories with the lowest priority number among those that have the name. Oldest first.
pub(crate) fn visible<'a>(
    repositories: &'a [RepositoryMetadata],
    name: &str,
    arch: &Architecture,
) -> Vec<Found<'a>> {
    let mut found: Vec<Found<'a>> = repositories
        .iter()
        .flat_map(|repository| repository.packages.iter().map(move |package| (repository, package)))
        .filter(|(_, package)| package.nevra.name == name)
        .filter(|(_, package)| package.nevra.arch == *arch || package.nevra.arch.as_str() == "noarch")
        .filter(|(repository, package)| !repository.excludes(package))
        .collect();
    let best = found.iter().map(|(repository, _)| repository.priority).min();
    found.retain(|(repository, _)| Some(repository.priority) == best);
    // Repositories are in the order of their ids; of equals the first stays.
    found.sort_by(|(_, a), (_, b)| a.nevra.evr.cmp(&b.nevra.evr));
    found
}
