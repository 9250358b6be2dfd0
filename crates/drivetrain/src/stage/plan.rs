//! From the configuration to a plan.

use std::sync::Arc;

use drivetrain_build::{ComponentCache, Toolchain, ToolchainError};
use drivetrain_config::{Config, Publish, Repository};
use drivetrain_host::{HostError, LocalSandbox, RootFs, SandboxOptions};
use drivetrain_model::{Cell, ComponentAction, Event, ExitCode, Plan, RepositoryId};
use drivetrain_plan::{
    Components, Existing, RepositoryMetadata, Selection, ServedLock, Tools, components, plan, select,
};
use drivetrain_publish::{DirectoryTarget, RepositoryPath};
use futures_util::future::try_join_all;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::stage::{metadata, publish, sources, target_words};

/// A plan, with everything that the stages after it need.
pub struct Planned {
    /// The plan itself.
    pub plan: Plan,
    /// What was chosen from the metadata.
    pub selection: Selection,
    /// The components, in order.
    pub components: Components,
    /// What compiles.
    pub toolchain: Toolchain,
    /// What runs the build.
    pub host: Arc<LocalSandbox>,
    /// Where below the target it goes.
    pub path: RepositoryPath,
}

/// Makes the plan. Reads much, changes nothing outside of the state directory's caches.
pub async fn make(context: &Context, config: &Config) -> Result<Planned> {
    let ((host, toolchain), (train, vendor)) =
        tokio::try_join!(builder(context), repositories(context, config))?;
    let selection = select(config, &train, &vendor)?;
    let mut found = sources::vendor(context, config, &selection.source).await?;
    found.extend(sources::extra(context, config).await?);
    let components = components(config, &found)?;
    let cell = config.cell(selection.kernel.release.clone());
    let path = repository_path(config, &cell)?;
    let existing = existing(context, config, &path)?;
    let tools = Tools {
        digest: toolchain.digest,
        description: toolchain.description.clone(),
        kernel_module_package: toolchain.kernel_module_package,
    };
    let plan = plan(config, &selection, &components, &tools, &existing);
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
    Ok(Planned { plan, selection, components, toolchain, host, path })
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

async fn repositories(
    context: &Context,
    config: &Config,
) -> Result<(Vec<RepositoryMetadata>, RepositoryMetadata)> {
    let kernels = ["kernel-core", "kernel-devel"].map(str::to_owned);
    let source = [config.driver.source.clone()];
    let driver = config.driver.repository_id.clone();
    let all: Vec<(RepositoryId, &Repository)> = config.repositories().collect();
    let reading = all.iter().map(|(id, repository)| {
        let names: &[String] = if *id == driver { &source } else { &kernels };
        metadata::read(context, id, repository, names)
    });
    let mut read = try_join_all(reading).await?;
    // The driver's is the last of `Config::repositories`.
    match read.pop() {
        Some(vendor) => Ok((read, vendor)),
        None => Err(Failure::new(ExitCode::Internal, "a configuration without repositories")),
    }
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

fn served(target: &DirectoryTarget, path: &RepositoryPath) -> Result<Option<ServedLock>> {
    use drivetrain_publish::Target as _;
    let state = target.state(path).map_err(|error| Failure::of(ExitCode::Publish, &error))?;
    Ok(state.and_then(|served| {
        Some(ServedLock { version: served.version?, lock: served.manifest.map(|manifest| manifest.lock) })
    }))
}
