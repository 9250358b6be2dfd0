//! Runs, repositories and evidence as text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_model::{
    Cell, ComponentName, ComponentOutcome, Event, ExitCode, Lock, Nevra, Plan, RunId, Stage, Stamped,
};
use drivetrain_prove::Proof;
use drivetrain_publish::Listed;
use fs_err as fs;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::words::{bytes, count, duration};
use crate::failure::Failure;
use crate::journal;
use crate::run_lock;
use crate::stage;
use crate::state::StateDirectory;

/// A run, from its journal.
#[derive(Debug, Serialize)]
pub struct Record {
    /// Its id.
    pub run: RunId,
    /// When it began.
    pub at: Option<Timestamp>,
    /// The command.
    pub command: Option<String>,
    /// What it was about, once that was known.
    pub cell: Option<Cell>,
    /// Whether it goes on, has ended, or was killed.
    pub state: State,
    /// The process in which it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
    /// How it ended; absent where it was killed, or goes on.
    pub exit: Option<u8>,
    /// Its failure.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub ms: Option<u64>,
    /// Its directory.
    pub directory: Utf8PathBuf,
    /// Its journal.
    #[serde(skip)]
    pub events: Vec<Stamped>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A process works on it.
    Running,
    /// It came to its end, good or bad.
    Ended,
    /// Its process is gone, and did not say how it ended.
    Killed,
}

/// A run's events, and the process in which it goes on.
fn read(directory: &Utf8Path) -> Option<(Vec<Stamped>, Option<u32>)> {
    let events = journal::read(directory).ok()?;
    if journal::finish(&events).is_some() {
        return Some((events, None));
    }
    match run_lock::process_of(directory) {
        Some(process) => Some((events, Some(process))),
        // It may have ended since: now its journal has its last line, if it ever gets one.
        None => Some((journal::read(directory).ok()?, None)),
    }
}

impl Record {
    /// Reads a run's journal; `None` where it has none.
    pub fn read(state: &StateDirectory, run: RunId) -> Option<Self> {
        let directory = state.run(&run);
        let (events, process) = read(&directory)?;
        let command = events.iter().find_map(|stamped| match &stamped.event {
            Event::RunStarted { command, .. } => Some(command.clone()),
            _ => None,
        });
        let cell = events.iter().rev().find_map(|stamped| match &stamped.event {
            Event::Planned { cell, .. } => Some(cell.clone()),
            _ => None,
        });
        let finish = journal::finish(&events).map(|(exit, error, ms)| (exit, error.map(str::to_owned), ms));
        let state = match (&finish, process) {
            (Some(_), _) => State::Ended,
            (None, Some(_)) => State::Running,
            (None, None) => State::Killed,
        };
        Some(Self {
            run,
            state,
            process,
            at: events.first().map(|stamped| stamped.at),
            command,
            cell,
            exit: finish.as_ref().map(|(exit, ..)| *exit),
            error: finish.as_ref().and_then(|(_, error, _)| error.clone()),
            ms: finish.map(|(.., ms)| ms),
            directory,
            events,
        })
    }

    /// The log of a component, of this run or of the run that built it.
    pub fn log(&self, component: &ComponentName) -> Option<Utf8PathBuf> {
        let lock = fs::read(self.directory.join("lock.json")).ok();
        let lock: Option<Lock> = lock.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        stage::report::log_of(&self.directory, component, lock.as_ref())
    }

    fn file(&self, name: &str) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.directory.join(name)).ok()?).ok()
    }

    /// Everything that is known of the run.
    pub fn evidence(&self) -> Value {
        json!({
            "run": self,
            "events": self.events,
            "lock": self.file("lock.json"),
            "plan": self.file("plan.json"),
            "verdicts": self.file("verdicts.json"),
            "installation": self.file("installation.json"),
            "build": self.file("build.json"),
        })
    }

    fn result(&self) -> String {
        match self.exit {
            None => match self.process {
                Some(process) => format!("running (process {process})"),
                None => "killed".to_owned(),
            },
            Some(0) => "done".to_owned(),
            Some(exit) => {
                let meaning = ExitCode::ALL.iter().find(|(code, _)| u8::from(*code) == exit);
                let meaning = meaning.map(|(_, meaning)| format!(" ({meaning})")).unwrap_or_default();
                format!("exit {exit}{meaning}")
            }
        }
    }
}

