//! A machine made ready: its disk filled, its packages those of the train, the kernel that is built for running.
//!
//! Each step is a shell script of two functions, `check` and `apply`. It is checked; where it is not done, it is
//! applied and checked again; and what is not done then is an error in the check's own words. So every step can be
//! repeated at any time, and a machine whose preparation was interrupted is prepared again from the beginning, which
//! costs the checks.

mod repositories;
mod step;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{CancellationToken, Machine, Script};
use drivetrain_model::{KernelRelease, Nevra};

pub use repositories::{RepositoryDefinition, repository_file};
use step::{State, Step};

use crate::{MachineError, Result};

/// What a machine is made ready for.
#[derive(Debug, Clone)]
pub struct Preparation {
    /// Whether the root file system is grown to its disk.
    pub grow: bool,
    /// The train's repositories; the only ones that are left.
    pub repositories: Vec<RepositoryDefinition>,
    /// The public keys that the train's packages are signed with, in ASCII armour.
    pub keys: String,
    /// Whether all packages are brought to those of the train.
    pub sync: bool,
    /// Packages to install.
    pub packages: Vec<String>,
    /// The kernel that is built for.
    pub kernel: KernelRelease,
    /// The package that holds it.
    pub kernel_package: Nevra,
    /// Mount points of volumes that programs have to be executed on.
    pub exec: Vec<Utf8PathBuf>,
    /// Whether the machine has to run the kernel that is built for.
    pub boot: bool,
    /// How long a boot may take.
    pub boot_patience: Duration,
}

/// What is told of a preparation while it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A step begins.
    Begins {
        /// What it is, as the beginning of a sentence.
        step: String,
    },
    /// What of it is to be done.
    ToDo {
        /// Which step.
        step: String,
        /// Why.
        why: String,
    },
    /// A step is done.
    Done {
        /// Which.
        step: String,
        /// How that shows.
        because: String,
        /// Whether anything was changed.
        changed: bool,
        /// How long it took.
        took: Duration,
    },
}

/// Who is told.
pub type Tell<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Prepares a machine. All output goes to the end of `log`.
///
/// # Errors
/// With the step that failed, why, and the last lines of what was said; and where the machine runs another kernel
/// than the one that was planned.
pub async fn prepare(
    machine: &dyn Machine,
    preparation: &Preparation,
    log: &Utf8Path,
    tell: Tell<'_>,
    cancel: &CancellationToken,
) -> Result<()> {
    let work = Work { machine, log, tell, cancel };
    for step in preparation.steps() {
        work.take(&step).await?;
    }
    if preparation.boot {
        work.boot(preparation).await?;
    }
    // A unit may have mounted it as it was before.
    for step in preparation.exec_steps() {
        work.take(&step).await?;
    }
    Ok(())
}

impl Preparation {
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.grow {
            steps.push(Step::new("grow the root file system", step::GROW, []));
        }
        if !self.repositories.is_empty() {
            let file = repository_file(&self.repositories, !self.keys.is_empty());
            steps.push(Step::new(
                "use the train's repositories",
                step::REPOSITORIES,
                [("REPO_FILE", file.trim_end().to_owned()), ("KEYS", self.keys.trim_end().to_owned())],
            ));
        }
        if self.sync {
            steps.push(Step::new("bring all packages to the train's", step::SYNC, []));
        }
        if !self.packages.is_empty() {
            let packages = [("PACKAGES", self.packages.join("\n"))];
            steps.push(Step::new("install what builds take", step::PACKAGES, packages));
        }
        if self.boot {
            let kernel =
                [("KERNEL", self.kernel.to_string()), ("KERNEL_PACKAGE", self.kernel_package.to_string())];
            steps.push(Step::new(
                format!("install the kernel {}", self.kernel),
                step::KERNEL,
                kernel.clone(),
            ));
            steps.push(Step::new(format!("make {} boot next", self.kernel), step::BOOT, kernel));
        }
        steps.extend(self.exec_steps());
        steps
    }

    fn exec_steps(&self) -> Vec<Step> {
        let step = |point: &Utf8PathBuf| {
            Step::new(
                format!("let programs on {point} be executed"),
                step::EXEC,
                [("MOUNT_POINT", point.to_string())],
            )
        };
        self.exec.iter().map(step).collect()
    }
}

