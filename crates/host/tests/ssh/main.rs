//! Machines over SSH, for real: an sshd of the test's own, and a wire to it that can be cut.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod errors;
mod files;
mod jobs;
mod proxy;
mod reboots;
mod server;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{CancellationToken, Finished, HostError, Machine, Script, SshMachine};

/// Runs a script; its end, and its lines.
async fn run(machine: &SshMachine, script: &Script) -> Result<(Finished, Vec<String>), HostError> {
    let mut lines = Vec::new();
    let mut sink = |line: &str| lines.push(line.to_owned());
    let finished = machine.run(script, &mut sink, &CancellationToken::new()).await?;
    Ok((finished, lines))
}

/// An argument of `sleep` that no other process on this machine has.
fn marker() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("3600.{}{:03}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The processes of this machine that have a word in their command line.
fn processes(word: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in Utf8Path::new("/proc").read_dir_utf8().unwrap().flatten() {
        let Ok(process) = entry.file_name().parse() else { continue };
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        if line.split(|&b| b == 0).any(|argument| argument == word.as_bytes()) {
            found.push(process);
        }
    }
    found
}

fn kill(process: i32) {
    let process = rustix::process::Pid::from_raw(process).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).ok();
}

/// Waits until something holds.
async fn until(what: &str, limit: Duration, holds: impl Fn() -> bool) {
    let end = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The directories of jobs on the machine that have this word in their script.
fn jobs_of(word: &str) -> Vec<Utf8PathBuf> {
    let Ok(entries) = Utf8Path::new("/var/tmp/.drivetrain-jobs-0").read_dir_utf8() else { return Vec::new() };
    let has = |path: &Utf8PathBuf| {
        std::fs::read_to_string(path.join("script")).is_ok_and(|text| text.contains(word))
    };
    entries.flatten().map(|entry| entry.path().to_owned()).filter(has).collect()
}

fn left_behind(word: &str) -> usize {
    jobs_of(word).len()
}
