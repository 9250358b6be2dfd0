//! A real OpenStack: Keystone, Glance, Placement, Nova and Neutron from Debian's packages, on MariaDB and RabbitMQ.
//! Only the hypervisor is not one: Nova's own fake driver, for whose machines [`Hosts`] can stand in. There is no Cinder.
//!
//! An [`Installation`] is made once in a lab: a root directory with the packages, and databases that are migrated and
//! have flavors, images and networks in them. A [`Server`] is a cloud that starts from it, as many as one likes at
//! once. Its files are an overlay over the installation's; its services listen at an address of its own of the
//! loopback network (127.77.x.y), with the ports that they have everywhere. So nothing of this machine's network is
//! changed, and tests reach a cloud as they would reach any. Processes and mounts are in namespaces that end with the
//! process that started the cloud, however that ends. It takes root.
//!
//! ```no_run
//! use drivetrain_lab::openstack::{self, Options, Server};
//!
//! # fn main() -> anyhow::Result<()> {
//! // In a test: says so where the lab has no OpenStack, and the test passes.
//! let Some(installation) = openstack::installed() else { return Ok(()) };
//! let server = Server::start(&installation, Options::default())?;
//! println!("{}", server.clouds_yaml());
//! # Ok(())
//! # }
//! ```

mod home;
mod hosts;
mod http;
mod installation;
mod server;
mod service;

use camino::{Utf8Path, Utf8PathBuf};

pub use hosts::Hosts;
pub use installation::Installation;
pub use server::{Options, Server, Who};
pub use service::Service;

/// What tests start clouds from: the installation in `DRIVETRAIN_LAB`, or in `.lab` at the top of the workspace.
/// `None`, and a line that says so, where there is none or an old one.
#[must_use]
pub fn installed() -> Option<Installation> {
    let lab = std::env::var("DRIVETRAIN_LAB")
        .map_or_else(|_| Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../.lab"), Utf8PathBuf::from);
    let found = Installation::find(&lab);
    if found.is_none() {
        println!("skipped: no OpenStack in {lab} (drivetrain-lab openstack install)");
    }
    found
}
