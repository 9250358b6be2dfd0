//! Whether a run goes on: a lock in its directory, which the system lets go of however the process ends.

use std::io::{self, Read as _, Write as _};

use camino::Utf8Path;
use fs_err as fs;
use rustix::fs::{FlockOperation, flock};

/// The file's name in a run's directory. It holds the number of the process, for people.
const FILE: &str = "process";

/// Held for as long as a run goes on.
#[derive(Debug)]
pub struct RunLock {
    _file: fs::File,
}

impl RunLock {
    /// Marks a run as going on. To be taken before its journal begins: a run with a journal and without a holder
    /// has ended.
    pub fn take(directory: &Utf8Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut file = fs::File::create(directory.join(FILE))?;
        // Waits for those at most who are just looking.
        flock(&file, FlockOperation::LockExclusive)?;
        write!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }
}

/// The process that a run goes on in; `None` where it has ended, one way or another.
pub fn process_of(directory: &Utf8Path) -> Option<u32> {
    let file = fs::File::open(directory.join(FILE)).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => {}
        _ => return None,
    }
    let mut number = String::new();
    file.take(16).read_to_string(&mut number).ok()?;
    Some(number.trim().parse().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_for_as_long_as_its_lock_is_held() {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(directory.path()).unwrap().join("run");
        assert_eq!(process_of(&path), None);
        let lock = RunLock::take(&path).unwrap();
        assert_eq!(process_of(&path), Some(std::process::id()));
        drop(lock);
        assert_eq!(process_of(&path), None);
    }
}
