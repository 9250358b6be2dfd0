//! Builds for other kernels that this kernel loads as they are: found when the plan is made, and packaged for it in place
//! of a build.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use drivetrain_build::{CachedComponent, ComponentCache, repackage};
use drivetrain_config::{Config, Reuse};
use drivetrain_kmod::{Problem, Severity};
use drivetrain_model::{
    ComponentAction, ComponentName, ExitCode, KernelRelease, Plan, PlannedReuse, ReuseVerdict, Sha256Digest,
};
use drivetrain_plan::{ReuseCandidate, Selection, reuse, reuse_candidates};
use drivetrain_prove::Proof;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::stage::plan::Planned;
use crate::stage::{blocking, fetch, prove, utf8};

/// Says in a plan which components are taken from another kernel's build, and what was found of those that are not.
pub async fn choose(
    context: &Context,
    config: &Config,
    selection: &Selection,
    families: &BTreeMap<ComponentName, Sha256Digest>,
    finished: &[CachedComponent],
    plan: &mut Plan,
) -> Result<()> {
    if config.driver.reuse == Reuse::Never {
        return Ok(());
    }
    let cache = ComponentCache::new(context.state.components());
    for candidates in reuse_candidates(plan, families, finished) {
        for candidate in candidates {
            // Where it is served already nobody asks for a verdict: only what is at hand is said to be.
            if plan.is_done() && !is_at_hand(&cache, &candidate) {
                continue;
            }
            let found = judge(context, config, selection, &cache, finished, &candidate).await?;
            let taken = !matches!(found, ReuseVerdict::Differs { .. });
            plan.reuse.push(PlannedReuse {
                kernel: candidate.kernel.clone(),
                components: candidate.components.iter().map(|component| component.name.clone()).collect(),
                found,
            });
            if taken {
                reuse(plan, &candidate);
                break;
            }
        }
    }
    Ok(())
}

/// Whether a candidate was taken before, and is there.
fn is_at_hand(cache: &ComponentCache, candidate: &ReuseCandidate) -> bool {
    candidate.components.iter().all(|component| cache.contains(&component.key))
}

/// Whether the kernel loads the modules of a candidate, and finds in them nothing that differs.
async fn judge(
    context: &Context,
    config: &Config,
    selection: &Selection,
    cache: &ComponentCache,
    finished: &[CachedComponent],
    candidate: &ReuseCandidate,
) -> Result<ReuseVerdict> {
    // Their keys say of which build and for which kernel: what is there was found to be the same before.
    if is_at_hand(cache, candidate) {
        return Ok(ReuseVerdict::Taken);
    }
    let devel = context.unless_cancelled(fetch::kernel_devel(context, config, selection)).await?;
    let built = |key: &Sha256Digest| finished.iter().find(|entry| entry.key == *key);
    let packages: Vec<Utf8PathBuf> = candidate
        .components
        .iter()
        .filter_map(|component| built(&component.built))
        .flat_map(|entry| &entry.packages)
        .filter(|package| !package.modules.is_empty())
        .map(|package| package.path.clone())
        .collect();
    let release = selection.kernel.release.clone();
    let judged = blocking(move || prove::judge(&packages, &devel, &release, None)).await?;
    match judged {
        Ok((proof, _)) => Ok(verdict(&proof)),
        Err(error) => {
            // What is damaged is built again, and not a reason to do nothing.
            let (modules, of) = (0, 0);
            Ok(ReuseVerdict::Differs { modules, of, first: Failure::of(ExitCode::Proof, &error).one_line() })
        }
    }
}

/// Identical is more than that the kernel loads them: a symbol without a CRC is loaded, and nobody knows whether it fits.
fn verdict(proof: &Proof) -> ReuseVerdict {
    let differs = |problem: &Problem, severity: Severity| {
        severity == Severity::Fatal
            || severity == Severity::Strict && !matches!(problem, Problem::Release { .. })
    };
    let verdict = &proof.verdict;
    let mut modules = 0;
    let mut first = None;
    for module in &verdict.modules {
        let mut found = module.findings.iter().filter(|finding| differs(&finding.problem, finding.severity));
        if let Some(finding) = found.next() {
            modules += 1;
            first.get_or_insert_with(|| format!("{}: {}", module.name, finding.problem));
        }
    }
    let of_set = verdict.findings.iter().find(|finding| finding.severity > Severity::Warning);
    let first = first.or_else(|| of_set.map(|finding| finding.problem.to_string()));
    match first {
        None => ReuseVerdict::Identical { modules: verdict.modules.len(), symbols: proof.symbols },
        Some(first) => ReuseVerdict::Differs { modules, of: verdict.modules.len(), first },
    }
}

/// Makes the components of a plan that are taken from another kernel's build, where they are not there yet.
pub async fn make(context: &Context, planned: &Planned) -> Result<()> {
    for component in &planned.plan.components {
        let ComponentAction::Repackage { key, kernel, built } = &component.action else { continue };
        make_one(context, &component.name, &planned.plan.kernel.release, *key, kernel, *built).await?;
    }
    Ok(())
}

async fn make_one(
    context: &Context,
    component: &ComponentName,
    kernel: &KernelRelease,
    key: Sha256Digest,
    from: &KernelRelease,
    built: Sha256Digest,
) -> Result<()> {
    let cache = ComponentCache::new(context.state.components());
    // With every byte: a damaged one is made again, as it would be built again.
    if matches!(cache.get(&key), Ok(Some(_))) {
        return Ok(());
    }
    let Some(entry) = cache.peek(&built) else {
        let message = format!("what was built of {component} for {from} is gone since the plan was made");
        return Err(Failure::new(ExitCode::Build, message).next("run again: it will be built"));
    };
    let scratch = context
        .state
        .scratch_directory()
        .map_err(|error| Failure::because(ExitCode::Failure, "there is no room to work in", &error))?;
    let (kernel, place) = (kernel.clone(), utf8(scratch.path())?);
    let made = blocking(move || repackage(&cache, &entry, key, &kernel, &place)).await?;
    made.map(drop).map_err(|error| Failure::of(ExitCode::Build, &error))
}

/// The packages of a run that were not built for its kernel, by their files' names, with the kernel that they were built
/// for.
pub fn packages(planned: &Planned, built: &crate::stage::build::Built) -> BTreeMap<String, KernelRelease> {
    let mut packages = BTreeMap::new();
    for component in &planned.plan.components {
        let ComponentAction::Repackage { kernel, .. } = &component.action else { continue };
        let reports = built.report.components.iter().filter(|report| report.name == component.name);
        let files = reports.flat_map(|report| &report.packages);
        packages.extend(files.map(|package| (package.file.clone(), kernel.clone())));
    }
    packages
}
