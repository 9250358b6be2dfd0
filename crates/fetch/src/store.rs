//! The store: files under the name of their checksum.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_model::{Checksum, ChecksumAlgorithm, Sha256Digest};

use crate::DiskFull;
use crate::disk;
use crate::hash::Hasher;

/// After this long, a temporary file belongs to a process that is gone.
const STALE_TEMPORARY: Duration = Duration::from_secs(24 * 60 * 60);
/// After this long, nobody comes back for half a download.
const STALE_PARTIAL: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A directory of files by checksum: `sha256/ab/abcdef…`. Cheap to clone.
///
/// A file appears under its name in one rename, after its bytes were hashed and reached the disk; it is
/// read-only. Several processes may use one store. Disks forget: what earlier processes left is hashed again
/// when [`Store::take`] is asked for it the first time, and dropped where it is damaged.
#[derive(Debug, Clone)]
pub struct Store {
    root: Arc<Utf8Path>,
    /// What was hashed since this store was opened, with its size then.
    sound: Arc<Mutex<HashMap<Utf8PathBuf, u64>>>,
}

/// What the store has under a checksum.
#[derive(Debug)]
pub enum Stored {
    /// The file, with the bytes that its name promises.
    Sound {
        /// Where it is.
        path: Utf8PathBuf,
        /// How many bytes it has.
        size: u64,
    },
    /// Had a file that was not what its name says; it is removed.
    Dropped(StoreError),
    /// Nothing.
    Absent,
}

/// What can go wrong with the store or the cache.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room.
    #[error(transparent)]
    DiskFull(#[from] DiskFull),
    /// A file is not what its name says.
    #[error("{path} should have the checksum {expected} and has {got}: look at the disk's health")]
    Corrupt {
        /// The file.
        path: Utf8PathBuf,
        /// What its name says.
        expected: Checksum,
        /// What it has.
        got: Checksum,
    },
    /// Anything else that the system refuses; the text names the file.
    #[error("{0}")]
    Io(io::Error),
}

impl Store {
    /// Opens a store, and makes its directories where they are missing. Removes temporary files that
    /// killed processes left.
    pub fn open(root: impl Into<Utf8PathBuf>) -> Result<Self, StoreError> {
        let store = Self { root: root.into().into(), sound: Arc::default() };
        for directory in [store.temporary_directory(), store.partial_directory()] {
            fs_err::create_dir_all(&directory).map_err(|error| store.error(error, None))?;
        }
        remove_older(&store.temporary_directory(), STALE_TEMPORARY);
        remove_older(&store.partial_directory(), STALE_PARTIAL);
        Ok(store)
    }

    /// The store's directory.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// Where a file of this checksum is, or would be.
    #[must_use]
    pub fn path(&self, checksum: &Checksum) -> Utf8PathBuf {
        let directory = match checksum.algorithm {
            ChecksumAlgorithm::Sha256 => "sha256",
            ChecksumAlgorithm::Sha384 => "sha384",
            ChecksumAlgorithm::Sha512 => "sha512",
        };
        // `Checksum` has public fields; one that was not parsed must not lead out of the store.
        let hex: String = checksum.hex.chars().filter(char::is_ascii_hexdigit).collect();
        self.root.join(directory).join(hex.get(..2).unwrap_or("__")).join(&hex)
    }

    /// Whether the store has the file: a regular file, and of this size where one is given.
    #[must_use]
    pub fn contains(&self, checksum: &Checksum, size: Option<u64>) -> bool {
        self.find(checksum, size).is_some()
    }

    /// The file's path and size, where [`Store::contains`] it.
    ///
    /// The bytes are not hashed again: [`Store::take`] does that.
    #[must_use]
    pub fn find(&self, checksum: &Checksum, size: Option<u64>) -> Option<(Utf8PathBuf, u64)> {
        let path = self.path(checksum);
        let metadata = fs_err::symlink_metadata(&path).ok()?;
        let fits = metadata.is_file() && size.is_none_or(|size| size == metadata.len());
        fits.then_some((path, metadata.len()))
    }

    /// Reads a stored file again and compares its checksum. Blocks.
    pub fn verify(&self, checksum: &Checksum) -> Result<(), StoreError> {
        let path = self.path(checksum);
        let file = fs_err::File::open(&path).map_err(StoreError::Io)?;
        let mut hasher = Hasher::new(checksum.algorithm);
        hasher.read_through(file, |_| Ok(())).map_err(StoreError::Io)?;
        let got = hasher.finish();
        if got == *checksum {
            return Ok(());
        }
        Err(StoreError::Corrupt { path, expected: checksum.clone(), got })
    }

