//! Which file each module is loaded from, and after which others: depmod's own answer for an installed tree.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{Bind, CancellationToken, Ending, Host as _, Job, LocalSandbox, RootFs, SandboxSpec};
use drivetrain_kmod::{is_module_path, module_name_of};
use drivetrain_model::KernelRelease;
use fs_err as fs;

use crate::BootError;
use crate::cpio::read_bounded;
use crate::install::InstalledTree;
use crate::program::System;
use crate::text::printable;

/// Where packages install modules: one place under two names, where the system is whole.
const PLACES: [&str; 2] = ["/lib/modules", "/usr/lib/modules"];
/// Where depmod looks for its configuration, the first before the others (depmod.d(5)).
const CONFIGURATIONS: [&str; 4] =
    ["/etc/depmod.d", "/run/depmod.d", "/usr/local/lib/depmod.d", "/lib/depmod.d"];
/// Beside the modules, what depmod reads.
const LISTS: [&str; 3] = ["modules.builtin", "modules.builtin.modinfo", "modules.order"];
/// The most modules of a kernel; distributions have up to ten thousand.
const MOST_MODULES: usize = 60_000;
/// The deepest directory with modules in it.
const DEEPEST: usize = 24;
/// The longest of depmod's lists.
const LONGEST_LIST: u64 = 64 << 20;
/// The largest `depmod.d` file.
const LONGEST_CONFIGURATION: u64 = 1 << 20;
/// How long depmod may take.
const DEADLINE: Duration = Duration::from_secs(120);
/// Where the modules are while depmod looks at them.
const STAGE: &str = "/stage";

/// The modules of a kernel.
#[derive(Debug, Default)]
pub(crate) struct ModuleTree {
    /// By the kernel's name for it: its file and those of what it needs, from `lib/modules/RELEASE`.
    known: BTreeMap<String, Known>,
    /// What is part of the kernel itself.
    builtin: BTreeSet<String>,
    /// Where the files are here.
    directory: Utf8PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    path: String,
    needs: Vec<String>,
}

/// A module in the order of loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ordered {
    pub name: String,
    /// From `lib/modules/RELEASE`.
    pub path: String,
}

impl ModuleTree {
    /// Asks depmod: the one that is installed in the tree, where that runs, and otherwise this host's. `stage` is an empty directory's path.
    pub(crate) async fn of(
        host: &LocalSandbox,
        tree: &InstalledTree,
        release: &KernelRelease,
        stage: &Utf8Path,
        cancel: &CancellationToken,
    ) -> Result<Self, BootError> {
        let directory = stage.join("lib/modules").join(release.as_str());
        host.create_work_directory(&directory).await?;
        let count = Stage { system: System(&tree.root), to: &directory, count: 0 }.fill(release)?;
        if count == 0 {
            return Err(BootError::NoModules { root: tree.root.clone(), release: release.clone() });
        }
        configure(System(&tree.root), &stage.join("depmod.d"))?;
        run_depmod(host, tree, release, stage, cancel).await?;
        let dependencies = read_list(&directory.join("modules.dep"))?.unwrap_or_default();
        let builtin = read_list(&directory.join("modules.builtin"))?.unwrap_or_default();
        Ok(Self {
            known: parse_dependencies(&dependencies),
            builtin: builtin.lines().map(module_name_of).collect(),
            directory,
        })
    }

    /// The file that a module is loaded from.
    pub(crate) fn path(&self, name: &str) -> Option<&str> {
        self.known.get(name).map(|known| known.path.as_str())
    }

    pub(crate) fn is_builtin(&self, name: &str) -> bool {
        self.builtin.contains(name)
    }

    /// The file here.
    pub(crate) fn file(&self, module: &Ordered) -> Utf8PathBuf {
        self.directory.join(&module.path)
    }

    /// Modules and all that they need, each after what it needs.
    pub(crate) fn order<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<Ordered> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in names {
            self.visit(name, &mut seen, &mut order);
        }
        order
    }

    /// depmod lists all that a module needs, what is needed by all others last: so in reverse, each has what it needs.
    fn visit(&self, name: &str, seen: &mut BTreeSet<String>, order: &mut Vec<Ordered>) {
        let Some(known) = self.known.get(name) else { return };
        let paths = known.needs.iter().rev().chain([&known.path]);
        for path in paths {
            let name = module_name_of(path);
            if seen.insert(name.clone()) {
                order.push(Ordered { name, path: path.clone() });
            }
        }
    }
}

/// `kernel/a.ko.xz: kernel/b.ko.xz kernel/c.ko.xz`
fn parse_dependencies(text: &str) -> BTreeMap<String, Known> {
    let of_line = |line: &str| {
        let (path, needs) = line.split_once(':')?;
        let needs = needs.split_whitespace().map(str::to_owned).collect();
        Some((module_name_of(path), Known { path: path.to_owned(), needs }))
    };
    let is_inside = |(_, known): &(String, Known)| {
        known.needs.iter().chain([&known.path]).all(|path| {
            !path.starts_with('/') && Utf8Path::new(path).components().all(|part| part.as_str() != "..")
        })
    };
    text.lines().filter_map(of_line).filter(is_inside).take(MOST_MODULES).collect()
}

fn read_list(path: &Utf8Path) -> Result<Option<String>, BootError> {
    read_text(path, LONGEST_LIST)
}

fn read_text(path: &Utf8Path, limit: u64) -> Result<Option<String>, BootError> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BootError::file("read", path)(error)),
    };
    let bytes = read_bounded(file, limit).map_err(BootError::file("read", path))?;
    let bytes = bytes.ok_or_else(|| BootError::TooLarge { what: path.to_string(), limit })?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Puts a kernel's modules where depmod may write beside them.
