//! Which component when: as many at once as their needs and the slots allow.

mod graph;

use std::sync::Arc;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{CancellationToken, Host};
use drivetrain_model::Event;
use fs_err as fs;
use tokio::task::JoinSet;

use crate::cache::{CachedComponent, ComponentCache};
use crate::component::{self, Events, Shared, Stopped};
use crate::jobserver::JobServer;
use crate::lease::RunDirectory;
use crate::report::PhaseTime;
use crate::requirements::Provided;
use crate::slots::Slots;
use crate::tools::Tools;
use crate::{BuildError, BuildReport, BuildRequest, ComponentError, ComponentReport, Outcome};
use graph::Graph;

/// Builds the components of a request on a host, and says what became of each. With `slots` it compiles within a pool that
/// it shares with other builds, otherwise within one of its own.
///
/// An error means that nothing was tried. A component's failure stands in the report; unless
/// [`keep_going`](crate::BuildOptions::keep_going) is set, the others are then stopped. Finished components
/// stay in the cache whatever happens to the rest. Cancelling the token, or dropping the future, kills every
/// process.
pub async fn build(
    host: Arc<dyn Host>,
    request: BuildRequest,
    slots: Option<&Slots>,
    events: Arc<dyn Fn(Event) + Send + Sync>,
    cancel: &CancellationToken,
) -> Result<BuildReport, BuildError> {
    let graph = Graph::new(&request.components)?;
    check_tree(&request)?;
    for directory in [&request.directories.components, &request.directories.logs] {
        fs::create_dir_all(directory).map_err(BuildError::file("create", directory))?;
    }
    let ccache = &request.directories.ccache;
    fs::create_dir_all(ccache).map_err(BuildError::file("create", ccache))?;
    let run = RunDirectory::create(host.as_ref(), &request.directories.work).await?;
    let slots = slots.map(|slots| Arc::clone(&slots.server));
    let report = build_in(run.path(), Arc::clone(&host), request, slots, events, graph, cancel).await;
    // What cannot be removed now, the next run removes.
    drop(host.remove_directory(run.path()).await);
    report
}

/// Builds in a run's own directory.
async fn build_in(
    run: &Utf8Path,
    host: Arc<dyn Host>,
    request: BuildRequest,
    slots: Option<Arc<JobServer>>,
    events: Events,
    graph: Graph,
    cancel: &CancellationToken,
) -> Result<BuildReport, BuildError> {
    let root = request.root.clone();
    let ccache = &request.directories.ccache;
    for directory in [ccache.join("objects"), ccache.join("probes")] {
        host.create_work_directory(&directory).await.map_err(BuildError::Host)?;
    }
    let slots = match slots {
        Some(slots) => slots,
        None => Slots::server(host.as_ref(), run, request.options.jobs).await?,
    };
    let shared = Arc::new(Shared {
        tools: Tools::write(&request, root.path(), run)?,
        slots,
        provided: Provided::look(host.as_ref(), &root).await.map_err(BuildError::Host)?,
        cache: ComponentCache::new(&request.directories.components),
        run: run.to_owned(),
        host,
        root,
        request,
        events,
    });
    shared.cache.sweep();
    Ok(Scheduler::new(shared, graph, cancel).run().await)
}

/// A directory that is no kernel's, or another kernel's, would make every component fail in its own words.
fn check_tree(request: &BuildRequest) -> Result<(), BuildError> {
    let kernel = &request.kernel;
    let wrong = |reason: String| BuildError::KernelTree {
        path: kernel.devel.clone(),
        release: kernel.release.clone(),
        reason,
    };
    let file = kernel.devel.join("include/config/kernel.release");
    let release = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    match release.trim() {
        release if release == kernel.release.as_str() => Ok(()),
        other => Err(wrong(format!("it is the one of {other}"))),
    }
}

enum State {
    Waiting,
    Running,
    Done(Box<ComponentReport>, Option<Box<CachedComponent>>),
}

