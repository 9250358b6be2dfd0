//! From proven packages to packages that a kernel was booted with.

use std::collections::BTreeMap;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_boot::{
    BootError, BootOptions, BootRequest, BootVerdict, Emulator, EmulatorThere, Installed, InstalledTree,
    WantedModule, summary_of_check,
};
use drivetrain_build::{BuildError, BuildRoot, BuildRoots, CachedComponent, RemoteBuilder, digest_of};
use drivetrain_config::{BootOn, BootTest, Config};
use drivetrain_host::{HostError, LocalSandbox, SandboxOptions};
use drivetrain_model::{
    BootAction, BootPolicy, ComponentAction, Event, ExitCode, LockedInput, Nevra, Plan, RepositoryId,
    Sha256Digest,
};
use drivetrain_plan::{BootFacts, BootSet, Inventories, boot_set, files_to_install};
use drivetrain_publish::{BootedWith, Record};
use drivetrain_rpmfile::RpmFile;
use fs_err as fs;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::provider;
use crate::stage::install::{self, Own};
use crate::stage::keys::Trust;
use crate::stage::machine::{self, ForRun, Workshop};
use crate::stage::plan::Planned;
use crate::stage::prove::{Proven, add, keep};
use crate::stage::{blocking, fetch, utf8};
use crate::view;

/// The verdict, in the evidence and in the run's directory.
pub const VERDICT: &str = "boot.json";
const CONSOLE: &str = "boot-console.log";
/// A module whose being there says that RDMA can be tried, and what that takes of a system.
const RXE: &str = "rdma_rxe";
const RDMA_TOOLS: [&str; 2] = ["iproute", "libibverbs-utils"];

/// What a boot is planned by: what is at hand, what is served, and whether it can be made.
pub async fn facts(
    context: &Context,
    config: &Config,
    plan: &Plan,
    workshop: &Workshop,
    finished: &[CachedComponent],
    served: Option<&Record>,
) -> Result<BootFacts> {
    let verdicts = served.and_then(|record| record.verdicts);
    let of_served = verdicts.filter(|_| plan.is_done());
    let booted = of_served.and_then(|verdicts| verdicts.booted);
    let untold = (plan.is_done() && of_served.is_none())
        .then(|| "its record does not say how it was proven; what is published anew is booted".to_owned());
    let impossible = match require_possible(context, config, workshop).await {
        Ok(()) => None,
        Err(BootError::Cancelled) => return Err(Failure::interrupted()),
        Err(error) => Some(error.to_string()),
    };
    Ok(BootFacts {
        modules: of_served.map(|verdicts| verdicts.modules).or_else(|| modules_at_hand(plan, finished)),
        served: booted.map(|booted| (booted.modules, booted.problems)),
        on: workshop.machine().filter(|_| config.prove.on == BootOn::Machine),
        impossible: impossible.or(untold),
        anew: false,
    })
}

/// How many modules the components of a plan have; `None` where one of them is to be built.
fn modules_at_hand(plan: &Plan, finished: &[CachedComponent]) -> Option<usize> {
    let of = |action: &ComponentAction| {
        let key = match action {
            ComponentAction::Build => return None,
            ComponentAction::Reuse { key } => key,
            ComponentAction::Repackage { built, .. } => built,
        };
        let entry = finished.iter().find(|entry| entry.key == *key)?;
        Some(entry.packages.iter().map(|package| package.modules.len()).sum::<usize>())
    };
    plan.components.iter().map(|component| of(&component.action)).sum()
}

async fn require_possible(context: &Context, config: &Config, workshop: &Workshop) -> Result<(), BootError> {
    if config.train.arch.as_str() != std::env::consts::ARCH {
        let (wanted, host) = (config.train.arch.to_string(), std::env::consts::ARCH.to_owned());
        return Err(BootError::Architecture { wanted, host });
    }
    match (config.prove.on, workshop) {
        (BootOn::Host, _) => drivetrain_boot::require_qemu(),
        // It is as it is. One that is prepared may get what it lacks, and is asked then.
        (BootOn::Machine, Workshop::Host(builder)) => has_qemu(context, config, builder).await,
        (BootOn::Machine, _) => Ok(()),
    }
}

