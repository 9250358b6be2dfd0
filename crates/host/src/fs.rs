//! File operations on directories that jobs write to.

use std::io;
use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;
use fs_err as fs;

use crate::HostError;

/// Gives a directory to the build user: only the directory itself, which was just made.
pub(crate) fn give(path: &Utf8Path, id: Option<u32>) -> Result<(), HostError> {
    match id {
        Some(id) => fs_err::os::unix::fs::chown(path, Some(id), Some(id))
            .map_err(HostError::file("change the owner of", path)),
        None => Ok(()),
    }
}

/// Removes a tree that a build wrote: its directories may lack the permission to be read or emptied.
pub(crate) fn remove_tree(path: &Utf8Path) -> Result<(), HostError> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path).map_err(HostError::file("remove", path))?;
            fs::remove_dir_all(path).map_err(HostError::file("remove", path))
        }
        Err(error) => Err(HostError::file("remove", path)(error)),
    }
}

/// Makes every directory of a tree ours to empty. Symbolic links are not followed.
fn open_up(path: &Utf8Path) -> io::Result<()> {
    fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    for entry in path.read_dir_utf8()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(entry.path())?;
        }
    }
    Ok(())
}