struct Scheduler {
    shared: Arc<Shared>,
    graph: Graph,
    states: Vec<State>,
    tasks: JoinSet<(usize, ComponentReport, Option<CachedComponent>)>,
    /// Cancelled from outside, or because a component failed.
    stop: CancellationToken,
    outside: CancellationToken,
    /// The component whose failure ended the run.
    culprit: Option<String>,
}

impl Scheduler {
    fn new(shared: Arc<Shared>, graph: Graph, cancel: &CancellationToken) -> Self {
        let states = shared.request.components.iter().map(|_| State::Waiting).collect();
        Self {
            shared,
            graph,
            states,
            tasks: JoinSet::new(),
            stop: cancel.child_token(),
            outside: cancel.clone(),
            culprit: None,
        }
    }

    async fn run(mut self) -> BuildReport {
        loop {
            self.settle();
            match self.tasks.join_next().await {
                None => break,
                Some(Ok((index, report, entry))) => self.finish(index, report, entry),
                // A bug of ours; resumed here, it reaches the caller with its own message.
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        let components = self
            .states
            .into_iter()
            .filter_map(|state| match state {
                State::Done(report, _) => Some(*report),
                State::Waiting | State::Running => None,
            })
            .collect();
        BuildReport { components, cancelled: self.outside.is_cancelled() }
    }

    /// Starts what can be started, and gives up what cannot be any more, until nothing changes.
    fn settle(&mut self) {
        loop {
            let mut changed = false;
            for index in self.graph.order().to_vec() {
                if !matches!(self.states[index], State::Waiting) {
                    continue;
                }
                if let Some(why) = self.hopeless(index) {
                    self.give_up(index, why);
                    changed = true;
                } else if let Some(needs) = self.ready(index) {
                    self.start(index, needs);
                }
            }
            if !changed {
                return;
            }
        }
    }

    fn hopeless(&self, index: usize) -> Option<String> {
        if self.stop.is_cancelled() {
            return Some(self.why_stopped());
        }
        self.graph.needs(index).iter().find_map(|&need| match &self.states[need] {
            State::Done(report, None) => {
                let what =
                    if matches!(report.outcome, Outcome::Failed(_)) { "failed" } else { "was not built" };
                Some(format!("it needs {}, which {what}", report.name))
            }
            _ => None,
        })
    }

    fn why_stopped(&self) -> String {
        match &self.culprit {
            Some(culprit) if !self.outside.is_cancelled() => format!("{culprit} failed"),
            _ => "the run was interrupted".to_owned(),
        }
    }

    fn ready(&self, index: usize) -> Option<Vec<CachedComponent>> {
        self.graph
            .needs(index)
            .iter()
            .map(|&need| match &self.states[need] {
                State::Done(_, Some(entry)) => Some((**entry).clone()),
                _ => None,
            })
            .collect()
    }

    fn give_up(&mut self, index: usize, why: String) {
        let component = &self.shared.request.components[index];
        let report = ComponentReport {
            name: component.name.clone(),
            key: component.key,
            outcome: Outcome::NotTried { why },
            packages: Vec::new(),
            log: None,
            ms: 0,
            cpu_ms: None,
            phases: Vec::new(),
        };
        announce(&self.shared.events, &report);
        self.states[index] = State::Done(Box::new(report), None);
    }

    fn start(&mut self, index: usize, needs: Vec<CachedComponent>) {
        self.states[index] = State::Running;
        let attempt = Attempt {
            shared: Arc::clone(&self.shared),
            index,
            needs,
            stop: self.stop.clone(),
            why_cancelled: "the run was ending".to_owned(),
        };
        self.tasks.spawn(async move {
            let (report, entry) = attempt.run().await;
            (index, report, entry)
        });
    }

    fn finish(&mut self, index: usize, mut report: ComponentReport, entry: Option<CachedComponent>) {
        if matches!(report.outcome, Outcome::Failed(_))
            && !self.shared.request.options.keep_going
            && !self.stop.is_cancelled()
        {
            self.culprit = Some(report.name.to_string());
            self.stop.cancel();
        }
        if let Outcome::NotTried { why } = &mut report.outcome {
            *why = format!("stopped, for {}", self.why_stopped());
        }
        announce(&self.shared.events, &report);
        self.states[index] = State::Done(Box::new(report), entry.map(Box::new));
    }
}

fn announce(events: &Events, report: &ComponentReport) {
    events(Event::ComponentFinished {
        component: report.name.clone(),
        ms: report.ms,
        outcome: report.outcome.to_event(),
        packages: report.packages.iter().map(|package| package.file.clone()).collect(),
    });
}

/// One component's turn.
struct Attempt {
    shared: Arc<Shared>,
    index: usize,
    needs: Vec<CachedComponent>,
    stop: CancellationToken,
    why_cancelled: String,
}

impl Attempt {
    async fn run(self) -> (ComponentReport, Option<CachedComponent>) {
        let component = &self.shared.request.components[self.index];
        if let Some(entry) = self.cached().await {
            let report = self.report(entry.outcome(), Some(&entry), Some(entry.log()), 0, Vec::new());
            return (report, Some(entry));
        }
        let stopped = |outcome| (self.report(outcome, None, None, 0, Vec::new()), None);
        let acquired = tokio::select! {
            acquired = self.shared.slots.acquire() => acquired,
            () = self.stop.cancelled() => return stopped(Outcome::NotTried { why: self.why_cancelled.clone() }),
        };
        let slot = match acquired {
            Ok(slot) => slot,
            Err(error) => {
                let path = self.shared.slots.directory().to_owned();
                return stopped(Outcome::Failed(ComponentError::file("read", path)(error)));
            }
        };
        let log = self.shared.request.directories.logs.join(format!("{}.log", component.name));
        (self.shared.events)(Event::ComponentStarted {
            component: component.name.clone(),
            log: log.to_string(),
            estimate_ms: component.estimate_ms,
        });
        let started = Instant::now();
        let result = component::build(&self.shared, component, &self.needs, &log, &self.stop).await;
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        drop(slot);
        match result {
            Ok(built) => {
                let mut report = self.report(Outcome::Built, Some(&built.entry), Some(log), ms, built.phases);
                report.cpu_ms = built.cpu_ms;
                (report, Some(built.entry))
            }
            Err(Stopped::Failed(error)) => {
                (self.report(Outcome::Failed(error), None, Some(log), ms, Vec::new()), None)
            }
            Err(Stopped::Cancelled) => {
                let outcome = Outcome::NotTried { why: self.why_cancelled.clone() };
                (self.report(outcome, None, Some(log), ms, Vec::new()), None)
            }
        }
    }

    /// The finished component of this key, if it is there and undamaged.
    async fn cached(&self) -> Option<CachedComponent> {
        let component = &self.shared.request.components[self.index];
        let (cache, key) = (self.shared.cache.clone(), component.key);
        match tokio::task::spawn_blocking(move || cache.get(&key)).await {
            Ok(Ok(entry)) => entry,
            Ok(Err(reason)) => {
                self.warn(format!(
                    "the finished {} of an earlier run is damaged and is built again: {reason}",
                    component.name
                ));
                None
            }
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn warn(&self, message: String) {
        (self.shared.events)(Event::Warning { message });
    }

    fn report(
        &self,
        outcome: Outcome,
        entry: Option<&CachedComponent>,
        log: Option<Utf8PathBuf>,
        ms: u64,
        phases: Vec<PhaseTime>,
    ) -> ComponentReport {
        let component = &self.shared.request.components[self.index];
        ComponentReport {
            name: component.name.clone(),
            key: component.key,
            outcome,
            packages: entry.map(|entry| entry.packages.clone()).unwrap_or_default(),
            log,
            ms,
            cpu_ms: None,
            phases,
        }
    }
}
