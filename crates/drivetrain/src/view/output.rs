//! Standard output, and what becomes of a command whose result cannot be written there.

use std::io::{self, Write as _};
use std::sync::OnceLock;

use drivetrain_model::ExitCode;

use crate::failure::Failure;

/// The first error of standard output; nothing is written there after it. A run goes on all the same, and its
/// journal tells what it did, so the error is for the end of the process.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Prints a result.
pub fn print(text: &str) {
    if LOST.get().is_some() {
        return;
    }
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        LOST.get_or_init(|| error);
    }
}

/// Why a part of what was to be printed is lost, if so. A reader that has gone away (`| head`) has what it wanted.
pub fn lost() -> Option<Failure> {
    LOST.get().and_then(lost_failure)
}

/// What an error of standard output means.
pub fn lost_failure(error: &io::Error) -> Option<Failure> {
    (error.kind() != io::ErrorKind::BrokenPipe).then(|| {
        Failure::because(ExitCode::Failure, "standard output cannot be written", error)
            .next("make room where it goes, or send it elsewhere: what it should hold is not whole")
    })
}