    /// The file, for use: as [`Store::find`], after its bytes were hashed. That is done once for each store that
    /// is open and each file. What is damaged or cannot be read is removed, so that it can be had again. Blocks.
    pub fn take(&self, checksum: &Checksum, size: Option<u64>) -> Result<Stored, StoreError> {
        let Some((path, found)) = self.find(checksum, None) else { return Ok(Stored::Absent) };
        if !self.is_known_sound(&path, found) {
            if let Err(damage) = self.verify(checksum) {
                self.remove(checksum)?;
                return Ok(Stored::Dropped(damage));
            }
            self.note_sound(&path, found);
        }
        // Whoever expects another size of the same bytes is wrong; the stored file is not.
        if size.is_some_and(|size| size != found) {
            return Ok(Stored::Absent);
        }
        Ok(Stored::Sound { path, size: found })
    }

    fn is_known_sound(&self, path: &Utf8Path, size: u64) -> bool {
        let sound = self.sound.lock().unwrap_or_else(PoisonError::into_inner);
        sound.get(path) == Some(&size)
    }

    fn note_sound(&self, path: &Utf8Path, size: u64) {
        self.sound.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), size);
    }

    /// Removes a stored file, where there is one.
    pub fn remove(&self, checksum: &Checksum) -> Result<(), StoreError> {
        match fs_err::remove_file(self.path(checksum)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::Io(error)),
            _ => Ok(()),
        }
    }

    /// Copies a file into the store and returns its SHA-256 and its path there. Blocks.
    ///
    /// Always a copy: a hard link would share its bytes with a file that its owner may change, and would
    /// make that file read-only.
    pub fn insert_from_file(&self, from: &Utf8Path) -> Result<(Sha256Digest, Utf8PathBuf), StoreError> {
        let file = fs_err::File::open(from).map_err(StoreError::Io)?;
        let needed = file.metadata().map(|metadata| metadata.len()).ok();
        let (temporary, got, _) = self.copy_in(file, ChecksumAlgorithm::Sha256, needed)?;
        let path = self.keep(temporary, &got)?;
        let digest = got.as_sha256().ok_or_else(|| StoreError::Io(io::Error::other("no SHA-256")))?;
        Ok((digest, path))
    }

    /// Copies to a temporary file and hashes on the way.
    pub(crate) fn copy_in(
        &self,
        from: fs_err::File,
        algorithm: ChecksumAlgorithm,
        needed: Option<u64>,
    ) -> Result<(tempfile::NamedTempFile, Checksum, u64), StoreError> {
        if let Some(needed) = needed {
            disk::check_room(&self.root, needed)?;
        }
        let mut temporary = tempfile::NamedTempFile::new_in(self.temporary_directory())
            .map_err(|error| self.error(error, needed))?;
        let mut hasher = Hasher::new(algorithm);
        let size = hasher
            .read_through(from, |bytes| temporary.write_all(bytes))
            .map_err(|error| self.error(error, needed))?;
        Ok((temporary, hasher.finish(), size))
    }

    /// Gives a finished temporary file its name.
    pub(crate) fn keep(
        &self,
        temporary: tempfile::NamedTempFile,
        checksum: &Checksum,
    ) -> Result<Utf8PathBuf, StoreError> {
        let path = self.prepare(temporary.as_file(), checksum)?;
        make_read_only(temporary.as_file()).map_err(StoreError::Io)?;
        temporary.persist(&path).map_err(|error| self.error(error.error, None))?;
        Ok(path)
    }

    /// Makes a finished file durable, and the directory that it goes to; the rename is the caller's.
    ///
    /// Without the sync, a power failure could leave a name with no bytes behind it, and the store trusts
    /// names.
    pub(crate) fn prepare(
        &self,
        file: &std::fs::File,
        checksum: &Checksum,
    ) -> Result<Utf8PathBuf, StoreError> {
        let path = self.path(checksum);
        if let Some(directory) = path.parent() {
            fs_err::create_dir_all(directory).map_err(|error| self.error(error, None))?;
        }
        file.sync_data().map_err(|error| self.error(error, None))?;
        Ok(path)
    }

    pub(crate) fn partial_directory(&self) -> Utf8PathBuf {
        self.root.join("partial")
    }

    fn temporary_directory(&self) -> Utf8PathBuf {
        self.root.join("tmp")
    }

    /// An I/O error of the store's file system, with its numbers where it is full.
    pub(crate) fn error(&self, error: io::Error, needed: Option<u64>) -> StoreError {
        if disk::is_full(&error) {
            StoreError::DiskFull(disk::full(&self.root, needed, &error))
        } else {
            StoreError::Io(error)
        }
    }
}

pub(crate) fn make_read_only(file: &std::fs::File) -> io::Result<()> {
    file.set_permissions(std::fs::Permissions::from_mode(0o444))
}

