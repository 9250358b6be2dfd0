//! What compiles: the identity of the tools that a build uses.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{CancellationToken, Host, HostError, Job, RootFs, SandboxSpec};
use drivetrain_model::Sha256Digest;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cache::digest_of;

/// The tools that a build uses, by content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// A digest over the bytes of compilers, assembler, linker, make, rpmbuild and RPM's scripts and macros.
    pub digest: Sha256Digest,
    /// For people: `gcc 12.2.0, ld 2.40, make 4.3, rpmbuild 4.18.0`.
    pub description: String,
    /// Whether RPM has the macro `%kernel_module_package`, by which spec files make `kmod-` packages. It comes with
    /// kernel-rpm-macros on Enterprise Linux, and does not exist elsewhere.
    pub kernel_module_package: bool,
}

/// Why the tools could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// A tool without which nothing is built.
    #[error("{tool} is not installed on the builder: install the package {package}")]
    Missing {
        /// The program.
        tool: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// A tool could not be read.
    #[error("cannot read {path}")]
    Read {
        /// Its file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A tool could not be asked for its version.
    #[error("the builder's tools cannot be asked for their versions")]
    Host(#[source] HostError),
}

/// What nothing is built without.
const REQUIRED: &[(&str, &str)] = &[
    ("usr/bin/bash", "bash"),
    ("usr/bin/gcc", "gcc"),
    ("usr/bin/ld", "binutils"),
    ("usr/bin/make", "make"),
    ("usr/bin/rpmbuild", "rpm-build (Debian: rpm)"),
    ("usr/bin/patch", "patch"),
    ("usr/bin/rpm2cpio", "rpm"),
    ("usr/bin/cpio", "cpio"),
];

/// Programs besides compilers whose bytes count.
const PROGRAMS: &[&str] = &[
    "as",
    "ld",
    "ld.bfd",
    "ld.gold",
    "ld.lld",
    "make",
    "objcopy",
    "objdump",
    "strip",
    "rpmbuild",
    "pahole",
    "find-debuginfo",
    "debugedit",
    "eu-strip",
];

/// Libraries that those are made of.
const LIBRARIES: &[&str] = &["libbfd", "libopcodes", "librpm", "libisl", "libmpfr", "libmpc", "libgmp"];

impl Toolchain {
    /// Looks at the tools below `root`. `state` is a file in which the digests of files are remembered by size,
    /// time and inode, so that only the first call reads them.
    pub async fn probe(host: &dyn Host, root: &RootFs, state: &Utf8Path) -> Result<Self, ToolchainError> {
        for (path, package) in REQUIRED {
            if !root.path().join(path).exists() {
                let tool = path.rsplit('/').next().unwrap_or(path);
                return Err(ToolchainError::Missing { tool, package });
            }
        }
        let known = State::read(state);
        let mut now = State::default();
        let mut hasher = Sha256::new();
        for name in files(root.path()) {
            let path = root.path().join(&name);
            let read = |source| ToolchainError::Read { path: path.clone(), source };
            let stamp = Stamp::of(&path).map_err(read)?;
            let digest = match known.files.get(&name) {
                Some((old, digest)) if *old == stamp => *digest,
                _ => digest_of(&fs::canonicalize(&path).map_err(read).and_then(utf8)?).map_err(read)?.1,
            };
            hasher.update(format!("{name} {digest}\n"));
            now.files.insert(name, (stamp, digest));
        }
        let digest = Sha256Digest::from_bytes(hasher.finalize().into());
        now.description = match known.description {
            Some((of, description)) if of == digest => Some((of, description)),
            _ => Some((digest, describe(host, root).await.map_err(ToolchainError::Host)?)),
        };
        now.write(state);
        let description = now.description.map(|(_, description)| description).unwrap_or_default();
        Ok(Self { digest, description, kernel_module_package: has_kernel_module_package(root.path()) })
    }
}

fn utf8(path: std::path::PathBuf) -> Result<Utf8PathBuf, ToolchainError> {
    Utf8PathBuf::from_path_buf(path).map_err(|path| ToolchainError::Read {
        path: path.to_string_lossy().into_owned().into(),
        source: io::Error::other("its name is not UTF-8"),
    })
}

/// Whether a file of `/usr/bin` is a compiler driver: `gcc`, `cc`, `g++-12`, `x86_64-linux-gnu-gcc-12`.
pub(crate) fn is_compiler(name: &str) -> bool {
    let name = match name.rsplit_once('-') {
        Some((name, version)) if version.bytes().all(|b| b.is_ascii_digit() || b == b'.') => name,
        _ => name,
    };
    matches!(name, "cc" | "c++" | "gcc" | "g++") || name.ends_with("-gcc") || name.ends_with("-g++")
}

/// The names in `/usr/bin` below a root.
pub(crate) fn programs(root: &Utf8Path) -> Vec<String> {
    names(&root.join("usr/bin"))
}

fn names(directory: &Utf8Path) -> Vec<String> {
    let mut names: Vec<String> = directory
        .read_dir_utf8()
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_owned()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

/// The files that count, relative to the root, sorted.
fn files(root: &Utf8Path) -> Vec<String> {
    let mut files: Vec<String> = programs(root)
        .iter()
        .filter(|name| is_compiler(name) || PROGRAMS.contains(&name.as_str()))
        .map(|name| format!("usr/bin/{name}"))
        .collect();
    for base in ["usr/lib/gcc", "usr/libexec/gcc"] {
        for target in names(&root.join(base)) {
            for version in names(&root.join(base).join(&target)) {
                for program in ["cc1", "cc1plus", "collect2", "lto1", "specs"] {
                    files.push(format!("{base}/{target}/{version}/{program}"));
                }
                let plugins = format!("{base}/{target}/{version}/plugin");
                files.extend(
                    names(&root.join(&plugins))
                        .into_iter()
                        .filter(|name| name.ends_with(".so"))
                        .map(|name| format!("{plugins}/{name}")),
                );
            }
        }
    }
    let library_directories = ["usr/lib64", "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu"];
    for directory in library_directories {
        files.extend(
            names(&root.join(directory))
                .into_iter()
                .filter(|name| {
                    name.contains(".so") && LIBRARIES.iter().any(|library| name.starts_with(library))
                })
                .map(|name| format!("{directory}/{name}")),
        );
    }
    for directory in ["usr/lib/rpm", "usr/lib/rpm/macros.d", "usr/lib/rpm/redhat", "usr/lib/rpm/fileattrs"] {
        files.extend(names(&root.join(directory)).into_iter().map(|name| format!("{directory}/{name}")));
    }
    files.retain(|name| root.join(name).is_file());
    files.sort();
    files
}

/// Where RPM looks for macros of a distribution's packages.
const MACRO_DIRECTORIES: &[&str] = &["usr/lib/rpm/macros.d", "usr/lib/rpm/redhat", "etc/rpm"];

fn has_kernel_module_package(root: &Utf8Path) -> bool {
    MACRO_DIRECTORIES.iter().map(|directory| root.join(directory)).any(|directory| {
        let mut files = names(&directory).into_iter().filter(|name| name.starts_with("macros"));
        files.any(|name| {
            fs::read(directory.join(name)).is_ok_and(|text| {
                text.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"%kernel_module_package("))
            })
        })
    })
}

async fn describe(host: &dyn Host, root: &RootFs) -> Result<String, HostError> {
    let script = "for tool in gcc ld make rpmbuild; do printf '%s ' $tool; $tool --version | head -n 1; done";
    let job = Job {
        sandbox: SandboxSpec { root: root.clone(), ..SandboxSpec::default() },
        program: "/bin/sh".to_owned(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        directory: "/".into(),
        log: None,
        append: false,
        deadline: Some(std::time::Duration::from_secs(30)),
    };
    let mut tools = Vec::new();
    let mut sink = |line: &str| {
        if let Some((tool, rest)) = line.split_once(' ') {
            tools.push(format!("{tool} {}", version(rest)));
        }
    };
    host.run(&job, &mut sink, &CancellationToken::new()).await?;
    Ok(tools.join(", "))
}

/// The version in `gcc (Debian 12.2.0-14+deb12u1) 12.2.0`: the first word that starts with a digit, outside of
/// the brackets where distributions put theirs.
fn version(line: &str) -> &str {
    let mut depth = 0_usize;
    line.split_whitespace()
        .find(|word| {
            let outside = depth == 0;
            depth = (depth + word.matches('(').count()).saturating_sub(word.matches(')').count());
            outside && word.starts_with(|c: char| c.is_ascii_digit())
        })
        .unwrap_or("of unknown version")
}

/// What tells that a file is still the same without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    modified: i64,
    nanoseconds: i64,
    changed: i64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Utf8Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            size: metadata.size(),
            modified: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
            changed: metadata.ctime(),
            inode: metadata.ino(),
        })
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    files: BTreeMap<String, (Stamp, Sha256Digest)>,
    description: Option<(Sha256Digest, String)>,
}

