//! The repositories of a configuration, as they are now.

use std::collections::{BTreeMap, BTreeSet};

use drivetrain_config::{Config, Repository};
use drivetrain_model::{Advisory, ExitCode, Nevra, Package, RepositoryId};
use drivetrain_plan::{Inventories, Inventory, RepositoryMetadata};
use drivetrain_repodata::Modules;
use futures_util::future::try_join_all;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::stage::blocking;
use crate::stage::metadata::{self, Known};

/// The repositories, as far as a plan has to know them.
pub struct Repositories {
    /// The train's.
    pub train: Vec<RepositoryMetadata>,
    /// The vendor's.
    pub vendor: RepositoryMetadata,
    known: BTreeMap<RepositoryId, Known>,
    whole: Option<Whole>,
}

/// All packages of all repositories, in the state in which the plan saw them.
pub struct Whole {
    /// The packages.
    pub inventories: Inventories,
    looked_up: BTreeSet<String>,
}

impl Repositories {
    /// Reads all of them, at the same time: what the plan asks for, or everything where packages are wanted with all that
    /// they need.
    pub async fn read(context: &Context, config: &Config) -> Result<Self> {
        let kernels = ["kernel-core", "kernel-devel"].map(str::to_owned);
        let tool = config.driver.vendor_tool.as_ref().map(|tool| tool.package.clone());
        let source: Vec<String> = [config.driver.source.clone()].into_iter().chain(tool).collect();
        let driver = config.driver.repository_id.clone();
        let asks_for_all = config.driver.userspace.is_some() || !config.builder.root.is_host();
        let all: Vec<(RepositoryId, &Repository)> = config.repositories().collect();
        let reading = all.iter().map(|(id, repository)| {
            let names: &[String] = if *id == driver { &source } else { &kernels };
            metadata::read(context, id, repository, names, asks_for_all)
        });
        let (mut train, known): (Vec<RepositoryMetadata>, Vec<Known>) =
            try_join_all(reading).await?.into_iter().unzip();
        let known = all.into_iter().map(|(id, _)| id).zip(known).collect();
        // The driver's is the last of `Config::repositories`.
        let Some(vendor) = train.pop() else {
            return Err(Failure::new(ExitCode::Internal, "a configuration without repositories"));
        };
        Ok(Self { train, vendor, known, whole: None })
    }

