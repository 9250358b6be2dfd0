//! From what is served for each kernel to the repository that holds kernels and drivers together.
//!
//! It is made of what is served, and not of what was built: what somebody took back for a kernel is not in it, and a
//! kernel that another host published is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use drivetrain_config::{ChannelName, Config, Lockstep as Settings, PublishTarget, Repository};
use drivetrain_fetch::Request;
use drivetrain_model::{
    Cell, Event, Evr, ExitCode, KernelRelease, Nevra, Package, RepositoryId, RunId, Sha256Digest,
};
use drivetrain_plan::{Inventories, files_to_install};
use drivetrain_publish::{
    Address, Depth, Lockstep, LockstepKernel, OfOneKernel, Outcome, Publication, RepositoryPath, Served,
    of_kernel,
};
use drivetrain_rpmfile::{PackageKey, PayloadLimits, RpmFile, rewrite};
use drivetrain_solve::RepositoryIndex;
use fs_err as fs;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cell_lock::CellLock;
use crate::context::{Context, source};
use crate::failure::{Failure, Result};
use crate::publisher::failed;
use crate::stage::install::{self, has_modules, would_be_taken_over};
use crate::stage::keys::Trust;
use crate::stage::plan::Planned;
use crate::stage::publish::{ask, change, consumers, location, settle};
use crate::stage::unchanged::AsProven;
use crate::stage::{blocking, provenance, publish, sign};

/// Stands for all kernels where a kernel's release stands otherwise: in names on a server, and in that of a lock.
const ALL_KERNELS: &str = "lockstep";

/// What changes when it is made in another way, so that what is served is made anew.
const FORMAT: u32 = 1;

/// How it is published.
#[derive(Debug, Clone, Copy)]
pub struct Manner<'a> {
    /// For which run.
    pub run: &'a RunId,
    /// Why.
    pub why: &'a str,
    /// Whether packages may take the place of others of the same name and version.
    pub replace: bool,
    /// Whether what was rolled back may be published again.
    pub undo_rollback: bool,
}

/// Where it is, in a channel; `None` where the configuration asks for none.
pub fn address(config: &Config, cell: &Cell, channel: Option<&ChannelName>) -> Result<Option<Address>> {
    let Some(settings) = &config.publish.lockstep else { return Ok(None) };
    let name = &config.driver.name;
    let path = RepositoryPath::parse(&settings.path.path(cell, name, channel))
        .map_err(|error| Failure::of(ExitCode::Usage, &error))?;
    let mut address = Address::from(path);
    if let PublishTarget::Pulp(pulp) = &config.publish.target {
        let cell = of_all_kernels(cell)?;
        address.repository = pulp.repository.text(&cell, name, channel);
        address.distribution = pulp.distribution.text(&cell, name, channel);
        let labels = pulp.labels.iter().map(|(key, value)| (key.clone(), value.text(&cell, name, channel)));
        address.labels = labels.collect();
    }
    Ok(Some(address))
}

/// What a plan says of it.
pub fn in_words(config: &Config, cell: &Cell) -> Result<Option<String>> {
    let (Some(settings), Some(address)) =
        (&config.publish.lockstep, address(config, cell, config.publish.channels.first())?)
    else {
        return Ok(None);
    };
    let package = settings.package(&config.driver.name);
    Ok(Some(format!("{package} for the newest {} kernels, at {}", settings.keep, address.path)))
}

fn of_all_kernels(cell: &Cell) -> Result<Cell> {
    let kernel =
        KernelRelease::parse(ALL_KERNELS).map_err(|error| Failure::of(ExitCode::Internal, &error))?;
    Ok(Cell { kernel, ..cell.clone() })
}