struct Work<'a> {
    machine: &'a dyn Machine,
    log: &'a Utf8Path,
    tell: Tell<'a>,
    cancel: &'a CancellationToken,
}

impl Work<'_> {
    /// Checks, applies, checks.
    async fn take(&self, step: &Step) -> Result<()> {
        let started = Instant::now();
        (self.tell)(Progress::Begins { step: step.name.clone() });
        let mut changed = false;
        let mut state = self.run(step, "check").await?;
        if let State::ToDo(why) = &state {
            (self.tell)(Progress::ToDo { step: step.name.clone(), why: why.clone() });
            changed = true;
            if let State::Failed(why) = self.run(step, "apply").await? {
                return Err(self.failed(step, why));
            }
            state = self.run(step, "check").await?;
        }
        match state {
            State::Done(because) => {
                let took = started.elapsed();
                (self.tell)(Progress::Done { step: step.name.clone(), because, changed, took });
                Ok(())
            }
            State::ToDo(why) => Err(self.failed(step, format!("it was done, and is not: {why}"))),
            State::Failed(why) => Err(self.failed(step, why)),
        }
    }

    async fn run(&self, step: &Step, function: &str) -> Result<State> {
        let mut script = step.script(function);
        script.log = Some(self.log.to_owned());
        script.append = true;
        let mut said = step::Said::default();
        let mut sink = |line: &str| said.take(line);
        let finished = self.machine.run(&script, &mut sink, self.cancel).await?;
        if self.cancel.is_cancelled() {
            return Err(MachineError::Cancelled);
        }
        Ok(said.state(finished.ending, function))
    }

    fn failed(&self, step: &Step, why: String) -> MachineError {
        MachineError::Preparation {
            machine: self.machine.name().to_owned(),
            step: step.name.clone(),
            why,
            log: self.log.to_string(),
        }
    }

    /// Has the machine run the kernel that is built for.
    async fn boot(&self, preparation: &Preparation) -> Result<()> {
        let started = Instant::now();
        let step = format!("run the kernel {}", preparation.kernel);
        (self.tell)(Progress::Begins { step: step.clone() });
        let running = self.running().await?;
        let changed = running != preparation.kernel.as_str();
        if changed {
            (self.tell)(Progress::ToDo {
                step: step.clone(),
                why: format!("it runs {running}: it is rebooted"),
            });
            self.machine.reboot(preparation.boot_patience, self.cancel).await?;
            let running = self.running().await?;
            if running != preparation.kernel.as_str() {
                return Err(self.another_kernel(preparation, &running).await);
            }
        }
        let because = format!("uname -r says {}", preparation.kernel);
        (self.tell)(Progress::Done { step, because, changed, took: started.elapsed() });
        Ok(())
    }

    async fn running(&self) -> Result<String> {
        Ok(self.lines("uname -r").await?.pop().unwrap_or_default())
    }

    /// What there is to boot, so that a person can see why it was another.
    async fn another_kernel(&self, preparation: &Preparation, running: &str) -> MachineError {
        const LOOK: &str =
            "for file in /boot/loader/loader.conf /efi/loader/loader.conf /boot/efi/loader/loader.conf; do
	[ ! -e $file ] || sed \"s|^|$file: |\" $file
done
for file in /boot/loader/entries/*.conf /efi/loader/entries/*.conf; do
	[ ! -e $file ] || echo \"entry $file\"
done
echo \"machine-id $(cat /etc/machine-id)\"
! command -v grubby >/dev/null || grubby --default-kernel";
        let seen = self.lines(LOOK).await.unwrap_or_default();
        MachineError::AnotherKernel {
            machine: self.machine.name().to_owned(),
            wanted: preparation.kernel.to_string(),
            running: running.to_owned(),
            seen,
        }
    }

    async fn lines(&self, text: &str) -> Result<Vec<String>> {
        let mut script = Script::new(text);
        script.deadline = Some(Duration::from_secs(60));
        let mut lines = Vec::new();
        let mut sink = |line: &str| lines.push(line.to_owned());
        self.machine.run(&script, &mut sink, self.cancel).await?;
        Ok(lines)
    }
}

/// Variables of a script.
pub(crate) type Variables = BTreeMap<String, String>;

#[cfg(test)]
mod tests;
