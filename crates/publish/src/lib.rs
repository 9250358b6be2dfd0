//! Publication targets: where driver repositories go, and how they get there in one step.
//!
//! [`Target`] is what a target can do, in the order in which a run asks for it: make sure that it can take a
//! repository, publish one, say what is served, go back. [`DirectoryTarget`] does it with a directory that a
//! web server may serve; a Pulp server has the same four verbs (repository and distribution, repository
//! version with its publication, distribution's pointer, list), which is why they are cut like this.
//!
//! The crate knows RPM files and metadata, and nothing of how they were built.
//!
//! # A directory as target
//!
//! ```text
//! ROOT/
//!   rocky-9.4/3.2.0/5.14.0-427…/x86_64 -> ../../../../.drivetrain/rocky-9.4/…/x86_64/.versions/7
//!   .drivetrain/
//!     .lock
//!     rocky-9.4/3.2.0/5.14.0-427…/x86_64/
//!       .history.jsonl
//!       .incoming/          a version in the making, or one being removed
//!       .versions/6/ 7/     Packages/ repodata/ evidence/ manifest.json drivetrain.repo
//! ```
//!
//! What consumers use is a symbolic link, and the one step is a `rename` of a new link over the old one. That
//! is atomic on every file system that has links. `renameat2(RENAME_EXCHANGE)` of two directories is atomic
//! too, but network and overlay file systems do not all have it, it leaves the versions under changing names,
//! and it has no answer to the next paragraph either.
//!
//! A consumer reads `repomd.xml`, then the documents that it names, then packages; the link may be flipped
//! between any two of these. So names are never used for other bytes: documents carry their checksum, a
//! package whose file name an earlier version has with other bytes goes below a directory named by its digest,
//! and a version's directory also holds (as hard links) the documents and packages of all other versions that
//! are kept. Metadata do not list them. A consumer with the old `repomd.xml`, from a second ago or from its
//! cache of yesterday, finds all that it names, bit by bit, until its version is no longer kept.
//!
//! A web server has to follow symbolic links below ROOT (`Options FollowSymLinks`; nginx does by default, with
//! `disable_symlinks off`). It may refuse paths with `/.`: no consumer asks for one.

mod directory;
mod error;
mod evidence;
mod history;
mod lockstep;
mod manifest;
mod path;
mod publication;
mod pulp;
mod repofile;
mod signing;
mod target;

pub use directory::{DirectoryOptions, DirectoryTarget, Step};
pub use error::{PublishError, Result};
pub use history::{Action, HistoryEntry};
pub use lockstep::{Lockstep, LockstepKernel, OfOneKernel, of_kernel};
pub use manifest::{Manifest, ManifestFile, ManifestPackage, ManifestSignature};
pub use path::{PathError, RepositoryPath};
pub use publication::{
    Accept, Address, BootedWith, Change, ConsumerSettings, Publication, Record, Replaced, VendorRepository,
    Verdicts,
};
pub use pulp::{PulpOptions, PulpStep, PulpTarget};
pub use repofile::repo_file;
pub use signing::Signing;
pub use target::{
    Check, Depth, Listed, Outcome, Promoted, Promotion, Published, RolledBack, Served, Target, VersionInfo,
};