/// A repository of the publication target.
#[derive(Debug, Serialize)]
pub struct Repository {
    path: String,
    url: String,
    version: Option<u64>,
    since: Option<Timestamp>,
    cell: Option<Cell>,
    driver: Option<String>,
    run: Option<RunId>,
    packages: Option<usize>,
    kept: Vec<u64>,
    /// Why not all of it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Repository {
    /// From what the target says.
    pub fn of(listed: &Listed) -> Self {
        let served = &listed.served;
        let record = served.record.as_ref();
        Self {
            path: served.path.to_string(),
            url: served.url.clone(),
            version: served.version,
            since: served.since,
            cell: record.map(|record| record.cell.clone()),
            driver: record.map(|record| record.driver_name.clone()),
            run: record.map(|record| record.run.clone()),
            packages: record.map(|record| record.packages),
            kept: served.versions.iter().map(|version| version.version).collect(),
            problem: listed.problem.as_ref().map(|error| Failure::of(ExitCode::Publish, error).one_line()),
        }
    }

    /// Whether something of it cannot be read.
    pub fn is_damaged(&self) -> bool {
        self.problem.is_some()
    }
}

fn moment(at: Option<Timestamp>) -> String {
    at.map_or("-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// The list of runs and repositories.
pub fn list(records: &[Record], repositories: &[Repository], state: &Utf8Path) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    if records.is_empty() {
        let _ = writeln!(text, "no runs in {state}");
    } else {
        let _ = writeln!(text, "runs, newest last");
    }
    let hidden = records.len().saturating_sub(20);
    if hidden > 0 {
        let _ = writeln!(text, "  … {hidden} older in {state}/runs");
    }
    for record in &records[hidden..] {
        let cell = record.cell.as_ref().map_or("-".to_owned(), Cell::to_string);
        let ms = record.ms.map_or(String::new(), |ms| format!(", {}", duration(ms)));
        let _ = writeln!(
            text,
            "  {}  {:5}  {cell}  {}{ms}",
            record.run,
            record.command.as_deref().unwrap_or("-"),
            record.result()
        );
    }
    if !repositories.is_empty() {
        let _ = writeln!(text, "\nrepositories");
    }
    for repository in repositories {
        if let Some(problem) = &repository.problem {
            let _ = writeln!(text, "  {}\n    damaged: {problem}", repository.path);
            continue;
        }
        let version = repository.version.map_or("nothing".to_owned(), |version| format!("version {version}"));
        let kept: Vec<String> = repository.kept.iter().map(u64::to_string).collect();
        let _ = writeln!(
            text,
            "  {}\n    serves {version} since {}, {}, from run {}; kept: {}\n    {}",
            repository.path,
            moment(repository.since),
            count(repository.packages.unwrap_or(0), "package"),
            repository.run.as_ref().map_or("-", RunId::as_str),
            kept.join(", "),
            repository.url
        );
    }
    text
}

/// The evidence of one run.
pub fn evidence(record: &Record) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "run         {}, {}", record.run, record.command.as_deref().unwrap_or("-"));
    let _ = writeln!(text, "began       {}", moment(record.at));
    let ms = record.ms.map_or(String::new(), |ms| format!(" after {}", duration(ms)));
    let label = if record.state == State::Running { "now  " } else { "ended" };
    let _ = writeln!(text, "{label}       {}{ms}", record.result());
    if let Some(error) = &record.error {
        let _ = writeln!(text, "error       {}", error.replace('\n', "\n            "));
    }
    if let Some(cell) = &record.cell {
        let _ = writeln!(text, "cell        {cell}");
    }
    if let Ok(bytes) = fs::read(record.directory.join("lock.json"))
        && let Ok(lock) = serde_json::from_slice::<Lock>(&bytes)
    {
        let _ = write!(text, "{}", lock_text(&lock));
    }
    let _ = write!(text, "{}", stages(record));
    let _ = write!(text, "{}", components(record));
    let _ = write!(text, "{}", results(record));
    let _ = writeln!(text, "files       {}", record.directory);
    text
}