struct Stage<'a> {
    system: System<'a>,
    to: &'a Utf8Path,
    count: usize,
}

impl Stage<'_> {
    fn fill(mut self, release: &KernelRelease) -> Result<usize, BootError> {
        let mut seen = BTreeSet::new();
        for place in PLACES {
            let directory = self.system.0.join(&place[1..]).join(release.as_str());
            let Ok(whole) = directory.canonicalize_utf8() else { continue };
            // Both names of one place, or a link that leads out.
            if !seen.insert(whole.clone()) || !whole.starts_with(self.canonical_root()?) {
                continue;
            }
            self.below(&whole, &format!("{place}/{release}"), "", 0)?;
            for list in LISTS {
                if whole.join(list).symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
                    link_or_copy(&whole.join(list), &self.to.join(list))?;
                }
            }
        }
        Ok(self.count)
    }

    fn canonical_root(&self) -> Result<Utf8PathBuf, BootError> {
        self.system.0.canonicalize_utf8().map_err(BootError::file("read", self.system.0))
    }

    fn below(
        &mut self,
        directory: &Utf8Path,
        shown: &str,
        relative: &str,
        depth: usize,
    ) -> Result<(), BootError> {
        let reading = || BootError::file("read", directory);
        for entry in directory.read_dir_utf8().map_err(reading())? {
            let entry = entry.map_err(reading())?;
            let kind = entry.file_type().map_err(reading())?;
            let name = entry.file_name();
            let path = if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") };
            if kind.is_dir() && depth < DEEPEST {
                self.below(entry.path(), shown, &path, depth + 1)?;
            } else if is_module_path(name) {
                // A link is followed within the tree: weak-updates has such.
                let Some(file) = self.system.find(&format!("{shown}/{path}")) else { continue };
                self.count += 1;
                if self.count > MOST_MODULES {
                    let what = format!("the count of modules in {}", self.system.0);
                    return Err(BootError::TooLarge { what, limit: MOST_MODULES as u64 });
                }
                link_or_copy(&file, &self.to.join(&path))?;
            }
        }
        Ok(())
    }
}

fn link_or_copy(from: &Utf8Path, to: &Utf8Path) -> Result<(), BootError> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(BootError::file("create", parent))?;
    }
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to).map(drop).map_err(BootError::file("copy", from))
}

/// Brings depmod's configuration together, as depmod itself would: of two files of one name the first place's counts.
fn configure(system: System<'_>, to: &Utf8Path) -> Result<(), BootError> {
    fs::create_dir_all(to).map_err(BootError::file("create", to))?;
    for place in CONFIGURATIONS {
        let Ok(entries) = system.0.join(&place[1..]).read_dir_utf8() else { continue };
        for entry in entries.flatten().filter(|entry| entry.file_name().ends_with(".conf")) {
            let target = to.join(entry.file_name());
            let Some(file) = system.find(&format!("{place}/{}", entry.file_name())) else { continue };
            if !target.exists()
                && let Some(text) = read_text(&file, LONGEST_CONFIGURATION)?
            {
                fs::write(&target, text).map_err(BootError::file("write", &target))?;
            }
        }
    }
    Ok(())
}

async fn run_depmod(
    host: &LocalSandbox,
    tree: &InstalledTree,
    release: &KernelRelease,
    stage: &Utf8Path,
    cancel: &CancellationToken,
) -> Result<(), BootError> {
    let root = if tree.runs(&["/usr/sbin/depmod", "/usr/bin/depmod", "/sbin/depmod"]) {
        RootFs::Directory(tree.root.clone())
    } else {
        RootFs::Host
    };
    let binds = vec![Bind::writable(stage, STAGE)];
    let configuration = format!("{STAGE}/depmod.d");
    let job = Job {
        sandbox: SandboxSpec { root, binds, ..SandboxSpec::default() },
        program: "depmod".to_owned(),
        arguments: ["-b", STAGE, "-C", &configuration, release.as_str()].map(str::to_owned).into(),
        directory: "/".into(),
        log: None,
        append: false,
        deadline: Some(DEADLINE),
    };
    let mut said = String::new();
    let mut sink = |line: &str| {
        if said.len() < 2000 {
            said.push_str(&printable(line));
            said.push('\n');
        }
    };
    let finished = host.run(&job, &mut sink, cancel).await?;
    match finished.ending {
        Ending::Exited(0) => Ok(()),
        Ending::Cancelled => Err(BootError::Cancelled),
        Ending::Exited(127) => Err(BootError::MissingTool { tool: "depmod", package: "kmod" }),
        other => {
            let said = if said.is_empty() { other.to_string() } else { said.trim().to_owned() };
            Err(BootError::Depmod { release: release.clone(), said })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> ModuleTree {
        ModuleTree { known: parse_dependencies(text), ..ModuleTree::default() }
    }

    #[test]
    fn what_is_needed_is_loaded_before_what_needs_it_and_once() {
        let tree = tree(
            "extra/b-c.ko: kernel/a.ko.xz\nkernel/a.ko.xz:\nextra/d.ko: extra/b-c.ko kernel/a.ko.xz\n\
             ../../evil.ko:\nextra/e.ko: /etc/passwd\n",
        );
        let order = tree.order(["d", "b_c", "evil", "e", "none"].into_iter());
        let order: Vec<(&str, &str)> = order.iter().map(|m| (m.name.as_str(), m.path.as_str())).collect();
        assert_eq!(order, [("a", "kernel/a.ko.xz"), ("b_c", "extra/b-c.ko"), ("d", "extra/d.ko")]);
        assert_eq!((tree.path("b_c"), tree.path("evil")), (Some("extra/b-c.ko"), None));
    }
}
