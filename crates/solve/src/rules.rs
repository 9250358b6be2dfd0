//! The packages that may have to do with a question, and what must hold between them.
//!
//! As in libsolv (`solver_addpkgrulesforsolvable`), all packages are gathered that could come to be needed, by whichever
//! provider; then the rules are written down, each with its reason.

use std::collections::{BTreeMap, BTreeSet};

use drivetrain_model::Capability;

use crate::arch::Fit;
use crate::formula::{Clauses, Literal, clauses};
use crate::index::Kind;
use crate::rich::Dependency;
use crate::world::{PackageId, Reading, World, is_primary_path};

/// Why a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The want of this number is to be met.
    Wanted(usize),
    /// A package requires something that others provide.
    Requires(PackageId, u32),
    /// A package requires something that nobody provides.
    NothingProvides(PackageId, u32),
    /// A package requires what cannot be understood.
    Senseless(PackageId, u32),
    /// A package conflicts with others.
    Conflicts(PackageId, u32),
    /// A package obsoletes another.
    Obsoletes(PackageId, u32),
    /// Of two packages of one name, one is installed.
    SameName(PackageId, PackageId),
    /// A package for older processors goes with its counterpart for the machine's own.
    Multilib(PackageId),
}

/// What must hold.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) why: Why,
    /// One of these. Those that are to be there come first, in the world's order.
    pub(crate) literals: Vec<Literal>,
}

/// What rules are gathered for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    /// Packages that are as if they were not there.
    pub(crate) without: BTreeSet<PackageId>,
    /// Whether recommended and supplementing packages are looked at.
    pub(crate) weak: bool,
    /// Whether what is suggested and what enhances is looked at as well.
    pub(crate) wide: bool,
    /// Names and capabilities of packages that may be installed in several versions at once, as kernels are.
    pub(crate) installonly: BTreeSet<String>,
}

/// The rules for a question.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// The packages, in the order in which they were met.
    pub(crate) packages: Vec<PackageId>,
    /// The rules, by the package that they are of.
    pub(crate) rules: Vec<Rule>,
    /// Files that are required and are not among those that `primary.xml` lists.
    pub(crate) paths: BTreeSet<String>,
}

impl Rules {
    /// Gathers all that the wants may lead to.
    pub(crate) fn gather(world: &World<'_>, wants: &[Vec<PackageId>], scope: &Scope) -> Self {
        let mut gathering = Gathering::new(world, scope);
        for (number, candidates) in wants.iter().enumerate() {
            let candidates: Vec<PackageId> =
                candidates.iter().copied().filter(|package| !scope.without.contains(package)).collect();
            gathering.push(Why::Wanted(number), candidates.iter().copied().map(Literal::with).collect());
            for package in candidates {
                gathering.meet(package);
                gathering.wanted.push(package);
                // Who asks for it by itself is not told to take its counterpart as well.
                if world.fit(package).is_some_and(|fit| fit > Fit::Rank(0)) {
                    gathering.asked_for.insert(world.name(package));
                }
            }
        }
        gathering.walk();
        gathering.oppositions();
        gathering.drop_idle();
        gathering.rules
    }
}

struct Gathering<'w, 'i> {
    world: &'w World<'i>,
    scope: &'w Scope,
    seen: Vec<bool>,
    /// Names of packages for older architectures that are wanted themselves.
    asked_for: BTreeSet<&'i str>,
    wanted: Vec<PackageId>,
    /// What libsolv would have met, where that has been asked.
    reach: Option<Vec<bool>>,
    rules: Rules,
}

impl<'w, 'i> Gathering<'w, 'i> {
    fn new(world: &'w World<'i>, scope: &'w Scope) -> Self {
        Self {
            world,
            scope,
            seen: vec![false; world.len()],
            asked_for: BTreeSet::new(),
            wanted: Vec::new(),
            reach: None,
            rules: Rules { packages: Vec::new(), rules: Vec::new(), paths: BTreeSet::new() },
        }
    }

