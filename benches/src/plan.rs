//! `drivetrain plan` against `dnf repoquery`: which is the newest kernel, and its kernel-devel?

use std::process::Command;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::Setting;
use crate::measure::{median, time};

pub fn bench(setting: &Setting, pairs: usize, packages: usize) -> Result<()> {
    let work = tempfile::tempdir()?;
    let work = Utf8Path::from_path(work.path()).context("a path that is no text")?;
    let (world, config) = make_world(setting, work, packages)?;
    let (mut walls, mut ratios, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs {
        // Both from nothing: a state directory and a cache that are not there yet.
        let state = work.join(format!("state-{pair}"));
        let ours = time(
            Command::new(&setting.drivetrain)
                .args(["plan", "--no-lock", "--quiet", "--config"])
                .arg(&config)
                .arg("--state")
                .arg(&state),
        )?;
        let cache = work.join(format!("dnf-{pair}"));
        let mut theirs = dnf(setting, &world, &cache);
        theirs.args(["repoquery", "--latest-limit=1", "kernel-core", "kernel-devel", "doca-ofed-source"]);
        let theirs = time(&mut theirs)?;
        walls.push((ours.wall.as_secs_f64(), theirs.wall.as_secs_f64()));
        ratios.push(ours.wall.as_secs_f64() / theirs.wall.as_secs_f64());
        peaks.push(ours.peak);
        fs::remove_dir_all(&state)?;
    }
    let ours = median(&walls.iter().map(|(ours, _)| *ours).collect::<Vec<_>>());
    let theirs = median(&walls.iter().map(|(_, theirs)| *theirs).collect::<Vec<_>>());
    println!("plan, {packages} packages, cold, median of {pairs} pairs");
    println!(
        "  drivetrain plan   {:8.0} ms, at most {} MB of memory",
        ours * 1000.0,
        median(&peaks) / 1_000_000
    );
    println!("  dnf repoquery     {:8.0} ms", theirs * 1000.0);
    println!("  ratio             {:8.3}     goal: at most 0.1, below 150 MB", median(&ratios));
    Ok(())
}

/// Writes the metadata of a whole distribution, and a configuration whose train they are; where both are.
pub fn make_world(setting: &Setting, work: &Utf8Path, packages: usize) -> Result<(Utf8PathBuf, Utf8PathBuf)> {
    let (world, config) = (work.join("world"), work.join("drivetrain.yaml"));
    println!("making metadata of {packages} packages…");
    time(
        Command::new(crate::beside("drivetrain-lab")?)
            .args(["world", "--dir", setting.lab.as_str(), "--packages", &packages.to_string()])
            .arg(&world),
    )?;
    fs::write(&config, configuration(setting, world.as_str()))?;
    Ok((world, config))
}

fn configuration(setting: &Setting, world: &str) -> String {
    let lab = &setting.lab;
    format!(
        "train:\n  name: world\n  arch: x86_64\n  keys: [{lab}/www/keys/RPM-GPG-KEY-train]\n  repositories:\n    \
         world:\n      url: file://{world}/\ndriver:\n  name: doca-mini\n  version: 3.2.0\n  repository:\n    url: \
         {lab}/www/doca-mini/{{version}}/rhel9/{{arch}}\n    keys: [{lab}/www/keys/RPM-GPG-KEY-vendor]\npublish:\n  \
         directory:\n    path: published\n"
    )
}

/// dnf on the same repositories, for an empty root of their architecture; what it is to do is added.
pub fn dnf(setting: &Setting, world: &Utf8Path, cache: &Utf8Path) -> Command {
    let mut command = Command::new("dnf");
    command
        .args(["--quiet", "--disableplugin=*", "--noplugins", "--nogpgcheck"])
        .args(["--setopt=reposdir=/nonexistent", &format!("--setopt=cachedir={cache}"), "--forcearch=x86_64"])
        .args([&format!("--installroot={cache}/root"), "--releasever=9"])
        .args([&format!("--repofrompath=world,file://{world}")])
        .args([&format!("--repofrompath=vendor,file://{}/www/doca-mini/3.2.0/rhel9/x86_64", setting.lab)]);
    command
}
