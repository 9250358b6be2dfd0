//! Times of child processes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;

/// What a command took.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Wall time.
    pub wall: Duration,
    /// Processor time of the whole machine meanwhile. Not of the command's children alone: what runs in a
    /// sandbox is not counted with the process that waits for it.
    pub cpu: Duration,
    /// The share of the wall time in which a core had nothing to do, 0 to 1, over all cores.
    pub idle: f64,
    /// The share of the wall time in which a core was somebody else's, 0 to 1: on a virtual machine its
    /// neighbours'.
    pub stolen: f64,
    /// The most memory that the process itself had, in bytes. Looked at every few milliseconds.
    pub peak: u64,
}

/// Runs a command to its end; what it prints is kept for the error.
pub fn time(command: &mut Command) -> Result<Taken> {
    time_printing(command, 0, "")
}

/// [`time`] for a command that ends with this code, and prints this, where all is well.
pub fn time_printing(command: &mut Command, code: i32, printed: &str) -> Result<Taken> {
    let before = Ticks::now()?;
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
    let output = fs::read_to_string(out.path())?;
    ensure!(status.code() == Some(code) && output.contains(printed), "{command:?} failed: {output}");
    let after = Ticks::now()?;
    let cores = std::thread::available_parallelism()?.get() as f64;
    let share = |ticks: u64| (duration(ticks).as_secs_f64() / (wall.as_secs_f64() * cores)).clamp(0.0, 1.0);
    Ok(Taken {
        wall,
        cpu: duration(after.busy - before.busy),
        idle: share(after.idle - before.idle),
        stolen: share(after.stolen - before.stolen),
        peak,
    })
}

/// The middle one of several.
pub fn median<T: PartialOrd + Copy>(values: &[T]) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    sorted[sorted.len() / 2]
}

/// What all cores have done since the start of the machine.
struct Ticks {
    busy: u64,
    idle: u64,
    stolen: u64,
}

impl Ticks {
    /// `proc(5)`, /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
    fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let numbers: Vec<u64> = text
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .filter_map(|n| n.parse().ok())
            .collect();
        let &[user, nice, system, idle, iowait, irq, softirq, stolen, ..] = numbers.as_slice() else {
            bail!("/proc/stat has another form than proc(5) says")
        };
        Ok(Self { busy: user + nice + system + irq + softirq, idle: idle + iowait, stolen })
    }
}

/// From USER_HZ, which is 100 on every architecture that this builds for (`man 7 time`).
fn duration(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
}

/// `proc(5)`, /proc/PID/status: VmHWM, the peak of the resident set.
fn high_water(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}
