//! Which files there are, and what they are.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};

use drivetrain_kmod::is_module_path;

use crate::budget::beyond;
use crate::{Limits, ProveError};

/// The first bytes of the lead: <https://rpm-software-management.github.io/rpm/manual/format_lead.html>.
const RPM_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];

/// A file to read modules from.
#[derive(Debug)]
pub(crate) struct Found {
    pub path: Utf8PathBuf,
    /// The file's name, if no other has the same, or else its path.
    pub label: String,
    /// Somebody named this very file. What is only found in a directory need not have modules.
    pub named: bool,
}

/// A file's error, with its path.
pub(crate) fn reading(path: &Utf8Path) -> impl Fn(io::Error) -> ProveError + '_ {
    |source| ProveError::Read { path: path.to_owned(), source }
}

/// What is there, with symbolic links followed.
pub(crate) fn metadata(path: &Utf8Path) -> Result<Metadata, ProveError> {
    let metadata = fs::metadata(path).map_err(reading(path))?;
    // A pipe would be waited for.
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(ProveError::Special(path.to_owned()));
    }
    Ok(metadata)
}

/// Whether the file is an RPM, of whatever kind.
pub(crate) fn is_rpm(path: &Utf8Path) -> Result<bool, ProveError> {
    let mut head = Vec::new();
    let mut file = File::open(path).map_err(reading(path))?.take(RPM_MAGIC.len() as u64);
    file.read_to_end(&mut head).map_err(reading(path))?;
    Ok(head == RPM_MAGIC)
}

/// Whether a path is that of a module, or of what somebody took for one. What has another compression is found so
/// that it can be refused: left out in silence, it would look as if it had been judged.
pub(crate) fn is_meant_as_module(path: &str) -> bool {
    is_module_path(path)
        || [".ko.bz2", ".ko.lz4", ".ko.lzma", ".ko.lz"].iter().any(|ending| path.ends_with(ending))
}

/// All files to read: those that are named, and below directories every RPM and module, in the order of their
/// paths. A file under several names is read once.
pub(crate) fn find(named: &[Utf8PathBuf], limits: &Limits) -> Result<Vec<Found>, ProveError> {
    let mut found = Finder { limits, files: Vec::new(), seen: HashSet::new() };
    for path in named {
        let metadata = metadata(path)?;
        if metadata.is_dir() { found.below(path)? } else { found.add(path.clone(), &metadata, true)? }
    }
    found.files.sort();
    let count = found.files.len();
    let mut names: HashMap<String, usize> = HashMap::with_capacity(count);
    for (path, _) in &found.files {
        *names.entry(name_of(path)).or_default() += 1;
    }
    let label = |path: &Utf8Path| Some(name_of(path)).filter(|name| names.get(name) == Some(&1));
    let files = found.files.into_iter();
    Ok(files
        .map(|(path, named)| Found { label: label(&path).unwrap_or_else(|| path.to_string()), path, named })
        .collect())
}

/// The RPMs among what is named and what is below directories, in the order of their paths: those that
/// [`crate::read_modules`] reads.
///
/// # Errors
/// Where something cannot be read, or there is more than the limits allow.
pub fn packages_below(named: &[Utf8PathBuf], limits: &Limits) -> Result<Vec<Utf8PathBuf>, ProveError> {
    let mut packages = Vec::new();
    for found in find(named, limits)? {
        if is_rpm(&found.path)? {
            packages.push(found.path);
        }
    }
    Ok(packages)
}

fn name_of(path: &Utf8Path) -> String {
    path.file_name().unwrap_or(path.as_str()).to_owned()
}

struct Finder<'a> {
    limits: &'a Limits,
    /// Paths, and whether they were named.
    files: Vec<(Utf8PathBuf, bool)>,
    /// Devices and inodes.
    seen: HashSet<(u64, u64)>,
}

impl Finder<'_> {
    fn add(&mut self, path: Utf8PathBuf, metadata: &Metadata, named: bool) -> Result<(), ProveError> {
        if !self.seen.insert((metadata.dev(), metadata.ino())) {
            return Ok(());
        }
        if self.files.len() >= self.limits.count {
            return Err(beyond(path.as_str(), "what is to be read", self.limits.count as u64, "files"));
        }
        self.files.push((path, named));
        Ok(())
    }

    /// Links to directories are not followed: they lead in circles, and out of what was named.
    fn below(&mut self, directory: &Utf8Path) -> Result<(), ProveError> {
        let mut open = vec![directory.to_owned()];
        while let Some(directory) = open.pop() {
            for (path, kind) in entries(&directory)? {
                if kind.is_dir() {
                    open.push(path);
                } else if is_meant_as_module(path.as_str()) || path.as_str().ends_with(".rpm") {
                    let metadata = metadata(&path)?;
                    if metadata.is_file() {
                        self.add(path, &metadata, false)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// What is in a directory, by name.
pub(crate) fn entries(directory: &Utf8Path) -> Result<Vec<(Utf8PathBuf, fs::FileType)>, ProveError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(reading(directory))? {
        let entry = entry.map_err(reading(directory))?;
        let path = Utf8PathBuf::from_path_buf(entry.path())
            .map_err(|path| ProveError::Name(path.to_string_lossy().into_owned()))?;
        let kind = entry.file_type().map_err(reading(&path))?;
        entries.push((path, kind));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(entries)
}
