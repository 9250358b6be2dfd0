//! From proven packages to a repository that is served.

use std::collections::BTreeMap;

use drivetrain_config::{ChannelName, Config, Location, PublishTarget, VendorVisibility, Verify};
use drivetrain_model::{Cell, Event, ExitCode, RunId};
use drivetrain_publish::{
    Address, Change, ConsumerSettings, Depth, Outcome, Publication, PublishError, RepositoryPath, Target,
    VendorRepository,
};
use jiff::Timestamp;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::publisher::failed;
use crate::stage::plan::Planned;
use crate::stage::prove::Proven;
use crate::stage::{blocking, prove, provenance, sign};

/// Makes sure that publishing will be possible, before a build is paid for.
pub async fn ensure(context: &Context, config: &Config, address: &Address) -> Result<()> {
    let (target, address) = (context.publisher.made(config)?, address.clone());
    blocking(move || target.ensure(&address)).await?.map_err(|error| failed(&error))
}

/// Asks the target something, where it is there.
pub async fn ask<T: Send + 'static>(
    context: &Context,
    config: &Config,
    path: &RepositoryPath,
    question: impl FnOnce(&dyn Target, &RepositoryPath) -> Result<T, PublishError> + Send + 'static,
) -> Result<Option<T>> {
    let Some(target) = context.publisher.existing(config)? else { return Ok(None) };
    let path = path.clone();
    blocking(move || question(&*target, &path)).await?.map(Some).map_err(|error| failed(&error))
}

/// Reads back what is served. `None` where it is as it was written, otherwise what is wrong.
pub async fn damage(context: &Context, config: &Config, path: &RepositoryPath) -> Result<Option<String>> {
    let check = |target: &dyn Target, path: &RepositoryPath| Ok(target.check(path, Depth::Metadata));
    Ok(match ask(context, config, path, check).await? {
        None => Some("nothing is served".to_owned()),
        Some(checked) => checked.err().map(|error| Failure::of(ExitCode::Publish, &error).one_line()),
    })
}

/// Makes up for what a run that ended in the middle of publishing left undone.
pub async fn settle(context: &Context, config: &Config, path: &RepositoryPath, why: &str) -> Result<()> {
    let change = change(why);
    ask(context, config, path, move |target, path| target.settle(path, &change)).await.map(drop)
}

/// Where consumers find it, and the name of the `.repo` file there.
pub async fn location(
    context: &Context,
    config: &Config,
    path: &RepositoryPath,
) -> Result<(String, Option<String>)> {
    let told = ask(context, config, path, |target, path| Ok((target.url(path)?, target.repo_file()))).await?;
    Ok(match told {
        Some((url, repo_file)) => (url, Some(repo_file.to_owned())),
        None => (path.to_string(), None),
    })
}

/// The address of a cell's repository in a channel, by the configuration.
pub fn address(config: &Config, cell: &Cell, channel: Option<&ChannelName>) -> Result<Address> {
    let name = &config.driver.name;
    let path = RepositoryPath::parse(&config.publish.layout.path(cell, name, channel))
        .map_err(|error| Failure::of(ExitCode::Usage, &error))?;
    let mut address = Address::from(path);
    if let PublishTarget::Pulp(pulp) = &config.publish.target {
        address.repository = pulp.repository.text(cell, name, channel);
        address.distribution = pulp.distribution.text(cell, name, channel);
        let labels = pulp.labels.iter().map(|(key, value)| (key.clone(), value.text(cell, name, channel)));
        address.labels = labels.collect();
    }
    Ok(address)
}

/// Publishes what was proven, with its evidence.
pub async fn publish(
    context: &Context,
    config: &Config,
    planned: &Planned,
    proven: Proven,
    run: &RunId,
    why: &str,
    replace: bool,
) -> Result<()> {
    let key = context.publisher.key(config)?;
    let signed = match &key {
        Some(key) => Some(sign::packages(context, config, key, proven.rpms.clone()).await?),
        None => None,
    };
    let rpms = signed.as_ref().map_or(&proven.rpms, |signed| &signed.rpms).clone();
    let unchanged = proven.as_proven.hand_over(proven.rpms, rpms.clone()).await?;
    let mut evidence = proven.evidence;
    let subject = provenance::Subject {
        made: provenance::of_cell(planned),
        driver_name: config.driver.name.to_string(),
        cell: planned.plan.cell.clone(),
        rpms: &rpms,
        modules: &proven.modules,
        verdicts: Some(proven.verdicts),
        module_signing: planned.module_signing.as_deref(),
        run,
    };
    provenance::add(subject, key.as_deref(), &mut evidence).await?;
    prove::keep(&context.state.run(run), &evidence)?;
    let publication = Publication {
        address: planned.address.clone(),
        driver_name: config.driver.name.to_string(),
        cell: planned.plan.cell.clone(),
        rpms,
        evidence,
        consumers: consumers(config),
        keys: signed.as_ref().map(|signed| signed.keys.clone()).unwrap_or_default(),
        lock: planned.plan.lock.digest(),
        run: run.clone(),
        verdicts: Some(proven.verdicts),
        lockstep: None,
        replace,
        accept: unchanged.and(proven.accept),
        change: change(why),
    };
    let target = context.publisher.made(config)?;
    let published = blocking(move || target.publish(&publication)).await?.map_err(|error| failed(&error))?;
    let (version, unchanged) = match published {
        Outcome::Published(published) => {
            for warning in published.warnings {
                context.reporter.warn(warning);
            }
            (published.version, false)
        }
        Outcome::Unchanged { version } => (version, true),
    };
    let (location, repo_file) = location(context, config, &planned.address.path).await?;
    context.reporter.emit(Event::Published { location, version, unchanged, repo_file });
    Ok(())
}

/// What consumers are told, by the configuration.
pub fn consumers(config: &Config) -> ConsumerSettings {
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
    Change { by: who(), why: why.to_owned(), at: Timestamp::now() }
}

/// Who this is: `user@host`.
pub fn who() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let user = user.unwrap_or_else(|_| format!("uid {}", rustix::process::geteuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{host}")
}

/// Evidence by file name.
pub type Evidence = BTreeMap<String, Vec<u8>>;
