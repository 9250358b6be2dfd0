//! What can go wrong before or around a command; the command's own failure is an [`Ending`](crate::Ending).

use std::io;

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
