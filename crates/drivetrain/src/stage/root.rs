//! The root that builds see, where it is not this host's own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_build::{BuildError, BuildRoot, BuildRoots, Toolchain};
use drivetrain_config::{BuildRoot as Whose, Config};
use drivetrain_host::LocalSandbox;
use drivetrain_model::{Event, ExitCode, InputRole, LockedInput, Sha256Digest};
use drivetrain_plan::{
    Components, Inventories, RootSet, Selection, build_requirements, root, root_files_to_look_up,
};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::reporter::milliseconds;
use crate::stage::keys::Trust;
use crate::stage::plan::Planned;
use crate::stage::repositories::Repositories;
use crate::stage::{blocking, fetch};

/// The packages of the root that the configuration asks for; `None` where builds see this host.
pub async fn set(
    context: &Context,
    config: &Config,
    repositories: &mut Repositories,
    selection: &Selection,
    components: &Components,
) -> Result<Option<RootSet>> {
    let Whose::Train { packages } = &config.builder.root else { return Ok(None) };
    let needed = Arc::new(build_requirements(selection, components));
    let (known, wanted, also) = (config.clone(), packages.clone(), needed.clone());
    let ask = move |inventories: &Inventories| root_files_to_look_up(&known, inventories, &wanted, &also);
    let inventories = repositories.look_up_all(context, config, ask).await?;
    let config = config.clone();
    Ok(blocking(move || root(&config, &inventories, &needed)).await??)
}

/// A root, or what it takes to make it.
pub enum RootInputs {
    /// It was made before.
    There(BuildRoot),
    /// It has to be made.
    Packages {
        /// What it is called by.
        digest: Sha256Digest,
        /// Its packages, verified, each with the name that it goes by.
        packages: Vec<(String, Utf8PathBuf)>,
    },
}

/// Finds the root that a plan's build sees, or brings what it is made of; `None` where it sees this host, or nothing is
/// built.
pub async fn fetch(context: &Context, config: &Config, planned: &Planned) -> Result<Option<RootInputs>> {
    let inputs: Vec<&LockedInput> =
        planned.plan.lock.inputs.iter().filter(|input| input.role == InputRole::BuildRoot).collect();
    if inputs.is_empty() || !planned.plan.builds() {
        return Ok(None);
    }
    let mut trusted = BTreeMap::new();
    for (id, repository) in &config.train.repositories {
        trusted.insert(id.clone(), (repository, Trust::of(context, id, repository).await?));
    }
    // Where packages are verified with other keys, or now are and were not before, it is not the same root.
    let mut text = format!("{}\n", planned.toolchain.digest);
    for input in &inputs {
        if let Some((_, trust)) = input.repository.as_ref().and_then(|id| trusted.get(id)) {
            text.push_str(&format!("{}\n", trust.digest_for(&input.nevra)));
        }
    }
    let digest = Sha256Digest::of(text.as_bytes());
    let existing = BuildRoots::new(context.state.roots()).existing(digest).await;
    if let Some(root) = existing.map_err(|error| not_made(&error))? {
        return Ok(Some(RootInputs::There(root)));
    }
    if !rustix::process::geteuid().is_root() {
        // Before anything is fetched for it.
        let message = "a build root of the train's packages can be made by root alone";
        return Err(Failure::new(ExitCode::Machine, message)
            .next("run drivetrain as root, for instance with sudo, or build with `root: host`"));
    }
    let mut wanted = Vec::new();
    for input in inputs {
        let found = input.repository.as_ref().and_then(|id| trusted.get(id));
        let (repository, trust) = found.ok_or_else(|| {
            Failure::new(ExitCode::Internal, format!("{} is of no repository of the train", input.nevra))
        })?;
        wanted.push((input, fetch::request(input, repository)?, trust));
    }
    let files = fetch::verified(context, &wanted).await?;
    let names = wanted.iter().map(|(input, _, _)| input.nevra.file_name());
    let packages = names.zip(files).collect();
    Ok(Some(RootInputs::Packages { digest, packages }))
}

/// The root, made where it has to be, with the tools that were planned.
pub async fn ready(
    context: &Context,
    config: &Config,
    planned: &Planned,
    host: &LocalSandbox,
    inputs: RootInputs,
    log: &Utf8Path,
) -> Result<BuildRoot> {
    let started = Instant::now();
    let changed = matches!(inputs, RootInputs::Packages { .. });
    let root = match inputs {
        RootInputs::There(root) => root,
        RootInputs::Packages { digest, packages } => {
            let doing = format!("installing {} packages into a build root", packages.len());
            context.reporter.emit(Event::MachineDoing { doing });
            let roots = BuildRoots::new(context.state.roots());
            let made = roots.make(host, digest, packages, log, &context.cancel).await;
            made.map_err(|error| context.or_interrupted(not_made(&error)))?
        }
    };
    let known = root.path().with_extension("tools.json");
    let found = Toolchain::probe(host, &root.file_system(), &known).await;
    let found = found.map_err(|error| {
        Failure::of(ExitCode::Plan, &error)
            .next("add the package to builder.packages, by the train's name for it")
    })?;
    super::machine::require_macros(config, planned, &found, "builder.packages")?;
    context.reporter.emit(Event::MachineStep {
        step: "build root of the train's packages".to_owned(),
        because: found.description,
        changed,
        ms: milliseconds(started),
    });
    Ok(root)
}

fn not_made(error: &BuildError) -> Failure {
    Failure::of(ExitCode::Machine, error)
}
