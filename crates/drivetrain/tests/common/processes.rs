//! The processes of this host, as far as they belong to a site.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// A process, told from another that gets its number later by when it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub began: u64,
    pub name: String,
}

struct Status {
    parent: i32,
    state: char,
    process: Process,
}

fn status(pid: i32) -> Option<Status> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may have anything in it, parentheses too.
    let (head, tail) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let process = Process { pid, began: fields.get(19)?.parse().ok()?, name };
    Some(Status { parent: fields.get(1)?.parse().ok()?, state: fields.first()?.chars().next()?, process })
}

fn all() -> Vec<Status> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| status(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

/// The children of a process, and theirs.
pub fn descendants(pid: i32) -> Vec<Process> {
    let all = all();
    let mut known = vec![pid];
    let mut found = Vec::new();
    loop {
        let more: Vec<&Status> = all
            .iter()
            .filter(|status| known.contains(&status.parent) && !known.contains(&status.process.pid))
            .collect();
        if more.is_empty() {
            return found;
        }
        for status in more {
            known.push(status.process.pid);
            found.push(status.process.clone());
        }
    }
}

fn lives(process: &Process) -> bool {
    // One that has ended and is not yet reaped does nothing any more.
    status(process.pid).is_some_and(|now| now.process == *process && !matches!(now.state, 'Z' | 'X'))
}

/// Those that have to do with a directory: by command line, working directory or mounts, which a sandbox has.
fn at(directory: &Path) -> Vec<Process> {
    let text = directory.to_str().unwrap();
    let mine = i32::try_from(std::process::id()).unwrap();
    all()
        .into_iter()
        .filter(|status| {
            let proc = format!("/proc/{}", status.process.pid);
            let link = |name: &str| {
                fs::read_link(format!("{proc}/{name}")).is_ok_and(|to| to.starts_with(directory))
            };
            let file = |name: &str| {
                fs::read(format!("{proc}/{name}"))
                    .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
            };
            status.process.pid != mine
                && !matches!(status.state, 'Z' | 'X')
                && (file("cmdline") || link("cwd") || link("root") || file("mountinfo"))
        })
        .map(|status| status.process)
        .collect()
}

/// Waits for the end of these processes, and of all that have to do with the directory; those that are left after
/// a few seconds.
pub fn survivors(known: &[Process], directory: &Path) -> Vec<Process> {
    let started = Instant::now();
    loop {
        let mut left: Vec<Process> = known.iter().filter(|process| lives(process)).cloned().collect();
        left.extend(at(directory));
        if left.is_empty() || started.elapsed() > Duration::from_secs(5) {
            return left;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends all that still have to do with a directory that only a test's own commands know, and says which they were.
pub fn end_survivors(directory: &Path) -> Vec<Process> {
    let left = survivors(&[], directory);
    for process in &left {
        let pid = rustix::process::Pid::from_raw(process.pid).unwrap();
        match rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => println!("{process:?} cannot be ended: {error}"),
        }
    }
    left
}

/// Whether any process shows this text in its command line.
pub fn shown_in_a_command_line(text: &str) -> bool {
    all().iter().any(|status| {
        fs::read(format!("/proc/{}/cmdline", status.process.pid))
            .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
    })
}
