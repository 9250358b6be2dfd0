//! The site's Kayobe configuration, applied to a machine before all other preparation.

use std::time::Duration;

use camino::Utf8Path;
use drivetrain_config::{Kayobe, KayobeGroup, Prepare, VaultPassword};
use drivetrain_fetch::Secret;
use drivetrain_host::{Machine, SshOptions};
use drivetrain_machines::Tell;
use drivetrain_machines::kayobe::{
    Configuring, KayobeCommand, KayobeOptions, VaultSource, configure, digest,
};
use drivetrain_model::{ExitCode, Sha256Digest};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::stage::machine::of_machine;
use crate::stage::utf8;

/// What a plan is made with: a digest of the configuration; `None` where kayobe is not run.
pub async fn planned(prepare: &Prepare) -> Result<Option<Sha256Digest>> {
    let Some(kayobe) = &prepare.kayobe else { return Ok(None) };
    let options = options(kayobe);
    // As many files as a site's collections have: not on a thread that others wait for.
    let found = tokio::task::spawn_blocking(move || digest(&options)).await;
    let found = found.map_err(|error| crate::failure::internal(&error))?;
    found.map(Some).map_err(|error| of_machine(&error))
}

/// What is done, for the plan.
pub fn in_words(kayobe: &Kayobe) -> String {
    let commands = options(kayobe).commands().join(", ");
    match &kayobe.environment {
        Some(environment) => format!("configured by {commands} (environment {environment})"),
        None => format!("configured by {commands}"),
    }
}

/// Has kayobe configure a machine, as the plan says.
pub async fn run(
    context: &Context,
    kayobe: &Kayobe,
    planned: &Sha256Digest,
    machine: &dyn Machine,
    ssh: &SshOptions,
    log: &Utf8Path,
    tell: Tell<'_>,
) -> Result<()> {
    let scratch = context.state.scratch_directory().map_err(|error| {
        Failure::because(ExitCode::Failure, "cannot make a directory for kayobe's files", &error)
    })?;
    let scratch = utf8(scratch.path())?;
    let work = Configuring { machine, ssh, planned, scratch: &scratch, log, tell, cancel: &context.cancel };
    configure(&options(kayobe), &work).await.map_err(|error| of_machine(&error))
}

fn options(kayobe: &Kayobe) -> KayobeOptions {
    let (group, of) = match kayobe.group {
        KayobeGroup::Seed => ("seed", "seed"),
        KayobeGroup::SeedHypervisor => ("seed-hypervisor", "seed hypervisor"),
        KayobeGroup::InfraVms => ("infra-vms", "infra vm"),
        KayobeGroup::Overcloud => ("overcloud", "overcloud"),
    };
    let mut groups = vec![group.to_owned()];
    groups.extend(kayobe.groups.iter().filter(|further| *further != group).cloned());
    let host_configure = kayobe.host_configure.as_ref().map(|configure| KayobeCommand {
        of,
        tags: configure.tags.clone(),
        skip_tags: configure.skip_tags.clone(),
    });
    let vault = kayobe.vault_password.as_ref().map(|password| match password {
        VaultPassword::Given(secret) => VaultSource::Given(Secret::new(secret.expose())),
        VaultPassword::File(path) => VaultSource::File(path.clone()),
    });
    KayobeOptions {
        configuration: kayobe.configuration.clone(),
        environment: kayobe.environment.clone(),
        program: kayobe.program.clone(),
        host: kayobe.host.clone(),
        groups,
        host_configure,
        playbooks: kayobe.playbooks.clone(),
        variables: kayobe.variables.clone(),
        vault,
        deadline: Duration::from_secs(u64::from(kayobe.deadline) * 60),
    }
}
