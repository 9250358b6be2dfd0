//! What a spec file requires for the build, checked before the build.

use std::collections::BTreeMap;
use std::io::Read as _;

use camino::Utf8Path;
use drivetrain_host::{CancellationToken, Host, HostError, Job, LineSink, RootFs, SandboxSpec};
use drivetrain_model::{Capability, Comparison, Evr};

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

/// Of the well-known names those whose package on Debian is another project's, or a stand-in: its version says
/// nothing about theirs.
const OTHER_VERSIONS: &[&str] =
    &["module-init-tools", "systemd-rpm-macros", "redhat-rpm-config", "kernel-rpm-macros", "systemd"];

/// Most of dpkg's list of packages that is read. A full desktop has a tenth of it.
const MAX_STATUS: u64 = 64 << 20;

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
        let versions = installed_versions(root.path());
        let capabilities = WELL_KNOWN
            .iter()
            .filter(|(_, _, files)| files.iter().any(|file| exists(root.path(), file)))
            .map(|(name, package, _)| match versions.get(*package) {
                Some(version) if !OTHER_VERSIONS.contains(name) => {
                    Capability::versioned(*name, Comparison::Equal, Evr::new(0, version, ""))
                }
                // What is there without a package is taken for what is asked for.
                _ => Capability::unversioned(*name),
            })
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
            .filter(|wanted| {
                let wanted = self.comparable(wanted);
                !self.capabilities.iter().any(|offered| wanted.is_met_by(offered))
            })
            .filter(|wanted| !others.iter().any(|offered| wanted.is_met_by(offered)))
            .map(|wanted| MissingRequirement {
                capability: wanted.clone(),
                advice: self.advice(wanted, others),
            })
            .collect()
    }

    /// A requirement as it can be compared with what the builder has: epochs and releases are counted by each
    /// distribution on its own, so that outside of an RPM database only versions say something.
    fn comparable(&self, wanted: &Capability) -> Capability {
        let mut wanted = wanted.clone();
        if !self.from_rpm
            && let Some(constraint) = &mut wanted.constraint
        {
            constraint.evr.epoch = 0;
            constraint.evr.release.clear();
        }
        wanted
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

/// The programs that take debugging information out of what was compiled, with the packages that have them.
const DEBUGINFO: &[(&str, &str, &[&str])] = &[
    ("find-debuginfo", "debugedit", &["usr/bin/find-debuginfo", "usr/lib/rpm/find-debuginfo.sh"]),
    ("eu-strip", "elfutils", &["usr/bin/eu-strip"]),
    ("file", "file", &["usr/bin/file"]),
];

/// Those of the programs for packages of debugging information that the builder lacks.
pub(crate) fn missing_for_debuginfo(root: &Utf8Path) -> Vec<MissingRequirement> {
    let is_missing = |files: &[&str]| !files.iter().any(|file| exists(root, file));
    DEBUGINFO
        .iter()
        .filter(|(_, _, files)| is_missing(files))
        .map(|(name, package, _)| MissingRequirement {
            capability: Capability::unversioned(*name),
            advice: format!(
                "packages of debugging information are made with: install the package {package}, or let \
                 builder.debuginfo be drop"
            ),
        })
        .collect()
}

/// The versions of dpkg's packages, as their projects number them; none where dpkg does not know any.
fn installed_versions(root: &Utf8Path) -> BTreeMap<String, String> {
    let mut text = Vec::new();
    let read = fs_err::File::open(root.join("var/lib/dpkg/status"))
        .and_then(|file| file.take(MAX_STATUS).read_to_end(&mut text));
    if read.is_err() {
        return BTreeMap::new();
    }
    versions_in(&String::from_utf8_lossy(&text))
}

fn versions_in(status: &str) -> BTreeMap<String, String> {
    let entry = |entry: &str| {
        let field = |name: &str| entry.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        field("Status:").filter(|status| status.ends_with(" installed"))?;
        Some((field("Package:")?.to_owned(), upstream(field("Version:")?).to_owned()))
    };
    status.split("\n\n").filter_map(entry).collect()
}

/// `4:12.2.0-3` is version 12.2.0, and `4.18.0+dfsg-1` is 4.18.0: epoch and revision are Debian's, and so is what
/// it notes of its changes to the sources.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let version = version.rsplit_once('-').map_or(version, |(version, _)| version);
    let end = version.find("+dfsg").or_else(|| version.find(".dfsg")).unwrap_or(version.len());
    &version[..end]
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
    fn versions_of_debian_are_compared_as_their_projects_number_them() {
        let status = "Package: gcc\nStatus: install ok installed\nVersion: 4:12.2.0-3\n\n\
                      Package: rpm\nStatus: install ok installed\nDescription: a\n b\nVersion: 4.18.0+dfsg-1+deb12u1\n\n\
                      Package: flex\nStatus: deinstall ok config-files\nVersion: 2.6.4-8.2\n\n\
                      Package: zlib1g-dev\nStatus: install ok installed\nVersion: 1:1.2.13.dfsg-1\n";
        let versions = versions_in(status);
        let words: Vec<_> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        assert_eq!(words, ["gcc 12.2.0", "rpm 4.18.0", "zlib1g-dev 1.2.13"]);
        let capability = |text: &str| capability(text).unwrap();
        let gcc = Capability::versioned("gcc", Comparison::Equal, Evr::new(0, &versions["gcc"], ""));
        let provided = Provided { capabilities: vec![gcc, capability("kernel-rpm-macros")], from_rpm: false };
        let missing = |text: &str| provided.missing(&[capability(text)], Utf8Path::new("/"), &[]);
        for met in
            ["gcc", "gcc >= 8", "gcc >= 12.2.0-99.el9", "gcc < 13", "gcc >= 1:8", "kernel-rpm-macros >= 185"]
        {
            assert_eq!(missing(met).len(), 0, "{met}");
        }
        for text in ["gcc >= 13", "gcc < 12", "gcc = 12.1"] {
            let missing = missing(text);
            assert_eq!(missing.len(), 1, "{text}");
            assert!(missing[0].advice.starts_with("the builder has as gcc = 12.2.0: install"), "{missing:?}");
        }
    }

    #[test]
    fn what_takes_out_debugging_information_is_asked_for_by_its_package() {
        let root = tempfile::tempdir().unwrap();
        let missing = missing_for_debuginfo(Utf8Path::from_path(root.path()).unwrap());
        assert_eq!(missing.len(), 3);
        assert_eq!(missing[1].capability.name, "eu-strip");
        assert!(missing[1].advice.contains("install the package elfutils"), "{missing:?}");
    }

    #[test]
    fn an_asterisk_stands_for_the_rest_of_a_name() {
        assert!(exists(Utf8Path::new("/"), "us*/bin/env"));
        assert!(!exists(Utf8Path::new("/"), "usr/no*/bin/env"));
    }
}
