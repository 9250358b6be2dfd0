//! Whole repositories, put together as who publishes and who consumes see them.

use std::collections::BTreeSet;
use std::sync::Arc;

use drivetrain_config::{Config, VendorVisibility};
use drivetrain_model::{Capability, Checksum, Comparison, Nevra, Package, RepositoryId, Sha256Digest};
use drivetrain_solve::{IndexBuilder, Ranking, Repository, RepositoryIndex, Role, World};

use crate::Components;

/// The id that the driver repository goes by while it has none: it is not published yet.
const OWN: &str = "drivetrain";

/// All packages of a repository.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The repository's id.
    pub id: RepositoryId,
    /// Its packages.
    pub index: Arc<RepositoryIndex>,
    /// Those of module streams that are not enabled.
    pub hidden: BTreeSet<Nevra>,
    /// Who has which files, of those that were asked for and that `primary.xml` does not list.
    pub owners: Vec<(String, Nevra)>,
}

impl Inventory {
    /// Whether it has a package.
    #[must_use]
    pub fn has(&self, nevra: &Nevra) -> bool {
        self.index.named(&nevra.name).any(|package| package.nevra == *nevra)
    }
}

/// The repositories of a configuration.
#[derive(Debug, Clone)]
pub struct Inventories {
    /// The train's.
    pub train: Vec<Inventory>,
    /// The vendor's.
    pub vendor: Inventory,
}

impl Inventories {
    /// What there is to publish from: the train, which is there already, the vendor's packages, and what is built.
    #[must_use]
    pub fn publisher<'i>(&'i self, config: &Config, own: &'i RepositoryIndex) -> World<'i> {
        self.world(config, own, Some(&self.vendor), Ranking::Publisher)
    }

    /// What is left to a machine that installs what is published: the train and the driver repository.
    #[must_use]
    pub fn without_vendor<'i>(&'i self, config: &Config, own: &'i RepositoryIndex) -> World<'i> {
        self.world(config, own, None, Ranking::Publisher)
    }

    /// What a machine sees that installs from the driver repository, with DNF's priorities: the train, the vendor's
    /// repository where the configuration says so, and the driver repository.
    #[must_use]
    pub fn consumer<'i>(&'i self, config: &Config, own: &'i RepositoryIndex) -> World<'i> {
        let exposed = config.consumers.vendor == VendorVisibility::Exposed;
        self.world(config, own, exposed.then_some(&self.vendor), Ranking::Consumer)
    }

    /// The train and nothing else, as who wants to have its packages sees it.
    #[must_use]
    pub fn train_alone<'i>(&'i self, config: &Config) -> World<'i> {
        // What is wanted is what a closure has of the vendor's: here, the train's.
        let repositories =
            self.train.iter().filter_map(|inventory| repository(config, inventory, Role::Vendor)).collect();
        let mut world = World::ranked(&config.train.arch, repositories, Ranking::Consumer);
        for inventory in &self.train {
            world.add_files(&inventory.id, &inventory.owners);
        }
        world
    }

    fn world<'i>(
        &'i self,
        config: &Config,
        own: &'i RepositoryIndex,
        vendor: Option<&'i Inventory>,
        ranking: Ranking,
    ) -> World<'i> {
        let all = self
            .train
            .iter()
            .map(|inventory| (inventory, Role::Train))
            .chain(vendor.map(|inventory| (inventory, Role::Vendor)));
        let mut repositories: Vec<Repository<'i>> =
            all.clone().filter_map(|(inventory, role)| repository(config, inventory, role)).collect();
        repositories.extend(own_repository(config, own));
        let mut world = World::ranked(&config.train.arch, repositories, ranking);
        for (inventory, _) in all {
            world.add_files(&inventory.id, &inventory.owners);
        }
        world
    }

    /// All of them, the vendor's last.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Inventory> {
        self.train.iter_mut().chain([&mut self.vendor])
    }
}

fn repository<'i>(config: &Config, inventory: &'i Inventory, role: Role) -> Option<Repository<'i>> {
    let settings = config.repositories().find(|(id, _)| *id == inventory.id)?.1;
    let mut exclude = settings.exclude.clone();
    if inventory.id == config.driver.repository_id {
        exclude.extend(config.consumers.exclude.iter().cloned());
    }
    Some(Repository {
        id: inventory.id.clone(),
        role,
        priority: i32::try_from(settings.priority).unwrap_or(i32::MAX),
        index: &inventory.index,
        exclude,
        hidden: inventory.hidden.clone(),
    })
}

fn own_repository<'i>(config: &Config, own: &'i RepositoryIndex) -> Option<Repository<'i>> {
    Some(Repository {
        id: RepositoryId::parse(OWN).ok()?,
        role: Role::Own,
        priority: i32::try_from(config.consumers.priority).unwrap_or(i32::MAX),
        index: own,
        exclude: Vec::new(),
        hidden: BTreeSet::new(),
    })
}

/// The packages that components will make, as far as their source RPMs tell: names and versions. What the vendor has
/// under these names is not needed.
#[must_use]
pub fn expected(config: &Config, components: &Components) -> RepositoryIndex {
    let mut builder = IndexBuilder::default();
    let mut seen = BTreeSet::new();
    for source in components.ordered.iter().map(|component| &component.source) {
        for name in source.packages.iter().filter(|name| is_published(name)) {
            let nevra = Nevra::new(name.as_str(), source.nevra.evr.clone(), config.train.arch.clone());
            if !seen.insert(nevra.clone()) {
                continue;
            }
            // Nobody asks for the checksum of what is not there yet.
            let checksum = Checksum::from(Sha256Digest::of(nevra.to_string().as_bytes()));
            let mut package = Package::bare(nevra, checksum, 0, "");
            let evr = source.nevra.evr.clone();
            package.provides.push(Capability::versioned(name.as_str(), Comparison::Equal, evr));
            builder.push(&package);
        }
    }
    // Each name and version was pushed once.
    builder.finish().unwrap_or_default()
}

/// Whether a package that a component makes is published. `*-dkms` are not: they provide and obsolete the kmods, so
/// that a plain `dnf upgrade` would swap proven modules for a compiler run on every node.
#[must_use]
pub fn is_published(name: &str) -> bool {
    !name.ends_with("-dkms")
}