    fn push(&mut self, why: Why, mut literals: Vec<Literal>) {
        literals.sort_unstable_by_key(|literal| (!literal.installed, literal.package));
        literals.dedup();
        self.rules.rules.push(Rule { why, literals });
    }

    fn meet(&mut self, package: PackageId) {
        if self.scope.without.contains(&package) {
            return;
        }
        if !std::mem::replace(&mut self.seen[package.index()], true) {
            self.rules.packages.push(package);
        }
    }

    /// Everything that the packages require, breadth first.
    fn walk(&mut self) {
        let mut next = 0;
        loop {
            while let Some(package) = self.rules.packages.get(next).copied() {
                next += 1;
                self.requirements(package);
                self.rich_conflicts(package);
                self.counterparts(package);
                if self.scope.weak {
                    self.meet_weak(package, Kind::Recommends);
                }
                if self.scope.wide {
                    self.meet_weak(package, Kind::Suggests);
                }
            }
            // What supplements is found only from the other side.
            if !self.scope.weak || !self.meet_supplements() {
                return;
            }
        }
    }

    fn requirements(&mut self, package: PackageId) {
        let world = self.world;
        for (number, capability) in world.list(package, Kind::Requires) {
            // What RPM itself must be able to do; it says so when it is not.
            if capability.name.starts_with("rpmlib(") {
                continue;
            }
            match Dependency::of(&capability) {
                Ok(Dependency::Simple(_)) => self.requirement(package, number, &capability),
                Ok(rich) => self.rich(package, number, &rich, true),
                Err(_) => self.push(Why::Senseless(package, number), vec![Literal::without(package)]),
            }
        }
    }

    fn requirement(&mut self, package: PackageId, number: u32, capability: &Capability) {
        self.note_path(capability);
        let providers = self.world.meets(package, number, Reading::Strict);
        let mut literals: Vec<Literal> = providers
            .iter()
            .copied()
            .filter(|provider| !self.scope.without.contains(provider))
            .map(Literal::with)
            .collect();
        if literals.iter().any(|literal| literal.package == package) {
            return;
        }
        for literal in &literals {
            self.meet(literal.package);
        }
        let why = if literals.is_empty() {
            Why::NothingProvides(package, number)
        } else {
            Why::Requires(package, number)
        };
        literals.push(Literal::without(package));
        self.push(why, literals);
    }

    fn rich(&mut self, package: PackageId, number: u32, dependency: &Dependency, required: bool) {
        for capability in dependency.capabilities() {
            self.note_path(capability);
        }
        let why = if required { Why::Requires(package, number) } else { Why::Conflicts(package, number) };
        let Ok(all) = self.clauses(dependency, required) else {
            self.push(Why::Senseless(package, number), vec![Literal::without(package)]);
            return;
        };
        for mut literals in all {
            // A package is not in conflict with itself.
            if !required && literals == [Literal::without(package)] {
                continue;
            }
            literals.retain(|literal| !(self.scope.without.contains(&literal.package) && literal.installed));
            // It holds where a package is left out that must not be there; and where it is about itself.
            let holds = |literal: &Literal| {
                (!literal.installed && self.scope.without.contains(&literal.package))
                    || *literal == Literal::with(package)
            };
            if literals.iter().any(holds) {
                continue;
            }
            for literal in literals.iter().filter(|literal| literal.installed) {
                self.meet(literal.package);
            }
            let why =
                if required && literals.is_empty() { Why::NothingProvides(package, number) } else { why };
            literals.push(Literal::without(package));
            self.push(why, literals);
        }
    }

    fn clauses(&self, dependency: &Dependency, holds: bool) -> Result<Clauses, crate::formula::TooComplex> {
        let reading = if holds { Reading::Strict } else { Reading::Wide };
        clauses(dependency, holds, &|capability| self.world.providers(capability, reading))
    }

