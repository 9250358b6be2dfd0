//! What is handed over to be published.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use drivetrain_model::{Cell, Nevra, Package, RunId, Sha256Digest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Lockstep, Manifest, RepositoryPath};

/// Where a repository is, and what it is called there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Its path: below a directory, or the base path of a distribution.
    pub path: RepositoryPath,
    /// The name of Pulp's repository, which all channels of a cell share.
    pub repository: String,
    /// The name of Pulp's distribution.
    pub distribution: String,
    /// Labels that the site wants on the distribution, beside drivetrain's own.
    pub labels: BTreeMap<String, String>,
}

impl From<RepositoryPath> for Address {
    /// With names that are made of the path.
    fn from(path: RepositoryPath) -> Self {
        let name = path.as_str().replace('/', "-");
        Self { path, repository: name.clone(), distribution: name, labels: BTreeMap::new() }
    }
}

/// One driver repository, to be served as a whole.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Where.
    pub address: Address,
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
    /// Public keys, armored, of packages that others have signed; served beside the target's own where it signs.
    pub keys: String,
    /// The digest of the lock that the packages were built from.
    pub lock: Sha256Digest,
    /// The run that built them.
    pub run: RunId,
    /// How they were proven; `None` where they were not.
    pub verdicts: Option<Verdicts>,
    /// What holds kernels and drivers together, where the packages are for several kernels.
    pub lockstep: Option<Lockstep>,
    /// Whether packages may take the place of others of the same name, version and architecture that are served now:
    /// nodes that have those do not notice.
    pub replace: bool,
    /// Has the last word before anything is served.
    pub accept: Accept,
    /// The change, for the record.
    pub change: Change,
}

/// How what is served was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// How many modules fit the kernel.
    pub modules: usize,
    /// How many symbols were found with the right CRC.
    pub symbols: usize,
    /// How many of the packages are installed together.
    pub installed: usize,
    /// How many of the train's packages come with them.
    pub from_train: usize,
    /// What became of them where the kernel was booted with them; absent where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booted: Option<BootedWith>,
}

impl Verdicts {
    /// Whether they say of a boot what these do not, which are of the same packages.
    #[must_use]
    pub fn tell_more_than(&self, before: Option<&Self>) -> bool {
        self.booted.is_some() && self.booted != before.and_then(|before| before.booted)
    }
}

/// What became of modules in a kernel that was booted with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootedWith {
    /// How many it loaded.
    pub modules: usize,
    /// How much was not well.
    pub problems: usize,
    /// Whether they did what they are for; `false` where nothing tries that.
    pub functional: bool,
}

/// Looks at the packages that a repository lists, as its consumers read them, and says what is wrong with that.
#[derive(Clone)]
pub struct Accept(Arc<Judge>);

type Judge = dyn Fn(&[Package]) -> Result<(), String> + Send + Sync;

impl Accept {
    /// With a judge.
    pub fn new(judge: impl Fn(&[Package]) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(judge))
    }

    /// This judge, and then another.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::new(move |listed| self.judge(listed).and_then(|()| other.judge(listed)))
    }

    /// Asks the judge.
    pub(crate) fn judge(&self, packages: &[Package]) -> Result<(), String> {
        (self.0)(packages)
    }
}

impl Default for Accept {
    /// Anything: for what was proven otherwise.
    fn default() -> Self {
        Self::new(|_| Ok(()))
    }
}

impl fmt::Debug for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accept")
    }
}

/// What is known of a version that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The driver stack's name.
    pub driver_name: String,
    /// What it was built for.
    pub cell: Cell,
    /// The digest of the lock that it was built from.
    pub lock: Sha256Digest,
    /// The run that built it.
    pub run: RunId,
    /// When it was made.
    pub made: Timestamp,
    /// How many packages it has.
    pub packages: usize,
    /// How it was proven; `None` where that is not known.
    pub verdicts: Option<Verdicts>,
    /// What holds kernels and drivers together, where it is for several kernels.
    pub lockstep: Option<Lockstep>,
    /// The fingerprint of the key that packages are signed with; `None` where they are not.
    pub signed_by: Option<String>,
    /// The fingerprint of the key that the metadata are signed with; `None` where they are not.
    pub metadata_signed_by: Option<String>,
    /// The URLs of the keys; `None` where they are in a file beside the metadata, as a directory has them.
    pub keys: Option<Vec<String>>,
}

impl From<&Manifest> for Record {
    fn from(manifest: &Manifest) -> Self {
        Self {
            driver_name: manifest.driver_name.clone(),
            cell: manifest.cell.clone(),
            lock: manifest.lock,
            run: manifest.run.clone(),
            made: manifest.made,
            packages: manifest.packages.len(),
            verdicts: manifest.verdicts,
            lockstep: manifest.lockstep.clone(),
            signed_by: manifest.signed.as_ref().map(|signed| signed.by.clone()),
            metadata_signed_by: manifest.signed.as_ref().map(|signed| signed.by.clone()),
            keys: None,
        }
    }
}

/// A package that would take the place of another of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The full name of both.
    pub nevra: Nevra,
    /// The one that is served.
    pub served: String,
    /// The one that would be.
    pub new: Sha256Digest,
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
