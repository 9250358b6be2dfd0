//! What clouds start from, made once in a lab.

use std::fs::File;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::home::{self, Home};
use super::server::Server;
use crate::cmd::{command, run};
use crate::enclosure::{Enclosure, is_root};
use crate::stamps::{digest, is_stamped, lock_to_make, lock_to_use, stamp};

/// Raised when the code here changes what an installation looks like.
const VERSION: &str = "1";
const SUITE: &str = "bookworm";
/// What the databases are made by.
const DATABASES: [&str; 4] = ["schema.sh", "databases.sql", "seed_keystone.py", "seed_cloud.py"];
const PACKAGES: &str = include_str!("../../openstack/packages.txt");

/// An OpenStack that is installed in a lab: a root directory, with databases that are ready.
#[derive(Debug, Clone)]
pub struct Installation {
    directory: Utf8PathBuf,
    keys: Keys,
}

/// Digests over what the two parts are made from.
#[derive(Debug, Clone)]
struct Keys {
    packages: String,
    databases: String,
}

impl Installation {
    /// The installation of a lab, made where there is none or an old one. It takes six minutes, and an archive of
    /// Debian's packages.
    pub fn ensure(lab: &Utf8Path) -> Result<Self> {
        let directory = lab.join("openstack");
        fs::create_dir_all(&directory)?;
        let installation = Self::at(directory.canonicalize_utf8()?);
        if installation.use_lock()?.is_some() {
            return Ok(installation);
        }
        ensure!(is_root(), "an OpenStack takes root to be installed and to run");
        let waiting = "waiting for those that use the old OpenStack or make a new one";
        let lock = lock_to_make(&installation.directory, waiting)?;
        installation.make(lock)?;
        Ok(installation)
    }

    /// The installation of a lab, where it is complete and not an old one, and this process may use it.
    #[must_use]
    pub fn find(lab: &Utf8Path) -> Option<Self> {
        let installation = Self::at(lab.join("openstack").canonicalize_utf8().ok()?);
        (is_root() && installation.is_complete()).then_some(installation)
    }

    fn at(directory: Utf8PathBuf) -> Self {
        let packages = digest(&[VERSION, SUITE, PACKAGES]);
        // Settings are written anew for each cloud.
        let filled = |name: &str| DATABASES.contains(&name);
        let files = home::FILES.iter().filter(|(name, _)| filled(name)).map(|(_, text)| *text);
        let databases =
            digest(&[packages.as_str(), home::PLUGIN].into_iter().chain(files).collect::<Vec<_>>());
        Installation { directory, keys: Keys { packages, databases } }
    }

    /// Its directory in the lab.
    #[must_use]
    pub fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    /// The root directory that clouds are overlays of.
    pub(super) fn root(&self) -> Utf8PathBuf {
        self.directory.join("root")
    }

    fn packages_stamp(&self) -> Utf8PathBuf {
        self.directory.join("packages.stamp")
    }

    fn databases_stamp(&self) -> Utf8PathBuf {
        self.directory.join("databases.stamp")
    }

    /// The stamps are the last to be written.
    fn is_complete(&self) -> bool {
        is_stamped(&self.packages_stamp(), &self.keys.packages)
            && is_stamped(&self.databases_stamp(), &self.keys.databases)
    }

    /// A lock that keeps it from being made anew; `None` where it has to be.
    pub(super) fn use_lock(&self) -> Result<Option<File>> {
        lock_to_use(&self.directory, || self.is_complete())
    }

    fn make(&self, lock: File) -> Result<()> {
        let started = Instant::now();
        // Who is killed leaves no program behind that goes on installing, no mount, and the lock until all has ended.
        let enclosure = Enclosure::with_mounts(None, Some(lock))?;
        if !is_stamped(&self.packages_stamp(), &self.keys.packages) {
            crate::say(format_args!("installing OpenStack's packages"));
            self.install_packages(&enclosure)?;
        }
        crate::say(format_args!("making OpenStack's databases"));
        self.make_databases(enclosure)?;
        crate::say(format_args!("OpenStack is there after {:.1} s", started.elapsed().as_secs_f64()));
        Ok(())
    }

    fn install_packages(&self, enclosure: &Enclosure) -> Result<()> {
        for stamp in [self.databases_stamp(), self.packages_stamp()] {
            drop(fs::remove_file(stamp));
        }
        let found = run(command("mmdebstrap").arg("--version"));
        found.context("mmdebstrap is needed (apt-get install mmdebstrap)")?;
        let root = self.root();
        remove(&root)?;
        let packages: Vec<&str> = PACKAGES.lines().collect();
        // No package starts a service of its own.
        let policy = r#"mkdir -p "$1/usr/sbin"; printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d""#;
        let mut mmdebstrap = enclosure.command("mmdebstrap");
        mmdebstrap
            .args(["--quiet", "--mode=root", "--variant=minbase"])
            .arg(format!("--include={}", packages.join(",")))
            .args(["--aptopt=APT::Install-Recommends \"false\"", "--dpkgopt=force-unsafe-io"])
            .args(["doc", "man", "locale"].map(|name| format!("--dpkgopt=path-exclude=/usr/share/{name}/*")))
            .arg(format!("--setup-hook={policy}"))
            .args([SUITE, root.as_str()]);
        run(&mut mmdebstrap)?;
        home::write_plugin(&root)?;
        stamp(&self.packages_stamp(), &self.keys.packages)
    }

    /// Runs a cloud in the root directory itself, once.
    fn make_databases(&self, enclosure: Enclosure) -> Result<()> {
        drop(fs::remove_file(self.databases_stamp()));
        let root = self.root();
        remove(&root.join("lab"))?;
        home::write_plugin(&root)?;
        let logs = self.directory.join("logs");
        remove(&logs)?;
        let home = Home::new(root, logs)?;
        Server::seed(self, home, enclosure)?;
        stamp(&self.databases_stamp(), &self.keys.databases)
    }

    /// Shows a root directory of its own to what runs in an enclosure: only differences are written, into `directory`.
    pub(super) fn overlay(&self, enclosure: &Enclosure, directory: &Utf8Path) -> Result<Utf8PathBuf> {
        let part = |name: &str| directory.join(name);
        for name in ["upper", "work", "root"] {
            fs::create_dir_all(part(name))?;
        }
        let (lower, upper, work) = (self.root(), part("upper"), part("work"));
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        run(enclosure.command("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(part("root")))?;
        Ok(part("root"))
    }
}

/// Stays on one file system: should something be mounted there after all, it is not emptied.
fn remove(directory: &Utf8Path) -> Result<()> {
    run(command("rm").args(["-rf", "--one-file-system", "--", directory.as_str()]))?;
    Ok(())
}
