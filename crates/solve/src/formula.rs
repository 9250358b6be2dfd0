//! A dependency as clauses over packages.
//!
//! libsolv does the same (`src/cplxdeps.c`): each capability is the set of its providers, and the whole is brought into
//! conjunctive normal form.

use drivetrain_model::Capability;

use crate::rich::Dependency;
use crate::world::PackageId;

/// The most literals that one dependency may come to. Real ones come to some hundred.
const MAX_LITERALS: usize = 200_000;

/// A package that is to be there, or not to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Literal {
    pub(crate) package: PackageId,
    pub(crate) installed: bool,
}

impl Literal {
    pub(crate) fn with(package: PackageId) -> Self {
        Self { package, installed: true }
    }

    pub(crate) fn without(package: PackageId) -> Self {
        Self { package, installed: false }
    }
}

/// Clauses, all of which must hold; each holds where one of its literals does.
pub(crate) type Clauses = Vec<Vec<Literal>>;

/// Grows beyond all bounds when it is taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooComplex;

/// What a dependency, or its opposite, comes to. No clauses: it holds in any case. An empty clause among them: it
/// holds in no case.
pub(crate) fn clauses(
    dependency: &Dependency,
    holds: bool,
    providers: &dyn Fn(&Capability) -> Vec<PackageId>,
) -> Result<Clauses, TooComplex> {
    Formula { providers }.of(dependency, holds)
}

struct Formula<'a> {
    providers: &'a dyn Fn(&Capability) -> Vec<PackageId>,
}

impl Formula<'_> {
    /// By De Morgan's laws the opposite is the same, with "and" and "or" exchanged and every part turned round.
    fn of(&self, dependency: &Dependency, holds: bool) -> Result<Clauses, TooComplex> {
        let same = |part: &Dependency| self.of(part, holds);
        let turned = |part: &Dependency| self.of(part, !holds);
        match dependency {
            Dependency::Simple(_) | Dependency::With(_) | Dependency::Without(..) => {
                let set = self.set(dependency).into_iter();
                Ok(match holds {
                    true => vec![set.map(Literal::with).collect()],
                    false => set.map(|package| vec![Literal::without(package)]).collect(),
                })
            }
            Dependency::And(all) => joined(holds, all.iter().map(same)),
            Dependency::Or(all) => joined(!holds, all.iter().map(same)),
            Dependency::If(then, condition, otherwise) => {
                let then = joined(!holds, [same(then), turned(condition)].into_iter());
                let Some(otherwise) = otherwise else { return then };
                let other = joined(!holds, [same(condition), same(otherwise)].into_iter());
                joined(holds, [then, other].into_iter())
            }
            Dependency::Unless(then, condition, otherwise) => {
                let then = joined(holds, [same(then), turned(condition)].into_iter());
                let Some(otherwise) = otherwise else { return then };
                let other = joined(holds, [same(condition), same(otherwise)].into_iter());
                joined(!holds, [then, other].into_iter())
            }
        }
    }

    /// The packages that meet a dependency by themselves. `with` and `without` are about one package; what else may
    /// stand in them, by the grammar, is taken as libsolv takes it: any of the packages in it.
    fn set(&self, dependency: &Dependency) -> Vec<PackageId> {
        match dependency {
            Dependency::Simple(capability) => (self.providers)(capability),
            Dependency::With(all) => {
                let mut sets = all.iter().map(|one| self.set(one));
                let mut found = sets.next().unwrap_or_default();
                for set in sets {
                    found.retain(|package| set.binary_search(package).is_ok());
                }
                found
            }
            Dependency::Without(one, other) => {
                let other = self.set(other);
                let mut found = self.set(one);
                found.retain(|package| other.binary_search(package).is_err());
                found
            }
            Dependency::And(all) | Dependency::Or(all) => {
                let mut found: Vec<PackageId> = all.iter().flat_map(|one| self.set(one)).collect();
                found.sort_unstable();
                found.dedup();
                found
            }
            Dependency::If(then, ..) | Dependency::Unless(then, ..) => self.set(then),
        }
    }
}

fn joined(
    all: bool,
    parts: impl Iterator<Item = Result<Clauses, TooComplex>>,
) -> Result<Clauses, TooComplex> {
    if all { all_of(parts) } else { any_of(parts) }
}

fn all_of(parts: impl Iterator<Item = Result<Clauses, TooComplex>>) -> Result<Clauses, TooComplex> {
    let mut all = Clauses::new();
    for part in parts {
        all.extend(part?);
        bounded(&all)?;
    }
    Ok(all)
}

