//! What a builder in OpenStack is to be.

use std::time::Duration;

use super::cloud::CloudSource;

/// What a builder in OpenStack is to be.
///
/// No keypair is among it: the key to log in with is in the user data that cloud-init reads, so that there is one
/// resource less to be left behind.
#[derive(Debug, Clone)]
pub struct OpenStackOptions {
    /// Which cloud, and as whom.
    pub source: CloudSource,
    /// The image, by name or id: one with cloud-init.
    pub image: String,
    /// The flavor, by name or id.
    pub flavor: String,
    /// What the machine is connected to.
    pub attach: Attach,
    /// What its disk is.
    pub root: RootDisk,
    /// The external network, by name or id, that it gets a floating IP from; `None` where it is reached by the
    /// address that it has in its own network.
    pub floating_network: Option<String>,
    /// Names or ids of security groups; none means the project's `default`.
    pub security_groups: Vec<String>,
    /// The availability zone; `None` leaves it to Nova.
    pub availability_zone: Option<String>,
    /// Whether the user data come on a disk, for networks without a metadata service.
    pub config_drive: bool,
    /// Whom to log in as. The image's own user gets the key; one that is not there is made.
    pub user: String,
    /// How long a machine may take to be running.
    pub active_within: Duration,
    /// How long a service that is not well is waited for, and how long something may take to be gone.
    pub patience: Duration,
    /// How long one answer may take.
    pub answer_within: Duration,
}

impl OpenStackOptions {
    /// The four things that have no default; all else may be changed afterwards.
    #[must_use]
    pub fn new(source: CloudSource, image: &str, flavor: &str, attach: Attach) -> Self {
        Self {
            source,
            image: image.to_owned(),
            flavor: flavor.to_owned(),
            attach,
            root: RootDisk::Ephemeral,
            floating_network: None,
            security_groups: Vec::new(),
            availability_zone: None,
            config_drive: false,
            user: "root".to_owned(),
            active_within: Duration::from_secs(20 * 60),
            patience: Duration::from_secs(3 * 60),
            answer_within: Duration::from_secs(60),
        }
    }
}

/// What a machine is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attach {
    /// A network, by name or id: a port is made in it, and removed with the machine.
    Network(String),
    /// A port that is there already, by name or id, and stays.
    Port(String),
}

/// What a machine's disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootDisk {
    /// The flavor's own.
    Ephemeral,
    /// A volume, made from the image, and removed with the machine.
    Volume {
        /// Its size.
        gigabytes: u32,
        /// Cinder's volume type; `None` for the default one.
        kind: Option<String>,
    },
}
