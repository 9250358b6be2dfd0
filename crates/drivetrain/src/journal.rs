//! The journal of a run: one event a line, appended as it happens.

use std::io::{self, BufRead, BufReader, Write};

use camino::Utf8Path;
use drivetrain_model::{Event, RunId, Stamped};
use fs_err as fs;
use jiff::Timestamp;

/// The file's name in a run's directory.
const FILE: &str = "journal.jsonl";

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal(fs::File);

impl Journal {
    /// Begins a run's journal.
    pub fn create(directory: &Utf8Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        fs::OpenOptions::new().create(true).append(true).open(directory.join(FILE)).map(Self)
    }

    /// Adds an event, with one write: a killed process leaves whole lines, or at worst half of the last.
    pub fn write(&mut self, event: &Stamped) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}

/// Reads a run's journal. Lines that cannot be read (half written by a killed process, or of a version to
/// come) are left out.
pub fn read(directory: &Utf8Path) -> io::Result<Vec<Stamped>> {
    let file = BufReader::new(fs::File::open(directory.join(FILE))?);
    let mut events = Vec::new();
    for line in file.split(b'\n') {
        if let Ok(event) = serde_json::from_slice(&line?) {
            events.push(event);
        }
    }
    Ok(events)
}

/// A new run's id: its start in milliseconds, to be read and sorted by, and four characters against two at once.
pub fn new_run_id(now: Timestamp) -> RunId {
    let stamp = now.strftime("%Y%m%dT%H%M%S.%3fZ");
    let tail: String = (0..4).map(|_| fastrand::alphanumeric().to_ascii_lowercase()).collect();
    let text = format!("{stamp}-{tail}");
    // Digits, letters and a dash are always a run id.
    RunId::parse(&text).unwrap_or_else(|error| unreachable!("{error}"))
}

/// How a journal ends.
pub fn finish(events: &[Stamped]) -> Option<(u8, Option<&str>, u64)> {
    events.iter().rev().find_map(|stamped| match &stamped.event {
        Event::RunFinished { exit, error, ms } => Some((*exit, error.as_deref(), *ms)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_was_cut_off_is_read_up_to_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(directory.path()).unwrap();
        let mut journal = Journal::create(path).unwrap();
        let event = Stamped {
            at: Timestamp::from_second(1_790_000_000).unwrap(),
            event: Event::Warning { message: "a\nb".into() },
        };
        journal.write(&event).unwrap();
        journal.write(&event).unwrap();
        journal.0.write_all(b"{\"at\":\"2026-").unwrap();
        assert_eq!(read(path).unwrap(), [event.clone(), event]);
    }

    #[test]
    fn run_ids_sort_by_time() {
        let id = |ms| new_run_id(Timestamp::from_millisecond(ms).unwrap());
        assert!(id(1_790_000_000_007) < id(1_790_000_000_010));
        assert!(id(1_790_000_000_007).as_str().starts_with("20260921T141320.007Z-"));
    }
}
