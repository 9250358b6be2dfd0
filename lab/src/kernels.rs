//! The kernels of the train: Debian's, as RHEL's packages.

use anyhow::Result;
use camino::Utf8PathBuf;
use fs_err as fs;

use crate::Lab;
use crate::cache::Key;
use crate::cmd::{command, run};
use crate::debian::{self, kernel_packages, kernel_release};
use crate::header;
use crate::keys::Signer;
use crate::rpm::{Build, RpmBuild, packages_in};

const SPEC: &str = include_str!("../specs/kernel.spec");

/// The packages of one kernel.
pub(crate) struct Kernel {
    /// What `uname -r` prints.
    pub(crate) release: String,
    /// The directory with the packages.
    pub(crate) dir: Utf8PathBuf,
    /// Stands for the packages' contents in the keys of what is made from them.
    pub(crate) key: Key,
}

impl Kernel {
    /// The packages that live in BaseOS, or those that live in AppStream.
    pub(crate) fn packages(&self, devel: bool) -> Result<Vec<Utf8PathBuf>> {
        let mut packages = packages_in(&self.dir)?;
        packages
            .retain(|path| path.file_name().is_some_and(|name| name.starts_with("kernel-devel-")) == devel);
        Ok(packages)
    }
}

/// Builds the packages of the kernel with this ABI number.
pub(crate) fn build(lab: &Lab, abi: u32) -> Result<Kernel> {
    let release = kernel_release(abi);
    let [image, headers, common] = kernel_packages(abi);
    let kbuild = debian::kbuild_package();
    let names = [image.as_str(), &headers, &common, &kbuild];
    let key = Key::new().with(SPEC).with_all(lab.inputs.digests(names)?);
    let dir = lab.dir.join("rpms").join(format!("kernel-{abi}"));

    lab.cache.ensure(&format!("kernel-{abi}"), &dir, &key, |space| {
        let roots = space.work.join("roots");
        for (name, root) in names.into_iter().zip(["image", "headers", "common", "kbuild"]) {
            debian::unpack(&lab.debs, lab.inputs.deb(name)?, &roots.join(root))?;
        }
        let spec = space.work.join("kernel.spec");
        fs::write(&spec, SPEC)?;
        let uname = legal_release(&release);
        RpmBuild {
            work: &space.work,
            out: &space.out,
            defines: &[
                ("kver", &release),
                ("uname", &uname),
                ("rver", upstream_version(&lab.inputs.deb(&image)?.version)),
                ("rrel", &format!("{abi}.cloud")),
                ("roots", roots.as_str()),
                ("_binary_payload", "w1T2.zstdio"),
            ],
        }
        .run(Build::Binary, &spec)?;

        let packages = packages_in(&space.out)?;
        for package in &packages {
            header::replace_strings(package, &uname, &release)?;
        }
        lab.record_unsigned(&space.out, &packages)?;
        lab.keyring.sign_packages(Signer::Train, &packages)
    })?;
    Ok(Kernel { release, dir, key })
}

/// The release in characters that rpmbuild takes in a dependency, with the same length.
fn legal_release(release: &str) -> String {
    match release.split_once('-') {
        Some((version, rest)) => format!("{version}-{}", rest.replace('-', ".")),
        None => release.to_owned(),
    }
}

/// The upstream part of a Debian version.
fn upstream_version(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version.rsplit_once('-').map_or(version, |(upstream, _)| upstream)
}

/// Unpacks kernel-devel under `kernels/<release>`: builds by hand and benches start from there.
pub(crate) fn unpacked(lab: &Lab, kernel: &Kernel) -> Result<()> {
    let target = lab.dir.join("kernels").join(&kernel.release);
    lab.cache.ensure(&format!("unpacked-{}", kernel.release), &target, &kernel.key, |space| {
        for package in kernel.packages(true)? {
            run(command("sh")
                .args(["-c", r#"rpm2cpio "$1" | (cd "$2" && cpio -idmu --quiet)"#, "sh"])
                .args([&package, &space.work]))?;
        }
        fs::remove_dir(&space.out)?;
        fs::rename(space.work.join("usr/src/kernels").join(&kernel.release), &space.out)?;
        Ok(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_keeps_its_length() {
        assert_eq!(legal_release("6.1.0-56-cloud-amd64"), "6.1.0-56.cloud.amd64");
        assert_eq!(legal_release("5.14.0-427.el9.x86_64"), "5.14.0-427.el9.x86_64");
    }

    #[test]
    fn upstream_versions() {
        assert_eq!(upstream_version("6.1.192-2"), "6.1.192");
        assert_eq!(upstream_version("1:2.36-9+deb12u1"), "2.36");
        assert_eq!(upstream_version("3"), "3");
    }
}
