//! The side of drivetrain's, in a process of its own, so that its memory can be told.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use drivetrain_fetch::Credentials;
use drivetrain_lab::pulp::Server;
use drivetrain_model::{Architecture, Cell, DriverVersion, KernelRelease, RunId, Sha256Digest, TrainName};
use drivetrain_publish::{
    Accept, Change, ConsumerSettings, Outcome, Publication, PulpOptions, PulpStep, PulpTarget,
    RepositoryPath, Target as _,
};
use drivetrain_pulp::{Client, Settings};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::Bed;
use crate::measure::{Taken, time};

/// Where the password is. Not among the arguments, which everybody can read.
const PASSWORD: &str = "DRIVETRAIN_BENCH_PASSWORD";

/// A publication.
#[derive(Debug, Args)]
pub struct Job {
    /// The server.
    server: String,
    user: String,
    /// The base path.
    path: String,
    /// The directory with the packages.
    packages: Utf8PathBuf,
    /// Where to write what was done when.
    report: Utf8PathBuf,
    /// Packages larger than this are sent in chunks [default: as drivetrain has it].
    #[arg(long)]
    chunk_mib: Option<u64>,
}

/// What was done when.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub unchanged: bool,
    /// The beginnings of the steps, in seconds since that of the process.
    steps: Vec<(String, f64)>,
    /// When it was done.
    end: f64,
}

impl Report {
    /// How long a step took, in seconds.
    pub fn of(&self, words: &str) -> f64 {
        let ends = self.steps.iter().skip(1).map(|step| step.1).chain([self.end]);
        self.steps.iter().zip(ends).filter(|(step, _)| step.0 == words).map(|(step, end)| end - step.1).sum()
    }

    fn in_words(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in &self.steps {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let of = |name: &str| format!("{name} {:.0} ms", self.of(name) * 1000.0);
        names.into_iter().map(of).collect::<Vec<_>>().join(", ")
    }
}

/// Runs [`publish`] in a process.
pub fn run(bed: &Bed, path: &str, packages: &Utf8Path) -> Result<(Taken, Report)> {
    let server = &bed.server;
    let report = packages.join("report.json");
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["publish", &server.api_url(), server.username(), path, packages.as_str(), report.as_str()])
        .env(PASSWORD, server.password());
    if let Some(mib) = bed.chunk_mib {
        command.args(["--chunk-mib", &mib.to_string()]);
    }
    let requests = |server: &Server| Ok::<_, anyhow::Error>(server.api_log()?.lines().count());
    let before = requests(server)?;
    let taken = time(&mut command)?;
    let report: Report = serde_json::from_str(&fs::read_to_string(report)?)?;
    if bed.steps {
        println!(
            "    {:.2} s, {} requests: {}",
            taken.wall.as_secs_f64(),
            requests(server)? - before,
            report.in_words()
        );
    }
    Ok((taken, report))
}

/// Publishes all packages of a directory.
pub fn publish(job: &Job) -> Result<()> {
    let started = Instant::now();
    let steps: Arc<Mutex<Vec<(String, Duration)>>> = Arc::default();
    let seen = steps.clone();
    let note = move |step: PulpStep| {
        let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if seen.last().is_none_or(|last| last.0 != step.words()) {
            seen.push((step.words().to_owned(), started.elapsed()));
        }
    };
    let mut settings = Settings::new(job.server.parse()?);
    settings.credentials = Some(Credentials::new(&job.user, std::env::var(PASSWORD).context(PASSWORD)?));
    settings.proxy_from_environment = false;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut options = PulpOptions { progress: Box::new(note), ..PulpOptions::default() };
    options.chunk = job.chunk_mib.map_or(options.chunk, |mib| mib << 20);
    let target = PulpTarget::new(Client::new(settings)?, runtime.handle().clone(), options);
    let outcome = target.publish(&publication(&job.path, &job.packages)?)?;
    let unchanged = match outcome {
        Outcome::Unchanged { .. } => true,
        Outcome::Published(published) => {
            ensure!(published.warnings.is_empty(), "{:?}", published.warnings);
            false
        }
    };
    let steps = steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let steps = steps.iter().map(|(name, at)| (name.clone(), at.as_secs_f64())).collect();
    let report = Report { unchanged, steps, end: started.elapsed().as_secs_f64() };
    Ok(fs::write(&job.report, serde_json::to_string(&report)?)?)
}

fn publication(path: &str, packages: &Utf8Path) -> Result<Publication> {
    let mut rpms: Vec<_> = fs::read_dir(packages)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rpm"))
        .collect();
    rpms.sort();
    Ok(Publication {
        lockstep: None,
        address: RepositoryPath::parse(path)?.into(),
        driver_name: "bench".to_owned(),
        cell: Cell {
            train: TrainName::parse("bench-9.4")?,
            arch: Architecture::parse("x86_64")?,
            kernel: KernelRelease::parse("5.14.0-427.13.1.el9_4.x86_64")?,
            driver: DriverVersion::parse("1.0")?,
        },
        rpms,
        evidence: BTreeMap::new(),
        consumers: ConsumerSettings { priority: 50, vendor: None },
        keys: String::new(),
        lock: Sha256Digest::of(path.as_bytes()),
        run: RunId::parse("bench")?,
        verdicts: None,
        replace: false,
        accept: Accept::default(),
        change: Change { by: "bench".to_owned(), why: "a bench".to_owned(), at: jiff::Timestamp::now() },
    })
}
