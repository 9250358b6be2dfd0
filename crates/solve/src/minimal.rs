//! No more than is needed.
//!
//! A package may be chosen for a need that a later choice meets as well. libsolv lives with that; what is published
//! should not. So each of the vendor's packages is tried to do without, in a world that has nothing more of the vendor's
//! than was chosen.

use std::collections::BTreeSet;

use crate::choose::choose;
use crate::rules::{Rules, Scope, Why};
use crate::world::{PackageId, Role, World};

/// A solution of which no package of the vendor's can be left out.
pub(crate) fn without_the_superfluous(
    world: &World<'_>,
    wants: &[Vec<PackageId>],
    scope: &Scope,
    rules: &Rules,
    solution: Vec<PackageId>,
) -> Vec<PackageId> {
    let mut solution = solution;
    if vendor_goes_first(world) {
        return solution;
    }
    let certain = certainly_needed(rules);
    let mut tried: BTreeSet<PackageId> = BTreeSet::new();
    loop {
        let chosen: BTreeSet<PackageId> = solution.iter().copied().collect();
        let candidate = solution.iter().copied().find(|package| {
            world.role(*package) == Role::Vendor && !certain.contains(package) && !tried.contains(package)
        });
        let Some(candidate) = candidate else { return solution };
        tried.insert(candidate);
        let mut smaller = scope.clone();
        let left = rules.packages.iter().copied().filter(|package| world.role(*package) == Role::Vendor);
        smaller.without.extend(left.filter(|package| *package == candidate || !chosen.contains(package)));
        let fewer = Rules::gather(world, wants, &smaller);
        if let Some(found) = choose(world, &fewer, scope.weak) {
            solution = found;
        }
    }
}

/// Whether the configuration says that the vendor's packages are preferred to the train's: then they are meant, whether
/// the train's would do or not.
fn vendor_goes_first(world: &World<'_>) -> bool {
    let lowest = |role| {
        let of_role = world.repositories().iter().filter(|repository| repository.role == role);
        of_role.map(|repository| repository.priority).min()
    };
    matches!((lowest(Role::Vendor), lowest(Role::Train)), (Some(vendor), Some(train)) if vendor < train)
}

/// Packages that are in every solution, as far as that can be seen at once: each is the only one that meets a need of
/// another such package, or a want.
fn certainly_needed(rules: &Rules) -> BTreeSet<PackageId> {
    let mut certain: BTreeSet<PackageId> = BTreeSet::new();
    let asks = |rule: &&crate::rules::Rule| matches!(rule.why, Why::Wanted(_) | Why::Requires(..));
    loop {
        let before = certain.len();
        for rule in rules.rules.iter().filter(asks) {
            let holds_back =
                rule.literals.iter().any(|literal| !literal.installed && !certain.contains(&literal.package));
            let mut asked = rule.literals.iter().filter(|literal| literal.installed);
            if let (false, Some(only), None) = (holds_back, asked.next(), asked.next()) {
                certain.insert(only.package);
            }
        }
        if certain.len() == before {
            return certain;
        }
    }
}
