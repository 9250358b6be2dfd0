//! Components to kmod RPMs, for one kernel.
//!
//! [`build`] takes a [`BuildRequest`], pure data made by the plan, and a [`Host`](drivetrain_host::Host) to
//! run on, and returns what became of every component. It rebuilds each source RPM through the interface
//! that its spec file has for the purpose, in a sandbox without network, as parallel as the components'
//! needs and the cores allow.
//!
//! Two caches make later runs short, and neither is trusted blindly: finished components by the digest of
//! everything that went in ([`component_key`]), and compilations by what each of them read.

mod cache;
mod component;
mod error;
mod jobserver;
mod key;
mod lease;
mod packages;
mod progress;
mod remote;
mod repackage;
mod report;
mod request;
mod requirements;
mod root;
mod schedule;
mod slots;
mod toolchain;
mod tools;
mod triage;
mod vendor;

pub use cache::{CachedComponent, CachedPackage, ComponentCache, RepackagedFrom, digest_of};
pub use error::{BuildError, ComponentError, MissingRequirement};
pub use key::{KeyInputs, ToolInputs, component_key, family_key, repackaged_key};
pub use progress::Phase;
pub use remote::{Place, RemoteBuilder, serve_build, serve_probe, serve_unpack, take_finished};
pub use repackage::repackage;
pub use report::{BuildReport, ComponentReport, Outcome, PhaseTime};
pub use request::{
    BuildOptions, BuildRequest, Component, Debuginfo, Directories, Patch, Recipe, TargetKernel, ToolPackage,
    VendorTool,
};
pub use root::{BuildRoot, BuildRoots};
pub use schedule::build;
pub use slots::Slots;
pub use toolchain::{Toolchain, ToolchainError};
pub use triage::{Diagnosis, DiagnosisKind, triage};
