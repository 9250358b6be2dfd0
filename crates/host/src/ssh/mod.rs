//! A machine over SSH.

mod connection;
mod copy;
mod failure;
mod farewell;
mod job;
mod options;
mod program;
mod quote;
mod reboot;
mod session;
mod setup;

use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use tokio_util::sync::CancellationToken;

use connection::Connection;
pub use options::SshOptions;
pub use quote::quote;

use crate::{BootId, BoxFuture, Finished, HostError, LineSink, Machine, Script};

/// A machine that one logs in to with ssh.
///
/// The `ssh` program does it, so that whatever works in a user's shell works here: aliases, jump hosts, agents,
/// certificates, hardware keys. It is started directly, not through a crate that wraps it: what such a crate adds is the
/// connection that all commands share; what it takes is ssh's own words when something fails, and the process group
/// that is killed with drivetrain's future. Nothing is ever asked, an unknown host is refused, and no argument holds a
/// script, a variable or a path of the machine.
///
/// The machine needs a POSIX shell, coreutils, grep, util-linux and `/proc`. A connection that breaks is made anew
/// within [`SshOptions::patience`]; what was under way goes on where it was.
#[derive(Debug)]
pub struct SshMachine {
    connection: Arc<Connection>,
}

impl SshMachine {
    /// Looks at the options and finds the client. The machine is connected to when it is first needed.
    ///
    /// # Errors
    ///
    /// Options that ssh would take for something else, and a missing client.
    pub fn new(options: SshOptions) -> Result<Self, HostError> {
        Ok(Self { connection: Arc::new(Connection::new(options)?) })
    }

    /// Connects now, to know whether it can be done.
    ///
    /// # Errors
    ///
    /// Why it cannot: no answer, a host key that is unknown or has changed, a login that is refused.
    pub async fn connect(&self) -> Result<(), HostError> {
        self.connection.ask("connect", &program::Program::new("exit 0"), &[]).await.map(|_| ())
    }
}

impl Machine for SshMachine {
    fn name(&self) -> &str {
        self.connection.name()
    }

    /// What a script leaves in the background when it ends by itself lives on.
    fn run<'a>(
        &'a self,
        script: &'a Script,
        sink: &'a mut dyn LineSink,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Finished, HostError>> {
        Box::pin(job::run(&self.connection, script, sink, cancel))
    }

    fn put<'a>(
        &'a self,
        local: &'a Utf8Path,
        remote: &'a Utf8Path,
        mode: u32,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(copy::put(&self.connection, local, remote, mode))
    }

    fn get_at_most<'a>(
        &'a self,
        remote: &'a Utf8Path,
        local: &'a Utf8Path,
        most: u64,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(copy::get(&self.connection, remote, local, most))
    }

    fn boot_id(&self) -> BoxFuture<'_, Result<BootId, HostError>> {
        Box::pin(reboot::boot_id(&self.connection))
    }

    fn reboot<'a>(
        &'a self,
        deadline: Duration,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<BootId, HostError>> {
        Box::pin(reboot::reboot(&self.connection, deadline, cancel))
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.connection.settle())
    }
}
