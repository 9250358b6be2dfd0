//! From rules to a choice of packages.
//!
//! One package after another is chosen, each time the best by policy of those with which the rules can still hold:
//! the satisfiability solver is asked before, so no choice has to be taken back. As libsolv does, what leaves no choice is
//! chosen first, and what leaves one only when nothing else is left to do, since by then something may have been chosen
//! that meets it.

use std::collections::BTreeSet;

use drivetrain_model::Capability;

use crate::formula::Literal;
use crate::index::Kind;
use crate::policy::Policy;
use crate::rich::Dependency;
use crate::rules::Rules;
use crate::sat::{Fate, Sat};
use crate::world::{PackageId, Reading, World};

/// Chooses packages with which all rules hold; `None` where there are none.
pub(crate) fn choose(world: &World<'_>, rules: &Rules, weak: bool) -> Option<Vec<PackageId>> {
    let mut sat = Sat::new(world.len(), rules);
    if !sat.allows(&[]) {
        return None;
    }
    let mut preferred = BTreeSet::new();
    loop {
        let mut choice = Choice::new(world, rules, sat, &preferred);
        choice.settle();
        if weak {
            while choice.add_weak() {
                choice.settle();
            }
        }
        let Some(better) = choice.better() else { return Some(choice.policy.chosen().to_vec()) };
        preferred.insert(better);
        sat = Sat::new(world.len(), rules);
    }
}

/// A choice that was made, and what was not taken.
struct Branch {
    chosen: PackageId,
    others: Vec<PackageId>,
}

struct Choice<'w, 'i> {
    world: &'w World<'i>,
    rules: &'w Rules,
    sat: Sat,
    policy: Policy<'w, 'i>,
    /// Taken before others, where there is a choice.
    preferred: &'w BTreeSet<PackageId>,
    branches: Vec<Branch>,
    /// The rules in which a package stands.
    mentions: Vec<Vec<u32>>,
    /// How many packages have to be chosen yet before a rule asks for something.
    waiting: Vec<u32>,
    /// Rules that ask for one of several packages, none of which is chosen.
    open: BTreeSet<u32>,
    /// How much of what the solver knows has been taken over.
    known: usize,
}

impl<'w, 'i> Choice<'w, 'i> {
    fn new(world: &'w World<'i>, rules: &'w Rules, sat: Sat, preferred: &'w BTreeSet<PackageId>) -> Self {
        let mut mentions = vec![Vec::new(); world.len()];
        let mut waiting = vec![0; rules.rules.len()];
        let mut open = BTreeSet::new();
        for (number, rule) in rules.rules.iter().enumerate() {
            let position = u32::try_from(number).unwrap_or(u32::MAX);
            for literal in &rule.literals {
                mentions[literal.package.index()].push(position);
                waiting[number] += u32::from(!literal.installed);
            }
            if waiting[number] == 0 {
                open.insert(position);
            }
        }
        Self {
            world,
            rules,
            sat,
            policy: Policy::new(world),
            preferred,
            branches: Vec::new(),
            mentions,
            waiting,
            open,
            known: 0,
        }
    }

    /// Chooses until no rule asks for anything more.
    fn settle(&mut self) {
        self.take_over();
        while self.decide() {
            self.take_over();
        }
    }

    /// Takes what the solver has found to be needed.
    fn take_over(&mut self) {
        let found: Vec<Literal> = self.sat.known_since(self.known).collect();
        self.known += found.len();
        for literal in found.into_iter().filter(|literal| literal.installed) {
            self.choose(literal.package);
        }
    }

    fn choose(&mut self, package: PackageId) {
        if !self.policy.choose(package) {
            return;
        }
        for number in std::mem::take(&mut self.mentions[package.index()]) {
            let rule = &self.rules.rules[number as usize];
            if rule.literals.contains(&Literal::with(package)) {
                self.open.remove(&number);
                // Whatever it waits for, it asks for nothing any more.
                self.waiting[number as usize] = u32::MAX;
            } else if let Some(left) = self.waiting[number as usize].checked_sub(1)
                && self.waiting[number as usize] != u32::MAX
            {
                self.waiting[number as usize] = left;
                if left == 0 {
                    self.open.insert(number);
                }
            }
        }
    }

    /// Makes one choice; `false` where none is left.
    fn decide(&mut self) -> bool {
        let mut postponed = None;
        for number in self.open.clone() {
            let mut candidates = self.candidates(number);
            self.policy.prune(&mut candidates);
            match candidates.as_slice() {
                // Without anything to ask for: two packages that are opposed.
                [] => {}
                [only] => return self.try_out(*only),
                _ => postponed = postponed.or(Some(candidates)),
            }
        }
        let Some(candidates) = postponed else { return false };
        self.branch(candidates)
    }

    /// Chooses among several.
    fn branch(&mut self, mut candidates: Vec<PackageId>) -> bool {
        self.policy.sort(&mut candidates);
        candidates.sort_by_key(|package| !self.preferred.contains(package));
        let chosen = candidates.remove(0);
        let begun = self.try_out(chosen);
        if begun && !candidates.is_empty() && self.sat.fate(chosen) == Fate::Needed {
            self.branches.push(Branch { chosen, others: candidates });
        }
        begun
    }

