//! A sandbox specification as bubblewrap's arguments.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::spec::{RootFs, SandboxSpec};
use super::{BUILD_ID, etc};

/// Directories of `/usr` that the sandbox replaces by empty ones, so that mount points can be made in them
/// and nothing of the host's kernels shows.
const HIDDEN: &[&str] = &["/usr/src", "/usr/lib/modules"];

/// Size of the default `/tmp`. Compilers keep one assembler file each there.
const TMP_SIZE: u64 = 1 << 30;

const DEFAULT_ENVIRONMENT: &[(&str, &str)] =
    &[("PATH", "/usr/bin:/usr/sbin:/bin:/sbin"), ("HOME", "/tmp"), ("LANG", "C.UTF-8"), ("TZ", "UTC")];

/// The file system operations of a job, in the order in which bubblewrap must do them.
pub(super) fn arguments(spec: &SandboxSpec, etc_files: &[(&'static str, Utf8PathBuf)]) -> Vec<String> {
    let mut arguments = Arguments::default();
    arguments.system(spec);
    arguments.etc(&spec.root, etc_files);
    arguments.pair("--proc", "/proc");
    arguments.pair("--dev", "/dev");
    arguments.own(spec);
    arguments.environment(spec);
    arguments.list
}

#[derive(Default)]
struct Arguments {
    list: Vec<String>,
    made: BTreeSet<Utf8PathBuf>,
}

impl Arguments {
    fn pair(&mut self, option: &str, value: impl AsRef<str>) {
        self.list.extend([option.to_owned(), value.as_ref().to_owned()]);
    }

    /// Makes a directory and those above it, readable for all: left to itself, bubblewrap makes the parents of
    /// a link for its own user only.
    fn directory(&mut self, path: &Utf8Path) {
        let mut above: Vec<&Utf8Path> = path.ancestors().collect();
        above.reverse();
        for directory in above {
            let ours =
                !directory.starts_with("/usr") || HIDDEN.iter().any(|hidden| directory.starts_with(hidden));
            if ours && directory != "/" && self.made.insert(directory.to_owned()) {
                self.list.extend(["--perms", "0755", "--dir", directory.as_str()].map(str::to_owned));
            }
        }
    }

    fn parents(&mut self, path: &Utf8Path) {
        if let Some(parent) = path.parent() {
            self.directory(parent);
        }
    }

    fn triple(&mut self, option: &str, first: impl AsRef<str>, second: impl AsRef<str>) {
        self.list.extend([option.to_owned(), first.as_ref().to_owned(), second.as_ref().to_owned()]);
    }

    /// `/usr` read-only, and the old top-level names as the system has them.
    fn system(&mut self, spec: &SandboxSpec) {
        let root = spec.root.path();
        self.triple("--ro-bind", root.join("usr"), "/usr");
        for hidden in HIDDEN {
            if root.join(&hidden[1..]).is_dir() {
                self.pair("--tmpfs", *hidden);
            }
        }
        for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
            let path = root.join(name);
            match path.read_link_utf8() {
                Ok(_) if name == "lib" => self.lib(root, spec),
                Ok(target) => self.triple("--symlink", target, format!("/{name}")),
                Err(_) if path.is_dir() => self.triple("--ro-bind", path, format!("/{name}")),
                Err(_) => {}
            }
        }
    }

    /// `/lib` as a directory of links into `/usr/lib` instead of one link: the place of `modules` is then
    /// ours whether or not the system has a `/usr/lib/modules` to mount on. Containers have none.
    fn lib(&mut self, root: &Utf8Path, spec: &SandboxSpec) {
        self.directory(Utf8Path::new("/lib"));
        let mut names: Vec<String> = root
            .join("usr/lib")
            .read_dir_utf8()
            .map(|entries| entries.flatten().map(|entry| entry.file_name().to_owned()).collect())
            .unwrap_or_default();
        names.sort();
        for name in names.iter().filter(|name| *name != "modules") {
            self.triple("--symlink", format!("/usr/lib/{name}"), format!("/lib/{name}"));
        }
        let modules = if root.join("usr/lib/modules").is_dir() {
            self.triple("--symlink", "/usr/lib/modules", "/lib/modules");
            "/usr/lib/modules"
        } else {
            "/lib/modules"
        };
        for kernel in &spec.kernels {
            self.directory(&Utf8Path::new(modules).join(kernel.release.as_str()));
            for name in ["build", "source"] {
                self.triple("--symlink", &kernel.build, format!("{modules}/{}/{name}", kernel.release));
            }
        }
    }

    fn etc(&mut self, root: &RootFs, etc_files: &[(&'static str, Utf8PathBuf)]) {
        self.directory(Utf8Path::new("/etc"));
        for name in etc::FROM_SYSTEM {
            self.triple("--ro-bind-try", root.path().join(name), format!("/{name}"));
        }
        for (name, path) in etc_files {
            self.triple("--ro-bind", path, format!("/etc/{name}"));
        }
        self.triple("--symlink", "/proc/self/mounts", "/etc/mtab");
    }

    /// What the job itself asks for; parents before children, whatever order the caller had.
    fn own(&mut self, spec: &SandboxSpec) {
        enum Operation<'a> {
            Bind(&'a super::Bind),
            Tmpfs(u64),
        }
        let mut operations: Vec<(&Utf8Path, Operation<'_>)> = Vec::new();
        operations.extend(spec.binds.iter().map(|bind| (bind.target.as_path(), Operation::Bind(bind))));
        operations
            .extend(spec.tmpfs.iter().map(|tmpfs| (tmpfs.target.as_path(), Operation::Tmpfs(tmpfs.size))));
        if !operations.iter().any(|(target, _)| *target == "/tmp") {
            operations.push((Utf8Path::new("/tmp"), Operation::Tmpfs(TMP_SIZE)));
        }
        // Stable, so that of two operations on one target the later one still wins.
        operations.sort_by_key(|(target, _)| target.components().count());
        self.directory(Utf8Path::new("/var/tmp"));
        for (target, operation) in operations {
            self.parents(target);
            match operation {
                Operation::Bind(bind) if bind.writable => self.triple("--bind", &bind.source, target),
                Operation::Bind(bind) => self.triple("--ro-bind", &bind.source, target),
                Operation::Tmpfs(size) => {
                    self.list.extend(["--perms", "1777", "--size"].map(str::to_owned));
                    self.list.push(size.to_string());
                    self.pair("--tmpfs", target);
                }
            }
        }
        for link in &spec.symlinks {
            self.parents(&link.link);
            self.triple("--symlink", &link.target, &link.link);
        }
        for hidden in HIDDEN {
            if spec.root.path().join(&hidden[1..]).is_dir() {
                self.pair("--remount-ro", *hidden);
            }
        }
        self.pair("--remount-ro", "/");
    }

    fn environment(&mut self, spec: &SandboxSpec) {
        self.list.push("--clearenv".to_owned());
        let mut environment: BTreeMap<&str, &str> = DEFAULT_ENVIRONMENT.iter().copied().collect();
        environment.insert("USER", "build");
        environment.insert("LOGNAME", "build");
        environment.extend(spec.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        for (name, value) in environment {
            self.triple("--setenv", name, value);
        }
    }
}

/// The arguments that do not depend on the job.
pub(super) fn isolation(user_namespace: bool) -> Vec<String> {
    let mut arguments = namespaces();
    if user_namespace {
        let id = BUILD_ID.to_string();
        arguments.extend(["--unshare-user".into(), "--uid".into(), id.clone(), "--gid".into(), id]);
    } else {
        // Only for setpriv, which gives all three up before the job's first instruction.
        for capability in ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"] {
            arguments.extend(["--cap-add".to_owned(), capability.to_owned()]);
        }
    }
    arguments
}

/// What every job is kept from, rights included.
fn namespaces() -> Vec<String> {
    [
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--hostname",
        "builder",
        "--die-with-parent",
        "--cap-drop",
        "ALL",
    ]
    .map(str::to_owned)
    .into()
}

/// What rpm needs of root to unpack packages and to run their scripts in the directory that they go to.
const INSTALLER: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_SETFCAP",
    "CAP_SYS_CHROOT",
];

/// The arguments of an installation: root, with the rights that unpacking takes and no others.
pub(super) fn installer_isolation() -> Vec<String> {
    let mut arguments = namespaces();
    arguments.extend(INSTALLER.iter().flat_map(|name| ["--cap-add".to_owned(), (*name).to_owned()]));
    arguments
}

/// What stands between bubblewrap and the job's program: root privileges given up, limits set.
pub(super) fn prelude(spec: &SandboxSpec, drop_to: Option<u32>) -> Vec<String> {
    let mut prelude = Vec::new();
    if let Some(id) = drop_to {
        prelude.extend([
            "setpriv".to_owned(),
            format!("--reuid={id}"),
            format!("--regid={id}"),
            "--clear-groups".to_owned(),
            "--inh-caps=-all".to_owned(),
            "--bounding-set=-all".to_owned(),
            "--no-new-privs".to_owned(),
            "--".to_owned(),
        ]);
    }
    // POSIX: `ulimit -f` counts in blocks of 512 bytes.
    let blocks = spec.limits.file_size / 512;
    prelude.extend([
        "/bin/sh".to_owned(),
        "-c".to_owned(),
        format!("umask 022; ulimit -c 0; ulimit -f {blocks}; exec \"$@\""),
        "sh".to_owned(),
    ]);
    prelude
}
