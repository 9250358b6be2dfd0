//! Real upstreams for drivetrain's tests, demo and benches.
//!
//! A release train and a driver stack, made from Debian's packages under RHEL's and the vendor's names. See the
//! README of this directory for what is where.
#![expect(clippy::print_stdout, reason = "a program for developers: what it says is its output")]

mod cache;
mod container_command;
mod debian;
mod deps;
mod driver;
mod guest_command;
mod header;
mod kayobe_command;
mod kernels;
mod keys;
mod openstack_command;
mod packages;
mod pulp_command;
mod repack;
mod repo;
mod rpm;
mod serve;
mod train;
mod vendor;
mod world;

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Parser, Subcommand};
use drivetrain_lab::{cmd, say};
use fs_err as fs;

use crate::cache::Cache;
use crate::debian::Inputs;
use crate::keys::Keyring;

#[derive(Parser)]
#[command(name = "drivetrain-lab", about, version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build what is stale of the release train and the driver stack
    Up {
        /// Where the lab lives
        #[arg(long, default_value = ".lab")]
        dir: Utf8PathBuf,
        /// Look for newer packages in Debian's archive
        #[arg(long)]
        refresh: bool,
        /// How many consecutive kernels the train has
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=4))]
        kernels: u8,
    },
    /// Serve the lab's repositories over HTTP
    Serve(serve::Options),
    /// Write a repository of metadata as large as a distribution's
    World(world::Options),
    /// A real Pulp server: installed in the lab, or run for trying things out
    #[command(subcommand)]
    Pulp(pulp_command::Command),
    /// A real OpenStack: installed in the lab, or run for trying things out
    #[command(subcommand, name = "openstack")]
    OpenStack(openstack_command::Command),
    /// A real Kayobe, with its Ansible, installed in the lab
    #[command(subcommand)]
    Kayobe(kayobe_command::Command),
    /// Make the image of a virtual machine, installed from the train
    Guest {
        /// Where the lab lives
        #[arg(long, default_value = ".lab")]
        dir: Utf8PathBuf,
    },
    /// Make the root of containers, installed from the train
    Container {
        /// Where the lab lives
        #[arg(long, default_value = ".lab")]
        dir: Utf8PathBuf,
    },
    /// Install what building the lab needs
    Deps {
        /// Only print the packages
        #[arg(long)]
        print: bool,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Up { dir, refresh, kernels } => up(&dir, refresh, usize::from(kernels)),
        Command::Serve(options) => serve::serve(&options),
        Command::World(options) => world::write(&options),
        Command::Pulp(command) => pulp_command::run(&command),
        Command::OpenStack(command) => openstack_command::run(&command),
        Command::Kayobe(command) => kayobe_command::run(&command),
        Command::Guest { dir } => guest_command::build(&dir),
        Command::Container { dir } => container_command::build(&dir),
        Command::Deps { print } => deps::install(print),
    }
}

/// An open lab.
pub(crate) struct Lab {
    dir: Utf8PathBuf,
    www: Utf8PathBuf,
    debs: Utf8PathBuf,
    cache: Cache,
    inputs: Inputs,
    keyring: Keyring,
}

impl Lab {
    /// Writes the digests of packages as they are before they are signed. A signature has its time in it, so
    /// these are what two builds from the same inputs have in common.
    pub(crate) fn record_unsigned(&self, out: &Utf8Path, packages: &[Utf8PathBuf]) -> Result<()> {
        let names = packages.iter().filter_map(|package| package.file_name());
        let sums = cmd::run(cmd::command("sha256sum").current_dir(out).args(names))?;
        fs::write(out.join("SHA256SUMS.unsigned"), sums)?;
        Ok(())
    }
}

/// Two at once would build in each other's scratch space.
fn lock(dir: &Utf8Path) -> Result<fs::File> {
    fs::create_dir_all(dir.join("cache"))?;
    let lock = fs::File::create(dir.join("cache/lock"))?;
    lock.file().lock().with_context(|| format!("locking {dir}"))?;
    Ok(lock)
}

fn up(dir: &Utf8Path, refresh: bool, kernels: usize) -> Result<()> {
    let started = Instant::now();
    fs::create_dir_all(dir)?;
    let dir = dir.canonicalize_utf8()?;
    let lock = lock(&dir)?;

    deps::check()?;
    let debs = debian::debs_dir(&dir);
    let inputs = inputs(&dir, &debs, refresh, kernels)?;
    debian::fetch(&debs, &inputs.debs)?;
    let cache = Cache::open(&dir)?;
    let www = dir.join("www");
    let keyring = Keyring::open(&cache, &dir.join("keys"), &www)?;
    let lab = Lab { dir, www, debs, cache, inputs, keyring };

    // The quick ones first: whoever waits for the small stack need not wait for the kernels.
    let mini = driver::build_mini(&lab)?;
    driver::build_traps(&lab)?;
    let stack = driver::build_stack(&lab)?;
    vendor::build(&lab, &stack, &mini)?;
    let tool = vendor::write_tool(&lab)?;
    let abis = lab.inputs.kernels.clone();
    let kernels = abis.into_iter().map(|abi| kernels::build(&lab, abi)).collect::<Result<Vec<_>>>()?;
    train::build(&lab, &kernels)?;
    train::prune(&lab, kernels.len())?;
    for kernel in &kernels {
        kernels::unpacked(&lab, kernel)?;
    }

    for (kernel, (snapshot, _)) in kernels.iter().zip(train::SNAPSHOTS) {
        say(format_args!("kernel {} arrives at snapshot {snapshot}", kernel.release));
    }
    say(format_args!("train:   {}", lab.www.join("train/{BaseOS,AppStream}/x86_64/os/<snapshot>")));
    say(format_args!("vendor:  {}", vendor::repository_dir(&lab.www, "doca")));
    say(format_args!("small:   {}", vendor::repository_dir(&lab.www, "doca-mini")));
    say(format_args!("traps:   {}", lab.dir.join("traps")));
    say(format_args!("headers: {}", lab.dir.join("kernels/<release>")));
    say(format_args!("keys:    {}", lab.www.join("keys")));
    say(format_args!("tool:    {tool}"));
    drop(lock);
    say(format_args!("done in {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// The packages that the lab is made from: those of last time, unless others are asked for.
fn inputs(dir: &Utf8Path, debs: &Utf8Path, refresh: bool, kernels: usize) -> Result<Inputs> {
    let mut others = vendor::debs();
    others.extend(repack::debs_of(train::SETS));
    others.sort_unstable();
    others.dedup();

    let file = dir.join("inputs.json");
    if !refresh && let Ok(text) = fs::read_to_string(&file) {
        let inputs: Inputs = serde_json::from_str(&text).with_context(|| format!("reading {file}"))?;
        let complete = others.iter().all(|name| inputs.debs.contains_key(*name));
        if inputs.kernels.len() == kernels && complete {
            return Ok(inputs);
        }
    }
    let inputs = debian::resolve(debs, kernels, &others)?;
    ensure!(!inputs.kernels.is_empty(), "no kernels");
    let partial = dir.join("inputs.json.new");
    fs::write(&partial, serde_json::to_string_pretty(&inputs)?)?;
    fs::rename(partial, file)?;
    Ok(inputs)
}
