//! The packages of a driver stack.

use anyhow::{Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};

use super::cli::{Cli, Parts};
use super::{Bed, Plan, ours, packages, verdict};
use crate::measure::median;

pub fn bench(bed: &Bed, plan: &Plan) -> Result<()> {
    let cli = Cli::new(bed)?;
    let count = plan.files;
    // New bytes for each measurement: the server knows those that it has been sent.
    let mut seed = 0;
    let mut make = |name: &str| -> Result<(Utf8PathBuf, Vec<Utf8PathBuf>)> {
        seed += 1;
        let directory = bed.directory(name)?;
        let rpms = packages::make(&directory, seed, &sizes(count))?;
        Ok((directory, rpms))
    };
    let (mut walls, mut directories, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    let mut unchanged = Vec::new();
    for pair in 0..plan.pairs {
        let (name, other) = (format!("ours-{pair}"), format!("directory-{pair}"));
        let (mine, _) = make(&name)?;
        let (theirs, _) = make(&other)?;
        let (taken, report) = ours::run(bed, &name, &mine)?;
        ensure!(!report.unchanged, "nothing was published");
        let parts = cli.directory(&other, &theirs)?;
        walls.push(taken.wall.as_secs_f64());
        peaks.push(taken.peak);
        directories.push(parts.making + parts.uploading);
        bed.require_visible(&name, count)?;
        bed.require_visible(&other, count)?;
        unchanged.push(again(bed, &name, &mine)?);
    }
    println!("push of {count} packages of 23 to 200 kB until dnf sees them, median of {} pairs", plan.pairs);
    let ours = median(&walls);
    println!(
        "  drivetrain                   {ours:8.2} s, at most {} MB of memory",
        median(&peaks) / 1_000_000
    );
    let directory = median(&directories);
    let ratios: Vec<f64> = walls.iter().zip(&directories).map(|(ours, theirs)| theirs / ours).collect();
    println!("  pulp … upload --directory    {directory:8.2} s");
    println!(
        "  ratio                        {:8.1}     {}",
        median(&ratios),
        at_least(15.0, median(&ratios))
    );
    let files = plan.loop_files.unwrap_or(count).min(count);
    if files > 0 {
        let (_, rpms) = make("loop")?;
        let parts = cli.one_by_one("loop", &rpms[..files])?;
        bed.require_visible("loop", files)?;
        say_loop(parts, files, count, ours);
    }
    say_unchanged(&unchanged, count);
    Ok(())
}

/// The same again, when all of it is served.
fn again(bed: &Bed, name: &str, packages: &Utf8Path) -> Result<f64> {
    let (taken, report) = ours::run(bed, name, packages)?;
    ensure!(report.unchanged, "something was published");
    Ok(taken.wall.as_secs_f64())
}

fn say_loop(parts: Parts, files: usize, count: usize, ours: f64) {
    let whole = parts.making + parts.uploading * count as f64 / files as f64;
    let scaled = match files == count {
        true => String::new(),
        false => format!(", scaled up: {:.2} s for each of {files}", parts.uploading / files as f64),
    };
    println!("  pulp … upload --file, a loop {whole:8.2} s{scaled}");
    println!("  ratio                        {:8.1}     {}", whole / ours, at_least(40.0, whole / ours));
}

fn say_unchanged(walls: &[f64], count: usize) {
    let wall = median(walls);
    println!("push of {count} packages that are served already, median of {}", walls.len());
    println!("  drivetrain                   {wall:8.2} s     {}", verdict("below 1 s", wall < 1.0));
}

fn at_least(goal: f64, reached: f64) -> String {
    verdict(&format!("at least {goal}"), reached >= goal)
}

/// From 23 to 200 kB.
fn sizes(count: usize) -> Vec<usize> {
    let step = 177_000 / count.saturating_sub(1).max(1);
    (0..count).map(|number| 23_000 + number * step).collect()
}
