//! Processes of this machine, as `/proc` has them.

use std::fs;
use std::time::{Duration, Instant};

/// A process and all that it started, itself first.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let all = parents();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
        next += 1;
    }
    found
}

/// What it started itself.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    parents().into_iter().filter(|(_, of)| *of == parent).map(|(process, _)| process).collect()
}

/// Every process with its parent.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let process: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
            Some((process, parent_in(&stat)?))
        })
        .collect()
}

/// A program's name may have spaces and brackets in it; what is behind the last bracket is the state and the parent.
fn parent_in(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The number that a process has in the innermost namespace that it is in.
pub(crate) fn inner_number(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().last()?.parse().ok()
}

/// Whether a process is in another namespace of processes than this one.
pub(crate) fn is_enclosed(process: u32) -> bool {
    let own = fs::read_link("/proc/self/ns/pid");
    let other = fs::read_link(format!("/proc/{process}/ns/pid"));
    matches!((own, other), (Ok(own), Ok(other)) if own != other)
}

/// Sends a signal. A process that is gone needs none.
pub(crate) fn signal(process: u32, signal: rustix::process::Signal) {
    let number = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(number) = number {
        let _ = rustix::process::kill_process(number, signal);
    }
}

/// Looks until there is something, or the time is over.
pub(crate) fn poll<T>(limit: Duration, look: impl FnMut() -> Option<T>) -> Option<T> {
    poll_every(Duration::from_millis(20), limit, look)
}

/// Looks now and then until there is something, or the time is over.
pub(crate) fn poll_every<T>(
    interval: Duration,
    limit: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if started.elapsed() > limit {
            return None;
        }
        std::thread::sleep(interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_a_name_with_brackets() {
        assert_eq!(parent_in("12 (a) b (c)) S 7 12 12 0"), Some(7));
        assert_eq!(parent_in("12 (cat"), None);
    }

    #[test]
    fn a_process_is_in_its_own_tree_and_in_no_other_namespace() {
        let own = std::process::id();
        assert_eq!(tree(own).first(), Some(&own));
        assert!(!is_enclosed(own));
        assert!(inner_number(own).is_some());
    }
}
