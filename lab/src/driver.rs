//! The driver stack's source RPMs: real driver code out of the Linux source package, in the vendor's packaging.

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::Lab;
use crate::cache::Key;
use crate::cmd::{command, run};
use crate::debian;
use crate::rpm::{Build, RpmBuild, date, fill, tarball, write_dated};

/// The version of the archive of source RPMs, in the vendor's notation.
pub(crate) const OFED: &str = "25.10-1.0.0";
/// Raised when this module changes what a source package looks like.
const LAYOUT: &str = "2";
const VERSION: &str = "25.10";
const RELEASE: &str = "OFED.25.10.1.0.0.1";

const OFA_SPEC: &str = include_str!("../specs/mlnx-ofa_kernel.spec");
const OFA_KBUILD: &str = include_str!("../driver/ofa_kernel/Kbuild");
const OFA_MAKEFILE: &str = include_str!("../driver/ofa_kernel/makefile");
const OFA_CONFIGURE: &str = include_str!("../driver/ofa_kernel/configure");
const OFA_PROBES: &str = include_str!("../driver/ofa_kernel/probes.list");
const OPENIBD: &str = include_str!("../vendor/openibd");
const OPENIB_CONF: &str = include_str!("../vendor/openib.conf");
const OPENIBD_SERVICE: &str = include_str!("../vendor/openibd.service");

const DEPENDENT_SPEC: &str = include_str!("../specs/dependent.spec");
const DEPENDENT_KBUILD: &str = include_str!("../driver/dependent/Kbuild");
const DEPENDENT_MAKEFILE: &str = include_str!("../driver/dependent/makefile");

const HELLO_SPEC: &str = include_str!("../specs/hello.spec");
const TRAP_SPEC: &str = include_str!("../specs/trap.spec");
const DKMSONLY_SPEC: &str = include_str!("../specs/dkmsonly.spec");
const QUIET: &str = include_str!("../driver/traps/quiet.c");
const BROKEN: &str = include_str!("../driver/traps/broken.c");

/// What of the kernel's source becomes `mlnx-ofa_kernel`.
const OFA_PATHS: &[&str] = &[
    "drivers/infiniband/core",
    "drivers/infiniband/sw/rxe",
    "drivers/infiniband/sw/siw",
    "drivers/infiniband/ulp/ipoib",
    "drivers/infiniband/hw/mlx5",
    "drivers/net/ethernet/mellanox/mlxfw",
    "drivers/net/ethernet/mellanox/mlx5/core",
    "include/rdma",
    "include/uapi/rdma",
    "include/linux/mlx5",
];

/// A component that is built against `mlnx-ofa_kernel-devel`.
struct Dependent {
    name: &'static str,
    summary: &'static str,
    /// Paths in the kernel's source and the directory that each becomes.
    paths: &'static [(&'static str, &'static str)],
    /// The directories that have modules.
    modules: &'static [&'static str],
    /// What is switched on for their makefiles.
    switches: &'static str,
}

const DEPENDENTS: &[Dependent] = &[
    Dependent {
        name: "iser",
        summary: "iSCSI over RDMA, initiator",
        paths: &[("drivers/infiniband/ulp/iser", "iser")],
        modules: &["iser"],
        switches: "CONFIG_INFINIBAND_ISER=m",
    },
    Dependent {
        name: "isert",
        summary: "iSCSI over RDMA, target",
        paths: &[("drivers/infiniband/ulp/isert", "isert")],
        modules: &["isert"],
        switches: "CONFIG_INFINIBAND_ISERT=m",
    },
    Dependent {
        name: "srp",
        summary: "SCSI RDMA protocol, initiator",
        // The cloud kernel has not got the transport class, so it comes along.
        paths: &[
            ("drivers/infiniband/ulp/srp", "srp"),
            ("drivers/scsi/scsi_transport_srp.c", "scsi/scsi_transport_srp.c"),
            ("drivers/scsi/scsi_priv.h", "scsi/scsi_priv.h"),
        ],
        modules: &["scsi", "srp"],
        switches: "CONFIG_INFINIBAND_SRP=m CONFIG_SCSI_SRP_ATTRS=m",
    },
    Dependent {
        name: "mlnx-nfsrdma",
        summary: "NFS over RDMA",
        paths: &[("net/sunrpc/xprtrdma", "xprtrdma")],
        modules: &["xprtrdma"],
        switches: "CONFIG_SUNRPC_XPRT_RDMA=m",
    },
];

