//! Finished components, kept by key.
//!
//! `<directory>/<key>/` has the RPMs, `manifest.json` and the `log` of the build that made them. An entry is
//! written beside and renamed into place, so there are no half entries; and what is read is checked against
//! the manifest first, so a damaged one is built again.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_model::{Capability, ComponentName, KernelRelease, Nevra, Sha256Digest};
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::packages::BuiltPackage;
use crate::{ComponentError, Outcome};

const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
const LOG: &str = "log";

/// Putting an entry in takes seconds; after this time nobody is at it any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// The cache of finished components.
#[derive(Debug, Clone)]
pub struct ComponentCache {
    directory: Utf8PathBuf,
}

/// A finished component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CachedComponent {
    format: u32,
    /// The digest over everything that it was made from.
    pub key: Sha256Digest,
    /// The component.
    pub component: ComponentName,
    /// The kernel that its modules are for.
    pub kernel: KernelRelease,
    /// The digest over everything that it was made from but the kernel: builds of one family differ by their kernels
    /// alone. Absent for what was itself made of another build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Sha256Digest>,
    /// What it was made of, where it was not built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repackaged: Option<RepackagedFrom>,
    /// Milliseconds that its build took.
    pub ms: u64,
    /// Its RPMs.
    pub packages: Vec<CachedPackage>,
    /// The entry's directory.
    #[serde(skip)]
    directory: Utf8PathBuf,
}

/// What a component was made of that was not built for its kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepackagedFrom {
    /// The kernel that it was built for.
    pub kernel: KernelRelease,
    /// The key of that build.
    pub key: Sha256Digest,
}

/// One RPM of a finished component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CachedPackage {
    /// Its file's name.
    pub file: String,
    /// Its full name.
    pub nevra: Nevra,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// What it provides; to answer dependents' `BuildRequires`.
    pub provides: Vec<Capability>,
    /// The kernel modules in it, by installed path.
    pub modules: Vec<String>,
    /// Where it is now.
    #[serde(skip)]
    pub path: Utf8PathBuf,
}

impl CachedComponent {
    /// What a run says that takes it: it was not built now.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match &self.repackaged {
            None => Outcome::Reused,
            Some(from) => Outcome::Repackaged { kernel: from.kernel.clone() },
        }
    }

    /// The log of the build that made it.
    #[must_use]
    pub fn log(&self) -> Utf8PathBuf {
        self.directory.join(LOG)
    }
}

