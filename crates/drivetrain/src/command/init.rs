//! `drivetrain init`

use std::io::Write as _;

use drivetrain_config::config_template;
use drivetrain_model::ExitCode;
use fs_err as fs;

use crate::cli::Init;
use crate::failure::{Failure, Result};
use crate::view;

/// Writes the commented configuration.
pub fn run(args: &Init) -> Result<ExitCode> {
    if args.stdout {
        view::print(config_template());
        return Ok(ExitCode::Success);
    }
    let mut options = fs::OpenOptions::new();
    options.write(true);
    if args.force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(&args.file).and_then(|mut file| file.write_all(config_template().as_bytes()));
    written.map_err(|error| {
        let failure = Failure::of(ExitCode::Usage, &error);
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Failure::new(ExitCode::Usage, format!("{} is there already", args.file))
                    .next("give another name, or write over it with --force")
            }
            _ => failure,
        }
    })?;
    view::print(&format!(
        "{} written. Name your train's repositories, their keys and the driver version in it, then look at \
         `drivetrain plan --config {}`.\n",
        args.file, args.file
    ));
    Ok(ExitCode::Success)
}
