//! The log file of a job.

use std::io::Write;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::File;

use crate::HostError;

/// A build that loops on an error message must not fill the disk with it.
const MAX_LOG: u64 = 512 * 1024 * 1024;

/// Writes each piece of output as soon as it is there: no buffer of ours is lost when drivetrain is killed.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    path: Utf8PathBuf,
    written: u64,
}

impl Log {
    pub(crate) fn open(path: &Utf8Path, append: bool) -> Result<Self, HostError> {
        let file = if append {
            fs_err::OpenOptions::new().create(true).append(true).open(path)
        } else {
            File::create(path)
        };
        let file = file.map_err(HostError::file("create the log", path))?;
        Ok(Self { file, path: path.to_owned(), written: 0 })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        if self.written > MAX_LOG {
            return Ok(());
        }
        self.written += bytes.len() as u64;
        let mut result = self.file.write_all(bytes);
        if result.is_ok() && self.written > MAX_LOG {
            result = self.file.write_all(b"\n[drivetrain: the log is cut here]\n");
        }
        result.map_err(HostError::file("write the log", &self.path))
    }
}
