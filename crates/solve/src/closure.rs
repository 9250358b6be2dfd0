//! Which packages are needed, and what for.

use std::collections::{BTreeMap, BTreeSet};

use drivetrain_model::{Capability, Checksum, Nevra, RepositoryId};
use serde::Serialize;

use crate::choose::choose;
use crate::explain::{Unsolvable, explain};
use crate::index::Kind;
use crate::minimal::without_the_superfluous;
use crate::rich::Dependency;
use crate::rules::{Rules, Scope};
use crate::wants::Want;
use crate::world::{PackageId, Reading, Role, World};

/// How a closure is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whether what is recommended comes as well, where it can.
    pub weak: bool,
    /// Capabilities of packages of which several versions may be installed at once.
    pub installonly: BTreeSet<String>,
}

impl Default for Options {
    /// Without what is only recommended; and with what DNF takes for kernels (`installonlypkgs`).
    fn default() -> Self {
        let installonly = [
            "kernel",
            "kernel-PAE",
            "installonlypkg(kernel)",
            "installonlypkg(kernel-module)",
            "installonlypkg(vm)",
            "multiversion(kernel)",
        ];
        Self { weak: false, installonly: installonly.map(str::to_owned).into() }
    }
}

/// The packages that are needed for what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Closure {
    /// What is needed of the vendor's and of our own, by name: the set to publish.
    pub packages: Vec<Needed>,
    /// What these need that the train has.
    pub satisfied: Vec<Satisfied>,
    /// Packages of the train that the set takes the place of.
    pub shadows: Vec<Shadow>,
    /// The packages of the train that are installed with them.
    pub train: Vec<Nevra>,
    /// All packages of the solution, the train's among them.
    #[serde(skip)]
    pub solution: Vec<PackageId>,
}

/// A package of the set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Needed {
    /// Its full name.
    pub nevra: Nevra,
    /// The repository that has it.
    pub repository: RepositoryId,
    /// Its size in bytes.
    pub size: u64,
    /// Its checksum.
    pub checksum: Checksum,
    /// Where it is below the repository's URL.
    pub location: String,
    /// Why it is in the set.
    pub reasons: Vec<Reason>,
    /// Its number in the world.
    #[serde(skip)]
    pub id: PackageId,
}

/// Why a package is in the set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum Reason {
    /// It was asked for.
    Wanted {
        /// In these words.
        text: String,
    },
    /// Another package needs it.
    Needed {
        /// Which.
        by: Nevra,
        /// What for: the requirement that it meets.
        capability: String,
    },
    /// Another package recommends it.
    Recommended {
        /// Which.
        by: Nevra,
        /// What for.
        capability: String,
    },
    /// It keeps two others from excluding each other: `Conflicts: (a unless b)`.
    Reconciles {
        /// The one that says so.
        by: Nevra,
        /// What it says.
        capability: String,
    },
    /// It supplements what is there.
    Supplements {
        /// What it supplements.
        capability: String,
    },
}

impl Reason {
    /// The package for which it is there; none where it was asked for, or came by itself.
    #[must_use]
    pub fn by(&self) -> Option<&Nevra> {
        match self {
            Self::Needed { by, .. } | Self::Recommended { by, .. } | Self::Reconciles { by, .. } => Some(by),
            Self::Wanted { .. } | Self::Supplements { .. } => None,
        }
    }
}

/// A need that the train satisfies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Satisfied {
    /// What is needed.
    pub capability: String,
    /// The package of the train that has it.
    pub by: Nevra,
    /// The repository of that.
    pub repository: RepositoryId,
    /// Who needs it.
    pub needed_by: Vec<Nevra>,
}

/// A package of the train whose place one of the set takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Shadow {
    /// The package of the set.
    pub package: Nevra,
    /// The newest package of the train that it takes the place of.
    pub shadowed: Nevra,
    /// The repository of that.
    pub repository: RepositoryId,
    /// How.
    #[serde(flatten)]
    pub how: How,
}

/// How a package takes another's place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "how")]
pub enum How {
    /// It has its name, and is newer.
    Newer,
    /// It has its name, and is not newer: an upgrade would go back to the train's, were it not for the priorities.
    NotNewer,
    /// It obsoletes it.
    Obsoletes {
        /// By this.
        capability: String,
    },
}

