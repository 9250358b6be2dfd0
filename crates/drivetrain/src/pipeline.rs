//! A run: the stages in order, with a journal, one at a time for each cell.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_config::{BootOn, BootTest, Config};
use drivetrain_host::CancellationToken;
use drivetrain_model::{ComponentAction, Event, ExitCode, KernelPolicy, PublicationState, RunId, Stage};
use drivetrain_plan::{BootFacts, planned_boot};
use drivetrain_publish::{HistoryEntry, RepositoryPath, Target};
use drivetrain_report::Report;
use fs_err as fs;
use jiff::Timestamp;

use crate::cell_lock::CellLock;
use crate::cli::{
    BuildArgs, Building, Global, LockArgs, ProveArgs, Publishing, PushArgs, RunArgs, Several, Waiting,
};
use crate::command::{plan, state_path};
use crate::context::{Context, load_cells};
use crate::failure::{Failure, Result};
use crate::journal::{self, Journal};
use crate::matrix;
use crate::reporter::{Reporter, milliseconds};
use crate::run_lock::RunLock;
use crate::stage;
use crate::stage::build::BuildSettings;
use crate::stage::fetch::Inputs;
use crate::stage::machine::{ForRun, Held, Ready, Workshop};
use crate::stage::plan::Planned;
use crate::stage::prove::Proven;
use crate::state::StateDirectory;
use crate::together::Together;
use crate::view;
use crate::view::matrix::CellResult;

/// How long an interrupted run may take to end in order.
const GRACE: Duration = Duration::from_secs(20);

/// How far to go.
#[derive(Debug, Clone)]
pub struct Goal {
    command: &'static str,
    lock: LockArgs,
    settings: BuildSettings,
    wait: bool,
    /// Whether components may be built, or have to be there.
    may_build: bool,
    /// Why the result is published; `None` where it is not.
    publish: Option<String>,
    /// Whether what was rolled back may be published again.
    undo_rollback: bool,
    /// Whether packages may take the place of others of the same name and version.
    replace: bool,
    /// Whether the machine of a run that fails is left.
    keep: bool,
    /// Whether the kernel is booted whatever the configuration says, and the result shown.
    boot: bool,
    /// How many cells of a matrix are worked on at once; absent for what fits the builder.
    pub at_once: Option<NonZeroUsize>,
    /// Where the summary goes besides.
    pub summary: Option<Utf8PathBuf>,
    /// The cell, where it is one of several: each has a lock of its own.
    pub cell: Option<String>,
}

impl Goal {
    /// As far as proven packages.
    pub fn build(args: &BuildArgs) -> Self {
        Self::building("build", &args.lock, &args.waiting, &args.building, &args.several)
    }

    /// From what was built.
    pub fn push(args: &PushArgs) -> Self {
        Self::new("push", &args.lock, &args.waiting).publishing(&args.publishing, &args.why)
    }

    /// As far as a boot of what was built.
    pub fn prove(args: &ProveArgs) -> Self {
        Self { boot: true, ..Self::new("prove", &args.lock, &args.waiting) }
    }

    /// All the way.
    pub fn run(args: &RunArgs) -> Self {
        Self::building("run", &args.lock, &args.waiting, &args.building, &args.several)
            .publishing(&args.publishing, &args.why)
    }

    /// No further than a plan.
    fn new(command: &'static str, lock: &LockArgs, waiting: &Waiting) -> Self {
        Self {
            command,
            lock: lock.clone(),
            settings: BuildSettings::default(),
            wait: !waiting.no_wait,
            may_build: false,
            publish: None,
            undo_rollback: false,
            replace: false,
            keep: false,
            boot: false,
            at_once: None,
            summary: None,
            cell: None,
        }
    }

    fn building(
        command: &'static str,
        lock: &LockArgs,
        waiting: &Waiting,
        building: &Building,
        several: &Several,
    ) -> Self {
        Self {
            settings: BuildSettings::from(building),
            may_build: true,
            keep: building.keep,
            at_once: several.at_once,
            summary: several.summary.clone(),
            ..Self::new(command, lock, waiting)
        }
    }

    fn publishing(self, publishing: &Publishing, why: &str) -> Self {
        Self {
            publish: Some(why.to_owned()),
            undo_rollback: publishing.undo_rollback,
            replace: publishing.replace,
            ..self
        }
    }

    /// The same for one cell of several.
    pub fn of_cell(&self, name: &str) -> Self {
        Self { cell: Some(name.to_owned()), ..self.clone() }
    }

