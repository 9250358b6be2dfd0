//! `drivetrain-lab kayobe`: a real Kayobe, installed in the lab.

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::Subcommand;
use drivetrain_lab::kayobe::Installation;

use crate::say;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Install Kayobe and Ansible in the lab, where they are not there or old ones
    Install {
        /// Where the lab lives
        #[arg(long, default_value = ".lab")]
        dir: Utf8PathBuf,
    },
}

pub(crate) fn run(command: &Command) -> Result<()> {
    let Command::Install { dir } = command;
    let installation = Installation::ensure(dir)?;
    say(format_args!("Kayobe: {}", installation.program("kayobe")));
    Ok(())
}
