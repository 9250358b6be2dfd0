//! The local sandbox: bubblewrap.

mod arguments;
mod etc;
mod install;
mod local;
mod probe;
mod spec;
mod tools;

pub use install::InstallJob;
pub use local::{LocalSandbox, SandboxOptions};
pub use spec::{Bind, KernelLink, Limits, RootFs, SandboxSpec, Symlink, Tmpfs};

/// The user and group id of jobs: inside the sandbox always, and on the host too where drivetrain runs as
/// root.
///
/// Not `nobody`: daemons run as that, and could trace or kill a build, and a build them. Not an id above
/// 65535: a container with its own user namespace usually maps no such id. 60578 to 61183 is what systemd's
/// table of ids leaves free, on every distribution that follows it.
pub const BUILD_ID: u32 = 60_900;