    /// A package that should have been taken where another was: it came to be needed later anyway, or to be
    /// recommended. As libsolv does to keep its solutions small (`solver_run_sat`, auto-minimization).
    fn better(&mut self) -> Option<PackageId> {
        let branches = std::mem::take(&mut self.branches);
        branches.iter().find_map(|branch| {
            let mut others = branch.others.iter().copied().filter(|other| !self.preferred.contains(other));
            let taken = others.clone().find(|other| self.policy.is_chosen(*other));
            taken.or_else(|| {
                if self.policy.is_recommended_now(branch.chosen) {
                    return None;
                }
                others.find(|other| self.policy.is_recommended_now(*other))
            })
        })
    }

    fn candidates(&self, number: u32) -> Vec<PackageId> {
        let literals = &self.rules.rules[number as usize].literals;
        literals
            .iter()
            .filter(|literal| literal.installed && self.sat.fate(literal.package) == Fate::Open)
            .map(|literal| literal.package)
            .collect()
    }

    /// Chooses a package, or finds that it cannot be.
    fn try_out(&mut self, package: PackageId) -> bool {
        let installed = self.sat.allows(&[Literal::with(package)]);
        self.sat.fix(Literal { package, installed });
        true
    }

    /// Chooses what is recommended and what supplements, as far as it can be had; whether there was any.
    fn add_weak(&mut self) -> bool {
        let supplementing = self.supplementing();
        let recommended = self.recommended();
        let mut all: Vec<PackageId> = supplementing.iter().chain(&recommended).copied().collect();
        all.sort_unstable();
        all.dedup();
        if all.is_empty() {
            return false;
        }
        self.policy.prune_without_recommendations(&mut all);
        let mut first: Vec<PackageId> =
            supplementing.into_iter().filter(|package| all.contains(package)).collect();
        self.policy.sort(&mut first);
        for package in first {
            if self.sat.fate(package) == Fate::Open {
                self.try_out(package);
            }
        }
        self.take_over();
        self.recommend(&all);
        true
    }

    /// Packages that are recommended by those that are chosen, where the recommendation is not met.
    fn recommended(&self) -> Vec<PackageId> {
        let chosen = self.policy.chosen().iter();
        let recommendations = chosen.flat_map(|package| {
            self.world
                .list(*package, Kind::Recommends)
                .map(|(number, capability)| (*package, number, capability))
        });
        recommendations
            .flat_map(|(package, number, capability)| self.unmet(package, number, &capability))
            .flatten()
            .collect()
    }

    /// What would meet a recommendation: nothing where it is met, otherwise the candidates for each part of it.
    fn unmet(&self, package: PackageId, number: u32, capability: &Capability) -> Vec<Vec<PackageId>> {
        let clauses = match Dependency::of(capability) {
            Ok(Dependency::Simple(_)) => {
                let providers = self.world.meets(package, number, Reading::Strict);
                vec![providers.iter().copied().map(Literal::with).collect()]
            }
            Ok(rich) => {
                let providers = |capability: &_| self.world.providers(capability, Reading::Strict);
                crate::formula::clauses(&rich, true, &providers).unwrap_or_default()
            }
            Err(_) => return Vec::new(),
        };
        let holds = |literal: &Literal| self.policy.is_chosen(literal.package) == literal.installed;
        let is_open = |package: &PackageId| self.sat.fate(*package) == Fate::Open;
        clauses
            .into_iter()
            .filter(|clause: &Vec<Literal>| !clause.iter().any(holds))
            .map(|clause| {
                let with = clause.into_iter().filter(|literal| literal.installed);
                with.map(|literal| literal.package).filter(is_open).collect()
            })
            .collect()
    }

    fn recommend(&mut self, allowed: &[PackageId]) {
        for package in self.policy.chosen().to_vec() {
            for (number, capability) in self.world.list(package, Kind::Recommends) {
                // Each choice may meet, or rule out, what is left.
                while let Some(best) = self.best_recommended(package, number, &capability, allowed) {
                    self.branch(best);
                    self.take_over();
                }
            }
        }
    }

    fn best_recommended(
        &mut self,
        package: PackageId,
        number: u32,
        capability: &Capability,
        allowed: &[PackageId],
    ) -> Option<Vec<PackageId>> {
        self.unmet(package, number, capability).into_iter().find_map(|mut candidates| {
            candidates.retain(|candidate| allowed.contains(candidate));
            self.policy.prune(&mut candidates);
            (!candidates.is_empty()).then_some(candidates)
        })
    }

    /// Packages that supplement those that are chosen.
    fn supplementing(&self) -> Vec<PackageId> {
        self.rules
            .packages
            .iter()
            .copied()
            .filter(|package| {
                self.sat.fate(*package) == Fate::Open
                    && !self.world.list_is_empty(*package, Kind::Supplements)
                    && self.policy.goes_with_chosen(*package, Kind::Supplements)
            })
            .collect()
    }
}