    fn lock_file(&self, config: &Utf8Path) -> Utf8PathBuf {
        plan::lock_file(&self.lock, config, self.cell.as_deref())
    }
}

/// One run of one cell, from its first journal line to its last.
pub struct Run {
    id: RunId,
    directory: Utf8PathBuf,
    context: Context,
    config: Config,
    goal: Goal,
    global: Global,
    held: Held,
    _goes_on: RunLock,
}

/// Runs as far as the goal says: for the one cell that is configured, or for each of several.
pub async fn run(goal: Goal, global: &Global) -> Result<ExitCode> {
    let cells = load_cells(global)?;
    let cancel = CancellationToken::new();
    if let [only] = cells.as_slice()
        && matrix::is_alone(&cells)
    {
        let reporter = Reporter::new(view::choose(global.json, global.quiet));
        let summary = goal.summary.clone();
        let started =
            start(goal, only.config.clone(), global, reporter, cancel.clone(), Together::default())?;
        let ended = cancelled_by_a_signal(&cancel, started.finish()).await;
        if let Some(file) = &summary {
            matrix::write_summary(file, &[CellResult::of(&only.name, &ended)]);
        }
        if ended.result.is_ok() && !global.json {
            view::print(&ended.conclusion()?);
        }
        return ended.result.map(|()| ExitCode::Success);
    }
    cancelled_by_a_signal(&cancel, matrix::run(&goal, cells, global, &cancel)).await
}

/// Begins the run of a cell, with its journal.
pub fn start(
    goal: Goal,
    config: Config,
    global: &Global,
    reporter: Reporter,
    cancel: CancellationToken,
    together: Together,
) -> Result<Run> {
    let state = StateDirectory::open(state_path(global))?;
    let context = Context { together, ..Context::open(state, reporter.clone(), cancel)? };
    let id = journal::new_run_id(Timestamp::now());
    let directory = context.state.run(&id);
    let goes_on = RunLock::take(&directory).map_err(|error| Failure::of(ExitCode::Failure, &error))?;
    let journal = Journal::create(&directory).map_err(|error| Failure::of(ExitCode::Failure, &error))?;
    reporter.record_in(journal);
    context.publisher.for_run(&id);
    let command = goal.command.to_owned();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    reporter.emit(Event::RunStarted { run: id.clone(), version, command });
    let global = global.clone();
    Ok(Run { id, directory, context, config, goal, global, held: Held::default(), _goes_on: goes_on })
}

/// How a run ended.
pub struct Ended {
    /// The run.
    id: RunId,
    /// Its directory.
    directory: Utf8PathBuf,
    /// What it left, told; absent where its journal cannot be read.
    pub report: Option<Report>,
    /// Whether it was well.
    pub result: Result<()>,
    /// How long it took, in milliseconds.
    ms: u64,
}

impl Ended {
    /// What it says at its end.
    fn conclusion(&self) -> Result<String> {
        let events =
            journal::read(&self.directory).map_err(|error| Failure::of(ExitCode::Failure, &error))?;
        Ok(view::runs::conclusion(&self.id, &self.directory, &events, self.ms))
    }
}

/// Waits for the work; on the first signal tells it to end, and after a while ends it. Dropping a build kills
/// its processes.
pub async fn until_signal<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    cancelled_by_a_signal(cancel, until_cancelled(cancel, work)).await
}

/// Waits for the work; once it is told to end, for a while only, or until the next signal.
async fn until_cancelled<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::pin!(work);
    tokio::select! {
        result = &mut work => return result,
        () = cancel.cancelled() => {}
    }
    tokio::select! {
        result = &mut work => result,
        () = tokio::time::sleep(GRACE) => Err(Failure::interrupted()),
        () = signal() => Err(Failure::interrupted()),
    }
}