async fn has_qemu(context: &Context, config: &Config, builder: &RemoteBuilder) -> Result<(), BootError> {
    let Some(settings) = provider::settings(config) else { return Ok(()) };
    EmulatorThere::new(builder.machine().clone(), &settings.directory).require_qemu(&context.cancel).await
}

/// Refuses a machine that was made ready and on which no kernel can be booted, before a build is paid for.
pub async fn require_there(context: &Context, config: &Config, builder: &RemoteBuilder) -> Result<()> {
    let required = has_qemu(context, config, builder).await;
    required.map_err(|error| context.or_interrupted(failed(&error)))
}

/// Refuses a plan whose boot is required and cannot be made, before a build is paid for.
pub async fn require_planned(context: &Context, config: &Config, planned: &Planned) -> Result<()> {
    let Some(boot) = &planned.plan.boot else { return Ok(()) };
    if boot.policy != BootPolicy::Require || !matches!(boot.action, BootAction::Impossible { .. }) {
        return Ok(());
    }
    require_possible(context, config, &planned.workshop).await.map_err(|error| failed(&error))
}

/// Boots the kernel with what is to be published, and adds what became of it to the evidence. With
/// [`BootTest::Require`] what is not well ends here.
pub async fn make(
    context: &Context,
    config: &Config,
    planned: &mut Planned,
    proven: &mut Proven,
    of: ForRun<'_>,
    how: BootTest,
) -> Result<()> {
    let run = of.directory;
    let verdict = match test(context, config, planned, proven, of).await {
        Ok(verdict) => verdict,
        Err(failure) if how == BootTest::Warn && !context.cancel.is_cancelled() => {
            context.reporter.warn(format!("the boot test could not be made: {}", failure.one_line()));
            return Ok(());
        }
        Err(failure) => return Err(context.or_interrupted(failure)),
    };
    add(&mut proven.evidence, VERDICT, &verdict)?;
    if let Ok(console) = drivetrain_boot::read_console(&run.join(CONSOLE)) {
        proven.evidence.insert(CONSOLE.to_owned(), console);
    }
    keep(run, &proven.evidence)?;
    context.reporter.emit(event(&verdict));
    for warning in &verdict.warnings {
        context.reporter.warn(warning.clone());
    }
    proven.verdicts.booted = Some(BootedWith {
        modules: verdict.ours().filter(|module| module.result.is_good()).count(),
        problems: verdict.problems.len(),
        functional: verdict.functional.is_some() && verdict.is_good(),
    });
    require_good(context, planned, &verdict, run, how)
}

/// Shows what became of the boot of a run, where there was one.
pub fn show(context: &Context, run: &Utf8Path, json: bool) {
    let Ok(text) = fs::read_to_string(run.join(VERDICT)) else { return };
    if json {
        let verdict = serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default();
        return context.reporter.pause(|| view::print(&format!("{verdict}\n")));
    }
    if let Ok(verdict) = serde_json::from_str::<BootVerdict>(&text) {
        context.reporter.pause(|| view::print(&format!("\n{}\n", view::boot::boot(&verdict))));
    }
}

fn event(verdict: &BootVerdict) -> Event {
    Event::Booted {
        kernel: verdict.kernel.clone(),
        modules: verdict.ours().count(),
        loaded: verdict.ours().filter(|module| module.result.is_good()).count(),
        by: verdict.by(),
        functional: verdict.functional.as_ref().map(summary_of_check),
        problems: verdict.problems.clone(),
        ms: verdict.ms,
    }
}

fn require_good(
    context: &Context,
    planned: &Planned,
    verdict: &BootVerdict,
    run: &Utf8Path,
    how: BootTest,
) -> Result<()> {
    if verdict.is_good() {
        return Ok(());
    }
    if how == BootTest::Warn {
        for problem in &verdict.problems {
            context.reporter.warn(problem.clone());
        }
        return Ok(());
    }
    let kernel = &verdict.kernel;
    let served = planned.plan.boots_served();
    let message = if served {
        let path = &planned.address.path;
        format!("kernel {kernel} was booted with what is served at {path}, and not all was well")
    } else {
        format!("kernel {kernel} was booted with what was built, and not all was well; nothing was published")
    };
    let mut failure = Failure::new(ExitCode::Proof, message);
    failure.causes = verdict.problems.iter().take(20).cloned().collect();
    let back = if served { "; `drivetrain rollback` serves the version before" } else { "" };
    Err(failure.next(format!(
        "the whole verdict is in {run}/{VERDICT}, and what the kernel said in {run}/{CONSOLE}{back}"
    )))
}

