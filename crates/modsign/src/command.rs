//! A command that makes signatures: for devices and services that drivetrain does not know.

use std::io::{self, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{ModuleDigest, RawSignature, SignError, Signer};

/// A signature of 4096 bits has 512 bytes; what has more than this is something else.
const MAX_OUTPUT: usize = 4096;
/// What it says of itself is kept up to here.
const MAX_SAID: usize = 64 << 10;
/// How much of that is shown.
const SHOWN: usize = 300;

/// Runs a command for each digest: it gets the digest's raw bytes on standard input, and has to give the raw signature
/// (PKCS #1 v1.5 over the `DigestInfo`) on standard output.
///
/// Its environment is drivetrain's own, and besides `DRIVETRAIN_HASH` (`sha256`), `DRIVETRAIN_DIGEST` and
/// `DRIVETRAIN_DIGEST_INFO` (in hexadecimal) and `DRIVETRAIN_CERTIFICATE` (the fingerprint).
#[derive(Debug, Clone)]
pub struct SigningCommand {
    words: Vec<String>,
    certificate: String,
    limit: Duration,
}

impl SigningCommand {
    /// The command by its words; `certificate` is the fingerprint that it is told. `limit` is how long one signature may
    /// take.
    #[must_use]
    pub fn new(words: Vec<String>, certificate: impl Into<String>, limit: Duration) -> Self {
        Self { words, certificate: certificate.into(), limit }
    }

    fn name(&self) -> String {
        self.words.first().cloned().unwrap_or_default()
    }

    fn sign_one(&self, digest: &ModuleDigest) -> Result<RawSignature, SignError> {
        let started = Instant::now();
        let command = self.name();
        let mut child = self.start(digest)?;
        let talk = |source: io::Error| SignError::Talk { command: command.clone(), source };
        let output = reader(child.stdout.take(), MAX_OUTPUT + 1);
        let said = reader(child.stderr.take(), MAX_SAID);
        if let Some(mut input) = child.stdin.take() {
            match input.write_all(digest.as_bytes()) {
                // It may know the digest from its environment, and close the pipe.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    end(&mut child);
                    return Err(talk(error));
                }
                _ => {}
            }
        }
        let left = || self.limit.saturating_sub(started.elapsed());
        let too_long = || SignError::TooLong { command: command.clone(), limit: self.limit };
        let output = match output.recv_timeout(left()) {
            Ok(output) => output,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                end(&mut child);
                return Err(too_long());
            }
        };
        // Its output may be closed long before its end.
        let status = loop {
            match child.try_wait().map_err(talk)? {
                Some(status) => break status,
                None if left().is_zero() => {
                    end(&mut child);
                    return Err(too_long());
                }
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        let said = said.recv_timeout(left().min(Duration::from_secs(1))).unwrap_or_else(|_| Ok(Vec::new()));
        // What it left behind in its group goes with it.
        end(&mut child);
        // Before its status: who writes on is ended by the pipe.
        if output.as_ref().is_ok_and(|output| output.len() > MAX_OUTPUT) {
            return Err(SignError::TooMuch { command, limit: MAX_OUTPUT });
        }
        if !status.success() {
            return Err(SignError::Failed { command, status, said: last_words(&said.unwrap_or_default()) });
        }
        output.map_err(talk)
    }

    fn start(&self, digest: &ModuleDigest) -> Result<Child, SignError> {
        Command::new(self.name())
            .args(self.words.iter().skip(1))
            .env("DRIVETRAIN_HASH", digest.hash().as_str())
            .env("DRIVETRAIN_DIGEST", hex::encode(digest.as_bytes()))
            .env("DRIVETRAIN_DIGEST_INFO", hex::encode(digest.digest_info()))
            .env("DRIVETRAIN_CERTIFICATE", &self.certificate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|source| SignError::Start { command: self.name(), source })
    }
}

impl Signer for SigningCommand {
    fn describe(&self) -> String {
        format!("the signing command {}", self.name())
    }

    fn sign(&self, digests: &[ModuleDigest]) -> Result<Vec<RawSignature>, SignError> {
        digests.iter().map(|digest| self.sign_one(digest)).collect()
    }
}

/// Reads a pipe to its end, or to a limit, without holding up anybody.
fn reader(pipe: Option<impl Read + Send + 'static>, limit: usize) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = pipe.map_or(Ok(0), |pipe| pipe.take(limit as u64).read_to_end(&mut bytes));
        // Nobody waits any longer where the command took too long.
        drop(sender.send(read.map(|_| bytes)));
    });
    receiver
}

/// Ends a command and all that it has started.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may be gone already.
        let _gone = kill_process_group(group, Signal::KILL);
    }
    drop(child.wait());
}

/// The end of what a command said, in one line and without what acts on a terminal.
fn last_words(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = lines.join(" / ");
    let skip = text.chars().count().saturating_sub(SHOWN);
    let shown: String = text.chars().skip(skip).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.is_empty() { shown } else { format!(": {shown}") }
}
