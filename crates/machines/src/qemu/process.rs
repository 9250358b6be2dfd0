//! The processes of machines, known by their names.

use std::collections::BTreeSet;

use camino::Utf8Path;
use drivetrain_model::RunId;
use fs_err as fs;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};

use crate::{Lease, LeaseId, TAG};

/// What stands behind `-name`: all of the lease that is needed to know whether it has expired.
pub(crate) fn name_of(lease: &Lease) -> String {
    format!("{TAG}.{}.{}.{}", lease.id, lease.expires.as_second(), lease.run)
}

fn lease_of(name: &str) -> Option<Lease> {
    let mut parts = name.strip_prefix(TAG)?.strip_prefix('.')?.splitn(3, '.');
    let id = parts.next()?.parse().ok()?;
    let expires = Timestamp::from_second(parts.next()?.parse().ok()?).ok()?;
    let run = RunId::parse(parts.next()?).ok()?;
    Some(Lease { id, run, owner: String::new(), made: Timestamp::UNIX_EPOCH, expires })
}

/// All processes of this user's that are machines of drivetrain's with their files below a directory, whether these
/// are still there or not.
fn all(directory: &Utf8Path) -> Vec<(u32, Lease)> {
    let own = rustix::process::geteuid().as_raw();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            use std::os::unix::fs::MetadataExt as _;
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            if entry.metadata().ok()?.uid() != own {
                return None;
            }
            // Of a process that has ended and was not waited for, this is empty.
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let mut words = line.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok());
            words.next().filter(|program| program.contains("qemu-system-"))?;
            words.by_ref().find(|word| *word == "-name")?;
            let lease = lease_of(words.next()?)?;
            let disk = format!("file={}/", directory.join(lease.id.as_str()));
            words.any(|word| word.starts_with(&disk)).then_some((id, lease))
        })
        .collect()
}

/// Those of a lease.
pub(crate) fn of(directory: &Utf8Path, lease: &LeaseId) -> impl Iterator<Item = u32> {
    let of_it = |(_, known): &(u32, Lease)| known.id == *lease;
    all(directory).into_iter().filter(of_it).map(|(id, _)| id).collect::<Vec<_>>().into_iter()
}

/// The leases of all that run.
pub(crate) fn leases(directory: &Utf8Path) -> Vec<Lease> {
    let mut seen = BTreeSet::new();
    all(directory).into_iter().map(|(_, lease)| lease).filter(|lease| seen.insert(lease.id.clone())).collect()
}

/// Kills those of a lease; how many there were.
pub(crate) fn kill(directory: &Utf8Path, lease: &LeaseId) -> usize {
    let ids: Vec<u32> = of(directory, lease).collect();
    for id in ids.iter().filter_map(|id| Pid::from_raw(i32::try_from(*id).ok()?)) {
        // It may have ended by itself.
        let _ = kill_process(id, Signal::KILL);
    }
    ids.len()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_name_tells_the_lease() {
        let run = RunId::parse("20261127T140000.123Z-abcd").unwrap();
        let lease = Lease::new(run, "me@here".to_owned(), Timestamp::now(), SignedDuration::from_hours(4));
        let told = lease_of(&name_of(&lease)).unwrap();
        assert_eq!((told.id, told.run, told.expires), (lease.id, lease.run, lease.expires));
        for name in [
            "",
            "debian",
            "drivetrain-builder",
            "drivetrain-builder.dt-x.1.r",
            "drivetrain-builder.dt-0123456789ab.x.r",
        ] {
            assert!(lease_of(name).is_none(), "{name}");
        }
    }
}
