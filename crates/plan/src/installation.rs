//! What comes of what is to be published, on the machines that install from it.

use std::collections::BTreeSet;

use drivetrain_config::Config;
use drivetrain_model::Nevra;
use drivetrain_solve::{
    Closure, RepositoryIndex, Takeover, Unsolvable, Want, World, closure, paths_to_look_up,
};
use serde::Serialize;

use crate::refusal::chain;
use crate::{Inventories, Refusal, options, wants};

/// Installing what is to be published, from the train and the driver repository and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installation {
    /// All that is meant to be installed, at once: every package with modules, and what the configuration wants.
    pub together: Closure,
    /// Packages that nobody can install.
    pub uninstallable: Vec<Uninstallable>,
}

/// A package that is published and cannot be installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Uninstallable {
    /// Which.
    pub package: Nevra,
    /// Why.
    pub because: Unsolvable,
}

/// The files whose owners have to be known before [`installation`] can be asked, beyond those known already.
#[must_use]
pub fn files_to_install(
    config: &Config,
    inventories: &Inventories,
    own: &RepositoryIndex,
    wanted: &[String],
) -> BTreeSet<String> {
    let world = inventories.without_vendor(config, own);
    let texts = wanted.iter().cloned().chain(own.nevras().map(|nevra| nevra.to_string()));
    let found: Vec<Want> = texts.filter_map(|text| Want::find(&world, &text).ok()).collect();
    paths_to_look_up(&world, &found, &options(None))
}

/// Finds out whether what is to be published can be installed: what is wanted at once, and everything else by itself.
///
/// # Errors
/// Where what is wanted cannot be installed at once.
pub fn installation(
    config: &Config,
    inventories: &Inventories,
    own: &RepositoryIndex,
    wanted: &[String],
) -> Result<Installation, Refusal> {
    let world = inventories.without_vendor(config, own);
    let wants = wants(&world, wanted)?;
    let together = closure(&world, &wants, &options(None)).map_err(|unsolvable| cannot(&unsolvable))?;
    let there: BTreeSet<&Nevra> = together.packages.iter().map(|package| &package.nevra).collect();
    let uninstallable = own
        .nevras()
        .filter(|nevra| !there.contains(nevra))
        .filter_map(|nevra| alone(&world, nevra))
        .collect();
    Ok(Installation { uninstallable, together })
}

fn alone(world: &World<'_>, package: Nevra) -> Option<Uninstallable> {
    let want = Want::find(world, &package.to_string()).ok()?;
    let because = *closure(world, &[want], &options(None)).err()?;
    Some(Uninstallable { package, because })
}

fn cannot(unsolvable: &Unsolvable) -> Refusal {
    Refusal::new(
        format!(
            "what was built cannot be installed from the train and the driver repository alone:{}",
            chain(unsolvable)
        ),
        "add the repository that has what is missing to train.repositories, want it in driver.userspace.packages, or \
         leave the component out",
    )
}

/// What would take the place of what is to be published, with `dnf install` or `dnf upgrade` on a machine that sees the
/// train, the driver repository, and the vendor's where the configuration says so.
#[must_use]
pub fn takeovers(config: &Config, inventories: &Inventories, own: &RepositoryIndex) -> Vec<Takeover> {
    drivetrain_solve::takeovers(&inventories.consumer(config, own))
}
