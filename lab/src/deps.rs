//! What the lab needs of the host.

use anyhow::{Result, ensure};

use crate::cmd::{command, run};

/// Debian packages, each with a program that shows that it is there.
const NEEDED: &[(&str, &str)] = &[
    ("rpm", "rpmbuild"),
    ("rpm2cpio", "rpm2cpio"),
    ("createrepo-c", "createrepo_c"),
    ("dnf", "dnf"),
    ("dnf-plugins-core", ""),
    ("gnupg", "gpg"),
    ("bubblewrap", "bwrap"),
    ("ccache", "ccache"),
    ("gcc-12", "gcc-12"),
    ("gcc", "gcc"),
    ("make", "make"),
    ("bison", "bison"),
    ("flex", "flex"),
    ("bc", "bc"),
    ("libelf-dev", ""),
    ("libssl-dev", ""),
    ("dpkg-dev", ""),
    ("xz-utils", "xz"),
    ("zstd", "zstd"),
    ("cpio", "cpio"),
    ("kmod", "depmod"),
    ("util-linux", "unshare"),
    ("curl", "curl"),
    ("postgresql", ""),
    ("python3-venv", ""),
    ("libglib2.0-0", ""),
];

/// What its virtual machine needs besides: only to make and to run one.
const GUEST: &[(&str, &str)] = &[
    ("qemu-system-x86", "qemu-system-x86_64"),
    ("qemu-utils", "qemu-img"),
    ("ovmf", ""),
    ("mtools", "mcopy"),
    ("dosfstools", "mkfs.vfat"),
    ("fdisk", "sfdisk"),
    ("e2fsprogs", "mke2fs"),
    ("openssh-client", "ssh-keygen"),
];

/// Installs them with apt, or prints them.
pub(crate) fn install(print: bool) -> Result<()> {
    let packages = NEEDED.iter().chain(GUEST).map(|(package, _)| *package);
    if print {
        println!("{}", packages.collect::<Vec<_>>().join(" "));
        return Ok(());
    }
    crate::say(format_args!("installing packages"));
    run(command("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages))?;
    Ok(())
}

/// Says what is missing before anything fails for want of it.
pub(crate) fn check() -> Result<()> {
    check_for(NEEDED)
}

/// The same for the virtual machine.
pub(crate) fn check_guest() -> Result<()> {
    check_for(NEEDED)?;
    check_for(GUEST)
}

fn check_for(needed: &[(&str, &str)]) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> = std::env::split_paths(&path).collect();
    let missing: Vec<&str> = needed
        .iter()
        .filter(|(_, program)| {
            !program.is_empty() && !directories.iter().any(|dir| dir.join(program).is_file())
        })
        .map(|(package, _)| *package)
        .collect();
    ensure!(missing.is_empty(), "not installed: {} (run `drivetrain-lab deps`)", missing.join(", "));
    Ok(())
}
