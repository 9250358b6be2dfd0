//! A directory as publication target. What is where and why: the crate's text.

mod build;
mod check;
pub(crate) mod files;
mod flip;
mod lock;
mod places;
mod probe;
mod promote;
mod retain;
mod settle;
mod target;

pub use target::{DirectoryOptions, DirectoryTarget, Step};
