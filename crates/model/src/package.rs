//! A package as a repository's metadata describes it.

use serde::{Deserialize, Serialize};

use crate::{Capability, Checksum, Nevra};

/// One package of a repository: what `primary.xml` says of it, no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its full name.
    pub nevra: Nevra,
    /// The checksum of the whole RPM file.
    pub checksum: Checksum,
    /// The size of the RPM file in bytes.
    pub size: u64,
    /// Where it is, relative to the repository's base URL. Checked when read: no `..`, no scheme, no leading `/`.
    pub location: String,
    /// When it was built, in seconds since 1970.
    pub build_time: u64,
    /// The file name of the source RPM that it was built from; absent for a source RPM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_rpm: Option<String>,
    /// What it offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<Capability>,
    /// What it needs. Rich dependencies stand here as their text, `(a if b)`, in the capability's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Capability>,
    /// What it must not be installed with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Capability>,
    /// What it replaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obsoletes: Vec<Capability>,
}

impl Package {
    /// The first thing provided under this name.
    #[must_use]
    pub fn provided(&self, name: &str) -> Option<&Capability> {
        self.provides.iter().find(|capability| capability.name == name)
    }
}
