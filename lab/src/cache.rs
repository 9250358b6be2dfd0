//! Building only what is stale, and never leaving half of anything behind.
//!
//! An artefact is a directory. Its key is a digest over everything that it is made from; the key of the present
//! one is kept in a stamp beside it. A build happens in a scratch directory which is renamed into place, and the
//! stamp is written last: a killed build is a stale artefact, not a broken one.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use sha2::{Digest as _, Sha256};

/// Raised when the lab's own code changes what an artefact looks like.
const LAB_VERSION: &str = "1";

/// The digest over an artefact's inputs.
#[derive(Clone)]
pub(crate) struct Key(Sha256);

impl Key {
    /// The key of an artefact that has no inputs but the lab itself.
    pub(crate) fn new() -> Self {
        Key(Sha256::new()).with(LAB_VERSION)
    }

    /// Adds an input. Lengths are part of the digest, so that two inputs cannot run into one.
    pub(crate) fn with(mut self, input: impl AsRef<[u8]>) -> Self {
        let input = input.as_ref();
        self.0.update((input.len() as u64).to_le_bytes());
        self.0.update(input);
        self
    }

    /// Adds many inputs.
    pub(crate) fn with_all<T: AsRef<[u8]>>(self, inputs: impl IntoIterator<Item = T>) -> Self {
        inputs.into_iter().fold(self, Key::with)
    }

    /// The digest in hexadecimal.
    pub(crate) fn hex(&self) -> String {
        hex::encode(self.0.clone().finalize())
    }
}

/// Where stamps and scratch directories live.
pub(crate) struct Cache {
    stamps: Utf8PathBuf,
    scratch: Utf8PathBuf,
}

impl Cache {
    /// Opens the cache of the lab in `dir` and clears away what a killed run left.
    pub(crate) fn open(dir: &Utf8Path) -> Result<Self> {
        let cache = Cache { stamps: dir.join("cache/stamps"), scratch: dir.join("tmp") };
        fs::create_dir_all(&cache.stamps)?;
        if cache.scratch.exists() {
            fs::remove_dir_all(&cache.scratch)?;
        }
        fs::create_dir_all(&cache.scratch)?;
        Ok(cache)
    }

    /// Makes `target` unless it is already made from inputs with this key; whether it was made now.
    ///
    /// `build` fills the directory that it is given as `out`, and may use `work` as it likes.
    pub(crate) fn ensure(
        &self,
        name: &str,
        target: &Utf8Path,
        key: &Key,
        build: impl FnOnce(&Space) -> Result<()>,
    ) -> Result<bool> {
        let stamp = self.stamps.join(name);
        let key = key.hex();
        if target.exists() && fs::read_to_string(&stamp).is_ok_and(|present| present == key) {
            return Ok(false);
        }

        let started = std::time::Instant::now();
        crate::say(format_args!("building {name}"));
        let scratch = self.scratch.join(name);
        let space = Space { out: scratch.join("out"), work: scratch.join("work") };
        fs::create_dir_all(&space.out)?;
        fs::create_dir_all(&space.work)?;
        build(&space).with_context(|| format!("building {name}"))?;

        if stamp.exists() {
            fs::remove_file(&stamp)?;
        }
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        if target.exists() {
            fs::rename(target, scratch.join("old"))?;
        }
        fs::rename(&space.out, target)?;
        fs::write(&stamp, key)?;
        fs::remove_dir_all(&scratch)?;
        crate::say(format_args!("built {name} in {:.1} s", started.elapsed().as_secs_f64()));
        Ok(true)
    }
}

/// The directories of one build.
pub(crate) struct Space {
    /// Becomes the artefact.
    pub(crate) out: Utf8PathBuf,
    /// Thrown away.
    pub(crate) work: Utf8PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_do_not_run_into_each_other() {
        assert_ne!(Key::new().with("ab").with("c").hex(), Key::new().with("a").with("bc").hex());
        assert_eq!(Key::new().with_all(["a", "b"]).hex(), Key::new().with("a").with("b").hex());
    }

    #[test]
    fn builds_once_and_leaves_nothing_when_it_fails() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let cache = Cache::open(dir).unwrap();
        let target = dir.join("thing");
        let key = Key::new().with("input");

        let failed = cache.ensure("thing", &target, &key, |space| {
            fs::write(space.out.join("half"), "")?;
            anyhow::bail!("killed")
        });
        assert!(failed.is_err());
        assert!(!target.exists());

        let build = |space: &Space| Ok(fs::write(space.out.join("whole"), "")?);
        let cache = Cache::open(dir).unwrap();
        assert!(cache.ensure("thing", &target, &key, build).unwrap());
        assert!(!cache.ensure("thing", &target, &key, build).unwrap());
        assert!(cache.ensure("thing", &target, &key.with("more"), build).unwrap());
        assert!(target.join("whole").exists() && !target.join("half").exists());
    }
}
