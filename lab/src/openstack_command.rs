//! `drivetrain-lab openstack`: a real OpenStack, installed in the lab, or run for people to try.

use std::time::{Duration, Instant};

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use drivetrain_lab::openstack::{Installation, Options, Server};
use fs_err as fs;

use crate::say;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Install OpenStack in the lab, where it is not there or an old one
    Install {
        /// Where the lab lives
        #[arg(long, default_value = ".lab")]
        dir: Utf8PathBuf,
    },
    /// Run a cloud until it is interrupted; nothing of it is kept
    Up(Up),
}

#[derive(Args)]
pub(crate) struct Up {
    /// Where the lab lives
    #[arg(long, default_value = ".lab")]
    dir: Utf8PathBuf,
    /// Nova's driver: `fake.FakeBuildAbortDriver` is one that fails
    #[arg(long, default_value = "fake.FakeDriver")]
    driver: String,
    /// How long a token is good for, in seconds
    #[arg(long, default_value_t = 3600)]
    token_seconds: u32,
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Install { dir } => {
            let installation = Installation::ensure(dir)?;
            say(format_args!("OpenStack: {}", installation.directory()));
            Ok(())
        }
        Command::Up(options) => up(options),
    }
}

fn up(up: &Up) -> Result<()> {
    let installation = Installation::ensure(&up.dir)?;
    let started = Instant::now();
    let options = Options { driver: up.driver.clone(), token_seconds: up.token_seconds };
    let mut server = Server::start(&installation, options)?;
    let clouds = installation.directory().join("clouds.yaml");
    fs::write(&clouds, server.clouds_yaml())?;
    println!("export OS_CLIENT_CONFIG_FILE={clouds}");
    println!("export OS_CLOUD=lab");
    say(format_args!(
        "running after {:.1} s, its logs in {}; Ctrl-C ends it",
        started.elapsed().as_secs_f64(),
        server.logs()
    ));
    // An interrupt ends this process, and thereby the cloud.
    loop {
        std::thread::sleep(Duration::from_secs(1));
        server.check()?;
    }
}
