//! `drivetrain-lab pulp`: a real Pulp, installed in the lab, or run for people to try.

use std::time::Duration;

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand, ValueEnum};
use drivetrain_lab::pulp::{Installation, Options, Release, Server};

use crate::say;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Install Pulp in the lab, where it is not there or an old one
    Install {
        /// Where the lab lives
        #[arg(long, default_value = ".lab")]
        dir: Utf8PathBuf,
        /// Which Pulp
        #[arg(long, value_enum, default_value_t = Which::All)]
        release: Which,
    },
    /// Run a server until it is interrupted; what is in it is kept
    Up(Up),
}

#[derive(Args)]
pub(crate) struct Up {
    /// Where the lab lives
    #[arg(long, default_value = ".lab")]
    dir: Utf8PathBuf,
    /// Which Pulp
    #[arg(long, default_value = "current", value_parser = release)]
    release: Release,
    /// The port of the API
    #[arg(long, default_value_t = 24817)]
    api_port: u16,
    /// The port that packages are served on
    #[arg(long, default_value_t = 24816)]
    content_port: u16,
}

/// One Pulp, or all.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Which {
    Current,
    Lts,
    All,
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Install { dir, release } => install(dir, *release),
        Command::Up(options) => up(options),
    }
}

fn release(name: &str) -> Result<Release, String> {
    Release::ALL.into_iter().find(|release| release.name() == name).ok_or("current or lts".to_owned())
}

fn install(dir: &Utf8PathBuf, which: Which) -> Result<()> {
    let releases = match which {
        Which::Current => &[Release::Current][..],
        Which::Lts => &[Release::Lts],
        Which::All => &Release::ALL,
    };
    for release in releases {
        let installation = Installation::ensure(dir, *release)?;
        say(format_args!("Pulp ({release}): {}", installation.directory()));
    }
    Ok(())
}

fn up(up: &Up) -> Result<()> {
    let installation = Installation::ensure(&up.dir, up.release)?;
    let directory = installation.directory().join("server");
    let ports =
        Options { api_port: Some(up.api_port), content_port: Some(up.content_port), ..Options::default() };
    let mut server = Server::open(&installation, &directory, ports)?;
    println!("export PULP_BASE_URL={}", server.api_url());
    println!("export PULP_CONTENT_URL={}/pulp/content", server.content_url());
    println!("export PULP_USERNAME={}", server.username());
    println!("export PULP_PASSWORD={}", server.password());
    say(format_args!("running with its data in {directory}; Ctrl-C ends it"));
    // An interrupt ends this process, and thereby the server.
    loop {
        std::thread::sleep(Duration::from_secs(1));
        server.check()?;
    }
}
