//! What is handed over to be published.

use std::collections::BTreeMap;
use std::path::PathBuf;

use drivetrain_model::{Cell, RunId, Sha256Digest};
use jiff::Timestamp;

use crate::RepositoryPath;

/// One driver repository, to be served as a whole.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Where, below the target: the configuration's layout, applied.
    pub path: RepositoryPath,
    /// The driver stack's name.
    pub driver_name: String,
    /// What it was built for.
    pub cell: Cell,
    /// The packages. They may be linked rather than copied, and so must not be changed in place afterwards.
    pub rpms: Vec<PathBuf>,
    /// What goes out beside the packages as evidence: bytes by file name, such as `lock.json`.
    pub evidence: BTreeMap<String, Vec<u8>>,
    /// What the `.repo` file says to consumers.
    pub consumers: ConsumerSettings,
    /// The digest of the lock that the packages were built from.
    pub lock: Sha256Digest,
    /// The run that built them.
    pub run: RunId,
    /// The change, for the record.
    pub change: Change,
}

/// Who changes what is served, when and why: kept in the repository's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who: `user@host`, or the name of an automatic job.
    pub by: String,
    /// Why, in a few words.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// What the `.repo` file says, so that consumers keep what they have installed from the driver repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// The driver repository's priority, as DNF means it.
    pub priority: u32,
    /// The vendor's repository, where consumers are to see it as well.
    pub vendor: Option<VendorRepository>,
}

/// The vendor's repository, as consumers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorRepository {
    /// Its id.
    pub id: String,
    /// Its base URL, without credentials.
    pub url: String,
    /// Its priority.
    pub priority: u32,
    /// Name patterns of packages that consumers are not to see.
    pub exclude: Vec<String>,
    /// Whether consumers verify its packages' signatures.
    pub verify: bool,
    /// The URLs of the keys for that; where there are none, consumers have to have imported them.
    pub keys: Vec<String>,
}
