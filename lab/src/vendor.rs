//! The vendor's repositories: the source archive in an RPM, the rebuild tool, DKMS packages, userspace.

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::Lab;
use crate::driver::{OFED, Stack};
use crate::keys::Signer;
use crate::repack::{self, Package, Set};
use crate::repo::{self, Compression, Repository};
use crate::rpm::{Build, EPOCH, RpmBuild, date, fill, packages_in, tarball};

/// The version of the driver stack that the vendor publishes.
pub(crate) const VERSION: &str = "3.2.0";
/// The version of the vendor's RDMA userspace.
const RDMA: &str = "2510.0.11";

const SOURCE_SPEC: &str = include_str!("../specs/doca-ofed-source.spec");
const EXTRA_SPEC: &str = include_str!("../specs/doca-extra.spec");
const KERNEL_SUPPORT: &str = include_str!("../vendor/doca-kernel-support");

const EMPTY: Package = Package::EMPTY;

/// The vendor's userspace: newer than the train's and of the same names.
pub(crate) const USERSPACE: &[Package] = &[
    Package {
        name: "rdma-core",
        debs: &["rdma-core"],
        version: Some(RDMA),
        requires: &["kmod"],
        script: "rm -rf usr/share",
        ..EMPTY
    },
    Package { name: "libibverbs", debs: &["libibverbs1", "ibverbs-providers"], version: Some(RDMA), ..EMPTY },
    Package {
        name: "libibverbs-utils",
        debs: &["ibverbs-utils"],
        version: Some(RDMA),
        requires: &["libibverbs = 2510.0.11-1.el9"],
        ..EMPTY
    },
    Package { name: "librdmacm", debs: &["librdmacm1"], version: Some(RDMA), ..EMPTY },
    Package {
        name: "librdmacm-utils",
        debs: &["rdmacm-utils"],
        version: Some(RDMA),
        requires: &["librdmacm = 2510.0.11-1.el9"],
        ..EMPTY
    },
    Package { name: "libibumad", debs: &["libibumad3"], version: Some(RDMA), ..EMPTY },
    Package {
        name: "infiniband-diags",
        debs: &["infiniband-diags", "libibmad5", "libibnetdisc5"],
        version: Some(RDMA),
        // Its Perl scripts would need more of Perl than the train has.
        script: "grep -rlI '^#!.*perl' usr/sbin usr/bin 2>/dev/null | xargs -r rm -f; rm -rf usr/share/perl5 etc",
        ..EMPTY
    },
    Package { name: "perftest", debs: &["perftest"], version: Some("25.10.0"), ..EMPTY },
    Package {
        name: "mlnx-tools",
        version: Some("25.10"),
        noarch: true,
        requires: &["/bin/bash"],
        script: r#"mkdir -p usr/sbin; printf '#!/bin/bash\n# Lists RDMA devices and the network devices they belong to.\nfor d in /sys/class/infiniband/*/; do [ -d "$d" ] || continue; echo "$(basename "$d") $(ls "$d/device/net" 2>/dev/null)"; done\n' >usr/sbin/ibdev2netdev; chmod 755 usr/sbin/ibdev2netdev"#,
        ..EMPTY
    },
    Package {
        name: "dkms",
        version: Some("3.2.1"),
        noarch: true,
        requires: &["/bin/bash"],
        script: r"mkdir -p usr/sbin; printf '#!/bin/bash\necho dkms: stands in for the real one >&2\nexit 1\n' >usr/sbin/dkms; chmod 755 usr/sbin/dkms",
        ..EMPTY
    },
    Package {
        name: "doca-ofed-userspace",
        version: Some(VERSION),
        noarch: true,
        requires: &[
            "rdma-core = 2510.0.11-1.el9",
            "libibverbs = 2510.0.11-1.el9",
            "libibverbs-utils",
            "librdmacm = 2510.0.11-1.el9",
            "librdmacm-utils",
            "libibumad",
            "infiniband-diags",
            "perftest",
            "mlnx-tools",
        ],
        ..EMPTY
    },
    Package {
        name: "doca-ofed",
        version: Some(VERSION),
        noarch: true,
        requires: &[
            "doca-ofed-userspace = 3.2.0",
            "mlnx-ofa_kernel",
            "mlnx-ofa_kernel-dkms",
            "iser-dkms",
            "isert-dkms",
            "srp-dkms",
        ],
        ..EMPTY
    },
];

