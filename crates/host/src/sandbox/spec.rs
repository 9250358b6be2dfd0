//! What a job sees.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_model::KernelRelease;

/// Where the sandbox's operating system comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RootFs {
    /// The host's own `/usr`, read-only.
    #[default]
    Host,
    /// A directory that holds an installed system: the release train's own tools.
    Directory(Utf8PathBuf),
}

impl RootFs {
    /// The directory that is `/` of that system.
    #[must_use]
    pub fn path(&self) -> &Utf8Path {
        match self {
            Self::Host => Utf8Path::new("/"),
            Self::Directory(path) => path,
        }
    }
}

/// A file or directory of the host, seen in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub source: Utf8PathBuf,
    /// In the sandbox.
    pub target: Utf8PathBuf,
    /// Whether jobs may write there.
    pub writable: bool,
}

impl Bind {
    /// Something to read.
    #[must_use]
    pub fn read_only(source: impl Into<Utf8PathBuf>, target: impl Into<Utf8PathBuf>) -> Self {
        Self { source: source.into(), target: target.into(), writable: false }
    }

    /// Something to write to.
    #[must_use]
    pub fn writable(source: impl Into<Utf8PathBuf>, target: impl Into<Utf8PathBuf>) -> Self {
        Self { source: source.into(), target: target.into(), writable: true }
    }
}

/// A symbolic link in the sandbox, in a directory that the sandbox makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symlink {
    /// Where it is.
    pub link: Utf8PathBuf,
    /// Where it points.
    pub target: Utf8PathBuf,
}

/// An empty directory in memory, gone with the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// Where.
    pub target: Utf8PathBuf,
    /// How many bytes it may hold.
    pub size: u64,
}

/// A kernel that the sandbox shows as installed: `/lib/modules/<release>/build` and `source` lead to its
/// development tree. None of the host's own kernels is ever seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelLink {
    /// Its release.
    pub release: KernelRelease,
    /// Its development tree, in the sandbox.
    pub build: Utf8PathBuf,
}

/// Bounds on what a job may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest file that it may write, in bytes.
    pub file_size: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_size: 16 << 30 }
    }
}

/// The file system, environment and limits of a job. Whatever is not named here is not there: no network, no
/// home directory, none of the host's `/etc`, `/var`, `/run` and `/sys`, no other process.
#[derive(Debug, Clone, Default)]
pub struct SandboxSpec {
    /// The operating system.
    pub root: RootFs,
    /// What else is seen, and where. A target below `/usr` must exist there, or lie below `/usr/src`.
    pub binds: Vec<Bind>,
    /// Symbolic links.
    pub symlinks: Vec<Symlink>,
    /// Directories in memory. `/tmp` is one (1 GiB) unless it is named here or among the binds.
    pub tmpfs: Vec<Tmpfs>,
    /// Kernels to show as installed.
    pub kernels: Vec<KernelLink>,
    /// The whole environment; `PATH`, `HOME`, `LANG` and `TZ` have defaults.
    pub environment: BTreeMap<String, String>,
    /// Bounds.
    pub limits: Limits,
}
