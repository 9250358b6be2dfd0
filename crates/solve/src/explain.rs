//! Why wants cannot be met.

use std::collections::BTreeSet;
use std::fmt;

use drivetrain_model::{Capability, Nevra};
use serde::Serialize;

use crate::index::Kind;
use crate::rules::{Rule, Rules, Why};
use crate::sat::contradiction;
use crate::wants::{Want, alike};
use crate::world::{PackageId, Reading, Role, World};

/// How many packages are named where many would do.
const NAMED: usize = 4;

/// The wants cannot be met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Unsolvable {
    /// The facts that cannot all hold, each following from one before: no fewer would do.
    pub because: Vec<Fact>,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "fact")]
pub enum Fact {
    /// Something is wanted.
    Wanted {
        /// What.
        text: String,
        /// What would do.
        candidates: Vec<Nevra>,
    },
    /// A package needs something that others have.
    Requires {
        /// Which.
        package: Nevra,
        /// What.
        capability: String,
        /// Who has it.
        providers: Vec<Nevra>,
    },
    /// A package needs something that nobody has.
    NothingProvides {
        /// Which.
        package: Nevra,
        /// What.
        capability: String,
        /// What comes near: other versions, packages that are left out, names that look alike.
        nearest: Vec<String>,
    },
    /// A package's dependency is no dependency.
    Senseless {
        /// Which.
        package: Nevra,
        /// What it says.
        capability: String,
    },
    /// Two packages exclude each other.
    Conflicts {
        /// The one that says so.
        package: Nevra,
        /// What it says.
        capability: String,
        /// The others.
        others: Vec<Nevra>,
    },
    /// A package obsoletes another.
    Obsoletes {
        /// Which.
        package: Nevra,
        /// By what.
        capability: String,
        /// The other.
        other: Nevra,
    },
    /// Two packages have one name, and one of them can be installed.
    SameName {
        /// One.
        package: Nevra,
        /// The other.
        other: Nevra,
    },
    /// A package for an older architecture goes with its counterpart only.
    Multilib {
        /// Which.
        package: Nevra,
        /// Its counterparts.
        counterparts: Vec<Nevra>,
    },
}

impl fmt::Display for Unsolvable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.because.iter().map(Fact::to_string).collect();
        f.write_str(&lines.join("; "))
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wanted { text, candidates } => {
                write!(f, "{text} is wanted")?;
                match candidates.as_slice() {
                    [] => f.write_str(", and what would do is left out"),
                    [only] if only.name == *text => write!(f, ": {only}"),
                    many => write!(f, ": {} would do", list(many)),
                }
            }
            Self::Requires { package, capability, providers } => {
                write!(f, "{package} needs {capability}, which {}", have(providers))
            }
            Self::NothingProvides { package, capability, nearest } => {
                write!(f, "{package} needs {capability}, which nothing has")?;
                if nearest.is_empty() { Ok(()) } else { write!(f, " ({})", nearest.join("; ")) }
            }
            Self::Senseless { package, capability } => {
                write!(f, "{package} says {capability}, which is no dependency that can be understood")
            }
            Self::Conflicts { package, capability, others } => {
                write!(f, "{package} conflicts with {capability}")?;
                if others.is_empty() { Ok(()) } else { write!(f, ", which {}", have(others)) }
            }
            Self::Obsoletes { package, capability, other } => {
                write!(f, "{package} obsoletes {capability}, which {other} is")
            }
            Self::SameName { package, other } => {
                write!(
                    f,
                    "{package} and {other} are one package in two versions, and cannot both be installed"
                )
            }
            Self::Multilib { package, counterparts } => match counterparts.as_slice() {
                [] => write!(
                    f,
                    "{package} is for an older architecture, and its version is not there for this one"
                ),
                others => write!(f, "{package} is for an older architecture, and goes with {}", list(others)),
            },
        }
    }
}

