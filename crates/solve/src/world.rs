//! All repositories together, as one machine sees them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use drivetrain_model::{Architecture, Capability, Evr, Nevra, Package, RepositoryId};
use glob_match::Patterns;

use crate::arch::{Fit, Machine};
use crate::index::{Kind, RepositoryIndex};

mod glob_match;

/// Whose packages a repository has. Of two equals, the one that stands first here is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// What is built here: it is published in any case.
    Own,
    /// The release train: it is there already, and is never published.
    Train,
    /// The vendor's: what is needed of it is published.
    Vendor,
}

/// A repository of the world.
#[derive(Debug, Clone)]
pub struct Repository<'i> {
    /// Its id.
    pub id: RepositoryId,
    /// Whose it is.
    pub role: Role,
    /// As DNF means it: a lower number goes before a higher one.
    pub priority: i32,
    /// Its packages.
    pub index: &'i RepositoryIndex,
    /// Packages that are as if they were not there, by name patterns (`*`, `?`, `[…]`).
    pub exclude: Vec<String>,
    /// Packages that are as if they were not there, by full name: those of module streams that are not enabled.
    pub hidden: BTreeSet<Nevra>,
}

/// A package of the world. Its order is that of the repositories, and within one of the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId(pub(crate) u32);

impl PackageId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The repositories, and what can be asked of them.
pub struct World<'i> {
    repositories: Vec<Repository<'i>>,
    /// The number of the first package of each repository, and behind the last.
    begins: Vec<u32>,
    fits: Vec<Option<Fit>>,
    machine: Machine,
    files: BTreeMap<String, Vec<PackageId>>,
    ranking: Ranking,
    /// Providers by repository and number of the capability there: the same one is asked for a thousand times.
    known: Vec<RefCell<Known>>,
}

type Known = HashMap<(u32, Reading), Rc<[PackageId]>>;

/// Which repository goes before which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ranking {
    /// For who publishes: what is built here first, and of equal priorities the train's before the vendor's.
    #[default]
    Publisher,
    /// For who consumes: by priority alone, as dnf does it. It knows nothing of whose a repository is.
    Consumer,
}

/// How a package ranks by its repository: the lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(bool, i32, Option<Role>);

/// By whose rules versions meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reading {
    /// librpm's: for what is needed.
    Strict,
    /// libsolv's, which sees conflicts where librpm does not.
    Wide,
}

impl<'i> World<'i> {
    /// Puts repositories together, for a machine of an architecture, in the eyes of who publishes.
    #[must_use]
    pub fn new(arch: &Architecture, repositories: Vec<Repository<'i>>) -> Self {
        Self::ranked(arch, repositories, Ranking::Publisher)
    }

    /// Puts repositories together, for a machine of an architecture.
    #[must_use]
    pub fn ranked(arch: &Architecture, mut repositories: Vec<Repository<'i>>, ranking: Ranking) -> Self {
        // The order decides between equals, and must not depend on who asked.
        repositories.sort_by(|a, b| (a.role, a.priority, &a.id).cmp(&(b.role, b.priority, &b.id)));
        let machine = Machine::new(arch);
        let mut begins = vec![0];
        let mut fits = Vec::new();
        for repository in &repositories {
            let patterns = Patterns::new(&repository.exclude);
            let index = repository.index;
            fits.extend((0..index.len()).map(|row| {
                let excluded = patterns.matches(index, row)
                    || !repository.hidden.is_empty() && repository.hidden.contains(&index.nevra(row));
                if excluded { None } else { machine.fit(index.arch(row)) }
            }));
            begins.push(u32::try_from(fits.len()).unwrap_or(u32::MAX));
        }
        let known = repositories.iter().map(|_| RefCell::default()).collect();
        Self { repositories, begins, fits, machine, files: BTreeMap::new(), ranking, known }
    }

