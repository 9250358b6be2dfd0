//! The command line of drivetrain: see [`cli`], or `drivetrain --help`.

mod cell_lock;
mod cli;
mod command;
mod context;
mod failure;
mod journal;
mod kayobe_train;
mod matrix;
mod pipeline;
mod provider;
mod publisher;
mod reporter;
mod repository_at;
mod run_lock;
mod stage;
mod state;
mod together;
mod verification;
mod view;

use clap::Parser;
use cli::{Cli, Command};
use drivetrain_model::ExitCode;
use failure::{Failure, Result};

fn main() -> std::process::ExitCode {
    // Before anything else: as the first process of a guest that a boot test made, this is something else.
    if let Some(code) = drivetrain_boot::guest::enter() {
        return code;
    }
    // Builds run as another user, and web servers as a third: what is meant for them must be readable. What is
    // not stands below the state directory, which is its owner's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return end(told_by_clap(&told)),
    };
    let json = cli.global.json;
    let code = match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            view::failure(&failure, json);
            failure.code
        }
    };
    let code = match view::lost() {
        Some(failure) => worse(code, &failure),
        None => code,
    };
    end(code)
}

fn end(code: ExitCode) -> std::process::ExitCode {
    std::process::ExitCode::from(u8::from(code))
}

/// The result could not be printed: a command that succeeded has failed with that.
fn worse(code: ExitCode, lost: &Failure) -> ExitCode {
    view::failure(lost, false);
    if code == ExitCode::Success { lost.code } else { code }
}

/// Prints help, or what is wrong with the command line.
fn told_by_clap(told: &clap::Error) -> ExitCode {
    let code = if told.use_stderr() { ExitCode::Usage } else { ExitCode::Success };
    match told.print().err().as_ref().and_then(view::lost_failure) {
        Some(failure) => worse(code, &failure),
        None => code,
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let global = &cli.global;
    match cli.command {
        Command::Init(args) => command::init::run(&args, global),
        Command::Check(args) => command::check::run(&args, global),
        Command::Verify(args) => wait_for(command::verify::run(&args, global)),
        Command::Diff(args) => wait_for(command::diff::run(&args, global)),
        Command::Completions(args) => command::shell::completions(&args),
        Command::Man(args) => command::shell::man(&args),
        Command::Rollback(args) => on_a_thread(global, move |global| command::rollback::run(&args, global)),
        Command::Show(args) => on_a_thread(global, move |global| command::show::run(&args, global)),
        Command::Promote(args) => on_a_thread(global, move |global| command::promote::run(&args, global)),
        Command::Status(args) => on_a_thread(global, move |global| command::status::run(&args, global)),
        Command::Sign(args) => command::sign::run(&args, global),
        Command::Site(args) => wait_for(command::site::run(args, global)),
        Command::Machines(_) => wait_for(command::machines::list(global)),
        Command::Gc(args) => wait_for(command::machines::gc(&args, global)),
        Command::Worker(args) => wait_for(command::worker::run(&args)),
        Command::Plan(args) => wait_for(command::plan::run(&args, global)),
        Command::Closure(args) => wait_for(command::closure::run(&args, global)),
        Command::Build(args) => wait_for(pipeline::run(pipeline::Goal::build(&args), global)),
        Command::Prove(args) => wait_for(pipeline::run(pipeline::Goal::prove(&args), global)),
        Command::Push(args) => wait_for(pipeline::run(pipeline::Goal::push(&args), global)),
        Command::Run(args) => wait_for(pipeline::run(pipeline::Goal::run(&args), global)),
    }
}

/// Runs a command that waits for a target: on a thread that may block, with a runtime at hand.
fn on_a_thread(
    global: &cli::Global,
    work: impl FnOnce(&cli::Global) -> Result<ExitCode> + Send + 'static,
) -> Result<ExitCode> {
    let global = global.clone();
    wait_for(async move { stage::blocking(move || work(&global)).await? })
}

fn wait_for(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::because(ExitCode::Internal, "no threads can be started", &error))?;
    let result = runtime.block_on(work);
    // A blocking read that nobody waits for any more must not hold the process.
    runtime.shutdown_background();
    result
}
