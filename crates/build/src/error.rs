//! Why a build could not be tried, and why a component failed.

use std::io;

use camino::Utf8PathBuf;
use drivetrain_host::{Ending, HostError};
use drivetrain_model::{Capability, ComponentName, KernelRelease, Sha256Digest};

use crate::{Diagnosis, DiagnosisKind};

/// Why a build as a whole could not be tried. Components' failures are in the report instead.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A component needs one that is not among those to build.
    #[error("component {component} needs {needs}, which is not among the components to build")]
    UnknownNeed {
        /// Which.
        component: ComponentName,
        /// What it needs.
        needs: ComponentName,
    },
    /// Components need each other.
    #[error("the components {} need each other in a circle", join(.components))]
    Circle {
        /// Those of the circle, and what hangs on them.
        components: Vec<ComponentName>,
    },
    /// A component stands twice in the request.
    #[error("component {0} is there twice")]
    Duplicate(ComponentName),
    /// The kernel's development tree is not one.
    #[error("{path} is no kernel development tree for {release}: {reason}")]
    KernelTree {
        /// Where it was meant to be.
        path: Utf8PathBuf,
        /// For which kernel.
        release: KernelRelease,
        /// What is wrong.
        reason: String,
    },
    /// The builder refused, before any component.
    #[error("the builder cannot be used")]
    Host(#[source] HostError),
    /// The train's packages could not be installed into a build root.
    #[error("the build root cannot be made: {how}\n{said}\nlog: {log}")]
    Root {
        /// How it ended.
        how: String,
        /// Its last lines.
        said: String,
        /// All that it said.
        log: Utf8PathBuf,
    },
    /// The vendor's tool cannot be used, or did not do what is known of it.
    #[error("{what}")]
    VendorTool {
        /// What happened.
        what: String,
        /// What to do.
        next: String,
    },
    /// A component that was finished by the plan is not any more.
    #[error(
        "the finished {component} at {path} was damaged and has been removed: run again, and it is built"
    )]
    NotFinished {
        /// Which.
        component: ComponentName,
        /// Where it was.
        path: Utf8PathBuf,
    },
    /// drivetrain's worker does not run on the builder, or says what cannot be understood.
    #[error("drivetrain's worker on {builder} failed: {said}; {next}")]
    Worker {
        /// Which builder.
        builder: String,
        /// Its last words.
        said: String,
        /// What to do.
        next: String,
    },
    /// What came back from the builder is not what it said that it had made.
    #[error("what {builder} sent back of {component} is damaged: {reason}")]
    SentBack {
        /// Which builder.
        builder: String,
        /// Which component.
        component: ComponentName,
        /// What is wrong.
        reason: String,
    },
    /// A file operation of ours failed.
    #[error("cannot {action} {path}")]
    File {
        /// The verb.
        action: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl BuildError {
    pub(crate) fn file(action: &'static str, path: impl Into<Utf8PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

fn join(names: &[ComponentName]) -> String {
    names.iter().map(ComponentName::as_str).collect::<Vec<_>>().join(", ")
}

/// Why a component failed.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The compiler, the linker, modpost or a script of the spec file said no.
    #[error("{0}")]
    Build(Diagnosis),
    /// The spec file tried to reach the network.
    #[error(
        "the spec file of {component} tries to reach the network during the build ({}); builds run without \
         one: put what it fetches into the source RPM, or name it as a source in the configuration",
        .diagnosis.message
    )]
    Network {
        /// Which.
        component: ComponentName,
        /// What the log says.
        diagnosis: Diagnosis,
    },
    /// Something that the spec file requires for the build is not there.
    #[error("component {component} needs {}", requirements_text(.missing))]
    MissingRequirements {
        /// Which.
        component: ComponentName,
        /// What, each with the advice that goes with it.
        missing: Vec<MissingRequirement>,
    },
    /// The build went well and made no kernel module.
    #[error(
        "{component} built without an error but made no kernel module (only {}): recent vendor spec files \
         build modules only when asked `--with building_kmods`, and DKMS packages otherwise; see whether the \
         configured `with`, `without` and `macros` are the ones that this spec file asks for",
        names(.packages)
    )]
    NoModules {
        /// Which.
        component: ComponentName,
        /// What it made instead.
        packages: Vec<String>,
    },
    /// What was built for another kernel cannot be packaged for this one.
    #[error("what was built of {component} for another kernel cannot be packaged for this one: {reason}")]
    Repackage {
        /// Which.
        component: ComponentName,
        /// Why.
        reason: String,
    },
    /// The modules are for another kernel.
    #[error("{component} made modules for {}, not for {wanted}: its spec file does not follow KVERSION", .found.join(", "))]
    WrongKernel {
        /// Which.
        component: ComponentName,
        /// The kernel that was asked for.
        wanted: KernelRelease,
        /// The kernels that the modules' paths name.
        found: Vec<String>,
    },
    /// The source RPM or a patch is not what its digest says.
    #[error("{path} is not what was planned: its sha256 is {found}, not {expected}")]
    Changed {
        /// The file.
        path: Utf8PathBuf,
        /// What it should be.
        expected: Sha256Digest,
        /// What it is.
        found: Sha256Digest,
    },
    /// The vendor's tool went on without it.
    #[error(
        "the vendor's tool did not build {component}: {said}; leave it out (driver.components.exclude), or have \
         drivetrain build the source RPMs (driver.build: source-rpms)"
    )]
    PassedOver {
        /// Which.
        component: ComponentName,
        /// What the tool says of it, if anything.
        said: String,
    },
    /// The spec file cannot be read by RPM.
    #[error("the source RPM of {component} cannot be used: {reason}")]
    Source {
        /// Which.
        component: ComponentName,
        /// What RPM says.
        reason: String,
    },
    /// Killed, or out of time.
    #[error("the build of {component} {ending}")]
    Ended {
        /// Which.
        component: ComponentName,
        /// How.
        ending: Ending,
    },
    /// The disk is full.
    #[error("the disk of {path} is full: {component} needs more room")]
    DiskFull {
        /// Which.
        component: ComponentName,
        /// Where.
        path: Utf8PathBuf,
    },
    /// It failed on a builder that is another machine, and this is what was said there.
    #[error("{said}")]
    Elsewhere {
        /// The error.
        said: String,
        /// Whether it follows from what is built.
        of_the_source: bool,
    },
    /// The sandbox refused.
    #[error("the builder could not run {component}")]
    Host {
        /// Which.
        component: ComponentName,
        /// Why.
        source: HostError,
    },
    /// A file operation of ours failed.
    #[error("cannot {action} {path}")]
    File {
        /// The verb.
        action: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ComponentError {
    /// Whether it follows from what is built, so that trying once more from the same would change nothing.
    #[must_use]
    pub fn is_of_the_source(&self) -> bool {
        match self {
            Self::Build(diagnosis) => matches!(
                diagnosis.kind,
                DiagnosisKind::Compiler
                    | DiagnosisKind::Modpost
                    | DiagnosisKind::Linker
                    | DiagnosisKind::Configure
                    | DiagnosisKind::Make
                    | DiagnosisKind::Rpm
            ),
            Self::Elsewhere { of_the_source, .. } => *of_the_source,
            Self::NoModules { .. } | Self::WrongKernel { .. } | Self::PassedOver { .. } => true,
            _ => false,
        }
    }

    /// Says of an error whether it is about space, which has an answer of its own.
    pub(crate) fn about_room(self, component: &ComponentName) -> Self {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::File { path, source, .. } if matches!(source.kind(), QuotaExceeded | StorageFull) => {
                Self::DiskFull { component: component.clone(), path }
            }
            other => other,
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<Utf8PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

/// Something that is missing, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRequirement {
    /// What the spec file requires.
    pub capability: Capability,
    /// Where it was looked for and what to do, in words.
    pub advice: String,
}

fn requirements_text(missing: &[MissingRequirement]) -> String {
    missing
        .iter()
        .map(|requirement| format!("{}, which {}", requirement.capability, requirement.advice))
        .collect::<Vec<_>>()
        .join("; and ")
}

fn names(packages: &[String]) -> String {
    if packages.is_empty() { "no package at all".to_owned() } else { packages.join(", ") }
}
