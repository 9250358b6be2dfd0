//! What a process that ended in the middle left behind.

use super::files::remove_tree;
use super::flip::forget_new_link;
use super::places::Places;
use crate::history;
use crate::{Action, Change, HistoryEntry, Result};

/// Whether the record says what is served. Looked at without the lock: who is in the middle of a change will
/// have noted it when the lock is free.
pub(crate) fn is_settled(places: &Places) -> Result<bool> {
    let noted = history::read(&places.history())?.last().map(|entry| entry.version);
    Ok(noted == places.served()?)
}

/// Brings a repository's directories and record in order, without touching what is served. The lock is held.
pub(crate) fn settle(places: &Places, change: &Change) -> Result<Option<u64>> {
    forget_new_link(places)?;
    super::probe::sweep_probes(places)?;
    remove_tree(&places.incoming())?;
    let served = places.served()?;
    let entries = history::read(&places.history())?;
    let noted = entries.last().map(|entry| entry.version);
    // The step was made, and its record was not: it is made up for.
    if let Some(version) = served
        && noted != served
    {
        let manifest = places.manifest(version)?;
        let entry = HistoryEntry {
            at: change.at,
            action: Action::Found,
            version,
            from: noted,
            run: manifest.run,
            by: change.by.clone(),
            why: "an earlier process ended before it could note this change".to_owned(),
        };
        history::append(&places.history(), &entry)?;
    }
    // A version that nobody ever saw: its process ended before the step. Its number is above all that were
    // served; whether it is one cannot be told where the record is lost.
    if entries.is_empty() && served.is_some() {
        return Ok(served);
    }
    let highest = entries.iter().map(|entry| entry.version).chain(served).max().unwrap_or(0);
    for version in places.on_disk()? {
        if version > highest {
            super::retain::discard(places, version)?;
        }
    }
    Ok(served)
}
