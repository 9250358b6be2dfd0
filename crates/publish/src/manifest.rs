//! What a version holds, in its own words.

use drivetrain_model::{Cell, Nevra, RunId, Sha256Digest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Lockstep, RepositoryPath, Verdicts};

/// `manifest.json` of a version: what it is, from what it was made, and every file that belongs to it. Files of
/// the version's directory that are not listed here belong to earlier or later versions, and are there for
/// consumers that still read those.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this format.
    pub format: u32,
    /// The repository.
    pub path: RepositoryPath,
    /// The version.
    pub version: u64,
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
    /// How it was proven; absent in versions from before that was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<Verdicts>,
    /// What holds kernels and drivers together; absent where it is for the kernel of the cell alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lockstep: Option<Lockstep>,
    /// The digest of `repodata/repomd.xml`.
    pub repomd: Sha256Digest,
    /// The signature over the metadata, and the keys beside it; absent where they are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<ManifestSignature>,
    /// The packages that the metadata lists, in its order.
    pub packages: Vec<ManifestPackage>,
    /// The metadata's documents; their names hold their checksums.
    pub metadata: Vec<ManifestFile>,
    /// The evidence.
    pub evidence: Vec<ManifestFile>,
}

/// That a version is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestSignature {
    /// The fingerprint of the key.
    pub by: String,
    /// The signature, and the public keys of it and of the packages. Their names mean something else in every version.
    pub files: Vec<ManifestFile>,
}

/// A package of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPackage {
    /// Its full name.
    pub nevra: Nevra,
    /// Its file.
    #[serde(flatten)]
    pub file: ManifestFile,
}

/// A file of a version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Where it is, relative to the version's directory.
    pub location: String,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Manifest {
    /// The version of the format that this code writes.
    pub const FORMAT: u32 = 1;
    /// The name of the file.
    pub const FILE: &str = "manifest.json";

    /// The files whose names never mean anything else: a consumer of another version may ask for them.
    pub(crate) fn carried(&self) -> impl Iterator<Item = &ManifestFile> {
        self.metadata.iter().chain(self.packages.iter().map(|package| &package.file))
    }
}
