//! Where drivetrain keeps what outlives a run.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_model::{Cell, ExitCode, RunId};
use fs_err as fs;

use crate::failure::{Failure, Result};

/// The state directory. Everything in it can be had again; what is published is not in here.
#[derive(Debug, Clone)]
pub struct StateDirectory(Utf8PathBuf);

impl StateDirectory {
    /// Makes the directory where it is missing, readable for its owner only: build logs and journals tell
    /// about a site.
    pub fn open(path: Utf8PathBuf) -> Result<Self> {
        let absolute = camino::absolute_utf8(&path).map_err(|error| unusable(&path, &error))?;
        let state = Self(absolute);
        let make = || -> io::Result<()> {
            if let Some(parent) = state.0.parent() {
                fs::create_dir_all(parent)?;
            }
            match std::fs::DirBuilder::new().mode(0o700).create(&state.0) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            for directory in [state.runs(), state.0.join("cells"), state.scratch()] {
                fs::create_dir_all(&directory)?;
            }
            state.sweep()
        };
        make().map_err(|error| unusable(&path, &error))?;
        Ok(state)
    }

    /// A directory of this process for what is not finished; on the file system of everything else.
    pub fn scratch_directory(&self) -> io::Result<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix(&format!("{}-", std::process::id()))
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir_in(self.scratch())
    }

    /// Removes what killed processes left unfinished. A process that has got the number of a dead one keeps
    /// its leftovers alive until it ends: they cost room, and nothing else.
    fn sweep(&self) -> io::Result<()> {
        for entry in self.scratch().read_dir_utf8()?.flatten() {
            let owner = entry.file_name().split('-').next().and_then(|pid| pid.parse::<u32>().ok());
            let alive = owner.is_some_and(|pid| Utf8Path::new("/proc").join(pid.to_string()).exists());
            if !alive {
                // Another process may be sweeping as well; and what stays, the next one sweeps.
                drop(fs::remove_dir_all(entry.path()));
            }
        }
        Ok(())
    }

    fn scratch(&self) -> Utf8PathBuf {
        self.0.join("tmp")
    }

    /// Takes the directory as it is, for commands that only read.
    pub fn existing(path: Utf8PathBuf) -> Self {
        Self(path)
    }

    /// The default: `/var/lib/drivetrain` for root, the XDG state directory for a user.
    pub fn default_path() -> Utf8PathBuf {
        let from = |name: &str| std::env::var(name).ok().filter(|value| value.starts_with('/'));
        if rustix::process::geteuid().is_root() {
            return "/var/lib/drivetrain".into();
        }
        match (from("XDG_STATE_HOME"), from("HOME")) {
            (Some(state), _) => Utf8PathBuf::from(state).join("drivetrain"),
            (None, Some(home)) => Utf8PathBuf::from(home).join(".local/state/drivetrain"),
            (None, None) => "/var/tmp/drivetrain".into(),
        }
    }

    /// The directory itself.
    pub fn path(&self) -> &Utf8Path {
        &self.0
    }

    /// Fetched files, by checksum.
    pub fn store(&self) -> Utf8PathBuf {
        self.0.join("store")
    }

    /// The machines that were asked for.
    pub fn leases(&self) -> Utf8PathBuf {
        self.0.join("leases")
    }

    /// Repository metadata that changes under its URL.
    pub fn metadata(&self) -> Utf8PathBuf {
        self.0.join("metadata")
    }

    /// What was made of repository metadata, by the checksum of these.
    pub fn indexes(&self) -> Utf8PathBuf {
        self.0.join("indexes")
    }

    /// What was found in source archives that were opened before.
    pub fn sources(&self) -> Utf8PathBuf {
        self.0.join("sources")
    }

    /// Unpacked kernel-devel packages, by checksum.
    pub fn kernels(&self) -> Utf8PathBuf {
        self.0.join("kernels")
    }

    /// Systems of the train's packages that builds see, by what is in them.
    pub fn roots(&self) -> Utf8PathBuf {
        self.0.join("roots")
    }

    /// Components that do not build, by key.
    pub fn failed(&self) -> Utf8PathBuf {
        self.0.join("failed")
    }

    /// Finished components, by key.
    pub fn components(&self) -> Utf8PathBuf {
        self.0.join("components")
    }

    /// The compiler's cache.
    pub fn ccache(&self) -> Utf8PathBuf {
        self.0.join("ccache")
    }

    /// Systems that were installed to be booted, by what is in them.
    pub fn boot_roots(&self) -> Utf8PathBuf {
        self.0.join("boot-roots")
    }

    /// Signatures of modules, by certificate and digest; and what is to be signed elsewhere.
    pub fn signatures(&self) -> Utf8PathBuf {
        self.0.join("signatures")
    }

    /// Where builds take place, unless the configuration says otherwise.
    pub fn work(&self) -> Utf8PathBuf {
        self.0.join("work")
    }

    /// The sandbox's own files.
    pub fn sandbox(&self) -> Utf8PathBuf {
        self.0.join("sandbox")
    }

    /// The digests of the tools, remembered.
    pub fn toolchain(&self) -> Utf8PathBuf {
        self.0.join("toolchain.json")
    }

    /// The records of all runs.
    pub fn runs(&self) -> Utf8PathBuf {
        self.0.join("runs")
    }

    /// The record of one run.
    pub fn run(&self, run: &RunId) -> Utf8PathBuf {
        self.runs().join(run.as_str())
    }

    /// The file whose lock a run of this cell holds.
    pub fn cell_lock(&self, cell: &Cell) -> Utf8PathBuf {
        self.0.join("cells").join(format!("{}.lock", cell.to_string().replace('/', "_")))
    }
}

fn unusable(path: &Utf8Path, error: &io::Error) -> Failure {
    Failure::because(ExitCode::Failure, format!("the state directory {path} cannot be used"), error)
        .next("choose one that you can write to, with --state DIR or DRIVETRAIN_STATE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_a_living_one_makes_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::try_from(directory.path().join("state")).unwrap();
        let state = StateDirectory::open(path.clone()).unwrap();
        let mine = state.scratch_directory().unwrap();
        // Above the largest number that a process can have.
        let left = state.scratch().join("4194305-x/usr");
        fs::create_dir_all(&left).unwrap();
        StateDirectory::open(path).unwrap();
        assert!(mine.path().exists());
        assert!(!left.exists());
    }
}
