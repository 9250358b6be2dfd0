//! How components are built, from the configuration.

use drivetrain_build::{Debuginfo, Recipe};
use drivetrain_config::Config;

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
