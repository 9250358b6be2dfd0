//! What can go wrong before or around a command; the command's own failure is an [`Ending`](crate::Ending).

use std::io;
use std::time::Duration;

use camino::Utf8PathBuf;

/// Why a command could not be run, or a file not be moved.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A tool of the sandbox is not installed.
    #[error("{tool} is not installed: the build sandbox needs it (install the package {package})")]
    MissingTool {
        /// The program.
        tool: &'static str,
        /// The package that has it, on both families of distributions.
        package: &'static str,
    },
    /// The kernel, or the container that drivetrain runs in, forbids the namespaces.
    #[error("the build sandbox cannot be set up: {reason}; {advice}")]
    Forbidden {
        /// What bubblewrap said.
        reason: String,
        /// What to change.
        advice: String,
    },
    /// Bubblewrap refused one job: a path to bind does not exist, a mount point cannot be made.
    #[error("the sandbox refused the job: {message}")]
    Sandbox {
        /// What bubblewrap said.
        message: String,
    },
    /// Something that only root can do.
    #[error("{doing} takes root: run drivetrain as root, for instance with sudo")]
    NotRoot {
        /// What: `installing packages into a root`.
        doing: &'static str,
    },
    /// A file operation of ours failed.
    #[error("cannot {action} {path}")]
    File {
        /// The verb: `write`, `create`.
        action: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A process could not be started or waited for.
    #[error("cannot run {program}")]
    Process {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// There is no ssh client here.
    #[error("ssh is not installed here: install openssh-clients (on Debian: openssh-client)")]
    NoSsh,
    /// An option of a connection would not mean to ssh what it is meant to.
    #[error("the {option} {value:?} of ssh is refused: {reason}")]
    SshOption {
        /// Which.
        option: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The machine does not answer.
    #[error(
        "cannot connect to {name}: {said}; check that it runs, and that `ssh {name} true` works from here"
    )]
    Unreachable {
        /// The machine.
        name: String,
        /// The last words of ssh.
        said: String,
    },
    /// Nobody here knows the machine's key.
    #[error(
        "the host key of {name} is not known, so that anybody could answer in its name: {advice} (ssh: {said})"
    )]
    HostKeyUnknown {
        /// The machine.
        name: String,
        /// The last words of ssh.
        said: String,
        /// How to make it known.
        advice: String,
    },
    /// The machine has another key than it had.
    #[error("the host key of {name} has changed: {advice} (ssh: {said})")]
    HostKeyChanged {
        /// The machine.
        name: String,
        /// The last words of ssh.
        said: String,
        /// How to find out why.
        advice: String,
    },
    /// The machine does not let us in.
    #[error("{name} refuses the login: {advice} (ssh: {said})")]
    LoginRefused {
        /// The machine.
        name: String,
        /// The last words of ssh.
        said: String,
        /// With what it was tried.
        advice: String,
    },
    /// A connection broke and could not be made anew.
    #[error(
        "the connection to {name} was lost while trying to {action}, and was not back within {} seconds: {said}; \
         a script that ran there is killed by the machine itself",
        patience.as_secs()
    )]
    ConnectionLost {
        /// The machine.
        name: String,
        /// What was under way, as a verb.
        action: String,
        /// How long it was tried.
        patience: Duration,
        /// The last words of ssh.
        said: String,
    },
    /// The machine was asked to do something, and could not.
    #[error("{name} could not {action}: {said}")]
    Remote {
        /// The machine.
        name: String,
        /// What, as a verb.
        action: String,
        /// What it said.
        said: String,
    },
    /// Processes of a script may still run.
    #[error(
        "a script on {name} could not be killed: {said}; the machine kills it itself after {} seconds without a \
         connection",
        after.as_secs()
    )]
    NotKilled {
        /// The machine.
        name: String,
        /// Why.
        said: String,
        /// After how long it is killed there.
        after: Duration,
    },
    /// The machine has given a script up.
    #[error(
        "{name} did not hear from here for {} seconds, and has killed the script that it ran: run it again when the \
         connection holds",
        after.as_secs()
    )]
    Abandoned {
        /// The machine.
        name: String,
        /// How long it waited.
        after: Duration,
    },
    /// The machine went down under a script.
    #[error("{name} was rebooted while a script ran on it: see its journal for why (journalctl -b -1)")]
    Rebooted {
        /// The machine.
        name: String,
    },
    /// A copy has another checksum than its original.
    #[error(
        "{path} was copied to or from {name} twice, and arrived with a wrong checksum each time: it changes while it is \
         copied, or a disk or the memory is at fault"
    )]
    Corrupt {
        /// The machine.
        name: String,
        /// The file there.
        path: Utf8PathBuf,
    },
    /// A variable that no shell has.
    #[error(
        "the variable {variable:?} cannot be given to a script: its name is not one that a shell knows, or its value \
         holds a zero byte"
    )]
    Variable {
        /// Its name.
        variable: String,
    },
    /// It was given up because its cancellation token was cancelled.
    #[error("cancelled while {name} was made to {action}")]
    Cancelled {
        /// The machine.
        name: String,
        /// What was under way, as a verb.
        action: &'static str,
    },
    /// The machine did not obey.
    #[error(
        "{name} was told to reboot and never went down within {} seconds: see on its console what holds the shutdown up \
         (systemctl list-jobs)",
        deadline.as_secs()
    )]
    NeverWentDown {
        /// The machine.
        name: String,
        /// How long it had.
        deadline: Duration,
    },
    /// The machine is gone.
    #[error(
        "{name} went down to reboot and was not back within {} seconds ({said}): see on its console whether the new \
         kernel boots and has a network",
        deadline.as_secs()
    )]
    NeverCameBack {
        /// The machine.
        name: String,
        /// How long it had.
        deadline: Duration,
        /// The last words of ssh.
        said: String,
    },
    /// The machine is back, but has not booted.
    #[error(
        "{name} was told to reboot, went away, and answers from the same boot after {} seconds: its network or sshd was \
         restarted, but not the machine; a container cannot be rebooted like this",
        deadline.as_secs()
    )]
    SameBoot {
        /// The machine.
        name: String,
        /// How long it had.
        deadline: Duration,
    },
}

impl HostError {
    pub(crate) fn file(action: &'static str, path: impl Into<Utf8PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    pub(crate) fn process(program: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let program = program.into();
        move |source| Self::Process { program, source }
    }
}
