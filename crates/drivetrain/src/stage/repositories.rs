//! The repositories of a configuration, as they are now.

use std::collections::{BTreeMap, BTreeSet};

use drivetrain_config::{Config, Repository};
use drivetrain_model::{ExitCode, Nevra, Package, RepositoryId};
use drivetrain_plan::{Inventories, Inventory, RepositoryMetadata};
use drivetrain_repodata::Modules;
use futures_util::future::try_join_all;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::stage::blocking;
use crate::stage::metadata::{self, FileLists, Loaded};

/// The repositories, read.
pub struct Repositories {
    /// The train's.
    pub train: Vec<RepositoryMetadata>,
    /// The vendor's.
    pub vendor: RepositoryMetadata,
    /// All packages of all of them.
    pub inventories: Inventories,
    filelists: BTreeMap<RepositoryId, FileLists>,
    looked_up: BTreeSet<String>,
}

impl Repositories {
    /// Reads all of them, at the same time.
    pub async fn read(context: &Context, config: &Config) -> Result<Self> {
        let kernels = ["kernel-core", "kernel-devel"].map(str::to_owned);
        let source = [config.driver.source.clone()];
        let driver = config.driver.repository_id.clone();
        let all: Vec<(RepositoryId, &Repository)> = config.repositories().collect();
        let reading = all.iter().map(|(id, repository)| {
            let names: &[String] = if *id == driver { &source } else { &kernels };
            metadata::read(context, id, repository, names)
        });
        let mut loaded = try_join_all(reading).await?;
        // The driver's is the last of `Config::repositories`.
        let Some(vendor) = loaded.pop() else {
            return Err(Failure::new(ExitCode::Internal, "a configuration without repositories"));
        };
        let modules = together(&loaded);
        for unknown in unknown_streams(config, &modules) {
            context.reporter.warn(unknown);
        }
        Ok(Self::of(config, &modules, loaded, vendor))
    }

    fn of(config: &Config, modules: &Modules, train: Vec<Loaded>, vendor: Loaded) -> Self {
        let filelists = train
            .iter()
            .chain([&vendor])
            .filter_map(|loaded| Some((loaded.metadata.id.clone(), loaded.filelists.clone()?)))
            .collect();
        // What is published is not subject to module streams (`module_hotfixes`), and so the vendor's is not either.
        let train_inventories = train
            .iter()
            .map(|loaded| {
                let hidden = hidden(config, modules, loaded);
                Inventory { hidden, ..inventory(loaded) }
            })
            .collect();
        Self {
            inventories: Inventories { train: train_inventories, vendor: inventory(&vendor) },
            train: train.into_iter().map(|loaded| loaded.metadata).collect(),
            vendor: vendor.metadata,
            filelists,
            looked_up: BTreeSet::new(),
        }
    }

    /// Finds out who has the files that are asked for, until nothing new is: each owner may need further files.
    pub async fn look_up_all(
        &mut self,
        context: &Context,
        ask: impl Fn(&Inventories) -> BTreeSet<String> + Clone + Send + 'static,
    ) -> Result<()> {
        loop {
            let (ask, inventories) = (ask.clone(), self.inventories.clone());
            let paths = blocking(move || ask(&inventories)).await?;
            if !self.look_up(context, &paths).await? {
                return Ok(());
            }
        }
    }

    /// Finds out who has these files. Whether any of them was not known yet.
    async fn look_up(&mut self, context: &Context, paths: &BTreeSet<String>) -> Result<bool> {
        let new: BTreeSet<String> = paths.difference(&self.looked_up).cloned().collect();
        if new.is_empty() {
            return Ok(false);
        }
        let asking = self.filelists.iter().map(|(id, lists)| metadata::owners(context, id, lists, &new));
        let answers = try_join_all(asking).await?;
        let mut answers: BTreeMap<RepositoryId, Vec<(String, Nevra)>> =
            self.filelists.keys().cloned().zip(answers).collect();
        for inventory in self.inventories.iter_mut() {
            inventory.owners.extend(answers.remove(&inventory.id).unwrap_or_default());
        }
        self.looked_up.extend(new);
        Ok(true)
    }

    /// The packages of the train, of those that are given, that have any of these paths, where one of the two is no
    /// directory; by repository. A path comes with whether it is one.
    pub async fn neighbours(
        &self,
        context: &Context,
        packages: &[Nevra],
        paths: &BTreeMap<&str, bool>,
    ) -> Result<BTreeMap<RepositoryId, BTreeSet<Nevra>>> {
        let mut found = BTreeMap::new();
        for inventory in &self.inventories.train {
            let here: BTreeSet<Nevra> =
                packages.iter().filter(|nevra| inventory.has(nevra)).cloned().collect();
            if let (Some(lists), false) = (self.filelists.get(&inventory.id), here.is_empty()) {
                let owners = metadata::owners_among(context, &inventory.id, lists, here, paths).await?;
                found.insert(inventory.id.clone(), owners);
            }
        }
        Ok(found)
    }

    /// What a repository of the train says of a package.
    pub fn package(&self, id: &RepositoryId, nevra: &Nevra) -> Option<Package> {
        let inventory = self.inventories.train.iter().find(|inventory| inventory.id == *id)?;
        inventory.index.named(&nevra.name).find(|package| package.nevra == *nevra)
    }
}

fn inventory(loaded: &Loaded) -> Inventory {
    Inventory {
        id: loaded.metadata.id.clone(),
        index: loaded.index.clone(),
        hidden: BTreeSet::new(),
        owners: Vec::new(),
    }
}

/// The modules of all repositories: one may have a stream's packages, and another say that it is the default.
fn together(train: &[Loaded]) -> Modules {
    let mut all = Modules::default();
    for loaded in train {
        all.builds.extend(loaded.modules.builds.iter().cloned());
        all.defaults.extend(loaded.modules.defaults.clone());
    }
    all
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

fn hidden(config: &Config, modules: &Modules, loaded: &Loaded) -> BTreeSet<Nevra> {
    if modules.builds.is_empty() {
        return BTreeSet::new();
    }
    let packages: Vec<Nevra> = loaded.index.nevras().collect();
    modules.hidden(&config.train.module_streams, packages.iter())
}
