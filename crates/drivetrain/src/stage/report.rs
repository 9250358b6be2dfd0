//! The report of a run: read from what the run left behind, and kept beside it.
//!
//! A report tells of a run and is no part of it. So nothing here fails a run: what cannot be read is left out of the report,
//! and a report that cannot be written is a warning.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write as _};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_model::{ComponentName, ComponentOutcome, Event, HeldBack, Lock, Plan, RunId, Stamped};
use drivetrain_report::{Evidence, Excerpt, FirstError, LogFile, Report, excerpt};
use fs_err as fs;
use serde::de::DeserializeOwned;

use crate::journal;
use crate::reporter::Reporter;
use crate::run_lock;

/// A record is no longer than this; what is, was not written by a run.
const MAX_RECORD_BYTES: u64 = 64 << 20;
/// More files than the directory of a run has.
const MAX_FILES: usize = 200;

/// Makes the report of a run that has ended, and writes it beside its journal: as a page, as Markdown, and as JSON.
pub fn keep(run: &RunId, directory: &Utf8Path, reporter: &Reporter) -> Option<Report> {
    let warn = |error: io::Error| reporter.warn(format!("the report of this run cannot be written: {error}"));
    let report = of_run(run, directory).map_err(warn).ok()?;
    if let Err(error) = write(&report, directory) {
        warn(error);
    }
    Some(report)
}

fn write(report: &Report, directory: &Utf8Path) -> io::Result<()> {
    write_aside(&directory.join("report.json"), report.json()?.as_bytes())?;
    write_aside(&directory.join("report.md"), report.markdown().as_bytes())?;
    write_aside(&directory.join("report.html"), report.html().as_bytes())
}

/// Writes a file beside its place, and renames it.
pub fn write_aside(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = path.parent().unwrap_or(Utf8Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".unfinished-")
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// The report of a run, from what there is in its directory.
///
/// # Errors
/// Where its journal cannot be read.
pub fn of_run(run: &RunId, directory: &Utf8Path) -> io::Result<Report> {
    let mut events = journal::read(directory)?;
    let running = journal::finish(&events).is_none() && run_lock::process_of(directory).is_some();
    if !running {
        // It may have ended since.
        events = journal::read(directory)?;
    }
    let plan: Option<Plan> = record(&directory.join("plan.json"));
    let evidence = Evidence {
        run: run.clone(),
        logs: logs(directory, &events, plan.as_ref().map(|plan| &plan.lock)),
        held_back: held_back(&events, plan.as_ref()),
        plan,
        verdicts: record(&directory.join("verdicts.json")),
        build: record(&directory.join("build.json")),
        boot: record(&directory.join(super::boot::VERDICT)),
        files: files(directory),
        running,
        events,
    };
    Ok(Report::of(&evidence))
}

fn record<T: DeserializeOwned>(path: &Utf8Path) -> Option<T> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MAX_RECORD_BYTES).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The log of a component, of this run or of the run that built it.
pub fn log_of(directory: &Utf8Path, component: &ComponentName, lock: Option<&Lock>) -> Option<Utf8PathBuf> {
    let own = directory.join("logs").join(format!("{component}.log"));
    if own.exists() {
        return Some(own);
    }
    // Reused: its log is kept with the finished component.
    let key = lock?.components.iter().find(|locked| locked.name == *component)?.key;
    let state = directory.parent()?.parent()?;
    let kept = state.join("components").join(key.to_string()).join("log");
    kept.exists().then_some(kept)
}

/// The logs of the components that the journal or the lock knows; of those that failed with what is around the error.
fn logs(directory: &Utf8Path, events: &[Stamped], lock: Option<&Lock>) -> BTreeMap<ComponentName, LogFile> {
    let locked = lock.into_iter().flat_map(|lock| &lock.components).map(|component| (&component.name, None));
    let told = events.iter().filter_map(|stamped| match &stamped.event {
        Event::ComponentFinished { component, outcome, .. } => {
            let ComponentOutcome::Failed { error } = outcome else { return Some((component, None)) };
            Some((component, Some(error.as_str())))
        }
        _ => None,
    });
    let known: BTreeMap<&ComponentName, Option<&str>> = locked.chain(told).collect();
    let with_log = known.into_iter().filter_map(|(component, error)| {
        let path = log_of(directory, component, lock)?;
        let excerpt = error.and_then(|error| excerpt_of(&path, error));
        let shown = path.strip_prefix(directory).unwrap_or(&path).to_string();
        Some((component.clone(), LogFile { path: shown, excerpt }))
    });
    with_log.collect()
}

/// What is around the errors of kernels that are held back, where their logs are still there.
fn held_back(events: &[Stamped], plan: Option<&Plan>) -> BTreeMap<String, Excerpt> {
    let planned = plan.into_iter().flat_map(|plan| &plan.kernel.held_back);
    let told = events.iter().filter_map(|stamped| match &stamped.event {
        Event::HeldBack { held } => Some(&**held),
        _ => None,
    });
    let excerpts = told.chain(planned).filter_map(|held: &HeldBack| {
        let found = excerpt_of(Utf8Path::new(held.log.as_ref()?), &held.error)?;
        // A log of that name may be of a later build: what does not have the error is not its log.
        found.error_line.map(|_| (held.release.to_string(), found))
    });
    excerpts.collect()
}

fn excerpt_of(log: &Utf8Path, error: &str) -> Option<Excerpt> {
    let error = FirstError::parse(None, error);
    let file = BufReader::new(fs::File::open(log).ok()?);
    excerpt(file, error.file.as_deref(), &error.message).ok()
}

/// The names of the files in a run's directory, and of its logs.
fn files(directory: &Utf8Path) -> Vec<String> {
    let mut names = Vec::new();
    for (below, prefix) in [(directory.to_owned(), ""), (directory.join("logs"), "logs/")] {
        let Ok(entries) = below.read_dir_utf8() else { continue };
        let files = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        names.extend(files.map(|entry| format!("{prefix}{}", entry.file_name())).take(MAX_FILES));
    }
    // The report itself, and what is only there while the run goes on.
    names.retain(|name| !name.starts_with("report.") && !name.starts_with('.') && name != "process");
    names.sort();
    names
}
