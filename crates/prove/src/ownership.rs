//! Files that two packages want to own.

use std::collections::BTreeMap;
use std::fmt;

use drivetrain_model::Nevra;
use drivetrain_rpmfile::{FileFact, FileKind, RpmFile};
use serde::Serialize;

/// A path that two packages bring with different contents: rpm installs neither beside the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FileConflict {
    /// The path.
    pub path: String,
    /// One package.
    pub package: Nevra,
    /// The other.
    pub other: Nevra,
}

impl fmt::Display for FileConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is in {} and, with another content, in {}", self.path, self.package, self.other)
    }
}

/// The files that packages of one installation want to own against each other.
///
/// By rpm's rules (`handleInstInstalledFile` and `rpmfilesCompare` of its `lib/`): directories are shared, what is only
/// owned (`%ghost`) does not count, and two files are one where type, permissions and content are the same.
#[must_use]
pub fn file_conflicts(packages: &[&RpmFile]) -> Vec<FileConflict> {
    let mut owners: BTreeMap<&str, Vec<(&Nevra, &FileFact)>> = BTreeMap::new();
    for package in packages {
        for file in package.files.iter().filter(|file| !file.ghost) {
            owners.entry(&file.path).or_default().push((&package.nevra, file));
        }
    }
    let mut found = Vec::new();
    for (path, owners) in owners {
        let mut owners = owners.into_iter();
        let Some((package, first)) = owners.next() else { continue };
        found.extend(owners.filter(|(_, file)| !is_same(first, file)).map(|(other, _)| FileConflict {
            path: path.to_owned(),
            package: package.clone(),
            other: other.clone(),
        }));
    }
    found
}

fn is_same(one: &FileFact, other: &FileFact) -> bool {
    if one.kind != other.kind {
        return false;
    }
    match one.kind {
        FileKind::Directory => true,
        FileKind::Symlink => one.link_target == other.link_target,
        FileKind::Regular | FileKind::Special => one.mode == other.mode && one.digest == other.digest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drivetrain_model::{Architecture, Evr};

    fn package(name: &str, files: &[(&str, FileKind, &str)]) -> RpmFile {
        let files = files
            .iter()
            .map(|&(path, kind, content)| FileFact {
                path: path.to_owned(),
                size: 1,
                mode: 0o644,
                kind,
                ghost: content == "ghost",
                digest: (kind == FileKind::Regular).then(|| content.to_owned()),
                modified: 0,
                link_target: (kind == FileKind::Symlink).then(|| content.to_owned()),
                link_group: None,
                spec: false,
            })
            .collect();
        RpmFile {
            nevra: Nevra::new(name, Evr::parse("1-1"), Architecture::parse("x86_64").unwrap()),
            is_source: false,
            source_rpm: None,
            license: String::new(),
            build_time: 0,
            payload_size: None,
            provides: Vec::new(),
            requires: Vec::new(),
            conflicts: Vec::new(),
            obsoletes: Vec::new(),
            recommends: Vec::new(),
            supplements: Vec::new(),
            suggests: Vec::new(),
            enhances: Vec::new(),
            files,
        }
    }

    #[test]
    fn two_contents_of_one_path_are_a_conflict_and_nothing_else_is() {
        use FileKind::{Directory, Regular, Symlink};
        let one = package(
            "one",
            &[
                ("/etc/a", Regular, "1"),
                ("/etc/b", Regular, "1"),
                ("/etc/d", Directory, ""),
                ("/etc/l", Symlink, "a"),
                ("/etc/g", Regular, "1"),
                ("/etc/t", Directory, ""),
            ],
        );
        let other = package(
            "other",
            &[
                ("/etc/a", Regular, "2"),
                ("/etc/b", Regular, "1"),
                ("/etc/d", Directory, ""),
                ("/etc/l", Symlink, "b"),
                ("/etc/g", Regular, "ghost"),
                ("/etc/t", Symlink, "d"),
            ],
        );
        let found: Vec<String> = file_conflicts(&[&one, &other]).iter().map(|one| one.path.clone()).collect();
        assert_eq!(found, ["/etc/a", "/etc/l", "/etc/t"]);
        let text = file_conflicts(&[&one, &other])[0].to_string();
        assert_eq!(text, "/etc/a is in one-1-1.x86_64 and, with another content, in other-1-1.x86_64");
        assert_eq!(file_conflicts(&[&one, &one]), []);
    }
}
