//! Packages that are large: the line, and not the server's tasks.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use camino::Utf8PathBuf;
use drivetrain_pulp::Settings;
use fs_err as fs;

use super::{Bed, Plan, ours, packages, verdict};
use crate::measure::{median, time};

/// The least of curl's speed, and the most memory in MB.
const SPEED: f64 = 0.8;
const MEMORY: u64 = 64;

pub fn bench(bed: &Bed, plan: &Plan) -> Result<()> {
    let (count, megabytes) = (plan.large_files, plan.megabytes);
    println!("making 2 x {count} packages of {megabytes} MB…");
    let sizes = vec![megabytes * 1_000_000; count];
    let sets = (0..2_u64)
        .map(|set| {
            let directory = bed.directory(&format!("large-{set}"))?;
            let rpms = packages::make(&directory, 1 << 20 | set, &sizes)?;
            Ok((directory, rpms))
        })
        .collect::<Result<Vec<_>>>()?;
    let connections = Settings::new(bed.server.api_url().parse()?).connections;
    let (mut walls, mut uploads, mut curls, mut peaks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for pair in 0..plan.pairs {
        // Each set once for either, and either first as often.
        let (mine, theirs) = (&sets[pair % 2], &sets[(pair + 1) % 2]);
        let mut curl = || -> Result<()> {
            let seconds = Curl::new(bed, connections)?.upload(&theirs.1)?;
            curls.push(seconds);
            Ok(())
        };
        let mut ours = || -> Result<()> {
            settle()?;
            let (taken, report) = ours::run(bed, &format!("large-{pair}"), &mine.0)?;
            ensure!(!report.unchanged, "nothing was published");
            walls.push(taken.wall.as_secs_f64());
            uploads.push(report.of("uploading"));
            peaks.push(taken.peak);
            Ok(())
        };
        if pair % 2 == 0 {
            ours()?;
            curl()?;
        } else {
            curl()?;
            ours()?;
        }
        if bed.steps {
            println!("    curl {:.2} s", curls.last().copied().unwrap_or_default());
        }
        bed.clean()?;
    }
    let total = (count * megabytes) as f64;
    let speed = |walls: &[f64]| total / median(walls);
    let ratio = |walls: &[f64]| {
        median(&walls.iter().zip(&curls).map(|(ours, theirs)| theirs / ours).collect::<Vec<f64>>())
    };
    let peak = peaks.iter().max().copied().unwrap_or_default() / 1_000_000;
    println!(
        "push of {count} packages of {megabytes} MB, {connections} at a time, median of {} pairs",
        plan.pairs
    );
    println!(
        "  drivetrain, uploading        {:8.0} MB/s, at most {peak} MB of memory     {}",
        speed(&uploads),
        verdict(&format!("below {MEMORY} MB"), peak < MEMORY)
    );
    println!("  drivetrain, all of it        {:8.0} MB/s, until dnf sees them", speed(&walls));
    println!("  curl --parallel              {:8.0} MB/s", speed(&curls));
    println!(
        "  ratio                        {:8.2}     {}",
        ratio(&uploads),
        verdict(&format!("at least {SPEED}"), ratio(&uploads) >= SPEED)
    );
    println!("  ratio, all of it             {:8.2}", ratio(&walls));
    Ok(())
}

/// Has what was written before on disk, so that nobody waits for the other's.
fn settle() -> Result<()> {
    time(&mut Command::new("sync")).map(drop)
}

/// curl with a session.
struct Curl {
    directory: Utf8PathBuf,
    /// The lines that each request has.
    common: String,
    connections: usize,
}

impl Curl {
    /// Logs in, which is not timed.
    fn new(bed: &Bed, connections: usize) -> Result<Self> {
        let directory = bed.directory("curl")?;
        let (config, jar, server) = (directory.join("login"), directory.join("jar"), &bed.server);
        fs::write(
            &config,
            format!(
                "url = \"{}/pulp/api/v3/login/\"\nrequest = POST\nuser = \"{}:{}\"\nsilent\nfail\ncookie-jar = \
                 \"{jar}\"\noutput = /dev/null\n",
                server.api_url(),
                server.username(),
                server.password()
            ),
        )?;
        settle()?;
        time(Command::new("curl").args(["--config", config.as_str()]))?;
        let jar = fs::read_to_string(jar)?;
        let cookie = |name: &str| {
            let value = jar.lines().find_map(|line| line.split_once(&format!("\t{name}\t")));
            value.map(|(_, value)| value.to_owned()).with_context(|| format!("no cookie {name}"))
        };
        let (session, csrf) = (cookie("sessionid")?, cookie("csrftoken")?);
        let common = format!(
            "url = \"{}/pulp/api/v3/content/rpm/packages/upload/\"\ncookie = \"sessionid={session}; \
             csrftoken={csrf}\"\nheader = \"X-CSRFToken: {csrf}\"\nsilent\nshow-error\nfail\noutput = /dev/null\n",
            server.api_url()
        );
        Ok(Self { directory, common, connections })
    }

    /// All packages to where drivetrain sends them; how many seconds that took.
    fn upload(&self, packages: &[Utf8PathBuf]) -> Result<f64> {
        let config = self.directory.join("upload");
        let request = |package: &Utf8PathBuf| format!("{}form = \"file=@{package}\"\n", self.common);
        fs::write(&config, packages.iter().map(request).collect::<Vec<_>>().join("next\n"))?;
        let mut command = Command::new("curl");
        command.args(["--parallel", "--parallel-max", &self.connections.to_string()]);
        Ok(time(command.args(["--config", config.as_str()]))?.wall.as_secs_f64())
    }
}
