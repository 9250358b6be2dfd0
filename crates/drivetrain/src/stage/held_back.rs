//! Kernels that the driver does not build for: what is remembered of them.
//!
//! A source that does not compile does not compile tomorrow either, from the same inputs by the same tools. So the failure
//! is kept under the component's key, which is a digest over all of these, and counts for as long as that stays.

use drivetrain_build::{BuildReport, Outcome};
use drivetrain_model::{
    Advisory, ComponentAction, ComponentName, HeldBack, KernelChoice, Nevra, Plan, Sha256Digest,
};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::context::Context;

/// A component that did not build from these inputs.
#[derive(Debug, Serialize, Deserialize)]
struct Failed {
    component: ComponentName,
    error: String,
    log: Option<String>,
}

/// Remembers the components that failed by what they are made of. What cannot be kept is tried again.
pub fn remember(context: &Context, report: &BuildReport) {
    for component in &report.components {
        let Outcome::Failed(error) = &component.outcome else { continue };
        if !error.is_of_the_source() {
            continue;
        }
        let directory = context.state.failed();
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&directory)?;
            let temporary = context.state.scratch_directory()?;
            let unfinished = temporary.path().join("failed");
            // The run's own log is written anew by the attempt for the next kernel.
            let log = component.log.as_ref().filter(|log| log.exists());
            let kept = log.map(|log| -> std::io::Result<String> {
                let kept = directory.join(format!("{}.log", component.key));
                fs::copy(log, temporary.path().join("log"))?;
                fs::rename(temporary.path().join("log"), &kept)?;
                Ok(kept.to_string())
            });
            let failed = Failed {
                component: component.name.clone(),
                error: error.to_string(),
                log: kept.transpose()?,
            };
            fs::write(&unfinished, serde_json::to_vec(&failed)?)?;
            fs::rename(unfinished, directory.join(component.key.to_string()))
        };
        if let Err(error) = write() {
            context.reporter.warn(format!("that {} does not build cannot be noted: {error}", component.name));
        }
    }
}

/// Forgets all of them: they are tried again.
pub fn forget(context: &Context) {
    drop(fs::remove_dir_all(context.state.failed()));
}

/// What is remembered of a plan's kernel: the first component that is known to fail.
pub fn known(context: &Context, plan: &Plan) -> Option<HeldBack> {
    let taken = |name: &ComponentName| {
        let mut planned = plan.components.iter().filter(|component| component.name == *name);
        planned.any(|component| component.action != ComponentAction::Build)
    };
    plan.lock.components.iter().filter(|component| !taken(&component.name)).find_map(|component| {
        let failed = read(context, component.key)?;
        Some(HeldBack {
            release: plan.kernel.release.clone(),
            component: failed.component,
            error: failed.error,
            log: failed.log,
            advisories: Vec::new(),
        })
    })
}

fn read(context: &Context, key: Sha256Digest) -> Option<Failed> {
    let bytes = fs::read(context.state.failed().join(key.to_string())).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Gives each kernel that is held back what it brings over the kernel before it.
pub fn sort_advisories(plan: &mut Plan, advisories: &[(Advisory, Vec<Nevra>)]) {
    let considered = &plan.kernel.considered;
    for held in &mut plan.kernel.held_back {
        let position = considered.iter().position(|choice| choice.release == held.release);
        let Some(position) = position else { continue };
        let (this, before) = (&considered[position], considered.get(position + 1));
        held.advisories = advisories
            .iter()
            .filter(|(_, packages)| packages.iter().any(|package| is_between(package, this, before)))
            .map(|(advisory, _)| advisory.clone())
            .collect();
    }
}

/// Whether a package is not newer than a kernel, and newer than the one before it.
fn is_between(package: &Nevra, this: &KernelChoice, before: Option<&KernelChoice>) -> bool {
    package.arch == this.package.arch
        && package.evr <= this.package.evr
        && before.is_none_or(|before| package.evr > before.package.evr)
}