fn lock_text(lock: &Lock) -> String {
    let mut text = format!("lock        {}\n", lock.digest());
    for input in &lock.inputs {
        let _ = writeln!(text, "            {}, {}, {}", input.nevra, bytes(input.size), input.url);
    }
    let _ = writeln!(text, "toolchain   {}", lock.toolchain_description);
    text
}

fn stages(record: &Record) -> String {
    let times: Vec<String> = record
        .events
        .iter()
        .filter_map(|stamped| match &stamped.event {
            Event::StageFinished { stage, ms } => Some(format!("{} {}", Stage::name(*stage), duration(*ms))),
            _ => None,
        })
        .collect();
    if times.is_empty() { String::new() } else { format!("stages      {}\n", times.join(", ")) }
}

/// Where the time of a component went: `configure 43.5 s, build 6 min 32 s`.
fn phases(build: Option<&Value>, component: &ComponentName) -> Option<String> {
    let components = build?.get("components")?.as_array()?;
    let found = components.iter().find(|entry| entry["component"] == component.as_str())?;
    let mut phases: Vec<(&str, u64)> = found["phases_ms"]
        .as_object()?
        .iter()
        .filter_map(|(phase, ms)| Some((phase.as_str(), ms.as_u64()?)))
        .collect();
    phases.sort_by_key(|(_, ms)| std::cmp::Reverse(*ms));
    let phases: Vec<String> =
        phases.into_iter().take(4).map(|(phase, ms)| format!("{phase} {}", duration(ms))).collect();
    (!phases.is_empty()).then(|| phases.join(", "))
}

fn components(record: &Record) -> String {
    let build = record.file("build.json");
    let mut text = String::new();
    for stamped in &record.events {
        let Event::ComponentFinished { component, ms, outcome, packages } = &stamped.event else { continue };
        let what = match outcome {
            ComponentOutcome::Built => {
                format!("built in {}, {}", duration(*ms), count(packages.len(), "package"))
            }
            ComponentOutcome::Repackaged { kernel } => {
                format!("repackaged, {}, as built for {kernel}", count(packages.len(), "package"))
            }
            ComponentOutcome::Reused => format!("reused, {}", count(packages.len(), "package")),
            ComponentOutcome::Failed { error } => format!("failed: {error}"),
            ComponentOutcome::NotTried { why } => format!("not built: {why}"),
        };
        let _ = writeln!(text, "component   {component}: {}", what.replace('\n', "\n            "));
        if let Some(phases) = phases(build.as_ref(), component) {
            let _ = writeln!(text, "            {phases}");
        }
        if let Some(log) = record.log(component) {
            let _ = writeln!(text, "            {log}");
        }
    }
    text
}

fn results(record: &Record) -> String {
    let mut text = String::new();
    for stamped in &record.events {
        match &stamped.event {
            Event::Proven { modules, symbols, problems } => {
                let _ = writeln!(
                    text,
                    "proof       {}, {}, {}",
                    count(*modules, "module"),
                    count(*symbols, "symbol"),
                    if problems.is_empty() {
                        "all load".to_owned()
                    } else {
                        count(problems.len(), "problem")
                    }
                );
                for problem in problems {
                    let _ = writeln!(text, "            {problem}");
                }
            }
            Event::Installable { packages, from_train } => {
                let _ = writeln!(
                    text,
                    "install     {} with {from_train} of the train",
                    count(*packages, "package")
                );
            }
            Event::Booted { modules, loaded, by, problems, .. } => {
                let _ =
                    writeln!(text, "boot        {loaded} of {} loaded, by {by}", count(*modules, "module"));
                for problem in problems {
                    let _ = writeln!(text, "            {problem}");
                }
            }
            Event::Published { location, version, unchanged, .. } => {
                let unchanged = if *unchanged { ", unchanged" } else { "" };
                let _ = writeln!(text, "published   version {version}{unchanged}, {location}");
            }
            Event::Lockstep { package, location, version, unchanged, .. } => {
                let unchanged = if *unchanged { ", unchanged" } else { "" };
                let _ = writeln!(text, "lockstep    {package}, version {version}{unchanged}, {location}");
            }
            Event::Warning { message } => {
                let _ = writeln!(text, "warning     {message}");
            }
            _ => {}
        }
    }
    text
}

