//! Build roots: whole systems of the train's packages, each made once, by which any host builds with the train's tools.

use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{
    CancellationToken, Ending, Host as _, InstallJob, Job, LocalSandbox, RootFs, SandboxSpec,
};
use drivetrain_model::Sha256Digest;
use fs_err as fs;
use rustix::fs::{FlockOperation, flock};

use crate::BuildError;

/// How many roots stay that no run uses: a train's, and those of the trains before it.
const KEPT: usize = 3;
/// How long installing may take; hundreds of packages take a minute on slow disks.
const DEADLINE: Duration = Duration::from_secs(1800);
/// How often a root is looked for that another run is making.
const PAUSE: Duration = Duration::from_millis(500);
/// How much of what rpm said last stands in an error.
const LAST_LINES: usize = 8;

/// A root, which nobody removes while this value is there.
#[derive(Debug)]
pub struct BuildRoot {
    path: Utf8PathBuf,
    _used: fs::File,
}

impl BuildRoot {
    /// As a sandbox sees it.
    #[must_use]
    pub fn file_system(&self) -> RootFs {
        RootFs::Directory(self.path.clone())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }
}

/// The roots of a host, by the digest over what is installed in them.
#[derive(Debug, Clone)]
pub struct BuildRoots {
    directory: Utf8PathBuf,
}

impl BuildRoots {
    /// The roots in a directory, which need not be there.
    #[must_use]
    pub fn new(directory: impl Into<Utf8PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The root of this digest, where it was made before.
    ///
    /// # Errors
    /// Where its lock cannot be had.
    pub async fn existing(&self, digest: Sha256Digest) -> Result<Option<BuildRoot>, BuildError> {
        if !self.place(digest).is_dir() {
            return Ok(None);
        }
        let lock = self.lock(digest, FlockOperation::NonBlockingLockShared).await?;
        // It may have been removed before it was locked.
        let path = self.place(digest);
        Ok(path.is_dir().then(|| BuildRoot { path, _used: lock }))
    }

    /// Makes the root of this digest from packages, each with the name that rpm is to call it by. Whole or not at all;
    /// where another process makes it at this moment, that is waited for.
    ///
    /// # Errors
    /// Where it cannot be made; with the last words of rpm, where it was rpm that failed.
    pub async fn make(
        &self,
        host: &LocalSandbox,
        digest: Sha256Digest,
        packages: Vec<(String, Utf8PathBuf)>,
        log: &Utf8Path,
        cancel: &CancellationToken,
    ) -> Result<BuildRoot, BuildError> {
        fs::create_dir_all(&self.directory).map_err(BuildError::file("create", &self.directory))?;
        let lock = self.lock(digest, FlockOperation::NonBlockingLockExclusive).await?;
        let place = self.place(digest);
        if !place.is_dir() {
            let unfinished = self.directory.join(format!("{digest}.new"));
            // What a killed process left: nobody else has the lock.
            host.remove_directory(&unfinished).await.map_err(BuildError::Host)?;
            fs::create_dir(&unfinished).map_err(BuildError::file("create", &unfinished))?;
            let made = install(host, &unfinished, packages, log, cancel).await;
            if let Err(error) = made {
                // What cannot be removed now, the next one removes.
                drop(host.remove_directory(&unfinished).await);
                return Err(error);
            }
            fs::rename(&unfinished, &place).map_err(BuildError::file("rename", &unfinished))?;
        }
        flock(&lock, FlockOperation::LockShared)
            .map_err(|error| BuildError::file("lock", self.lock_file(digest))(error.into()))?;
        self.sweep(host).await;
        Ok(BuildRoot { path: place, _used: lock })
    }

    fn place(&self, digest: Sha256Digest) -> Utf8PathBuf {
        self.directory.join(digest.to_string())
    }

    fn lock_file(&self, digest: Sha256Digest) -> Utf8PathBuf {
        self.directory.join(format!("{digest}.lock"))
    }

    /// Opens the lock of a root, waits until it is to be had so, and notes that the root is used.
    async fn lock(&self, digest: Sha256Digest, how: FlockOperation) -> Result<fs::File, BuildError> {
        let path = self.lock_file(digest);
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(BuildError::file("open", &path))?;
        loop {
            match flock(&file, how) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(BuildError::file("lock", &path)(error.into())),
            }
        }
        file.file().set_modified(SystemTime::now()).map_err(BuildError::file("touch", &path))?;
        Ok(file)
    }

