//! The stages of a run, each from what the one before it made.
//!
//! [`plan::Planned`] → [`fetch::Inputs`] → [`build::Built`] → [`prove::Proven`] → [`publish::publish`]. A stage
//! cannot be called without its predecessor's result, so nothing that was not fetched and verified is built,
//! and nothing that was not proven is published.

pub mod boot;
pub mod build;
pub mod fetch;
pub mod held_back;
pub mod install;
pub mod kayobe;
mod keys;
pub mod lockstep;
pub mod machine;
mod metadata;
pub mod modsign;
pub mod patches;
pub mod plan;
pub mod prove;
pub mod publish;
pub mod report;
pub mod repositories;
pub mod reuse;
pub mod root;
pub mod sign;
pub mod sources;
pub mod transfer;
pub mod userspace;
pub mod vendor;

use crate::failure::{Result, internal};

/// Does what takes the processor, or waits for the disk, on a thread of its own.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| internal(&error))
}
