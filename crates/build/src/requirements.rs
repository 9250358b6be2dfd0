//! What a spec file requires for the build, checked before the build.

use camino::Utf8Path;
use drivetrain_host::{CancellationToken, Host, HostError, Job, LineSink, RootFs, SandboxSpec};
use drivetrain_model::Capability;

use crate::error::MissingRequirement;
use crate::packages::capability;

/// Well-known names on hosts whose package manager is not RPM: the name, the package of Debian that answers
/// to it, and files of which one must be there. An asterisk stands for one directory.
const WELL_KNOWN: &[(&str, &str, &[&str])] = &[
    ("gcc", "gcc", &["usr/bin/gcc"]),
    ("gcc-c++", "g++", &["usr/bin/g++"]),
    ("make", "make", &["usr/bin/make"]),
    ("bison", "bison", &["usr/bin/bison"]),
    ("flex", "flex", &["usr/bin/flex"]),
    ("bc", "bc", &["usr/bin/bc"]),
    ("m4", "m4", &["usr/bin/m4"]),
    ("patch", "patch", &["usr/bin/patch"]),
    ("perl", "perl", &["usr/bin/perl"]),
    ("perl-interpreter", "perl", &["usr/bin/perl"]),
    ("python3", "python3", &["usr/bin/python3"]),
    ("python3-devel", "python3-dev", &["usr/include/python3*/Python.h"]),
    ("autoconf", "autoconf", &["usr/bin/autoconf"]),
    ("automake", "automake", &["usr/bin/automake"]),
    ("libtool", "libtool", &["usr/bin/libtool", "usr/bin/libtoolize"]),
    ("pkgconfig", "pkgconf", &["usr/bin/pkg-config"]),
    ("pkgconf-pkg-config", "pkgconf", &["usr/bin/pkg-config"]),
    ("cmake", "cmake", &["usr/bin/cmake"]),
    ("binutils", "binutils", &["usr/bin/ld"]),
    ("gawk", "gawk", &["usr/bin/gawk", "usr/bin/awk"]),
    ("sed", "sed", &["usr/bin/sed"]),
    ("tar", "tar", &["usr/bin/tar"]),
    ("gzip", "gzip", &["usr/bin/gzip"]),
    ("xz", "xz-utils", &["usr/bin/xz"]),
    ("zstd", "zstd", &["usr/bin/zstd"]),
    ("findutils", "findutils", &["usr/bin/find"]),
    ("coreutils", "coreutils", &["usr/bin/install"]),
    ("diffutils", "diffutils", &["usr/bin/diff"]),
    ("rpm-build", "rpm", &["usr/bin/rpmbuild"]),
    ("kmod", "kmod", &["usr/bin/kmod"]),
    ("module-init-tools", "kmod", &["usr/bin/kmod"]),
    ("dwarves", "dwarves", &["usr/bin/pahole"]),
    ("openssl", "openssl", &["usr/bin/openssl"]),
    ("openssl-devel", "libssl-dev", &["usr/include/openssl/ssl.h"]),
    ("elfutils-libelf-devel", "libelf-dev", &["usr/include/libelf.h"]),
    ("libelf-devel", "libelf-dev", &["usr/include/libelf.h"]),
    ("elfutils-devel", "libdw-dev", &["usr/include/dwarf.h"]),
    ("zlib-devel", "zlib1g-dev", &["usr/include/zlib.h"]),
    ("ncurses-devel", "libncurses-dev", &["usr/include/ncurses.h"]),
    ("numactl-devel", "libnuma-dev", &["usr/include/numa.h"]),
    ("libnl3-devel", "libnl-3-dev", &["usr/include/libnl3/netlink/netlink.h"]),
    ("glibc-devel", "libc6-dev", &["usr/include/stdio.h"]),
    ("systemd-rpm-macros", "rpm", &["usr/bin/rpmbuild"]),
    ("redhat-rpm-config", "rpm", &["usr/bin/rpmbuild"]),
    ("kernel-rpm-macros", "rpm", &["usr/bin/rpmbuild"]),
    ("systemd", "rpm", &["usr/bin/rpmbuild"]),
];

/// What the builder provides.
#[derive(Debug, Clone, Default)]
pub(crate) struct Provided {
    capabilities: Vec<Capability>,
    /// Whether they come from an RPM database, and so are all there is.
    from_rpm: bool,
}