/// Makes it of what is served now, where that is not what it was made of already. Nothing where none is configured.
pub async fn publish(
    context: &Context,
    config: &Config,
    planned: &mut Planned,
    manner: Manner<'_>,
) -> Result<()> {
    let channel = config.publish.channels.first();
    let cell = planned.plan.cell.clone();
    let (Some(settings), Some(address)) = (&config.publish.lockstep, address(config, &cell, channel)?) else {
        return Ok(());
    };
    // Each of several cells has its own lock, and all of them come here.
    let _alone = CellLock::take(context, &of_all_kernels(&cell)?, manner.run, true).await?;
    settle(context, config, &address.path, manner.why).await?;
    let kernels = served_kernels(context, config, settings, channel, &cell).await?;
    let key = context.publisher.key(config)?;
    let digest = digest(config, settings, &kernels, key.as_deref())?;
    let before = ask(context, config, &address.path, |target, path| target.state(path)).await?.flatten();
    if is_current(context, config, &address.path, before.as_ref(), digest).await? {
        return tell(context, config, &address, before.as_ref().and_then(|served| served.version), true, &[])
            .await;
    }
    let held =
        ask(context, config, &address.path, move |target, path| target.held_back(path, digest)).await?;
    if let (Some(entry), false) = (held.flatten(), manner.undo_rollback) {
        context.reporter.warn(format!(
            "{} took back what {} would serve ({}): it stays as it is, unless --undo-rollback says otherwise",
            entry.by, address.path, entry.why
        ));
        return Ok(());
    }
    let work = Work::new(context, config)?;
    let made = work.make(settings, planned, &kernels, &address.path, before.as_ref()).await?;
    let as_proven = AsProven::take(made.rpms.clone()).await?;
    let proven = work.proven(planned, &made).await?;
    let signed = match &key {
        Some(key) => Some(sign::packages(context, config, key, proven.clone()).await?),
        None => None,
    };
    let rpms = signed.as_ref().map_or_else(|| proven.clone(), |signed| signed.rpms.clone());
    let accept = as_proven.hand_over(proven, rpms.clone()).await?;
    let newest = Cell { kernel: made.newest()?, ..cell };
    let mut evidence = made.evidence()?;
    let subject = provenance::Subject {
        made: provenance::of_several(digest, made.sources.clone()).await?,
        driver_name: config.driver.name.to_string(),
        cell: newest.clone(),
        rpms: &rpms,
        modules: &[],
        verdicts: None,
        module_signing: None,
        run: manner.run,
    };
    provenance::add(subject, key.as_deref(), &mut evidence).await?;
    let publication = Publication {
        address: address.clone(),
        driver_name: config.driver.name.to_string(),
        cell: newest,
        rpms,
        evidence,
        consumers: consumers(config),
        keys: signed.as_ref().map(|signed| signed.keys.clone()).unwrap_or_default(),
        lock: digest,
        run: manner.run.clone(),
        verdicts: None,
        lockstep: Some(made.lockstep.clone()),
        replace: manner.replace,
        accept,
        change: change(manner.why),
    };
    let target = context.publisher.made(config)?;
    let outcome = blocking(move || {
        target.ensure(&publication.address)?;
        target.publish(&publication)
    });
    let (version, unchanged) = match outcome.await?.map_err(|error| failed(&error))? {
        Outcome::Published(published) => {
            for warning in published.warnings {
                context.reporter.warn(warning);
            }
            (published.version, false)
        }
        Outcome::Unchanged { version } => (version, true),
    };
    tell(context, config, &address, Some(version), unchanged, &made.lockstep.kernels).await
}

/// Says that it is served.
async fn tell(
    context: &Context,
    config: &Config,
    address: &Address,
    version: Option<u64>,
    unchanged: bool,
    kernels: &[KernelRelease],
) -> Result<()> {
    let Some(settings) = &config.publish.lockstep else { return Ok(()) };
    let (location, repo_file) = location(context, config, &address.path).await?;
    context.reporter.emit(Event::Lockstep {
        package: settings.package(&config.driver.name),
        kernels: kernels.to_vec(),
        location,
        version: version.unwrap_or_default(),
        unchanged,
        repo_file,
    });
    Ok(())
}

/// The repositories of the newest kernels that are served for this train, driver and architecture; newest first.
async fn served_kernels(
    context: &Context,
    config: &Config,
    settings: &Settings,
    channel: Option<&ChannelName>,
    cell: &Cell,
) -> Result<Vec<Served>> {
    let target = context.publisher.made(config)?;
    let all = blocking(move || target.list()).await?.map_err(|error| failed(&error))?;
    let mut kernels = Vec::new();
    for listed in all {
        let served = listed.served;
        if served.version.is_none() || !is_of_kernel(config, &served, channel, cell) {
            continue;
        }
        match &listed.problem {
            None => kernels.push(served),
            Some(problem) => context.reporter.warn(format!(
                "{} is left out of the repository for all kernels: {}",
                served.path,
                Failure::of(ExitCode::Publish, problem).one_line()
            )),
        }
    }
    kernels.sort_by_key(|served| std::cmp::Reverse(version_of(served)));
    kernels.truncate(usize::try_from(settings.keep).unwrap_or(usize::MAX));
    Ok(kernels)
}

