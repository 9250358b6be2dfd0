//! `drivetrain run` against rebuilding the same source RPMs one after another, as the vendor's tool does.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::Setting;
use crate::measure::{Taken, time};

/// The lab's snapshots: the older kernel, and the newer.
pub const OLD: &str = "20261001T000000";
pub const NEW: &str = "20261101T000000";

/// `driver.reuse`.
const NEVER: &str = "never";
const WHEN_IDENTICAL: &str = "when-identical";

pub fn bench(setting: &Setting, pairs: usize) -> Result<()> {
    let work = tempfile::tempdir()?;
    let directory = Utf8PathBuf::try_from(work.path().to_owned())?;
    let ours = |snapshot: &str, state: &str, reuse: &str| -> Result<Taken> {
        let config = directory.join(format!("{snapshot}.yaml"));
        let published = directory.join(format!("{state}-out"));
        fs::write(&config, configuration(setting, snapshot, published.as_str()))?;
        time(Command::new(&setting.drivetrain).args([
            "run",
            "--quiet",
            "--set",
            &format!("driver.reuse={reuse}"),
            "--config",
            config.as_str(),
            "--state",
            directory.join(state).as_str(),
        ]))
    };
    println!(
        "the stack, for {} and then for {}; takes minutes…",
        released(setting, OLD)?,
        released(setting, NEW)?
    );
    let mut all: [Vec<Taken>; 5] = Default::default();
    for pair in 0..pairs {
        let [baseline, cold, unchanged, next, reused] = &mut all;
        baseline.push(sequential(setting, &directory.join(format!("sequential-{pair}")), NEW)?);
        let (first, second) = (format!("cold-{pair}"), format!("next-{pair}"));
        cold.push(ours(NEW, &first, NEVER)?);
        unchanged.push(ours(NEW, &first, NEVER)?);
        ours(OLD, &second, NEVER)?;
        next.push(ours(NEW, &second, NEVER)?);
        // The older kernel's build alone is at hand, as it is when the newer one appears.
        let third = format!("reused-{pair}");
        ours(OLD, &third, WHEN_IDENTICAL)?;
        reused.push(ours(NEW, &third, WHEN_IDENTICAL)?);
        require_reused(&directory.join(&third))?;
        println!("median of {}", pair + 1);
        lines(&all);
    }
    Ok(())
}

/// That no component of the last run was built: then it would be something else that was timed.
fn require_reused(state: &Utf8Path) -> Result<()> {
    let mut runs: Vec<Utf8PathBuf> =
        state.join("runs").read_dir_utf8()?.map(|entry| Ok(entry?.into_path())).collect::<Result<_>>()?;
    runs.sort();
    let last = runs.last().context("a state directory without runs")?;
    let journal = fs::read_to_string(last.join("journal.jsonl"))?;
    ensure!(!journal.contains("\"outcome\":\"built\""), "{last} built what it could have reused");
    Ok(())
}

/// The one whose wall time is the median.
fn middle(taken: &[Taken]) -> Taken {
    let mut sorted = taken.to_vec();
    sorted.sort_by_key(|taken| taken.wall);
    sorted[sorted.len() / 2]
}

fn lines(all: &[Vec<Taken>; 5]) {
    let [baseline, cold, unchanged, next, reused] = all.each_ref().map(|taken| middle(taken));
    line("rpmbuild, one after another", &baseline, None);
    line("drivetrain run, cold", &cold, Some((&baseline, "goal: at most 0.75")));
    line("drivetrain run, unchanged", &unchanged, Some((&baseline, "goal: below 1 s")));
    line("drivetrain run, next kernel", &next, Some((&baseline, "goal: at most 0.25")));
    line(
        "drivetrain run, kernel with the same symbols",
        &reused,
        Some((&cold, "of the cold run; goal: at most 0.05")),
    );
}

fn line(what: &str, taken: &Taken, against: Option<(&Taken, &str)>) {
    let ratio = against.map(|(baseline, goal)| {
        format!(", ratio {:.3} ({goal})", taken.wall.as_secs_f64() / baseline.wall.as_secs_f64())
    });
    println!(
        "  {what:44} {:8.2} s, {:8.2} s of processor time, a core idle {:3.0} % of the time, stolen {:2.0} %{}",
        taken.wall.as_secs_f64(),
        taken.cpu.as_secs_f64(),
        taken.idle * 100.0,
        taken.stolen * 100.0,
        ratio.unwrap_or_default()
    );
}

/// The lab's stack with the train at one snapshot.
pub fn configuration(setting: &Setting, snapshot: &str, directory: &str) -> String {
    let lab = &setting.lab;
    format!(
        "train:\n  name: lab\n  arch: x86_64\n  keys: [{lab}/www/keys/RPM-GPG-KEY-train]\n  repositories:\n    \
         baseos:\n      url: {lab}/www/train/BaseOS/{{arch}}/os/{{snapshot}}\n      snapshot: {snapshot}\n    \
         appstream:\n      url: {lab}/www/train/AppStream/{{arch}}/os/{{snapshot}}\n      snapshot: {snapshot}\ndriver:\n  \
         name: doca-ofed\n  version: 3.2.0\n  repository:\n    url: {lab}/www/doca/{{version}}/rhel9/{{arch}}\n    keys: \
         [{lab}/www/keys/RPM-GPG-KEY-vendor]\n  macros: {{KMP: 1}}\npublish:\n  directory:\n    path: {directory}/published\n"
    )
}

/// The kernel of a snapshot, by its directory of unpacked headers: older ones sort first.
pub fn released(setting: &Setting, snapshot: &str) -> Result<String> {
    let mut releases: Vec<String> = fs::read_dir(setting.lab.join("kernels"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    releases.sort_by_key(|release| release.len());
    releases.sort();
    let chosen = if snapshot == OLD { releases.first() } else { releases.last() };
    chosen.cloned().context("the lab has no kernels")
}

/// The vendor's tool as the lab has it.
fn sequential(setting: &Setting, directory: &Utf8Path, snapshot: &str) -> Result<Taken> {
    let release = released(setting, snapshot)?;
    let sources = directory.join("source");
    fs::create_dir_all(&sources)?;
    let rpm = Command::new("find")
        .args([setting.lab.join("www/doca").as_str(), "-name", "doca-ofed-source-*.rpm"])
        .output()?;
    let rpm = String::from_utf8(rpm.stdout)?;
    let rpm = rpm.lines().next().context("the lab has no doca-ofed-source")?;
    let script = format!(
        "cd '{sources}' && rpm2cpio '{rpm}' | cpio -idm --quiet && find . -name 'MLNX_OFED_SRC-*.tgz'"
    );
    let tarball = Command::new("bash").args(["-c", &script]).output()?;
    let tarball = sources.join(String::from_utf8(tarball.stdout)?.trim());
    time(
        Command::new(setting.lab.join("doca-kernel-support"))
            .args(["--kernel", &release, "--kernel-source"])
            .arg(setting.lab.join("kernels").join(&release))
            .args(["--tarball", tarball.as_str()])
            .env("TOP_DIR", directory.join("sequential")),
    )
}
