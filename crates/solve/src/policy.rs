//! Which of several packages that would do is taken.
//!
//! It is libsolv's policy (`src/policy.c`, `policy_filter_unwanted`), so that what is chosen here is what dnf would choose:
//! the repository of the lowest priority number, the machine's own architecture, the newest version of each name, what is
//! recommended by what is there; and of those that are left the first by name. Two things are added: of repositories with
//! equal priorities the train's goes before the vendor's, and what is built here goes before both.

use std::collections::BTreeMap;

use drivetrain_model::{Capability, Comparison, Evr};

use crate::arch::Fit;
use crate::index::Kind;
use crate::rich::Dependency;
use crate::world::{PackageId, Reading, World};

/// What has been chosen so far, and what it says of others.
pub(crate) struct Policy<'w, 'i> {
    world: &'w World<'i>,
    chosen: Vec<bool>,
    order: Vec<PackageId>,
    recommended: Vec<bool>,
    suggested: Vec<bool>,
    /// How many of the chosen ones have been looked at for what they recommend.
    looked_at: usize,
}

impl<'w, 'i> Policy<'w, 'i> {
    pub(crate) fn new(world: &'w World<'i>) -> Self {
        let none = || vec![false; world.len()];
        Self {
            world,
            chosen: none(),
            order: Vec::new(),
            recommended: none(),
            suggested: none(),
            looked_at: 0,
        }
    }

    pub(crate) fn choose(&mut self, package: PackageId) -> bool {
        let is_new = !std::mem::replace(&mut self.chosen[package.index()], true);
        if is_new {
            self.order.push(package);
        }
        is_new
    }

    pub(crate) fn is_chosen(&self, package: PackageId) -> bool {
        self.chosen[package.index()]
    }

    /// In the order in which they were chosen.
    pub(crate) fn chosen(&self) -> &[PackageId] {
        &self.order
    }

    /// Leaves out what is worse than another.
    pub(crate) fn prune(&mut self, packages: &mut Vec<PackageId>) {
        self.prune_without_recommendations(packages);
        if packages.len() > 1 {
            self.look();
            let wanted: Vec<PackageId> =
                packages.iter().copied().filter(|package| self.is_recommended(*package)).collect();
            if !wanted.is_empty() {
                *packages = wanted;
            }
        }
    }

    /// The same, without regard to what is recommended.
    pub(crate) fn prune_without_recommendations(&self, packages: &mut Vec<PackageId>) {
        self.to_best_repository(packages);
        self.to_best_architecture(packages);
        self.to_best_version(packages);
    }

    /// Brings what is better to the front.
    pub(crate) fn sort(&mut self, packages: &mut [PackageId]) {
        self.look();
        let world = self.world;
        // Sorting is stable: the last criterion is the first.
        packages.sort_by_key(|package| world.name(*package));
        packages.sort_by_cached_key(|package| self.is_outdated(*package));
        let behind = self.behind_in_common(packages);
        packages.sort_by_key(|package| behind.get(package).copied().unwrap_or(0));
        packages.sort_by_cached_key(|package| !self.is_suggested(*package));
    }

