//! `drivetrain plan`

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_config::{Config, ConfiguredCell, TrainOrigin};
use drivetrain_host::CancellationToken;
use drivetrain_model::{ExitCode, Lock, Plan};
use fs_err as fs;

use crate::cli::{Global, LockArgs, PlanArgs};
use crate::command::state_path;
use crate::context::{Context, load_cells};
use crate::failure::{Failure, Result};
use crate::matrix;
use crate::pipeline::until_signal;
use crate::reporter::Reporter;
use crate::stage;
use crate::stage::plan::Planned;
use crate::stage::report::write_aside;
use crate::state::StateDirectory;
use crate::view;

/// What a plan's JSON calls where the train was read from.
const ORIGIN: &str = "train_from";

/// Makes the plan, shows it, and writes the lock; of each cell, where there are several.
pub async fn run(args: &PlanArgs, global: &Global) -> Result<ExitCode> {
    // Its standard output is the plan: with --json nothing else may stand there.
    let reporter = Reporter::new(view::choose(false, global.quiet || global.json));
    let cancel = CancellationToken::new();
    let configured = load_cells(global)?;
    let is_alone = matrix::is_alone(&configured);
    let cells = matrix::expand(configured, global, &cancel).await?;
    let context = Context::open(StateDirectory::open(state_path(global))?, reporter.clone(), cancel.clone())?;
    if let [only] = cells.as_slice()
        && is_alone
    {
        let origin = say_origin(&only.config, args, global);
        let planned = make(&context, &only.config).await;
        reporter.close();
        if let (Err(_), true, Some(origin)) = (&planned, global.json, origin) {
            view::print_json(&serde_json::json!({ ORIGIN: origin }));
        }
        return shown(&planned?, args, global, None, origin).map(|()| ExitCode::Success);
    }
    let mut results = Vec::new();
    for cell in &cells {
        let origin = say_origin(&cell.config, args, global);
        let planned = make(&context, &cell.config).await;
        let done = planned.and_then(|planned| {
            shown(&planned, args, global, Some(&cell.name), origin)?;
            Ok(planned.plan)
        });
        if let Err(failure) = &done
            && !global.json
        {
            view::note(&format!("{}\n{}\n", cell.name, view::words::failure(failure, false)));
        }
        results.push((cell.name.clone(), done));
    }
    reporter.close();
    if global.json {
        let of = |((name, done), cell): (&(String, Result<Plan>), &ConfiguredCell)| {
            let mut object = match done {
                Ok(plan) => serde_json::json!({ "name": name, "plan": plan }),
                Err(failure) => serde_json::json!({ "name": name, "error": failure }),
            };
            if let Some(origin) = cell.config.train.kayobe.as_deref().filter(|_| args.explain) {
                object[ORIGIN] = serde_json::json!(origin);
            }
            object
        };
        view::print_json(&results.iter().zip(&cells).map(of).collect::<Vec<_>>());
    } else {
        view::print(&view::matrix::plans(&results));
    }
    let failures = results.iter().map(|(_, done)| done.as_ref().err().map(|failure| failure.code));
    Ok(matrix::exit_code(failures))
}

/// Says where the train was read from, where that is a site's own configuration, and hands it back where it is to be
/// in the JSON. Before the plan is made, so that it stands there even if that goes wrong.
fn say_origin<'a>(config: &'a Config, args: &PlanArgs, global: &Global) -> Option<&'a TrainOrigin> {
    let origin = config.train.kayobe.as_deref()?;
    if global.json {
        return args.explain.then_some(origin);
    }
    view::print(&if args.explain { view::origin::explanation(origin) } else { view::origin::line(origin) });
    None
}

async fn make(context: &Context, config: &Config) -> Result<Planned> {
    let making = context.unless_cancelled(stage::plan::make(context, config));
    until_signal(&context.cancel, making).await
}

/// Shows the plan of a cell, and compares or writes its lock.
fn shown(
    planned: &Planned,
    args: &PlanArgs,
    global: &Global,
    cell: Option<&str>,
    origin: Option<&TrainOrigin>,
) -> Result<()> {
    let file = lock_file(&args.lock, &global.config, cell);
    if args.lock.locked {
        require_locked(&planned.plan, &file)?;
    }
    if !global.json {
        view::print(&view::plan::plan(&planned.plan));
    } else if cell.is_none() {
        let mut plan = serde_json::json!(planned.plan);
        if let Some(origin) = origin {
            plan[ORIGIN] = serde_json::json!(origin);
        }
        view::print_json(&plan);
    }
    if !args.lock.locked && !args.no_lock {
        write_lock(&planned.plan.lock, &file)?;
        if !global.json {
            view::print(&format!("Lock: {file}\n"));
        }
    }
    if cell.is_some() && !global.json {
        view::print("\n");
    }
    Ok(())
}

/// Where the lock is: as asked for, or beside the configuration.
/// Each of several cells has one of its own, in a directory of that name.
pub fn lock_file(args: &LockArgs, config: &Utf8Path, cell: Option<&str>) -> Utf8PathBuf {
    let file = args.lock.clone().unwrap_or_else(|| config.with_extension("lock"));
    match cell {
        None => file,
        Some(name) => Utf8PathBuf::from(format!("{file}.d")).join(format!("{}.lock", name.replace('/', "_"))),
    }
}

/// Refuses unless the plan fits the lock.
pub fn require_locked(plan: &Plan, file: &Utf8Path) -> Result<()> {
    let unreadable = |error: &(dyn std::error::Error + 'static)| {
        Failure::because(ExitCode::Plan, format!("the lock {file} cannot be used"), error)
            .next("write it with `drivetrain plan`, and look at what changed before you commit it")
    };
    let text = fs::read(file).map_err(|error| unreadable(&error))?;
    let lock: Lock = serde_json::from_slice(&text).map_err(|error| unreadable(&error))?;
    let differences = lock.differences(&plan.lock);
    if differences.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::new(ExitCode::Plan, format!("the lock {file} no longer fits"));
    failure.causes = view::plan::differences(&differences);
    Err(failure.next("if that is what you want, write a new lock with `drivetrain plan`"))
}

/// Writes the lock, whole or not at all.
fn write_lock(lock: &Lock, file: &Utf8Path) -> Result<()> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        Failure::because(ExitCode::Failure, format!("the lock {file} cannot be written"), error)
            .next("name another file with --lock, or write none with --no-lock")
    };
    let mut text = serde_json::to_string_pretty(lock).map_err(|error| failed(&error))?;
    text.push('\n');
    if fs::read_to_string(file).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(directory) = file.parent().filter(|directory| directory.extension() == Some("d")) {
        fs::create_dir_all(directory).map_err(|error| failed(&error))?;
    }
    write_aside(file, text.as_bytes()).map_err(|error| failed(&error))
}
