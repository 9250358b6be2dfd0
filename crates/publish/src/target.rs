//! What a publication target can do.

use drivetrain_model::{PublicationState, Sha256Digest};
use jiff::Timestamp;

use crate::{Change, HistoryEntry, Manifest, Publication, PublishError, RepositoryPath, Result};

/// A place that serves driver repositories. Calls block: an asynchronous caller takes a thread for them.
///
/// An implementation keeps three promises. A repository changes in one step, as consumers see it. After an
/// error, or the end of the process at any moment, what was served before is still served. A consumer that
/// has read the metadata just before a change can still fetch what it names.
pub trait Target {
    /// Makes sure that a repository can be published at a path, before a build is paid for: directories,
    /// rights, names. Changes nothing that consumers see.
    fn ensure(&self, path: &RepositoryPath) -> Result<()>;

    /// Publishes; does nothing where the same packages from the same lock are served already.
    fn publish(&self, publication: &Publication) -> Result<Outcome>;

    /// Makes up for what a process that ended in the middle left undone at a path: leftovers, and a record that
    /// lacks the change that was made. Changes nothing that consumers see, and does nothing where all is in
    /// order.
    fn settle(&self, path: &RepositoryPath, change: &Change) -> Result<()>;

    /// Serves an earlier version again: this one, or the one that was served before.
    fn rollback(&self, path: &RepositoryPath, to: Option<u64>, change: &Change) -> Result<RolledBack>;

    /// The way back that led away from what this lock makes, where nothing was published since. Whoever went
    /// back did not want it, and a run that nobody watches must not bring it back.
    fn held_back(&self, path: &RepositoryPath, lock: Sha256Digest) -> Result<Option<HistoryEntry>>;

    /// What is served at a path, and what else is kept for it; `None` where the target does not know the path.
    fn state(&self, path: &RepositoryPath) -> Result<Option<Served>>;

    /// All repositories of the target, by path. One that is damaged does not hide the others.
    fn list(&self) -> Result<Vec<Listed>>;
}

/// What became of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is served.
    Published(Published),
    /// The same was served already.
    Unchanged {
        /// The version that is served.
        version: u64,
    },
}

/// A publication that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The new version.
    pub version: u64,
    /// The version that was served before.
    pub previous: Option<u64>,
    /// The digest of its `repomd.xml`.
    pub repomd: Sha256Digest,
    /// How many packages it lists.
    pub packages: usize,
    /// The base URL for consumers.
    pub url: String,
    /// Versions that were removed, since more than enough are kept.
    pub removed: Vec<u64>,
    /// What went wrong afterwards, without any effect on what is served.
    pub warnings: Vec<String>,
}

/// A way back that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledBack {
    /// The version that was served.
    pub from: u64,
    /// The version that is served now.
    pub to: u64,
}

/// One repository of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Its path.
    pub path: RepositoryPath,
    /// The version that consumers see; `None` where nothing is served yet.
    pub version: Option<u64>,
    /// Since when they see it.
    pub since: Option<Timestamp>,
    /// The served version's manifest.
    pub manifest: Option<Manifest>,
    /// All versions that are kept, oldest first.
    pub versions: Vec<VersionInfo>,
    /// The base URL for consumers.
    pub url: String,
}

/// One repository of a list.
#[derive(Debug)]
pub struct Listed {
    /// What is known of it.
    pub served: Served,
    /// Why not all of it is.
    pub problem: Option<PublishError>,
}

/// One version that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// Its number.
    pub version: u64,
    /// When it was made; `None` where its manifest cannot be read.
    pub made: Option<Timestamp>,
    /// Whether it is the one that is served.
    pub served: bool,
}

impl Served {
    /// What a plan with this lock makes of it.
    #[must_use]
    pub fn state_for(&self, lock: Sha256Digest) -> PublicationState {
        match (self.version, &self.manifest) {
            (Some(version), Some(manifest)) if manifest.lock == lock => PublicationState::Current { version },
            (Some(version), _) => PublicationState::Outdated { version },
            (None, _) => PublicationState::Absent,
        }
    }
}
