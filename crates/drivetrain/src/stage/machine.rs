//! The machine to build on: looked at for the plan, made and made ready for the build, and given back.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_boot::EmulatorThere;
use drivetrain_build::{BuildRoot, Place, RemoteBuilder, Toolchain};
use drivetrain_config::{BuilderKind, Config, MachineSettings, Prepare};
use drivetrain_host::{HostError, LocalSandbox, Machine, SshMachine};
use drivetrain_machines::{
    Entry, Lease, LeaseBook, LeaseId, Leased, MachineError, Preparation, Progress, Provider,
    RepositoryDefinition, give_back, hold, let_go, prepare, reap, take,
};
use drivetrain_model::{Event, ExitCode, RunId, Sha256Digest};
use jiff::{SignedDuration, Timestamp};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::provider;
use crate::reporter::milliseconds;
use crate::run_lock;
use crate::stage::kayobe;
use crate::stage::keys::Trust;
use crate::stage::plan::Planned;
use crate::stage::repositories::Repositories;

const UP_PAUSE: Duration = Duration::from_secs(2);

/// How long a machine may take to boot.
fn patience(settings: &MachineSettings) -> Duration {
    Duration::from_secs(u64::from(settings.patience) * 60)
}

/// Where a plan's components are built.
#[derive(Clone)]
pub enum Workshop {
    /// On this host.
    Here(Arc<LocalSandbox>),
    /// On a host that is there and as it should be.
    Host(RemoteBuilder),
    /// On a host that is there and has to be made ready; by the site's Kayobe configuration too, where that has a digest.
    ToPrepare(Arc<SshMachine>, Option<Sha256Digest>),
    /// On a machine that has to be made, and then made ready like that.
    ToMake(Arc<dyn Provider>, Option<Sha256Digest>),
}

impl Workshop {
    /// The machine in words; absent for this host.
    pub fn machine(&self) -> Option<String> {
        match self {
            Self::Here(_) => None,
            Self::Host(builder) => Some(builder.machine().name().to_owned()),
            Self::ToPrepare(machine, _) => Some(machine.name().to_owned()),
            Self::ToMake(provider, _) => Some(format!("a machine of {}", provider.name())),
        }
    }
}

/// What was made ready to build in, for as long as a build takes.
pub enum Ready {
    /// A machine.
    Machine(RemoteBuilder),
    /// A root on this host.
    Root(BuildRoot),
}

/// What is known of a builder that is another machine before anything is done to it.
pub async fn look(
    context: &Context,
    config: &Config,
    repositories: &Repositories,
) -> Result<(Workshop, Toolchain, Vec<String>)> {
    let Some(settings) = provider::settings(config) else { return Err(no_machine()) };
    if let BuilderKind::Ssh { ssh, .. } = &config.builder.kind {
        let machine = SshMachine::new(provider::ssh_host(ssh)).map_err(|error| of_host(&error))?;
        let machine = Arc::new(machine);
        machine.connect().await.map_err(|error| of_host(&error))?;
        let name = machine.name().to_owned();
        if let Some(prepare) = &settings.prepare {
            let configured = kayobe::planned(prepare).await?;
            let toolchain = promised(&name, &name, prepare, configured.as_ref(), repositories);
            let lines = vec![name, prepared_words(prepare)];
            return Ok((Workshop::ToPrepare(machine, configured), toolchain, lines));
        }
        let builder = install(context, settings, machine).await?;
        let toolchain = builder.toolchain(&context.cancel).await.map_err(|error| of_build(&error))?;
        return Ok((Workshop::Host(builder), toolchain, vec![name]));
    }
    let Some(provider) = provider::provider(config)? else { return Err(no_machine()) };
    let prepare = settings.prepare.clone().unwrap_or_default();
    let configured = kayobe::planned(&prepare).await?;
    let mut lines = vec![format!("a machine of {}", provider.name())];
    lines.extend(provider.check().await.map_err(|error| of_machine(&error))?);
    let image = provider.image().await.map_err(|error| of_machine(&error))?;
    lines.push(prepared_words(&prepare));
    let toolchain = promised("the machine", &image, &prepare, configured.as_ref(), repositories);
    Ok((Workshop::ToMake(provider, configured), toolchain, lines))
}