/// The distributive law: (a and b) or (c and d) is (a or c) and (a or d) and (b or c) and (b or d).
fn any_of(parts: impl Iterator<Item = Result<Clauses, TooComplex>>) -> Result<Clauses, TooComplex> {
    let mut any: Clauses = vec![Vec::new()];
    for part in parts {
        let part = part?;
        let mut next = Clauses::new();
        let mut literals = 0;
        for left in &any {
            for right in &part {
                let mut clause: Vec<Literal> = left.iter().chain(right).copied().collect();
                clause.sort_unstable();
                clause.dedup();
                // A package that is there or is not: that holds in any case.
                if clause.windows(2).any(|pair| pair[0].package == pair[1].package) {
                    continue;
                }
                literals += clause.len() + 1;
                if literals > MAX_LITERALS {
                    return Err(TooComplex);
                }
                next.push(clause);
            }
        }
        any = next;
    }
    Ok(any)
}

fn bounded(clauses: &Clauses) -> Result<(), TooComplex> {
    let literals: usize = clauses.iter().map(|clause| clause.len() + 1).sum();
    if literals > MAX_LITERALS { Err(TooComplex) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Packages 1 to 6; the capability `N` is provided by package N, `12` by 1 and 2, and so on.
    fn providers(capability: &Capability) -> Vec<PackageId> {
        capability.name.bytes().map(|byte| PackageId(u32::from(byte - b'0'))).collect()
    }

    fn holds(dependency: &Dependency, there: &BTreeSet<u32>) -> bool {
        let set = |dependency: &Dependency| -> BTreeSet<u32> {
            let formula = Formula { providers: &providers };
            formula.set(dependency).into_iter().map(|package| package.0).collect()
        };
        match dependency {
            Dependency::Simple(_) | Dependency::With(_) | Dependency::Without(..) => {
                !set(dependency).is_disjoint(there)
            }
            Dependency::And(all) => all.iter().all(|one| holds(one, there)),
            Dependency::Or(all) => all.iter().any(|one| holds(one, there)),
            Dependency::If(then, condition, otherwise) => match holds(condition, there) {
                true => holds(then, there),
                false => otherwise.as_ref().is_none_or(|otherwise| holds(otherwise, there)),
            },
            Dependency::Unless(then, condition, otherwise) => match holds(condition, there) {
                false => holds(then, there),
                true => otherwise.as_ref().is_some_and(|otherwise| holds(otherwise, there)),
            },
        }
    }

    fn dependency() -> impl Strategy<Value = Dependency> {
        let leaf = "[1-6]{1,2}".prop_map(|name| {
            let digits: BTreeSet<char> = name.chars().collect();
            Dependency::Simple(Capability::unversioned(digits.into_iter().collect::<String>()))
        });
        let single = prop_oneof![
            4 => leaf.clone(),
            1 => prop::collection::vec(leaf.clone(), 2).prop_map(Dependency::With),
            1 => (leaf.clone(), leaf).prop_map(|(one, other)| Dependency::Without(one.into(), other.into())),
        ];
        single.prop_recursive(3, 24, 3, |inner| {
            let boxed = inner.clone().prop_map(Box::new);
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..4).prop_map(Dependency::And),
                prop::collection::vec(inner, 2..4).prop_map(Dependency::Or),
                (boxed.clone(), boxed.clone(), prop::option::of(boxed.clone()))
                    .prop_map(|(then, condition, otherwise)| Dependency::If(then, condition, otherwise)),
                (boxed.clone(), boxed.clone(), prop::option::of(boxed))
                    .prop_map(|(then, condition, otherwise)| Dependency::Unless(then, condition, otherwise)),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_clauses_say_what_the_dependency_says(dependency in dependency(), there in prop::collection::btree_set(1_u32..7, 0..6)) {
            let satisfied = |clauses: &Clauses| {
                clauses.iter().all(|clause| {
                    clause.iter().any(|literal| there.contains(&literal.package.0) == literal.installed)
                })
            };
            let expected = holds(&dependency, &there);
            prop_assert_eq!(satisfied(&clauses(&dependency, true, &providers).unwrap()), expected);
            prop_assert_eq!(satisfied(&clauses(&dependency, false, &providers).unwrap()), !expected);
        }
    }

    #[test]
    fn what_grows_beyond_all_bounds_is_refused() {
        let pair = |_| {
            Dependency::And(vec![
                Dependency::Simple(Capability::unversioned("1")),
                Dependency::Simple(Capability::unversioned("2")),
            ])
        };
        // Two to the power of forty, were it not that most of it is the same.
        let wide = Dependency::Or((0..40).map(pair).collect());
        assert!(clauses(&wide, true, &providers).is_err());
    }
}
