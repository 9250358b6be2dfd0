//! `drivetrain closure`

use drivetrain_host::CancellationToken;
use drivetrain_model::ExitCode;
use drivetrain_solve::Closure;

use crate::cli::{ClosureArgs, Global};
use crate::command::state_path;
use crate::context::{Context, load_config};
use crate::failure::{Failure, Result};
use crate::pipeline::until_signal;
use crate::reporter::Reporter;
use crate::stage::userspace;
use crate::state::StateDirectory;
use crate::view;

/// Answers what the packages need.
pub async fn run(args: &ClosureArgs, global: &Global) -> Result<ExitCode> {
    let mut config = load_config(global)?;
    let settings = config.driver.userspace.take();
    let wanted = match (args.packages.as_slice(), &settings) {
        ([], Some(settings)) => settings.packages.clone(),
        ([], None) => return Err(nothing_asked(global)),
        (packages, _) => packages.to_vec(),
    };
    let weak_dependencies = settings.is_some_and(|settings| settings.weak_dependencies);
    config.driver.userspace =
        Some(drivetrain_config::Userspace { packages: wanted.clone(), weak_dependencies });
    // Its standard output is the answer.
    let reporter = Reporter::new(view::choose(false, global.quiet || global.json));
    let cancel = CancellationToken::new();
    let context = Context::open(StateDirectory::open(state_path(global))?, reporter.clone(), cancel.clone())?;
    let asking = context.unless_cancelled(userspace::ask(&context, &config));
    let answered = until_signal(&cancel, asking).await;
    reporter.close();
    let closure = answered?;
    match (&args.why, global.json) {
        (Some(name), json) => why(&closure, &wanted, name, json)?,
        (None, true) => view::print_json(&closure),
        (None, false) if args.tree => view::print(&view::closure::tree(&closure)),
        (None, false) => view::print(&view::closure::closure(&closure, &wanted)),
    }
    Ok(ExitCode::Success)
}

fn why(closure: &Closure, wanted: &[String], name: &str, json: bool) -> Result<()> {
    let chains = view::closure::chains(closure, name);
    if chains.is_empty() {
        return Err(Failure::new(
            ExitCode::Plan,
            format!(
                "{name} is not needed for {}, and none of the train's that is called so either",
                wanted.join(", ")
            ),
        )
        .next("see what is with `drivetrain closure --tree`"));
    }
    if json {
        view::print_json(&chains);
    } else {
        view::print(&view::closure::why(&chains));
    }
    Ok(())
}

fn nothing_asked(global: &Global) -> Failure {
    Failure::new(
        ExitCode::Usage,
        format!("no package is named, and {} has no driver.userspace.packages", global.config),
    )
    .next("name one: drivetrain closure doca-ofed-userspace")
}
