//! Who changed what is served: one line of JSON for each change.

use std::io::Write;
use std::path::Path;

use drivetrain_model::RunId;
use fs_err as fs;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Change, Result};

/// One change of what is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When.
    pub at: Timestamp,
    /// What was done.
    pub action: Action,
    /// The version that is served from then on.
    pub version: u64,
    /// The version that was served until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// The run that the version comes from.
    pub run: RunId,
    /// Who did it.
    pub by: String,
    /// Why.
    pub why: String,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A new version was published.
    Publish,
    /// What another channel serves was served here as well.
    Promote,
    /// An earlier version was served again.
    Rollback,
    /// A change was found that nobody had noted: the process ended between the change and its record.
    Found,
}

impl HistoryEntry {
    /// A change that leads to a version, by whoever makes it.
    pub(crate) fn new(action: Action, change: &Change, version: u64, from: Option<u64>, run: &RunId) -> Self {
        let Change { by, why, at } = change.clone();
        Self { at, action, version, from, run: run.clone(), by, why }
    }

    /// Whether an earlier version was served again. New versions have the highest number, so a change that was
    /// only found and leads to a lower one is a way back whose process ended before it was noted.
    fn is_way_back(&self) -> bool {
        match self.action {
            Action::Rollback => true,
            Action::Found => self.from.is_some_and(|from| from > self.version),
            Action::Publish | Action::Promote => false,
        }
    }
}

/// The ways back since the last publication, newest first: what they led away from is not wanted.
pub(crate) fn ways_back(entries: &[HistoryEntry]) -> impl Iterator<Item = &HistoryEntry> {
    entries.iter().rev().take_while(|entry| entry.is_way_back())
}

/// Reads the log. A line that is no entry is passed over: the last one may be torn, and a later drivetrain
/// may know more actions.
pub(crate) fn read(path: &Path) -> Result<Vec<HistoryEntry>> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Appends an entry, and waits until it is on disk.
pub(crate) fn append(path: &Path, entry: &HistoryEntry) -> Result<()> {
    let mut line = serde_json::to_vec(entry).map_err(std::io::Error::other)?;
    line.push(b'\n');
    // A torn last line must not swallow this one.
    if fs::read(path).is_ok_and(|bytes| bytes.last().is_some_and(|byte| *byte != b'\n')) {
        line.insert(0, b'\n');
    }
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(&line)?;
    file.sync_all()?;
    crate::directory::files::readable(path)
}
