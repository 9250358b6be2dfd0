//! `drivetrain completions` and `drivetrain man`

use clap::CommandFactory;
use drivetrain_model::ExitCode;
use fs_err as fs;

use crate::cli::{Cli, Completions, Man};
use crate::failure::{Failure, Result};
use crate::view;

/// Prints a completion script.
pub fn completions(args: &Completions) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "drivetrain", &mut script);
    view::print(&String::from_utf8_lossy(&script));
    Ok(ExitCode::Success)
}

/// Writes one page for drivetrain and one for each command.
pub fn man(args: &Man) -> Result<ExitCode> {
    fs::create_dir_all(&args.directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.directory))
        .map_err(|error| Failure::of(ExitCode::Failure, &error))?;
    Ok(ExitCode::Success)
}
