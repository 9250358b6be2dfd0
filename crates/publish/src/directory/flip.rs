//! The one step.

use fs_err as fs;

use super::files::sync;
use super::places::Places;
use crate::Result;

/// Serves a version, which must be complete and on disk.
pub(crate) fn flip(places: &Places, version: u64) -> Result<()> {
    let new = places.new_link();
    forget_new_link(places)?;
    fs::os::unix::fs::symlink(places.link_target(version), &new)?;
    // Before this line consumers see the old version, after it the new one.
    Ok(fs::rename(&new, places.link())?)
}

/// Waits until the step is on disk. Should the power fail before, the old version is served, as if nothing had
/// been done.
pub(crate) fn settle_link(places: &Places) -> Result<()> {
    sync(&places.link_directory())
}

/// Removes a link that a process left before it could take its place.
pub(crate) fn forget_new_link(places: &Places) -> Result<()> {
    match fs::remove_file(places.new_link()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