/// Whether a repository is that of a kernel, for the train, driver and architecture of this cell, in this channel.
fn is_of_kernel(config: &Config, served: &Served, channel: Option<&ChannelName>, cell: &Cell) -> bool {
    let Some(record) = &served.record else { return false };
    let same = Cell { kernel: record.cell.kernel.clone(), ..cell.clone() } == record.cell;
    let here = publish::address(config, &record.cell, channel);
    same && record.lockstep.is_none()
        && record.driver_name == config.driver.name.as_str()
        && here.is_ok_and(|address| address.path == served.path)
}

fn version_of(served: &Served) -> Option<Evr> {
    served.record.as_ref().map(|record| Evr::parse(record.cell.kernel.as_str()))
}

/// What decides what it is: the same of it is served already, and need not be made.
fn digest(
    config: &Config,
    settings: &Settings,
    kernels: &[Served],
    key: Option<&PackageKey>,
) -> Result<Sha256Digest> {
    #[derive(Serialize)]
    struct Inputs<'a> {
        format: u32,
        settings: &'a Settings,
        consumers: &'a drivetrain_config::Consumers,
        key: Option<&'a str>,
        kernels: Vec<(&'a str, Option<u64>, String)>,
    }
    let kernel = |served: &'_ Served| {
        let record = served.record.as_ref();
        (record.map(|record| record.lock.to_string()), served.version)
    };
    let inputs = Inputs {
        format: FORMAT,
        settings,
        consumers: &config.consumers,
        key: key.map(PackageKey::fingerprint),
        kernels: kernels
            .iter()
            .map(|served| {
                let (lock, version) = kernel(served);
                (served.path.as_str(), version, lock.unwrap_or_default())
            })
            .collect(),
    };
    let text = serde_json::to_vec(&inputs).map_err(|error| Failure::of(ExitCode::Internal, &error))?;
    Ok(Sha256Digest::of(&text))
}

/// Whether it is served as it would be made, and whole.
async fn is_current(
    context: &Context,
    config: &Config,
    path: &RepositoryPath,
    before: Option<&Served>,
    digest: Sha256Digest,
) -> Result<bool> {
    let Some(record) = before.and_then(|served| served.version.and(served.record.as_ref())) else {
        return Ok(false);
    };
    if record.lock != digest {
        return Ok(false);
    }
    let checked = ask(context, config, path, |target, path| Ok(target.check(path, Depth::Metadata))).await?;
    match checked {
        Some(Ok(_)) => Ok(true),
        Some(Err(problem)) => Err(Failure::because(ExitCode::Publish, format!("{path} is damaged"), &problem).next(
            "something changed its files: move the damaged repository away and run again, it is made of what is served",
        )),
        None => Ok(false),
    }
}

/// A package at hand.
struct Held {
    path: PathBuf,
    header: RpmFile,
}

/// What it consists of.
struct Made {
    lockstep: Lockstep,
    kernels: Vec<LockstepKernel>,
    rpms: Vec<PathBuf>,
    /// The packages that it was made of, each with the URL of the repository that serves it; none where that is the
    /// train, or this repository itself as it was before.
    sources: Vec<(PathBuf, Option<String>)>,
}

impl Made {
    fn newest(&self) -> Result<KernelRelease> {
        let newest = self.lockstep.kernels.first().cloned();
        newest.ok_or_else(|| Failure::new(ExitCode::Internal, "a repository for all kernels without any"))
    }

    /// Which kernels it has, with which packages.
    fn evidence(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let kernels: Vec<_> = self
            .kernels
            .iter()
            .map(|kernel| {
                let modules: Vec<String> = kernel.modules.iter().map(ToString::to_string).collect();
                serde_json::json!({ "kernel": kernel.release, "kernel_core": kernel.core.to_string(), "modules": modules })
            })
            .collect();
        let text = serde_json::to_vec_pretty(
            &serde_json::json!({ "package": self.lockstep.package, "kernels": kernels }),
        )
        .map_err(|error| Failure::of(ExitCode::Internal, &error))?;
        Ok(BTreeMap::from([("lockstep.json".to_owned(), text)]))
    }
}

/// Where it is made.
struct Work<'a> {
    context: &'a Context,
    config: &'a Config,
    directory: tempfile::TempDir,
}

impl<'a> Work<'a> {
    fn new(context: &'a Context, config: &'a Config) -> Result<Self> {
        let directory =
            context.state.scratch_directory().map_err(|error| Failure::of(ExitCode::Failure, &error))?;
        Ok(Self { context, config, directory })
    }

