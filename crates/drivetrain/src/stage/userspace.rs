//! The userspace packages that the plan publishes.

use std::sync::Arc;

use drivetrain_config::Config;
use drivetrain_model::ExitCode;
use drivetrain_plan::{Inventories, UserspaceSet, expected, files_to_look_up, select, userspace};
use drivetrain_solve::{Closure, RepositoryIndex};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::stage::repositories::Repositories;
use crate::stage::{blocking, sources};

/// Finds the set for what the configuration wants, beside the packages that will be built.
pub async fn make(
    context: &Context,
    config: &Config,
    repositories: &mut Repositories,
    own: &Arc<RepositoryIndex>,
) -> Result<Option<UserspaceSet>> {
    let Some(settings) = &config.driver.userspace else { return Ok(None) };
    let (known, own_index, wanted) = (config.clone(), own.clone(), settings.packages.clone());
    let ask = move |inventories: &Inventories| files_to_look_up(&known, inventories, &own_index, &wanted);
    let inventories = repositories.look_up_all(context, config, ask).await?;
    let (config, own) = (config.clone(), own.clone());
    Ok(blocking(move || userspace(&config, &inventories, &own)).await??)
}

/// The answer of the plan to what the configuration wants, without anything else of a plan.
pub async fn ask(context: &Context, config: &Config) -> Result<Closure> {
    let mut repositories = Repositories::read(context, config).await?;
    let selection = select(config, &repositories.train, &repositories.vendor, &[])?;
    let components = sources::components_of(context, config, &selection).await?;
    let own = Arc::new(expected(config, &components));
    let set = make(context, config, &mut repositories, &own).await?;
    set.map(|set| set.closure)
        .ok_or_else(|| Failure::new(ExitCode::Internal, "nothing was wanted, and something was asked"))
}
