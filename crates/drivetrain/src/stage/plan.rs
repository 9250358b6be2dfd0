//! From the configuration to a plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use drivetrain_build::{CachedComponent, ComponentCache, Toolchain, ToolchainError};
use drivetrain_config::{BuilderKind, Config};
use drivetrain_host::{HostError, LocalSandbox, RootFs, SandboxOptions};
use drivetrain_model::{
    ComponentAction, ComponentName, Event, ExitCode, HeldBack, KernelPolicy, Plan, PlannedComponent, Problem,
    Severity, Sha256Digest,
};
use drivetrain_plan::{
    BootFacts, Components, Existing, RootSet, Selection, ServedLock, Tools, UserspaceSet, expected, families,
    plan, planned_boot, select,
};
use drivetrain_publish::{Address, Record, RepositoryPath};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::publisher::target_words;
use crate::stage::machine::{self, Workshop};
use crate::stage::modsign::{self, ModuleSigning};
use crate::stage::repositories::Repositories;
use crate::stage::{boot, held_back, lockstep, patches, publish, reuse, root, sign, sources, userspace};

/// A plan, with everything that the stages after it need.
pub struct Planned {
    /// The plan itself.
    pub plan: Plan,
    /// What was chosen from the metadata.
    pub selection: Selection,
    /// The components, in order.
    pub components: Components,
    /// The keys of the components whatever the kernel.
    pub families: BTreeMap<ComponentName, Sha256Digest>,
    /// The userspace packages, where any are wanted.
    pub userspace: Option<UserspaceSet>,
    /// The repositories, as they were read.
    pub repositories: Repositories,
    /// What compiles.
    pub toolchain: Toolchain,
    /// Where it is built.
    pub workshop: Workshop,
    /// Where it goes.
    pub address: Address,
    /// Who signs the modules, where anybody does.
    pub module_signing: Option<Arc<ModuleSigning>>,
    /// What its boot is planned by.
    pub boot: BootFacts,
}

/// The packages by which advisories speak of kernels.
pub const KERNELS: &[&str] = &["kernel-core", "kernel"];

/// Makes the plan. Reads much, changes nothing outside of the state directory's caches.
///
/// Where the configuration asks for the newest kernel that the driver builds for, those are passed over that it is known
/// not to build for.
pub async fn make(context: &Context, config: &Config) -> Result<Planned> {
    let mut held_back: Vec<HeldBack> = Vec::new();
    let mut planned = loop {
        let planned = make_but(context, config, &held_back).await.map_err(|failure| {
            // It went well for the kernel before: there is none left.
            if held_back.is_empty() { failure } else { nothing_builds(&held_back, failure) }
        })?;
        if config.train.kernel != KernelPolicy::NewestBuildable {
            break planned;
        }
        match held_back::known(context, &planned.plan) {
            Some(known) => held_back.push(known),
            None => break planned,
        }
    };
    if !held_back.is_empty() {
        let advisories = planned.repositories.advisories(context, config, KERNELS).await?;
        held_back::sort_advisories(&mut planned.plan, &advisories);
        for held in &planned.plan.kernel.held_back {
            context.reporter.emit(Event::HeldBack { held: Box::new(held.clone()) });
        }
    }
    let plan = &planned.plan;
    let taken = |component: &&PlannedComponent| component.action != ComponentAction::Build;
    let reuse = plan.components.iter().filter(taken).count();
    context.reporter.emit(Event::Planned {
        cell: plan.cell.clone(),
        lock: plan.lock.digest(),
        build: plan.components.len() - reuse,
        reuse,
    });
    Ok(planned)
}

/// That the driver builds for no kernel of the train, with the first error for each.
fn nothing_builds(held_back: &[HeldBack], last: Failure) -> Failure {
    let mut failure = Failure::new(ExitCode::Build, "the driver builds for no kernel of the train");
    failure.considered = last.considered;
    for held in held_back {
        let log = held.log.as_ref().map(|log| format!("\nlog: {log}")).unwrap_or_default();
        failure.causes.push(format!("{held}{log}"));
    }
    failure.next(
        "correct the first of these (another driver version, driver.components.exclude); what changes is tried again, \
         and with --retry everything is",
    )
}