    /// Removes roots that have not been used for the longest time. What cannot be removed stays: it costs room alone.
    async fn sweep(&self, host: &LocalSandbox) {
        let Ok(entries) = self.directory.read_dir_utf8() else { return };
        let mut unused: Vec<(SystemTime, Utf8PathBuf, fs::File)> = entries
            .flatten()
            .filter(|entry| entry.path().extension() == Some("lock"))
            .filter_map(|entry| {
                let lock = fs::File::open(entry.path()).ok()?;
                let used = lock.metadata().and_then(|metadata| metadata.modified()).ok()?;
                flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
                Some((used, entry.path().with_extension(""), lock))
            })
            .collect();
        unused.sort_by_key(|(used, _, _)| std::cmp::Reverse(*used));
        for (_, root, _lock) in unused.iter().skip(KEPT) {
            drop(host.remove_directory(root).await);
        }
    }
}

async fn install(
    host: &LocalSandbox,
    root: &Utf8Path,
    packages: Vec<(String, Utf8PathBuf)>,
    log: &Utf8Path,
    cancel: &CancellationToken,
) -> Result<(), BuildError> {
    let job = InstallJob { root: root.to_owned(), packages, log: log.to_owned(), deadline: Some(DEADLINE) };
    let mut said: Vec<String> = Vec::new();
    let mut sink = |line: &str| {
        said.push(line.to_owned());
        if said.len() > LAST_LINES {
            said.remove(0);
        }
    };
    let finished = host.install(&job, &mut sink, cancel).await.map_err(BuildError::Host)?;
    let how = match finished.ending {
        Ending::Exited(0) => return settle_database(host, root).await,
        Ending::Exited(code) => format!("rpm ended with {code}"),
        Ending::Killed => "rpm was killed".to_owned(),
        Ending::TimedOut => format!("rpm took more than {} minutes", DEADLINE.as_secs() / 60),
        Ending::Cancelled => "it was interrupted".to_owned(),
    };
    Err(BuildError::Root { how, said: said.join("\n"), log: log.to_owned() })
}

/// Moves the RPM database to where the root's own rpm looks for it: newer distributions have it below
/// `/usr/lib/sysimage`.
async fn settle_database(host: &LocalSandbox, root: &Utf8Path) -> Result<(), BuildError> {
    let job = Job {
        sandbox: SandboxSpec { root: RootFs::Directory(root.to_owned()), ..SandboxSpec::default() },
        program: "rpm".to_owned(),
        arguments: vec!["--eval".to_owned(), "%{_dbpath}".to_owned()],
        directory: "/".into(),
        log: None,
        append: false,
        deadline: Some(Duration::from_secs(30)),
    };
    let mut answer = String::new();
    let mut sink = |line: &str| {
        if answer.is_empty() {
            answer = line.trim().to_owned();
        }
    };
    let finished = host.run(&job, &mut sink, &CancellationToken::new()).await;
    // Without rpm, or with one that does not say, nobody looks for it.
    let asked = finished.is_ok_and(|finished| finished.ending.is_success());
    let wanted = Utf8Path::new(&answer);
    let climbs = wanted.components().any(|part| part.as_str() == "..");
    let Ok(wanted) = wanted.strip_prefix("/") else { return Ok(()) };
    let (from, to) = (root.join(InstallJob::DATABASE), root.join(wanted));
    if !asked || climbs || from == to || to.join("rpmdb.sqlite").exists() {
        return Ok(());
    }
    let parent = to.parent().unwrap_or(root);
    // Links of the packages' making are not followed out of the root.
    let inside = |path: &Utf8Path| {
        path.canonicalize_utf8()
            .is_ok_and(|path| root.canonicalize_utf8().is_ok_and(|root| path.starts_with(root)))
    };
    if !inside(parent) || !inside(&from) {
        return Ok(());
    }
    if to.is_dir() && fs::remove_dir(&to).is_err() {
        return Ok(());
    }
    fs::rename(&from, &to).map_err(BuildError::file("move", &from))
}