/// The source RPMs of a stack.
pub(crate) struct Stack {
    /// The directory that has them.
    pub(crate) dir: Utf8PathBuf,
    /// Stands for them in keys.
    pub(crate) key: Key,
}

/// Makes the source RPMs of the large stack.
pub(crate) fn build_stack(lab: &Lab) -> Result<Stack> {
    let source = debian::source_package();
    let key = Key::new()
        .with_all([OFA_SPEC, OFA_KBUILD, OFA_MAKEFILE, OFA_CONFIGURE, OFA_PROBES])
        .with_all([
            OPENIBD,
            OPENIB_CONF,
            OPENIBD_SERVICE,
            DEPENDENT_SPEC,
            DEPENDENT_KBUILD,
            DEPENDENT_MAKEFILE,
        ])
        .with_all(OFA_PATHS)
        .with_all(DEPENDENTS.iter().map(|d| format!("{}{:?}{:?}{}", d.name, d.paths, d.modules, d.switches)))
        .with_all([LAYOUT, VERSION, RELEASE])
        .with_all(lab.inputs.digests([source.as_str()])?);
    let dir = lab.dir.join("rpms/stack");
    lab.cache.ensure("stack", &dir, &key, |space| {
        let linux = extract_linux(lab, &source, &space.work)?;
        ofa_kernel(&linux, &space.work.join("ofa"), &space.out)?;
        for dependent in DEPENDENTS {
            dependent.build(&linux, &space.work.join(dependent.name), &space.out)?;
        }
        Ok(())
    })?;
    Ok(Stack { dir, key })
}

/// Extracts the directories that are wanted from the Linux source package; where they are.
fn extract_linux(lab: &Lab, source: &str, work: &Utf8Path) -> Result<Utf8PathBuf> {
    let unpacked = work.join("source");
    debian::unpack(&lab.debs, lab.inputs.deb(source)?, &unpacked)?;
    let name = source;
    let archive = unpacked.join("usr/src").join(format!("{name}.tar.xz"));
    let wanted = OFA_PATHS
        .iter()
        .copied()
        .chain(DEPENDENTS.iter().flat_map(|dependent| dependent.paths.iter().map(|(path, _)| *path)));
    run(command("tar")
        .args(["-C", work.as_str(), "-xJf", archive.as_str()])
        .args(wanted.map(|path| format!("{name}/{path}"))))?;
    fs::remove_dir_all(&unpacked)?;
    Ok(work.join(name))
}

fn ofa_kernel(linux: &Utf8Path, work: &Utf8Path, out: &Utf8Path) -> Result<()> {
    let name = "mlnx-ofa_kernel";
    let root = work.join(format!("{name}-{VERSION}"));
    for path in OFA_PATHS {
        copy(&linux.join(path), &root.join(path))?;
    }
    fs::write(root.join("Kbuild"), OFA_KBUILD)?;
    fs::write(root.join("makefile"), OFA_MAKEFILE)?;
    executable(&root.join("configure"), OFA_CONFIGURE)?;
    executable(&root.join("openibd"), OPENIBD)?;
    fs::write(root.join("openib.conf"), OPENIB_CONF)?;
    fs::write(root.join("openibd.service"), OPENIBD_SERVICE)?;
    fs::create_dir_all(root.join("probes"))?;
    for (probe, text) in probes(OFA_PROBES)? {
        fs::write(root.join("probes").join(format!("{probe}.c")), text)?;
    }
    let spec = fill(OFA_SPEC, &[("VERSION", VERSION), ("RELEASE", RELEASE)]);
    source_package(name, VERSION, &spec, work, out)
}

