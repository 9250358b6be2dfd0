//! File operations on directories that jobs write to.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use camino::Utf8Path;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use rustix::fs::OFlags;

use crate::HostError;

/// Gives a directory to the build user: only the directory itself, which was just made.
///
/// Its mode is set after the fact, so that our umask does not count: bubblewrap enters it as a root without
/// root's rights.
pub(crate) fn give(path: &Utf8Path, id: Option<u32>) -> Result<(), HostError> {
    set_mode(path, 0o755)?;
    match id {
        Some(id) => fs_err::os::unix::fs::chown(path, Some(id), Some(id))
            .map_err(HostError::file("change the owner of", path)),
        None => Ok(()),
    }
}

/// Sets a file's or directory's mode, whatever our umask made of it.
pub(crate) fn set_mode(path: &Utf8Path, mode: u32) -> Result<(), HostError> {
    fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(HostError::file("change the mode of", path))
}

/// How often a removal is tried again because somebody wrote to the tree meanwhile.
const REMOVALS: u32 = 20;

/// Removes a tree that a build wrote: its directories may lack the permission to be read or emptied.
pub(crate) fn remove_tree(path: &Utf8Path) -> Result<(), HostError> {
    let mut result = remove_once(path);
    for _ in 0..REMOVALS {
        // What a job left behind is killed with it, but may live for some milliseconds yet.
        match &result {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                thread::sleep(Duration::from_millis(10));
                result = remove_once(path);
            }
            _ => break,
        }
    }
    result.map_err(HostError::file("remove", path))
}

fn remove_once(path: &Utf8Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        result => result,
    }
}

/// Opens a file that a job may have made: not through a symbolic link, which could lead to a file that only
/// root may read, and without waiting for the other end of a named pipe.
pub(crate) fn open_regular(path: &Utf8Path) -> io::Result<fs::File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// Writes a small file in one step: who reads it at this moment sees the old one or the new one.
pub(crate) fn replace(path: &Utf8Path, content: &[u8]) -> Result<(), HostError> {
    let temporary = path.with_added_extension(format!("{}.new", std::process::id()));
    fs::write(&temporary, content).map_err(HostError::file("write", &temporary))?;
    set_mode(&temporary, 0o644)?;
    fs::rename(&temporary, path).map_err(HostError::file("write", path))
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
