//! The directory of one run, and what killed runs left.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::Host;
use fs_err as fs;
use rustix::fs::{FlockOperation, flock};

use crate::BuildError;

const PREFIX: &str = "run-";
const LOCK: &str = ".lock";

/// A run's own directory, held by a lock that ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    path: Utf8PathBuf,
    _lock: fs::File,
}

impl RunDirectory {
    /// Removes what runs that are no longer alive left in `work`, and makes a new directory there.
    pub(crate) async fn create(host: &dyn Host, work: &Utf8Path) -> Result<Self, BuildError> {
        host.create_work_directory(work).await.map_err(BuildError::Host)?;
        for leftover in abandoned(work)? {
            host.remove_directory(&leftover).await.map_err(BuildError::Host)?;
        }
        let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let path = work.join(format!("{PREFIX}{}-{nanoseconds}", std::process::id()));
        fs::create_dir(&path).map_err(BuildError::file("create", &path))?;
        let lock = fs::File::create(path.join(LOCK)).map_err(BuildError::file("create", path.join(LOCK)))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| BuildError::file("lock", path.join(LOCK))(error.into()))?;
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }
}

/// Directories of runs whose lock nobody holds.
fn abandoned(work: &Utf8Path) -> Result<Vec<Utf8PathBuf>, BuildError> {
    let mut abandoned = Vec::new();
    for entry in work.read_dir_utf8().map_err(BuildError::file("read", work))? {
        let entry = entry.map_err(BuildError::file("read", work))?;
        if !entry.file_name().starts_with(PREFIX) || !entry.path().is_dir() {
            continue;
        }
        let held = match fs::File::open(entry.path().join(LOCK)) {
            Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err(),
            // Made and not yet locked, in this very moment; or killed between the two.
            Err(error) if error.kind() == io::ErrorKind::NotFound => is_young(entry.path()),
            Err(_) => true,
        };
        if !held {
            abandoned.push(entry.path().to_owned());
        }
    }
    Ok(abandoned)
}

fn is_young(path: &Utf8Path) -> bool {
    let age = fs::metadata(path).and_then(|metadata| metadata.modified()).ok().and_then(|m| m.elapsed().ok());
    age.is_none_or(|age| age.as_secs() < 60)
}
