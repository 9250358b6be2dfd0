//! The plan: what would happen, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Cell, ComponentName, KernelRelease, Lock, Nevra, RepositoryId, Sha256Digest};

/// Which kernel of the train to build for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KernelPolicy {
    /// The newest that the train has.
    Latest,
    /// This one and no other.
    Exact(KernelRelease),
    /// The newest that is not newer than this one.
    Ceiling(KernelRelease),
    /// The newest that the driver builds for.
    NewestBuildable,
    /// Each of them, as a cell of its own.
    AllInTrain,
}

impl fmt::Display for KernelPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Exact(release) => write!(f, "exactly {release}"),
            Self::Ceiling(release) => write!(f, "the newest up to {release}"),
            Self::NewestBuildable => f.write_str("the newest that the driver builds for"),
            Self::AllInTrain => f.write_str("all of the train"),
        }
    }
}

/// What a run of one cell would do. A value: made from configuration, metadata and what exists, and from
/// nothing else; making it changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What it is the plan of.
    pub cell: Cell,
    /// The kernel, and why this one.
    pub kernel: PlannedKernel,
    /// The components in build order.
    pub components: Vec<PlannedComponent>,
    /// What was found where builds for other kernels were looked at, to be taken in place of a build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reuse: Vec<PlannedReuse>,
    /// What the driver stack holds and this plan leaves out.
    pub skipped: Vec<SkippedComponent>,
    /// The userspace packages that would be published beside the modules; absent for modules alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userspace: Option<PlannedUserspace>,
    /// Where it would be built, a line each; empty for this host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builder: Vec<String>,
    /// The boot of the kernel with what would be published; absent where none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<PlannedBoot>,
    /// What would be published.
    pub publication: PlannedPublication,
    /// What a person should know first; none of them prevents the plan, or there would be no plan.
    pub problems: Vec<Problem>,
    /// Every input.
    pub lock: Lock,
}

/// The kernel that the plan is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedKernel {
    /// The policy that chose it.
    pub policy: KernelPolicy,
    /// Its release.
    pub release: KernelRelease,
    /// The package that holds it.
    pub package: Nevra,
    /// The package that it is built against.
    pub devel: Nevra,
    /// All kernels of the train, newest first, with what was thought of each.
    pub considered: Vec<KernelChoice>,
    /// The newer kernels that the driver does not build for, newest first: nodes that stay on the chosen one go without
    /// what these bring.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_back: Vec<HeldBack>,
}

/// A kernel of the train that the driver does not build for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// Its release.
    pub release: KernelRelease,
    /// The component that does not build.
    pub component: ComponentName,
    /// The first real error, with file and line where there is one.
    pub error: String,
    /// The log of that build, on the host that it was tried from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// What it brings over the kernel before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advisories: Vec<Advisory>,
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} does not build for it: {}", self.release, self.component, self.error)
    }
}

/// What a distribution says of an update: `updateinfo.xml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advisory {
    /// `RLSA-2026:1234`.
    pub id: String,
    /// `security`, `bugfix`, `enhancement`.
    pub kind: String,
    /// `Important`; empty where none is said.
    pub severity: String,
    /// In words.
    pub title: String,
    /// What it corrects: `CVE-2026-1234`.
    pub cves: Vec<String>,
}

impl fmt::Display for Advisory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.severity.is_empty() { &self.kind } else { &self.severity };
        write!(f, "{} ({what})", self.id)?;
        match self.cves.as_slice() {
            [] if self.title.is_empty() => Ok(()),
            [] => write!(f, ": {}", self.title),
            cves => write!(f, ": {}", cves.join(", ")),
        }
    }
}

/// One kernel of the train, and what the policy made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelChoice {
    /// Its release.
    pub release: KernelRelease,
    /// The package that holds it.
    pub package: Nevra,
    /// The repository that it is in.
    pub repository: RepositoryId,
    /// Its devel package and the repository of that; absent where no repository of the train has one.
    pub devel: Option<(Nevra, RepositoryId)>,
    /// Whether it was chosen.
    pub chosen: bool,
    /// Why, in a few words.
    pub why: String,
}

/// One component of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedComponent {
    /// Its name.
    pub name: ComponentName,
    /// Its source RPM.
    pub source: Nevra,
    /// What it is built against.
    pub needs: Vec<ComponentName>,
    /// The site's own patches of it, in the order that they are applied, and those that this kernel does not take.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<PlannedPatch>,
    /// What would be done.
    pub action: ComponentAction,
    /// Milliseconds that its last build took, as an estimate; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate_ms: Option<u64>,
}

/// A patch of the site's own for a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPatch {
    /// The name of its file.
    pub file: String,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// Whether this kernel's build gets it.
    pub applied: bool,
    /// Why, in a few words; empty for one that is always applied.
    pub why: String,
}

