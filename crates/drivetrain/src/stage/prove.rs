//! From RPMs to RPMs of which it is known that the kernel loads what is in them.

use std::path::PathBuf;

use camino::Utf8PathBuf;
use drivetrain_config::Config;
use drivetrain_kmod::VermagicPolicy;
use drivetrain_model::{Event, ExitCode};
use drivetrain_prove::{Limits, Proof, ProveError, ProvenModule, prove, read_kernel, read_modules};
use drivetrain_publish::{Accept, Verdicts};
use fs_err as fs;
use serde::Serialize;
use serde_json::json;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::publisher::failed;
use crate::stage::build::Built;
use crate::stage::plan::Planned;
use crate::stage::publish::Evidence;
use crate::stage::unchanged::AsProven;
use crate::stage::{blocking, install, modsign, reuse, utf8};
use crate::view;

/// Packages that were proven, with the evidence for it. [`make`] makes one of what was built, [`served`] of what was
/// proven before it was published.
pub struct Proven {
    /// The packages to publish.
    pub rpms: Vec<PathBuf>,
    /// What they were when they were proven.
    pub as_proven: AsProven,
    /// Lock, plan, verdicts, timings and logs.
    pub evidence: Evidence,
    /// The modules in them, each by its package.
    pub modules: Vec<ProvenModule>,
    /// What was found, in numbers.
    pub verdicts: Verdicts,
    /// Judges what is to be served as its consumers read it: that it installs just so.
    pub accept: Accept,
    /// Where the packages with signed modules are, for as long as this lives.
    _signed: Option<modsign::Signed>,
    /// Where packages are that were brought here, for as long as this lives.
    _brought: Option<tempfile::TempDir>,
}

/// Judges every module against the kernel that it was built for, and what becomes of the packages on the machines that
/// install them. Nothing unproven leaves here.
pub async fn make(
    context: &Context,
    config: &Config,
    planned: &mut Planned,
    built: Built,
    run: &camino::Utf8Path,
) -> Result<Proven> {
    let (built, signed) = modsign::make(context, planned, built).await?;
    let certificates = planned.module_signing.as_ref().map(|signing| signing.certificates());
    let files: Vec<Utf8PathBuf> = built.packages().map(|package| package.path.clone()).collect();
    let packages: Vec<Utf8PathBuf> = files.iter().chain(&built.userspace).cloned().collect();
    let as_proven = as_made(&built, &packages).await?;
    let release = planned.selection.kernel.release.clone();
    let devel = built.devel.clone();
    let (mut proof, unsigned) = blocking(move || judge(&files, &devel, &release, certificates.as_deref()))
        .await?
        .map_err(|error| Failure::of(ExitCode::Proof, &error))?;
    proof.allow_repackaged(&reuse::packages(planned, &built));
    let mut problems = problems(&proof);
    problems.extend(unsigned.iter().cloned());
    context.reporter.emit(Event::Proven {
        modules: proof.modules.len(),
        symbols: proof.symbols,
        problems: problems.clone(),
    });
    if let Some(untold) = view::proof::untold(&proof) {
        context.reporter.warn(untold);
    }
    let mut evidence = evidence(planned, &built, &proof)?;
    if let (Some(signing), Some(signed)) = (&planned.module_signing, &signed) {
        add(&mut evidence, "signatures.json", &signed.modules)?;
        evidence.extend(signing.files());
    }
    keep(run, &evidence)?;
    if !unsigned.is_empty() {
        let message = "not every module is signed as the configuration says; nothing was published";
        let mut failure = Failure::new(ExitCode::Proof, message);
        failure.causes = unsigned;
        return Err(failure);
    }
    if !proof.verdict.is_good() {
        let mut failure = Failure::new(
            ExitCode::Proof,
            format!(
                "{} would not load everything that was built for it; nothing was published",
                proof.verdict.kernel
            ),
        );
        failure.causes = problems;
        return Err(failure.next(format!("the whole verdict is in {run}/verdicts.json")));
    }
    let (installation, accept) = install::prove(context, config, planned, &packages).await?;
    add(&mut evidence, "installation.json", &installation)?;
    keep(run, &evidence)?;
    let verdicts = Verdicts {
        modules: proof.modules.len(),
        symbols: proof.symbols,
        installed: installation.installation.together.packages.len(),
        from_train: installation.installation.together.train.len(),
        booted: None,
    };
    Ok(Proven {
        rpms: packages.into_iter().map(Into::into).collect(),
        as_proven,
        evidence,
        modules: proof.modules,
        verdicts,
        accept,
        _signed: signed,
        _brought: None,
    })
}

