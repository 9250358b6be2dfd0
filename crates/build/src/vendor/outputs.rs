//! What the tool left: packages and logs, wherever they are.

use std::collections::BTreeMap;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_rpmfile::{PayloadLimits, RpmFile, extract, verify_digests};
use fs_err as fs;

use crate::BuildError;
use crate::packages::{BuiltPackage, is_module};

/// How deep it is looked, and at how many files: the tool's own tree is ten levels deep.
const DEPTH: usize = 16;
const MOST: usize = 500_000;
/// Where rpmbuild works: a hundred thousand files, and no package among them.
const PASSED_OVER: &[&str] = &["BUILD", "BUILDROOT", "SOURCES", "SRPMS"];
/// The package that the tool wraps all others into.
const WRAPPER: &str = "doca-kernel-repo";

/// One package.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) built: BuiltPackage,
    /// The name of the source RPM that it says it was built from.
    pub(super) source: String,
    pub(super) path: Utf8PathBuf,
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    pub(super) packages: Vec<Output>,
    /// The packages with a repository in them that were unwrapped, by name.
    pub(super) repositories: Vec<String>,
    pub(super) logs: Logs,
    /// What cannot be read, with the reasons.
    pub(super) unreadable: Vec<String>,
}

impl Outputs {
    /// Looks for packages and logs below a directory. Packages with repositories in them are unwrapped into another.
    pub(super) fn find(below: &Utf8Path, unwrapped: &Utf8Path) -> Result<Self, BuildError> {
        let mut outputs = Self { logs: Logs::of(below), ..Self::default() };
        let mut by_name = BTreeMap::new();
        let (wrappers, others): (Vec<_>, Vec<_>) =
            packages_below(below).into_iter().partition(|path| is_wrapper(path));
        for wrapper in wrappers {
            let wanted = |name: &str| is_package(name);
            extract(wrapper.as_std_path(), unwrapped.as_std_path(), &limits(), |entry| {
                wanted(&entry.file.path)
            })
            .map_err(|error| BuildError::VendorTool {
                what: format!("{} cannot be unwrapped: {error}", wrapper.file_name().unwrap_or(WRAPPER)),
                next: "look at vendor-tool.log among the run's logs".to_owned(),
            })?;
            outputs.repositories.extend(wrapper.file_name().map(str::to_owned));
        }
        // What is in the repository is what the vendor means to be installed; the rest is what is not in there.
        for path in packages_below(unwrapped).into_iter().chain(others) {
            match read(&path) {
                Ok(output) => drop(by_name.entry(output.built.file.clone()).or_insert(output)),
                Err(reason) => outputs.unreadable.push(reason),
            }
        }
        outputs.packages = by_name.into_values().collect();
        Ok(outputs)
    }

    /// Whether there is a package of a component.
    pub(super) fn has(&self, component: &str) -> bool {
        self.packages.iter().any(|package| package.source == component)
    }
}

fn limits() -> PayloadLimits {
    PayloadLimits { max_total: 16 << 30, max_file: 8 << 30, ..PayloadLimits::default() }
}

fn read(path: &Utf8Path) -> Result<Output, String> {
    verify_digests(path.as_std_path()).map_err(|error| error.to_string())?;
    let file = RpmFile::open(path.as_std_path()).map_err(|error| error.to_string())?;
    let source = file.source_rpm.as_deref().and_then(source_name).unwrap_or_default().to_owned();
    let modules = file.files.into_iter().map(|file| file.path).filter(|path| is_module(path)).collect();
    let built =
        BuiltPackage { file: file.nevra.file_name(), nevra: file.nevra, provides: file.provides, modules };
    Ok(Output { built, source, path: path.to_owned() })
}

/// The name in `name-version-release.src.rpm`.
fn source_name(file: &str) -> Option<&str> {
    let stem = file.strip_suffix(".src.rpm").or_else(|| file.strip_suffix(".nosrc.rpm"))?;
    stem.rsplitn(3, '-').nth(2).filter(|name| !name.is_empty())
}

fn is_package(name: &str) -> bool {
    name.ends_with(".rpm") && !name.ends_with("src.rpm")
}

fn is_wrapper(path: &Utf8Path) -> bool {
    path.file_name().is_some_and(|name| name.starts_with(WRAPPER))
}

/// The binary packages below a directory, in the order of their paths.
fn packages_below(directory: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut found = Vec::new();
    walk(directory, DEPTH, &mut |path| {
        if path.file_name().is_some_and(is_package) {
            found.push(path.to_owned());
        }
    });
    found.sort();
    found
}