/// Finds the packages that are needed for what is wanted: of the vendor's as few as can be.
///
/// # Errors
/// Where the wants cannot be met, with the reason.
pub fn closure(world: &World<'_>, wants: &[Want], options: &Options) -> Result<Closure, Box<Unsolvable>> {
    let candidates: Vec<Vec<PackageId>> = wants.iter().map(|want| want.candidates.clone()).collect();
    let scope = Scope { weak: options.weak, installonly: options.installonly.clone(), ..Scope::default() };
    let rules = Rules::gather(world, &candidates, &scope);
    let Some(solution) = choose(world, &rules, options.weak) else {
        return Err(Box::new(explain(world, wants, &rules)));
    };
    let solution = if options.weak {
        solution
    } else {
        without_the_superfluous(world, &candidates, &scope, &rules, solution)
    };
    Ok(describe(world, wants, solution))
}

/// The files whose owners have to be known before a closure can be made: those that `primary.xml` does not list.
#[must_use]
pub fn paths_to_look_up(world: &World<'_>, wants: &[Want], options: &Options) -> BTreeSet<String> {
    let candidates: Vec<Vec<PackageId>> = wants.iter().map(|want| want.candidates.clone()).collect();
    let scope = Scope { weak: options.weak, installonly: options.installonly.clone(), ..Scope::default() };
    let mut paths = Rules::gather(world, &candidates, &scope).paths;
    let texts = wants.iter().map(|want| &want.text);
    paths.extend(texts.filter(|text| text.starts_with('/')).cloned());
    paths
}

fn describe(world: &World<'_>, wants: &[Want], solution: Vec<PackageId>) -> Closure {
    let there: BTreeSet<PackageId> = solution.iter().copied().collect();
    let published: Vec<PackageId> =
        there.iter().copied().filter(|package| world.role(*package) != Role::Train).collect();
    let mut reasons: BTreeMap<PackageId, BTreeSet<Reason>> = BTreeMap::new();
    let mut satisfied: BTreeMap<(String, PackageId), BTreeSet<Nevra>> = BTreeMap::new();
    for want in wants {
        for package in want.candidates.iter().filter(|package| there.contains(package)) {
            reasons.entry(*package).or_default().insert(Reason::Wanted { text: want.text.clone() });
        }
    }
    for package in &there {
        for (kind, number, capability) in needs(world, *package) {
            let meeting = match kind {
                Kind::Conflicts => reconciling(world, &capability, &there),
                _ => who_meets(world, *package, number, &capability, &there),
            };
            let Some(meeting) = meeting else { continue };
            let by = || world.nevra(*package);
            let text = || capability.to_string();
            if world.role(meeting) == Role::Train {
                if world.role(*package) != Role::Train && kind == Kind::Requires {
                    satisfied.entry((text(), meeting)).or_default().insert(by());
                }
                continue;
            }
            let reason = match kind {
                Kind::Requires => Reason::Needed { by: by(), capability: text() },
                Kind::Conflicts => Reason::Reconciles { by: by(), capability: text() },
                _ => Reason::Recommended { by: by(), capability: text() },
            };
            reasons.entry(meeting).or_default().insert(reason);
        }
    }
    let mut packages: Vec<Needed> = published
        .iter()
        .map(|package| needed(world, *package, reasons.remove(package).unwrap_or_default()))
        .collect();
    packages.sort_by(|a, b| a.nevra.cmp(&b.nevra));
    Closure {
        packages,
        satisfied: satisfied
            .into_iter()
            .map(|((capability, by), needed_by)| Satisfied {
                capability,
                by: world.nevra(by),
                repository: world.repository(by).id.clone(),
                needed_by: needed_by.into_iter().collect(),
            })
            .collect(),
        shadows: shadows(world, &published),
        train: there
            .iter()
            .filter(|one| world.role(**one) == Role::Train)
            .map(|one| world.nevra(*one))
            .collect(),
        solution,
    }
}

fn needed(world: &World<'_>, id: PackageId, mut reasons: BTreeSet<Reason>) -> Needed {
    let package = world.package(id);
    if reasons.is_empty() {
        // Nothing asks for it: so it is there for what it supplements.
        let supplements = package.supplements.iter().map(ToString::to_string);
        reasons.extend(supplements.map(|capability| Reason::Supplements { capability }));
    }
    Needed {
        repository: world.repository(id).id.clone(),
        size: package.size,
        checksum: package.checksum,
        location: package.location,
        reasons: reasons.into_iter().collect(),
        nevra: package.nevra,
        id,
    }
}

