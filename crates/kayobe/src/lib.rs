//! A site's Kayobe configuration, read as Ansible would read it.
//!
//! [`Layers`] finds the files and their precedence, [`Variables`] evaluates what they define when it is asked for and
//! notes how each value came about, and [`derive()`] takes from it what drivetrain needs to know of a release train.
//! Nothing is guessed: a variable that is not defined, a lookup that depends on another machine, a filter that is not
//! known are errors with file and line.

mod derive;
mod error;
mod filters;
mod layers;
mod template;
mod value;
mod variables;
pub mod vault;
mod yaml;

pub use derive::{Absent, Derived, DerivedValue, Request, Site, derive, facts, given};
pub use error::{Claim, KayobeError, Place};
pub use layers::Layers;
pub use value::Value;
pub use variables::{Origin, Resolved, Variables};
pub use vault::Password;
