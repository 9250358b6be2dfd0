//! The train's repositories, as dnf on the machine reads them.

use std::fmt::Write as _;

use drivetrain_model::RepositoryId;
use url::Url;

/// One repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryDefinition {
    /// Its id.
    pub id: RepositoryId,
    /// Its URL at the train's snapshot, as the machine reaches it.
    pub url: Url,
    /// As DNF means it.
    pub priority: u32,
    /// Whether the signatures of its packages are checked.
    pub signed: bool,
    /// Name patterns of packages that are as if they were not there.
    pub exclude: Vec<String>,
    /// Whether module streams do not hide its packages.
    pub module_hotfixes: bool,
}

/// Where the keys are put.
const KEYS: &str = "/etc/pki/rpm-gpg/RPM-GPG-KEY-drivetrain";

/// The `.repo` file of these (dnf.conf(5)). URLs and ids have no line ends: their types see to that.
#[must_use]
pub fn repository_file(repositories: &[RepositoryDefinition], has_keys: bool) -> String {
    let mut text = String::from("# Written by drivetrain: the release train, at its snapshots.\n");
    for repository in repositories {
        let signed = repository.signed && has_keys;
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "\n[{id}]\nname={id} of the release train\nbaseurl={url}\nenabled=1\npriority={priority}\n\
             gpgcheck={check}\nskip_if_unavailable=0\n",
            id = repository.id,
            url = repository.url,
            priority = repository.priority,
            check = u8::from(signed),
        );
        if signed {
            let _ = writeln!(text, "gpgkey=file://{KEYS}");
        }
        if !repository.exclude.is_empty() {
            let _ = writeln!(text, "excludepkgs={}", repository.exclude.join(","));
        }
        if repository.module_hotfixes {
            let _ = writeln!(text, "module_hotfixes=1");
        }
    }
    text
}
