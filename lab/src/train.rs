//! The release train: BaseOS and AppStream, each at two dates.

use anyhow::{Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::Lab;
use crate::cache::Key;
use crate::kernels::Kernel;
use crate::keys::Signer;
use crate::packages::{SYSTEM, TOOLCHAIN, TOOLS};
use crate::repack::{self, Package, Set};
use crate::repo::{self, Compression, Repository};
use crate::rpm::packages_in;

/// The dates at which a newer kernel arrives, in the train's notation and as seconds. The lab takes one for
/// each kernel.
pub(crate) const SNAPSHOTS: [(&str, u64); 4] = [
    ("20261001T000000", 1_790_812_800),
    ("20261101T000000", 1_793_491_200),
    ("20261201T000000", 1_796_083_200),
    ("20270101T000000", 1_798_761_600),
];

/// Enough of a distribution that a kernel and its kmods install into an empty root and their scriptlets run.
pub(crate) const BASE: &[Package] = &[
    Package {
        name: "lab-release",
        version: Some("9.4"),
        provides: &["system-release = 9.4", "system-release(releasever) = 9", "redhat-release = 9.4"],
        noarch: true,
        script: r#"mkdir -p etc; printf 'NAME="drivetrain lab"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\nPRETTY_NAME="drivetrain lab 9.4"\n' >etc/os-release; echo 'drivetrain lab release 9.4' >etc/redhat-release"#,
        ..EMPTY
    },
    Package {
        name: "filesystem",
        version: Some("3.16"),
        script: "mkdir -p usr/{bin,sbin,lib,lib64,share,src} etc var/{lib,log,cache,tmp} tmp proc sys dev run boot root home opt mnt; chmod 1777 tmp var/tmp; for dir in bin sbin lib lib64; do ln -s usr/$dir $dir; done",
        requires: &["setup"],
        ..EMPTY
    },
    Package {
        name: "setup",
        version: Some("2.13.7"),
        noarch: true,
        script: concat!(
            "mkdir -p etc; echo /bin/bash >etc/shells; cat >etc/passwd <<'END-OF-FILE'\n",
            include_str!("../guest/passwd"),
            "END-OF-FILE\ncat >etc/group <<'END-OF-FILE'\n",
            include_str!("../guest/group"),
            "END-OF-FILE\nprintf 'passwd: files\\ngroup: files\\nshadow: files\\nhosts: files dns\\n' >etc/nsswitch.conf"
        ),
        ..EMPTY
    },
    Package {
        name: "glibc",
        debs: &["libc6", "libc-bin"],
        provides: &["rtld(GNU_HASH)", "glibc-common"],
        requires: &["filesystem"],
        script: "rm -rf etc usr/share usr/bin/localedef",
        ..EMPTY
    },
    Package { name: "libgcc", debs: &["libgcc-s1"], requires: &["filesystem"], ..EMPTY },
    Package { name: "ncurses-libs", debs: &["libtinfo6"], ..EMPTY },
    Package {
        name: "bash",
        debs: &["bash"],
        provides: &["/bin/sh", "/bin/bash", "/usr/bin/sh"],
        requires: &["filesystem"],
        script: "rm -rf etc usr/share; ln -s bash usr/bin/sh",
        ..EMPTY
    },
    Package { name: "gmp", debs: &["libgmp10"], ..EMPTY },
    Package { name: "libattr", debs: &["libattr1"], script: "rm -rf etc", ..EMPTY },
    Package { name: "libacl", debs: &["libacl1"], ..EMPTY },
    Package { name: "pcre2", debs: &["libpcre2-8-0"], ..EMPTY },
    Package { name: "libselinux", debs: &["libselinux1"], ..EMPTY },
    Package { name: "coreutils", debs: &["coreutils"], script: "rm -rf usr/share", ..EMPTY },
    Package { name: "zlib", debs: &["zlib1g"], ..EMPTY },
    Package { name: "xz-libs", debs: &["liblzma5"], ..EMPTY },
    Package { name: "libzstd", debs: &["libzstd1"], ..EMPTY },
    Package { name: "lz4-libs", debs: &["liblz4-1"], ..EMPTY },
    Package { name: "openssl-libs", debs: &["libssl3"], ..EMPTY },
    Package { name: "kmod-libs", debs: &["libkmod2"], ..EMPTY },
    Package {
        name: "kmod",
        debs: &["kmod"],
        provides: &["/sbin/depmod", "/sbin/modprobe", "module-init-tools"],
        requires: &["filesystem"],
        script: "rm -rf etc usr/share usr/lib; mkdir -p etc/depmod.d usr/lib/depmod.d; echo 'search updates extra built-in weak-updates' >usr/lib/depmod.d/dist.conf",
        ..EMPTY
    },
    Package { name: "libcap", debs: &["libcap2"], ..EMPTY },
    Package { name: "libgpg-error", debs: &["libgpg-error0"], script: "rm -rf usr/share", ..EMPTY },
    Package { name: "libgcrypt", debs: &["libgcrypt20"], ..EMPTY },
    Package { name: "systemd-libs", debs: &["libsystemd0", "libudev1"], ..EMPTY },
    Package { name: "libnl3", debs: &["libnl-3-200", "libnl-route-3-200"], script: "rm -rf etc", ..EMPTY },
    Package { name: "pciutils-libs", debs: &["libpci3"], ..EMPTY },
    // The train has an RDMA userspace of its own, older than the vendor's.
    Package { name: "libibverbs", debs: &["libibverbs1", "ibverbs-providers"], ..EMPTY },
    Package { name: "libibumad", debs: &["libibumad3"], ..EMPTY },
    Package { name: "librdmacm", debs: &["librdmacm1"], ..EMPTY },
    Package {
        name: "rdma-core",
        debs: &["rdma-core"],
        requires: &["kmod"],
        script: "rm -rf usr/share",
        ..EMPTY
    },
];

const EMPTY: Package = Package::EMPTY;

/// All sets of packages that the lab makes for the train.
pub(crate) const SETS: [&[Package]; 4] = [BASE, TOOLS, SYSTEM, TOOLCHAIN];

/// Compilers are large, so they are packed by two cores, and harder than the rest.
const LARGE: &[(&str, &str)] = &[("_binary_payload", "w3T2.zstdio")];

/// Writes the train's repositories from these kernels, oldest first.
pub(crate) fn build(lab: &Lab, kernels: &[Kernel]) -> Result<()> {
    let sets = [
        ("base", Set { name: "lab-base", release: "1.el9", packages: BASE, defines: &[] }),
        ("tools", Set { name: "lab-tools", release: "1.el9", packages: TOOLS, defines: LARGE }),
        ("system", Set { name: "lab-system", release: "1.el9", packages: SYSTEM, defines: LARGE }),
        ("toolchain", Set { name: "lab-toolchain", release: "1.el9", packages: TOOLCHAIN, defines: LARGE }),
    ];
    let built = std::thread::scope(|scope| {
        let running = sets.each_ref().map(|(name, set)| scope.spawn(move || build_set(lab, name, set)));
        running
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread that builds packages panicked")))
    });
    let [base, tools, system, toolchain] = built;
    let (base, tools, system, toolchain) = (base?, tools?, system?, toolchain?);

    for (position, (snapshot, seconds)) in SNAPSHOTS.iter().enumerate().take(kernels.len()) {
        let kernels = &kernels[..=position];
        let key = kernels
            .iter()
            .fold(Key::new().with(repo::VERSION).with(snapshot), |key, kernel| key.with(kernel.key.hex()));

        let dir = repository_dir(&lab.www, "BaseOS", snapshot);
        lab.cache.ensure(
            &format!("BaseOS-{snapshot}"),
            &dir,
            &key.clone().with(base.key.hex()).with(tools.key.hex()).with(system.key.hex()),
            |space| {
                let mut packages = dated(packages_in(&base.dir)?, SNAPSHOTS[0].1)?;
                packages.extend(dated(packages_in(&tools.dir)?, SNAPSHOTS[0].1)?);
                packages.extend(dated(packages_in(&system.dir)?, SNAPSHOTS[0].1)?);
                for (kernel, (_, arrived)) in kernels.iter().zip(SNAPSHOTS) {
                    packages.extend(dated(kernel.packages(false)?, arrived)?);
                }
                let updateinfo = advisories(kernels)?;
                let repository = Repository {
                    packages: &packages,
                    compression: Compression::Zstd,
                    timestamp: *seconds,
                    updateinfo: Some(updateinfo),
                };
                repository.write(&space.out, &lab.keyring, Signer::Train)
            },
        )?;

        let dir = repository_dir(&lab.www, "AppStream", snapshot);
        lab.cache.ensure(
            &format!("AppStream-{snapshot}"),
            &dir,
            &key.with(toolchain.key.hex()),
            |space| {
                let mut packages = dated(packages_in(&toolchain.dir)?, SNAPSHOTS[0].1)?;
                for (kernel, (_, arrived)) in kernels.iter().zip(SNAPSHOTS) {
                    packages.extend(dated(kernel.packages(true)?, arrived)?);
                }
                let repository = Repository {
                    packages: &packages,
                    compression: Compression::Gzip,
                    timestamp: *seconds,
                    updateinfo: None,
                };
                repository.write(&space.out, &lab.keyring, Signer::Train)
            },
        )?;
    }
    Ok(())
}

/// A set of packages, built.
struct Built {
    key: Key,
    dir: Utf8PathBuf,
}

fn build_set(lab: &Lab, name: &str, set: &Set<'_>) -> Result<Built> {
    let key = set.key(lab)?;
    let dir = lab.dir.join("rpms").join(name);
    lab.cache.ensure(name, &dir, &key, |space| {
        set.build(lab, &space.work, &space.out)?;
        let packages = packages_in(&space.out)?;
        repack::expect_packages(&packages, set.packages.len())?;
        lab.record_unsigned(&space.out, &packages)?;
        lab.keyring.sign_packages(Signer::Train, &packages)
    })?;
    Ok(Built { key, dir })
}

/// Where a repository of the train is at a date.
pub(crate) fn repository_dir(www: &Utf8Path, name: &str, snapshot: &str) -> Utf8PathBuf {
    www.join("train").join(name).join("x86_64/os").join(snapshot)
}

/// A file's time goes into the metadata, so it is the day that the package arrived, not that of the build.
fn dated(packages: Vec<Utf8PathBuf>, seconds: u64) -> Result<Vec<Utf8PathBuf>> {
    for package in &packages {
        crate::rpm::date_to(package, seconds)?;
    }
    Ok(packages)
}

/// An advisory for every kernel but the first: why one would want the newer one.
fn advisories(kernels: &[Kernel]) -> Result<String> {
    use std::fmt::Write as _;
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<updates>\n");
    for (number, (kernel, (snapshot, _))) in kernels.iter().zip(SNAPSHOTS).enumerate().skip(1) {
        let date = format!("{}-{}-{} 00:00:00", &snapshot[0..4], &snapshot[4..6], &snapshot[6..8]);
        write!(
            xml,
            "<update from=\"lab@lab.invalid\" status=\"final\" type=\"security\" version=\"1\"><id>LAB-2026:000{number}</id>\
             <title>Important: kernel {release}</title><issued date=\"{date}\"/><updated date=\"{date}\"/>\
             <severity>Important</severity><description>The kernel {release} of the lab's release train.</description>\
             <references/><pkglist><collection short=\"lab\"><name>lab</name>",
            release = kernel.release
        )?;
        for package in kernel.packages(false)? {
            let name = package.file_name().unwrap_or_default();
            let Some(parts) = name_version_release(name) else { continue };
            write!(
                xml,
                "<package name=\"{}\" version=\"{}\" release=\"{}\" epoch=\"0\" arch=\"x86_64\"><filename>{name}</filename></package>",
                parts.0, parts.1, parts.2
            )?;
        }
        xml.push_str("</collection></pkglist></update>\n");
    }
    xml.push_str("</updates>\n");
    Ok(xml)
}

fn name_version_release(file: &str) -> Option<(&str, &str, &str)> {
    let (rest, _) = file.strip_suffix(".rpm")?.rsplit_once('.')?;
    let (rest, release) = rest.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    Some((name, version, release))
}

/// Removes snapshots that belong to more kernels than there are now.
pub(crate) fn prune(lab: &Lab, kernels: usize) -> Result<()> {
    for (snapshot, _) in SNAPSHOTS.iter().skip(kernels) {
        for name in ["BaseOS", "AppStream"] {
            let dir = repository_dir(&lab.www, name, snapshot);
            if dir.exists() {
                fs::remove_dir_all(dir)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names() {
        assert_eq!(
            name_version_release("kernel-modules-core-6.1.192-56.cloud.x86_64.rpm"),
            Some(("kernel-modules-core", "6.1.192", "56.cloud"))
        );
        assert_eq!(name_version_release("x.rpm"), None);
    }

    #[test]
    fn snapshots_are_the_days_that_they_say() {
        for (name, seconds) in SNAPSHOTS {
            let at = jiff::Timestamp::from_second(seconds as i64).unwrap();
            assert_eq!(at.strftime("%Y%m%dT%H%M%S").to_string(), name);
        }
    }
}
