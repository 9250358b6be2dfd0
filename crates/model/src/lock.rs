//! The lock: every input of a cell, by name, URL, size and checksum.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{Cell, Checksum, ComponentName, Nevra, RepositoryId, Sha256Digest};

/// Every input of one cell. Two runs with equal locks build from the same bytes with the same tools.
///
/// Written as JSON with sorted keys, so that it can be committed and its diff read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The version of this format.
    pub format: u32,
    /// What the inputs are for.
    pub cell: Cell,
    /// The repositories as they were when the lock was written.
    pub repositories: BTreeMap<RepositoryId, LockedRepository>,
    /// The RPMs that the build reads, by role and name.
    pub inputs: Vec<LockedInput>,
    /// The components in build order.
    pub components: Vec<LockedComponent>,
    /// What of the configuration decides the result beside the inputs, in words by its key: build macros, what
    /// consumers see.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// What compiles: a digest over the tools' versions and bytes.
    pub toolchain: Sha256Digest,
    /// A person's words for the toolchain: `gcc 12.2.0, ld 2.40, rpmbuild 4.18.0`.
    pub toolchain_description: String,
}

/// A repository's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedRepository {
    /// Its base URL, without credentials.
    pub url: Url,
    /// The SHA-256 of its `repomd.xml`.
    pub repomd: Sha256Digest,
    /// The fingerprints of the keys that its packages are verified with; none where checksums have to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// What an input is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputRole {
    /// The kernel that the modules are for: `kernel-core`.
    Kernel,
    /// Its headers and `Module.symvers`: `kernel-devel`.
    KernelDevel,
    /// The RPM that holds the vendor's source archive: `doca-ofed-source`.
    DriverSource,
    /// The RPM that holds the vendor's build tool, where that builds: `doca-extra`.
    DriverTool,
    /// A source RPM named in the configuration, beside the vendor's.
    ExtraSource,
    /// A userspace package that the train lacks.
    Userspace,
    /// A package of the train that the root has which builds see.
    BuildRoot,
}

/// One file that the build reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedInput {
    /// What it is for.
    pub role: InputRole,
    /// Its full name.
    pub nevra: Nevra,
    /// The repository that it comes from; absent for a file or URL named in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryId>,
    /// Where its bytes are, without credentials.
    pub url: Url,
    /// How many they are.
    pub size: u64,
    /// What they are.
    pub checksum: Checksum,
}

/// One component, from its source RPM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedComponent {
    /// Its name.
    pub name: ComponentName,
    /// Its source RPM.
    pub source: Nevra,
    /// The SHA-256 of the source RPM.
    pub sha256: Sha256Digest,
    /// The components that it is built against, all of them earlier in the list.
    pub needs: Vec<ComponentName>,
    /// The site's own patches on top of it, in order: file name and SHA-256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<(String, Sha256Digest)>,
    /// The digest over all that decides what this component's build yields: its own source, the kernel's
    /// devel package, the toolchain, the macros, and the keys of what it needs.
    pub key: Sha256Digest,
}

/// One respect in which a lock does not fit what is there now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockDifference {
    /// What differs: `kernel-devel`, `component iser`.
    pub what: String,
    /// What the lock says; absent where the lock does not have it.
    pub locked: Option<String>,
    /// What is there now; absent where it is gone.
    pub found: Option<String>,
}

impl fmt::Display for LockDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "{}: locked {}, found {}", self.what, side(&self.locked), side(&self.found))
    }
}

impl Lock {
    /// The version of the format that this code writes.
    pub const FORMAT: u32 = 1;

    /// The digest of the lock's canonical text: the identity of what a build of this cell reads.
    ///
    /// The repositories stay out of it: one that gained an unrelated package, moved, or has another key has not
    /// changed what is built.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        let mut text = format!("drivetrain lock {}\n{}\n{}\n", self.format, self.cell, self.toolchain);
        for input in &self.inputs {
            text.push_str(&format!("{:?} {} {} {}\n", input.role, input.nevra, input.size, input.checksum));
        }
        for component in &self.components {
            text.push_str(&format!("{} {} {}\n", component.name, component.sha256, component.key));
        }
        for (key, value) in &self.settings {
            text.push_str(&format!("{key} {value:?}\n"));
        }
        Sha256Digest::of(text.as_bytes())
    }

    /// In what this lock differs from one made now; empty where it fits.
    #[must_use]
    pub fn differences(&self, now: &Lock) -> Vec<LockDifference> {
        let mut facts: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
        for (name, value) in self.facts() {
            facts.entry(name).or_default().0 = Some(value);
        }
        for (name, value) in now.facts() {
            facts.entry(name).or_default().1 = Some(value);
        }
        facts
            .into_iter()
            .filter(|(_, (locked, found))| locked != found)
            .map(|(what, (locked, found))| LockDifference { what, locked, found })
            .collect()
    }

    /// The lock as named facts, for comparison and for people.
    fn facts(&self) -> Vec<(String, String)> {
        let mut facts = vec![
            ("format".to_owned(), self.format.to_string()),
            ("cell".to_owned(), self.cell.to_string()),
            ("toolchain".to_owned(), format!("{} ({})", self.toolchain_description, self.toolchain.short())),
        ];
        for (key, value) in &self.settings {
            facts.push((key.clone(), value.clone()));
        }
        for (id, repository) in &self.repositories {
            facts.push((format!("url of {id}"), repository.url.to_string()));
            let keys = if repository.keys.is_empty() {
                "none: checksums only".to_owned()
            } else {
                repository.keys.join(", ")
            };
            facts.push((format!("keys of {id}"), keys));
        }
        for input in &self.inputs {
            let role = serde_name(input.role);
            facts.push((
                format!("{role} {}", input.nevra.name),
                format!("{} ({} bytes, {})", input.nevra, input.size, input.checksum),
            ));
        }
        for (position, component) in self.components.iter().enumerate() {
            for (file, sha256) in &component.patches {
                facts.push((format!("patch {file} of {}", component.name), sha256.to_string()));
            }
            facts.push((
                format!("component {}", component.name),
                format!(
                    "{} (sha256 {}, built {}.)",
                    component.source,
                    component.sha256.short(),
                    position + 1
                ),
            ));
        }
        facts
    }

    /// The input of this role, where there is one.
    #[must_use]
    pub fn input(&self, role: InputRole) -> Option<&LockedInput> {
        self.inputs.iter().find(|input| input.role == role)
    }
}

fn serde_name(role: InputRole) -> &'static str {
    match role {
        InputRole::Kernel => "kernel",
        InputRole::KernelDevel => "kernel-devel",
        InputRole::DriverSource => "driver-source",
        InputRole::DriverTool => "driver-tool",
        InputRole::ExtraSource => "extra-source",
        InputRole::Userspace => "userspace",
        InputRole::BuildRoot => "build-root",
    }
}
