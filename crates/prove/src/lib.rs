//! The proof without booting, over files: will this kernel load these modules?
//!
//! `drivetrain-kmod` judges bytes; this crate gets at them. A kernel and modules come from RPMs as they were
//! downloaded or built, from unpacked trees, or from single files, and what a file is is told by its content.
//!
//! * [`read_kernel`] reads what a kernel exports.
//! * [`read_modules`] reads every module of RPMs, files and directories, in parallel and within [`Limits`].
//! * [`prove`] judges the ones by the other.
//! * [`file_conflicts`] finds files that packages would not share.
//!
//! Files are taken to be hostile: a damaged one is an error, never a panic, nothing is ever written, and memory
//! is bounded. An RPM's digests are verified before anything is read from it, since a damaged payload may still
//! unpack; signatures are not: whoever has RPMs from elsewhere asks `drivetrain_rpmfile::verify` first.

mod budget;
mod compare;
mod error;
mod files;
mod kernel;
mod modules;
mod ownership;
mod package;
mod parallel;
mod proof;

pub use budget::Limits;
pub use compare::{DifferingModule, SetDifference, compare};
pub use error::ProveError;
pub use files::packages_below;
pub use kernel::read_kernel;
pub use modules::{ModuleFile, Modules, read_modules};
pub use ownership::{FileConflict, file_conflicts};
pub use proof::{Proof, ProvenModule, prove};
