//! Several repositories that change together.
//!
//! Each changes by a rename of its own, so that they cannot all change at one moment. But every version is whole and
//! checked before the first of them is, and what is to be done is written down: whoever comes next after a process
//! that ended between two renames makes the rest of them, before anything else. After an error they are all taken
//! back.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::files::{sync, write_file};
use super::flip::flip;
use super::places::{HIDDEN, Places};
use crate::{PublishError, RepositoryPath, Result};

const FILE: &str = ".promotion.json";

/// What is to change together.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Intent {
    changes: Vec<Planned>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Planned {
    path: RepositoryPath,
    version: u64,
    before: Option<u64>,
}

impl Intent {
    fn file(root: &Path) -> PathBuf {
        root.join(HIDDEN).join(FILE)
    }

    pub(crate) fn is_there(root: &Path) -> bool {
        Self::file(root).exists()
    }

    pub(crate) fn add(&mut self, places: &Places, version: u64, before: Option<u64>) {
        self.changes.push(Planned { path: places.path().clone(), version, before });
    }

    /// Makes the changes, or none of them.
    pub(crate) fn carry_out(&self, root: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::other)?;
        let unfinished = root.join(HIDDEN).join(".promotion.new");
        remove(&unfinished)?;
        write_file(&unfinished, &text)?;
        fs::rename(&unfinished, Self::file(root))?;
        sync(&root.join(HIDDEN))?;
        for (done, change) in self.changes.iter().enumerate() {
            if let Err(error) = flip(&Places::new(root, &change.path), change.version) {
                self.take_back(root, done)?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes the first of the changes back.
    fn take_back(&self, root: &Path, done: usize) -> Result<()> {
        for change in &self.changes[..done] {
            let places = Places::new(root, &change.path);
            match change.before {
                Some(before) => flip(&places, before)?,
                None => fs::remove_file(places.link())?,
            }
        }
        Self::forget(root)
    }

    /// All of it is done and noted.
    pub(crate) fn forget(root: &Path) -> Result<()> {
        remove(&Self::file(root))
    }
}

/// Makes what is left of changes that were begun. The lock is held.
pub(crate) fn finish(root: &Path) -> Result<()> {
    let file = Intent::file(root);
    let bytes = match fs::read(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let intent: Intent = serde_json::from_slice(&bytes)
        .map_err(|source| PublishError::Manifest { path: file.display().to_string(), source })?;
    for change in &intent.changes {
        let places = Places::new(root, &change.path);
        if places.version(change.version).is_dir() && places.served()? != Some(change.version) {
            flip(&places, change.version)?;
        }
    }
    Intent::forget(root)
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
