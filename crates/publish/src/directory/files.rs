//! Files and directories with the rights that consumers need, on disk when a call returns.

use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use drivetrain_model::Sha256Digest;
use fs_err as fs;
use sha2::{Digest, Sha256};

use crate::{PublishError, Result};

const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// Lets everybody read a file, whatever the umask says: the web server is somebody else.
pub(crate) fn readable(path: &Path) -> Result<()> {
    Ok(fs::set_permissions(path, PermissionsExt::from_mode(FILE_MODE))?)
}

/// Makes one directory that everybody may read; the directory above it must be there. What is there already
/// must be a directory and no link to one, and keeps its rights.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Ok(()) => Ok(fs::set_permissions(path, PermissionsExt::from_mode(DIRECTORY_MODE))?),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => require_directory(path),
        Err(error) => Err(error.into()),
    }
}

/// That a path is a directory, and not a link to one, which could lead out of the root.
pub(crate) fn require_directory(path: &Path) -> Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_dir() {
        return Ok(());
    }
    let what = if kind.is_symlink() {
        "a symbolic link. If it is a repository, no other can be below it; else remove it"
    } else {
        "no directory. Remove it, or choose another path"
    };
    Err(PublishError::InTheWay { path: path.display().to_string(), what: what.to_owned() })
}

/// Writes a new file and waits until it is on disk.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    readable(path)?;
    Ok(file.sync_all()?)
}

/// Waits until a file's or directory's content is on disk.
pub(crate) fn sync(path: &Path) -> Result<()> {
    Ok(fs::File::open(path)?.sync_all()?)
}

/// Puts the bytes of `from` under the name `to`: as another name of the same file where that can be, else as
/// a copy. On disk when it returns.
pub(crate) fn place(from: &Path, to: &Path, links: bool) -> Result<()> {
    // A file that others cannot read cannot be linked: making it readable would change it for its owner too.
    let metadata = fs::metadata(from)?;
    if !metadata.is_file() {
        return Err(PublishError::InTheWay {
            path: from.display().to_string(),
            what: "it is to be published, and is no file".to_owned(),
        });
    }
    if links && metadata.mode() & 0o777 == FILE_MODE {
        // The source may be a link itself; what is published must not be.
        let source = fs::canonicalize(from)?;
        if fs::hard_link(&source, to).is_ok() {
            return sync(to);
        }
        // Another file system, one without links, too many links, not the owner: a copy is as good.
    }
    fs::copy(from, to)?;
    readable(to)?;
    sync(to)
}

/// The digest and the size of a file.
pub(crate) fn digest(path: &Path) -> Result<(Sha256Digest, u64)> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((Sha256Digest::from_bytes(hasher.finalize().into()), size)),
            count => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
}

/// Removes a directory with all that is in it; it need not be there.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The names in a directory; none where it is not there.
pub(crate) fn names(path: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