impl State {
    /// A state that cannot be read is no state: everything is read afresh.
    fn read(path: &Utf8Path) -> Self {
        fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Kept where it can be; without it the next call is slower and nothing else.
    fn write(&self, path: &Utf8Path) {
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| serde_json::to_vec(self).map_err(io::Error::from))
            .and_then(|bytes| fs::write(&temporary, bytes))
            .and_then(|()| fs::rename(&temporary, path));
        drop(written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_are_known_by_name() {
        for name in
            ["gcc", "cc", "g++", "gcc-12", "x86_64-linux-gnu-gcc-12", "aarch64-redhat-linux-gcc", "c++"]
        {
            assert!(is_compiler(name), "{name}");
        }
        for name in ["gcc-ar", "gcc-nm-12", "gccgo", "ccache", "c89", "gcov", "x86_64-linux-gnu-gcc-ar"] {
            assert!(!is_compiler(name), "{name}");
        }
    }

    #[test]
    fn versions_are_found_in_what_tools_say() {
        assert_eq!(version("gcc (Debian 12.2.0-14+deb12u1) 12.2.0"), "12.2.0");
        assert_eq!(version("gcc (GCC) 11.5.0 20240719 (Red Hat 11.5.0-2)"), "11.5.0");
        assert_eq!(version("GNU ld (GNU Binutils for Debian) 2.40"), "2.40");
        assert_eq!(version("GNU ld version 2.35.2-54.el9"), "2.35.2-54.el9");
        assert_eq!(version("RPM version 4.18.0"), "4.18.0");
    }
}
