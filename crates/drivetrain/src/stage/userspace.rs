//! The userspace packages that the plan publishes.

use std::sync::Arc;

use drivetrain_config::Config;
use drivetrain_model::ExitCode;
use drivetrain_plan::{UserspaceSet, expected, files_to_look_up, select, userspace};
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
    let wanted = settings.packages.clone();
    look_up_files(context, config, repositories, own, &wanted).await?;
    let (config, inventories, own) = (config.clone(), repositories.inventories.clone(), own.clone());
    Ok(blocking(move || userspace(&config, &inventories, &own)).await??)
}

/// The answer of the plan to what the configuration wants, without anything else of a plan.
pub async fn ask(context: &Context, config: &Config) -> Result<Closure> {
    let mut repositories = Repositories::read(context, config).await?;
    let selection = select(config, &repositories.train, &repositories.vendor)?;
    let components = sources::components_of(context, config, &selection).await?;
    let own = Arc::new(expected(config, &components));
    let set = make(context, config, &mut repositories, &own).await?;
    set.map(|set| set.closure)
        .ok_or_else(|| Failure::new(ExitCode::Internal, "nothing was wanted, and something was asked"))
}

/// Looks up the owners of all files that the wanted packages may need. Each owner may need further files.
pub async fn look_up_files(
    context: &Context,
    config: &Config,
    repositories: &mut Repositories,
    own: &Arc<RepositoryIndex>,
    wanted: &[String],
) -> Result<()> {
    loop {
        let (config, inventories) = (config.clone(), repositories.inventories.clone());
        let (own, wanted) = (own.clone(), wanted.to_vec());
        let paths = blocking(move || files_to_look_up(&config, &inventories, &own, &wanted)).await?;
        if !repositories.look_up(context, &paths).await? {
            return Ok(());
        }
    }
}