impl Dependent {
    fn build(&self, linux: &Utf8Path, work: &Utf8Path, out: &Utf8Path) -> Result<()> {
        let root = work.join(format!("{}-{VERSION}", self.name));
        for (from, to) in self.paths {
            copy(&linux.join(from), &root.join(to))?;
        }
        let mut kbuild = DEPENDENT_KBUILD.to_owned();
        for module in self.modules {
            kbuild.push_str(&format!("obj-m += {module}/\n"));
        }
        fs::write(root.join("Kbuild"), kbuild)?;
        if self.modules.contains(&"scsi") {
            fs::write(root.join("scsi/Kbuild"), "obj-$(CONFIG_SCSI_SRP_ATTRS) += scsi_transport_srp.o\n")?;
        }
        fs::write(root.join("makefile"), DEPENDENT_MAKEFILE)?;
        let switches = format!("COMPONENT := {}\nSWITCHES := {}\n", self.name, self.switches);
        fs::write(root.join("switches.mk"), switches)?;
        let places =
            [("NAME", self.name), ("SUMMARY", self.summary), ("VERSION", VERSION), ("RELEASE", RELEASE)];
        source_package(self.name, VERSION, &fill(DEPENDENT_SPEC, &places), work, out)
    }
}

/// Makes the source RPMs of the small pair.
pub(crate) fn build_mini(lab: &Lab) -> Result<Stack> {
    let files = [
        ("hello", "Kbuild", include_str!("../driver/hello/hello/Kbuild")),
        ("hello", "hello.c", include_str!("../driver/hello/hello/hello.c")),
        ("hello", "hello.h", include_str!("../driver/hello/hello/hello.h")),
        ("hello-user", "Kbuild", include_str!("../driver/hello/hello-user/Kbuild")),
        ("hello-user", "hello_user.c", include_str!("../driver/hello/hello-user/hello_user.c")),
    ];
    let key = Key::new().with(LAYOUT).with(HELLO_SPEC).with_all(files.iter().map(|(_, _, text)| text));
    let dir = lab.dir.join("rpms/mini");
    lab.cache.ensure("mini", &dir, &key, |space| {
        for short in ["hello", "hello-user"] {
            let name = format!("{short}-kmod");
            let root = space.work.join(&name).join(format!("{name}-1.0"));
            fs::create_dir_all(&root)?;
            for (_, file, text) in files.iter().filter(|(of, ..)| *of == short) {
                fs::write(root.join(file), text)?;
            }
            let user = short == "hello-user";
            let devel = "/usr/src/hello-kmod/default";
            let flags = format!("HELLO_DIR={devel} KBUILD_EXTRA_SYMBOLS={devel}/Module.symvers");
            let places = [
                ("NAME", name.as_str()),
                ("SHORT", short),
                ("SUMMARY", if user { "Uses the symbol of hello" } else { "Exports a symbol" }),
                ("BUILD_REQUIRES", if user { "BuildRequires: hello-kmod-devel" } else { "" }),
                ("REQUIRES", if user { "Requires: kmod-hello-kernel = %{kernel_version}" } else { "" }),
                ("DEVEL", if user { "0" } else { "1" }),
                ("BUILD_EXTRA", ""),
                ("MAKE_FLAGS", if user { &flags } else { "" }),
            ];
            source_package(&name, "1.0", &fill(HELLO_SPEC, &places), &space.work.join(&name), &space.out)?;
        }
        Ok(())
    })?;
    Ok(Stack { dir, key })
}

