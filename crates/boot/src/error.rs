//! Why there was no boot, or none that says anything. What a booted kernel says is no error, but an answer.

use std::io;

use camino::Utf8PathBuf;
use drivetrain_host::HostError;
use drivetrain_model::KernelRelease;

/// Why the question could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// There is no QEMU.
    #[error(
        "{program} is not installed: the boot test needs it (install the package qemu-kvm, or on Debian \
         qemu-system-x86)"
    )]
    NoQemu {
        /// The program.
        program: String,
    },
    /// There is no QEMU on the machine that is to run it.
    #[error(
        "{machine} has no QEMU, and prove.on has the boot test there: install the package qemu-kvm on it, or on Debian \
         qemu-system-x86; where drivetrain prepares it, name that in builder.prepare.packages"
    )]
    NoQemuThere {
        /// The machine.
        machine: String,
    },
    /// The machine that is to run QEMU does not do as it is told.
    #[error("{machine} cannot run the boot test: {said}; see that this user may write to {directory} there")]
    There {
        /// The machine.
        machine: String,
        /// What it said.
        said: String,
        /// Where files of the test go there.
        directory: Utf8PathBuf,
    },
    /// A tool is not installed.
    #[error("{tool} is not installed: the boot test needs it (install the package {package})")]
    MissingTool {
        /// The program.
        tool: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// A kernel for other processors than this host's.
    #[error(
        "a kernel for {wanted} cannot be booted here, on {host}: the boot test runs on x86_64, for x86_64; set \
         prove.boot: off for this train"
    )]
    Architecture {
        /// Of the train.
        wanted: String,
        /// Of this host.
        host: String,
    },
    /// No kernel image where packages install it.
    #[error(
        "{root} has no image of kernel {release}: looked for lib/modules/{release}/vmlinuz and boot/vmlinuz-{release}, \
         which kernel-core installs"
    )]
    NoKernel {
        /// The installed tree.
        root: Utf8PathBuf,
        /// The kernel.
        release: KernelRelease,
    },
    /// A kernel image that no firmware would start.
    #[error("{path} is damaged: {why}; fetch and install the kernel's package again")]
    DamagedKernel {
        /// The image.
        path: Utf8PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No modules where packages install them.
    #[error(
        "{root} has no modules of kernel {release}: the packages install nothing below lib/modules/{release}"
    )]
    NoModules {
        /// The installed tree.
        root: Utf8PathBuf,
        /// The kernel.
        release: KernelRelease,
    },
    /// A module that the packages should have installed.
    #[error("{root} has no {path}, which the packages to be published should install")]
    NotInstalled {
        /// The installed tree.
        root: Utf8PathBuf,
        /// The module.
        path: String,
    },
    /// depmod failed.
    #[error("depmod cannot order the modules of kernel {release}: {said}")]
    Depmod {
        /// The kernel.
        release: KernelRelease,
        /// What it said.
        said: String,
    },
    /// rpm could not install the packages.
    #[error(
        "the packages cannot be installed into a root to boot ({how}): {said}; the whole log is in {log}"
    )]
    Install {
        /// How it ended.
        how: String,
        /// Its last words.
        said: String,
        /// What it said in full.
        log: Utf8PathBuf,
    },
    /// What becomes the first process cannot be put into the guest.
    #[error("{path} cannot run in the guest: {why}")]
    Program {
        /// The program or library.
        path: Utf8PathBuf,
        /// Why.
        why: String,
    },
    /// Something is larger than is allowed for.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A document is not what it should be.
    #[error("{path}: {why}")]
    Malformed {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}")]
    File {
        /// The verb: `write`, `create`.
        action: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A package cannot be unpacked.
    #[error(transparent)]
    Rpm(#[from] drivetrain_rpmfile::Error),
    /// The sandbox failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// QEMU itself would not start the machine.
    #[error("QEMU cannot start the machine: {said}")]
    Qemu {
        /// What it said.
        said: String,
    },
    /// It was given up because its cancellation token was cancelled.
    #[error("the boot test was cancelled")]
    Cancelled,
}

impl BootError {
    pub(crate) fn file(action: &'static str, path: impl Into<Utf8PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
