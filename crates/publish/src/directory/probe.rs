//! Whether files can be written where they will have to be, found out by writing one.

use std::io;
use std::path::Path;

use fs_err as fs;

use super::files::{names, write_file};
use super::places::Places;
use crate::Result;

/// With the number of the process behind it: several may try at once.
const PREFIX: &str = ".probe-";

/// Writes a file into a directory, and removes it.
pub(crate) fn probe(directory: &Path) -> Result<()> {
    let probe = directory.join(format!("{PREFIX}{}", std::process::id()));
    write_file(&probe, b"x")?;
    remove(&probe)
}

/// Removes what processes left that were killed between the two.
pub(crate) fn sweep_probes(places: &Places) -> Result<()> {
    for directory in [places.versions(), places.link_directory()] {
        for name in names(&directory)? {
            let process = name.strip_prefix(PREFIX).and_then(|number| number.parse::<u32>().ok());
            if process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
                remove(&directory.join(name))?;
            }
        }
    }
    Ok(())
}

/// Another process may have swept it: one on another machine knows nothing of ours.
fn remove(probe: &Path) -> Result<()> {
    match fs::remove_file(probe) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
