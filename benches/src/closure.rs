//! `drivetrain closure` against `dnf install --assumeno`: what do these packages need, of sixty thousand?

use std::process::Command;

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use fs_err as fs;

use crate::Setting;
use crate::measure::{Taken, median, time, time_printing};
use crate::plan::{dnf, make_world};

/// A package of the vendor's, and one of the train's with some two hundred that it needs.
const WANTED: [&str; 2] = ["doca-ofed-userspace", "libreoffice"];

pub fn bench(setting: &Setting, pairs: usize, packages: usize) -> Result<()> {
    let work = tempfile::tempdir()?;
    let work = Utf8Path::from_path(work.path()).context("a path that is no text")?;
    let (world, config) = make_world(setting, work, packages)?;
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        // From nothing: a state directory and a cache that are not there yet. Then again, with what was left in them.
        let (state, cache) = (work.join(format!("state-{pair}")), work.join(format!("dnf-{pair}")));
        let ours = || {
            time(
                Command::new(&setting.drivetrain)
                    .args([
                        "closure",
                        "--json",
                        "--quiet",
                        "--config",
                        config.as_str(),
                        "--state",
                        state.as_str(),
                    ])
                    .args(WANTED),
            )
        };
        fs::create_dir_all(cache.join("log"))?;
        // It ends with 1 where the answer to its question is no: what it would install is in what it printed.
        let theirs = || time_printing(&mut install(setting, &world, &cache), 1, "Operation aborted");
        cold.push((ours()?, theirs()?));
        warm.push((ours()?, theirs()?));
        fs::remove_dir_all(&state)?;
        fs::remove_dir_all(&cache)?;
    }
    println!("closure of {}, {packages} packages, median of {pairs} pairs", WANTED.join(" and "));
    report("cold", &cold);
    report("warm", &warm);
    Ok(())
}

fn report(name: &str, pairs: &[(Taken, Taken)]) {
    let of = |side: fn(&(Taken, Taken)) -> &Taken| {
        let walls: Vec<f64> = pairs.iter().map(|pair| side(pair).wall.as_secs_f64()).collect();
        let peaks: Vec<u64> = pairs.iter().map(|pair| side(pair).peak).collect();
        (median(&walls) * 1000.0, median(&peaks) / 1_000_000)
    };
    let ((ours, our_peak), (theirs, their_peak)) = (of(|pair| &pair.0), of(|pair| &pair.1));
    let ratios: Vec<f64> =
        pairs.iter().map(|(ours, theirs)| ours.wall.as_secs_f64() / theirs.wall.as_secs_f64()).collect();
    println!("  {name}");
    println!("    drivetrain closure      {ours:8.0} ms, at most {our_peak} MB of memory");
    println!("    dnf install --assumeno  {theirs:8.0} ms, at most {their_peak} MB of memory");
    println!("    ratio                   {:8.3}     goal: at most 0.1", median(&ratios));
}

fn install(setting: &Setting, world: &Utf8Path, cache: &Utf8Path) -> Command {
    let mut command = dnf(setting, world, cache);
    command
        .args(["--assumeno", &format!("--setopt=logdir={cache}/log"), "--setopt=install_weak_deps=False"])
        .arg("install")
        .args(WANTED);
    command
}
