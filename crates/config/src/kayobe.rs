//! What `builder.prepare.kayobe` says.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::Serialize;

use crate::Secret;

/// The site's own Kayobe configuration, applied to the builder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kayobe {
    /// The checkout of kayobe-config, with `etc/kayobe` in it. Absolute. It is not written to.
    pub configuration: Utf8PathBuf,
    /// Which of its environments; absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Kayobe's program; absent for `kayobe` where `PATH` says. Absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<Utf8PathBuf>,
    /// The group that the builder is in, and that kayobe configures. Default `seed`.
    pub group: KayobeGroup,
    /// Further groups of the inventory that the builder is in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The builder's name in the inventory. Default `drivetrain-builder`.
    pub host: String,
    /// How `kayobe … host configure` is run; absent where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_configure: Option<HostConfigure>,
    /// Playbooks that `kayobe playbook run` runs after it, one by one: paths in the checkout.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub playbooks: Vec<Utf8PathBuf>,
    /// Variables for all of them, above all that the configuration says.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// What the vault of the configuration opens with; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_password: Option<VaultPassword>,
    /// How many minutes each command may take, 1 to 1440. Default 120.
    pub deadline: u32,
}

/// A group of hosts that kayobe has a `host configure` for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KayobeGroup {
    /// `kayobe seed host configure`.
    Seed,
    /// `kayobe seed hypervisor host configure`.
    SeedHypervisor,
    /// `kayobe infra vm host configure`.
    InfraVms,
    /// `kayobe overcloud host configure`.
    Overcloud,
}

/// What of `host configure` is run: all of it, where nothing is said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct HostConfigure {
    /// Only what has one of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Not what has one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skip_tags: Vec<String>,
}

/// Where the password of the vault comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VaultPassword {
    /// From the environment.
    Given(Secret),
    /// It stands in a file of its own. Absolute.
    File(Utf8PathBuf),
}