fn list(packages: &[Nevra]) -> String {
    let named = packages.iter().take(NAMED).map(Nevra::to_string).collect::<Vec<_>>().join(", ");
    match packages.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn have(packages: &[Nevra]) -> String {
    match packages {
        [only] => format!("only {only} has"),
        many => format!("{} have", list(many)),
    }
}

pub(crate) fn explain(world: &World<'_>, wants: &[Want], rules: &Rules) -> Unsolvable {
    let core = contradiction(world.len(), &rules.packages, &rules.rules);
    let because = in_order(&core).into_iter().map(|rule| fact(world, wants, rule)).collect();
    Unsolvable { because }
}

/// From the wants on: a rule stands behind the one that brings in what it is about.
fn in_order<'r>(core: &[&'r Rule]) -> Vec<&'r Rule> {
    let mut left: Vec<&'r Rule> = core.to_vec();
    let mut known: BTreeSet<PackageId> = BTreeSet::new();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let follows = |rule: &&Rule| {
            rule.literals
                .iter()
                .filter(|literal| !literal.installed)
                .all(|literal| known.contains(&literal.package))
        };
        // What is left over by a rule that mentions more than was brought in stands at the end as it came.
        let next = left.iter().position(follows).unwrap_or(0);
        let rule = left.remove(next);
        known.extend(rule.literals.iter().filter(|literal| literal.installed).map(|literal| literal.package));
        ordered.push(rule);
    }
    ordered
}

fn fact(world: &World<'_>, wants: &[Want], rule: &Rule) -> Fact {
    let of = |installed: bool, but: Option<PackageId>| -> Vec<Nevra> {
        let literals = rule.literals.iter().filter(|literal| literal.installed == installed);
        literals
            .filter(|literal| Some(literal.package) != but)
            .map(|literal| world.nevra(literal.package))
            .collect()
    };
    let says = |package: PackageId, kind: Kind, number: u32| {
        let mut list = world.list(package, kind).filter(|(known, _)| *known == number);
        list.next().map(|(_, capability)| capability)
    };
    let text = |package, kind, number| {
        says(package, kind, number).map_or_else(String::new, |found| found.to_string())
    };
    match rule.why {
        Why::Wanted(number) => Fact::Wanted {
            text: wants.get(number).map_or_else(String::new, |want| want.text.clone()),
            candidates: of(true, None),
        },
        Why::Requires(package, number) => Fact::Requires {
            package: world.nevra(package),
            capability: text(package, Kind::Requires, number),
            providers: of(true, None),
        },
        Why::NothingProvides(package, number) => Fact::NothingProvides {
            package: world.nevra(package),
            capability: text(package, Kind::Requires, number),
            nearest: says(package, Kind::Requires, number)
                .map_or_else(Vec::new, |capability| nearest(world, &capability)),
        },
        Why::Senseless(package, number) => Fact::Senseless {
            package: world.nevra(package),
            capability: [Kind::Requires, Kind::Conflicts]
                .into_iter()
                .find_map(|kind| says(package, kind, number))
                .map_or_else(String::new, |found| found.to_string()),
        },
        Why::Conflicts(package, number) => Fact::Conflicts {
            package: world.nevra(package),
            capability: text(package, Kind::Conflicts, number),
            others: of(false, Some(package)),
        },
        Why::Obsoletes(package, number) => Fact::Obsoletes {
            package: world.nevra(package),
            capability: text(package, Kind::Obsoletes, number),
            other: of(false, Some(package)).pop().unwrap_or_else(|| world.nevra(package)),
        },
        Why::SameName(package, other) => {
            Fact::SameName { package: world.nevra(package), other: world.nevra(other) }
        }
        Why::Multilib(package) => {
            Fact::Multilib { package: world.nevra(package), counterparts: of(true, None) }
        }
    }
}

/// What comes near a capability that nobody has.
fn nearest(world: &World<'_>, wanted: &Capability) -> Vec<String> {
    let any = Capability::unversioned(&wanted.name);
    let mut found: Vec<String> = Vec::new();
    for package in world.providers(&any, Reading::Strict).into_iter().rev().take(NAMED) {
        let offered = world.list(package, Kind::Provides).filter(|(_, offered)| offered.name == wanted.name);
        for (_, offered) in offered.take(1) {
            found.push(format!("{} of {} has {offered}", world.nevra(package), world.repository(package).id));
        }
    }
    found.extend(world.left_out(wanted).into_iter().take(NAMED));
    if found.is_empty() && !wanted.name.starts_with('(') {
        let names = world.repositories().iter().flat_map(|repository| {
            let rank = u8::from(repository.role == Role::Train);
            repository.index.provided_names().map(move |name| (rank, name))
        });
        let alike = alike(names, &wanted.name);
        if !alike.is_empty() {
            found.push(format!("there is {}", alike.join(", ")));
        }
    }
    found
}
