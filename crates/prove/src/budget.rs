//! How much may be read.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::ProveError;

/// What reading modules may cost. Larger than any driver stack with its debug information.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one module, compressed and as it is loaded: 512 MiB.
    pub module_bytes: u64,
    /// Bytes of all modules together: 4 GiB. While several are unpacked at once, memory may briefly hold twice
    /// as much.
    pub total_bytes: u64,
    /// How many modules there may be, and how many files to look for them in: 20,000 of each.
    pub count: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { module_bytes: 512 << 20, total_bytes: 4 << 30, count: 20_000 }
    }
}

/// What is left of the limits, for all threads that read.
pub(crate) struct Budget {
    limits: Limits,
    bytes: AtomicU64,
    modules: AtomicUsize,
}

impl Budget {
    pub fn new(limits: Limits) -> Self {
        Self { limits, bytes: AtomicU64::new(0), modules: AtomicUsize::new(0) }
    }

    /// How many threads may unpack a module each without going far beyond the total.
    pub fn threads(&self) -> usize {
        usize::try_from(self.limits.total_bytes / self.limits.module_bytes.max(1))
            .unwrap_or(usize::MAX)
            .max(1)
    }

    /// Asks for the bytes of one more module, before they are read.
    pub fn module(&self, bytes: u64, file: &str) -> Result<(), ProveError> {
        let Limits { module_bytes, count, .. } = self.limits;
        if bytes > module_bytes {
            return Err(beyond(file, "a module", module_bytes, "bytes"));
        }
        if self.modules.fetch_add(1, Ordering::Relaxed) >= count {
            return Err(beyond(file, "what is to be read", count as u64, "modules"));
        }
        self.take(bytes, file)
    }

    /// The most bytes that a module may come to now.
    pub fn room(&self) -> u64 {
        let left = self.limits.total_bytes.saturating_sub(self.bytes.load(Ordering::Relaxed));
        self.limits.module_bytes.min(left)
    }

    /// What to say of a module that comes to more than this room.
    pub fn no_room(&self, room: u64, file: &str) -> ProveError {
        if room < self.limits.module_bytes {
            self.total(file)
        } else {
            beyond(file, "a module", self.limits.module_bytes, "bytes")
        }
    }

    pub fn take(&self, bytes: u64, file: &str) -> Result<(), ProveError> {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limits.total_bytes { Err(self.total(file)) } else { Ok(()) }
    }

    /// Gives back what is no longer in memory.
    pub fn give(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn total(&self, file: &str) -> ProveError {
        beyond(file, "all modules together", self.limits.total_bytes, "bytes")
    }
}

pub(crate) fn beyond(file: &str, what: &'static str, limit: u64, unit: &'static str) -> ProveError {
    ProveError::Limit { file: file.to_owned(), what, limit, unit }
}
