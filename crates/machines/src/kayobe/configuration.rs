//! The files of a configuration: known by a digest, and copied.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_model::Sha256Digest;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use sha2::{Digest as _, Sha256};

use crate::{MachineError, Result};

/// What no command reads: the history of the checkout, and what Python makes of its sources.
const IGNORED: &[&str] = &[".git", "__pycache__", ".tox"];
/// A directory with this file is a virtual environment, which works in its own place alone.
const VIRTUAL: &str = "pyvenv.cfg";
/// More than any configuration has, its collections and roles included.
const MOST_FILES: usize = 200_000;
const MOST_BYTES: u64 = 4 << 30;

/// A digest over all files of a checkout: names, contents, and whether they are programs.
pub(super) fn digest(checkout: &Utf8Path) -> Result<Sha256Digest> {
    Walk::over(checkout, None)
}

/// Copies a checkout into a directory that is there; the digest of what was copied.
pub(super) fn copy(checkout: &Utf8Path, into: &Utf8Path) -> Result<Sha256Digest> {
    Walk::over(checkout, Some(into))
}

/// A directory for this user alone.
pub(super) fn private_directory(path: &Utf8Path) -> Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path).map_err(MachineError::file("make", path))
}

struct Walk<'a> {
    root: &'a Utf8Path,
    into: Option<&'a Utf8Path>,
    digest: Sha256,
    files: usize,
    bytes: u64,
}

impl<'a> Walk<'a> {
    fn over(root: &'a Utf8Path, into: Option<&'a Utf8Path>) -> Result<Sha256Digest> {
        let mut walk = Self { root, into, digest: Sha256::new(), files: 0, bytes: 0 };
        let mut pending = vec![Utf8PathBuf::new()];
        while let Some(directory) = pending.pop() {
            // The last comes first off the list: the order is the same wherever the files are.
            pending.extend(walk.directory(&directory)?);
        }
        Ok(Sha256Digest::from_bytes(walk.digest.finalize().into()))
    }

    /// Takes what is in a directory; its directories are still to be taken.
    fn directory(&mut self, directory: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
        let path = self.root.join(directory);
        let entries = path.read_dir_utf8().map_err(MachineError::file("read", &path))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(MachineError::file("read", &path))?;
            if !IGNORED.contains(&entry.file_name()) {
                names.push(entry.file_name().to_owned());
            }
            if self.files + names.len() > MOST_FILES {
                return Err(self.too_large(&format!("more than {MOST_FILES} files")));
            }
        }
        names.sort();
        let mut directories = Vec::new();
        for name in names {
            let below = directory.join(name);
            self.files += 1;
            let path = self.root.join(&below);
            let metadata = fs::symlink_metadata(&path).map_err(MachineError::file("read", &path))?;
            if metadata.is_symlink() {
                self.link(&below)?;
            } else if metadata.is_dir() && !path.join(VIRTUAL).exists() {
                self.note("directory", &below, 0);
                if let Some(into) = self.into {
                    private_directory(&into.join(&below))?;
                }
                directories.push(below);
            } else if metadata.is_file() {
                self.file(&below, metadata.permissions().mode())?;
            }
        }
        Ok(directories)
    }

    fn note(&mut self, kind: &str, path: &Utf8Path, size: u64) {
        self.digest.update(format!("{kind} {} {path} {size}\n", path.as_str().len()));
    }

    fn link(&mut self, below: &Utf8Path) -> Result<()> {
        let path = self.root.join(below);
        let target = path.read_link_utf8().map_err(MachineError::file("read", &path))?;
        self.note("link", below, target.as_str().len() as u64);
        self.digest.update(target.as_str());
        let Some(into) = self.into else { return Ok(()) };
        let copy = into.join(below);
        symlink(self.outside(below, &target), &copy).map_err(MachineError::file("make", &copy))
    }

    /// Where a link of the copy leads: a way out of the checkout leads somewhere else from the copy.
    fn outside(&self, below: &Utf8Path, target: &Utf8Path) -> Utf8PathBuf {
        let mut depth = below.components().count().saturating_sub(1);
        for part in target.components() {
            match part {
                camino::Utf8Component::ParentDir if depth == 0 => {
                    let parent = below.parent().unwrap_or(Utf8Path::new(""));
                    return self.root.join(parent).join(target);
                }
                camino::Utf8Component::ParentDir => depth -= 1,
                camino::Utf8Component::Normal(_) => depth += 1,
                _ => {}
            }
        }
        target.to_owned()
    }

    fn file(&mut self, below: &Utf8Path, mode: u32) -> Result<()> {
        let path = self.root.join(below);
        let mut file = fs::File::open(&path).map_err(MachineError::file("read", &path))?;
        let is_program = mode & 0o100 != 0;
        self.note(if is_program { "program" } else { "file" }, below, 0);
        let mut copy = match self.into {
            None => None,
            Some(into) => {
                let path = into.join(below);
                let mode = if is_program { 0o700 } else { 0o600 };
                let mut options = fs::OpenOptions::new();
                let options = options.write(true).create_new(true).mode(mode);
                Some(options.open(&path).map_err(MachineError::file("write", &path))?)
            }
        };
        let mut buffer = vec![0; 128 * 1024];
        let mut size = 0_u64;
        loop {
            let count = file.read(&mut buffer).map_err(MachineError::file("read", &path))?;
            let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else { break };
            size += piece.len() as u64;
            if self.bytes + size > MOST_BYTES {
                return Err(self.too_large(&format!("more than {} GiB", MOST_BYTES >> 30)));
            }
            self.digest.update(piece);
            if let Some(copy) = &mut copy {
                copy.write_all(piece).map_err(MachineError::file("write", below))?;
            }
        }
        self.bytes += size;
        self.digest.update(size.to_le_bytes());
        Ok(())
    }

    fn too_large(&self, what: &str) -> MachineError {
        MachineError::Configuration {
            what: format!("builder.prepare.kayobe.configuration {}", self.root),
            why: format!("it has {what}"),
            next: "name a checkout of kayobe-config and nothing else".to_owned(),
        }
    }
}
