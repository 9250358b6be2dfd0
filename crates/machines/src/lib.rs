//! Builder machines: made, prepared, and always destroyed.
//!
//! A [`Provider`] makes machines and finds again what was made, by what is noted on the machines themselves. A
//! [`Lease`] is written down before a machine is asked for: whoever comes later, anywhere, finds what has expired and
//! removes it.

mod book;
mod cloud_init;
mod error;
mod hold;
pub mod kayobe;
mod key;
mod lease;
mod leasing;
mod openstack;
mod prepare;
mod provider;
mod qemu;

pub use book::{Entry, LeaseBook};
pub use cloud_init::user_data;
pub use error::{MachineError, Result};
pub use hold::{hold, let_go};
pub use key::{USER_KEY, make_identity};
pub use lease::{Lease, LeaseId, TAG, Tags};
pub use leasing::{Leased, Reaped, give_back, reap, take};
pub use openstack::{Attach, CloudSource, OpenStack, OpenStackOptions, RootDisk};
pub use prepare::{Preparation, Progress, RepositoryDefinition, Tell, prepare, repository_file};
pub use provider::{Destroyed, Found, Identity, Login, Made, Order, Provider, Resource};
pub use qemu::{Qemu, QemuOptions};
