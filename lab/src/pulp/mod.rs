//! A real Pulp server: pulpcore and pulp_rpm on PostgreSQL, without containers, redis, nginx or systemd.
//!
//! An [`Installation`] is made once in a lab: a virtual environment from pinned requirements, and a database that
//! is already migrated. A [`Server`] starts from it, empty, in some five seconds; as many as one likes at once,
//! each in a directory and on ports of its own. Nothing of a server outlives the process that started it, however
//! that ends.
//!
//! ```no_run
//! use drivetrain_lab::pulp::{self, Options, Release, Server};
//!
//! # fn main() -> anyhow::Result<()> {
//! // In a test: says so where the lab has no Pulp, and the test passes.
//! let Some(installation) = pulp::installed(Release::Current) else { return Ok(()) };
//! let server = Server::start(&installation, Options::default())?;
//! println!("{} as {}", server.api_url(), server.username());
//! # Ok(())
//! # }
//! ```

mod database;
mod home;
mod http;
mod installation;
mod server;
mod signing;

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

pub use installation::Installation;
pub use server::{Options, Server};
pub use signing::{Behaviour, SigningService, ThrowawayKey};

/// Which Pulp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The newest that was there when the pins were made.
    Current,
    /// An old one with long-term support: no sessions, no synchronous upload, no `overwrite`.
    Lts,
}

impl Release {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Current, Self::Lts];

    /// What it is called, on the command line and in the lab.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Lts => "lts",
        }
    }

    /// The version that is pinned of a Python package, `pulpcore` or `pulp-rpm` say.
    #[must_use]
    pub fn pinned(self, package: &str) -> Option<&'static str> {
        self.requirements()
            .lines()
            .filter_map(|line| line.split_once("=="))
            .find_map(|(name, version)| (name == package).then_some(version))
    }

    fn requirements(self) -> &'static str {
        match self {
            Self::Current => include_str!("../../pulp/requirements-current.txt"),
            Self::Lts => include_str!("../../pulp/requirements-lts.txt"),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// What tests start servers from: the installation in `DRIVETRAIN_LAB`, or in `.lab` at the top of the workspace.
/// `None`, and a line that says so, where there is none or an old one.
#[must_use]
pub fn installed(release: Release) -> Option<Installation> {
    let lab = std::env::var("DRIVETRAIN_LAB")
        .map_or_else(|_| Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../.lab"), Utf8PathBuf::from);
    match Installation::find(&lab, release) {
        Ok(Some(installation)) => Some(installation),
        Ok(None) => {
            println!("skipped: no Pulp ({release}) in {lab} (drivetrain-lab pulp install)");
            None
        }
        Err(error) => {
            println!("skipped: no Pulp ({release}) in {lab}: {error:#}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_releases_are_pinned_to_the_last_package() {
        for release in Release::ALL {
            for line in release.requirements().lines() {
                let (name, version) = line.split_once("==").unwrap_or_else(|| panic!("{line} is not pinned"));
                assert!(!name.is_empty() && version.starts_with(|c: char| c.is_ascii_digit()), "{line}");
            }
            assert!(release.pinned("pulpcore").is_some() && release.pinned("pulp-rpm").is_some());
        }
        assert!(Release::Current.pinned("pulp-cli").is_some(), "benches compare with it");
        assert_ne!(Release::Current.pinned("pulpcore"), Release::Lts.pinned("pulpcore"));
    }
}
