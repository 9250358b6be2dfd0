//! The words drivetrain thinks in: names and versions of packages, kernel releases, cells, plans, locks,
//! journal events.
//!
//! Nothing here reads a file, opens a socket, starts a process or prints. Everything that travels between
//! the stages of a run, or is written to disk for another run to read, has its type here.

mod capability;
mod cell;
mod digest;
mod event;
mod evr;
mod exit;
mod lock;
mod module_result;
mod name;
mod nevra;
mod package;
mod plan;
mod range;

pub use capability::{Capability, Comparison, Constraint};
pub use cell::Cell;
pub use digest::{Checksum, ChecksumAlgorithm, ChecksumError, Sha256Digest};
pub use event::{ComponentOutcome, Event, Stage, Stamped};
pub use evr::Evr;
pub use exit::ExitCode;
pub use lock::{InputRole, Lock, LockDifference, LockedComponent, LockedInput, LockedRepository};
pub use module_result::ModuleResult;
pub use name::{
    Architecture, ComponentName, DriverVersion, KernelRelease, NameError, RepositoryId, RunId, Snapshot,
    TrainName,
};
pub use nevra::{Nevra, NevraError};
pub use package::Package;
pub use plan::{
    Advisory, BootAction, BootPolicy, ComponentAction, HeldBack, KernelChoice, KernelPolicy, Plan,
    PlannedBoot, PlannedComponent, PlannedKernel, PlannedPackage, PlannedPatch, PlannedPublication,
    PlannedReuse, PlannedUserspace, Problem, PublicationState, ReuseVerdict, Severity, SkippedComponent,
};
pub use range::{VersionRange, VersionRangeError};
