//! What servers start from, made once in a lab.

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use rustix::process::Signal;

use super::Release;
use super::database::Postgres;
use super::home::{Home, Ports};
use super::server::{Options, temporary_directory};
use crate::cmd::{command, run};
use crate::enclosure::{Enclosure, Process};
use crate::stamps::{digest, is_stamped, lock_to_make, lock_to_use, stamp};
use crate::venv;

/// Raised when the code here changes what an installation looks like.
const VERSION: &str = "1";
/// In a part that is there, what it was made from.
const STAMP: &str = "stamp";
/// The administrator's password.
pub(super) const PASSWORD: &str = "password";

/// A Pulp that is installed in a lab: a virtual environment, and a database that is migrated and empty.
#[derive(Debug, Clone)]
pub struct Installation {
    release: Release,
    directory: Utf8PathBuf,
    postgres: Postgres,
    python: &'static str,
    keys: Keys,
}

/// Digests over what the two parts are made from.
#[derive(Debug, Clone)]
struct Keys {
    environment: String,
    template: String,
}

impl Installation {
    /// The installation of a lab, made where there is none or an old one. It takes about a minute, and a network.
    pub fn ensure(lab: &Utf8Path, release: Release) -> Result<Self> {
        let directory = directory(lab, release);
        fs::create_dir_all(&directory)?;
        let installation = Self::at(directory.canonicalize_utf8()?, release)?;
        if installation.use_lock()?.is_some() {
            return Ok(installation);
        }
        let waiting = format!("waiting for those that use the old Pulp ({release}) or make a new one");
        let lock = lock_to_make(&installation.directory, &waiting)?;
        installation.make(lock)?;
        Ok(installation)
    }

    /// The installation of a lab, where it is complete and not an old one.
    pub fn find(lab: &Utf8Path, release: Release) -> Result<Option<Self>> {
        let Ok(directory) = directory(lab, release).canonicalize_utf8() else { return Ok(None) };
        let installation = Self::at(directory, release)?;
        Ok(installation.is_complete().then_some(installation))
    }

    fn at(directory: Utf8PathBuf, release: Release) -> Result<Self> {
        let postgres = Postgres::find()?;
        let (python, version) = venv::python()?;
        let environment = digest(&[VERSION, release.requirements(), &version, directory.as_str()]);
        let user = rustix::process::geteuid().as_raw().to_string();
        let template = digest(&[VERSION, release.requirements(), &postgres.version, &user]);
        let keys = Keys { environment, template };
        Ok(Installation { release, directory, postgres, python, keys })
    }

    /// Which Pulp it is.
    #[must_use]
    pub fn release(&self) -> Release {
        self.release
    }

    /// Its directory in the lab.
    #[must_use]
    pub fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    /// A program of the virtual environment: `pulp`, say, which is pulp-cli.
    #[must_use]
    pub fn program(&self, name: &str) -> Utf8PathBuf {
        self.environment().join("bin").join(name)
    }

    pub(super) fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// What tells this installation's database from another's.
    pub(super) fn key(&self) -> &str {
        &self.keys.template
    }

    fn environment(&self) -> Utf8PathBuf {
        self.directory.join("venv")
    }

    fn template(&self) -> Utf8PathBuf {
        self.directory.join("template")
    }

    /// The stamps are the last to be written.
    fn is_complete(&self) -> bool {
        is_stamped(&self.environment().join(STAMP), &self.keys.environment)
            && is_stamped(&self.template().join(STAMP), &self.keys.template)
    }

    /// A lock that keeps it from being made anew; `None` where it has to be.
    pub(super) fn use_lock(&self) -> Result<Option<File>> {
        lock_to_use(&self.directory, || self.is_complete())
    }

    fn make(&self, lock: File) -> Result<()> {
        let started = Instant::now();
        // Who is killed leaves no pip behind that goes on installing, and the lock until it has ended.
        let enclosure = Enclosure::new(None, Some(lock))?;
        if !is_stamped(&self.environment().join(STAMP), &self.keys.environment) {
            crate::say(format_args!("installing Pulp ({})", self.release));
            self.make_environment(&enclosure)?;
        }
        if !is_stamped(&self.template().join(STAMP), &self.keys.template) {
            crate::say(format_args!("migrating a database for Pulp ({})", self.release));
            self.make_template()?;
        }
        crate::say(format_args!(
            "Pulp ({}) is there after {:.1} s",
            self.release,
            started.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// What a killed one leaves has no stamp.
    fn make_environment(&self, enclosure: &Enclosure) -> Result<()> {
        let environment = self.environment();
        venv::make(enclosure, self.python, &environment, self.release.requirements())?;
        stamp(&environment.join(STAMP), &self.keys.environment)
    }

    fn make_template(&self) -> Result<()> {
        let directory = temporary_directory()?;
        let enclosure = Enclosure::new(Some(&directory), None)?;
        let home = Home::create(&directory)?;
        let process = self.migrated(&enclosure, &home)?;
        // Ended orderly: what is copied needs no recovery.
        process.end(Signal::INT, Duration::from_secs(60));
        self.keep(&home)
    }

    /// A running database with Pulp's tables and its administrator in it.
    fn migrated(&self, enclosure: &Enclosure, home: &Home) -> Result<Process> {
        self.postgres.initialise(enclosure, home)?;
        let process = self.postgres.start(enclosure, home)?;
        self.postgres.sql(home, "postgres", "CREATE ROLE pulp LOGIN")?;
        self.postgres.sql(home, "postgres", "CREATE DATABASE pulp OWNER pulp ENCODING 'UTF8'")?;
        // A Fernet key: 32 random bytes.
        let key = "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())";
        fs::write(home.encryption_key(), run(command(self.program("python")).args(["-c", key]))?)?;
        home.write_settings(Ports { api: 24817, content: 24816 }, &Options::default())?;
        let manage =
            |arguments: &[&str]| run(home.program(enclosure, self, "pulpcore-manager").args(arguments));
        manage(&["migrate", "--noinput"])?;
        manage(&["reset-admin-password", "--password", PASSWORD])?;
        Ok(process)
    }

    /// Puts a database that has ended into place.
    fn keep(&self, home: &Home) -> Result<()> {
        let aside = self.directory.join("template.new");
        remove(&aside)?;
        fs::create_dir(&aside)?;
        copy(&home.database(), &aside.join("pg"))?;
        copy(&home.encryption_key(), &aside.join("key"))?;
        stamp(&aside.join(STAMP), &self.keys.template)?;
        remove(&self.template())?;
        fs::rename(aside, self.template())?;
        Ok(())
    }

    /// Gives a server a database of its own.
    pub(super) fn copy_template(&self, home: &Home) -> Result<()> {
        remove(&home.database())?;
        copy(&self.template().join("key"), &home.encryption_key())?;
        copy(&self.template().join("pg"), &home.database())
    }
}

fn directory(lab: &Utf8Path, release: Release) -> Utf8PathBuf {
    lab.join("pulp").join(release.name())
}

fn remove(directory: &Utf8Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    Ok(())
}

/// With owners and modes: PostgreSQL insists on both.
fn copy(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    run(command("cp").args(["-a", "--reflink=auto", "--"]).args([from, to]))?;
    Ok(())
}
