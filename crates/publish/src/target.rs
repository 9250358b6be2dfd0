//! What a publication target can do.

use std::path::{Path, PathBuf};

use drivetrain_model::{PublicationState, Sha256Digest};
use jiff::Timestamp;

use crate::{
    Address, Change, ConsumerSettings, HistoryEntry, Publication, PublishError, Record, RepositoryPath,
    Result,
};

/// A place that serves driver repositories. Calls block: an asynchronous caller takes a thread for them.
///
/// An implementation keeps three promises. A repository changes in one step, as consumers see it. After an
/// error, or the end of the process at any moment, what was served before is still served. A consumer that
/// has read the metadata just before a change can still fetch what it names.
pub trait Target: Send + Sync {
    /// Makes sure that a repository can be published at a path, before a build is paid for: directories,
    /// rights, names. Changes nothing that consumers see.
    fn ensure(&self, address: &Address) -> Result<()>;

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

    /// Serves at other places what is served at these: all of it, or none of it.
    fn promote(&self, promotions: &[Promotion], change: &Change) -> Result<Vec<Promoted>>;

    /// Reads back what is served at a path.
    fn check(&self, path: &RepositoryPath, depth: Depth) -> Result<Check>;

    /// The files of the packages that are served at a path, each with the bytes that were published: where they are, or
    /// in a directory that they are brought into. They must not be changed.
    fn packages(&self, path: &RepositoryPath, into: &Path) -> Result<Vec<PathBuf>>;

    /// Who changed what is served at a path, oldest first.
    fn history(&self, path: &RepositoryPath) -> Result<Vec<HistoryEntry>>;

    /// The name of the `.repo` file below a repository's URL.
    fn repo_file(&self) -> &'static str;

    /// The base URL of a repository for consumers.
    fn url(&self, path: &RepositoryPath) -> Result<String>;

    /// All repositories of the target, by path. One that is damaged does not hide the others.
    fn list(&self) -> Result<Vec<Listed>>;
}

/// How much of what is served is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The metadata: that it is whole, and what was published.
    Metadata,
    /// Every byte of every package as well.
    Packages,
}

/// What was found right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// The version.
    pub version: u64,
    /// How many packages it lists.
    pub packages: usize,
    /// How many bytes of packages were compared with their checksums.
    pub bytes: u64,
}

/// What is served at one place, to be served at another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// From where.
    pub from: RepositoryPath,
    /// To where.
    pub to: Address,
    /// What the `.repo` file says there.
    pub consumers: ConsumerSettings,
}

/// A promotion that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promoted {
    /// Where.
    pub path: RepositoryPath,
    /// The version that was served there before.
    pub previous: Option<u64>,
    /// The version that is served there now.
    pub version: u64,
    /// Whether it was served there already.
    pub unchanged: bool,
    /// The base URL for consumers.
    pub url: String,
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
    /// What is known of the version that is served.
    pub record: Option<Record>,
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
        match (self.version, &self.record) {
            (Some(version), Some(record)) if record.lock == lock => PublicationState::Current { version },
            (Some(version), _) => PublicationState::Outdated { version },
            (None, _) => PublicationState::Absent,
        }
    }
}
