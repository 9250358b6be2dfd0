//! The plan: what would be built for which kernel, and why.
//!
//! Three pure steps, since each says what has to be read for the next. [`select`] takes the configuration and
//! the repositories' metadata, and chooses the kernel, its kernel-devel and the vendor's source package.
//! [`components`] takes the source RPMs that were found in there, and says which are built, in which order.
//! [`plan`] adds what exists already, and gives the [`Plan`](drivetrain_model::Plan) with its lock. Equal
//! arguments, equal plan; nothing here reads a file or asks the time.

mod components;
mod kernel;
mod metadata;
mod planning;
mod recipe;
mod refusal;
mod select;
#[cfg(test)]
mod tests;

pub use components::{Components, Origin, SourcePackage, components};
pub use metadata::RepositoryMetadata;
pub use planning::{Existing, ServedLock, Tools, plan};
pub use recipe::recipe;
pub use refusal::Refusal;
pub use select::{ChosenPackage, Selection, select};
