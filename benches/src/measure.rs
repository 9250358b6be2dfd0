//! Times of child processes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fs_err as fs;

/// What a command took.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Wall time.
    pub wall: Duration,
    /// Processor time of the command and all that it waited for.
    pub cpu: Duration,
    /// The share of the wall time in which a core had nothing to do, 0 to 1, over all cores.
    pub idle: f64,
    /// The most memory that the process itself had, in bytes. Looked at every few milliseconds.
    pub peak: u64,
}

/// Runs a command to its end; what it prints is kept for the error.
pub fn time(command: &mut Command) -> Result<Taken> {
    let idle_before = idle_ticks()?;
    let cpu_before = children_ticks()?;
    let started = Instant::now();
    let out = tempfile::NamedTempFile::new()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out.reopen()?)
        .stderr(out.reopen()?)
        .spawn()
        .with_context(|| format!("{command:?}"))?;
    let mut peak = 0;
    let status = loop {
        peak = peak.max(high_water(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let wall = started.elapsed();
    ensure!(status.success(), "{command:?} failed: {}", fs::read_to_string(out.path())?);
    let cores = std::thread::available_parallelism()?.get() as f64;
    let idle = ticks(idle_ticks()? - idle_before).as_secs_f64() / (wall.as_secs_f64() * cores);
    Ok(Taken { wall, cpu: ticks(children_ticks()? - cpu_before), idle: idle.clamp(0.0, 1.0), peak })
}

/// The middle one of several.
pub fn median<T: PartialOrd + Copy>(values: &[T]) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    sorted[sorted.len() / 2]
}

/// USER_HZ, which is 100 on every architecture that this builds for (`man 7 time`).
fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 10)
}

/// `proc(5)`, /proc/stat: user, nice, system, idle, iowait.
fn idle_ticks() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let numbers: Vec<u64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|n| n.parse().ok())
        .collect();
    Ok(numbers.iter().skip(3).take(2).sum())
}

/// `proc(5)`, /proc/PID/stat: cutime and cstime, the 16th and 17th field.
fn children_ticks() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    Ok(after_name.split_whitespace().skip(13).take(2).filter_map(|n| n.parse::<u64>().ok()).sum())
}

/// `proc(5)`, /proc/PID/status: VmHWM, the peak of the resident set.
fn high_water(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}
