//! What became of every component.

use camino::Utf8PathBuf;
use drivetrain_model::{ComponentName, ComponentOutcome, KernelRelease, Sha256Digest};
use serde::{Deserialize, Serialize};

use crate::cache::CachedPackage;
use crate::{ComponentError, Phase};

/// What became of a build: one report per component, in the order of the request.
#[derive(Debug)]
pub struct BuildReport {
    /// The components.
    pub components: Vec<ComponentReport>,
    /// Whether the build was cancelled from outside.
    pub cancelled: bool,
}

impl BuildReport {
    /// Whether every component's RPMs are there.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.components.iter().all(|component| component.outcome.is_success())
    }

    /// The components that failed, with their errors.
    pub fn failures(&self) -> impl Iterator<Item = (&ComponentName, &ComponentError)> {
        self.components.iter().filter_map(|component| match &component.outcome {
            Outcome::Failed(error) => Some((&component.name, error)),
            _ => None,
        })
    }
}

/// What became of one component.
#[derive(Debug)]
pub struct ComponentReport {
    /// Its name.
    pub name: ComponentName,
    /// Its key.
    pub key: Sha256Digest,
    /// How it ended.
    pub outcome: Outcome,
    /// Its RPMs in the cache of finished components; their paths stay valid after the build. Empty unless it
    /// ended well.
    pub packages: Vec<CachedPackage>,
    /// Its log; absent where nothing was run.
    pub log: Option<Utf8PathBuf>,
    /// How long it took, in milliseconds, queueing left out.
    pub ms: u64,
    /// Processor time that rpmbuild and all it started took, in milliseconds; known when it was built now.
    pub cpu_ms: Option<u64>,
    /// Where the time went.
    pub phases: Vec<PhaseTime>,
}

/// How long a phase took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// Which.
    pub phase: Phase,
    /// Milliseconds.
    pub ms: u64,
}

/// How a component ended.
#[derive(Debug)]
pub enum Outcome {
    /// Built now.
    Built,
    /// Taken from an earlier build with the same key.
    Reused,
    /// Taken from a build for another kernel, whose modules this one loads as they are.
    Repackaged {
        /// The kernel that it was built for.
        kernel: KernelRelease,
    },
    /// Failed.
    Failed(ComponentError),
    /// Not tried, or stopped half-way because the run was ending.
    NotTried {
        /// Why, in words.
        why: String,
    },
}

impl Outcome {
    /// Whether the component's RPMs are there.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Built | Self::Reused | Self::Repackaged { .. })
    }

    /// The outcome as the journal has it.
    #[must_use]
    pub fn to_event(&self) -> ComponentOutcome {
        match self {
            Self::Built => ComponentOutcome::Built,
            Self::Reused => ComponentOutcome::Reused,
            Self::Repackaged { kernel } => ComponentOutcome::Repackaged { kernel: kernel.clone() },
            Self::Failed(error) => ComponentOutcome::Failed { error: error.to_string() },
            Self::NotTried { why } => ComponentOutcome::NotTried { why: why.clone() },
        }
    }
}
