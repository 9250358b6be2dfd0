//! How components are built, from the configuration.

use drivetrain_build::{Debuginfo, Patch, Recipe};
use drivetrain_config::Config;

use crate::components::OrderedComponent;

/// The recipe of every component of a configuration: the defaults, with what the configuration adds. Whether the
/// builder has `%kernel_module_package` decides what the packages are called.
#[must_use]
pub fn recipe(config: &Config, kernel_module_package: bool) -> Recipe {
    let builder = &config.builder;
    let mut recipe = Recipe { kernel_module_packages: kernel_module_package, ..Recipe::default() };
    recipe.macros.extend(config.driver.macros.clone());
    recipe.with.extend(config.driver.with.iter().cloned());
    recipe.without.extend(config.driver.without.iter().cloned());
    recipe.with.retain(|name| !config.driver.without.contains(name));
    recipe.debuginfo = match builder.debuginfo {
        drivetrain_config::Debuginfo::Drop => Debuginfo::Drop,
        drivetrain_config::Debuginfo::Keep => Debuginfo::Keep,
    };
    recipe
}

/// The recipe of one component: that of all, with its own patches.
#[must_use]
pub fn recipe_of(component: &OrderedComponent, recipe: &Recipe) -> Recipe {
    let applied = component.patches.iter().filter(|patch| patch.planned.applied);
    let patches = applied.map(|patch| Patch {
        name: patch.planned.file.clone(),
        path: patch.path.clone(),
        sha256: patch.planned.sha256,
    });
    Recipe { patches: patches.collect(), ..recipe.clone() }
}