/// The packages that have modules, by name: what a node installs. Those beside them are for other builds.
fn with_modules(directory: &Utf8Path) -> Vec<String> {
    let verdicts: Option<Proof> =
        fs::read(directory.join("verdicts.json")).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let packages = verdicts.into_iter().flat_map(|proof| proof.modules).filter_map(|module| module.package);
    let names: BTreeSet<String> = packages
        .filter_map(|file| Nevra::parse(file.trim_end_matches(".rpm")).ok())
        .map(|nevra| nevra.name)
        .collect();
    // Without the record of the proof there is still the vendor's way of naming them.
    if names.is_empty() { vec!["'kmod-*'".to_owned()] } else { names.into_iter().collect() }
}

/// The userspace packages that were wanted, as dnf takes them.
fn wanted(directory: &Utf8Path) -> Vec<String> {
    let plan: Option<Plan> =
        fs::read(directory.join("plan.json")).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let wanted = plan.and_then(|plan| plan.userspace).map(|userspace| userspace.wanted).unwrap_or_default();
    let quoted = |text: String| if text.contains(' ') { format!("'{text}'") } else { text };
    wanted.into_iter().map(quoted).collect()
}

/// What a run says at its end.
pub fn conclusion(run: &RunId, directory: &Utf8Path, events: &[Stamped], ms: u64) -> String {
    let mut text = String::new();
    let mut told = BTreeSet::new();
    for stamped in events {
        // The plan after a failure says once more what the one before said.
        if let Event::HeldBack { held } = &stamped.event
            && told.insert(&held.release)
        {
            let cves: Vec<&str> =
                held.advisories.iter().flat_map(|advisory| &advisory.cves).map(String::as_str).collect();
            let without =
                if cves.is_empty() { String::new() } else { format!("; without {}", cves.join(", ")) };
            let _ = writeln!(text, "Held back:  {held}{without}");
        }
    }
    let published = events.iter().rev().find_map(|stamped| match &stamped.event {
        Event::Published { location, version, unchanged, repo_file } => {
            Some((location, version, unchanged, repo_file))
        }
        _ => None,
    });
    match published {
        Some((_, version, true, _)) => {
            let _ =
                writeln!(text, "Nothing to do: version {version} is served. {} (run {run})", duration(ms));
        }
        Some((location, version, false, repo_file)) => {
            let repo_file = repo_file.as_deref().unwrap_or("drivetrain.repo");
            let _ = writeln!(
                text,
                "Served: version {version} at {location}, after {}.\n\
                 On a node:  dnf config-manager --add-repo {location}{repo_file} && dnf install {}\n\
                 Evidence:   drivetrain show {run}",
                duration(ms),
                [with_modules(directory), wanted(directory)].concat().join(" ")
            );
        }
        None => {
            let _ = writeln!(
                text,
                "Built and proven in {}; publish it with `drivetrain push`. Evidence: `drivetrain show {run}`.",
                duration(ms)
            );
        }
    }
    let lockstep = events.iter().rev().find_map(|stamped| match &stamped.event {
        Event::Lockstep { package, location, unchanged: false, repo_file, .. } => {
            Some((package, location, repo_file))
        }
        _ => None,
    });
    if let Some((package, location, repo_file)) = lockstep {
        let repo_file = repo_file.as_deref().unwrap_or("drivetrain.repo");
        let _ = writeln!(
            text,
            "With its kernels, in their stead:  dnf config-manager --add-repo {location}{repo_file} && dnf install {package}"
        );
    }
    text
}
