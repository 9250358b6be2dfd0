//! A system with a real dracut: Debian's, unpacked. What a host's initramfs is made with is then not a stand-in.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::cmd::{command, run};
use crate::stamps::lock_to_make;

/// The release of Debian that it is of.
const SUITE: &str = "bookworm";
/// dracut, what it calls, and what it puts into an image.
const PACKAGES: [&str; 19] = [
    "base-files",
    "bash",
    "coreutils",
    "cpio",
    "dash",
    "diffutils",
    "dracut-core",
    "findutils",
    "grep",
    "gzip",
    "kmod",
    "libc-bin",
    "mawk",
    "mount",
    "sed",
    "udev",
    "util-linux",
    "xz-utils",
    "zstd",
];

/// The system in `DRIVETRAIN_LAB`, or in `.lab` at the top of the workspace, made where it is not there. `None`, and a line
/// that says so, where there is no lab or this is not root.
pub fn of_tests() -> Result<Option<Utf8PathBuf>> {
    let lab = std::env::var("DRIVETRAIN_LAB")
        .map_or_else(|_| Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../.lab"), Utf8PathBuf::from);
    let Ok(lab) = lab.canonicalize_utf8() else {
        println!("skipped: there is no lab in {lab}");
        return Ok(None);
    };
    if !crate::enclosure::is_root() {
        println!("skipped: to unpack a system takes root");
        return Ok(None);
    }
    make(&lab).map(Some)
}

/// Makes it, where it is not there.
pub fn make(lab: &Utf8Path) -> Result<Utf8PathBuf> {
    let place = lab.join("dracut");
    fs::create_dir_all(&place)?;
    let _alone = lock_to_make(&place, "somebody else unpacks dracut")?;
    let root = place.join("root");
    if root.exists() {
        return Ok(root);
    }
    let made = place.join("unfinished");
    if made.exists() {
        fs::remove_dir_all(&made)?;
    }
    run(command("mmdebstrap")
        // Unpacked and not configured: no script of theirs runs.
        .args(["--quiet", "--variant=extract", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"])
        .arg(format!("--include={}", PACKAGES.join(",")))
        .args(["--aptopt=APT::Install-Recommends \"false\"", "--dpkgopt=force-unsafe-io"])
        .args([SUITE, made.as_str()]))
    .context("mmdebstrap is needed, and Debian's archive (apt-get install mmdebstrap)")?;
    fs::rename(&made, &root)?;
    Ok(root)
}