    /// A directory of its own in it.
    fn place(&self, name: &str) -> Result<PathBuf> {
        let place = self.directory.path().join(name);
        fs::create_dir_all(&place).map_err(|error| Failure::of(ExitCode::Failure, &error))?;
        Ok(place)
    }

    /// The packages that are served at a path.
    async fn served(&self, path: &RepositoryPath) -> Result<Vec<Held>> {
        let target = self.context.publisher.made(self.config)?;
        let (place, path) = (self.place(&path.as_str().replace('/', "-"))?, path.clone());
        blocking(move || {
            let files = target.packages(&path, &place).map_err(|error| failed(&error))?;
            files.into_iter().map(held).collect()
        })
        .await?
    }

    async fn make(
        &self,
        settings: &Settings,
        planned: &mut Planned,
        kernels: &[Served],
        path: &RepositoryPath,
        before: Option<&Served>,
    ) -> Result<Made> {
        let earlier = match before.and_then(|served| served.version) {
            Some(_) => self.served(path).await?,
            None => Vec::new(),
        };
        let inventories =
            planned.repositories.look_up_all(self.context, self.config, |_| BTreeSet::new()).await?;
        let mut all = Vec::new();
        // What is beside the modules is the same for all kernels, or as good: what nodes have already stays.
        let mut beside: BTreeMap<Nevra, PathBuf> = BTreeMap::new();
        let (mut rpms, mut sources) = (Vec::new(), Vec::new());
        for served in kernels {
            let Some(record) = &served.record else { continue };
            let release = &record.cell.kernel;
            let Some((core, files)) = self.kernel(release, &earlier, &inventories).await? else { continue };
            let (with, without): (Vec<Held>, Vec<Held>) =
                self.served(&served.path).await?.into_iter().partition(|held| has_modules(&held.header));
            sources.extend(files.iter().map(|file| (file.clone(), None)));
            let taken = with.iter().chain(&without).map(|held| (held.path.clone(), Some(served.url.clone())));
            sources.extend(taken);
            let modules: Vec<Nevra> = with.iter().map(|held| held.header.nevra.clone()).collect();
            rpms.extend(files);
            rpms.extend(self.renamed(release, with, &modules).await?);
            for held in without {
                beside.entry(held.header.nevra.clone()).or_insert(held.path);
            }
            all.push(LockstepKernel { release: release.clone(), core, modules });
        }
        for held in earlier {
            if let Some(path) = beside.get_mut(&held.header.nevra) {
                *path = held.path;
            }
        }
        rpms.extend(beside.into_values());
        let lockstep = Lockstep {
            package: settings.package(&self.config.driver.name),
            kernels: all.iter().map(|kernel| kernel.release.clone()).collect(),
        };
        rpms.push(self.meta(&lockstep, &all, before)?);
        Ok(Made { lockstep, kernels: all, rpms, sources })
    }

    /// The package that nodes install; newer than the one that is served.
    fn meta(
        &self,
        lockstep: &Lockstep,
        kernels: &[LockstepKernel],
        before: Option<&Served>,
    ) -> Result<PathBuf> {
        let made = before.and_then(|served| served.record.as_ref()).map(|record| record.made);
        let after = made.and_then(|made| made.checked_add(SignedDuration::from_secs(1)).ok());
        let moment = after.map_or_else(Timestamp::now, |after| after.max(Timestamp::now()));
        let driver = &self.config.driver;
        let meta = lockstep.meta_package(driver.name.as_str(), &driver.version, kernels, moment);
        let path = self.place("meta")?.join(format!("{}.rpm", meta.name));
        meta.write(&path).map_err(|error| Failure::of(ExitCode::Publish, &error))?;
        Ok(path)
    }

    /// The packages with modules, by names that are for one kernel.
    async fn renamed(
        &self,
        release: &KernelRelease,
        with: Vec<Held>,
        modules: &[Nevra],
    ) -> Result<Vec<PathBuf>> {
        let (place, release, modules) = (self.place(release.as_str())?, release.clone(), modules.to_vec());
        blocking(move || {
            let limits = PayloadLimits::default();
            let one = |(number, held): (usize, &Held)| {
                let to = place.join(format!("{number}.rpm"));
                let mut changes = OfOneKernel::new(&held.header.nevra, &modules, &release);
                rewrite(&held.path, &to, &limits, &mut changes).map(|()| to)
            };
            with.iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()
        })
        .await?
        .map_err(|error: drivetrain_rpmfile::Error| {
            Failure::because(
                ExitCode::Publish,
                "a package cannot be written for one kernel of several",
                &error,
            )
        })
    }