    /// `Conflicts: (a unless b)` asks for b where a is there: it can bring packages in, as a requirement does.
    fn rich_conflicts(&mut self, package: PackageId) {
        let world = self.world;
        for (number, capability) in world.list(package, Kind::Conflicts) {
            if !capability.name.starts_with('(') {
                continue;
            }
            match Dependency::of(&capability) {
                Ok(rich) => self.rich(package, number, &rich, false),
                Err(_) => self.push(Why::Senseless(package, number), vec![Literal::without(package)]),
            }
        }
    }

    fn note_path(&mut self, capability: &Capability) {
        if capability.name.starts_with('/') && !is_primary_path(&capability.name) {
            self.rules.paths.insert(capability.name.clone());
        }
    }

    /// The same version for the machine's own architecture, which must come with one for an older.
    fn counterparts(&mut self, package: PackageId) {
        let Some(Fit::Rank(rank @ 1..)) = self.world.fit(package) else { return };
        let evr = self.world.evr(package);
        for other in self.world.named(self.world.name(package)) {
            if let Some(Fit::Rank(better)) = self.world.fit(other)
                && better < rank
                && self.world.evr(other) == evr
            {
                self.meet(other);
            }
        }
    }

    fn meet_weak(&mut self, package: PackageId, kind: Kind) {
        for (number, capability) in self.world.list(package, kind) {
            match Dependency::of(&capability) {
                Ok(Dependency::Simple(_)) => {
                    self.note_path(&capability);
                    let providers = self.world.meets(package, number, Reading::Strict);
                    providers.iter().for_each(|provider| self.meet(*provider));
                }
                Ok(rich) => {
                    for clause in self.clauses(&rich, true).unwrap_or_default() {
                        clause
                            .iter()
                            .filter(|literal| literal.installed)
                            .for_each(|literal| self.meet(literal.package));
                    }
                }
                Err(_) => {}
            }
        }
    }

    /// Packages that supplement what may be installed; whether there were any.
    fn meet_supplements(&mut self) -> bool {
        let before = self.rules.packages.len();
        for index in 0..self.world.len() {
            let package = PackageId(u32::try_from(index).unwrap_or(u32::MAX));
            if self.seen[index] || self.world.fit(package).is_none() {
                continue;
            }
            let world = self.world;
            let enhances = self.scope.wide.then(|| world.list(package, Kind::Enhances)).into_iter().flatten();
            let supplements =
                world.list(package, Kind::Supplements).chain(enhances).any(|(_, capability)| {
                    Dependency::of(&capability).is_ok_and(|dependency| {
                        dependency.capabilities().iter().any(|capability| {
                            let mut providers = self.world.providers(capability, Reading::Strict).into_iter();
                            providers.any(|provider| self.seen[provider.index()])
                        })
                    })
                });
            if supplements {
                self.meet(package);
            }
        }
        self.rules.packages.len() > before
    }

    /// What cannot be together, among the packages that were met.
    fn oppositions(&mut self) {
        for package in self.rules.packages.clone() {
            self.conflicts(package);
            self.obsoletes(package);
        }
        self.names();
    }

    fn conflicts(&mut self, package: PackageId) {
        let world = self.world;
        for (number, capability) in world.list(package, Kind::Conflicts) {
            if capability.name.starts_with('(') {
                continue;
            }
            self.note_path(&capability);
            for other in world.meets(package, number, Reading::Wide).iter() {
                if *other != package && self.seen[other.index()] {
                    let literals = vec![Literal::without(package), Literal::without(*other)];
                    self.push(Why::Conflicts(package, number), literals);
                }
            }
        }
    }

    /// Rules about packages that nothing can bring in hold by themselves.
    fn drop_idle(&mut self) {
        let seen = &self.seen;
        self.rules.rules.retain(|rule| {
            rule.literals.iter().all(|literal| literal.installed || seen[literal.package.index()])
        });
    }

