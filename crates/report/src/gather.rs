//! From what a run leaves behind to its report.

use std::collections::{BTreeMap, BTreeSet};

use drivetrain_model::{
    ComponentAction, ComponentName, ComponentOutcome, Event, ExitCode, HeldBack, Plan, RunId, Stage, Stamped,
};
use serde_json::Value;

use crate::record::{self, Build, Verdicts};
use crate::report::{
    ComponentRow, Exit, HeldBackKernel, Installation, Outcome, Proof, ProvenModule, Published, Report,
    Userspace,
};
use crate::text::cut;
use crate::timeline::broken_stage;
use crate::{Excerpt, FirstError, Timeline, boot, install};

/// More warnings than anybody reads.
const MAX_WARNINGS: usize = 200;
/// More modules than a driver has.
const MAX_MODULES: usize = 2000;
/// More than anybody reads of one message, in characters.
const MAX_TEXT: usize = 4000;
/// More problems of modules than anybody reads.
const MAX_PROBLEMS: usize = 500;

/// What a run leaves behind.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Its id.
    pub run: RunId,
    /// Its journal.
    pub events: Vec<Stamped>,
    /// `plan.json`; absent where it came to no plan.
    pub plan: Option<Plan>,
    /// `verdicts.json`
    pub verdicts: Option<Value>,
    /// `build.json`
    pub build: Option<Value>,
    /// `boot.json`
    pub boot: Option<Value>,
    /// The logs that there are.
    pub logs: BTreeMap<ComponentName, LogFile>,
    /// The parts of the logs of kernels that are held back which have the errors, by release.
    pub held_back: BTreeMap<String, Excerpt>,
    /// The names of the files in its directory.
    pub files: Vec<String>,
    /// Whether a process works on it.
    pub running: bool,
}

/// A component's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Where it is: relative to the run's directory, or the whole path.
    pub path: String,
    /// The part that has the first error, where it failed.
    pub excerpt: Option<Excerpt>,
}

impl Report {
    /// Makes the report. Whatever is missing of the evidence is missing in the report, and nothing else.
    #[must_use]
    pub fn of(evidence: &Evidence) -> Self {
        let events = &evidence.events;
        let plan = evidence.plan.as_ref();
        let verdicts: Verdicts = record::read(evidence.verdicts.as_ref());
        let exit = exit(events);
        let published = published(events);
        let held_back = held_back(evidence);
        let started = events.iter().find_map(|stamped| match &stamped.event {
            Event::RunStarted { version, command, .. } => Some((version.clone(), command.clone())),
            _ => None,
        });
        let (drivetrain, command) = started.unwrap_or_default();
        let lock = plan.map(|plan| &plan.lock);
        let timeline = Timeline::of(events);
        Self {
            format: Self::FORMAT,
            run: evidence.run.clone(),
            command,
            drivetrain,
            began: events.first().map(|stamped| stamped.at),
            ms: timeline.total_ms,
            outcome: outcome(exit.as_ref(), published.as_ref(), evidence.running),
            broken_stage: broken_stage(events),
            cell: plan.map(|plan| plan.cell.clone()),
            kernel: plan.map(|plan| plan.kernel.clone()),
            components: components(evidence),
            skipped: plan.map(|plan| plan.skipped.clone()).unwrap_or_default(),
            userspace: plan.and_then(|plan| plan.userspace.clone()).map(|planned| Userspace {
                bytes: planned.packages.iter().map(|package| package.size).sum(),
                planned,
            }),
            builder: plan.map(|plan| plan.builder.clone()).unwrap_or_default(),
            toolchain: lock.map(|lock| lock.toolchain_description.clone()),
            publication: plan.map(|plan| plan.publication.clone()),
            lock: lock.map(drivetrain_model::Lock::digest),
            inputs: lock.map(|lock| lock.inputs.clone()).unwrap_or_default(),
            repositories: lock
                .map(|lock| {
                    lock.repositories.iter().map(|(id, locked)| (id.clone(), locked.clone())).collect()
                })
                .unwrap_or_default(),
            problems: plan.map(|plan| plan.problems.clone()).unwrap_or_default(),
            proof: proof(events, &verdicts),
            installation: installation(events),
            boot: boot::boot(
                events,
                evidence.boot.as_ref(),
                plan.and_then(|plan| plan.boot.as_ref()).map(|boot| boot.policy),
                &evidence.files,
            ),
            planned_boot: plan.and_then(|plan| plan.boot.clone()),
            install: published
                .as_ref()
                .map(|published| install::commands(published, plan, &verdicts))
                .unwrap_or_default(),
            first_errors: first_errors(evidence, &held_back, exit.as_ref()),
            warnings: warnings(events),
            files: evidence.files.clone(),
            timeline,
            published,
            held_back,
            exit,
        }
    }
}

