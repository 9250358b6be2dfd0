//! `drivetrain init`

use std::io::Write as _;

use camino::Utf8Path;
use drivetrain_config::config_template;
use drivetrain_model::ExitCode;
use fs_err as fs;

use crate::cli::{DEFAULT_CONFIG, Global, Init};
use crate::failure::{Failure, Result};
use crate::view;

/// Writes the commented configuration.
pub fn run(args: &Init, global: &Global) -> Result<ExitCode> {
    if args.stdout {
        view::print(config_template());
        return Ok(ExitCode::Success);
    }
    let file = destination(args, global)?;
    let mut options = fs::OpenOptions::new();
    options.write(true);
    if args.force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(file).and_then(|mut file| file.write_all(config_template().as_bytes()));
    written.map_err(|error| {
        let failure = Failure::of(ExitCode::Usage, &error);
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Failure::new(ExitCode::Usage, format!("{file} is there already"))
                    .next("give another name, or write over it with --force")
            }
            _ => failure,
        }
    })?;
    view::print(&format!(
        "{file} written. Name your train's repositories, their keys and the driver version in it, then look at \
         `drivetrain plan --config {file}`.\n"
    ));
    Ok(ExitCode::Success)
}

/// Where to write: to the file that is named, or to the one that the other commands will read. Two different ones
/// would leave one of them out without a word.
fn destination<'a>(args: &'a Init, global: &'a Global) -> Result<&'a Utf8Path> {
    let Some(file) = &args.file else { return Ok(&global.config) };
    // What only the environment names, or nothing, may be overridden.
    let from_environment = std::env::var("DRIVETRAIN_CONFIG").is_ok_and(|named| named == global.config);
    if *file == global.config || global.config == DEFAULT_CONFIG || from_environment {
        return Ok(file);
    }
    Err(Failure::new(
        ExitCode::Usage,
        format!("two files are named: {file}, and {} with --config", global.config),
    )
    .next("name one of them, in one of the two ways"))
}