    fn obsoletes(&mut self, package: PackageId) {
        if self.is_installonly(package) {
            return;
        }
        let world = self.world;
        for (number, capability) in world.list(package, Kind::Obsoletes) {
            for other in world.obsoleted(&capability) {
                if other != package && self.seen[other.index()] && world.name(other) != world.name(package) {
                    let literals = vec![Literal::without(package), Literal::without(other)];
                    self.push(Why::Obsoletes(package, number), literals);
                }
            }
        }
    }

    /// One version of each name, and older architectures only beside the machine's own.
    fn names(&mut self) {
        let mut by_name: BTreeMap<&str, Vec<PackageId>> = BTreeMap::new();
        for package in &self.rules.packages {
            by_name.entry(self.world.name(*package)).or_default().push(*package);
        }
        for mut packages in by_name.into_values() {
            packages.sort_unstable();
            for (position, one) in packages.iter().enumerate() {
                for other in &packages[position + 1..] {
                    if !self.may_be_together(*one, *other) {
                        let literals = vec![Literal::without(*one), Literal::without(*other)];
                        self.push(Why::SameName(*one, *other), literals);
                    }
                }
            }
            if !packages.iter().any(|package| self.asked_for.contains(self.world.name(*package))) {
                self.multilib(&packages);
            }
        }
    }

    fn may_be_together(&self, one: PackageId, other: PackageId) -> bool {
        let world = self.world;
        let (Some(a), Some(b)) = (world.fit(one), world.fit(other)) else { return true };
        if a.side_by_side(b) {
            return true;
        }
        self.is_installonly(one)
            && self.is_installonly(other)
            && (world.evr(one) != world.evr(other) || a != b)
    }

    fn is_installonly(&self, package: PackageId) -> bool {
        let installonly = &self.scope.installonly;
        !installonly.is_empty()
            && self
                .world
                .list(package, Kind::Provides)
                .any(|(_, offered)| installonly.contains(&offered.name))
    }

    /// The packages of a name that libsolv would have met. It follows weak dependencies in any case, and whether there is
    /// a better architecture is for it a question of what it has met.
    fn reachable_of_the_name(&mut self, packages: &[PackageId]) -> Vec<PackageId> {
        let world = self.world;
        let Some(first) = packages.first() else { return Vec::new() };
        let named = world.named(world.name(*first));
        if self.scope.wide || named.iter().all(|package| self.seen[package.index()]) {
            return packages.to_vec();
        }
        let wide = self.reach.get_or_insert_with(|| {
            let scope = Scope { weak: true, wide: true, ..self.scope.clone() };
            let mut gathering = Gathering::new(world, &scope);
            // All versions of what is wanted, not only the best.
            let wanted = self.wanted.iter().flat_map(|package| world.named(world.name(*package)));
            wanted.for_each(|package| gathering.meet(package));
            gathering.walk();
            gathering.seen
        });
        // One that is left out for a trial is still known to whoever asks for the best architecture.
        let is_known = |package: &PackageId| wide[package.index()] || self.scope.without.contains(package);
        named.into_iter().filter(is_known).collect()
    }

    /// libsolv's rules of inferior architectures (`solver_addinfarchrules`).
    fn multilib(&mut self, packages: &[PackageId]) {
        let world = self.world;
        let rank = |package: &PackageId| match world.fit(*package) {
            Some(Fit::Rank(rank)) => Some(rank),
            _ => None,
        };
        if packages.iter().all(|package| rank(package).is_none_or(|rank| rank == 0)) {
            return;
        }
        let Some(best) = self.reachable_of_the_name(packages).iter().filter_map(rank).min() else { return };
        for package in packages.iter().filter(|package| rank(package).is_some_and(|rank| rank > best)) {
            let evr = world.evr(*package);
            let mut literals: Vec<Literal> = packages
                .iter()
                .filter(|other| rank(other).is_none_or(|rank| rank == best) && world.evr(**other) == evr)
                .map(|other| Literal::with(*other))
                .collect();
            literals.push(Literal::without(*package));
            self.push(Why::Multilib(*package), literals);
        }
    }
}