fn exit(events: &[Stamped]) -> Option<Exit> {
    let (code, error) = events.iter().rev().find_map(|stamped| match &stamped.event {
        Event::RunFinished { exit, error, .. } => Some((*exit, error.clone())),
        _ => None,
    })?;
    let meaning = ExitCode::ALL.iter().find(|(known, _)| u8::from(*known) == code);
    let meaning = meaning.map_or("for a reason of a later version", |(_, meaning)| *meaning).to_owned();
    Some(Exit { code, meaning, error })
}

fn outcome(exit: Option<&Exit>, published: Option<&Published>, running: bool) -> Outcome {
    match (exit.map(|exit| exit.code), published) {
        (None, _) if running => Outcome::Running,
        (None, _) => Outcome::Killed,
        (Some(0), Some(published)) if published.unchanged => Outcome::Unchanged,
        (Some(0), Some(_)) => Outcome::Served,
        (Some(0), None) => Outcome::Built,
        (Some(code), _) if code == u8::from(ExitCode::Interrupted) => Outcome::Interrupted,
        (Some(_), _) => Outcome::Failed,
    }
}

fn published(events: &[Stamped]) -> Option<Published> {
    events.iter().rev().find_map(|stamped| match &stamped.event {
        Event::Published { location, version, unchanged, repo_file } => Some(Published {
            location: location.clone(),
            version: *version,
            unchanged: *unchanged,
            repo_file: repo_file.as_ref().map(|file| format!("{location}{file}")),
        }),
        _ => None,
    })
}

/// The kernels that are held back: by the plan, which has the last word, and by what was said on the way to it.
fn held_back(evidence: &Evidence) -> Vec<HeldBackKernel> {
    let planned = evidence.plan.iter().flat_map(|plan| &plan.kernel.held_back);
    let told = evidence.events.iter().rev().filter_map(|stamped| match &stamped.event {
        Event::HeldBack { held } => Some(&**held),
        _ => None,
    });
    let mut known = BTreeSet::new();
    let all = planned.chain(told).filter(|held| known.insert(held.release.clone()));
    all.map(|held| held_back_kernel(evidence, held)).collect()
}

fn held_back_kernel(evidence: &Evidence, held: &HeldBack) -> HeldBackKernel {
    let mut first_error = FirstError::parse(Some(held.component.clone()), &held.error);
    first_error.log = held.log.clone();
    first_error.excerpt = evidence.held_back.get(held.release.as_str()).cloned();
    HeldBackKernel { held: held.clone(), first_error }
}

/// The events since the last plan was begun: before it is what led to another plan.
fn last_attempt(events: &[Stamped]) -> &[Stamped] {
    let begins = |stamped: &Stamped| matches!(stamped.event, Event::StageStarted { stage: Stage::Plan });
    let from = events.iter().rposition(begins).unwrap_or(0);
    &events[from..]
}

/// How a component's build ended.
struct Finished<'a> {
    ms: u64,
    outcome: &'a ComponentOutcome,
    packages: &'a [String],
}

fn finished(events: &[Stamped]) -> impl Iterator<Item = (&ComponentName, Finished<'_>)> {
    events.iter().filter_map(|stamped| match &stamped.event {
        Event::ComponentFinished { component, ms, outcome, packages } => {
            Some((component, Finished { ms: *ms, outcome, packages }))
        }
        _ => None,
    })
}