    /// Adds who has which files, beyond what `primary.xml` lists.
    pub fn add_files(&mut self, repository: &RepositoryId, owners: &[(String, Nevra)]) {
        let Some(position) = self.repositories.iter().position(|known| known.id == *repository) else {
            return;
        };
        for (path, nevra) in owners {
            let found = self.repositories[position]
                .index
                .rows_named(&nevra.name)
                .find(|row| self.repositories[position].index.nevra(*row) == *nevra);
            if let Some(row) = found {
                let id = self.id(position, row);
                self.files.entry(path.clone()).or_default().push(id);
            }
        }
        for known in &self.known {
            known.borrow_mut().clear();
        }
    }

    /// The repositories, in the world's order.
    pub fn repositories(&self) -> &[Repository<'i>] {
        &self.repositories
    }

    pub(crate) fn len(&self) -> usize {
        self.fits.len()
    }

    fn id(&self, repository: usize, row: usize) -> PackageId {
        PackageId(self.begins[repository] + u32::try_from(row).unwrap_or(u32::MAX))
    }

    fn place(&self, id: PackageId) -> (usize, usize) {
        let repository = self.begins.partition_point(|begin| *begin <= id.0) - 1;
        (repository, (id.0 - self.begins[repository]) as usize)
    }

    /// The repository of a package.
    pub fn repository(&self, id: PackageId) -> &Repository<'i> {
        &self.repositories[self.place(id).0]
    }

    /// Everything that the metadata says of a package, but for its files.
    pub fn package(&self, id: PackageId) -> Package {
        let (repository, row) = self.place(id);
        self.repositories[repository].index.package(row)
    }

    /// Its full name.
    pub fn nevra(&self, id: PackageId) -> Nevra {
        let (repository, row) = self.place(id);
        self.repositories[repository].index.nevra(row)
    }

    pub(crate) fn name(&self, id: PackageId) -> &'i str {
        let (repository, row) = self.place(id);
        self.repositories[repository].index.name(row)
    }

    pub(crate) fn evr(&self, id: PackageId) -> Evr {
        let (repository, row) = self.place(id);
        self.repositories[repository].index.evr(row)
    }

    pub(crate) fn rank(&self, id: PackageId) -> Rank {
        let repository = self.repository(id);
        match self.ranking {
            Ranking::Publisher => {
                Rank(repository.role != Role::Own, repository.priority, Some(repository.role))
            }
            Ranking::Consumer => Rank(false, repository.priority, None),
        }
    }

    /// Whose a package is.
    pub fn role(&self, id: PackageId) -> Role {
        self.repository(id).role
    }

    /// How well it suits the machine; `None` where it is not to be had.
    pub(crate) fn fit(&self, id: PackageId) -> Option<Fit> {
        self.fits[id.index()]
    }

    /// The packages of a name that are to be had.
    pub fn named(&self, name: &str) -> Vec<PackageId> {
        let mut found = Vec::new();
        for (position, repository) in self.repositories.iter().enumerate() {
            let rows = repository.index.rows_named(name);
            found.extend(rows.map(|row| self.id(position, row)).filter(|id| self.fit(*id).is_some()));
        }
        found
    }

    /// The capabilities of a package, of one kind, each with its number in the package's repository.
    pub(crate) fn list(
        &self,
        id: PackageId,
        kind: Kind,
    ) -> impl Iterator<Item = (u32, Capability)> + use<'i> {
        let (repository, row) = self.place(id);
        let index = self.repositories[repository].index;
        index.list(row, kind).iter().map(move |number| (*number, index.capability(*number)))
    }

    pub(crate) fn list_is_empty(&self, id: PackageId, kind: Kind) -> bool {
        let (repository, row) = self.place(id);
        self.repositories[repository].index.list(row, kind).is_empty()
    }

    /// Who meets a capability of a package's list. Remembered.
    pub(crate) fn meets(&self, of: PackageId, number: u32, reading: Reading) -> Rc<[PackageId]> {
        let (repository, _) = self.place(of);
        if let Some(known) = self.known[repository].borrow().get(&(number, reading)) {
            return Rc::clone(known);
        }
        let capability = self.repositories[repository].index.capability(number);
        let found: Rc<[PackageId]> = self.providers(&capability, reading).into();
        self.known[repository].borrow_mut().insert((number, reading), Rc::clone(&found));
        found
    }

    /// Who meets a capability: by what it provides, or by a file that it has. In the world's order, each once.
    pub(crate) fn providers(&self, wanted: &Capability, reading: Reading) -> Vec<PackageId> {
        let mut found = Vec::new();
        for (position, repository) in self.repositories.iter().enumerate() {
            let index = repository.index;
            for (row, number) in index.providers(&wanted.name) {
                let id = self.id(position, row);
                if self.fit(id).is_none() || found.last() == Some(&id) {
                    continue;
                }
                let meets = wanted.constraint.is_none() || {
                    let offered = index.capability(number);
                    match reading {
                        Reading::Strict => wanted.is_met_by(&offered),
                        Reading::Wide => wanted.overlaps(&offered),
                    }
                };
                if meets {
                    found.push(id);
                }
            }
            if wanted.name.starts_with('/') && wanted.constraint.is_none() {
                let owners = index.owners(&wanted.name).map(|row| self.id(position, row));
                found.extend(owners.filter(|id| self.fit(*id).is_some()));
            }
        }
        if let Some(owners) = self.files.get(&wanted.name)
            && wanted.constraint.is_none()
        {
            found.extend(owners.iter().copied().filter(|id| self.fit(*id).is_some()));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Packages that would meet a capability and are left out, each with the reason.
    pub(crate) fn left_out(&self, wanted: &Capability) -> Vec<String> {
        let mut found = Vec::new();
        for (position, repository) in self.repositories.iter().enumerate() {
            for (row, number) in repository.index.providers(&wanted.name) {
                let id = self.id(position, row);
                if self.fit(id).is_some() || !wanted.is_met_by(&repository.index.capability(number)) {
                    continue;
                }
                let nevra = repository.index.nevra(row);
                let why = if repository.hidden.contains(&nevra) {
                    "is of a module stream that is not enabled"
                } else if self.machine.fit(nevra.arch.as_str()).is_none() {
                    "is for another architecture"
                } else {
                    "is excluded by the configuration"
                };
                found.push(format!("{nevra} of {} has it, and {why}", repository.id));
            }
        }
        found
    }

    /// Packages that a capability of an `Obsoletes` means: by their own name and version, not by what they provide.
    pub(crate) fn obsoleted(&self, capability: &Capability) -> Vec<PackageId> {
        self.named(&capability.name).into_iter().filter(|id| self.is_meant(*id, capability)).collect()
    }

    /// Whether a package is of the name and in the range.
    pub(crate) fn is_meant(&self, id: PackageId, capability: &Capability) -> bool {
        let own = Capability::versioned(self.name(id), drivetrain_model::Comparison::Equal, self.evr(id));
        capability.is_met_by(&own)
    }

    /// Who obsoletes a package, by which capability.
    pub(crate) fn obsoleters(&self, of: PackageId) -> Vec<(PackageId, Capability)> {
        let name = self.name(of);
        let mut found = Vec::new();
        for (position, repository) in self.repositories.iter().enumerate() {
            for (row, number) in repository.index.obsoleters(name) {
                let id = self.id(position, row);
                let capability = repository.index.capability(number);
                if id != of
                    && self.fit(id).is_some()
                    && self.name(id) != name
                    && self.is_meant(of, &capability)
                {
                    found.push((id, capability));
                }
            }
        }
        found
    }
}

/// Whether `primary.xml` lists every file of this path that there is: createrepo_c's `cr_is_primary`.
pub fn is_primary_path(path: &str) -> bool {
    path.contains("bin/") || path.starts_with("/etc/") || path == "/usr/lib/sendmail"
}
