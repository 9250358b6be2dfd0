//! The stages of a run, each from what the one before it made.
//!
//! [`plan::Planned`] → [`fetch::Inputs`] → [`build::Built`] → [`prove::Proven`] → [`publish::publish`]. A stage
//! cannot be called without its predecessor's result, so nothing that was not fetched and verified is built,
//! and nothing that was not proven is published.

pub mod build;
pub mod fetch;
mod keys;
mod metadata;
pub mod plan;
pub mod prove;
pub mod publish;
mod sources;
mod transfer;

pub use publish::target_words;
