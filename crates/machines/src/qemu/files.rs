//! The files of a machine.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::key::make_private;
use crate::{Lease, LeaseId, MachineError, Result};

const LEASE: &str = "lease.json";

/// Where the files of one machine are.
#[derive(Debug, Clone)]
pub(crate) struct Places(Utf8PathBuf);

impl Places {
    pub(crate) fn of(directory: &Utf8Path, lease: &LeaseId) -> Self {
        Self(directory.join(lease.as_str()))
    }

    pub(crate) fn directory(&self) -> &Utf8Path {
        &self.0
    }

    pub(crate) fn disk(&self) -> Utf8PathBuf {
        self.0.join("disk.qcow2")
    }

    pub(crate) fn seed(&self) -> Utf8PathBuf {
        self.0.join("seed.img")
    }

    /// One file for each of systemd's credentials.
    pub(crate) fn credentials(&self) -> [Utf8PathBuf; 2] {
        ["credential-1", "credential-2"].map(|name| self.0.join(name))
    }

    pub(crate) fn variables(&self) -> Utf8PathBuf {
        self.0.join("variables.fd")
    }

    pub(crate) fn console(&self) -> Utf8PathBuf {
        self.0.join("console.log")
    }

    pub(crate) fn pid(&self) -> Utf8PathBuf {
        self.0.join("pid")
    }

    /// Makes the directory with the lease in it, in one step: there is none without its lease.
    pub(crate) fn write_lease(&self, lease: &Lease) -> Result<()> {
        let beside = self.0.with_added_extension("new");
        make_private(&beside)?;
        let path = beside.join(LEASE);
        let text = serde_json::to_vec_pretty(lease)
            .map_err(|error| MachineError::file("write", &path)(error.into()))?;
        write_private(&path, &text)?;
        fs::rename(&beside, &self.0).map_err(MachineError::file("create", &self.0))
    }

    pub(crate) fn lease(&self) -> Option<Lease> {
        serde_json::from_slice(&fs::read(self.0.join(LEASE)).ok()?).ok()
    }

    /// Removes everything; the lease last, so that what is left half-way is still known.
    pub(crate) fn remove(&self) -> Result<()> {
        for entry in self.0.read_dir_utf8().into_iter().flatten().flatten() {
            if entry.file_name() != LEASE {
                fs::remove_file(entry.path())
                    .or_else(gone)
                    .map_err(MachineError::file("remove", entry.path()))?;
            }
        }
        fs::remove_dir_all(&self.0).or_else(gone).map_err(MachineError::file("remove", &self.0))
    }
}

fn gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// All leases that there are directories of. What is none of ours is passed over.
pub(crate) fn leases(directory: &Utf8Path) -> Result<Vec<Lease>> {
    let entries = match directory.read_dir_utf8() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(MachineError::file("read", directory)(error)),
    };
    let leases = entries.flatten().filter_map(|entry| {
        let id: LeaseId = entry.file_name().parse().ok()?;
        Places::of(directory, &id).lease().filter(|lease| lease.id == id)
    });
    Ok(leases.collect())
}

/// Writes a file that nobody else can read, from its first moment.
pub(crate) fn write_private(path: &Utf8Path, content: &[u8]) -> Result<()> {
    use std::io::Write as _;

    use fs_err::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).and_then(|mut file| file.write_all(content)).map_err(MachineError::file("write", path))
}
