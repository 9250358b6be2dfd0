//! From proven packages to a repository that is served.

use std::collections::BTreeMap;
use std::path::Path;

use drivetrain_config::{Config, Location, Publish, VendorVisibility, Verify};
use drivetrain_model::{Event, ExitCode, RunId};
use drivetrain_publish::{
    Change, ConsumerSettings, DirectoryOptions, DirectoryTarget, Outcome, Publication, PublishError,
    RepositoryPath, Target as _, VendorRepository,
};
use fs_err as fs;
use jiff::Timestamp;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::stage::blocking;
use crate::stage::plan::Planned;
use crate::stage::prove::Proven;

/// The publication target, in words.
pub fn target_words(config: &Config) -> String {
    let Publish::Directory(directory) = &config.publish;
    format!("directory {}", directory.path)
}

fn options(config: &Config) -> DirectoryOptions {
    let Publish::Directory(directory) = &config.publish;
    DirectoryOptions {
        base_url: directory.base_url.clone(),
        keep: directory.keep,
        ..DirectoryOptions::default()
    }
}

/// The target, if it is there: a plan makes nothing.
pub fn existing_target(config: &Config) -> Result<Option<DirectoryTarget>> {
    let Publish::Directory(directory) = &config.publish;
    if !DirectoryTarget::is_at(directory.path.as_std_path()) {
        return Ok(None);
    }
    DirectoryTarget::open(directory.path.as_std_path(), options(config)).map(Some).map_err(failed)
}

/// The target, made where it is not there.
fn target(config: &Config) -> Result<DirectoryTarget> {
    let Publish::Directory(directory) = &config.publish;
    let make = |path: &Path| fs::create_dir_all(path).map_err(|error| Failure::of(ExitCode::Publish, &error));
    if let Some(parent) = directory.path.parent() {
        make(parent.as_std_path())?;
    }
    DirectoryTarget::open(directory.path.as_std_path(), options(config)).map_err(failed)
}

fn failed(error: PublishError) -> Failure {
    Failure::of(ExitCode::Publish, &error)
}

/// Makes sure that publishing will be possible, before a build is paid for.
pub fn ensure(config: &Config, path: &RepositoryPath) -> Result<()> {
    target(config)?.ensure(path).map_err(failed)
}

/// Reads back what is served. `None` where it is as it was written, otherwise what is wrong.
pub async fn damage(config: &Config, path: &RepositoryPath) -> Result<Option<String>> {
    let Some(target) = existing_target(config)? else { return Ok(Some("nothing is served".to_owned())) };
    let path = path.clone();
    let checked = blocking(move || target.check(&path)).await?;
    Ok(checked.err().map(|error| error.to_string()))
}

/// Makes up for what a run that ended in the middle of publishing left undone.
pub async fn settle(config: &Config, path: &RepositoryPath, why: &str) -> Result<()> {
    let Some(target) = existing_target(config)? else { return Ok(()) };
    let (path, change) = (path.clone(), change(why));
    blocking(move || target.settle(&path, &change)).await?.map_err(failed)
}

/// Where consumers find it.
pub fn location(config: &Config, path: &RepositoryPath) -> Result<String> {
    Ok(match existing_target(config)? {
        Some(target) => target.url(path),
        None => path.to_string(),
    })
}

/// Publishes what was proven, with its evidence.
pub async fn publish(
    context: &Context,
    config: &Config,
    planned: &Planned,
    proven: Proven,
    run: &RunId,
    why: &str,
) -> Result<()> {
    let publication = Publication {
        path: planned.path.clone(),
        driver_name: config.driver.name.to_string(),
        cell: planned.plan.cell.clone(),
        rpms: proven.rpms,
        evidence: proven.evidence,
        consumers: consumers(config),
        lock: planned.plan.lock.digest(),
        run: run.clone(),
        change: change(why),
    };
    let target = target(config)?;
    let location = target.url(&planned.path);
    let outcome = blocking(move || target.publish(&publication)).await?.map_err(failed)?;
    let (version, unchanged) = match outcome {
        Outcome::Published(published) => {
            for warning in published.warnings {
                context.reporter.warn(warning);
            }
            (published.version, false)
        }
        Outcome::Unchanged { version } => (version, true),
    };
    context.reporter.emit(Event::Published { location, version, unchanged });
    Ok(())
}

/// What consumers are told, by the configuration.
fn consumers(config: &Config) -> ConsumerSettings {
    let repository = &config.driver.repository;
    let exposed = config.consumers.vendor == VendorVisibility::Exposed;
    let vendor = exposed.then(|| VendorRepository {
        id: config.driver.repository_id.to_string(),
        url: repository.url.to_string(),
        priority: repository.priority,
        exclude: repository.exclude.iter().chain(&config.consumers.exclude).cloned().collect(),
        verify: repository.verify != Verify::ChecksumsOnly,
        // A key that is a file here is none that consumers could fetch.
        keys: repository
            .keys
            .iter()
            .filter_map(|key| match key {
                Location::Url(url) => Some(url.to_string()),
                Location::Path(_) => None,
            })
            .collect(),
    });
    ConsumerSettings { priority: config.consumers.priority, vendor }
}

/// Who changes what is served, for the record.
pub fn change(why: &str) -> Change {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let user = user.unwrap_or_else(|_| format!("uid {}", rustix::process::geteuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Change { by: format!("{user}@{host}"), why: why.to_owned(), at: Timestamp::now() }
}

/// Evidence by file name.
pub type Evidence = BTreeMap<String, Vec<u8>>;
