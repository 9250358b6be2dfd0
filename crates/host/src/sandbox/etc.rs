//! The sandbox's `/etc`: made up, but for what compilers need of the host's.

use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::BUILD_ID;
use crate::HostError;
use crate::fs::replace;

/// What is taken from the operating system, where it is there: the loader's cache, Debian's links from `cc`
/// to the compiler, and what tells one distribution from another. Nothing here is about the site or its users.
pub(super) const FROM_SYSTEM: &[&str] = &[
    "etc/alternatives",
    "etc/ld.so.cache",
    "etc/ld.so.conf",
    "etc/ld.so.conf.d",
    "etc/os-release",
    "etc/redhat-release",
    "etc/system-release",
];

/// Writes the made-up files to `directory` and returns them by name.
pub(super) fn write(directory: &Utf8Path) -> Result<Vec<(&'static str, Utf8PathBuf)>, HostError> {
    fs::create_dir_all(directory).map_err(HostError::file("create", directory))?;
    let passwd = format!(
        "root:x:0:0:root:/root:/bin/sh\nbuild:x:{BUILD_ID}:{BUILD_ID}:build:/build:/bin/sh\n\
         nobody:x:65534:65534:nobody:/:/bin/false\n"
    );
    let group = format!("root:x:0:\nbuild:x:{BUILD_ID}:\nnobody:x:65534:\n");
    let files: [(&str, &str); 5] = [
        ("passwd", &passwd),
        ("group", &group),
        ("hosts", "127.0.0.1 localhost builder\n::1 localhost builder\n"),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
        ("resolv.conf", "# builds have no network\n"),
    ];
    let mut written = Vec::new();
    for (name, content) in files {
        let path = directory.join(name);
        // Replaced and not overwritten: another drivetrain may have it bound at this moment.
        if !is_right(&path, content) {
            replace(&path, content.as_bytes())?;
        }
        written.push((name, path));
    }
    Ok(written)
}

/// Whether the file says this, to everyone.
fn is_right(path: &Utf8Path, content: &str) -> bool {
    fs::read(path).ok().as_deref() == Some(content.as_bytes())
        && fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o444 == 0o444)
}
