//! A whole machine: commands run on it as they are, with the rights of the user that one logs in as.
//!
//! [`Host`](crate::Host) is where builds run, each job in a world of its own. A [`Machine`] is what has to be made
//! ready before that: packages are installed on it, its file system changes, it boots another kernel.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use tokio_util::sync::CancellationToken;

use crate::{BoxFuture, Finished, HostError, LineSink};

/// A script for `/bin/sh -eu`, and how it is run.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// The script. It goes to the machine through a pipe: neither it nor its variables are in any argument.
    pub text: String,
    /// Its variables.
    pub environment: BTreeMap<String, String>,
    /// The file *on the control host* that gets the output as it is.
    pub log: Option<Utf8PathBuf>,
    /// Whether the log goes on where it ended; otherwise it is emptied first.
    pub append: bool,
    /// After this time the whole process tree is killed.
    pub deadline: Option<Duration>,
}

impl Script {
    /// A script without variables, log and deadline.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// One boot of a machine, as `/proc/sys/kernel/random/boot_id` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootId(pub String);

/// A machine that can be prepared.
pub trait Machine: Send + Sync + fmt::Debug {
    /// A person's name for it: `this host`, `root@builder-3`.
    fn name(&self) -> &str;

    /// Runs a script to its end. It survives a connection that breaks: the machine is connected to again, and the
    /// output goes on where it was. Dropping the future or cancelling the token kills the whole process tree; if
    /// drivetrain itself dies, the machine kills it after a few minutes.
    fn run<'a>(
        &'a self,
        script: &'a Script,
        sink: &'a mut dyn LineSink,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Finished, HostError>>;

    /// Copies a file of the control host to the machine, with this mode. It is there whole, or not at all, and its
    /// checksum was compared there.
    fn put<'a>(
        &'a self,
        local: &'a Utf8Path,
        remote: &'a Utf8Path,
        mode: u32,
    ) -> BoxFuture<'a, Result<(), HostError>>;

    /// Copies a file of the machine to the control host; whole, or not at all.
    fn get<'a>(&'a self, remote: &'a Utf8Path, local: &'a Utf8Path) -> BoxFuture<'a, Result<(), HostError>> {
        self.get_at_most(remote, local, u64::MAX)
    }

    /// The same, and refuses a file that is larger than so many bytes before any of it comes.
    fn get_at_most<'a>(
        &'a self,
        remote: &'a Utf8Path,
        local: &'a Utf8Path,
        most: u64,
    ) -> BoxFuture<'a, Result<(), HostError>>;

    /// Which boot this is.
    fn boot_id(&self) -> BoxFuture<'_, Result<BootId, HostError>>;

    /// Has it boot again, and waits until it answers from another boot; for at most `deadline`.
    fn reboot<'a>(
        &'a self,
        deadline: Duration,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<BootId, HostError>>;

    /// Waits until all is cleaned up that futures have left behind when they were dropped or failed: scripts are
    /// killed, parts of files removed. To be called before drivetrain ends; otherwise it is left to the machine, which
    /// has patience.
    fn settle(&self) -> BoxFuture<'_, ()>;
}