    /// The version of a kernel, and its packages: those that are served already, or the train's. `None`, told, where
    /// neither has it any more.
    async fn kernel(
        &self,
        release: &KernelRelease,
        earlier: &[Held],
        inventories: &Inventories,
    ) -> Result<Option<(Evr, Vec<PathBuf>)>> {
        // Those with modules are for a kernel as well, and are made anew.
        let ours = format!("-{release}");
        let there: Vec<Package> = earlier
            .iter()
            .filter(|held| !held.header.nevra.name.ends_with(&ours))
            .map(|held| install::listed(&held.header, held.path.display().to_string()))
            .collect();
        let served = of_kernel(release, &there.iter().collect::<Vec<_>>());
        if let Some(core) = version_of_core(&served) {
            return Ok(Some((core, served.iter().map(|package| PathBuf::from(&package.location)).collect())));
        }
        let arch = &self.config.train.arch;
        let mut train: Vec<(RepositoryId, Package)> = Vec::new();
        for inventory in &inventories.train {
            let here = inventory.index.packages();
            let fits = here.filter(|package| {
                let of = &package.nevra.arch;
                (of == arch || of.as_str() == "noarch") && !inventory.hidden.contains(&package.nevra)
            });
            train.extend(fits.map(|package| (inventory.id.clone(), package)));
        }
        let bound = of_kernel(release, &train.iter().map(|(_, package)| package).collect::<Vec<_>>());
        let Some(core) = version_of_core(&bound) else {
            self.context.reporter.warn(format!(
                "{release} is left out of the repository for all kernels: the train does not have the kernel any more"
            ));
            return Ok(None);
        };
        let mut files = Vec::new();
        for package in bound {
            let from = train.iter().find(|(_, known)| std::ptr::eq(known, package)).map(|(id, _)| id);
            let repository = self.config.repositories().find(|(id, _)| Some(id) == from);
            if let Some((id, repository)) = repository {
                files.push(self.fetched(&id, repository, package).await?);
            }
        }
        Ok(Some((core, files)))
    }

    /// A package of the train's, verified.
    async fn fetched(
        &self,
        id: &RepositoryId,
        repository: &Repository,
        package: &Package,
    ) -> Result<PathBuf> {
        let trust = Trust::of(self.context, id, repository).await?;
        let from = source(&repository.url, repository.credentials.as_ref())?
            .join(&package.location)
            .map_err(|error| Failure::of(ExitCode::Input, &error))?;
        let request = Request { source: from, checksum: package.checksum.clone(), size: Some(package.size) };
        let (fetched, _) = trust.fetch(self.context, &request, &package.nevra).await?;
        Ok(fetched.path.into_std_path_buf())
    }

    /// That a node can install it, and keeps it: by the rules that the packages of each kernel were proven by.
    async fn proven(&self, planned: &mut Planned, made: &Made) -> Result<Vec<PathBuf>> {
        let (rpms, config) = (made.rpms.clone(), self.config.clone());
        let index = blocking(move || index(rpms)).await??;
        let wanted = vec![made.lockstep.package.clone(), "kernel-core".to_owned()];
        let (settings, own, wants) = (config.clone(), Arc::clone(&index), wanted.clone());
        let ask = move |inventories: &Inventories| files_to_install(&settings, inventories, &own, &wants);
        let inventories = planned.repositories.look_up_all(self.context, self.config, ask).await?;
        let (_, taken) = install::solve(&config, &inventories, &index, &wanted).await?;
        if taken.is_empty() { Ok(made.rpms.clone()) } else { Err(would_be_taken_over(self.config, &taken)) }
    }
}

fn held(path: PathBuf) -> Result<Held> {
    let header = RpmFile::open(&path).map_err(|error| Failure::of(ExitCode::Publish, &error))?;
    Ok(Held { path, header })
}

fn index(rpms: Vec<PathBuf>) -> Result<Arc<RepositoryIndex>> {
    let held = rpms.into_iter().map(held).collect::<Result<Vec<Held>>>()?;
    let index = install::index(held.iter().map(|held| &held.header));
    index.map(Arc::new).map_err(|failure| Failure { code: ExitCode::Publish, ..failure })
}

fn version_of_core(packages: &[&Package]) -> Option<Evr> {
    packages
        .iter()
        .find(|package| package.nevra.name == "kernel-core")
        .map(|package| package.nevra.evr.clone())
}
