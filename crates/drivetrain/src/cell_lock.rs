//! One run of a cell at a time.

use std::io::{Read as _, Seek as _, Write as _};
use std::time::Duration;

use drivetrain_model::{Cell, ExitCode, RunId};
use fs_err as fs;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::failure::{Failure, Result};

/// How often to look whether the other run has ended.
const INTERVAL: Duration = Duration::from_millis(200);

/// Holds a cell for as long as it lives; the system lets go of it when the process ends, however it ends.
pub struct CellLock {
    _file: fs::File,
    /// Whether another run had to be waited for: what was planned before may be done by now.
    pub waited: bool,
}

/// Who holds a cell: written by the holder, for those who wait.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    run: RunId,
    pid: u32,
    by: String,
    since: Timestamp,
}

impl CellLock {
    /// Takes the cell, after waiting for whoever has it, if `wait` says so.
    pub async fn take(context: &Context, cell: &Cell, run: &RunId, wait: bool) -> Result<Self> {
        let path = context.state.cell_lock(cell);
        let failed = |error: &std::io::Error| Failure::of(ExitCode::Failure, error);
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| failed(&error))?;
        let mut waited = false;
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(failed(&error.into()));
            }
            let holder = holder(&mut file);
            if !wait {
                return Err(busy(cell, &holder));
            }
            if !waited {
                context
                    .reporter
                    .warn(format!("{cell} is being worked on by {holder}: waiting for it to end"));
                waited = true;
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = context.cancel.cancelled() => return Err(Failure::interrupted()),
            }
        }
        let by = crate::stage::publish::change("").by;
        let me = Holder { run: run.clone(), pid: std::process::id(), by, since: Timestamp::now() };
        write(&mut file, &me).map_err(|error| failed(&error))?;
        Ok(Self { _file: file, waited })
    }
}

fn write(file: &mut fs::File, holder: &Holder) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(holder)?)
}

/// In words; a file that is just being written tells nothing.
fn holder(file: &mut fs::File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(64 * 1024).read_to_string(&mut text));
    match read.ok().and_then(|_| serde_json::from_str::<Holder>(&text).ok()) {
        Some(holder) => format!(
            "run {} (process {}, {}, since {})",
            holder.run,
            holder.pid,
            holder.by,
            holder.since.strftime("%Y-%m-%d %H:%M:%SZ")
        ),
        None => "another run".to_owned(),
    }
}

fn busy(cell: &Cell, holder: &str) -> Failure {
    Failure::new(ExitCode::Busy, format!("{cell} is being worked on by {holder}"))
        .next("wait for it (leave --no-wait out), or look at it with `drivetrain show`")
}