fn no_machine() -> Failure {
    Failure::new(ExitCode::Internal, "the configuration names no machine, and one was asked for")
}

fn prepared_words(prepare: &Prepare) -> String {
    let mut words = Vec::new();
    words.extend(prepare.kayobe.as_deref().map(kayobe::in_words));
    if prepare.sync {
        words.push("brought to the train's packages".to_owned());
    }
    if prepare.boot {
        words.push("running the kernel that is built for".to_owned());
    }
    if !prepare.packages.is_empty() {
        words.push(format!("with {}", prepare.packages.join(", ")));
    }
    words.join(", ")
}

/// The tools of a machine that is not there yet. They follow from what it begins from, from the site's configuration
/// of it, from the packages that it gets and from the repositories that these come from: all that is known before, and
/// so the plan of a machine that nobody has to make.
fn promised(
    name: &str,
    image: &str,
    prepare: &Prepare,
    configured: Option<&Sha256Digest>,
    repositories: &Repositories,
) -> Toolchain {
    let states =
        repositories.train.iter().map(|repository| format!("{} {}\n", repository.id, repository.repomd));
    let mut text = format!(
        "drivetrain machine 1\n{image}\nsync {}\n{}\n{}",
        prepare.sync,
        prepare.packages.join("\n"),
        states.collect::<String>()
    );
    if let Some(digest) = configured {
        text.push_str(&format!("kayobe {digest}\n"));
    }
    let what = match (configured, prepare.sync) {
        (_, true) => "brought to the train's packages",
        (Some(_), false) => "configured by kayobe",
        (None, false) => "with the image's packages",
    };
    Toolchain {
        digest: Sha256Digest::of(text.as_bytes()),
        description: format!("that of {name}, {what}"),
        kernel_module_package: prepare.packages.iter().any(|package| package == "kernel-rpm-macros"),
    }
}

/// Puts drivetrain's program on a machine.
async fn install(
    context: &Context,
    settings: &MachineSettings,
    machine: Arc<dyn Machine>,
) -> Result<RemoteBuilder> {
    let place = Place::new(&settings.directory).map_err(|error| Failure::new(ExitCode::Usage, error))?;
    let worker = match &settings.worker {
        Some(worker) => worker.clone(),
        None => own_program()?,
    };
    RemoteBuilder::install(machine, place, &worker, &context.cancel).await.map_err(|error| of_build(&error))
}

fn own_program() -> Result<Utf8PathBuf> {
    let path = std::env::current_exe()
        .and_then(|path| Utf8PathBuf::from_path_buf(path).map_err(|_| std::io::Error::other("not UTF-8")))
        .map_err(|error| {
            Failure::because(ExitCode::Failure, "drivetrain's own program cannot be found", &error)
        })?;
    if path.exists() {
        return Ok(path);
    }
    // Linux adds to the name of a program whose file is gone that it is.
    let shown = path.as_str().trim_end_matches(" (deleted)");
    Err(Failure::new(ExitCode::Machine, format!("{shown} was replaced while it ran, by an upgrade perhaps"))
        .next("run again: a machine gets the program that runs the plan"))
}

/// The machine that a run holds, so that it is given back whatever becomes of the run.
#[derive(Default)]
pub struct Held {
    leased: Mutex<Option<(Arc<dyn Provider>, LeaseId)>>,
    used: Mutex<Option<Arc<dyn Machine>>>,
    host: Mutex<Option<Taken>>,
}

/// A host that is there, taken for this run.
struct Taken {
    machine: Arc<dyn Machine>,
    place: Utf8PathBuf,
    lease: Lease,
}

/// How long a machine may take to end what was given up on it.
const SETTLE_PATIENCE: Duration = Duration::from_secs(30);

impl Held {
    fn hold(&self, provider: &Arc<dyn Provider>, lease: &LeaseId) {
        *unpoisoned(&self.leased) = Some((provider.clone(), lease.clone()));
    }

