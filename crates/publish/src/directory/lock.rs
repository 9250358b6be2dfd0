//! One publisher at a time.

use std::fs::TryLockError;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use fs_err as fs;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::files::readable;
use crate::{Change, PublishError, Result};

const POLL: Duration = Duration::from_millis(50);

/// Held while a publisher works. The operating system lets go of it when the process ends, however it ends.
pub(crate) struct Lock {
    _file: fs::File,
}

/// What the lock's file says of its holder, for whoever waits.
#[derive(Serialize, Deserialize)]
struct Holder {
    by: String,
    pid: u32,
    since: Timestamp,
}

impl Lock {
    /// Takes the lock, and waits for it for a time.
    pub(crate) fn take(root: &Path, path: &Path, change: &Change, patience: Duration) -> Result<Self> {
        let mut file =
            fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let started = Instant::now();
        loop {
            match file.file().try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if started.elapsed() < patience => {
                    std::thread::sleep(POLL.min(patience));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(PublishError::Busy {
                        root: root.display().to_string(),
                        holder: holder(&mut file),
                        waited: patience,
                    });
                }
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        // Who holds it is a courtesy: that it cannot be written is no reason not to publish.
        let holder = Holder { by: change.by.clone(), pid: std::process::id(), since: change.at };
        if let Ok(text) = serde_json::to_vec(&holder) {
            let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text));
            drop(written);
        }
        drop(readable(path));
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut fs::File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(4096).read_to_string(&mut text));
    match read.ok().and_then(|_| serde_json::from_str::<Holder>(&text).ok()) {
        Some(Holder { by, pid, since }) => {
            let by: String = by.chars().filter(|c| !c.is_control()).collect();
            format!("{by} (process {pid}, since {since})")
        }
        None => "somebody".to_owned(),
    }
}
