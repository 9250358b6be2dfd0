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
    /// What should be installed with it, where that is possible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recommends: Vec<Capability>,
    /// What it should be installed with, where that is possible: the other way round of `recommends`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supplements: Vec<Capability>,
    /// What goes well with it. Decides between equals, and brings nothing in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suggests: Vec<Capability>,
    /// What it goes well with: the other way round of `suggests`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enhances: Vec<Capability>,
    /// Those of its files that `primary.xml` lists: programs and configuration, which other packages require by
    /// path. All of them are in `filelists.xml`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

impl Package {
    /// A package that needs nothing and offers nothing.
    #[must_use]
    pub fn bare(nevra: Nevra, checksum: Checksum, size: u64, location: impl Into<String>) -> Self {
        Self {
            nevra,
            checksum,
            size,
            location: location.into(),
            build_time: 0,
            source_rpm: None,
            provides: Vec::new(),
            requires: Vec::new(),
            conflicts: Vec::new(),
            obsoletes: Vec::new(),
            recommends: Vec::new(),
            supplements: Vec::new(),
            suggests: Vec::new(),
            enhances: Vec::new(),
            files: Vec::new(),
        }
    }

    /// The first thing provided under this name.
    #[must_use]
    pub fn provided(&self, name: &str) -> Option<&Capability> {
        self.provides.iter().find(|capability| capability.name == name)
    }
}
