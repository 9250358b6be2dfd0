//! What can go wrong with machines.

use drivetrain_host::HostError;

/// The result of what is done with machines.
pub type Result<T, E = MachineError> = std::result::Result<T, E>;

/// Why a machine is not there, or not gone.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// What the configuration names is not there, or not usable.
    #[error("{what}: {why}; {next}")]
    Configuration {
        /// Which setting, and its value.
        what: String,
        /// What is wrong with it.
        why: String,
        /// What to do.
        next: String,
    },
    /// There is no room: a quota, or no host with enough of something.
    #[error("{provider} has no room for the machine: {why}; {next}")]
    NoRoom {
        /// Who.
        provider: String,
        /// Of what, with figures.
        why: String,
        /// What to do.
        next: String,
    },
    /// The provider refuses us.
    #[error("{provider} refuses: {why}; {next}")]
    Refused {
        /// Who.
        provider: String,
        /// In its words.
        why: String,
        /// What to do.
        next: String,
    },
    /// The provider is not well, or does not answer.
    #[error("{provider} failed at: {doing} ({why})")]
    Provider {
        /// Who.
        provider: String,
        /// What was asked for.
        doing: String,
        /// What it said.
        why: String,
    },
    /// The machine was made, and does not come up.
    #[error("the machine {lease} did not come up: {why}")]
    NotUp {
        /// Which.
        lease: String,
        /// What was seen.
        why: String,
    },
    /// Another run has the host.
    #[error("{machine} is being used by {holder}; wait for that to end, or name another host")]
    Held {
        /// Which host.
        machine: String,
        /// By whom, and for how long at most.
        holder: String,
    },
    /// A step of the preparation.
    #[error("{machine} could not be prepared: {step}: {why}\nlog: {log}")]
    Preparation {
        /// Which machine.
        machine: String,
        /// Which step.
        step: String,
        /// What was said.
        why: String,
        /// Where all of it is.
        log: String,
    },
    /// It booted, and not what it was meant to.
    #[error(
        "{machine} runs {running} after its reboot, and not {wanted}: its boot loader took another entry than the one \
         that it was told\n  {}", .seen.join("\n  ")
    )]
    AnotherKernel {
        /// Which machine.
        machine: String,
        /// What was planned.
        wanted: String,
        /// What `uname -r` says.
        running: String,
        /// The boot loader's configuration and entries.
        seen: Vec<String>,
    },
    /// Something could not be removed.
    #[error("{resource} of the lease {lease} could not be removed: {why}; `drivetrain gc` tries again")]
    Remains {
        /// Which lease.
        lease: String,
        /// Which resource.
        resource: String,
        /// Why.
        why: String,
    },
    /// It was given up.
    #[error("it was cancelled")]
    Cancelled,
    /// Something about the machine itself.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A file of ours.
    #[error("cannot {action} {path}")]
    File {
        /// The verb.
        action: &'static str,
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl MachineError {
    pub(crate) fn file(
        action: &'static str,
        path: impl std::fmt::Display,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_string();
        move |source| Self::File { action, path, source }
    }
}
