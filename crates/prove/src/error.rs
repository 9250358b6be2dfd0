//! Why there is no proof, neither for nor against.

use std::io;

use camino::Utf8PathBuf;
use drivetrain_kmod::{DecompressError, ModuleError, SymversError};
use drivetrain_model::KernelRelease;

/// Why a question could not be asked. Modules that do not fit a kernel are no error, but an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// A file or directory cannot be read.
    #[error("{path}: cannot be read")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A pipe, a device, a socket.
    #[error("{0}: is neither a file nor a directory")]
    Special(Utf8PathBuf),
    /// A name in a directory that cannot be shown or stored.
    #[error("{0}: the name is not UTF-8")]
    Name(String),
    /// An RPM is damaged: its digests do not match, or it cannot be read.
    #[error(transparent)]
    Rpm(#[from] drivetrain_rpmfile::Error),
    /// A source RPM in place of a built one.
    #[error("{0}: is a source RPM: it has nothing to judge until it is rebuilt")]
    SourceRpm(Utf8PathBuf),
    /// The header of an RPM promises what the payload does not have.
    #[error("{package}: its header lists modules that its payload does not have: {missing} of {listed}")]
    Incomplete {
        /// The RPM.
        package: Utf8PathBuf,
        /// How many are missing.
        missing: usize,
        /// How many are listed.
        listed: usize,
    },
    /// Neither an RPM nor a module, by its first bytes.
    #[error("{path}: is neither an RPM nor a kernel module: {problem}")]
    Unknown {
        /// The file.
        path: Utf8PathBuf,
        /// What it is.
        problem: &'static str,
    },
    /// Not one module in everything that was named.
    #[error("nothing to judge: not one kernel module in {}", listed(looked_at))]
    NothingToJudge {
        /// The files and directories that were named.
        looked_at: Vec<String>,
    },
    /// A module that is compressed with something that nobody unpacks who loads modules.
    #[error(
        "{file}: is compressed with {compression}, which no kernel and no modprobe unpacks. Modules are supported \
         uncompressed (.ko), and compressed with gzip (.ko.gz), xz (.ko.xz) or zstd (.ko.zst)"
    )]
    Compression {
        /// The module, with its package.
        file: String,
        /// The compression.
        compression: &'static str,
    },
    /// A compressed module is damaged.
    #[error("{file}: cannot be unpacked")]
    Decompress {
        /// The module, with its package.
        file: String,
        /// Why.
        source: DecompressError,
    },
    /// A file that should be a module and is none that can be judged.
    #[error("{file}: is no kernel module that can be judged")]
    Module {
        /// The module, with its package.
        file: String,
        /// Why.
        source: ModuleError,
    },
    /// Several files that cannot be read, each with its own error.
    #[error("{} files cannot be judged: {}", .0.len(), in_words(.0))]
    Several(Vec<ProveError>),
    /// More than [`Limits`](crate::Limits) allows.
    #[error("{file}: {what} may come to no more than {limit} {unit}")]
    Limit {
        /// The file with which it was too much.
        file: String,
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// A table of a kernel's symbols cannot be read.
    #[error("{file}: is no Module.symvers")]
    Symvers {
        /// The table, with its package.
        file: String,
        /// Why.
        source: Box<SymversError>,
    },
    /// A table of symbols, but of a module that was built outside a kernel, or of nothing.
    #[error("{0}: is no kernel's Module.symvers: vmlinux exports nothing in it")]
    NoKernel(String),
    /// No table of symbols where a kernel should be.
    #[error(
        "{0}: has no Module.symvers. A kernel-devel RPM or tree has one; kernel-core, or /lib/modules/RELEASE, \
         has it as symvers.gz or symvers.xz"
    )]
    NoSymvers(Utf8PathBuf),
    /// A table of symbols, and nothing says of which kernel.
    #[error("{0}: nothing says which kernel it belongs to. Name its release with --release")]
    NoRelease(String),
    /// What says which kernel it is says something impossible.
    #[error("{path}: is no kernel release")]
    BadRelease {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: drivetrain_model::NameError,
    },
    /// Another kernel than the one that was asked for.
    #[error("{file}: belongs to kernel {found}, not to {asked}")]
    OtherRelease {
        /// The table of symbols.
        file: String,
        /// Whose it is.
        found: KernelRelease,
        /// Whose it should be.
        asked: KernelRelease,
    },
    /// Kernels, but not the one that was asked for.
    #[error("{path}: has no kernel {asked}, but {}", listed(releases))]
    Absent {
        /// The directory or RPM.
        path: Utf8PathBuf,
        /// The kernel asked for.
        asked: KernelRelease,
        /// The kernels there are.
        releases: Vec<String>,
    },
    /// Several kernels, and nothing says which one is meant.
    #[error("{path}: has several kernels: {}. Name one with --release", listed(releases))]
    SeveralKernels {
        /// The directory or RPM.
        path: Utf8PathBuf,
        /// The kernels.
        releases: Vec<String>,
    },
}

/// Each error with its causes.
fn in_words(errors: &[ProveError]) -> String {
    errors.iter().map(ProveError::with_causes).collect::<Vec<_>>().join("; ")
}

impl ProveError {
    /// The error and what it comes from, on one line. What is said already is not said twice.
    #[must_use]
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let why = error.to_string();
            if !text.contains(&why) {
                text.push_str(&format!(": {why}"));
            }
            cause = error.source();
        }
        text
    }

    /// All errors as one; `None` where there is none.
    pub(crate) fn of_all(mut errors: Vec<Self>) -> Option<Self> {
        if errors.len() > 1 { Some(Self::Several(errors)) } else { errors.pop() }
    }

    /// Whether it is about what is read altogether, so that to go on makes it no better.
    pub(crate) fn ends_reading(&self) -> bool {
        matches!(self, Self::Limit { .. })
    }
}

/// The first few of a list.
fn listed(items: &[String]) -> String {
    const SHOWN: usize = 5;
    let text = items.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(SHOWN) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}