    fn took(&self, machine: &Arc<dyn Machine>, place: Utf8PathBuf, lease: Lease) {
        *unpoisoned(&self.host) = Some(Taken { machine: machine.clone(), place, lease });
    }

    fn uses(&self, machine: &Arc<dyn Machine>) {
        *unpoisoned(&self.used) = Some(machine.clone());
    }

    /// The machine that is used, where there is one.
    fn machine(&self) -> Option<Arc<dyn Machine>> {
        unpoisoned(&self.used).clone()
    }

    /// Gives the machine back, where there is one. `keep` leaves it, for somebody to look at.
    pub async fn give_back(&self, context: &Context, keep: bool, why: &str) -> Result<()> {
        let (used, leased) = (unpoisoned(&self.used).take(), unpoisoned(&self.leased).take());
        let Some((provider, lease)) = leased else {
            if let Some(machine) = used {
                // What it has not ended by then, it ends by itself after a while.
                drop(tokio::time::timeout(SETTLE_PATIENCE, machine.settle()).await);
            }
            let host = unpoisoned(&self.host).take();
            if let Some(Taken { machine, place, lease }) = host {
                // Where it cannot be told, it is free when the lease ends.
                drop(tokio::time::timeout(SETTLE_PATIENCE, let_go(machine.as_ref(), &place, &lease)).await);
            }
            return Ok(());
        };
        let book = LeaseBook::new(context.state.leases());
        if keep && let Some(entry) = book.entries().into_iter().find(|entry| entry.lease.id == lease) {
            let until = entry.lease.expires.strftime("%Y-%m-%d %H:%MZ").to_string();
            book.write(&Entry { kept: true, ..entry }).map_err(|error| of_machine(&error))?;
            context.reporter.warn(format!(
                "{lease} is kept until {until}: `drivetrain machines` says how to get in, and `drivetrain gc --lease \
                 {lease}` removes it"
            ));
            return Ok(());
        }
        context.reporter.emit(Event::MachineDoing { doing: format!("removing {lease}") });
        let destroyed =
            give_back(provider.as_ref(), &book, &lease).await.map_err(|error| of_machine(&error))?;
        context.reporter.emit(Event::MachineGone {
            lease: lease.to_string(),
            resources: destroyed.in_words(),
            why: why.to_owned(),
        });
        Ok(())
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The run that a machine is for.
#[derive(Clone, Copy)]
pub struct ForRun<'r> {
    /// Which.
    pub run: &'r RunId,
    /// Its directory.
    pub directory: &'r Utf8Path,
    /// What it holds.
    pub held: &'r Held,
}

/// What a machine is made ready for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To build on it.
    Build,
    /// To run QEMU on it. Which kernel it runs itself does not matter.
    Boot,
}

/// Makes the machine ready that the plan is for.
pub async fn ready(
    context: &Context,
    config: &Config,
    planned: &Planned,
    of: ForRun<'_>,
) -> Result<Option<Ready>> {
    let Some(settings) = provider::settings(config) else { return Ok(None) };
    if let Workshop::Host(builder) = &planned.workshop {
        of.held.uses(builder.machine());
        return Ok(Some(Ready::Machine(builder.clone())));
    }
    let Some(machine) = prepared(context, config, planned, of, Purpose::Build).await? else {
        return Ok(None);
    };
    let builder = install(context, settings, machine).await?;
    let toolchain = builder.toolchain(&context.cancel).await.map_err(|error| of_build(&error))?;
    require_macros(config, planned, &toolchain, "builder.prepare.packages")?;
    context.reporter.emit(Event::MachineStep {
        step: "look at the tools".to_owned(),
        because: toolchain.description,
        changed: false,
        ms: 0,
    });
    Ok(Some(Ready::Machine(builder)))
}