fn needs(world: &World<'_>, package: PackageId) -> Vec<(Kind, u32, Capability)> {
    [Kind::Requires, Kind::Recommends, Kind::Conflicts]
        .into_iter()
        .flat_map(|kind| {
            world.list(package, kind).map(move |(number, capability)| (kind, number, capability))
        })
        .filter(|(_, _, capability)| !capability.name.starts_with("rpmlib("))
        .collect()
}

/// Which of the packages that are there meets a need of another. Itself: then nobody else does. The train's before
/// others: what the train has is not a reason for anything else.
fn who_meets(
    world: &World<'_>,
    package: PackageId,
    number: u32,
    capability: &Capability,
    there: &BTreeSet<PackageId>,
) -> Option<PackageId> {
    let meeting: Vec<PackageId> = match Dependency::of(capability) {
        Ok(Dependency::Simple(_)) => world
            .meets(package, number, Reading::Strict)
            .iter()
            .copied()
            .filter(|one| there.contains(one))
            .collect(),
        Ok(rich) => meeting_clauses(world, &rich, true, there),
        Err(_) => Vec::new(),
    };
    if meeting.contains(&package) {
        return None;
    }
    let train = |one: &&PackageId| world.role(**one) == Role::Train;
    meeting.iter().find(train).or(meeting.first()).copied()
}

/// The package that must be there for a rich conflict not to be one.
fn reconciling(world: &World<'_>, capability: &Capability, there: &BTreeSet<PackageId>) -> Option<PackageId> {
    let rich = Dependency::of(capability).ok().filter(|rich| !matches!(rich, Dependency::Simple(_)))?;
    meeting_clauses(world, &rich, false, there).first().copied()
}

/// The packages by which a rich dependency is met: those without which it would not be.
fn meeting_clauses(
    world: &World<'_>,
    rich: &Dependency,
    holds: bool,
    there: &BTreeSet<PackageId>,
) -> Vec<PackageId> {
    let reading = if holds { Reading::Strict } else { Reading::Wide };
    let clauses = crate::formula::clauses(rich, holds, &|capability| world.providers(capability, reading));
    let mut found: Vec<PackageId> = clauses
        .unwrap_or_default()
        .iter()
        .filter(|clause| {
            !clause.iter().any(|literal| !literal.installed && !there.contains(&literal.package))
        })
        .flatten()
        .filter(|literal| literal.installed && there.contains(&literal.package))
        .map(|literal| literal.package)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// What of the train the published packages take the place of.
pub(crate) fn shadows(world: &World<'_>, published: &[PackageId]) -> Vec<Shadow> {
    let mut found = BTreeSet::new();
    for package in published {
        let train = |candidates: Vec<PackageId>| {
            let of_train = candidates.into_iter().filter(|one| world.role(*one) == Role::Train);
            of_train.max_by(|a, b| world.evr(*a).cmp(&world.evr(*b)))
        };
        let same_name = world
            .named(world.name(*package))
            .into_iter()
            .filter(|other| !crosses_width(world, *package, *other))
            .collect();
        if let Some(other) = train(same_name) {
            let newer = world.evr(*package) > world.evr(other);
            found.insert(shadow(world, *package, other, if newer { How::Newer } else { How::NotNewer }));
        }
        for (_, capability) in world.list(*package, Kind::Obsoletes) {
            if let Some(other) = train(world.obsoleted(&capability))
                && world.name(other) != world.name(*package)
            {
                let how = How::Obsoletes { capability: capability.to_string() };
                found.insert(shadow(world, *package, other, how));
            }
        }
    }
    found.into_iter().collect()
}

fn crosses_width(world: &World<'_>, one: PackageId, other: PackageId) -> bool {
    matches!((world.fit(one), world.fit(other)), (Some(a), Some(b)) if a.side_by_side(b))
}

fn shadow(world: &World<'_>, package: PackageId, shadowed: PackageId, how: How) -> Shadow {
    Shadow {
        package: world.nevra(package),
        shadowed: world.nevra(shadowed),
        repository: world.repository(shadowed).id.clone(),
        how,
    }
}