impl Provided {
    /// Looks at the builder: its RPM database where it has one, otherwise the files behind well-known names.
    pub(crate) async fn look(host: &dyn Host, root: &RootFs) -> Result<Self, HostError> {
        let database = ["usr/lib/sysimage/rpm", "var/lib/rpm"]
            .iter()
            .map(|path| root.path().join(path))
            .find(|path| path.join("rpmdb.sqlite").exists() || path.join("Packages").exists());
        if let Some(database) = database {
            let provided = Self::from_database(host, root, &database).await?;
            // An empty database is what one call of rpm leaves on a host whose packages are not RPM's.
            if !provided.capabilities.is_empty() {
                return Ok(provided);
            }
        }
        let capabilities = WELL_KNOWN
            .iter()
            .filter(|(_, _, files)| files.iter().any(|file| exists(root.path(), file)))
            .map(|(name, _, _)| Capability::unversioned(*name))
            .collect();
        Ok(Self { capabilities, from_rpm: false })
    }

    async fn from_database(host: &dyn Host, root: &RootFs, database: &Utf8Path) -> Result<Self, HostError> {
        let mut sandbox = SandboxSpec { root: root.clone(), ..SandboxSpec::default() };
        sandbox.binds.push(drivetrain_host::Bind::read_only(database, "/drivetrain/rpmdb"));
        let job = Job {
            sandbox,
            program: "rpm".to_owned(),
            arguments: ["--dbpath", "/drivetrain/rpmdb", "-qa", "--provides"].map(str::to_owned).into(),
            directory: "/".into(),
            log: None,
            append: false,
            deadline: Some(std::time::Duration::from_secs(60)),
        };
        let mut capabilities = Vec::new();
        let mut sink = |line: &str| capabilities.extend(capability(line));
        host.run(&job, &mut sink as &mut dyn LineSink, &CancellationToken::new()).await?;
        Ok(Self { capabilities, from_rpm: true })
    }

    /// Those of the requirements that neither the builder nor `others` meet.
    pub(crate) fn missing(
        &self,
        required: &[Capability],
        root: &Utf8Path,
        others: &[&Capability],
    ) -> Vec<MissingRequirement> {
        required
            .iter()
            .filter(|wanted| !wanted.name.starts_with("rpmlib("))
            .filter(|wanted| !(wanted.name.starts_with('/') && exists(root, &wanted.name[1..])))
            .filter(|wanted| !self.capabilities.iter().any(|offered| wanted.is_met_by(offered)))
            .filter(|wanted| !others.iter().any(|offered| wanted.is_met_by(offered)))
            .map(|wanted| MissingRequirement {
                capability: wanted.clone(),
                advice: self.advice(wanted, others),
            })
            .collect()
    }

    fn advice(&self, wanted: &Capability, others: &[&Capability]) -> String {
        let other_version = self
            .capabilities
            .iter()
            .chain(others.iter().copied())
            .find(|offered| offered.name == wanted.name);
        if let Some(offered) = other_version {
            return format!(
                "the builder has as {offered}: install that version, or add it to builder.provides"
            );
        }
        let install = if self.from_rpm {
            format!("`dnf install '{}'`", wanted.name)
        } else {
            match WELL_KNOWN.iter().find(|(name, _, _)| *name == wanted.name) {
                Some((_, package, _)) => format!("the package {package}"),
                None => "what provides it".to_owned(),
            }
        };
        format!(
            "neither the builder, nor kernel-devel, nor a component that it names in `needs` provides: install \
             {install}, or add it to builder.provides"
        )
    }
}

/// Whether a file is there, with at most one asterisk, at the end of a directory's name.
fn exists(root: &Utf8Path, pattern: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return root.join(pattern).exists() };
    let (directory, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    root.join(directory).read_dir_utf8().is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            entry.file_name().starts_with(prefix) && entry.path().join(after.trim_start_matches('/')).exists()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        let provided = Provided { capabilities: vec![capability("gcc = 8.0-1").unwrap()], from_rpm: false };
        let required: Vec<_> = [
            "gcc >= 12",
            "libelf-devel",
            "libodd-devel",
            "rpmlib(FileDigests) <= 4",
            "/usr/bin/env",
            "kernel-devel",
        ]
        .iter()
        .map(|text| capability(text).unwrap())
        .collect();
        let devel = capability("kernel-devel = 5.14.0-1").unwrap();
        let missing = provided.missing(&required, Utf8Path::new("/"), &[&devel]);
        let said: Vec<_> = missing.iter().map(|m| format!("{}: {}", m.capability, m.advice)).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].starts_with("gcc >= 12: the builder has as gcc = 8.0-1"));
        assert!(said[1].contains("install the package libelf-dev"));
        assert!(said[2].contains("install what provides it, or add it to builder.provides"));
    }

    #[test]
    fn an_asterisk_stands_for_the_rest_of_a_name() {
        assert!(exists(Utf8Path::new("/"), "us*/bin/env"));
        assert!(!exists(Utf8Path::new("/"), "usr/no*/bin/env"));
    }
}
