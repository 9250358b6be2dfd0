//! Runs commands on a builder.
//!
//! [`Host`] is the trait that the build is written against: run a [`Job`] with its output streamed, kill it
//! for good, move files. [`LocalSandbox`] is the host that needs no machine: bubblewrap on the host that
//! drivetrain itself runs on, without network, without root, and with nothing writable but the job's own
//! directories. A builder over SSH or in a virtual machine implements the same trait; a [`Job`] says what is
//! isolated from what, and its paths are paths *on that host*.
//!
//! [`Machine`] is a whole machine that is made ready for that, and [`SshMachine`] one that ssh reaches.

mod acceleration;
mod error;
mod fs;
mod job;
mod lines;
mod log;
mod machine;
mod output;
mod sandbox;
mod spawn;
mod ssh;
mod system;

pub use acceleration::Acceleration;
pub use error::HostError;
pub use job::{BoxFuture, Ending, Finished, Host, Job, LineSink};
pub use machine::{BootId, Machine, Script};
pub use sandbox::{
    BUILD_ID, Bind, InstallJob, KernelLink, Limits, LocalSandbox, RootFs, SandboxOptions, SandboxSpec,
    Symlink, Tmpfs,
};
pub use ssh::{SshMachine, SshOptions, quote};
pub use system::SystemScript;
pub use tokio_util::sync::CancellationToken;
