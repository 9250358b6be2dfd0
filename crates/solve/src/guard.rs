//! What would take the place of what is published, on the nodes that install it.
//!
//! Newer vendors' repositories hold `*-dkms` packages that provide and obsolete the kmods: where a node sees such a
//! repository, a plain `dnf upgrade` swaps proven modules for a compiler run. The train can do the like with a newer
//! package of the same name. dnf leaves an installed package alone only where its repository goes before the other's by
//! priority, or where the other is excluded there; that was tried with dnf 4.14, and is what is looked for here.

use std::collections::BTreeSet;
use std::fmt;

use drivetrain_model::{Nevra, RepositoryId};
use serde::Serialize;

use crate::choose::choose;
use crate::closure::Options;
use crate::rules::{Rules, Scope};
use crate::world::{PackageId, Role, World};

/// A package that would come in the place of a published one, or beside it where it has no business.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Takeover {
    /// The published package; absent where nothing would be replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<Nevra>,
    /// The one that would come.
    pub taken_by: Nevra,
    /// Its repository.
    pub repository: RepositoryId,
    /// Why it would.
    #[serde(flatten)]
    pub by: By,
}

/// By what a package comes in the place of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum By {
    /// `dnf upgrade`: it obsoletes the published one.
    Obsoletes {
        /// The tag's text.
        capability: String,
    },
    /// `dnf upgrade`: it has the published one's name, and is newer.
    Newer,
    /// `dnf install`: it is chosen where the published one should be.
    Chosen,
    /// `dnf install`: it comes with what is installed, and compiles modules on the node.
    Dkms,
}

impl fmt::Display for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, repository) = (&self.taken_by, &self.repository);
        let package = self.package.as_ref().map_or_else(|| "what is published".to_owned(), Nevra::to_string);
        match &self.by {
            By::Obsoletes { capability } => write!(
                f,
                "{by} of {repository} would replace {package} with `dnf upgrade`, by its tag `Obsoletes: {capability}`"
            ),
            By::Newer => write!(
                f,
                "{by} of {repository} would replace {package} with `dnf upgrade`: it has its name, and is newer"
            ),
            By::Chosen => {
                write!(f, "`dnf install {}` would install {by} of {repository} instead of {package}", by.name)
            }
            By::Dkms => {
                write!(
                    f,
                    "installing what is published would bring {by} of {repository}, which compiles on every node"
                )
            }
        }
    }
}

/// Looks for what would take the place of the published packages, which are those of [`Role::Own`], in the world of a
/// consumer.
#[must_use]
pub fn takeovers(world: &World<'_>) -> Vec<Takeover> {
    let published: Vec<PackageId> = (0..world.len())
        .filter_map(|index| u32::try_from(index).ok().map(PackageId))
        .filter(|package| world.role(*package) == Role::Own && world.fit(*package).is_some())
        .collect();
    let mut found: BTreeSet<Takeover> = BTreeSet::new();
    for package in &published {
        found.extend(on_upgrade(world, *package));
    }
    found.extend(on_install(world, &published));
    found.into_iter().collect()
}

fn on_upgrade(world: &World<'_>, package: PackageId) -> Vec<Takeover> {
    let is_outranked = |other: PackageId| world.rank(package) < world.rank(other);
    let strangers = |other: &PackageId| world.role(*other) != Role::Own && !is_outranked(*other);
    let newer = world
        .named(world.name(package))
        .into_iter()
        .filter(strangers)
        .filter(|other| !may_be_together(world, package, *other) && world.evr(*other) > world.evr(package))
        .map(|other| takeover(world, Some(package), other, By::Newer));
    let obsoleters =
        world.obsoleters(package).into_iter().filter(|(other, _)| strangers(other)).map(|(other, tag)| {
            takeover(world, Some(package), other, By::Obsoletes { capability: tag.to_string() })
        });
    newer.chain(obsoleters).collect()
}

fn may_be_together(world: &World<'_>, one: PackageId, other: PackageId) -> bool {
    matches!((world.fit(one), world.fit(other)), (Some(a), Some(b)) if a.side_by_side(b))
}

/// What dnf would choose for the names of all that is published.
fn on_install(world: &World<'_>, published: &[PackageId]) -> Vec<Takeover> {
    let names: BTreeSet<&str> = published.iter().map(|package| world.name(*package)).collect();
    let wants: Vec<Vec<PackageId>> = names
        .iter()
        .map(|name| {
            let mut candidates = world.named(name);
            crate::policy::Policy::new(world).prune_without_recommendations(&mut candidates);
            candidates
        })
        .collect();
    let scope = Scope { installonly: Options::default().installonly, ..Scope::default() };
    let rules = Rules::gather(world, &wants, &scope);
    // Where nothing can be installed at all, that is told by whoever proves that it can.
    let chosen = choose(world, &rules, false).unwrap_or_default();
    chosen
        .into_iter()
        .filter(|package| world.role(*package) != Role::Own)
        .filter_map(|package| {
            let name = world.name(package);
            if names.contains(name) {
                let of = published.iter().copied().find(|own| world.name(*own) == name);
                return Some(takeover(world, of, package, By::Chosen));
            }
            is_dkms(name).then(|| takeover(world, None, package, By::Dkms))
        })
        .collect()
}

/// Whether a package of this name compiles modules where it is installed.
fn is_dkms(name: &str) -> bool {
    name == "dkms" || name.ends_with("-dkms")
}

fn takeover(world: &World<'_>, package: Option<PackageId>, other: PackageId, by: By) -> Takeover {
    Takeover {
        package: package.map(|package| world.nevra(package)),
        taken_by: world.nevra(other),
        repository: world.repository(other).id.clone(),
        by,
    }
}