/// Waits for work that ends by itself once it is told to, which the first signal does.
async fn cancelled_by_a_signal<T>(cancel: &CancellationToken, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    tokio::select! {
        result = &mut work => return result,
        () = signal() => cancel.cancel(),
    }
    work.await
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        // Without handlers the signal ends the process, which is as good.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

impl Run {
    /// Does all of it, and writes down how it ended.
    pub async fn finish(self) -> Ended {
        let started = Instant::now();
        let result = until_cancelled(&self.context.cancel, self.stages()).await;
        let result = self.give_back(result).await;
        let result = result.map_err(|failure| failure.about_room(self.context.state.path()));
        let (exit, error) = match &result {
            Ok(()) => (ExitCode::Success, None),
            Err(failure) => (failure.code, Some(failure.one_line())),
        };
        let (reporter, ms) = (&self.context.reporter, milliseconds(started));
        reporter.emit(Event::RunFinished { exit: exit.into(), error, ms });
        let report = stage::report::keep(&self.id, &self.directory, reporter);
        reporter.close();
        Ended { id: self.id, directory: self.directory, report, result, ms }
    }

    /// Whatever became of the run: its machine goes. Where the run was well, that it does not go is its failure.
    async fn give_back(&self, result: Result<()>) -> Result<()> {
        let keep = self.goal.keep && result.is_err();
        let given = self.held.give_back(&self.context, keep, "its run has failed").await;
        match (result, given) {
            (Err(failure), Err(also)) => {
                self.context.reporter.warn(also.one_line());
                Err(failure)
            }
            (Ok(()), given) => given,
            (failed, Ok(())) => failed,
        }
    }

    /// All that there is to do; for the next kernel where the driver does not build for one and that is meant to be so.
    async fn stages(&self) -> Result<()> {
        if self.goal.settings.retry {
            stage::held_back::forget(&self.context);
        }
        while !self.attempt().await? {}
        Ok(())
    }

    /// Whether it came to its end: otherwise the kernel that was planned for is known not to be built for, now, and the
    /// next plan is for another.
    async fn attempt(&self) -> Result<bool> {
        let mut planned = self.plan().await?;
        let lock = CellLock::take(&self.context, &planned.plan.cell, &self.id, self.goal.wait).await?;
        if lock.waited {
            planned = self.plan().await?;
        }
        self.keep_plan(&planned)?;
        self.show_plan(&planned);
        if let Some(why) = &self.goal.publish
            && let Some(version) = self.served(&planned).await?
        {
            stage::publish::settle(&self.context, &self.config, &planned.address.path, why).await?;
            if !self.boot_served(&mut planned).await? {
                self.say_served(&planned, version).await?;
            }
            self.hold_together(&mut planned, why).await?;
            return Ok(true);
        }
        if self.goal.boot && planned.plan.boots_served() {
            return self.boot_served(&mut planned).await.map(|_| true);
        }
        stage::boot::require_planned(&self.context, &self.config, &planned).await?;
        if let Some(why) = &self.goal.publish
            && !self.goal.undo_rollback
        {
            self.require_wanted(&planned, why).await?;
        }
        if !self.goal.may_build {
            require_built(&planned)?;
        }
        if self.goal.publish.is_some() {
            stage::publish::ensure(&self.context, &self.config, &planned.address).await?;
        }
        stage::sources::drop_damaged(&self.context, &planned).await?;
        let reporter = &self.context.reporter;
        let fetching = stage::fetch::fetch(&self.context, &self.config, &planned);
        let mut inputs = reporter.stage(Stage::Fetch, self.context.unless_cancelled(fetching)).await?;
        let logs = self.directory.join("logs");
        let ready = self.ready(&planned, &mut inputs).await?;
        let settings = self.goal.settings;
        let building =
            stage::build::make(&self.context, &self.config, &planned, inputs, ready.as_ref(), settings, logs);
        let built = match reporter.stage(Stage::Build, building).await {
            Err(_) if self.falls_back(&planned) => {
                let why = "the driver does not build for its kernel";
                self.held.give_back(&self.context, false, why).await?;
                return Ok(false);
            }
            built => built?,
        };
        if !self.boots_on_a_machine() {
            // Nothing of what is left to do needs it.
            self.held.give_back(&self.context, false, "what it was for is built").await?;
        }
        let proving = stage::prove::make(&self.context, &self.config, &mut planned, built, &self.directory);
        let mut proven = reporter.stage(Stage::Prove, self.context.unless_cancelled(proving)).await?;
        self.boot(&mut planned, &mut proven).await?;
        if let Some(why) = &self.goal.publish {
            // Not to be interrupted half-way: it is short, and ends in one step.
            let replace = self.goal.replace;
            let (context, config) = (&self.context, &self.config);
            let publishing =
                stage::publish::publish(context, config, &planned, proven, &self.id, why, replace);
            reporter.stage(Stage::Publish, publishing).await?;
            self.hold_together(&mut planned, why).await?;
        }
        Ok(true)
    }

    /// Whether the kernel is booted: as the configuration says, or because that is what was asked for.
    fn boot_test(&self) -> BootTest {
        if self.goal.boot { BootTest::Require } else { self.config.prove.boot }
    }

    /// Boots the kernel with what was proven, where that is to be.
    async fn boot(&self, planned: &mut Planned, proven: &mut Proven) -> Result<()> {
        let how = self.boot_test();
        if how == BootTest::Off {
            return Ok(());
        }
        let (context, directory) = (&self.context, &self.directory);
        let booting = stage::boot::make(context, &self.config, planned, proven, self.for_run(), how);
        // What it is told is what it ends by: nothing of it is left.
        let ended = context.reporter.stage(Stage::Boot, booting).await;
        if self.goal.boot {
            stage::boot::show(context, directory, self.global.json);
        }
        ended?;
        self.held.give_back(context, false, "what it was for is booted").await?;
        // What comes next is not to be interrupted: it is not begun by a run that is.
        if context.cancel.is_cancelled() { Err(Failure::interrupted()) } else { Ok(()) }
    }

    fn boots_on_a_machine(&self) -> bool {
        self.boot_test() != BootTest::Off && self.config.prove.on == BootOn::Machine
    }

    fn for_run(&self) -> ForRun<'_> {
        ForRun { run: &self.id, directory: &self.directory, held: &self.held }
    }

    /// Boots the kernel with what is served, where that is to be; whether it was noted beside what is served.
    async fn boot_served(&self, planned: &mut Planned) -> Result<bool> {
        if !planned.plan.boots_served() || self.leads_back(planned).await? {
            return Ok(false);
        }
        let (context, config) = (&self.context, &self.config);
        let reading = context.unless_cancelled(stage::prove::served(context, config, planned));
        let mut served = context.reporter.stage(Stage::Prove, reading).await?;
        self.boot(planned, &mut served).await?;
        let Some(why) = self.goal.publish.as_ref().filter(|_| served.verdicts.booted.is_some()) else {
            return Ok(false);
        };
        let replace = self.goal.replace;
        let publishing = stage::publish::publish(context, config, planned, served, &self.id, why, replace);
        context.reporter.stage(Stage::Publish, publishing).await?;
        Ok(true)
    }

    /// Whether what is served is what somebody went back to, from a version that was made of the same inputs. What would
    /// be noted beside it is a new version, and nobody wanted another.
    async fn leads_back(&self, planned: &Planned) -> Result<bool> {
        if self.goal.publish.is_none() || self.goal.undo_rollback {
            return Ok(false);
        }
        let lock = planned.plan.lock.digest();
        let held = move |target: &dyn Target, path: &RepositoryPath| target.held_back(path, lock);
        let held = stage::publish::ask(&self.context, &self.config, &planned.address.path, held).await?;
        let held = held.flatten().is_some();
        if held {
            self.context.reporter.warn(
                "what is served was gone back to and was never booted: `drivetrain prove` does that, and with \
                 --undo-rollback a run notes it",
            );
        }
        Ok(held)
    }

    /// Publishes what holds kernels and drivers together, once the cell's own repository is served.
    async fn hold_together(&self, planned: &mut Planned, why: &str) -> Result<()> {
        if self.config.publish.lockstep.is_none() {
            return Ok(());
        }
        let goal = &self.goal;
        let manner = stage::lockstep::Manner {
            run: &self.id,
            why,
            replace: goal.replace,
            undo_rollback: goal.undo_rollback,
        };
        let publishing = stage::lockstep::publish(&self.context, &self.config, planned, manner);
        self.context.reporter.stage(Stage::Publish, publishing).await
    }

    /// Whether a build that failed leads to an older kernel: it failed by what is built, and the policy says so.
    fn falls_back(&self, planned: &Planned) -> bool {
        planned.plan.kernel.policy == KernelPolicy::NewestBuildable
            && !self.context.cancel.is_cancelled()
            && stage::held_back::known(&self.context, &planned.plan).is_some()
    }

    /// What is built in, where it is not this host as it is and something has to be built.
    async fn ready(&self, planned: &Planned, inputs: &mut Inputs) -> Result<Option<Ready>> {
        let (context, config) = (&self.context, &self.config);
        if let Workshop::Here(host) = &planned.workshop {
            let Some(root) = inputs.root.take() else { return Ok(None) };
            let log = self.directory.join("root.log");
            let making = stage::root::ready(context, config, planned, host, root, &log);
            return Ok(Some(Ready::Root(context.reporter.stage(Stage::Machine, making).await?)));
        }
        if !planned.plan.builds() {
            return Ok(None);
        }
        let making = stage::machine::ready(context, config, planned, self.for_run());
        let made = context.reporter.stage(Stage::Machine, making).await;
        let made = made.map_err(|failure| context.or_interrupted(failure))?;
        if let Some(Ready::Machine(builder)) = &made
            && self.boots_on_a_machine()
            && self.boot_test() == BootTest::Require
        {
            stage::boot::require_there(context, config, builder).await?;
        }
        Ok(made)
    }

    async fn plan(&self) -> Result<Planned> {
        let _alone =
            self.context.unless_cancelled(async { Ok(self.context.together.planning().await) }).await?;
        let making = self.context.unless_cancelled(stage::plan::make(&self.context, &self.config));
        let mut planned = self.context.reporter.stage(Stage::Plan, making).await?;
        if self.goal.boot {
            let facts = BootFacts { anew: true, ..planned.boot.clone() };
            planned.plan.boot = planned_boot(BootTest::Require, &planned.plan, facts);
        }
        if self.goal.lock.locked {
            plan::require_locked(&planned.plan, &self.goal.lock_file(&self.global.config))?;
        }
        Ok(planned)
    }

    fn keep_plan(&self, planned: &Planned) -> Result<()> {
        let write = |name: &str, value: serde_json::Result<Vec<u8>>| {
            let path = self.directory.join(name);
            value
                .map_err(std::io::Error::from)
                .and_then(|bytes| fs::write(path, bytes))
                .map_err(|error| Failure::of(ExitCode::Failure, &error))
        };
        if let Some(origin) = &self.config.train.kayobe {
            write("train.json", serde_json::to_vec_pretty(origin))?;
        }
        write("plan.json", serde_json::to_vec_pretty(&planned.plan))?;
        write("lock.json", serde_json::to_vec_pretty(&planned.plan.lock))
    }

    fn show_plan(&self, planned: &Planned) {
        if !self.global.json && !self.global.quiet {
            let text = view::plan::plan(&planned.plan);
            self.context.reporter.pause(|| view::print(&format!("{text}\n")));
        }
    }

    /// The version that the target serves, where that is what this plan would make, and whole. Damage is told.
    async fn served(&self, planned: &Planned) -> Result<Option<u64>> {
        let PublicationState::Current { version } = planned.plan.publication.state else { return Ok(None) };
        if let Some(damage) =
            stage::publish::damage(&self.context, &self.config, &planned.address.path).await?
        {
            return Err(Failure::new(
                ExitCode::Publish,
                format!("version {version} at {} is damaged: {damage}", planned.address.path),
            )
            .next(
                "something changed its files. Serve an undamaged version with `drivetrain rollback`, or move the \
                 damaged repository away and run again: what was built is kept",
            ));
        }
        Ok(Some(version))
    }

    /// Tells that there was nothing to do.
    async fn say_served(&self, planned: &Planned, version: u64) -> Result<()> {
        let (location, repo_file) =
            stage::publish::location(&self.context, &self.config, &planned.address.path).await?;
        self.context.reporter.emit(Event::Published { location, version, unchanged: true, repo_file });
        Ok(())
    }

    /// Refuses to bring back what somebody went back from, before a build is paid for.
    async fn require_wanted(&self, planned: &Planned, why: &str) -> Result<()> {
        // A way back whose process was killed has to be noted before it can be found.
        stage::publish::settle(&self.context, &self.config, &planned.address.path, why).await?;
        let (path, lock) = (&planned.address.path, planned.plan.lock.digest());
        let held = move |target: &dyn Target, path: &RepositoryPath| target.held_back(path, lock);
        let held = stage::publish::ask(&self.context, &self.config, path, held).await?.flatten();
        held.map_or(Ok(()), |entry| Err(rolled_back(path, &entry)))
    }
}

/// What would be published was rolled back: by whom, when and why.
pub fn rolled_back(path: &RepositoryPath, entry: &HistoryEntry) -> Failure {
    let from = entry.from.unwrap_or_default();
    let message = format!("version {from} of {path} was rolled back, and this would publish the same again");
    let mut failure = Failure::new(ExitCode::Publish, message);
    failure.causes.push(format!(
        "{} went back to version {} at {}: {}",
        entry.by,
        entry.version,
        entry.at.strftime("%Y-%m-%d %H:%M:%SZ"),
        entry.why
    ));
    failure.next(
        "correct what was wrong with it: what is made from other inputs is published. To publish the same all the \
         same, give --undo-rollback",
    )
}

/// `push` publishes what is there, and builds nothing.
fn require_built(planned: &Planned) -> Result<()> {
    let missing: Vec<&str> = planned
        .plan
        .components
        .iter()
        .filter(|component| component.action == ComponentAction::Build)
        .map(|component| component.name.as_str())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(ExitCode::Plan, format!("not built yet from these inputs: {}", missing.join(", ")))
        .next("build them with `drivetrain build`, or do both with `drivetrain run`"))
}
