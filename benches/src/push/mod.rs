//! drivetrain's publications on a Pulp server, against pulp-cli and curl on the same server.

mod cli;
mod large;
pub mod ours;
mod packages;
mod small;

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use drivetrain_lab::pulp::{Installation, Options, Release, Server};
use fs_err as fs;
use serde_json::{Value, json};

/// What is measured.
#[derive(Debug, Args)]
pub struct Plan {
    /// How often.
    #[arg(long, default_value_t = 3)]
    pairs: usize,
    /// How many small packages, of 23 to 200 kB; 0 for none.
    #[arg(long, default_value_t = 60)]
    files: usize,
    /// For how many of them pulp-cli is run, one after another, once [default: all; 0 for not at all]. Its time is
    /// scaled up where that is not all.
    #[arg(long)]
    loop_files: Option<usize>,
    /// How many large packages; 0 for none.
    #[arg(long, default_value_t = 32)]
    large_files: usize,
    /// How large each of them is.
    #[arg(long, default_value_t = 64)]
    megabytes: usize,
    /// Where packages and servers are written [default: the directory of temporary files].
    #[arg(long)]
    scratch: Option<Utf8PathBuf>,
    /// Packages larger than this are sent in chunks [default: as drivetrain has it].
    #[arg(long)]
    chunk_mib: Option<u64>,
    /// Say what drivetrain did when.
    #[arg(long)]
    steps: bool,
}

/// What all parts need.
pub struct Bed {
    server: Server,
    work: tempfile::TempDir,
    steps: bool,
    chunk_mib: Option<u64>,
}

pub fn bench(lab: &Utf8Path, plan: &Plan) -> Result<()> {
    let installation = Installation::find(lab, Release::Current)?
        .with_context(|| format!("no Pulp in {lab}: make it with drivetrain-lab pulp install"))?;
    let temporary = tempfile::Builder::new();
    let work = match &plan.scratch {
        Some(scratch) => temporary.tempdir_in(scratch)?,
        None => temporary.tempdir()?,
    };
    let directory = Utf8Path::from_path(work.path()).context("a path that is no text")?;
    let media = directory.join("media");
    fs::create_dir(&media)?;
    let options = Options { media: Some(media), ..Options::default() };
    // What waits for one of two cores is slower than what sleeps between requests.
    let load = fs::read_to_string("/proc/loadavg")?;
    println!(
        "starting a server ({} API workers, {} for tasks), at a load of {}…",
        options.api_workers,
        options.workers,
        load.split(' ').next().unwrap_or_default()
    );
    let bed = Bed {
        server: Server::start(&installation, options)?,
        work,
        steps: plan.steps,
        chunk_mib: plan.chunk_mib,
    };
    if plan.files > 0 {
        small::bench(&bed, plan)?;
    }
    if plan.large_files > 0 {
        large::bench(&bed, plan)?;
    }
    Ok(())
}

impl Bed {
    /// A new directory.
    fn directory(&self, name: &str) -> Result<Utf8PathBuf> {
        let work = Utf8Path::from_path(self.work.path()).context("a path that is no text")?;
        let directory = work.join(name);
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }

    /// Where what is at a base path is served.
    fn url(&self, base_path: &str) -> String {
        format!("{}/pulp/content/{base_path}/", self.server.content_url())
    }

    /// That dnf sees so many packages at a base path: what was timed was done.
    fn require_visible(&self, base_path: &str, count: usize) -> Result<()> {
        let root = self.directory(&format!("dnf-{}", base_path.replace('/', "-")))?;
        let mut command = Command::new("dnf");
        for name in ["cache", "log", "persist", "repos"] {
            fs::create_dir_all(root.join(name))?;
        }
        for (key, name) in
            [("cachedir", "cache"), ("logdir", "log"), ("persistdir", "persist"), ("reposdir", "repos")]
        {
            command.arg(format!("--setopt={key}={}", root.join(name)));
        }
        command
            .args(["--quiet", "--noplugins", "--releasever=9", "--forcearch=x86_64", "--refresh"])
            .arg(format!("--repofrompath=pulp,{}", self.url(base_path)))
            .args(["--repo=pulp", "repoquery", "--qf", "%{name}"]);
        let output = command.output()?;
        let seen = String::from_utf8(output.stdout)?.lines().count();
        ensure!(
            seen == count,
            "dnf sees {seen} packages of {count}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Removes all packages from the server, so that the same bytes are new to it again.
    fn clean(&self) -> Result<()> {
        for kind in ["distributions", "repositories"] {
            let (_, list) =
                self.server.request("GET", &format!("/pulp/api/v3/{kind}/rpm/rpm/?limit=100"), None)?;
            for object in list["results"].as_array().into_iter().flatten() {
                self.change("DELETE", object["pulp_href"].as_str().unwrap_or_default(), None)?;
            }
        }
        self.change("POST", "/pulp/api/v3/orphans/cleanup/", Some(&json!({ "orphan_protection_time": 0 })))
    }

    /// A change, and its task to the end.
    fn change(&self, method: &str, path: &str, body: Option<&Value>) -> Result<()> {
        let (status, answer) = self.server.request(method, path, body)?;
        ensure!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        let Some(task) = answer["task"].as_str() else { return Ok(()) };
        loop {
            let (_, task) = self.server.request("GET", task, None)?;
            match task["state"].as_str() {
                Some("completed") => return Ok(()),
                Some("waiting" | "running") => std::thread::sleep(std::time::Duration::from_millis(100)),
                _ => anyhow::bail!("{method} {path}: {task}"),
            }
        }
    }
}

/// What was reached, beside what was to be.
fn verdict(goal: &str, met: bool) -> String {
    format!("goal: {goal}, {}", if met { "met" } else { "missed" })
}