/// What is served for a plan, as it is: it was proven before it was published, and its record says how.
pub async fn served(context: &Context, config: &Config, planned: &Planned) -> Result<Proven> {
    let path = planned.address.path.clone();
    let gone = || Failure::new(ExitCode::Publish, format!("nothing is served at {path} any more"));
    let target = context.publisher.existing(config)?.ok_or_else(gone)?;
    let brought =
        context.state.scratch_directory().map_err(|error| Failure::of(ExitCode::Failure, &error))?;
    let (at, into) = (path.clone(), brought.path().to_owned());
    let (state, rpms) = blocking(move || Ok((target.state(&at)?, target.packages(&at, &into)?)))
        .await?
        .map_err(|error| failed(&error))?;
    let verdicts = state.and_then(|served| served.record).and_then(|record| record.verdicts);
    let files: Vec<Utf8PathBuf> = rpms.iter().map(|path| utf8(path)).collect::<Result<_>>()?;
    let modules = blocking(move || modules_of(&files)).await?;
    let mut evidence = Evidence::new();
    add(&mut evidence, "lock.json", &planned.plan.lock)?;
    Ok(Proven {
        as_proven: AsProven::take(rpms.clone()).await?,
        rpms,
        evidence,
        modules: modules.map_err(|error| Failure::of(ExitCode::Proof, &error))?,
        verdicts: verdicts.ok_or_else(gone)?,
        accept: Accept::default(),
        _signed: None,
        _brought: Some(brought),
    })
}

/// The modules of packages, without a verdict.
fn modules_of(files: &[Utf8PathBuf]) -> std::result::Result<Vec<ProvenModule>, ProveError> {
    read_modules(files, &Limits::default())?.modules.iter().map(ProvenModule::of).collect()
}

/// What the packages are that are about to be proven: those that were built or signed, and the vendor's.
async fn as_made(built: &Built, packages: &[Utf8PathBuf]) -> Result<AsProven> {
    let as_proven = AsProven::take(packages.iter().map(Into::into).collect()).await?;
    for package in built.packages() {
        as_proven.require(package.path.as_std_path(), package.sha256)?;
    }
    Ok(as_proven)
}

/// Whether the kernel loads the modules in these packages; and which of them lack a signature, where any are asked for.
pub(super) fn judge(
    files: &[Utf8PathBuf],
    devel: &camino::Utf8Path,
    release: &drivetrain_model::KernelRelease,
    certificates: Option<&[drivetrain_modsign::Certificate]>,
) -> Result<(Proof, Vec<String>), ProveError> {
    let kernel = read_kernel(devel, Some(release))?;
    let modules = read_modules(files, &Limits::default())?;
    let unsigned = certificates.map(|certificates| modsign::unsigned(&modules.modules, certificates));
    let proof = prove(&modules.modules, &kernel, VermagicPolicy::Exact)?;
    Ok((proof, unsigned.unwrap_or_default()))
}

/// What does not fit, a line each: module, and what is wrong with it.
pub fn problems(proof: &Proof) -> Vec<String> {
    let of_modules = proof.verdict.refused().flat_map(|module| {
        module
            .findings
            .iter()
            .filter(|finding| finding.severity > drivetrain_kmod::Severity::Warning)
            .map(move |finding| format!("{}: {}", module.name, finding.problem))
    });
    let of_set = proof
        .verdict
        .findings
        .iter()
        .filter(|finding| finding.severity > drivetrain_kmod::Severity::Warning)
        .map(|finding| finding.problem.to_string());
    of_modules.chain(of_set).collect()
}

fn evidence(planned: &Planned, built: &Built, proof: &Proof) -> Result<Evidence> {
    let mut evidence = Evidence::new();
    add(&mut evidence, "lock.json", &planned.plan.lock)?;
    add(&mut evidence, "plan.json", &planned.plan)?;
    add(&mut evidence, "verdicts.json", proof)?;
    add(&mut evidence, "build.json", &timings(planned, built))?;
    for component in &built.report.components {
        if let Some(log) = &component.log
            && let Ok(bytes) = fs::read(log)
        {
            evidence.insert(format!("{}.log", component.name), bytes);
        }
    }
    Ok(evidence)
}

pub(super) fn add(evidence: &mut Evidence, name: &str, value: &impl Serialize) -> Result<()> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|error| Failure::of(ExitCode::Internal, &error))?;
    text.push(b'\n');
    evidence.insert(name.to_owned(), text);
    Ok(())
}

fn timings(planned: &Planned, built: &Built) -> serde_json::Value {
    let components = built.report.components.iter().map(|component| {
        let phases: serde_json::Map<String, serde_json::Value> =
            component.phases.iter().map(|time| (time.phase.to_string(), time.ms.into())).collect();
        let mut of_plan = planned.plan.components.iter();
        let action = of_plan.find(|planned| planned.name == component.name).map(|planned| &planned.action);
        json!({
            "component": component.name,
            "key": component.key,
            "action": action,
            "outcome": component.outcome.to_event(),
            "ms": component.ms,
            "cpu_ms": component.cpu_ms,
            "phases_ms": phases,
            "packages": component.packages.iter().map(|package| json!({
                "nevra": package.nevra, "size": package.size, "sha256": package.sha256,
            })).collect::<Vec<_>>(),
        })
    });
    json!({ "components": components.collect::<Vec<_>>() })
}

/// Keeps the evidence with the run as well, published or not.
pub(super) fn keep(run: &camino::Utf8Path, evidence: &Evidence) -> Result<()> {
    for (name, bytes) in evidence.iter().filter(|(name, _)| name.ends_with(".json")) {
        fs::write(run.join(name), bytes).map_err(|error| Failure::of(ExitCode::Failure, &error))?;
    }
    Ok(())
}
