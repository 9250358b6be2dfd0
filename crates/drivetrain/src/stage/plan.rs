//! From the configuration to a plan.

use std::sync::Arc;

use drivetrain_build::{ComponentCache, Toolchain, ToolchainError};
use drivetrain_config::{Config, Publish};
use drivetrain_host::{HostError, LocalSandbox, RootFs, SandboxOptions};
use drivetrain_model::{Cell, ComponentAction, Event, ExitCode, Plan, Problem, Severity, Sha256Digest};
use drivetrain_plan::{
    Components, Existing, Selection, ServedLock, Tools, UserspaceSet, expected, plan, select,
};
use drivetrain_publish::{DirectoryTarget, RepositoryPath};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::stage::repositories::Repositories;
use crate::stage::{publish, sources, target_words, userspace};

/// A plan, with everything that the stages after it need.
pub struct Planned {
    /// The plan itself.
    pub plan: Plan,
    /// What was chosen from the metadata.
    pub selection: Selection,
    /// The components, in order.
    pub components: Components,
    /// The userspace packages, where any are wanted.
    pub userspace: Option<UserspaceSet>,
    /// The repositories, as they were read.
    pub repositories: Repositories,
    /// What compiles.
    pub toolchain: Toolchain,
    /// What runs the build.
    pub host: Arc<LocalSandbox>,
    /// Where below the target it goes.
    pub path: RepositoryPath,
}

/// Makes the plan. Reads much, changes nothing outside of the state directory's caches.
pub async fn make(context: &Context, config: &Config) -> Result<Planned> {
    let ((host, toolchain), mut repositories) =
        tokio::try_join!(builder(context), Repositories::read(context, config))?;
    let selection = select(config, &repositories.train, &repositories.vendor)?;
    let components = sources::components_of(context, config, &selection).await?;
    let own = Arc::new(expected(config, &components));
    let userspace = userspace::make(context, config, &mut repositories, &own).await?;
    let cell = config.cell(selection.kernel.release.clone());
    let path = repository_path(config, &cell)?;
    let existing = existing(context, config, &path)?;
    let tools = Tools {
        digest: toolchain.digest,
        description: toolchain.description.clone(),
        kernel_module_package: toolchain.kernel_module_package,
    };
    let mut plan = plan(config, &selection, &components, userspace.as_ref(), &tools, &existing);
    plan.problems.extend(rolled_back(config, &path, plan.lock.digest())?);
    let reuse = plan
        .components
        .iter()
        .filter(|component| matches!(component.action, ComponentAction::Reuse { .. }))
        .count();
    context.reporter.emit(Event::Planned {
        cell,
        lock: plan.lock.digest(),
        build: plan.components.len() - reuse,
        reuse,
    });
    Ok(Planned { plan, selection, components, userspace, repositories, toolchain, host, path })
}

/// The path below the target, by the configured layout.
pub fn repository_path(config: &Config, cell: &Cell) -> Result<RepositoryPath> {
    let Publish::Directory(directory) = &config.publish;
    RepositoryPath::parse(&directory.layout.path(cell, &config.driver.name))
        .map_err(|error| Failure::of(ExitCode::Usage, &error))
}

async fn builder(context: &Context) -> Result<(Arc<LocalSandbox>, Toolchain)> {
    let host = LocalSandbox::new(SandboxOptions::new(context.state.sandbox()))
        .await
        .map_err(|error| no_builder(&error))?;
    let toolchain = Toolchain::probe(&host, &RootFs::Host, &context.state.toolchain())
        .await
        .map_err(|error| no_tools(&error))?;
    Ok((Arc::new(host), toolchain))
}

fn no_builder(error: &HostError) -> Failure {
    Failure::of(ExitCode::Failure, error)
}

fn no_tools(error: &ToolchainError) -> Failure {
    Failure::of(ExitCode::Failure, error)
}

fn existing(context: &Context, config: &Config, path: &RepositoryPath) -> Result<Existing> {
    let mut existing =
        Existing { target: target_words(config), path: path.to_string(), ..Existing::default() };
    for entry in ComponentCache::new(context.state.components()).entries() {
        existing.finished.insert(entry.key);
        existing.estimates.insert(entry.component, entry.ms);
    }
    if let Some(target) = publish::existing_target(config)? {
        existing.served = served(&target, path)?;
    }
    Ok(existing)
}

/// That what would be published was rolled back: a run would refuse it after all.
fn rolled_back(config: &Config, path: &RepositoryPath, lock: Sha256Digest) -> Result<Option<Problem>> {
    use drivetrain_publish::Target as _;
    let Some(target) = publish::existing_target(config)? else { return Ok(None) };
    let held = target.held_back(path, lock).map_err(|error| Failure::of(ExitCode::Publish, &error))?;
    Ok(held.map(|entry| Problem {
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

fn served(target: &DirectoryTarget, path: &RepositoryPath) -> Result<Option<ServedLock>> {
    use drivetrain_publish::Target as _;
    let state = target.state(path).map_err(|error| Failure::of(ExitCode::Publish, &error))?;
    Ok(state.and_then(|served| {
        Some(ServedLock { version: served.version?, lock: served.manifest.map(|manifest| manifest.lock) })
    }))
}