/// Makes the plan for the newest kernel that fits, but for these.
async fn make_but(context: &Context, config: &Config, held_back: &[HeldBack]) -> Result<Planned> {
    // What is wrong with it is better known before anything is read.
    let key = context.publisher.key(config)?;
    let module_signing = modsign::read(config)?.map(Arc::new);
    let (here, mut repositories) =
        tokio::try_join!(this_host(context, config), Repositories::read(context, config))?;
    let (workshop, toolchain, mut builder) = match here {
        Some(here) => here,
        None => {
            let (workshop, toolchain, lines) = machine::look(context, config, &repositories).await?;
            (workshop, Some(toolchain), lines)
        }
    };
    let selection = select(config, &repositories.train, &repositories.vendor, held_back)?;
    let mut components = sources::components_of(context, config, &selection).await?;
    patches::choose(context, config, &selection, &mut components).await?;
    let root = root::set(context, config, &mut repositories, &selection, &components).await?;
    builder.extend(root.as_ref().map(RootSet::in_words));
    let (toolchain, packages) = match (root, toolchain) {
        (Some(root), _) => (root.toolchain, root.inputs),
        (None, Some(toolchain)) => (toolchain, Vec::new()),
        (None, None) => return Err(Failure::new(ExitCode::Internal, "nothing is known of what compiles")),
    };
    let own = Arc::new(expected(config, &components));
    let userspace = userspace::make(context, config, &mut repositories, &own).await?;
    let cell = config.cell(selection.kernel.release.clone());
    // What is made is published to the first channel; `promote` takes it to the others.
    let address = publish::address(config, &cell, config.publish.channels.first())?;
    let finished = ComponentCache::new(context.state.components()).entries();
    let (existing, served) = existing(context, config, &address.path, &finished).await?;
    let tools = Tools {
        digest: toolchain.digest,
        description: toolchain.description.clone(),
        kernel_module_package: toolchain.kernel_module_package,
        builder,
        packages,
        signed_by: sign::in_words(config, key.as_deref()),
        modules_signed_by: module_signing.as_ref().map(|signing| signing.in_words()),
    };
    let mut plan = plan(config, &selection, &components, userspace.as_ref(), &tools, &existing);
    let families = families(config, &selection, &components, &tools);
    reuse::choose(context, config, &selection, &families, &finished, &mut plan).await?;
    plan.publication.lockstep = lockstep::in_words(config, &plan.cell)?;
    let boot = boot::facts(context, config, &plan, &workshop, &finished, served.as_ref()).await?;
    plan.boot = planned_boot(config.prove.boot, &plan, boot.clone());
    plan.problems.extend(sign::half_signed(config));
    plan.problems.extend(rolled_back(context, config, &address.path, plan.lock.digest()).await?);
    Ok(Planned {
        plan,
        selection,
        components,
        families,
        userspace,
        repositories,
        toolchain,
        workshop,
        address,
        module_signing,
        boot,
    })
}

/// Where it is built, by which of its own tools, and what the plan says of it.
type Builder = (Workshop, Option<Toolchain>, Vec<String>);

/// This host, where it is the builder.
async fn this_host(context: &Context, config: &Config) -> Result<Option<Builder>> {
    if config.builder.kind != BuilderKind::Sandbox {
        return Ok(None);
    }
    let host = LocalSandbox::new(SandboxOptions::new(context.state.sandbox()))
        .await
        .map_err(|error| no_builder(&error))?;
    if !config.builder.root.is_host() {
        // Its tools are not what builds.
        return Ok(Some((Workshop::Here(Arc::new(host)), None, Vec::new())));
    }
    let toolchain = Toolchain::probe(&host, &RootFs::Host, &context.state.toolchain())
        .await
        .map_err(|error| no_tools(&error))?;
    Ok(Some((Workshop::Here(Arc::new(host)), Some(toolchain), Vec::new())))
}

fn no_builder(error: &HostError) -> Failure {
    Failure::of(ExitCode::Failure, error)
}

fn no_tools(error: &ToolchainError) -> Failure {
    Failure::of(ExitCode::Failure, error)
}

async fn existing(
    context: &Context,
    config: &Config,
    path: &RepositoryPath,
    finished: &[CachedComponent],
) -> Result<(Existing, Option<Record>)> {
    let mut existing =
        Existing { target: target_words(config), path: path.to_string(), ..Existing::default() };
    for entry in finished {
        existing.finished.insert(entry.key);
        // To package another kernel's build takes no time, and says nothing of what a build takes.
        if entry.repackaged.is_none() {
            existing.estimates.insert(entry.component.clone(), entry.ms);
        }
    }
    let state = publish::ask(context, config, path, |target, path| target.state(path)).await?.flatten();
    let record = state.as_ref().and_then(|served| served.record.clone());
    existing.served = state.and_then(|served| {
        Some(ServedLock { version: served.version?, lock: served.record.map(|record| record.lock) })
    });
    Ok((existing, record))
}

/// That what would be published was rolled back: a run would refuse it after all.
async fn rolled_back(
    context: &Context,
    config: &Config,
    path: &RepositoryPath,
    lock: Sha256Digest,
) -> Result<Option<Problem>> {
    let held = publish::ask(context, config, path, move |target, path| target.held_back(path, lock)).await?;
    Ok(held.flatten().map(|entry| Problem {
        severity: Severity::Warning,
        what: format!(
            "{} took this back at {} ({}): a run will not publish the same again",
            entry.by,
            entry.at.strftime("%Y-%m-%d %H:%M:%SZ"),
            entry.why
        ),
        next: "correct what was wrong with it, or publish it with `drivetrain run --undo-rollback`"
            .to_owned(),
    }))
}
