//! `drivetrain show`

use drivetrain_model::{ExitCode, RunId};
use drivetrain_report::Report;
use fs_err as fs;

use crate::cli::{Global, Show, parse_run};
use crate::command::state_path;
use crate::context::load_any;
use crate::failure::{Failure, Result};
use crate::publisher::{Publisher, failed};
use crate::stage;
use crate::state::StateDirectory;
use crate::view;
use crate::view::runs::{Record, Repository};

/// Shows runs, repositories or evidence.
pub fn run(args: &Show, global: &Global) -> Result<ExitCode> {
    let state = StateDirectory::existing(state_path(global));
    match &args.run {
        None if rendering(args).is_some() => one(&find(&state, None)?, args, global),
        None => list(&state, global),
        Some(text) => {
            let asked = parse_run(text).map_err(|error| Failure::of(ExitCode::Usage, &error))?;
            one(&find(&state, asked)?, args, global)
        }
    }
}

fn list(state: &StateDirectory, global: &Global) -> Result<ExitCode> {
    let records: Vec<Record> = run_ids(state)?.into_iter().filter_map(|id| Record::read(state, id)).collect();
    // Runs can be looked at without a configuration; repositories are where it says.
    let repositories = if global.config.exists() { repositories(global)? } else { Vec::new() };
    if global.json {
        view::print_json(&serde_json::json!({ "runs": records, "repositories": repositories }));
    } else {
        view::print(&view::runs::list(&records, &repositories, state.path()));
    }
    let damaged = repositories.iter().any(Repository::is_damaged);
    Ok(if damaged { ExitCode::Publish } else { ExitCode::Success })
}

fn repositories(global: &Global) -> Result<Vec<Repository>> {
    let config = load_any(global)?;
    let publisher = Publisher::new(&state_path(global), None);
    let Some(target) = publisher.existing(&config)? else { return Ok(Vec::new()) };
    let all = target.list().map_err(|error| failed(&error))?;
    Ok(all.iter().map(Repository::of).collect())
}

/// All runs, newest last.
fn run_ids(state: &StateDirectory) -> Result<Vec<RunId>> {
    let directory = match state.runs().read_dir_utf8() {
        Ok(directory) => directory,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::of(ExitCode::Failure, &error)),
    };
    let mut ids: Vec<RunId> =
        directory.flatten().filter_map(|entry| RunId::parse(entry.file_name()).ok()).collect();
    ids.sort();
    Ok(ids)
}

fn find(state: &StateDirectory, asked: Option<RunId>) -> Result<Record> {
    let ids = run_ids(state)?;
    let none = || {
        let message = match &asked {
            Some(id) => format!("there is no run {id} in {}", state.path()),
            None => format!("there are no runs in {}", state.path()),
        };
        Failure::new(ExitCode::Usage, message)
            .next("`drivetrain show` lists them; another state directory is named with --state")
    };
    let id = match &asked {
        Some(id) => ids.into_iter().find(|known| known == id),
        None => ids.into_iter().next_back(),
    };
    id.and_then(|id| Record::read(state, id)).ok_or_else(none)
}

/// The form in which a run's report is asked for.
fn rendering(args: &Show) -> Option<fn(&Report) -> String> {
    match (args.html, args.markdown, args.annotations) {
        (true, ..) => Some(Report::html),
        (_, true, _) => Some(Report::markdown),
        (.., true) => Some(drivetrain_report::annotations),
        _ => None,
    }
}

fn one(record: &Record, args: &Show, global: &Global) -> Result<ExitCode> {
    if let Some(component) = &args.log {
        let path = record.log(component).ok_or_else(|| {
            Failure::new(ExitCode::Usage, format!("run {} has no log of {component}", record.run))
                .next("`drivetrain show RUN` lists its logs")
        })?;
        let text = fs::read(&path).map_err(|error| Failure::of(ExitCode::Failure, &error))?;
        view::print(&String::from_utf8_lossy(&text));
    } else if args.journal {
        for event in &record.events {
            match serde_json::to_string(event) {
                Ok(line) => view::print(&format!("{line}\n")),
                Err(error) => return Err(Failure::of(ExitCode::Internal, &error)),
            }
        }
    } else if let Some(render) = rendering(args) {
        let report = stage::report::of_run(&record.run, &record.directory)
            .map_err(|error| Failure::of(ExitCode::Failure, &error))?;
        view::print(&render(&report));
    } else if global.json {
        view::print_json(&record.evidence());
    } else {
        view::print(&view::runs::evidence(record));
    }
    Ok(ExitCode::Success)
}
