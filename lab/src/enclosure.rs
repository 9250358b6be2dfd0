//! Processes that cannot outlive the one that started them.
//!
//! A server is a dozen processes that fork others. They run in a PID namespace, whose first process reads a pipe
//! that this process holds the other end of. When this process closes it, or ends in whatever way, the first
//! process ends too, and with it the kernel ends all others. A shell outside of the namespace then removes the
//! directory. No thread has to live for that, as it would with a signal at the death of a parent. The namespace of
//! System V objects is their own as well: a database that is killed would leave some behind.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use jiff::Timestamp;
use rustix::process::Signal;

use crate::cmd::command;
use crate::processes::{children, inner_number, is_enclosed, poll, signal, tree};

/// How long a namespace may take to be there.
const ENCLOSING: Duration = Duration::from_secs(10);
/// How long processes may take to end that were killed.
const ENDING: Duration = Duration::from_secs(10);

/// The shell that stays outside. `cat` is what reads the pipe; the shell around it buries orphans.
const SCRIPT: &str = r#"
directory=$1
shift
setpriv --pdeathsig KILL unshare --pid --ipc --fork --kill-child=KILL "$@" \
    sh -c 'exec 3<&0; cat <&3 >/dev/null & wait $!'
[ -z "$directory" ] || rm -rf --one-file-system -- "$directory"
"#;

/// Whether this process may become others.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A PID namespace, and all that runs in it.
pub(crate) struct Enclosure {
    /// The pipe. Dropped to end everything.
    pipe: Option<ChildStdin>,
    outside: Child,
    /// A process in the namespace that lives as long as it.
    inside: u32,
    /// Whether its mounts are its own.
    mounts: bool,
}

impl Enclosure {
    /// Makes one. At its end, `remove` is removed. `hold` is kept open until then: with a lock on it, nobody else
    /// gets that before all processes are gone.
    pub(crate) fn new(remove: Option<&Utf8Path>, hold: Option<File>) -> Result<Self> {
        Self::make(remove, hold, false)
    }

    /// One whose mounts nobody else sees, and which end with it.
    pub(crate) fn with_mounts(remove: Option<&Utf8Path>, hold: Option<File>) -> Result<Self> {
        Self::make(remove, hold, true)
    }

    fn make(remove: Option<&Utf8Path>, hold: Option<File>, mounts: bool) -> Result<Self> {
        let mut outside = command("sh")
            .args(["-c", SCRIPT, "sh", remove.map_or("", Utf8Path::as_str)])
            .args(if is_root() { &[][..] } else { &["--user", "--map-current-user"] })
            .args(mounts.then_some("--mount"))
            .stdin(Stdio::piped())
            .stdout(hold.map_or_else(Stdio::null, Stdio::from))
            .stderr(Stdio::piped())
            // Neither an interrupt at the keyboard nor the end of a group of tests keeps it from tidying up.
            .process_group(0)
            .spawn()
            .context("starting a shell")?;
        let pipe = outside.stdin.take();
        let mut enclosure = Enclosure { pipe, outside, inside: 0, mounts };
        enclosure.inside = enclosure.first()?;
        Ok(enclosure)
    }

    fn first(&mut self) -> Result<u32> {
        let root = self.outside.id();
        let found = poll(ENCLOSING, || {
            let ended = !matches!(self.outside.try_wait(), Ok(None));
            let inside = tree(root).into_iter().find(|process| is_enclosed(*process));
            (ended || inside.is_some()).then_some(inside)
        });
        let Some(inside) = found.flatten() else {
            drop(self.pipe.take());
            let mut said = String::new();
            if let Some(mut errors) = self.outside.stderr.take() {
                errors.read_to_string(&mut said)?;
            }
            bail!("a PID namespace cannot be made here: {}", said.trim());
        };
        Ok(inside)
    }

    /// A command that will run in it.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = command("nsenter");
        command.args(["--target", &self.inside.to_string(), "--pid", "--ipc"]);
        command.args(self.mounts.then_some("--mount"));
        if !is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--").arg(program);
        command
    }
}

impl Drop for Enclosure {
    fn drop(&mut self) {
        drop(self.pipe.take());
        drop(self.outside.wait());
    }
}

/// A process of a server, and what it forked.
pub(crate) struct Process {
    name: String,
    /// The program that entered the namespace. Its only child is what was asked for; it ends with that.
    entering: Child,
    started: Timestamp,
    log: Utf8PathBuf,
    /// What it had forked when it was to end.
    forked: Vec<u32>,
}

impl Process {
    /// Starts `command`, which is an [`Enclosure`]'s. What it says is added to `log`.
    pub(crate) fn start(name: impl Into<String>, mut command: Command, log: Utf8PathBuf) -> Result<Self> {
        let file = fs::OpenOptions::new().create(true).append(true).open(&log)?.into_file();
        let name = name.into();
        let started = Timestamp::now();
        let entering = command
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Process { name, entering, started, log, forked: Vec::new() })
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its process number.
    fn id(&self) -> Option<u32> {
        children(self.entering.id()).first().copied()
    }

    /// The process number that it knows itself by.
    pub(crate) fn inner_id(&self) -> Option<u32> {
        self.id().and_then(inner_number)
    }

    pub(crate) fn started(&self) -> Timestamp {
        self.started
    }

    /// Fails where it has ended, with its last words.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.entering.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} has ended ({status}):\n{}", self.name, self.last_words()),
        }
    }

    pub(crate) fn last_words(&self) -> String {
        last_lines(&fs::read_to_string(&self.log).unwrap_or_default(), 25)
    }

    /// Asks it to end by a signal, and kills what is left of it after a while.
    pub(crate) fn end(mut self, with: Signal, patience: Duration) {
        if let Some(process) = self.id() {
            self.forked = tree(process);
            signal(process, with);
        }
        let _ = poll(patience, || self.entering.try_wait().ok().flatten());
    }

    /// Kills it and all that it forked.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Kills what it has now, and remembers it.
    fn kill_tree(&mut self) {
        // Stopped first, it cannot replace a child that is killed before it.
        if let Some(process) = self.id() {
            signal(process, Signal::STOP);
        }
        self.forked.extend(tree(self.entering.id()));
        for process in enclosed(&self.forked) {
            signal(process, Signal::KILL);
        }
        // It stops with its child. Killed, it could not bury it.
        signal(self.entering.id(), Signal::CONT);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = poll(ENDING, || {
            let status = self.entering.try_wait().ok().flatten();
            if status.is_none() {
                self.kill_tree();
            }
            status
        });
        // Those whose parent ended before them. Where all of the namespace has ended these are gone.
        for process in enclosed(&self.forked) {
            signal(process, Signal::KILL);
        }
        // They end when they get round to it, and until then their ports are taken.
        let _ = poll(ENDING, || enclosed(&self.forked).next().is_none().then_some(()));
    }
}

/// Those of them that are in a namespace. One that is not has entered one and ends with its child, or is another's,
/// which has come by the number of one that is gone.
fn enclosed(processes: &[u32]) -> impl Iterator<Item = u32> {
    processes.iter().copied().filter(|process| is_enclosed(*process))
}

/// The last lines of a text.
fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
