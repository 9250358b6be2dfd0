//! What is run, how it ended, and the trait of those who can run it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use tokio_util::sync::CancellationToken;

use crate::{HostError, SandboxSpec};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One command and the world that it sees.
#[derive(Debug, Clone)]
pub struct Job {
    /// The file system, the environment and the limits.
    pub sandbox: SandboxSpec,
    /// The program, as a path in the sandbox or a name to look up in the sandbox's `PATH`.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its working directory in the sandbox.
    pub directory: Utf8PathBuf,
    /// The file *on the control host* that gets the output as it is.
    pub log: Option<Utf8PathBuf>,
    /// Whether the log goes on where it ended; otherwise it is emptied first.
    pub append: bool,
    /// After this time the whole process tree is killed.
    pub deadline: Option<Duration>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this code. A code above 128 is how the sandbox reports a signal inside.
    Exited(i32),
    /// The sandbox itself was killed, by somebody else.
    Killed,
    /// It was killed because its cancellation token was.
    Cancelled,
    /// It was killed at its deadline.
    TimedOut,
}

impl Ending {
    /// Whether it exited with 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) if *code > 128 => write!(f, "was ended by signal {}", code - 128),
            Self::Exited(code) => write!(f, "exited with {code}"),
            Self::Killed => f.write_str("was killed from outside"),
            Self::Cancelled => f.write_str("was cancelled"),
            Self::TimedOut => f.write_str("ran into its deadline"),
        }
    }
}

/// What is known of a command that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// How.
    pub ending: Ending,
    /// How long it took.
    pub elapsed: Duration,
}

/// Receives a command's output, line by line: standard output and standard error in the order in which they
/// were written. A line is valid UTF-8 (what was not is replaced), has no line end, and is cut at 8 KiB; the
/// log file has it whole.
pub trait LineSink: Send {
    /// One line.
    fn line(&mut self, line: &str);
}

impl<F: FnMut(&str) + Send> LineSink for F {
    fn line(&mut self, line: &str) {
        self(line);
    }
}

/// A builder: somewhere to run commands and keep files.
///
/// Small on purpose. What a machine needs beyond this (to be made, prepared, rebooted) is not the build's
/// business. Every method may be called from several tasks at once.
pub trait Host: Send + Sync + fmt::Debug {
    /// A person's name for it: `this host`, `root@builder-3`.
    fn name(&self) -> &str;

    /// Runs a job to its end. Dropping the future, cancelling the token and the death of drivetrain itself
    /// all kill the whole process tree; once the future is done, no process of it is left.
    fn run<'a>(
        &'a self,
        job: &'a Job,
        sink: &'a mut dyn LineSink,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Finished, HostError>>;

    /// Makes a directory (and its parents) that jobs may write to.
    fn create_work_directory<'a>(&'a self, path: &'a Utf8Path) -> BoxFuture<'a, Result<(), HostError>>;

    /// Removes a directory with all that jobs left in it; it need not exist.
    fn remove_directory<'a>(&'a self, path: &'a Utf8Path) -> BoxFuture<'a, Result<(), HostError>>;

    /// Copies a file of the control host to the builder, readable for jobs.
    fn put<'a>(&'a self, local: &'a Utf8Path, remote: &'a Utf8Path) -> BoxFuture<'a, Result<(), HostError>>;

    /// Copies a file of the builder to the control host.
    fn get<'a>(&'a self, remote: &'a Utf8Path, local: &'a Utf8Path) -> BoxFuture<'a, Result<(), HostError>>;
}