/// The machine to run QEMU on: the one that was built on, where the run still holds one, or else one that is made ready
/// for this.
pub async fn emulator(
    context: &Context,
    config: &Config,
    planned: &Planned,
    of: ForRun<'_>,
) -> Result<EmulatorThere> {
    let settings = provider::settings(config).ok_or_else(no_machine)?;
    let machine = match of.held.machine() {
        Some(machine) => machine,
        None => {
            let made = prepared(context, config, planned, of, Purpose::Boot).await?;
            made.ok_or_else(no_machine)?
        }
    };
    Ok(EmulatorThere::new(machine, &settings.directory))
}

/// The machine of a plan, taken or made, and brought to what the configuration says; `None` where it is this host.
async fn prepared(
    context: &Context,
    config: &Config,
    planned: &Planned,
    ForRun { run, directory, held }: ForRun<'_>,
    purpose: Purpose,
) -> Result<Option<Arc<dyn Machine>>> {
    let Some(settings) = provider::settings(config) else { return Ok(None) };
    let (machine, ssh, configured): (Arc<dyn Machine>, _, _) = match &planned.workshop {
        Workshop::Here(_) => return Ok(None),
        Workshop::Host(builder) => {
            held.uses(builder.machine());
            return Ok(Some(builder.machine().clone()));
        }
        Workshop::ToPrepare(machine, configured) => {
            let BuilderKind::Ssh { ssh, .. } = &config.builder.kind else { return Err(no_machine()) };
            let machine: Arc<dyn Machine> = machine.clone();
            take_host(context, settings, &machine, run, held).await?;
            (machine, provider::ssh_host(ssh), configured)
        }
        Workshop::ToMake(provider, configured) => {
            sweep(context, provider.as_ref()).await;
            let leased = order(context, settings, provider, run, held).await?;
            let machine = wait(context, provider.as_ref(), &leased, patience(settings)).await?;
            (machine, provider::ssh_leased(&leased), configured)
        }
    };
    held.uses(&machine);
    if let Some(prepare) = &settings.prepare {
        let log = directory.join("kayobe.log");
        if let (Some(kayobe), Some(configured)) = (&prepare.kayobe, configured) {
            let tell = |progress| told(context, progress);
            kayobe::run(context, kayobe, configured, machine.as_ref(), &ssh, &log, &tell).await?;
        }
        let prepare = Prepare { boot: prepare.boot && purpose == Purpose::Build, ..prepare.clone() };
        make_ready(context, config, planned, settings, &prepare, machine.as_ref(), directory).await?;
    }
    Ok(Some(machine))
}

/// Takes a host that is there: it is prepared for one run at a time.
async fn take_host(
    context: &Context,
    settings: &MachineSettings,
    machine: &Arc<dyn Machine>,
    run: &RunId,
    held: &Held,
) -> Result<()> {
    let lasts = SignedDuration::from_hours(i64::from(settings.lease));
    let lease = Lease::new(run.clone(), owner(), Timestamp::now(), lasts);
    let state = context.state.clone();
    let is_alive = move |run: &RunId| {
        let directory = state.run(run);
        directory.exists().then(|| run_lock::process_of(&directory).is_some())
    };
    let holding = hold(machine.as_ref(), &settings.directory, &lease, &is_alive, &context.cancel);
    holding.await.map_err(|error| of_machine(&error))?;
    held.took(machine, settings.directory.clone(), lease);
    Ok(())
}

/// Whether packages will be called what the plan says.
pub fn require_macros(config: &Config, planned: &Planned, found: &Toolchain, key: &str) -> Result<()> {
    let named = config.driver.macros.contains_key("KMP") || config.driver.vendor_tool.is_some();
    if named || found.kernel_module_package == planned.toolchain.kernel_module_package {
        return Ok(());
    }
    let has = if found.kernel_module_package { "has" } else { "has no" };
    Err(Failure::new(
        ExitCode::Plan,
        format!("the builder's RPM {has} %kernel_module_package, and the plan was made for the opposite"),
    )
    .next(format!(
        "add kernel-rpm-macros to {key} or take it out, or say which by `macros: {{KMP: …}}` under `driver`"
    )))
}

