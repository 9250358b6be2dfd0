//! The plan: what would be built for which kernel, and why.
//!
//! Three pure steps, since each says what has to be read for the next. [`select`] takes the configuration and
//! the repositories' metadata, and chooses the kernel, its kernel-devel and the vendor's source package.
//! [`components`] takes the source RPMs that were found in there, and says which are built, in which order.
//! [`plan`] adds what exists already, and gives the [`Plan`](drivetrain_model::Plan) with its lock. Equal
//! arguments, equal plan; nothing here reads a file or asks the time.

mod boot;
mod components;
mod installation;
mod inventory;
mod kernel;
mod metadata;
mod patches;
mod planning;
mod recipe;
mod refusal;
mod reuse;
mod root;
mod select;
#[cfg(test)]
mod tests;
mod userspace;

pub use boot::{BootFacts, BootSet, boot_set, planned_boot};
pub use components::{Components, OrderedComponent, Origin, SourcePackage, components};
pub use installation::{Installation, Uninstallable, files_to_install, installation, takeovers};
pub use inventory::{Inventories, Inventory, expected, is_published};
pub use kernel::kernels;
pub use metadata::RepositoryMetadata;
pub use patches::{ComponentPatch, PatchFile, asks_for_headers, patches};
pub use planning::{Existing, ServedLock, Tools, families, plan};
pub use recipe::{recipe, recipe_of};
pub use refusal::Refusal;
pub use reuse::{ReuseCandidate, ReusedComponent, reuse, reuse_candidates};
pub use root::{RootSet, build_requirements, root, root_files_to_look_up};
pub use select::{ChosenPackage, Selection, select};
pub use userspace::{
    UserspaceSet, files_to_look_up, options, reasons_in_words, shadow_words, userspace, wants,
};
