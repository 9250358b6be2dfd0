//! RPMs into a directory.

use std::time::Duration;

use camino::Utf8PathBuf;

use super::spec::{Bind, SandboxSpec};

/// Where the directory is while packages are installed into it.
pub(super) const INSIDE: &str = "/root-to-install";
/// Where the packages are.
const PACKAGES: &str = "/packages";
/// Where every distribution of the field had its RPM database at some time, and where this host's own is not.
const DATABASE: &str = "/var/lib/rpm";

/// What is installed, and where.
#[derive(Debug, Clone)]
pub struct InstallJob {
    /// An empty directory.
    pub root: Utf8PathBuf,
    /// The packages, each by the name that rpm is to call it by, and its file. Verified before: rpm checks what they say
    /// of themselves, and no signature.
    pub packages: Vec<(String, Utf8PathBuf)>,
    /// What rpm and the packages' scripts say.
    pub log: Utf8PathBuf,
    /// After this time it is killed.
    pub deadline: Option<Duration>,
}

impl InstallJob {
    /// Where the RPM database of the root is afterwards, below it.
    pub const DATABASE: &str = "var/lib/rpm";

    pub(super) fn sandbox(&self) -> SandboxSpec {
        let mut binds: Vec<Bind> = self
            .packages
            .iter()
            .map(|(name, file)| Bind::read_only(file, format!("{PACKAGES}/{name}")))
            .collect();
        binds.push(Bind::writable(&self.root, INSIDE));
        SandboxSpec { binds, ..SandboxSpec::default() }
    }

    /// One transaction: rpm checks that the set is complete, and orders it.
    pub(super) fn arguments(&self) -> Vec<String> {
        let options = ["--root", INSIDE, "--dbpath", DATABASE, "--nosignature", "--excludedocs", "--install"];
        let files = self.packages.iter().map(|(name, _)| format!("{PACKAGES}/{name}"));
        options.iter().map(|option| (*option).to_owned()).chain(files).collect()
    }
}
