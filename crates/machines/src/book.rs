//! What this host knows of the leases that it asked for.
//!
//! A provider finds its machines by what is noted on them, so the book is not needed to remove anything. It tells
//! which machines belong to runs of this state directory that have ended: those need not be waited for until they
//! expire.

use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::key::make_private;
use crate::{Lease, LeaseId, MachineError, Result};

const UNFINISHED: &str = ".new";
/// Nobody writes a record for so long.
const LONG_AGO: Duration = Duration::from_secs(3600);

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
        let beside = unfinished(&path);
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
        // What is not finished goes first: as long as there is a record, this is done again.
        for file in [unfinished(&path), path] {
            fs::remove_file(&file).or_else(gone).map_err(MachineError::file("remove", &file))?;
        }
        Ok(())
    }

    /// All that is written down. What cannot be read is passed over: the machine itself has its lease.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let files = self.directory.read_dir_utf8().into_iter().flatten().flatten();
        let files: Vec<Utf8PathBuf> = files.map(|file| file.path().to_owned()).collect();
        // Of a run that was killed while it wrote there may be no more than what it did not finish.
        let of_killed = |file: &&Utf8PathBuf| {
            record_of(file).is_some_and(|record| !files.iter().any(|file| file == record))
        };
        let finished = files.iter().filter(|file| file.extension() == Some("json"));
        let mut entries: Vec<Entry> = finished
            .chain(files.iter().filter(of_killed))
            .filter_map(|file| serde_json::from_slice(&fs::read(file).ok()?).ok())
            .collect();
        entries.sort_by(|a, b| (a.lease.made, &a.lease.id).cmp(&(b.lease.made, &b.lease.id)));
        entries
    }

    /// Removes what runs that were killed have begun to write and nobody can read: nothing was asked for yet by then.
    pub(crate) fn forget_unreadable(&self) {
        for file in self.directory.read_dir_utf8().into_iter().flatten().flatten() {
            let path = file.path();
            let is_lost = record_of(path).is_some_and(|record| !record.exists())
                && fs::read(path).is_ok_and(|bytes| serde_json::from_slice::<Entry>(&bytes).is_err());
            let age = file.metadata().ok().and_then(|metadata| metadata.modified().ok()?.elapsed().ok());
            if is_lost && age.is_some_and(|age| age > LONG_AGO) {
                // It is in nobody's way, and the next one tries again.
                drop(fs::remove_file(path));
            }
        }
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

/// What a record is called until it is whole.
fn unfinished(record: &Utf8Path) -> Utf8PathBuf {
    format!("{record}{UNFINISHED}").into()
}

/// What an unfinished record was to become; `None` for whatever else is there.
fn record_of(unfinished: &Utf8Path) -> Option<&Utf8Path> {
    let record = Utf8Path::new(unfinished.as_str().strip_suffix(UNFINISHED)?);
    (record.extension() == Some("json")).then_some(record)
}

fn gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use drivetrain_model::RunId;
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    #[test]
    fn a_run_that_was_killed_while_it_wrote_leaves_nothing_that_is_not_known_and_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let book = LeaseBook::new(Utf8Path::from_path(directory.path()).unwrap().join("leases"));
        let entry = |run: &str| {
            let run = RunId::parse(run).unwrap();
            let lease =
                Lease::new(run, "me@here".to_owned(), Timestamp::now(), SignedDuration::from_hours(1));
            Entry { lease, provider: "QEMU".to_owned(), kept: false, ssh: None }
        };
        let (twice, once) = (entry("run-1"), entry("run-2"));
        for entry in [&twice, &once] {
            book.write(entry).unwrap();
            let record = book.file(&entry.lease.id);
            fs::copy(&record, unfinished(&record)).unwrap();
        }
        fs::write(unfinished(&book.file(&twice.lease.id)), "{\"lease\":").unwrap();
        fs::remove_file(book.file(&once.lease.id)).unwrap();
        let mut entries = book.entries();
        entries.sort_by_key(|entry| entry.lease.id != twice.lease.id);
        assert_eq!(entries, [twice, once]);
        for entry in entries {
            book.forget(&entry.lease.id).unwrap();
        }
        assert_eq!(fs::read_dir(book.directory()).unwrap().count(), 0);
        // What nobody can read goes once nobody can be writing it.
        for (name, age) in [("dt-old.json.new", LONG_AGO * 2), ("dt-new.json.new", Duration::ZERO)] {
            let file = std::fs::File::create(book.directory().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - age).unwrap();
        }
        book.forget_unreadable();
        let left: Vec<_> =
            fs::read_dir(book.directory()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left, ["dt-new.json.new"]);
    }
}