    /// The advisories of the train that bring packages of these names.
    pub async fn advisories(
        &self,
        context: &Context,
        config: &Config,
        names: &'static [&'static str],
    ) -> Result<Vec<(Advisory, Vec<Nevra>)>> {
        let train = self.known.iter().filter(|(id, _)| **id != config.driver.repository_id);
        let reading = train.map(|(id, known)| metadata::advisories(context, id, known, names));
        Ok(try_join_all(reading).await?.into_iter().flatten().collect())
    }

    /// All packages; read when they are asked for first.
    async fn whole(&mut self, context: &Context, config: &Config) -> Result<&mut Whole> {
        let whole = match self.whole.take() {
            Some(whole) => whole,
            None => self.read_whole(context, config).await?,
        };
        Ok(self.whole.insert(whole))
    }

    async fn read_whole(&self, context: &Context, config: &Config) -> Result<Whole> {
        let reading = self.known.iter().map(async |(id, known)| {
            let (index, modules) = metadata::whole(context, id, known).await?;
            let inventory = Inventory { id: id.clone(), index, hidden: BTreeSet::new(), owners: Vec::new() };
            Ok::<_, Failure>((inventory, modules))
        });
        let (mut train, mut vendors): (Vec<_>, Vec<_>) = try_join_all(reading)
            .await?
            .into_iter()
            .partition(|(inventory, _)| inventory.id != config.driver.repository_id);
        let Some((vendor, _)) = vendors.pop() else {
            return Err(Failure::new(ExitCode::Internal, "a configuration without a driver's repository"));
        };
        let modules = together(train.iter().map(|(_, modules)| modules));
        for unknown in unknown_streams(config, &modules) {
            context.reporter.warn(unknown);
        }
        // What is published is not subject to module streams (`module_hotfixes`), and so the vendor's is not either.
        for (inventory, _) in &mut train {
            inventory.hidden = hidden(config, &modules, inventory);
        }
        let train = train.into_iter().map(|(inventory, _)| inventory).collect();
        Ok(Whole { inventories: Inventories { train, vendor }, looked_up: BTreeSet::new() })
    }

    /// All packages, after who has the files that are asked for was found out, until nothing new is: each owner may need
    /// further files.
    pub async fn look_up_all(
        &mut self,
        context: &Context,
        config: &Config,
        ask: impl Fn(&Inventories) -> BTreeSet<String> + Clone + Send + 'static,
    ) -> Result<Inventories> {
        loop {
            let inventories = self.whole(context, config).await?.inventories.clone();
            let (ask, asked) = (ask.clone(), inventories.clone());
            let paths = blocking(move || ask(&asked)).await?;
            if !self.look_up(context, config, &paths).await? {
                return Ok(inventories);
            }
        }
    }

    /// Finds out who has these files. Whether any of them was not known yet.
    async fn look_up(
        &mut self,
        context: &Context,
        config: &Config,
        paths: &BTreeSet<String>,
    ) -> Result<bool> {
        let looked_up = &self.whole(context, config).await?.looked_up;
        let new: BTreeSet<String> = paths.difference(looked_up).cloned().collect();
        if new.is_empty() {
            return Ok(false);
        }
        let asking = self.known.iter().map(|(id, known)| metadata::owners(context, id, known, &new));
        let mut answers: BTreeMap<RepositoryId, Vec<(String, Nevra)>> =
            self.known.keys().cloned().zip(try_join_all(asking).await?).collect();
        let whole = self.whole(context, config).await?;
        for inventory in whole.inventories.iter_mut() {
            inventory.owners.extend(answers.remove(&inventory.id).unwrap_or_default());
        }
        whole.looked_up.extend(new);
        Ok(true)
    }

    /// The packages of the train, of those that are given, that have any of these paths, where one of the two is no
    /// directory; by repository. A path comes with whether it is one.
    pub async fn neighbours(
        &self,
        context: &Context,
        inventories: &Inventories,
        packages: &[Nevra],
        paths: &BTreeMap<&str, bool>,
    ) -> Result<Vec<(RepositoryId, Vec<Package>)>> {
        let mut found = Vec::new();
        for inventory in &inventories.train {
            let here: BTreeSet<Nevra> =
                packages.iter().filter(|nevra| inventory.has(nevra)).cloned().collect();
            if let (Some(known), false) = (self.known.get(&inventory.id), here.is_empty()) {
                let owners = metadata::owners_among(context, &inventory.id, known, here, paths).await?;
                let packages = owners.iter().flat_map(|nevra| {
                    inventory.index.named(&nevra.name).filter(|package| package.nevra == *nevra)
                });
                found.push((inventory.id.clone(), packages.collect()));
            }
        }
        Ok(found)
    }
}

/// The modules of all repositories: one may have a stream's packages, and another say that it is the default.
fn together<'m>(all: impl Iterator<Item = &'m Modules>) -> Modules {
    let mut together = Modules::default();
    for modules in all {
        together.builds.extend(modules.builds.iter().cloned());
        together.defaults.extend(modules.defaults.clone());
    }
    together
}

/// Streams that the configuration enables and no repository has: a misspelt one hides what it should show.
fn unknown_streams(config: &Config, modules: &Modules) -> Vec<String> {
    let has = |name: &str, stream: &str| {
        modules.builds.iter().any(|build| build.name == name && build.stream == stream)
    };
    let enabled = config.train.module_streams.iter();
    enabled
        .filter(|(name, stream)| !has(name, stream))
        .map(|(name, stream)| {
            let there: BTreeSet<String> = modules
                .builds
                .iter()
                .filter(|build| build.name == *name)
                .map(|build| format!("{}:{}", build.name, build.stream))
                .collect();
            let there = match there.len() {
                0 => "no such module at all".to_owned(),
                _ => there.into_iter().collect::<Vec<_>>().join(", "),
            };
            format!("train.module_streams has {name}:{stream}, and the train's repositories have {there}")
        })
        .collect()
}

fn hidden(config: &Config, modules: &Modules, inventory: &Inventory) -> BTreeSet<Nevra> {
    if modules.builds.is_empty() {
        return BTreeSet::new();
    }
    let packages: Vec<Nevra> = inventory.index.nevras().collect();
    modules.hidden(&config.train.module_streams, packages.iter())
}