/// Removes what nobody needs any more. That this fails is told, and no reason not to build.
async fn sweep(context: &Context, provider: &dyn Provider) {
    let book = LeaseBook::new(context.state.leases());
    let state = context.state.clone();
    let is_alive = move |run: &RunId| run_lock::process_of(&state.run(run)).is_some();
    match reap(provider, &book, Timestamp::now(), &is_alive).await {
        Ok(reaped) => {
            for reaped in reaped {
                match reaped.result {
                    Ok(destroyed) if destroyed.resources.is_empty() => {}
                    Ok(destroyed) => context.reporter.emit(Event::MachineGone {
                        lease: reaped.lease.id.to_string(),
                        resources: destroyed.in_words(),
                        why: reaped.why.to_owned(),
                    }),
                    Err(error) => context.reporter.warn(error.to_string()),
                }
            }
        }
        Err(error) => {
            context.reporter.warn(format!("what was left of earlier runs was not looked for: {error}"))
        }
    }
}

async fn order(
    context: &Context,
    settings: &MachineSettings,
    provider: &Arc<dyn Provider>,
    run: &RunId,
    held: &Held,
) -> Result<Leased> {
    let book = LeaseBook::new(context.state.leases());
    let lasts = SignedDuration::from_hours(i64::from(settings.lease));
    let lease = Lease::new(run.clone(), owner(), Timestamp::now(), lasts);
    held.hold(provider, &lease.id);
    context.reporter.emit(Event::MachineAsked {
        lease: lease.id.to_string(),
        provider: provider.name(),
        expires: lease.expires,
    });
    let reporter = context.reporter.clone();
    let notice = move |text: &str| reporter.emit(Event::MachineDoing { doing: text.to_owned() });
    take(provider.as_ref(), &book, lease, &notice, &context.cancel).await.map_err(|error| of_machine(&error))
}

/// Who asks: `user@host`.
fn owner() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    format!("{}@{name}", user.unwrap_or_else(|_| format!("uid{}", rustix::process::getuid().as_raw())))
}

/// Waits until the machine lets us in.
async fn wait(
    context: &Context,
    provider: &dyn Provider,
    leased: &Leased,
    patience: Duration,
) -> Result<Arc<dyn Machine>> {
    let started = Instant::now();
    let machine = SshMachine::new(provider::ssh_leased(leased)).map_err(|error| of_host(&error))?;
    context.reporter.emit(Event::MachineDoing { doing: format!("waiting for {} to answer", machine.name()) });
    loop {
        let error = match machine.connect().await {
            Ok(()) => break,
            Err(error) => error,
        };
        // Whoever answers with another key is not the machine that was made.
        let hopeless = matches!(error, HostError::HostKeyChanged { .. } | HostError::HostKeyUnknown { .. });
        if hopeless || started.elapsed() > patience {
            return Err(not_up(provider, leased, &error).await);
        }
        let pause = async {
            tokio::time::sleep(UP_PAUSE).await;
            Ok(())
        };
        context.unless_cancelled(pause).await?;
    }
    context.reporter.emit(Event::MachineUp {
        machine: format!("{} ({})", leased.lease.id, machine.name()),
        ms: milliseconds(started),
    });
    Ok(Arc::new(machine))
}

/// What the machine said meanwhile is what explains it, if anything does.
async fn not_up(provider: &dyn Provider, leased: &Leased, error: &HostError) -> Failure {
    const LAST: usize = 15;
    let why = Failure::of(ExitCode::Failure, error).one_line();
    let lease = leased.lease.id.to_string();
    let mut failure = of_machine(&MachineError::NotUp { lease, why });
    if let Ok(console) = provider.console(&leased.lease.id).await {
        let lines: Vec<&str> = console.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines[lines.len().saturating_sub(LAST)..].join("\n  ");
        failure.causes.push(if last.is_empty() {
            "its console has said nothing: it may not boot from this image".to_owned()
        } else {
            format!("the last lines of its console:\n  {last}")
        });
    }
    failure.next(
        "see that the image has an sshd, and cloud-init or systemd 252; `--keep` leaves the machine for you to look at",
    )
}