async fn test(
    context: &Context,
    config: &Config,
    planned: &mut Planned,
    proven: &Proven,
    of: ForRun<'_>,
) -> Result<BootVerdict> {
    let run = of.directory;
    require_possible(context, config, &planned.workshop).await.map_err(|error| failed(&error))?;
    let packages: Vec<Utf8PathBuf> =
        proven.rpms.iter().filter_map(|path| path.clone().try_into().ok()).collect();
    let own = install::read(config, &packages).await?;
    let set = solve(context, config, planned, proven, &own).await?;
    let sandbox = SandboxOptions::new(context.state.sandbox());
    let host = LocalSandbox::new(sandbox).await.map_err(|error| Failure::of(ExitCode::Machine, &error))?;
    let files = packages_of(context, config, &set, &own, &packages).await?;
    let scratch =
        context.state.scratch_directory().map_err(|error| Failure::of(ExitCode::Failure, &error))?;
    let place = utf8(scratch.path())?;
    let (tree, _root) = installed(context, &host, files, &place, run).await?;
    let agent = std::env::current_exe().map_err(|error| Failure::of(ExitCode::Internal, &error))?;
    let agent = Utf8PathBuf::from_path_buf(agent)
        .map_err(|path| Failure::new(ExitCode::Failure, format!("{} is not UTF-8", path.display())))?;
    let emulator = match config.prove.on {
        BootOn::Host => Emulator::Here,
        BootOn::Machine => Emulator::There(machine::emulator(context, config, planned, of).await?),
    };
    let options = BootOptions { emulator, memory: config.prove.memory, ..BootOptions::new(agent) };
    let (options, beside) = (options.with_timeout(config.prove.timeout), place.join("boot"));
    let request = BootRequest {
        kernel: planned.selection.kernel.release.clone(),
        modules: proven.modules.iter().map(wanted).collect(),
        functional: true,
    };
    let doing = format!("booting {} with {} modules", request.kernel, request.modules.len());
    context.reporter.emit(Event::MachineDoing { doing });
    let booting = drivetrain_boot::boot(&host, &tree, &request, &options, run, &beside, &context.cancel);
    booting.await.map_err(|error| failed(&error))
}

fn wanted(module: &drivetrain_prove::ProvenModule) -> WantedModule {
    WantedModule { name: module.name.clone(), path: module.path.clone(), package: module.package.clone() }
}

fn failed(error: &BootError) -> Failure {
    Failure::of(ExitCode::Machine, error)
}

/// What is installed: the packages to publish as they install together, and what that takes of the train.
async fn solve(
    context: &Context,
    config: &Config,
    planned: &mut Planned,
    proven: &Proven,
    own: &Own,
) -> Result<BootSet> {
    let has_rdma = proven.modules.iter().any(|module| module.name == RXE);
    let also: Vec<&'static str> = if has_rdma { RDMA_TOOLS.to_vec() } else { Vec::new() };
    let texts: Vec<String> =
        own.wanted.iter().cloned().chain(also.iter().map(|name| (*name).to_owned())).collect();
    let (settings, index) = (config.clone(), own.index.clone());
    let ask = move |inventories: &Inventories| files_to_install(&settings, inventories, &index, &texts);
    let inventories = planned.repositories.look_up_all(context, config, ask).await?;
    let (config, index, wanted) = (config.clone(), own.index.clone(), own.wanted.clone());
    let kernel = planned.selection.kernel.release.clone();
    let solved = blocking(move || boot_set(&config, &inventories, &index, &wanted, &kernel, &also)).await?;
    solved.map_err(|refusal| Failure { code: ExitCode::Proof, ..Failure::from(refusal) })
}

/// A package's name for rpm, its file, and what identifies it.
struct File {
    name: String,
    path: Utf8PathBuf,
    identity: String,
}

