//! A run, as it is told to people.

use drivetrain_model::{
    Cell, ComponentName, ComponentOutcome, HeldBack, LockedInput, LockedRepository, Nevra, PlannedKernel,
    PlannedPatch, PlannedPublication, Problem, RepositoryId, RunId, Sha256Digest, SkippedComponent,
};
use drivetrain_model::{PlannedBoot, PlannedUserspace, Stage};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Boot, FirstError, Timeline};

/// Everything that is to be said of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this format.
    pub format: u32,
    /// The run.
    pub run: RunId,
    /// The command that was asked for.
    pub command: String,
    /// The version of drivetrain.
    pub drivetrain: String,
    /// When it began.
    pub began: Option<Timestamp>,
    /// How long it took, in milliseconds; as far as the journal goes, where it did not end.
    pub ms: u64,
    /// What came of it.
    pub outcome: Outcome,
    /// What it ended with; absent where it goes on, or was killed.
    pub exit: Option<Exit>,
    /// The stage that it broke off in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_stage: Option<Stage>,
    /// What it was about; absent where it came to no plan.
    pub cell: Option<Cell>,
    /// The kernel, and why this one.
    pub kernel: Option<PlannedKernel>,
    /// The newer kernels that nodes do not get, newest first.
    pub held_back: Vec<HeldBackKernel>,
    /// The components, in build order.
    pub components: Vec<ComponentRow>,
    /// What of the driver stack was left out.
    pub skipped: Vec<SkippedComponent>,
    /// The userspace packages.
    pub userspace: Option<Userspace>,
    /// Where it was built; empty for the host that ran it.
    pub builder: Vec<String>,
    /// What compiled.
    pub toolchain: Option<String>,
    /// Where it would be published, and what was there.
    pub publication: Option<PlannedPublication>,
    /// The digest of the lock.
    pub lock: Option<Sha256Digest>,
    /// The files that it was made from.
    pub inputs: Vec<LockedInput>,
    /// The repositories as they were.
    pub repositories: Vec<(RepositoryId, LockedRepository)>,
    /// What the plan had to say first.
    pub problems: Vec<Problem>,
    /// The verdict over the modules; absent where it came to none.
    pub proof: Option<Proof>,
    /// That what is published can be installed; absent where it came to that not.
    pub installation: Option<Installation>,
    /// What is meant to be booted, by the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_boot: Option<PlannedBoot>,
    /// What became of the kernel that was booted with it; absent where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Boot>,
    /// What is served.
    pub published: Option<Published>,
    /// The commands that install it on a node.
    pub install: Vec<String>,
    /// What went wrong first, of each component.
    pub first_errors: Vec<FirstError>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What was done when.
    pub timeline: Timeline,
    /// The files beside the report, by name.
    pub files: Vec<String>,
}

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A new version is served.
    Served,
    /// What was wanted was served already.
    Unchanged,
    /// Built and proven; to publish it was not asked for.
    Built,
    /// It ended with an error.
    Failed,
    /// It was ended by a signal, in order.
    Interrupted,
    /// A process works on it still.
    Running,
    /// Its process is gone and did not say how it ended.
    Killed,
}

impl Outcome {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Unchanged => "nothing to do",
            Self::Built => "built and proven",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Running => "running",
            Self::Killed => "killed",
        }
    }

    /// Whether all that was asked for is done.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Served | Self::Unchanged | Self::Built)
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code.
    pub code: u8,
    /// What that means.
    pub meaning: String,
    /// The error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A kernel that nodes do not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBackKernel {
    /// Which, why, and what nodes go without.
    #[serde(flatten)]
    pub held: HeldBack,
    /// Its error, taken apart.
    pub first_error: FirstError,
}

/// A component, as it was planned and as it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentRow {
    /// Its name.
    pub name: ComponentName,
    /// Its source RPM; absent where there is no plan.
    pub source: Option<Nevra>,
    /// What it is built against.
    pub needs: Vec<ComponentName>,
    /// The site's own patches of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<PlannedPatch>,
    /// Whether the plan was to build it; otherwise an earlier build was to be taken.
    pub to_build: bool,
    /// How it ended; absent where it came to that not.
    pub outcome: Option<ComponentOutcome>,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// The processor time that it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Where the time went, the longest first.
    pub phases: Vec<(String, u64)>,
    /// The RPMs that came of it.
    pub packages: Vec<String>,
    /// Its log: relative to the run's directory, or the whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

impl ComponentRow {
    /// How it went, in a few words.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match &self.outcome {
            Some(ComponentOutcome::Built) => "built",
            Some(ComponentOutcome::Reused) => "reused",
            Some(ComponentOutcome::Repackaged { .. }) => "repackaged",
            Some(ComponentOutcome::Failed { .. }) => "failed",
            Some(ComponentOutcome::NotTried { .. }) => "not tried",
            None if self.to_build => "to be built",
            None => "to be reused",
        }
    }
}

/// The userspace packages that go with the modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Userspace {
    /// As it was planned.
    #[serde(flatten)]
    pub planned: PlannedUserspace,
    /// The size of all packages together, in bytes.
    pub bytes: u64,
}

/// The verdict over all modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// How many modules were looked at.
    pub modules: usize,
    /// How many symbols were looked up.
    pub symbols: usize,
    /// What does not fit, in words; empty where all is well.
    pub problems: Vec<String>,
    /// The modules; empty where the record of the proof cannot be read.
    pub each: Vec<ProvenModule>,
}

/// One module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenModule {
    /// Its name.
    pub name: String,
    /// The package that it is in.
    pub package: Option<String>,
    /// Whether the kernel loads it.
    pub loads: bool,
    /// How many of its symbols were found with the right CRC.
    pub symbols: usize,
}

/// What becomes of the packages on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// How many packages of the driver repository are installed.
    pub packages: usize,
    /// How many of the train's come with them.
    pub from_train: usize,
}

/// What is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Where, as nodes reach it.
    pub location: String,
    /// Its version.
    pub version: u64,
    /// Whether it was served already.
    pub unchanged: bool,
    /// The URL of the `.repo` file.
    pub repo_file: Option<String>,
}

impl Report {
    /// The version of the format that this code writes.
    pub const FORMAT: u32 = 1;

    /// What came of it, in a sentence without a full stop.
    #[must_use]
    pub fn headline(&self) -> String {
        let version = self.published.as_ref().map_or(0, |published| published.version);
        let of = self.cell.as_ref().map(|cell| format!(" for kernel {}", cell.kernel)).unwrap_or_default();
        match self.outcome {
            Outcome::Served => format!("Version {version} is served{of}"),
            Outcome::Unchanged => format!("Nothing to do: version {version} is served{of}"),
            Outcome::Built => format!("Built and proven{of}; nothing was published"),
            Outcome::Failed => {
                let meaning = self.exit.as_ref().map_or("", |exit| exit.meaning.as_str());
                format!("Failed: {meaning}")
            }
            Outcome::Interrupted => "Interrupted: the next run goes on from here".to_owned(),
            Outcome::Running => "Still running: this is as far as it came".to_owned(),
            Outcome::Killed => "Killed: the next run goes on from here".to_owned(),
        }
    }

    /// The report as JSON.
    ///
    /// # Errors
    /// Never for reports that were made from evidence.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// The report as a page.
    #[must_use]
    pub fn html(&self) -> String {
        crate::html::report::page(self)
    }

    /// The report as Markdown, for a CI system's summary: at most some 200 kB.
    #[must_use]
    pub fn markdown(&self) -> String {
        crate::markdown::report::document(self)
    }
}
