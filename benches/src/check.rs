//! `drivetrain check` against what one would do by hand: unpack, and let depmod look for unknown symbols.

use std::process::Command;

use anyhow::{Result, ensure};
use camino::Utf8PathBuf;
use fs_err as fs;

use crate::Setting;
use crate::measure::{median, time};
use crate::run::{NEW, configuration, released};

pub fn bench(setting: &Setting, pairs: usize) -> Result<()> {
    let work = tempfile::tempdir()?;
    let directory = Utf8PathBuf::try_from(work.path().to_owned())?;
    println!("building the stack to check (minutes)…");
    let rpms = stack(setting, &directory)?;
    let release = released(setting, NEW)?;
    let kernel = setting.lab.join("kernels").join(&release);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..pairs {
        let mut check = Command::new(&setting.drivetrain);
        check.arg("check").args(&rpms).args(["--kernel", kernel.as_str()]);
        ours.push(time(&mut check)?.wall.as_secs_f64());
        theirs.push(by_hand(&rpms, &release, &kernel)?);
    }
    let (ours, theirs) = (median(&ours), median(&theirs));
    println!("check, {} RPMs of the stack, median of {pairs} pairs", rpms.len());
    println!("  drivetrain check        {:8.0} ms     goal: below 100 ms", ours * 1000.0);
    println!("  rpm2cpio, depmod -e -E  {:8.0} ms     (finds no CRC that differs)", theirs * 1000.0);
    println!("  ratio                   {:8.3}", ours / theirs);
    Ok(())
}

/// Builds the lab's stack for the newer kernel; its packages with modules.
pub fn stack(setting: &Setting, directory: &Utf8PathBuf) -> Result<Vec<String>> {
    let config = directory.join("drivetrain.yaml");
    fs::write(&config, configuration(setting, NEW, directory.as_str()))?;
    time(Command::new(&setting.drivetrain).args([
        "run",
        "--quiet",
        "--config",
        config.as_str(),
        "--state",
        directory.join("state").as_str(),
    ]))?;
    packages(&directory.join("published"))
}

/// The module packages that were published.
fn packages(published: &Utf8PathBuf) -> Result<Vec<String>> {
    let list = Command::new("find").args(["-L", published.as_str(), "-name", "kmod-*.rpm"]).output()?;
    let mut rpms: Vec<String> = String::from_utf8(list.stdout)?.lines().map(str::to_owned).collect();
    // A version's files can be reached by several paths; one for each is enough.
    rpms.sort_by_key(|path| path.rsplit('/').next().map(str::to_owned));
    rpms.dedup_by_key(|path| path.rsplit('/').next().map(str::to_owned));
    ensure!(!rpms.is_empty(), "nothing below {published}");
    Ok(rpms)
}

fn by_hand(rpms: &[String], release: &str, kernel: &Utf8PathBuf) -> Result<f64> {
    let root = tempfile::tempdir()?;
    let script = format!(
        "cd '{}' && for rpm in {}; do rpm2cpio \"$rpm\" | cpio -idm --quiet; done\n\
         if [ -d lib/modules ]; then :; else ln -s usr/lib lib; fi\n\
         depmod -e -E '{kernel}/Module.symvers' -b . -n '{release}' >/dev/null",
        root.path().display(),
        rpms.join(" ")
    );
    Ok(time(Command::new("bash").args(["-c", &script]))?.wall.as_secs_f64())
}