async fn make_ready(
    context: &Context,
    config: &Config,
    planned: &Planned,
    settings: &MachineSettings,
    prepare_settings: &Prepare,
    machine: &dyn Machine,
    directory: &Utf8Path,
) -> Result<()> {
    let preparation = preparation(context, config, planned, settings, prepare_settings).await?;
    let log = directory.join("machine.log");
    let tell = |progress| told(context, progress);
    prepare(machine, &preparation, &log, &tell, &context.cancel).await.map_err(|error| of_machine(&error))
}

/// Tells what becomes of a step.
fn told(context: &Context, progress: Progress) {
    match progress {
        // Looking takes seconds, and is told with what was found.
        Progress::Begins { .. } => {}
        Progress::ToDo { step, why } => {
            context.reporter.emit(Event::MachineDoing { doing: format!("{step}: {why}") });
        }
        Progress::Done { step, because, changed, took } => context.reporter.emit(Event::MachineStep {
            step,
            because,
            changed,
            ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }),
    }
}

async fn preparation(
    context: &Context,
    config: &Config,
    planned: &Planned,
    settings: &MachineSettings,
    prepare: &Prepare,
) -> Result<Preparation> {
    let mut repositories = Vec::new();
    let mut keys: BTreeSet<Vec<u8>> = BTreeSet::new();
    for (id, repository) in config.train.repositories.iter().filter(|_| prepare.repositories) {
        let trust = Trust::of(context, id, repository).await?;
        if !trust.armored().is_empty() {
            keys.insert(trust.armored().to_vec());
        }
        repositories.push(RepositoryDefinition {
            id: id.clone(),
            url: as_seen_there(settings, id, repository)?,
            priority: repository.priority,
            signed: !trust.armored().is_empty(),
            exclude: repository.exclude.clone(),
            module_hotfixes: false,
        });
    }
    let kernel = &planned.selection.kernel;
    Ok(Preparation {
        grow: prepare.grow,
        repositories,
        keys: String::from_utf8_lossy(&keys.into_iter().collect::<Vec<_>>().join(&b'\n')).into_owned(),
        sync: prepare.sync,
        packages: prepare.packages.clone(),
        kernel: kernel.release.clone(),
        kernel_package: kernel.package.clone(),
        exec: prepare.exec.clone(),
        boot: prepare.boot,
        boot_patience: patience(settings),
    })
}

/// A repository's URL as the machine reaches it.
fn as_seen_there(
    settings: &MachineSettings,
    id: &drivetrain_model::RepositoryId,
    repository: &drivetrain_config::Repository,
) -> Result<url::Url> {
    let refuse = |what: &str, next: &str| {
        Err(Failure::new(ExitCode::Usage, format!("train.repositories.{id} {what}")).next(next))
    };
    let url = repository.url.as_str();
    let translated = settings
        .urls
        .iter()
        .filter_map(|(from, to)| Some((from.len(), format!("{to}{}", url.strip_prefix(from.as_str())?))))
        .max_by_key(|(length, _)| *length)
        .map(|(_, url)| url);
    if repository.credentials.is_some() && translated.is_none() {
        return refuse(
            "asks for a password, and a builder gets none",
            "give the machine a way to it that needs none, in builder.machine.urls; or build with `kind: sandbox`",
        );
    }
    let url = translated.unwrap_or_else(|| url.to_owned());
    match url::Url::parse(&url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => refuse(
            &format!("is at {url}, where another machine cannot reach it"),
            "serve it over http, or say in builder.machine.urls under which URL the machine reaches it",
        ),
    }
}

fn of_host(error: &HostError) -> Failure {
    Failure::of(ExitCode::Machine, error)
}

/// The error of a machine, as the command's.
pub fn of_machine(error: &MachineError) -> Failure {
    let code = match error {
        MachineError::Configuration { .. } => ExitCode::Usage,
        MachineError::Held { .. } => ExitCode::Busy,
        MachineError::Cancelled => return Failure::interrupted(),
        _ => ExitCode::Machine,
    };
    Failure::of(code, error)
}

fn of_build(error: &drivetrain_build::BuildError) -> Failure {
    Failure::of(ExitCode::Machine, error)
}
