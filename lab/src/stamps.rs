//! What a lab has that is made once, in parts: how it is known whether a part is there and not an old one, and how two
//! processes do not make it at once.

use std::fs::File;

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use fs_err as fs;
use sha2::{Digest as _, Sha256};

/// A digest over what a part is made from.
pub(crate) fn digest(inputs: &[&str]) -> String {
    let mut digest = Sha256::new();
    for input in inputs {
        digest.update((input.len() as u64).to_le_bytes());
        digest.update(input);
    }
    hex::encode(digest.finalize())
}

/// Notes that a part is there, made from what this digest is of.
pub(crate) fn stamp(file: &Utf8Path, key: &str) -> Result<()> {
    let partial = file.with_extension("new");
    fs::write(&partial, key)?;
    fs::rename(partial, file)?;
    Ok(())
}

/// Whether that was noted.
pub(crate) fn is_stamped(file: &Utf8Path, key: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|present| present == key)
}

/// A lock that keeps what is in a directory from being made anew; `None` where it has to be.
pub(crate) fn lock_to_use(directory: &Utf8Path, is_complete: impl Fn() -> bool) -> Result<Option<File>> {
    if !is_complete() {
        return Ok(None);
    }
    let lock = lock_file(directory)?;
    lock.lock_shared().with_context(|| format!("locking {directory}"))?;
    // Others may have begun to make another one before it was locked.
    Ok(is_complete().then_some(lock))
}

/// A lock that keeps others from using what is made anew in a directory; waited for, and `waiting` told then.
pub(crate) fn lock_to_make(directory: &Utf8Path, waiting: &str) -> Result<File> {
    let lock = lock_file(directory)?;
    if lock.try_lock().is_err() {
        crate::say(format_args!("{waiting}"));
        lock.lock().with_context(|| format!("locking {directory}"))?;
    }
    Ok(lock)
}

fn lock_file(directory: &Utf8Path) -> Result<File> {
    Ok(fs::File::create(directory.join("lock"))?.into_file())
}