/// Makes the source RPMs that have something wrong with them.
pub(crate) fn build_traps(lab: &Lab) -> Result<()> {
    struct Trap {
        name: &'static str,
        summary: &'static str,
        module: &'static str,
        code: &'static str,
        build_requires: &'static str,
        build_extra: &'static str,
    }
    let traps = [
        Trap {
            name: "broken-kmod",
            summary: "Does not compile",
            module: "broken",
            code: BROKEN,
            build_requires: "",
            build_extra: "",
        },
        Trap {
            name: "nosy-kmod",
            summary: "Wants the network while it is built",
            module: "nosy",
            code: QUIET,
            build_requires: "",
            // An address from the documentation range: where there is a network, nobody answers on it.
            build_extra: "timeout 5 bash -c 'exec 3<>/dev/tcp/192.0.2.1/80' || { echo 'nosy-kmod: cannot reach 192.0.2.1' >&2; exit 1; }",
        },
        Trap {
            name: "needy-kmod",
            summary: "Needs a package to build that nothing provides",
            module: "needy",
            code: QUIET,
            build_requires: "BuildRequires: libunobtainium-devel",
            build_extra: "",
        },
    ];
    let key = Key::new().with_all([LAYOUT, TRAP_SPEC, DKMSONLY_SPEC]).with_all(
        traps.iter().flat_map(|trap| [trap.name, trap.code, trap.build_requires, trap.build_extra]),
    );
    lab.cache.ensure("traps", &lab.dir.join("traps"), &key, |space| {
        for trap in &traps {
            let work = space.work.join(trap.name);
            let root = work.join(format!("{}-1.0", trap.name));
            fs::create_dir_all(&root)?;
            fs::write(root.join(format!("{}.c", trap.module)), trap.code)?;
            fs::write(root.join("Kbuild"), format!("obj-m := {}.o\n", trap.module))?;
            let kmod = format!("kmod-{}", trap.module);
            let places = [
                ("NAME", trap.name),
                ("KMOD", &kmod),
                ("MODULE", trap.module),
                ("SUMMARY", trap.summary),
                ("BUILD_REQUIRES", trap.build_requires),
                ("BUILD_EXTRA", trap.build_extra),
            ];
            source_package(trap.name, "1.0", &fill(TRAP_SPEC, &places), &work, &space.out)?;
        }
        let work = space.work.join("dkmsonly");
        let root = work.join("dkmsonly-1.0");
        fs::create_dir_all(&root)?;
        fs::write(root.join("quiet.c"), QUIET)?;
        fs::write(root.join("Kbuild"), "obj-m := quiet.o\n")?;
        source_package("dkmsonly", "1.0", DKMSONLY_SPEC, &work, &space.out)
    })?;
    Ok(())
}

/// Packs `<name>-<version>` of `work` and makes a source RPM from it and the spec.
fn source_package(name: &str, version: &str, spec: &str, work: &Utf8Path, out: &Utf8Path) -> Result<()> {
    let directory = format!("{name}-{version}");
    tarball(work, &directory, &work.join(format!("{directory}.tgz")))?;
    let file = work.join(format!("{name}.spec"));
    write_dated(&file, spec)?;
    // A source package is the same on every host, so nothing of the host may get into its version.
    let defines =
        [("dist", "%{nil}"), ("_dist", "%{nil}"), ("KVERSION", "0"), ("_unitdir", "/usr/lib/systemd/system")];
    RpmBuild { work, out, defines: &defines }.run(Build::Source, &file)
}

/// The probes of a list as C files.
fn probes(list: &str) -> Result<Vec<(String, String)>> {
    let mut probes = Vec::new();
    for block in list.split("\n== ").skip(1) {
        let (name, rest) = block.split_once('\n').context("a probe without a body")?;
        let (includes, body) =
            rest.split_once("--\n").or_else(|| rest.split_once("--")).context("a probe without --")?;
        ensure!(
            name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "probe {name:?} is no identifier"
        );
        let text = format!(
            "#include <linux/kernel.h>\n#include <linux/types.h>\n{includes}\nvoid probe(void);\nvoid probe(void)\n{{\n\t{}\n}}\n",
            body.trim()
        );
        probes.push((name.to_owned(), text));
    }
    Ok(probes)
}

fn copy(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    run(command("cp").args(["-a", from.as_str(), to.as_str()]))?;
    Ok(())
}

fn executable(path: &Utf8Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text)?;
    fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    date(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probe_is_a_c_file() {
        let probes = probes(OFA_PROBES).unwrap();
        assert_eq!(probes.len(), OFA_PROBES.lines().filter(|line| line.starts_with("== ")).count());
        assert!(probes.len() >= 40);
        for (name, text) in &probes {
            assert!(text.contains("#include <linux/kernel.h>"), "{name}");
            assert!(!text.contains("--\n"), "{name}");
        }
    }

    #[test]
    fn the_broken_line_is_where_its_comment_says() {
        let line = BROKEN.lines().position(|line| line.contains("no_such_member_in_any_kernel")).unwrap() + 1;
        assert!(BROKEN.contains(&format!("broken.c:{line}")));
    }
}