    /// How many others offer newer versions of something that a package offers as well (`sort_by_common_dep`).
    fn behind_in_common(&self, packages: &[PackageId]) -> BTreeMap<PackageId, u32> {
        let mut offers: Vec<(String, Evr, bool, PackageId)> = Vec::new();
        for package in packages {
            for (_, capability) in self.world.list(*package, Kind::Provides) {
                let Some(constraint) = capability.constraint else { continue };
                match constraint.comparison {
                    Comparison::Equal if is_hash(&constraint.evr) => {}
                    Comparison::Equal | Comparison::LessOrEqual => {
                        offers.push((capability.name, constraint.evr, false, *package));
                    }
                    Comparison::Less => offers.push((capability.name, constraint.evr, true, *package)),
                    _ => {}
                }
            }
        }
        // By name, the newest first; what is only below a version comes after that version.
        offers
            .sort_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.compare_as_dependency(&a.1)).then(a.2.cmp(&b.2)));
        let mut behind = BTreeMap::new();
        let mut steps = 0;
        for (position, offer) in offers.iter().enumerate() {
            match position.checked_sub(1).map(|before| &offers[before]) {
                Some(before) if before.0 == offer.0 => {
                    let older = offer.1.compare_as_dependency(&before.1).is_lt();
                    steps += u32::from(before.3 != offer.3 && (older || !before.2 && offer.2));
                }
                _ => steps = 0,
            }
            *behind.entry(offer.3).or_insert(0) += steps;
        }
        behind
    }

    fn to_best_repository(&self, packages: &mut Vec<PackageId>) {
        if let Some(best) = packages.iter().map(|package| self.world.rank(*package)).min() {
            packages.retain(|package| self.world.rank(*package) == best);
        }
    }

    fn to_best_architecture(&self, packages: &mut Vec<PackageId>) {
        let rank = |package: PackageId| match self.world.fit(package) {
            Some(Fit::Rank(rank)) => Some(rank),
            _ => None,
        };
        if let Some(best) = packages.iter().filter_map(|package| rank(*package)).min() {
            packages.retain(|package| rank(*package).is_none_or(|rank| rank == best));
        }
    }

    /// One of each name; and none that another of them obsoletes.
    fn to_best_version(&self, packages: &mut Vec<PackageId>) {
        if packages.len() < 2 {
            return;
        }
        let mut by_name: BTreeMap<&str, PackageId> = BTreeMap::new();
        for package in packages.iter() {
            let best = by_name.entry(self.world.name(*package)).or_insert(*package);
            if self.world.evr(*best) < self.world.evr(*package) {
                *best = *package;
            }
        }
        *packages = by_name.into_values().collect();
        let obsoleted = |package: &PackageId| {
            let by = |other: &&PackageId| **other != *package && self.obsoletes(**other, *package);
            packages.iter().find(by).is_some_and(|other| !self.obsoletes(*package, *other))
        };
        let left: Vec<PackageId> = packages.iter().copied().filter(|package| !obsoleted(package)).collect();
        if !left.is_empty() {
            *packages = left;
        }
    }

    fn obsoletes(&self, one: PackageId, other: PackageId) -> bool {
        self.world.list(one, Kind::Obsoletes).any(|(_, capability)| {
            capability.name == self.world.name(other) && self.world.is_meant(other, &capability)
        })
    }

    /// Whether the world has a better one of the same name and architecture.
    fn is_outdated(&self, package: PackageId) -> bool {
        let evr = self.world.evr(package);
        self.world.named(self.world.name(package)).into_iter().any(|other| {
            other != package
                && self.world.fit(other) == self.world.fit(package)
                && match self.world.rank(other).cmp(&self.world.rank(package)) {
                    std::cmp::Ordering::Less => true,
                    std::cmp::Ordering::Equal => self.world.evr(other) > evr,
                    std::cmp::Ordering::Greater => false,
                }
        })
    }

    /// Notes what those that were chosen since recommend and suggest.
    fn look(&mut self) {
        while let Some(package) = self.order.get(self.looked_at).copied() {
            self.looked_at += 1;
            self.note(package, Kind::Recommends);
            self.note(package, Kind::Suggests);
        }
    }

    fn note(&mut self, package: PackageId, kind: Kind) {
        for (number, capability) in self.world.list(package, kind) {
            let providers = match Dependency::of(&capability) {
                Ok(Dependency::Simple(_)) => self.world.meets(package, number, Reading::Strict).to_vec(),
                // What stands in a condition is not what is recommended.
                Ok(rich) => positive(&rich)
                    .into_iter()
                    .flat_map(|capability| self.world.providers(capability, Reading::Strict))
                    .collect(),
                Err(_) => continue,
            };
            let noted = if kind == Kind::Recommends { &mut self.recommended } else { &mut self.suggested };
            for provider in providers {
                noted[provider.index()] = true;
            }
        }
    }

    fn is_recommended(&self, package: PackageId) -> bool {
        self.recommended[package.index()] || self.goes_with_chosen(package, Kind::Supplements)
    }

    /// [`Policy::is_recommended`], with all that has been chosen by now.
    pub(crate) fn is_recommended_now(&mut self, package: PackageId) -> bool {
        self.look();
        self.is_recommended(package)
    }

    fn is_suggested(&self, package: PackageId) -> bool {
        self.suggested[package.index()] || self.goes_with_chosen(package, Kind::Enhances)
    }

    /// Whether one of a package's `Supplements` or `Enhances` is met by what is chosen.
    pub(crate) fn goes_with_chosen(&self, package: PackageId, kind: Kind) -> bool {
        self.world.list(package, kind).any(|(_, capability)| {
            Dependency::of(&capability).is_ok_and(|dependency| self.is_met(&dependency))
        })
    }

    /// Whether a dependency is met by what is chosen.
    pub(crate) fn is_met(&self, dependency: &Dependency) -> bool {
        match dependency {
            Dependency::Simple(_) | Dependency::With(_) | Dependency::Without(..) => {
                let clauses = crate::formula::clauses(dependency, true, &|capability| {
                    self.world.providers(capability, Reading::Strict)
                });
                clauses.is_ok_and(|clauses| {
                    clauses.iter().all(|clause| clause.iter().any(|literal| self.is_chosen(literal.package)))
                })
            }
            Dependency::And(all) => all.iter().all(|one| self.is_met(one)),
            Dependency::Or(all) => all.iter().any(|one| self.is_met(one)),
            Dependency::If(then, condition, otherwise) => match self.is_met(condition) {
                true => self.is_met(then),
                false => otherwise.as_ref().is_none_or(|otherwise| self.is_met(otherwise)),
            },
            Dependency::Unless(then, condition, otherwise) => match self.is_met(condition) {
                false => self.is_met(then),
                true => otherwise.as_ref().is_some_and(|otherwise| self.is_met(otherwise)),
            },
        }
    }
}

/// Versions that are digests say nothing of what is newer.
fn is_hash(evr: &Evr) -> bool {
    let text = evr.to_string();
    text.len() >= 4 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn positive(dependency: &Dependency) -> Vec<&Capability> {
    match dependency {
        Dependency::Simple(capability) => vec![capability],
        Dependency::And(all) | Dependency::Or(all) | Dependency::With(all) => {
            all.iter().flat_map(positive).collect()
        }
        Dependency::Without(one, _) => positive(one),
        Dependency::If(then, _, otherwise) | Dependency::Unless(then, _, otherwise) => {
            let mut found = positive(then);
            found.extend(otherwise.iter().flat_map(|otherwise| positive(otherwise)));
            found
        }
    }
}