/// The plan's components in its order, each with how it went; without a plan those that the journal tells of.
fn components(evidence: &Evidence) -> Vec<ComponentRow> {
    let build: Build = record::read(evidence.build.as_ref());
    let ended: BTreeMap<&ComponentName, Finished<'_>> = finished(last_attempt(&evidence.events)).collect();
    let planned = evidence.plan.iter().flat_map(|plan| &plan.components).map(|component| ComponentRow {
        name: component.name.clone(),
        source: Some(component.source.clone()),
        needs: component.needs.clone(),
        patches: component.patches.clone(),
        to_build: component.action == ComponentAction::Build,
        ..ComponentRow::named(&component.name)
    });
    let mut rows: Vec<ComponentRow> = planned.collect();
    for name in ended.keys() {
        if !rows.iter().any(|row| row.name == **name) {
            rows.push(ComponentRow::named(name));
        }
    }
    for row in &mut rows {
        row.log = evidence.logs.get(&row.name).map(|log| log.path.clone());
        if let Some(finished) = ended.get(&row.name) {
            row.ms = finished.ms;
            row.outcome = Some(finished.outcome.clone());
            row.packages = finished.packages.to_vec();
        }
        if let Some(record) = build.components.iter().find(|record| record.component == row.name.as_str()) {
            row.cpu_ms = record.cpu_ms;
            row.phases = record.phases_ms.iter().map(|(phase, ms)| (phase.clone(), *ms)).collect();
            row.phases.sort_by_key(|(_, ms)| std::cmp::Reverse(*ms));
        }
    }
    rows
}

impl ComponentRow {
    fn named(name: &ComponentName) -> Self {
        Self {
            name: name.clone(),
            source: None,
            needs: Vec::new(),
            patches: Vec::new(),
            to_build: true,
            outcome: None,
            ms: 0,
            cpu_ms: None,
            phases: Vec::new(),
            packages: Vec::new(),
            log: None,
        }
    }
}

fn proof(events: &[Stamped], verdicts: &Verdicts) -> Option<Proof> {
    let (modules, symbols, problems) = events.iter().rev().find_map(|stamped| match &stamped.event {
        Event::Proven { modules, symbols, problems } => Some((*modules, *symbols, problems)),
        _ => None,
    })?;
    let each = verdicts.modules.iter().zip(&verdicts.verdict.modules).take(MAX_MODULES);
    let each = each.map(|(module, judged)| ProvenModule {
        name: module.name.clone(),
        package: module.package.clone(),
        loads: judged.loads,
        symbols: judged.symbols,
    });
    let each = each.collect();
    Some(Proof { modules, symbols, problems: bounded(problems.clone(), MAX_PROBLEMS), each })
}

fn installation(events: &[Stamped]) -> Option<Installation> {
    events.iter().rev().find_map(|stamped| match &stamped.event {
        Event::Installable { packages, from_train } => {
            Some(Installation { packages: *packages, from_train: *from_train })
        }
        _ => None,
    })
}

/// What went wrong first, of each component; and what ended the run, where that was no component.
fn first_errors(evidence: &Evidence, held_back: &[HeldBackKernel], exit: Option<&Exit>) -> Vec<FirstError> {
    let mut errors: Vec<FirstError> = Vec::new();
    for (component, finished) in finished(&evidence.events) {
        let ComponentOutcome::Failed { error } = finished.outcome else { continue };
        let is_held_back =
            held_back.iter().any(|held| held.held.component == *component && held.held.error == *error);
        let mut first = FirstError::parse(Some(component.clone()), &cut(error, MAX_TEXT));
        let is_told =
            errors.iter().any(|known| known.component == first.component && known.message == first.message);
        if is_held_back || is_told {
            continue;
        }
        if let Some(log) = evidence.logs.get(component) {
            first.log = Some(log.path.clone());
            first.excerpt = log.excerpt.clone();
        }
        errors.push(first);
    }
    let of_run = exit.filter(|exit| exit.code != 0).and_then(|exit| exit.error.as_deref());
    if let (Some(error), true) = (of_run, errors.is_empty()) {
        errors.push(FirstError { message: cut(error, MAX_TEXT), ..FirstError::parse(None, "") });
    }
    errors
}

fn warnings(events: &[Stamped]) -> Vec<String> {
    let mut known = BTreeSet::new();
    let all = events.iter().filter_map(|stamped| match &stamped.event {
        Event::Warning { message } => Some(message),
        _ => None,
    });
    bounded(all.filter(|message| known.insert(*message)).cloned().collect(), MAX_WARNINGS)
}

/// At most so many; what is left out is counted.
fn bounded(mut lines: Vec<String>, most: usize) -> Vec<String> {
    let more = lines.len().saturating_sub(most);
    lines.truncate(most);
    for line in &mut lines {
        *line = cut(line, MAX_TEXT);
    }
    if more > 0 {
        lines.push(format!("and {more} more, which the journal has"));
    }
    lines
}
