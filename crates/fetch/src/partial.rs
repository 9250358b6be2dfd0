//! Half a download: the file that grows, its running checksum, and the lock that keeps others off.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;

use bytes::Bytes;
use camino::Utf8PathBuf;
use drivetrain_model::{Checksum, Sha256Digest};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::hash::Hasher;
use crate::store::make_read_only;
use crate::{Store, StoreError};

/// A partial file that this process alone may write, for as long as the value lives.
///
/// The lock is the kernel's (`flock`), so it goes with the process however that ends.
pub(crate) struct Partial {
    store: Store,
    checksum: Checksum,
    path: Utf8PathBuf,
    file: File,
    hasher: Hasher,
    length: u64,
    /// Whether its bytes come from more than the last connection, so that a wrong checksum may be the fault
    /// of an earlier one.
    pub(crate) resumed: bool,
}

/// What the server said of the bytes that are here, so as to ask for the rest of the same.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    /// The digest of the URL: what one server calls its file means nothing to another.
    url: Option<Sha256Digest>,
    /// A value for `If-Range`.
    validator: Option<String>,
}

/// What became of a finished file.
pub(crate) enum Committed {
    /// It is in the store.
    Kept { path: Utf8PathBuf, size: u64 },
    /// It has another checksum.
    Wrong { partial: Box<Partial>, got: Checksum },
}

impl Partial {
    /// Takes the partial file of a checksum, with the bytes that an earlier process left; nothing where
    /// another process has it now. Blocks while it hashes those bytes.
    pub(crate) fn claim(
        store: &Store,
        checksum: &Checksum,
        size: Option<u64>,
    ) -> Result<Option<Self>, StoreError> {
        let name = store.path(checksum);
        let name = name.file_name().unwrap_or("none");
        let path = store.partial_directory().join(format!("{name}.part"));
        let error = |error: io::Error| {
            store.error(io::Error::new(error.kind(), format!("cannot use {path}: {error}")), None)
        };
        let file = loop {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).open(&path);
            let file = file.map_err(error)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(why)) => return Err(error(why)),
            }
            // Between opening and locking, the one who had it may have moved it into the store.
            let opened = file.metadata().map_err(error)?;
            let named = fs_err::symlink_metadata(&path).ok();
            if named.is_some_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino())) {
                break file;
            }
        };
        let mut partial = Self {
            store: store.clone(),
            checksum: checksum.clone(),
            hasher: Hasher::new(checksum.algorithm),
            path,
            file,
            length: 0,
            resumed: false,
        };
        let present = partial.file.metadata().map_err(StoreError::Io)?.len();
        if size.is_some_and(|size| present > size) {
            partial.reset()?;
        } else {
            partial.length =
                partial.hasher.read_through(&partial.file, |_| Ok(())).map_err(StoreError::Io)?;
            partial.resumed = partial.length > 0;
        }
        Ok(Some(partial))
    }

    /// How many bytes are here.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Forgets all bytes.
    pub(crate) fn reset(&mut self) -> Result<(), StoreError> {
        self.hasher = Hasher::new(self.checksum.algorithm);
        self.length = 0;
        self.resumed = false;
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map(|_| ()).map_err(|error| self.store.error(error, None))
    }

    /// Writes and hashes what came. After an error nothing of the failed piece counts.
    pub(crate) fn append(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        for piece in pieces {
            if let Err(error) = self.file.write_all(piece) {
                drop(self.file.set_len(self.length));
                drop(self.file.seek(SeekFrom::Start(self.length)));
                return Err(error);
            }
            self.hasher.update(piece);
            self.length += piece.len() as u64;
        }
        Ok(())
    }

    /// Moves the file into the store, if it is the right one.
    pub(crate) fn commit(self) -> Result<Committed, StoreError> {
        let got = self.hasher.finish();
        if got != self.checksum {
            return Ok(Committed::Wrong { partial: Box::new(self), got });
        }
        let path = self.store.prepare(&self.file, &self.checksum)?;
        fs_err::rename(&self.path, &path).map_err(|error| self.store.error(error, None))?;
        // Only now: a partial file that a crash left read-only could not be taken up again.
        make_read_only(&self.file).map_err(StoreError::Io)?;
        drop(fs_err::remove_file(self.note_path()));
        Ok(Committed::Kept { path, size: self.length })
    }

    /// Removes the file: its bytes are of no use.
    pub(crate) fn discard(self) {
        drop(fs_err::remove_file(self.note_path()));
        drop(fs_err::remove_file(&self.path));
    }

    /// Keeps the file for a later try, unless it is empty.
    pub(crate) fn leave(self) {
        if self.length == 0 {
            self.discard();
        }
    }

    /// Remembers what the server calls these bytes. A note that cannot be written costs one comparison: the
    /// checksum still has the last word.
    pub(crate) fn write_note(&self, url: &Url, validator: Option<&str>) {
        let note = Note { url: Some(url_digest(url)), validator: validator.map(str::to_owned) };
        if let Ok(text) = serde_json::to_vec(&note) {
            drop(fs_err::write(self.note_path(), text));
        }
    }

    /// The value for `If-Range`, where the bytes came from this URL.
    pub(crate) fn validator(&self, url: &Url) -> Option<String> {
        let note = fs_err::read(self.note_path()).ok()?;
        let note: Note = serde_json::from_slice(&note).ok()?;
        note.validator.filter(|_| note.url == Some(url_digest(url)))
    }

    fn note_path(&self) -> Utf8PathBuf {
        self.path.with_extension("note")
    }
}

fn url_digest(url: &Url) -> Sha256Digest {
    Sha256Digest::of(url.as_str().as_bytes())
}