/// The files of a set: the published ones as they are here, the train's verified.
async fn packages_of(
    context: &Context,
    config: &Config,
    set: &BootSet,
    own: &Own,
    packages: &[Utf8PathBuf],
) -> Result<Vec<File>> {
    let mut files = own_files(set, &own.files, packages).await?;
    let mut trusted: BTreeMap<RepositoryId, _> = BTreeMap::new();
    for (id, repository) in config.repositories() {
        let trust = Trust::of(context, &id, repository).await?;
        trusted.insert(id, (repository, trust));
    }
    let mut asked: Vec<(&LockedInput, _, &Trust)> = Vec::new();
    for input in &set.train {
        let found = input.repository.as_ref().and_then(|id| trusted.get(id));
        let (repository, trust) = found.ok_or_else(|| {
            Failure::new(ExitCode::Internal, format!("{} is of no repository of the train", input.nevra))
        })?;
        asked.push((input, fetch::request(input, repository)?, trust));
    }
    let fetched = fetch::verified(context, &asked).await?;
    files.extend(asked.iter().zip(fetched).map(|((input, _, trust), path)| File {
        name: input.nevra.file_name(),
        path,
        identity: format!("{} {}", input.checksum, trust.digest_for(&input.nevra)),
    }));
    Ok(files)
}

async fn own_files(set: &BootSet, headers: &[RpmFile], packages: &[Utf8PathBuf]) -> Result<Vec<File>> {
    let of = |nevra: &Nevra| {
        let found = headers.iter().zip(packages).find(|(header, _)| header.nevra == *nevra);
        found.map(|(header, path)| (header.nevra.file_name(), path.clone()))
    };
    let files: Vec<(String, Utf8PathBuf)> = set.own.iter().filter_map(of).collect();
    let digests = blocking(move || {
        files
            .into_iter()
            .map(|(name, path)| {
                let (_, digest) = digest_of(&path).map_err(|error| Failure::of(ExitCode::Failure, &error))?;
                Ok(File { name, path, identity: digest.to_string() })
            })
            .collect()
    });
    digests.await?
}

/// The tree, and what keeps it from being removed: made once for each set of packages where rpm can install it.
async fn installed(
    context: &Context,
    host: &LocalSandbox,
    files: Vec<File>,
    scratch: &Utf8Path,
    run: &Utf8Path,
) -> Result<(InstalledTree, Option<BuildRoot>)> {
    let started = Instant::now();
    let mut identities: Vec<String> =
        files.iter().map(|file| format!("{} {}\n", file.name, file.identity)).collect();
    identities.sort();
    let digest = Sha256Digest::of(format!("drivetrain boot root 1\n{}", identities.concat()).as_bytes());
    let count = files.len();
    let packages: Vec<(String, Utf8PathBuf)> = files.into_iter().map(|file| (file.name, file.path)).collect();
    let roots = BuildRoots::new(context.state.boot_roots());
    let log = run.join("boot-install.log");
    let existing = roots.existing(digest).await.map_err(|error| not_installed(&error))?;
    let changed = existing.is_none();
    let made = match existing {
        Some(root) => Ok(root),
        None => roots.make(host, digest, packages.clone(), &log, &context.cancel).await,
    };
    let (tree, root) = match made {
        Ok(root) => (InstalledTree { root: root.path().to_owned(), how: Installed::ByRpm }, Some(root)),
        Err(BuildError::Host(HostError::NotRoot { .. } | HostError::MissingTool { .. })) => {
            let place = scratch.join("root");
            let unpacking = drivetrain_boot::install(host, &place, packages, &log, &context.cancel);
            (unpacking.await.map_err(|error| failed(&error))?, None)
        }
        Err(error) => return Err(context.or_interrupted(not_installed(&error))),
    };
    context.reporter.emit(Event::MachineStep {
        step: "a system to boot".to_owned(),
        because: format!("{count} packages, {}", tree.how.in_words()),
        changed,
        ms: crate::reporter::milliseconds(started),
    });
    Ok((tree, root))
}

fn not_installed(error: &BuildError) -> Failure {
    Failure::because(ExitCode::Proof, "what is to be published cannot be installed to be booted", error)
}