/// Removes what is older and not locked. Nothing depends on it, so failures are passed over.
fn remove_older(directory: &Utf8Path, age: Duration) {
    let Ok(entries) = fs_err::read_dir(directory) else { return };
    let Some(limit) = SystemTime::now().checked_sub(age) else { return };
    for entry in entries.flatten() {
        let old = entry.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|at| at < limit);
        let unlocked = || std::fs::File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if old && unlocked() {
            drop(fs_err::remove_file(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(directory.path().join("store")).unwrap();
        (directory, Store::open(root).unwrap())
    }

    #[test]
    fn a_file_is_kept_under_its_checksum_and_read_only() {
        let (_directory, store) = store();
        let input = store.root().join("input");
        fs_err::write(&input, b"hello").unwrap();
        let (digest, path) = store.insert_from_file(&input).unwrap();
        assert_eq!(digest, Sha256Digest::of(b"hello"));
        assert_eq!(path, store.root().join(format!("sha256/{}/{digest}", &digest.to_string()[..2])));
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
        // The input may change; the stored bytes may not.
        fs_err::write(&input, b"other").unwrap();
        store.verify(&digest.into()).unwrap();
        assert!(store.contains(&digest.into(), Some(5)));
        assert!(store.contains(&digest.into(), None));
        assert!(!store.contains(&digest.into(), Some(6)));
        assert_eq!(store.insert_from_file(&path).unwrap().1, path);
        assert_eq!(fs_err::read_dir(store.temporary_directory()).unwrap().count(), 0);
    }

    #[test]
    fn a_spoilt_file_is_found_out() {
        let (_directory, store) = store();
        let checksum = Checksum::from(Sha256Digest::of(b"hello"));
        let path = store.path(&checksum);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, b"jello").unwrap();
        assert!(matches!(store.verify(&checksum), Err(StoreError::Corrupt { .. })));
        store.remove(&checksum).unwrap();
        store.remove(&checksum).unwrap();
        assert!(!store.contains(&checksum, None));
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(!store.contains(&checksum, None), "a symbolic link was taken for a stored file");
    }

    #[test]
    fn what_is_damaged_is_dropped_when_it_is_used_first_and_what_is_whole_is_hashed_once() {
        let (_directory, store) = store();
        let checksum = Checksum::from(Sha256Digest::of(b"hello"));
        let path = store.path(&checksum);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(matches!(store.take(&checksum, None), Ok(Stored::Absent)));
        for damaged in [&b"jello"[..], b"hell", b"", b"hello, and more"] {
            fs_err::write(&path, damaged).unwrap();
            for size in [Some(5), None] {
                fs_err::write(&path, damaged).unwrap();
                let taken = store.take(&checksum, size).unwrap();
                assert!(matches!(taken, Stored::Dropped(StoreError::Corrupt { .. })), "{taken:?}");
                assert!(!path.exists());
            }
        }
        fs_err::write(&path, b"hello").unwrap();
        assert!(matches!(store.take(&checksum, Some(6)), Ok(Stored::Absent)));
        assert!(path.exists(), "another size was asked for: that is no damage");
        assert!(matches!(store.take(&checksum, Some(5)), Ok(Stored::Sound { size: 5, .. })));
        // Not read again, or this would be found out; a truncation still is.
        fs_err::write(&path, b"jello").unwrap();
        assert!(matches!(store.clone().take(&checksum, None), Ok(Stored::Sound { .. })));
        fs_err::write(&path, b"").unwrap();
        assert!(matches!(store.take(&checksum, None), Ok(Stored::Dropped(_))));
    }

    #[test]
    fn only_stale_temporary_files_are_removed() {
        let (_directory, store) = store();
        let make = |path: Utf8PathBuf, age| {
            let file = std::fs::File::create(&path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            (path, file)
        };
        let (old, _) = make(store.temporary_directory().join("old"), STALE_TEMPORARY * 2);
        let (new, _) = make(store.temporary_directory().join("new"), Duration::ZERO);
        let (locked, file) = make(store.partial_directory().join("locked.part"), STALE_PARTIAL * 2);
        file.try_lock().unwrap();
        let _again = Store::open(store.root()).unwrap();
        assert!(!old.exists() && new.exists() && locked.exists());
    }

    #[test]
    fn a_checksum_that_was_not_parsed_stays_inside() {
        let (_directory, store) = store();
        let evil = Checksum { algorithm: ChecksumAlgorithm::Sha256, hex: "../../../etc/passwd".to_owned() };
        assert!(store.path(&evil).starts_with(store.root().join("sha256")));
        let empty = Checksum { algorithm: ChecksumAlgorithm::Sha256, hex: String::new() };
        assert!(!store.contains(&empty, None));
    }
}
