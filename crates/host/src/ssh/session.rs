//! One ssh process that runs one program on the machine.

use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::task::JoinHandle;

use super::program::Program;
use crate::HostError;
use crate::spawn::{Group, spawn};

/// How much may come before the greeting, from a profile that says something to everybody.
const LONGEST_PREAMBLE: u64 = 64 * 1024;
/// How much is kept of what is said on standard error.
const LONGEST_COMPLAINT: usize = 8 * 1024;

/// How an ssh process ended before what was expected of it.
#[derive(Debug)]
pub(super) struct Closed {
    /// Its exit code; 255 where the connection is at fault. Nothing where a signal ended it.
    pub(super) code: Option<i32>,
    /// The end of what was said on standard error.
    pub(super) said: String,
}

impl Closed {
    /// Whether it is the connection that failed, not the program at its other end.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.code, None | Some(255))
    }
}

/// A program that runs on the machine, and has said that it does.
#[derive(Debug)]
pub(super) struct Session {
    group: Group,
    input: Option<ChildStdin>,
    pub(super) output: BufReader<ChildStdout>,
    complaint: JoinHandle<String>,
}

/// The command for the machine that runs a program of this length from its input.
///
/// Whatever the login's shell is, it understands this. Exactly the program is read, so that what follows it is input.
pub(super) fn bootstrap(program: &str) -> String {
    format!("exec /bin/sh -c 'p=$(head -c {}) && eval \"$p\"'", program.len())
}

/// A word that nothing else says.
pub(super) fn token() -> Result<String, HostError> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| HostError::process("getrandom")(error.into()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Why a session did not come to be.
#[derive(Debug)]
pub(super) enum NoSession {
    /// The process ended, or came to no end in time.
    Closed(Closed),
    /// It could not be started.
    Failed(HostError),
}

impl Session {
    /// Starts ssh, and waits for the program's first word.
    pub(super) async fn open(
        program: &Program,
        command: impl FnOnce(&str) -> Command,
        limit: Duration,
    ) -> Result<Self, NoSession> {
        let greeting = format!("drivetrain-{}", token().map_err(NoSession::Failed)?);
        let text = program.greeting(&greeting);
        let mut session = Self::spawn(command(&bootstrap(&text))).await.map_err(NoSession::Failed)?;
        let greeted = tokio::time::timeout(limit, session.greet(&text, &greeting)).await;
        match greeted {
            Ok(true) => Ok(session),
            Ok(false) => Err(NoSession::Closed(session.end().await)),
            Err(_) => {
                let mut closed = session.end_now().await;
                closed.said.push_str(&format!("\nnothing came of it within {} seconds", limit.as_secs()));
                Err(NoSession::Closed(Closed { code: None, ..closed }))
            }
        }
    }

    async fn spawn(command: Command) -> Result<Self, HostError> {
        let process = || HostError::process("ssh");
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group = spawn(command).await.map_err(process())?;
        let (input, output, complaint) = group.take_pipes();
        let missing = || process()(std::io::Error::other("it has no pipes"));
        let complaint = complaint.ok_or_else(missing)?;
        Ok(Self {
            group,
            input,
            output: BufReader::with_capacity(64 * 1024, output.ok_or_else(missing)?),
            complaint: tokio::spawn(listen(complaint)),
        })
    }

    /// Hands the program over; whether it has begun.
    async fn greet(&mut self, text: &str, greeting: &str) -> bool {
        if let Some(input) = &mut self.input {
            // Where this fails, the process says why.
            drop(input.write_all(text.as_bytes()).await);
            drop(input.flush().await);
        }
        let mut preamble = (&mut self.output).take(LONGEST_PREAMBLE);
        let mut line = Vec::new();
        loop {
            line.clear();
            match preamble.read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
            if line.strip_suffix(b"\n").is_some_and(|line| line.ends_with(greeting.as_bytes())) {
                return true;
            }
        }
    }

    /// The program's input; it ends when this is dropped.
    pub(super) fn take_input(&mut self) -> Option<ChildStdin> {
        self.input.take()
    }

    /// Whether the process has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.group.has_ended()
    }

    /// Waits for the end, without further input.
    pub(super) async fn end(mut self) -> Closed {
        drop(self.input.take());
        let code = self.group.wait().await.ok().and_then(|status| status.code());
        self.close(code).await
    }

    /// Ends it.
    pub(super) async fn end_now(mut self) -> Closed {
        // It is dropped, and so killed, in any case.
        drop(self.group.kill().await);
        self.close(None).await
    }

    async fn close(self, code: Option<i32>) -> Closed {
        // A process that ssh has started may keep standard error open.
        let abort = self.complaint.abort_handle();
        let said = tokio::time::timeout(Duration::from_secs(1), self.complaint).await;
        abort.abort();
        Closed { code, said: said.ok().and_then(Result::ok).unwrap_or_default() }
    }
}

/// Reads to the end, and keeps the last of it.
async fn listen(mut complaint: ChildStderr) -> String {
    let mut said: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 4096];
    while let Ok(count @ 1..) = complaint.read(&mut buffer).await {
        said.extend_from_slice(&buffer[..count]);
        let surplus = said.len().saturating_sub(LONGEST_COMPLAINT);
        said.drain(..surplus);
    }
    String::from_utf8_lossy(&said).into_owned()
}