/// The userspace of the small repository.
const MINI_USERSPACE: &[Package] = &[
    Package {
        name: "hello-tools",
        version: Some("1.0"),
        noarch: true,
        requires: &["/bin/bash"],
        script: r"mkdir -p usr/bin; printf '#!/bin/bash\necho hello\n' >usr/bin/lab-hello; chmod 755 usr/bin/lab-hello",
        ..EMPTY
    },
    Package {
        name: "doca-ofed-userspace",
        version: Some(VERSION),
        noarch: true,
        requires: &["hello-tools", "libibverbs"],
        ..EMPTY
    },
];

/// Builds the large repository and the small one.
pub(crate) fn build(lab: &Lab, stack: &Stack, mini: &Stack) -> Result<()> {
    repository(lab, "doca", stack, USERSPACE)?;
    repository(lab, "doca-mini", mini, MINI_USERSPACE)
}

fn repository(lab: &Lab, name: &str, stack: &Stack, userspace: &[Package]) -> Result<()> {
    let set = Set { name: "lab-userspace", release: "1.el9", packages: userspace, defines: &[] };
    let key = set
        .key(lab)?
        .with_all([SOURCE_SPEC, EXTRA_SPEC, KERNEL_SUPPORT, VERSION, OFED])
        .with(stack.key.hex());
    let rpms = lab.dir.join("rpms").join(name);
    lab.cache.ensure(name, &rpms, &key, |space| {
        set.build(lab, &space.work.join("userspace"), &space.out)?;
        outer_packages(&stack.dir, &space.work.join("outer"), &space.out)?;
        dkms_packages(&stack.dir, &space.work.join("dkms"), &space.out)?;
        let packages = packages_in(&space.out)?;
        for package in &packages {
            date(package)?;
        }
        lab.record_unsigned(&space.out, &packages)?;
        lab.keyring.sign_packages(Signer::Vendor, &packages)
    })?;
    let www = repository_dir(&lab.www, name);
    let key = key.with(repo::VERSION);
    lab.cache.ensure(&format!("{name}-repository"), &www, &key, |space| {
        let packages = packages_in(&rpms)?;
        for package in &packages {
            date(package)?;
        }
        let repository = Repository {
            packages: &packages,
            compression: Compression::Xz,
            timestamp: EPOCH,
            updateinfo: None,
        };
        repository.write(&space.out, &lab.keyring, Signer::Vendor)
    })?;
    Ok(())
}

/// Where a repository of the vendor is.
pub(crate) fn repository_dir(www: &Utf8Path, name: &str) -> Utf8PathBuf {
    www.join(name).join(VERSION).join("rhel9/x86_64")
}

/// The archive of source RPMs in a package, and the tool in another.
fn outer_packages(stack: &Utf8Path, work: &Utf8Path, out: &Utf8Path) -> Result<()> {
    let directory = format!("MLNX_OFED_SRC-{OFED}");
    let srpms = work.join(&directory).join("SRPMS");
    fs::create_dir_all(&srpms)?;
    for srpm in packages_in(stack)? {
        fs::copy(&srpm, srpms.join(srpm.file_name().unwrap_or_default()))?;
    }
    tarball(work, &directory, &work.join(format!("{directory}.tgz")))?;
    fs::write(work.join("doca-kernel-support"), KERNEL_SUPPORT)?;
    date(&work.join("doca-kernel-support"))?;
    for (name, spec) in [("doca-ofed-source", SOURCE_SPEC), ("doca-extra", EXTRA_SPEC)] {
        let file = work.join(format!("{name}.spec"));
        fs::write(&file, fill(spec, &[("VERSION", VERSION), ("OFED", OFED)]))?;
        RpmBuild { work, out, defines: &[] }.run(Build::Binary, &file)?;
    }
    Ok(())
}

/// What a plain rebuild of the source RPMs gives: DKMS packages that provide and obsolete the kmods. The vendor
/// publishes them, and a careless `dnf upgrade` takes them in place of prebuilt modules.
fn dkms_packages(stack: &Utf8Path, work: &Utf8Path, out: &Utf8Path) -> Result<()> {
    let defines =
        [("KVERSION", "0"), ("_dist", ".rhel9"), ("dist", ".rhel9"), ("_unitdir", "/usr/lib/systemd/system")];
    for srpm in packages_in(stack)? {
        RpmBuild { work, out, defines: &defines }.run(Build::Rebuild, &srpm)?;
    }
    Ok(())
}

/// All Debian packages that the vendor's userspace is made from.
pub(crate) fn debs() -> Vec<&'static str> {
    repack::debs_of([USERSPACE, MINI_USERSPACE])
}

/// The tool as a file of its own, for benchmarks.
pub(crate) fn write_tool(lab: &Lab) -> Result<Utf8PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = lab.dir.join("doca-kernel-support");
    if fs::read_to_string(&path).map_or(true, |present| present != KERNEL_SUPPORT) {
        fs::write(&path, KERNEL_SUPPORT)?;
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(path)
}
