//! `drivetrain plan`

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::CancellationToken;
use drivetrain_model::{ExitCode, Lock, Plan};
use fs_err as fs;

use crate::cli::{Global, LockArgs, PlanArgs};
use crate::command::state_path;
use crate::context::{Context, load_config};
use crate::failure::{Failure, Result};
use crate::pipeline::until_signal;
use crate::reporter::Reporter;
use crate::stage;
use crate::state::StateDirectory;
use crate::view;

/// Makes the plan, shows it, and writes the lock.
pub async fn run(args: &PlanArgs, global: &Global) -> Result<ExitCode> {
    let config = load_config(global)?;
    // Its standard output is the plan: with --json nothing else may stand there.
    let reporter = Reporter::new(view::choose(false, global.quiet || global.json));
    let cancel = CancellationToken::new();
    let context = Context::open(StateDirectory::open(state_path(global))?, reporter.clone(), cancel.clone())?;
    let made = until_signal(&cancel, context.unless_cancelled(stage::plan::make(&context, &config))).await;
    reporter.close();
    let planned = made?;
    let file = lock_file(&args.lock, &global.config);
    if args.lock.locked {
        require_locked(&planned.plan, &file)?;
    }
    if global.json {
        view::print_json(&planned.plan);
    } else {
        view::print(&view::plan::plan(&planned.plan));
    }
    if !args.lock.locked && !args.no_lock {
        write_lock(&planned.plan.lock, &file)?;
        if !global.json {
            view::print(&format!("Lock: {file}\n"));
        }
    }
    Ok(ExitCode::Success)
}

/// Where the lock is: as asked for, or beside the configuration.
pub fn lock_file(args: &LockArgs, config: &Utf8Path) -> Utf8PathBuf {
    args.lock.clone().unwrap_or_else(|| config.with_extension("lock"))
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
    let temporary = file.with_extension(format!("lock.{}", std::process::id()));
    fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, file)).map_err(|error| {
        drop(fs::remove_file(&temporary));
        failed(&error)
    })
}
