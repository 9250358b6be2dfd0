//! Packages into a root that is booted.

use std::collections::VecDeque;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{CancellationToken, Ending, HostError, InstallJob, LocalSandbox};
use drivetrain_rpmfile::{PayloadLimits, extract};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::BootError;
use crate::program::System;
use crate::text::printable;

/// How long installing may take.
const DEADLINE: Duration = Duration::from_secs(900);
/// How much of what rpm said last stands in an error.
const LAST_LINES: usize = 8;

/// A tree that packages were installed into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledTree {
    /// Where it is.
    pub root: Utf8PathBuf,
    /// How.
    pub how: Installed,
}

impl InstalledTree {
    /// Whether one of these programs can be run in the sandbox with this tree as its system: for that it has to be
    /// installed, and so have the tools by which the sandbox gives up its rights.
    pub(crate) fn runs(&self, programs: &[&str]) -> bool {
        let system = System(&self.root);
        let has = |program: &str| system.find(program).is_some();
        self.how == Installed::ByRpm
            && has("/bin/sh")
            && has("/usr/bin/setpriv")
            && system.first(programs).is_some()
    }
}

/// How packages came into a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Installed {
    /// By rpm in one transaction, with their scripts.
    ByRpm,
    /// Their files alone, since installing takes root and rpm.
    Unpacked,
}

impl Installed {
    /// For people.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::ByRpm => "installed by rpm, with their scripts",
            Self::Unpacked => "unpacked, without their scripts: installing them takes root and rpm",
        }
    }
}

/// Installs packages, verified before, into an empty directory: with rpm, or where this is not root or has no rpm, by
/// unpacking them. Each comes with the name that rpm is to call it by.
///
/// # Errors
/// Where it fails; with the last words of rpm, where it was rpm that failed.
pub async fn install(
    host: &LocalSandbox,
    root: &Utf8Path,
    packages: Vec<(String, Utf8PathBuf)>,
    log: &Utf8Path,
    cancel: &CancellationToken,
) -> Result<InstalledTree, BootError> {
    fs::create_dir_all(root).map_err(BootError::file("create", root))?;
    let job = InstallJob { root: root.to_owned(), packages, log: log.to_owned(), deadline: Some(DEADLINE) };
    let mut said: VecDeque<String> = VecDeque::new();
    let mut sink = |line: &str| {
        said.push_back(printable(line));
        if said.len() > LAST_LINES {
            said.pop_front();
        }
    };
    let finished = match host.install(&job, &mut sink, cancel).await {
        Ok(finished) => finished,
        Err(HostError::NotRoot { .. } | HostError::MissingTool { .. }) => {
            let root = root.to_owned();
            let unpacking = tokio::task::spawn_blocking(move || unpack(&root, &job.packages));
            return unpacking.await.map_err(|error| {
                BootError::Host(HostError::Process {
                    program: "the unpacking".to_owned(),
                    source: std::io::Error::other(error),
                })
            })?;
        }
        Err(error) => return Err(error.into()),
    };
    match finished.ending {
        Ending::Exited(0) => Ok(InstalledTree { root: root.to_owned(), how: Installed::ByRpm }),
        Ending::Cancelled => Err(BootError::Cancelled),
        ending => Err(BootError::Install {
            how: format!("rpm {ending}"),
            said: Vec::from(said).join("; "),
            log: log.to_owned(),
        }),
    }
}

fn unpack(root: &Utf8Path, packages: &[(String, Utf8PathBuf)]) -> Result<InstalledTree, BootError> {
    for (_, package) in packages {
        extract(package.as_std_path(), root.as_std_path(), &PayloadLimits::default(), |_| true)?;
    }
    Ok(InstalledTree { root: root.to_owned(), how: Installed::Unpacked })
}
