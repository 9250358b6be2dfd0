//! Times drivetrain against the tools that a user would otherwise run: see `README.md`.
#![allow(clippy::print_stdout)]

mod check;
mod closure;
mod download;
mod measure;
mod plan;
mod push;
mod run;
mod signing;
mod verdict;

use anyhow::{Context, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Parser, Subcommand};

/// Times drivetrain against the tools that a user would otherwise run, and prints ratios.
#[derive(Debug, Parser)]
#[command(name = "drivetrain-bench", version)]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
    /// The lab (`drivetrain-lab up`).
    #[arg(long, global = true, default_value = ".lab")]
    lab: Utf8PathBuf,
    /// The drivetrain to time [default: the one beside this program].
    #[arg(long, global = true)]
    drivetrain: Option<Utf8PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// `drivetrain plan` on 60,000 packages against `dnf repoquery` for the same question, both cold.
    Plan {
        /// How often.
        #[arg(long, default_value_t = 5)]
        pairs: usize,
        /// How many packages.
        #[arg(long, default_value_t = 60_000)]
        packages: usize,
    },
    /// `drivetrain check` on the whole stack against rpm2cpio and depmod.
    Check {
        /// How often.
        #[arg(long, default_value_t = 15)]
        pairs: usize,
    },
    /// `drivetrain closure` on 60,000 packages against `dnf install --assumeno`, cold and warm.
    Closure {
        /// How often.
        #[arg(long, default_value_t = 5)]
        pairs: usize,
        /// How many packages at least.
        #[arg(long, default_value_t = 60_000)]
        packages: usize,
    },
    /// Downloads over loopback against `curl --parallel`.
    Download {
        /// How often.
        #[arg(long, default_value_t = 5)]
        pairs: usize,
        /// How many files.
        #[arg(long, default_value_t = 60)]
        files: usize,
        /// How large each is.
        #[arg(long, default_value_t = 10)]
        megabytes: usize,
    },
    /// The side of drivetrain's in `download`.
    #[command(hide = true)]
    Fetch { url: String, list: Utf8PathBuf, store: Utf8PathBuf },
    /// Packages to a Pulp server, until dnf sees them, against pulp-cli and curl.
    Push(push::Plan),
    /// The side of drivetrain's in `push`.
    #[command(hide = true)]
    Publish(push::ours::Job),
    /// Modules signed in their packages, and the packages signed, against `sign-file` and `rpmsign`.
    Signing {
        /// How often.
        #[arg(long, default_value_t = 5)]
        pairs: usize,
        /// How many modules, each in a package of its own.
        #[arg(long, default_value_t = 60)]
        modules: usize,
    },
    /// The side of drivetrain's in `signing`.
    #[command(hide = true)]
    Signed(signing::Job),
    /// The verdict of the whole stack on ten kernels, against `modprobe --dump-modversions` and awk.
    Verdict {
        /// How often.
        #[arg(long, default_value_t = 5)]
        pairs: usize,
        /// How many kernels; those of the lab are taken again and again.
        #[arg(long, default_value_t = 10)]
        kernels: usize,
    },
    /// `drivetrain run`, cold, for the next kernel, and unchanged, against rebuilding one after another.
    Run {
        /// How often.
        #[arg(long, default_value_t = 1)]
        pairs: usize,
    },
}

/// What all benches need.
struct Setting {
    lab: Utf8PathBuf,
    drivetrain: Utf8PathBuf,
}

fn main() -> Result<()> {
    let Cli { bench, lab, drivetrain } = Cli::parse();
    let setting = || Setting::of(&lab, drivetrain.as_deref());
    match bench {
        Bench::Plan { pairs, packages } => plan::bench(&setting()?, pairs, packages),
        Bench::Closure { pairs, packages } => closure::bench(&setting()?, pairs, packages),
        Bench::Download { pairs, files, megabytes } => download::bench(pairs, files, megabytes),
        Bench::Fetch { url, list, store } => download::fetch(&url, &list, &store),
        Bench::Push(plan) => push::bench(&lab, &plan),
        Bench::Publish(job) => push::ours::publish(&job),
        Bench::Check { pairs } => check::bench(&setting()?, pairs),
        Bench::Signing { pairs, modules } => signing::bench(&setting()?, pairs, modules),
        Bench::Signed(job) => signing::sign(&job),
        Bench::Verdict { pairs, kernels } => verdict::bench(&setting()?, pairs, kernels),
        Bench::Run { pairs } => run::bench(&setting()?, pairs),
    }
}

impl Setting {
    fn of(lab: &Utf8Path, drivetrain: Option<&Utf8Path>) -> Result<Self> {
        let lab =
            lab.canonicalize_utf8().with_context(|| format!("{lab}: make it with drivetrain-lab up"))?;
        ensure!(lab.join("www/train").is_dir(), "{lab} is no lab: make it with drivetrain-lab up");
        let drivetrain = match drivetrain {
            Some(path) => path.canonicalize_utf8()?,
            None => beside("drivetrain")?,
        };
        Ok(Self { lab, drivetrain })
    }
}

/// A program in the directory of this one.
fn beside(name: &str) -> Result<Utf8PathBuf> {
    let own = Utf8PathBuf::try_from(std::env::current_exe()?)?;
    let path = own.with_file_name(name);
    ensure!(path.exists(), "{path} is not there: cargo build --release");
    Ok(path)
}
