//! The parts of a cloud.

use super::home::Home;

/// A part of a cloud that can be stopped and started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Who is who, and where what is.
    Keystone,
    /// Images.
    Glance,
    /// What hosts have.
    Placement,
    /// Networks, ports, floating IPs.
    Neutron,
    /// Servers: what is asked.
    NovaApi,
    /// Servers: what asks the database.
    NovaConductor,
    /// Servers: what chooses a host.
    NovaScheduler,
    /// Servers: what would run them.
    NovaCompute,
}

impl Service {
    /// All of them, in the order in which they start.
    pub const ALL: [Self; 8] = [
        Self::Keystone,
        Self::Placement,
        Self::Glance,
        Self::NovaConductor,
        Self::Neutron,
        Self::NovaApi,
        Self::NovaScheduler,
        Self::NovaCompute,
    ];

    /// What it is called, in messages and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keystone => "keystone",
            Self::Glance => "glance",
            Self::Placement => "placement",
            Self::Neutron => "neutron",
            Self::NovaApi => "nova-api",
            Self::NovaConductor => "nova-conductor",
            Self::NovaScheduler => "nova-scheduler",
            Self::NovaCompute => "nova-compute",
        }
    }

    /// Where its API is, below the address.
    pub(super) fn endpoint(self) -> Option<&'static str> {
        match self {
            Self::Keystone => Some(":5000/v3"),
            Self::Glance => Some(":9292/v2"),
            Self::Placement => Some(":8778"),
            Self::Neutron => Some(":9696/v2.0"),
            Self::NovaApi => Some(":8774/v2.1"),
            Self::NovaConductor | Self::NovaScheduler | Self::NovaCompute => None,
        }
    }

    /// What is run in the root directory.
    pub(super) fn command(self, home: &Home) -> Vec<String> {
        let address = home.address();
        let file = |name: &str| format!("/lab/etc/{name}");
        let words: Vec<String> = match self {
            Self::Keystone => vec![
                "env".into(),
                format!("OS_KEYSTONE_CONFIG_FILES={}", file("keystone.conf")),
                file("uwsgi.sh"),
                address,
                "5000".into(),
                "/usr/bin/keystone-wsgi-public".into(),
            ],
            Self::Placement => vec![
                "env".into(),
                "OS_PLACEMENT_CONFIG_DIR=/lab/etc".into(),
                file("uwsgi.sh"),
                address,
                "8778".into(),
                "/usr/bin/placement-api".into(),
            ],
            Self::Glance => vec!["glance-api".into(), "--config-file".into(), file("glance.conf")],
            Self::Neutron => vec![
                "neutron-server".into(),
                "--config-file".into(),
                file("neutron.conf"),
                "--config-file".into(),
                file("ml2.ini"),
            ],
            _ => vec![self.name().to_owned(), "--config-file".into(), file("nova.conf")],
        };
        words
    }
}