impl ComponentCache {
    /// The cache in this directory, which need not exist yet.
    #[must_use]
    pub fn new(directory: impl Into<Utf8PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Whether there is an entry, as far as its manifest and the sizes of its files tell: for the plan, which
    /// must not read gigabytes. [`ComponentCache::get`] is what a build asks.
    #[must_use]
    pub fn contains(&self, key: &Sha256Digest) -> bool {
        self.peek(key).is_some()
    }

    /// The entry, unverified but for its files' sizes.
    #[must_use]
    pub fn peek(&self, key: &Sha256Digest) -> Option<CachedComponent> {
        let entry = self.read(key).ok().flatten()?;
        let sizes_fit = entry
            .packages
            .iter()
            .all(|package| fs::metadata(&package.path).is_ok_and(|metadata| metadata.len() == package.size));
        sizes_fit.then_some(entry)
    }

    /// All entries, as far as their manifests and the sizes of their files tell; those made last come last.
    #[must_use]
    pub fn entries(&self) -> Vec<CachedComponent> {
        let Ok(directory) = self.directory.read_dir_utf8() else { return Vec::new() };
        let mut entries: Vec<_> = directory
            .flatten()
            .filter_map(|entry| {
                let made = entry.metadata().and_then(|metadata| metadata.modified()).ok()?;
                let key = Sha256Digest::parse(entry.file_name()).ok()?;
                Some((made, self.peek(&key)?))
            })
            .collect();
        entries.sort_by_key(|(made, _)| *made);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    /// The entry, with every byte of its RPMs verified. A damaged entry is an error that says what is wrong.
    pub fn get(&self, key: &Sha256Digest) -> Result<Option<CachedComponent>, String> {
        let Some(entry) = self.read(key)? else { return Ok(None) };
        verify(&entry)?;
        Ok(Some(entry))
    }

    fn read(&self, key: &Sha256Digest) -> Result<Option<CachedComponent>, String> {
        self.read_in(key, &self.place(key))
    }

    fn read_in(&self, key: &Sha256Digest, directory: &Utf8Path) -> Result<Option<CachedComponent>, String> {
        let text = match fs::read_to_string(directory.join(MANIFEST)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !directory.exists() => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let mut entry: CachedComponent =
            serde_json::from_str(&text).map_err(|error| format!("{directory}/{MANIFEST}: {error}"))?;
        if entry.format != FORMAT || entry.key != *key {
            return Err(format!("{directory}/{MANIFEST} is not of this key or format"));
        }
        for package in &mut entry.packages {
            if package.file.contains('/') || package.file.starts_with('.') {
                return Err(format!("{directory}/{MANIFEST} names the file {:?}", package.file));
            }
            package.path = directory.join(&package.file);
        }
        directory.clone_into(&mut entry.directory);
        Ok(Some(entry))
    }

    /// Puts a finished component in; returns it with the paths that it has from now on.
    pub(crate) fn put(&self, new: &NewEntry<'_>) -> Result<CachedComponent, ComponentError> {
        let place = self.place(&new.key);
        let temporary = self.incoming(&new.key)?;
        let mut packages = Vec::new();
        for built in new.packages {
            let (source, target) = (new.rpms.join(&built.file), temporary.join(&built.file));
            let (size, sha256) =
                copy_digesting(&source, &target).map_err(ComponentError::file("copy", &source))?;
            packages.push(CachedPackage {
                file: built.file.clone(),
                nevra: built.nevra.clone(),
                size,
                sha256,
                provides: built.provides.clone(),
                modules: built.modules.clone(),
                path: place.join(&built.file),
            });
        }
        if fs::copy(new.log, temporary.join(LOG)).is_err() {
            // The log is kept in the logs directory as well; an entry without one is as good.
        }
        let entry = CachedComponent {
            format: FORMAT,
            key: new.key,
            component: new.component.clone(),
            kernel: new.kernel.clone(),
            family: new.family,
            repackaged: new.repackaged.cloned(),
            ms: new.ms,
            packages,
            directory: place.clone(),
        };
        let manifest = temporary.join(MANIFEST);
        let text = serde_json::to_vec_pretty(&entry)
            .map_err(|error| ComponentError::file("write", &manifest)(error.into()))?;
        fs::write(&manifest, text).map_err(ComponentError::file("write", &manifest))?;
        Ok(self.move_in(&new.key, &temporary)?.unwrap_or(entry))
    }

    /// The files of an entry by name: what [`ComponentCache::import`] of another machine's cache takes.
    #[must_use]
    pub fn files_of(entry: &CachedComponent) -> Vec<String> {
        let packages = entry.packages.iter().map(|package| package.file.clone());
        // The manifest last: what has one is whole.
        packages.chain([MANIFEST.to_owned()]).collect()
    }

    /// Where an entry is, or would be.
    #[must_use]
    pub fn place(&self, key: &Sha256Digest) -> Utf8PathBuf {
        self.directory.join(key.to_string())
    }

    /// A directory beside the entries for one that is on its way. Swept up after an hour.
    pub(crate) fn incoming(&self, key: &Sha256Digest) -> Result<Utf8PathBuf, ComponentError> {
        let incoming = self.directory.join(format!(".{}-{}", key.short(), std::process::id()));
        remove(&incoming)?;
        fs::create_dir_all(&incoming).map_err(ComponentError::file("create", &incoming))?;
        Ok(incoming)
    }

    /// Takes in an entry that another machine made and whose files are in [`ComponentCache::incoming`]: every byte is
    /// compared with its manifest.
    pub(crate) fn import(&self, key: &Sha256Digest, incoming: &Utf8Path) -> Result<CachedComponent, String> {
        let there = self.read_in(key, incoming)?.ok_or("there is no manifest")?;
        verify(&there)?;
        for package in &there.packages {
            fs::set_permissions(&package.path, std::fs::Permissions::from_mode(0o644))
                .map_err(|error| error.to_string())?;
        }
        let theirs = self.move_in(key, incoming).map_err(|error| error.to_string())?;
        let entry = theirs.map_or_else(|| self.read(key), |theirs| Ok(Some(theirs)))?;
        entry.ok_or_else(|| "it is gone again".to_owned())
    }

    /// Renames a whole entry into its place; or returns the one that another run has put there meanwhile.
    fn move_in(
        &self,
        key: &Sha256Digest,
        whole: &Utf8Path,
    ) -> Result<Option<CachedComponent>, ComponentError> {
        let place = self.place(key);
        if fs::rename(whole, &place).is_ok() {
            return Ok(None);
        }
        // Another run was quicker, and somebody may be reading what it put there: equal keys, equal bytes.
        if let Ok(Some(theirs)) = self.get(key) {
            remove(whole)?;
            return Ok(Some(theirs));
        }
        // What is there is damaged.
        remove(&place)?;
        fs::rename(whole, &place).map_err(ComponentError::file("rename", whole))?;
        Ok(None)
    }

    /// Removes what killed runs left half written. Young ones are left alone: their run may be alive.
    pub(crate) fn sweep(&self) {
        for entry in self.directory.read_dir_utf8().into_iter().flatten().flatten() {
            let age =
                entry.metadata().and_then(|metadata| metadata.modified()).ok().map(|made| made.elapsed());
            let old = matches!(age, Some(Ok(age)) if age > ABANDONED);
            if old && entry.file_name().starts_with('.') {
                // Tidiness, and nothing that a build depends on.
                drop(fs::remove_dir_all(entry.path()));
            }
        }
    }
}

/// What [`ComponentCache::put`] takes.
pub(crate) struct NewEntry<'a> {
    pub(crate) key: Sha256Digest,
    pub(crate) component: &'a ComponentName,
    pub(crate) kernel: &'a KernelRelease,
    /// See [`CachedComponent::family`].
    pub(crate) family: Option<Sha256Digest>,
    pub(crate) repackaged: Option<&'a RepackagedFrom>,
    pub(crate) ms: u64,
    pub(crate) packages: &'a [BuiltPackage],
    /// Where the build wrote them.
    pub(crate) rpms: &'a Utf8Path,
    pub(crate) log: &'a Utf8Path,
}

/// That every byte of an entry's RPMs is what its manifest says.
fn verify(entry: &CachedComponent) -> Result<(), String> {
    for package in &entry.packages {
        let (size, digest) = digest_of(&package.path).map_err(|error| error.to_string())?;
        if (size, digest) != (package.size, package.sha256) {
            return Err(format!("{} has changed since it was built", package.path));
        }
    }
    Ok(())
}

fn remove(path: &Utf8Path) -> Result<(), ComponentError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ComponentError::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// The size and SHA-256 of a regular file, which is not held in memory.
///
/// # Errors
/// Where it cannot be read, or is a link or something else.
pub fn digest_of(path: &Utf8Path) -> io::Result<(u64, Sha256Digest)> {
    copy_bytes(&mut open(path)?, &mut io::sink())
}

fn copy_digesting(source: &Utf8Path, target: &Utf8Path) -> io::Result<(u64, Sha256Digest)> {
    let copied = copy_bytes(&mut open(source)?, &mut fs::File::create(target)?)?;
    // After the fact, so that our umask does not count: dependents' builds read it as another user.
    fs::set_permissions(target, std::fs::Permissions::from_mode(0o644))?;
    Ok(copied)
}

/// Opens a file that a build may have made: not through a symbolic link, which could lead to a file that only
/// root may read, and without waiting for the other end of a named pipe.
pub(crate) fn open(path: &Utf8Path) -> io::Result<fs::File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

fn copy_bytes(reader: &mut impl Read, writer: &mut impl Write) -> io::Result<(u64, Sha256Digest)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    let mut size = 0;
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            return Ok((size, Sha256Digest::from_bytes(hasher.finalize().into())));
        }
        hasher.update(&buffer[..count]);
        writer.write_all(&buffer[..count])?;
        size += count as u64;
    }
}

#[cfg(test)]
mod tests;