/// What would be done with a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum ComponentAction {
    /// Build it.
    Build,
    /// Take what an earlier run built from the same inputs.
    Reuse {
        /// The key of the finished component.
        key: Sha256Digest,
    },
    /// Make it of what was built for another kernel, since this kernel loads the very same modules.
    Repackage {
        /// The key of the component that comes out.
        key: Sha256Digest,
        /// The kernel that it was built for.
        kernel: KernelRelease,
        /// The key of that build.
        built: Sha256Digest,
    },
}

impl ComponentAction {
    /// The key under which the component is, or will be; absent for one that is to be built from its inputs, whose key is
    /// that of the lock.
    #[must_use]
    pub fn key(&self) -> Option<Sha256Digest> {
        match self {
            Self::Build => None,
            Self::Reuse { key } | Self::Repackage { key, .. } => Some(*key),
        }
    }
}

/// What was found of components that were built for another kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedReuse {
    /// That kernel.
    pub kernel: KernelRelease,
    /// The components, which are taken together or not at all.
    pub components: Vec<ComponentName>,
    /// What was found.
    #[serde(flatten)]
    pub found: ReuseVerdict,
}

/// Whether modules that were built for another kernel are taken for this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum ReuseVerdict {
    /// Everything that they ask of a kernel is the same on this one.
    Identical {
        /// How many modules were looked at.
        modules: usize,
        /// How many symbols of theirs were looked up.
        symbols: usize,
    },
    /// They were taken before, when that was found.
    Taken,
    /// Something differs.
    Differs {
        /// How many modules this kernel would not load as they are.
        modules: usize,
        /// Of how many.
        of: usize,
        /// The first thing that differs.
        first: String,
    },
}

/// A component that the driver stack has and the plan leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedComponent {
    /// The source package's name.
    pub name: ComponentName,
    /// Why.
    pub why: String,
}

/// The vendor's userspace packages: what is wanted, with what it needs and the train lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedUserspace {
    /// What the configuration asks for.
    pub wanted: Vec<String>,
    /// The set to publish, by name.
    pub packages: Vec<PlannedPackage>,
    /// How many packages of the train are installed with them.
    pub from_train: usize,
    /// The train's packages whose place they take, a line each.
    pub shadows: Vec<String>,
}

/// One package of the vendor's that would be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPackage {
    /// Its full name.
    pub nevra: Nevra,
    /// Its size in bytes.
    pub size: u64,
    /// Why it is in the set, in words.
    pub why: Vec<String>,
}

/// The boot of the kernel with the modules that would be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedBoot {
    /// What becomes of one that is not well.
    pub policy: BootPolicy,
    /// The kernel.
    pub kernel: KernelRelease,
    /// How many modules would be loaded; absent where they are not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<usize>,
    /// The machine that it would be booted on, in words; absent where that is the host of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Whether it will be booted.
    #[serde(flatten)]
    pub action: BootAction,
}

/// What becomes of a boot that is not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootPolicy {
    /// It is told.
    Warn,
    /// Nothing is published.
    Require,
}

/// Whether a kernel will be booted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum BootAction {
    /// It is booted before anything is published.
    Boot,
    /// What is served was published without a boot that was well: it is booted as it is served.
    BootServed {
        /// How much was not well the last time; absent where it was never booted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problems: Option<usize>,
    },
    /// What is served was booted before it was published, or since.
    Known {
        /// How many modules the kernel loaded.
        loaded: usize,
        /// How much was not well.
        problems: usize,
    },
    /// It cannot be booted from here.
    Impossible {
        /// Why.
        why: String,
        /// What is served was never booted.
        served: bool,
    },
}

/// What would be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPublication {
    /// The publication target in words: a directory's path, a server's URL.
    pub target: String,
    /// The path of the driver repository below it.
    pub path: String,
    /// What is there now.
    pub state: PublicationState,
    /// What would be published beside it that holds kernels and drivers together, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lockstep: Option<String>,
}

/// What a target serves for a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum PublicationState {
    /// Nothing is served there.
    Absent,
    /// What is served was built from the same inputs: there is nothing to do.
    Current {
        /// The version that is served.
        version: u64,
    },
    /// Something else is served, and would be replaced in one step.
    Outdated {
        /// The version that is served.
        version: u64,
    },
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Warning,
    /// Nothing can be built until it is solved.
    Error,
}

/// Something that a person should know, or must change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in a sentence without a full stop.
    pub what: String,
    /// What to do about it.
    pub next: String,
}

impl Plan {
    /// Whether anything has to be built.
    #[must_use]
    pub fn builds(&self) -> bool {
        self.components.iter().any(|component| component.action == ComponentAction::Build)
    }

    /// Whether there is nothing to build and nothing to publish.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.publication.state, PublicationState::Current { .. })
    }

    /// Whether what is served is booted though there is nothing to build.
    #[must_use]
    pub fn boots_served(&self) -> bool {
        let action = self.boot.as_ref().map(|boot| &boot.action);
        self.is_done() && matches!(action, Some(BootAction::BootServed { .. }))
    }
}
