//! The verdict of the whole stack on many kernels, against what one would do by hand: `modprobe --dump-modversions`, and
//! awk over each kernel's table.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use camino::Utf8PathBuf;
use fs_err as fs;

use crate::Setting;
use crate::check::stack;
use crate::measure::{median, time};

/// `drivetrain check` says that a kernel does not load everything by this.
const DOES_NOT_LOAD: i32 = 6;

pub fn bench(setting: &Setting, pairs: usize, kernels: usize) -> Result<()> {
    let work = tempfile::tempdir()?;
    let directory = Utf8PathBuf::try_from(work.path().to_owned())?;
    println!("building the stack to judge (minutes)…");
    let rpms = stack(setting, &directory)?;
    let real = real_kernels(setting)?;
    let used: Vec<&Utf8PathBuf> = real.iter().cycle().take(kernels).collect();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..pairs {
        ours.push(judged(setting, &rpms, &used)?);
        theirs.push(by_hand(&rpms, &used)?);
    }
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
    println!(
        "verdict, {} RPMs of the stack on {kernels} kernels, median of {pairs} pairs; the lab has {} kernels: each is read \
         anew as often as it takes, and nothing is kept between them",
        rpms.len(),
        real.len()
    );
    println!("  drivetrain check --any-release           {:8.0} ms", median(&ours) * 1000.0);
    println!(
        "  rpm2cpio, modprobe --dump-modversions, awk {:6.0} ms     (judges neither the set nor the version magic)",
        median(&theirs) * 1000.0
    );
    println!("  ratio                                    {:8.3}", median(&ratios));
    Ok(())
}

fn real_kernels(setting: &Setting) -> Result<Vec<Utf8PathBuf>> {
    let mut kernels: Vec<Utf8PathBuf> = Vec::new();
    for entry in setting.lab.join("kernels").read_dir_utf8()? {
        kernels.push(entry?.into_path());
    }
    kernels.sort();
    ensure!(!kernels.is_empty(), "the lab has no kernels");
    Ok(kernels)
}

/// One process after another, as a script would have it.
fn judged(setting: &Setting, rpms: &[String], kernels: &[&Utf8PathBuf]) -> Result<f64> {
    let started = Instant::now();
    for kernel in kernels {
        let status = Command::new(&setting.drivetrain)
            .arg("check")
            .args(rpms)
            .args(["--any-release", "--kernel", kernel.as_str()])
            .stdout(Stdio::null())
            .status()?;
        ensure!([Some(0), Some(DOES_NOT_LOAD)].contains(&status.code()), "drivetrain check: {status}");
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Unpacked once, and the versions of all symbols compared with each kernel's table.
fn by_hand(rpms: &[String], kernels: &[&Utf8PathBuf]) -> Result<f64> {
    let root = tempfile::tempdir()?;
    let script = root.path().join("by-hand");
    let tables: Vec<String> = kernels.iter().map(|kernel| format!("{kernel}/Module.symvers")).collect();
    fs::write(
        &script,
        format!(
            "cd '{}'\nfor rpm in {}; do rpm2cpio \"$rpm\" | cpio -idm --quiet; done\n\
             modules=$(find . -name '*.ko*')\n\
             for table in {}; do\n\
             for module in $modules; do modprobe --dump-modversions $module; done |\n\
             awk 'NR == FNR {{ crc[$2] = $1; next }} $2 in crc && crc[$2] != $1 {{ print $2 }}' $table -\n\
             done\n",
            root.path().display(),
            rpms.join(" "),
            tables.join(" ")
        ),
    )?;
    Ok(time(Command::new("bash").arg("-e").arg(&script))?.wall.as_secs_f64())
}
