//! Processes of the guest, each with a limit to its time.

use std::io::Read as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::INIT;
use crate::protocol::{KEPT_CHARACTERS, KEPT_LINES, SYSTEM};

/// The word that makes the agent a program of the installed system's.
pub(super) const IN_SYSTEM: &str = "in-system";
const PAUSE: Duration = Duration::from_millis(5);
/// How much of what a program says is read.
const OUTPUT: u64 = 256 << 10;

/// How a process ended.
pub(super) enum End {
    Exited(ExitStatus),
    /// It is still there.
    Hangs,
}

/// Waits for a process, and no longer than that.
pub(super) fn wait(child: &mut Child, patience: Duration) -> End {
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return End::Exited(status),
            Ok(None) if started.elapsed() < patience => std::thread::sleep(PAUSE),
            _ => return End::Hangs,
        }
    }
}

/// `exited with 1`, `was ended by signal 9`.
pub(super) fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// A command of the installed system, with what it says into a file of the guest's.
pub(super) struct Tool {
    child: Child,
    output: String,
}

impl Tool {
    pub(super) fn start(words: &[&str], library_path: &str, number: usize) -> Result<Self, String> {
        let output = format!("/tmp/{number}");
        let file = std::fs::File::create(&output).map_err(|error| format!("{output}: {error}"))?;
        let errors = file.try_clone().map_err(|error| error.to_string())?;
        let child = Command::new(INIT)
            .arg(IN_SYSTEM)
            .args(words)
            .env_clear()
            .env("LD_LIBRARY_PATH", library_path)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .map_err(|error| error.to_string())?;
        Ok(Self { child, output })
    }

    /// Waits for its end; whether it was well, and what it said.
    pub(super) fn finish(mut self, patience: Duration) -> (bool, Vec<String>) {
        let end = wait(&mut self.child, patience);
        let (ok, how) = match end {
            End::Exited(status) => (status.success(), (!status.success()).then(|| in_words(status))),
            End::Hangs => {
                drop(self.child.kill());
                (false, Some(format!("did not end within {} s", patience.as_secs())))
            }
        };
        let mut said = self.said();
        said.extend(how);
        (ok, said)
    }

    fn said(&self) -> Vec<String> {
        let mut bytes = Vec::new();
        if let Ok(file) = std::fs::File::open(&self.output) {
            // What can be read of it is told.
            drop(file.take(OUTPUT).read_to_end(&mut bytes));
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().filter(|line| !line.trim().is_empty()).take(KEPT_LINES);
        lines.map(|line| line.chars().take(KEPT_CHARACTERS).collect()).collect()
    }
}

/// Becomes a program of the installed system's.
pub(super) fn in_system(command: &[String]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else { return ExitCode::FAILURE };
    let changed = rustix::process::chroot(SYSTEM).and_then(|()| rustix::process::chdir("/"));
    if changed.is_err() {
        return ExitCode::FAILURE;
    }
    // It comes back only where it fails.
    let error = Command::new(program).args(arguments).exec();
    drop(std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{program}: {error}\n")));
    ExitCode::FAILURE
}
