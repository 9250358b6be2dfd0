//! The journal: everything that happens in a run, one event a line.
//!
//! Progress bars, `--json`, `drivetrain show` and resume after a kill are all views of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Cell, ComponentName, HeldBack, KernelRelease, RunId, Sha256Digest};

/// An event with the moment at which it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped {
    /// When.
    pub at: Timestamp,
    /// What. `event` names the kind, and its data stand beside it.
    #[serde(flatten)]
    pub event: Event,
}

/// The stages of a run, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Read metadata, choose the kernel, order the components.
    Plan,
    /// Fetch and verify the inputs.
    Fetch,
    /// Make a machine to build on, and make it ready.
    Machine,
    /// Build the components.
    Build,
    /// Prove that every module loads.
    Prove,
    /// Boot the kernel with them.
    Boot,
    /// Publish.
    Publish,
}

impl Stage {
    /// The stage's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Fetch => "fetch",
            Self::Machine => "machine",
            Self::Build => "build",
            Self::Prove => "prove",
            Self::Boot => "boot",
            Self::Publish => "publish",
        }
    }
}

/// How a component's build ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum ComponentOutcome {
    /// Its RPMs are there.
    Built,
    /// An earlier build from the same inputs was taken.
    Reused,
    /// It was made of what was built for another kernel, whose modules this kernel loads as they are.
    Repackaged {
        /// The kernel that it was built for.
        kernel: KernelRelease,
    },
    /// It failed.
    Failed {
        /// The first real error, with file and line where there is one.
        error: String,
    },
    /// It was not tried: what it needs had failed, or the run was ending.
    NotTried {
        /// Why.
        why: String,
    },
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A run began.
    RunStarted {
        /// Its id.
        run: RunId,
        /// The version of drivetrain.
        version: String,
        /// The command that was asked for.
        command: String,
    },
    /// The plan was made.
    Planned {
        /// The cell.
        cell: Cell,
        /// The lock's digest.
        lock: Sha256Digest,
        /// How many components would be built.
        build: usize,
        /// How many are taken from earlier runs.
        reuse: usize,
    },
    /// A newer kernel of the train is passed over: the driver does not build for it.
    HeldBack {
        /// Which, and why.
        #[serde(flatten)]
        held: Box<HeldBack>,
    },
    /// A stage began.
    StageStarted {
        /// Which.
        stage: Stage,
    },
    /// A stage ended well.
    StageFinished {
        /// Which.
        stage: Stage,
        /// How long it took, in milliseconds.
        ms: u64,
    },
    /// A download began.
    FetchStarted {
        /// The file's name.
        file: String,
        /// From where, without credentials.
        url: String,
        /// Its size in bytes, where known.
        size: Option<u64>,
        /// How many bytes an earlier try left.
        resumed_at: u64,
    },
    /// Bytes arrived. Shown, never stored.
    FetchProgress {
        /// The file's name.
        file: String,
        /// How many of its bytes are here.
        bytes: u64,
    },
    /// A file is here, and is what its checksum (and signature) says.
    FetchFinished {
        /// The file's name.
        file: String,
        /// Its size in bytes.
        size: u64,
        /// Whether it was in the store already.
        cached: bool,
        /// The key that signed it; absent where the configuration asks for none.
        signed_by: Option<String>,
    },
    /// A machine was asked for. Its lease was written down before.
    MachineAsked {
        /// The lease.
        lease: String,
        /// Who was asked.
        provider: String,
        /// When anybody may remove it.
        expires: Timestamp,
    },
    /// Something about a machine that takes a while. Shown, never stored.
    MachineDoing {
        /// In words, as the beginning of a sentence.
        doing: String,
    },
    /// A machine answers.
    MachineUp {
        /// Which, in words.
        machine: String,
        /// How long that took, in milliseconds.
        ms: u64,
    },
    /// A step of a machine's preparation is done.
    MachineStep {
        /// Which, as the beginning of a sentence.
        step: String,
        /// How that shows.
        because: String,
        /// Whether anything had to be changed.
        changed: bool,
        /// How long it took, in milliseconds.
        ms: u64,
    },
    /// A machine, and all that was made for it, is gone.
    MachineGone {
        /// The lease.
        lease: String,
        /// What was removed.
        resources: Vec<String>,
        /// Why.
        why: String,
    },
    /// A component's build began.
    ComponentStarted {
        /// Which.
        component: ComponentName,
        /// Where its log is written.
        log: String,
        /// Milliseconds that its last build took.
        estimate_ms: Option<u64>,
    },
    /// A line of the component's log that tells how far it is. Shown, never stored.
    ComponentProgress {
        /// Which.
        component: ComponentName,
        /// The phase of rpmbuild (`prep`, `build`, `install`, …) or the file being compiled.
        doing: String,
    },
    /// A component's build ended.
    ComponentFinished {
        /// Which.
        component: ComponentName,
        /// How long it took, in milliseconds.
        ms: u64,
        /// How it ended.
        #[serde(flatten)]
        outcome: ComponentOutcome,
        /// The RPMs that came of it, by file name.
        packages: Vec<String>,
    },
    /// The verdict over the whole set was given.
    Proven {
        /// How many modules were looked at.
        modules: usize,
        /// How many symbols were found with the right CRC.
        symbols: usize,
        /// What does not fit, in words; empty where all is well.
        problems: Vec<String>,
    },
    /// What is to be published was found to be installable from the train and the driver repository alone.
    Installable {
        /// How many packages of the driver repository are installed.
        packages: usize,
        /// How many of the train's come with them.
        from_train: usize,
    },
    /// The kernel was booted with what is to be published.
    Booted {
        /// The kernel.
        kernel: KernelRelease,
        /// How many modules there are to publish.
        modules: usize,
        /// How many of them the kernel loaded.
        loaded: usize,
        /// What ran it: `KVM`, `emulation`.
        by: String,
        /// What they did beyond being loaded, where something tried that.
        functional: Option<String>,
        /// What was not well, a line each.
        problems: Vec<String>,
        /// How long the machine was up, in milliseconds.
        ms: u64,
    },
    /// What a publication is doing.
    Publishing {
        /// In words, as the beginning of a sentence.
        doing: String,
    },
    /// Packages are on their way to a server. Shown, never stored.
    UploadProgress {
        /// How many have arrived.
        files: usize,
        /// Of how many.
        of_files: usize,
        /// How many bytes have arrived.
        bytes: u64,
        /// Of how many.
        of_bytes: u64,
    },
    /// A driver repository is served.
    Published {
        /// Where, as a consumer would reach it.
        location: String,
        /// Its version.
        version: u64,
        /// Whether it was served already.
        unchanged: bool,
        /// The `.repo` file for consumers, below the location.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repo_file: Option<String>,
    },
    /// The repository is served that holds kernels and drivers together.
    Lockstep {
        /// The package that nodes install.
        package: String,
        /// The kernels that it has, newest first; empty where it was served already.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kernels: Vec<KernelRelease>,
        /// Where, as a consumer would reach it.
        location: String,
        /// Its version.
        version: u64,
        /// Whether it was served already.
        unchanged: bool,
        /// The `.repo` file for consumers, below the location.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repo_file: Option<String>,
    },
    /// Something that a person should know.
    Warning {
        /// What.
        message: String,
    },
    /// The run ended.
    RunFinished {
        /// Its exit code.
        exit: u8,
        /// The error, where there was one.
        error: Option<String>,
        /// How long it took, in milliseconds.
        ms: u64,
    },
}

impl Event {
    /// Whether the event is only of use while it happens: such are shown and not written to the journal.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::FetchProgress { .. }
                | Self::MachineDoing { .. }
                | Self::ComponentProgress { .. }
                | Self::UploadProgress { .. }
        )
    }
}
