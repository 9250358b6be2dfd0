//! What this host knows of the leases that it asked for.
//!
//! A provider finds its machines by what is noted on them, so the book is not needed to remove anything. It tells
//! which machines belong to runs of this state directory that have ended: those need not be waited for until they
//! expire.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::key::make_private;
use crate::{Lease, LeaseId, MachineError, Result};

/// A line of the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The lease.
    pub lease: Lease,
    /// Who was asked for the machine, in words.
    pub provider: String,
    /// Whether it was kept on purpose, for somebody to look at.
    pub kept: bool,
    /// The command to get in; absent until the machine is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<String>,
}

/// The leases that were asked for from one state directory, a file each.
#[derive(Debug, Clone)]
pub struct LeaseBook {
    directory: Utf8PathBuf,
}

impl LeaseBook {
    /// The book in this directory, which need not exist yet.
    #[must_use]
    pub fn new(directory: impl Into<Utf8PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Where the keys of a lease are.
    #[must_use]
    pub fn keys(&self, lease: &LeaseId) -> Utf8PathBuf {
        self.directory.join(format!("{lease}.keys"))
    }

    /// Writes a lease down, before anything is asked for.
    ///
    /// # Errors
    /// Where the directory cannot be written to.
    pub fn write(&self, entry: &Entry) -> Result<()> {
        make_private(&self.directory)?;
        let path = self.file(&entry.lease.id);
        let beside = path.with_added_extension("new");
        let text = serde_json::to_vec_pretty(entry)
            .map_err(|error| MachineError::file("write", &path)(error.into()))?;
        fs::write(&beside, text)
            .and_then(|()| fs::File::open(&beside)?.sync_all())
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(MachineError::file("write", &path))
    }

    /// Forgets a lease of which nothing is left, with its keys.
    ///
    /// # Errors
    /// Where the directory cannot be written to.
    pub fn forget(&self, lease: &LeaseId) -> Result<()> {
        let keys = self.keys(lease);
        fs::remove_dir_all(&keys).or_else(gone).map_err(MachineError::file("remove", &keys))?;
        let path = self.file(lease);
        fs::remove_file(&path).or_else(gone).map_err(MachineError::file("remove", &path))
    }

    /// All that is written down. What cannot be read is passed over: the machine itself has its lease.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let files = self.directory.read_dir_utf8().into_iter().flatten().flatten();
        let mut entries: Vec<Entry> = files
            .filter(|file| file.path().extension() == Some("json"))
            .filter_map(|file| serde_json::from_slice(&fs::read(file.path()).ok()?).ok())
            .collect();
        entries.sort_by(|a, b| (a.lease.made, &a.lease.id).cmp(&(b.lease.made, &b.lease.id)));
        entries
    }

    fn file(&self, lease: &LeaseId) -> Utf8PathBuf {
        self.directory.join(format!("{lease}.json"))
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Utf8Path {
        &self.directory
    }
}

fn gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
