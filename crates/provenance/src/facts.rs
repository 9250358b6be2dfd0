//! What is known of a repository that is about to be published.

use std::collections::BTreeMap;

use drivetrain_model::{Cell, Checksum, Lock, Nevra, RunId, Sha256Digest};
use jiff::Timestamp;
use serde_json::Value;

use crate::ComponentMade;

/// All of it.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What it was made of.
    pub made: Made,
    /// The driver stack's name.
    pub driver_name: String,
    /// What it is for. Of a repository for several kernels: the newest.
    pub cell: Cell,
    /// The packages, as they will be served.
    pub packages: Vec<PublishedPackage>,
    /// The evidence beside them.
    pub evidence: Vec<EvidenceFile>,
    /// Who signs the modules.
    pub module_signers: Vec<Signatory>,
    /// The fingerprint of the key that packages and statement are signed with; `None` where they are not.
    pub signed_by: Option<String>,
    /// The run that made it.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
    /// Who ran it: `user@host`.
    pub by: String,
    /// The version of drivetrain.
    pub version: String,
}

/// What a repository was made of.
#[derive(Debug, Clone)]
pub enum Made {
    /// Packages for one kernel, from a lock.
    Cell {
        /// The lock.
        lock: Box<Lock>,
        /// What became of the components.
        components: Vec<ComponentMade>,
        /// Where it was built, a line each; empty for the host of the run.
        builder: Vec<String>,
    },
    /// The repositories of several kernels, put together.
    Lockstep {
        /// What decided what goes in.
        digest: Sha256Digest,
        /// What went in.
        sources: Vec<Source>,
    },
}

/// Something that a repository was put together from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What it is called.
    pub name: String,
    /// Where it is, where that is known.
    pub uri: Option<String>,
    /// What it is.
    pub checksum: Checksum,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPackage {
    /// The name of its file.
    pub file: String,
    /// Its full name.
    pub nevra: Nevra,
    /// The digest of its bytes, with signatures.
    pub sha256: Sha256Digest,
    /// Its licence, as its header says it.
    pub license: String,
    /// The file name of the source RPM that it was built from, as its header says it.
    pub source_rpm: Option<String>,
    /// The kernel modules in it.
    pub modules: Vec<ModuleIn>,
}

/// One kernel module of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleIn {
    /// The kernel's name for it.
    pub name: String,
    /// Where it is installed.
    pub path: String,
    /// The digest of its content, without signatures and compression, where it was taken.
    pub content: Option<Sha256Digest>,
}

/// One file of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceFile {
    /// Its name.
    pub name: String,
    /// What it is.
    pub sha256: Sha256Digest,
    /// What it says, in short.
    pub says: BTreeMap<String, Value>,
}

/// A certificate that modules are signed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signatory {
    /// The name on it.
    pub subject: String,
    /// The SHA-256 of its DER form.
    pub fingerprint: Sha256Digest,
}
