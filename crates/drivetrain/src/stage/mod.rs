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
pub mod provenance;
pub mod publish;
pub mod report;
pub mod repositories;
pub mod reuse;
pub mod root;
pub mod sign;
pub mod sources;
pub mod transfer;
pub mod unchanged;
pub mod userspace;
pub mod vendor;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_model::ExitCode;

use crate::failure::{Failure, Result, internal};

/// A path below the state directory, whose own path is text.
pub fn utf8(path: &std::path::Path) -> Result<Utf8PathBuf> {
    Utf8PathBuf::from_path_buf(path.to_owned()).map_err(|path| {
        Failure::new(ExitCode::Usage, format!("the state directory's path {} is not UTF-8", path.display()))
    })
}

/// Reads a file that has no more than a few kilobytes where it is what it should be; of a longer one what tells that it is
/// not: one byte more.
pub fn read_small(file: &Utf8Path, most: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs_err::File::open(file)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Does what takes the processor, or waits for the disk, on a thread of its own.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| internal(&error))
}
