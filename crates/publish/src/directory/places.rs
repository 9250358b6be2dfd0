//! Where everything of one repository is.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::files::{make_directory, names, require_directory};
use crate::{Manifest, PublishError, RepositoryPath, Result};

/// The hidden directory below the root. No repository's path can begin with a dot.
pub(crate) const HIDDEN: &str = ".drivetrain";
const VERSIONS: &str = ".versions";
const INCOMING: &str = ".incoming";
const HISTORY: &str = ".history.jsonl";

/// The places of one repository.
pub(crate) struct Places {
    root: PathBuf,
    path: RepositoryPath,
}

impl Places {
    pub(crate) fn new(root: &Path, path: &RepositoryPath) -> Self {
        Self { root: root.to_owned(), path: path.clone() }
    }

    /// The path.
    pub(crate) fn path(&self) -> &RepositoryPath {
        &self.path
    }

    /// The link that consumers use.
    pub(crate) fn link(&self) -> PathBuf {
        self.root.join(self.path.to_path())
    }

    /// The directory of the link.
    pub(crate) fn link_directory(&self) -> PathBuf {
        let mut directory = self.link();
        directory.pop();
        directory
    }

    /// The new link before it takes the place of the old one.
    pub(crate) fn new_link(&self) -> PathBuf {
        let name = self.path.parts().next_back().unwrap_or_default();
        self.link_directory().join(format!(".{name}.new"))
    }

    fn home(&self) -> PathBuf {
        self.root.join(HIDDEN).join(self.path.to_path())
    }

    pub(crate) fn versions(&self) -> PathBuf {
        self.home().join(VERSIONS)
    }

    pub(crate) fn version(&self, version: u64) -> PathBuf {
        self.versions().join(version.to_string())
    }

    pub(crate) fn incoming(&self) -> PathBuf {
        self.home().join(INCOMING)
    }

    pub(crate) fn history(&self) -> PathBuf {
        self.home().join(HISTORY)
    }

    /// What the link has to point to for a version: relative, so that the root can be moved or seen under
    /// another path.
    pub(crate) fn link_target(&self, version: u64) -> PathBuf {
        let mut target: PathBuf = self.path.parts().skip(1).map(|_| "..").collect();
        target.push(HIDDEN);
        target.push(self.path.to_path());
        target.push(VERSIONS);
        target.push(version.to_string());
        target
    }

    /// Makes all directories, one by one, so that no link in the middle is followed.
    pub(crate) fn make(&self) -> Result<()> {
        let hidden = self.root.join(HIDDEN);
        make_directory(&hidden)?;
        make_below(&hidden, self.path.parts())?;
        make_directory(&self.versions())?;
        let parts: Vec<&str> = self.path.parts().collect();
        let (_, parents) = parts.split_last().unwrap_or((&"", &[]));
        make_below(&self.root, parents.iter().copied())?;
        self.served()?;
        Ok(())
    }

    /// The version that the link points to; `None` where there is no link.
    ///
    /// # Errors
    /// Where something else than a link of ours is at its place.
    pub(crate) fn served(&self) -> Result<Option<u64>> {
        let link = self.link();
        // A link further up would be another repository, and lead into one of its versions.
        let mut above = self.root.clone();
        for part in self.path.parts() {
            match fs::symlink_metadata(&above) {
                Ok(_) => require_directory(&above)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            above.push(part);
        }
        let foreign = |what: &str| PublishError::InTheWay {
            path: link.display().to_string(),
            what: format!("{what}, which drivetrain did not make. Remove it, or choose another path"),
        };
        match fs::symlink_metadata(&link) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
            Ok(metadata) if metadata.is_dir() => {
                return Err(foreign("a directory, perhaps with other repositories in it,"));
            }
            Ok(metadata) if !metadata.is_symlink() => return Err(foreign("a file")),
            Ok(_) => {}
        }
        let target = fs::read_link(&link)?;
        let version = target.file_name().and_then(|name| name.to_str()).and_then(parse_version);
        match version {
            Some(version) if target == self.link_target(version) => Ok(Some(version)),
            _ => Err(foreign(&format!("a link to {}", target.display()))),
        }
    }

    /// The versions on disk, oldest first.
    pub(crate) fn on_disk(&self) -> Result<Vec<u64>> {
        let mut versions: Vec<u64> =
            names(&self.versions())?.iter().filter_map(|name| parse_version(name)).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    pub(crate) fn manifest(&self, version: u64) -> Result<Manifest> {
        read_manifest(&self.version(version))
    }
}

/// Reads the manifest of a version's directory.
pub(crate) fn read_manifest(directory: &Path) -> Result<Manifest> {
    let path = directory.join(Manifest::FILE);
    let bytes = fs::read(&path)?;
    serde_json::from_slice(&bytes)
        .map_err(|source| PublishError::Manifest { path: path.display().to_string(), source })
}

fn make_below<'a>(start: &Path, parts: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut directory = start.to_owned();
    for part in parts {
        directory.push(part);
        make_directory(&directory)?;
    }
    Ok(())
}

/// A version's number as it is written; nothing else that happens to be a number (`07`, `+7`).
fn parse_version(name: &str) -> Option<u64> {
    name.parse::<u64>().ok().filter(|version| *version > 0 && version.to_string() == name)
}
