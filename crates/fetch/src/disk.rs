//! Room on the file system.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};

/// A file system without room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFull {
    /// Where it is mounted.
    pub filesystem: Utf8PathBuf,
    /// How many more bytes are needed, where known.
    pub needed: Option<u64>,
    /// How many there are.
    pub available: u64,
    /// Whether a quota is used up, rather than the file system.
    pub quota: bool,
}

impl DiskFull {
    /// The file system of a path that has just refused a write with an error of this kind.
    #[must_use]
    pub fn at(path: &Utf8Path, kind: &io::ErrorKind) -> Self {
        Self {
            filesystem: mount_point(path),
            needed: None,
            available: available(path).unwrap_or(0),
            quota: *kind == io::ErrorKind::QuotaExceeded,
        }
    }
}

impl fmt::Display for DiskFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.quota { "the disk quota is used up on" } else { "there is no room on" };
        write!(f, "{what} the file system mounted at {}: ", self.filesystem)?;
        if let Some(needed) = self.needed {
            write!(f, "{} more needed, ", readable(needed))?;
        }
        write!(
            f,
            "{} available; make room there, or keep the files on another file system (--state)",
            readable(self.available)
        )
    }
}

impl std::error::Error for DiskFull {}

/// Whether an I/O error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The details of a file system that just refused a write.
pub(crate) fn full(path: &Utf8Path, needed: Option<u64>, error: &io::Error) -> DiskFull {
    DiskFull { needed, ..DiskFull::at(path, &error.kind()) }
}

/// Whether `needed` more bytes fit where `path` is; asked before a transfer rather than found out at its end.
/// Where the system does not say, they do.
pub(crate) fn check_room(path: &Utf8Path, needed: u64) -> Result<(), DiskFull> {
    match available(path) {
        Some(available) if available < needed => {
            Err(DiskFull { filesystem: mount_point(path), needed: Some(needed), available, quota: false })
        }
        _ => Ok(()),
    }
}

fn available(path: &Utf8Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path.as_std_path()).ok()?;
    // Some file systems count no blocks at all; theirs is no answer.
    if stat.f_blocks == 0 {
        return None;
    }
    // The reserve is root's to use.
    let blocks = if rustix::process::geteuid().is_root() { stat.f_bfree } else { stat.f_bavail };
    blocks.checked_mul(stat.f_frsize)
}

/// The highest directory above `path` on the same device.
fn mount_point(path: &Utf8Path) -> Utf8PathBuf {
    let device = |path: &Utf8Path| fs_err::metadata(path).ok().map(|metadata| metadata.dev());
    let own = device(path);
    let same = path.ancestors().take_while(|ancestor| device(ancestor) == own);
    same.last().unwrap_or(path).to_owned()
}

fn readable(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_with_its_numbers() {
        let full =
            DiskFull { filesystem: "/var".into(), needed: Some(3 << 30), available: 700, quota: false };
        assert_eq!(
            full.to_string(),
            "there is no room on the file system mounted at /var: 3.0 GiB more needed, 700 bytes available; \
             make room there, or keep the files on another file system (--state)"
        );
    }

    #[test]
    fn a_write_that_finds_no_room_is_recognised() {
        use std::io::Write;
        let mut full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(is_full(&full.write_all(b"x").unwrap_err()));
        assert!(!is_full(&io::Error::from(io::ErrorKind::PermissionDenied)));
    }

    #[test]
    fn more_than_any_disk_has_does_not_fit() {
        let root = Utf8Path::new("/");
        let error = check_room(root, u64::MAX).unwrap_err();
        assert_eq!(error.filesystem, root);
        assert!(check_room(root, 0).is_ok());
    }
}
