//! A real Kayobe, with the Ansible that it takes and the collections of the package `ansible`.
//!
//! What `kayobe control host bootstrap` gets from Ansible Galaxy is not in it: the roles and collections that kayobe's
//! own `requirements.yml` names. Configurations of tests have stand-ins for them, where a playbook cannot be read without.

use std::fs::File;
use std::time::Instant;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::enclosure::Enclosure;
use crate::stamps::{digest, is_stamped, lock_to_make, lock_to_use, stamp};
use crate::venv;

/// Raised when the code here changes what an installation looks like.
const VERSION: &str = "1";
/// In an installation that is there, what it was made from.
const STAMP: &str = "stamp";
const REQUIREMENTS: &str = include_str!("../kayobe/requirements.txt");

/// A Kayobe that is installed in a lab.
#[derive(Debug, Clone)]
pub struct Installation {
    directory: Utf8PathBuf,
    python: &'static str,
    key: String,
}

impl Installation {
    /// The installation of a lab, made where there is none or an old one. It takes a minute, and a network.
    pub fn ensure(lab: &Utf8Path) -> Result<Self> {
        let directory = lab.join("kayobe");
        fs::create_dir_all(&directory)?;
        let installation = Self::at(directory.canonicalize_utf8()?)?;
        if installation.use_lock()?.is_some() {
            return Ok(installation);
        }
        let waiting = "waiting for those that use the old Kayobe or make a new one";
        let lock = lock_to_make(&installation.directory, waiting)?;
        installation.make(lock)?;
        Ok(installation)
    }

    /// The installation of a lab, where it is complete and not an old one.
    pub fn find(lab: &Utf8Path) -> Result<Option<Self>> {
        let Ok(directory) = lab.join("kayobe").canonicalize_utf8() else { return Ok(None) };
        let installation = Self::at(directory)?;
        Ok(installation.is_complete().then_some(installation))
    }

    fn at(directory: Utf8PathBuf) -> Result<Self> {
        let (python, version) = venv::python()?;
        let key = digest(&[VERSION, REQUIREMENTS, &version, directory.as_str()]);
        Ok(Self { directory, python, key })
    }

    /// Its directory in the lab.
    #[must_use]
    pub fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    /// A program of it: `kayobe`, `ansible-vault`.
    #[must_use]
    pub fn program(&self, name: &str) -> Utf8PathBuf {
        self.environment().join("bin").join(name)
    }

    /// A lock that keeps it from being made anew; `None` where it has to be.
    pub fn use_lock(&self) -> Result<Option<File>> {
        lock_to_use(&self.directory, || self.is_complete())
    }

    fn environment(&self) -> Utf8PathBuf {
        self.directory.join("venv")
    }

    fn is_complete(&self) -> bool {
        is_stamped(&self.environment().join(STAMP), &self.key)
    }

    fn make(&self, lock: File) -> Result<()> {
        let started = Instant::now();
        if self.is_complete() {
            return Ok(());
        }
        crate::say(format_args!("installing Kayobe"));
        // Who is killed leaves no pip behind that goes on installing, and the lock until it has ended.
        let enclosure = Enclosure::new(None, Some(lock))?;
        venv::make(&enclosure, self.python, &self.environment(), REQUIREMENTS)?;
        stamp(&self.environment().join(STAMP), &self.key)?;
        crate::say(format_args!("Kayobe is there after {:.1} s", started.elapsed().as_secs_f64()));
        Ok(())
    }
}

/// What tests run: the installation in `DRIVETRAIN_LAB`, or in `.lab` at the top of the workspace. `None`, and a line
/// that says so, where there is none or an old one.
#[must_use]
pub fn installed() -> Option<Installation> {
    let lab = std::env::var("DRIVETRAIN_LAB")
        .map_or_else(|_| Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../.lab"), Utf8PathBuf::from);
    match Installation::find(&lab) {
        Ok(Some(installation)) => Some(installation),
        Ok(None) => {
            println!("skipped: no Kayobe in {lab} (drivetrain-lab kayobe install)");
            None
        }
        Err(error) => {
            println!("skipped: no Kayobe in {lab}: {error:#}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_pinned_to_the_last_package() {
        for line in REQUIREMENTS.lines() {
            let (name, version) = line.split_once("==").unwrap_or_else(|| panic!("{line} is not pinned"));
            assert!(!name.is_empty() && version.starts_with(|c: char| c.is_ascii_digit()), "{line}");
        }
        for name in ["kayobe", "ansible", "ansible-core"] {
            assert!(REQUIREMENTS.lines().any(|line| line.starts_with(&format!("{name}=="))), "{name}");
        }
    }
}