/// Regular files below a directory. Links are not followed: a build may have put them anywhere.
fn walk(directory: &Utf8Path, depth: usize, visit: &mut dyn FnMut(&Utf8Path)) {
    let mut open = vec![(directory.to_owned(), depth)];
    let mut seen = 0;
    while let Some((directory, depth)) = open.pop() {
        for entry in directory.read_dir_utf8().into_iter().flatten().flatten() {
            seen += 1;
            if seen > MOST {
                return;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth > 0 && !PASSED_OVER.contains(&entry.file_name()) => {
                    open.push((entry.into_path(), depth - 1));
                }
                Ok(kind) if kind.is_file() => visit(entry.path()),
                _ => {}
            }
        }
    }
}

/// The logs of components: `logs/<component>.log` in the tool's working directory.
#[derive(Debug, Default)]
pub(super) struct Logs(BTreeMap<String, (SystemTime, Utf8PathBuf)>);

impl Logs {
    /// Those in a directory called `logs` of `below`, or of a directory in it. Looked for often, and so not deeper.
    pub(super) fn of(below: &Utf8Path) -> Self {
        let mut logs = BTreeMap::new();
        let inner = below.read_dir_utf8().into_iter().flatten().flatten().map(|entry| entry.into_path());
        for directory in std::iter::once(below.to_owned()).chain(inner) {
            for entry in directory.join("logs").read_dir_utf8().into_iter().flatten().flatten() {
                let Some(name) = entry.file_name().strip_suffix(".log") else { continue };
                // Not through a link, which could lead to a file that is not for everybody to read.
                let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
                let made = metadata.created().or_else(|_| metadata.modified());
                if let (true, Ok(made)) = (metadata.is_file(), made) {
                    logs.insert(name.to_owned(), (made, entry.path().to_owned()));
                }
            }
        }
        Self(logs)
    }

    /// The components' names, in the order in which their logs were made.
    pub(super) fn in_order(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.0.iter().map(|(name, (made, _))| (made, name.as_str())).collect();
        names.sort();
        names.into_iter().map(|(_, name)| name).collect()
    }

    /// Where a component's is.
    pub(super) fn path(&self, component: &str) -> Option<&Utf8Path> {
        self.0.get(component).map(|(_, path)| path.as_path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_names_what_it_was_built_from() {
        assert_eq!(
            source_name("mlnx-ofa_kernel-25.10-OFED.25.10.1.rhel9u4.src.rpm"),
            Some("mlnx-ofa_kernel")
        );
        assert_eq!(source_name("iser-1-2.src.rpm"), Some("iser"));
        for odd in ["iser.src.rpm", "-1-2.src.rpm", "iser-1-2.x86_64.rpm", ""] {
            assert_eq!(source_name(odd), None, "{odd}");
        }
    }

    #[test]
    fn logs_are_found_where_the_tool_works_and_in_the_order_of_their_making() {
        let directory = tempfile::tempdir().unwrap();
        let below = Utf8Path::from_path(directory.path()).unwrap();
        let logs = below.join("DOCA.x/logs");
        fs::create_dir_all(&logs).unwrap();
        fs::create_dir_all(below.join("home/logs")).unwrap();
        fs::write(logs.join("b.log"), "").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(logs.join("a.log"), "").unwrap();
        fs::write(logs.join("note.txt"), "").unwrap();
        fs_err::os::unix::fs::symlink("/etc/shadow", logs.join("c.log")).unwrap();
        let found = Logs::of(below);
        assert_eq!(found.in_order(), ["b", "a"]);
        assert_eq!(found.path("b"), Some(logs.join("b.log").as_path()));
        assert!(packages_below(below).is_empty());
    }

    #[test]
    fn what_is_no_package_is_said_and_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let below = Utf8Path::from_path(directory.path()).unwrap();
        fs::create_dir_all(below.join("DOCA.x/packages/6.1/BUILD")).unwrap();
        fs::write(below.join("DOCA.x/packages/6.1/x.rpm"), "no package").unwrap();
        fs::write(below.join("DOCA.x/packages/6.1/x.src.rpm"), "").unwrap();
        fs::write(below.join("DOCA.x/packages/6.1/BUILD/y.rpm"), "").unwrap();
        let outputs = Outputs::find(below, &below.join("unwrapped")).unwrap();
        assert!(outputs.packages.is_empty());
        assert_eq!(outputs.unreadable.len(), 1, "{:?}", outputs.unreadable);
    }
}
