//! Kayobe's process on this host, and the end of all that it started.

use std::env;
use std::os::unix::fs::MetadataExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::CancellationToken;
use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::{ChildStdin, ChildStdout, Command};

use crate::{MachineError, Result};

/// How long it may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// How long output may still come once the process has ended.
const REST: Duration = Duration::from_secs(2);
/// Longer lines are cut.
const LONGEST_LINE: usize = 64 * 1024;

/// Runs a command in a group of its own, beside a process that ends the whole group as soon as its input ends: when
/// drivetrain is killed, nothing goes on configuring a machine that is somebody else's by then.
const WATCHED: &str = "exec 3<&0
( trap '' TERM; read -r _; kill -TERM 0; sleep 5; kill -KILL 0 ) <&3 >/dev/null 2>&1 &
exec \"$@\" </dev/null 3<&- 2>&1";

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With this code; nothing where a signal ended it.
    Exited(Option<i32>),
    /// It was given up.
    Cancelled,
    /// It took too long.
    TimedOut,
}

/// A running command.
pub(super) struct Child {
    process: tokio::process::Child,
    output: Option<ChildStdout>,
    /// Its end is the end of the group.
    _input: Option<ChildStdin>,
    group: Option<Pid>,
}

impl Child {
    pub(super) fn start(
        program: &Utf8Path,
        arguments: &[String],
        variables: &[(&str, Option<String>)],
        directory: &Utf8Path,
    ) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WATCHED, "kayobe", program.as_str()]).args(arguments);
        command.current_dir(directory).env("PATH", path(program));
        for (name, value) in variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.process_group(0).kill_on_drop(true);
        let mut process = command.spawn().map_err(MachineError::file("run", program))?;
        let group = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { output: process.stdout.take(), _input: process.stdin.take(), group, process })
    }

    /// Hands its lines on until it ends. Where it is given up or takes too long it is told to end, and what it says to that
    /// is handed on too.
    pub(super) async fn follow(
        &mut self,
        take: &mut (dyn FnMut(&str) -> Result<()> + Send),
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> Result<End> {
        let Some(output) = self.output.take() else { return Ok(End::Exited(None)) };
        let following = follow(&mut self.process, output, take);
        tokio::pin!(following);
        let end = tokio::select! {
            ended = &mut following => return Ok(End::Exited(ended?.code())),
            () = cancel.cancelled() => End::Cancelled,
            () = tokio::time::sleep(deadline) => End::TimedOut,
        };
        signal(self.group, Signal::TERM);
        if let Ok(ended) = tokio::time::timeout(PATIENCE, following).await {
            ended?;
        }
        Ok(end)
    }

    /// Kills what is left of its group, and all processes that carry one of these marks.
    pub(super) async fn end(mut self, marks: &[String]) {
        signal(self.group, Signal::KILL);
        drop(self.process.wait().await);
        // Ansible's workers and ssh's shared connections have begun groups of their own.
        for _ in 0..5 {
            let marked = marked(marks);
            if marked.is_empty() {
                break;
            }
            for process in marked {
                // It may have ended by itself.
                let _ = kill_process(process, Signal::KILL);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The number stays that of the group as long as the watching process, which is in it, is there.
fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // There is none where all of it has ended.
        let _ = kill_process_group(group, signal);
    }
}

async fn follow(
    process: &mut tokio::process::Child,
    mut output: ChildStdout,
    take: &mut (dyn FnMut(&str) -> Result<()> + Send),
) -> Result<ExitStatus> {
    let mut lines = Lines { pending: Vec::new(), take };
    let status = {
        let reading = lines.all_of(&mut output);
        tokio::pin!(reading);
        tokio::select! {
            read = &mut reading => {
                read?;
                process.wait().await
            }
            status = process.wait() => {
                // What it started and left behind may keep the pipe open.
                if let Ok(read) = tokio::time::timeout(REST, reading).await {
                    read?;
                }
                status
            }
        }
    };
    lines.finish()?;
    status.map_err(MachineError::file("wait for", "kayobe"))
}

struct Lines<'a> {
    pending: Vec<u8>,
    take: &'a mut (dyn FnMut(&str) -> Result<()> + Send),
}

impl Lines<'_> {
    async fn all_of(&mut self, output: &mut ChildStdout) -> Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count =
                output.read(&mut buffer).await.map_err(MachineError::file("read", "kayobe's output"))?;
            if count == 0 {
                return Ok(());
            }
            self.push(buffer.get(..count).unwrap_or_default())?;
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = LONGEST_LINE.saturating_sub(self.pending.len());
            self.pending.extend_from_slice(text.get(..room).unwrap_or(text));
            if piece.len() > text.len() {
                self.finish()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let line = std::mem::take(&mut self.pending);
        (self.take)(String::from_utf8_lossy(&line).trim_end_matches('\r'))
    }
}

/// All processes of this user's that have one of these in their environment or arguments. (A shared connection of ssh's
/// writes the name of its socket over both.)
fn marked(marks: &[String]) -> Vec<Pid> {
    let own = rustix::process::geteuid().as_raw();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let id: i32 = entry.file_name().to_str()?.parse().ok()?;
            if entry.metadata().ok()?.uid() != own {
                return None;
            }
            let has = |name: &str| {
                let bytes = fs::read(entry.path().join(name)).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes);
                marks.iter().any(|mark| text.contains(mark.as_str()))
            };
            if has("environ") || has("cmdline") { Pid::from_raw(id) } else { None }
        })
        .collect()
}

/// The path of a program, where `PATH` says.
pub(super) fn find(program: &str) -> Option<Utf8PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    let directories = path.split(':').filter(|directory| directory.starts_with('/'));
    directories.map(|directory| Utf8Path::new(directory).join(program)).find(|candidate| candidate.is_file())
}

/// `PATH` for kayobe: the programs that it calls by name are those of its own virtual environment.
fn path(program: &Utf8Path) -> String {
    let real = program.canonicalize_utf8().ok();
    let own = [Some(program), real.as_deref()].into_iter().flatten().filter_map(Utf8Path::parent);
    let mut directories: Vec<String> = own.map(ToString::to_string).collect();
    directories.dedup();
    directories.extend(env::var("PATH"));
    directories.join(":")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Runs a shell script as kayobe is run; how it ended, what it said, and what of it is left.
    async fn run(
        script: &str,
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> (Result<End>, Vec<String>, Vec<Pid>) {
        let mark = format!("DRIVETRAIN_TEST={:016x}", fastrand::u64(..));
        let (name, value) = mark.split_once('=').unwrap();
        let arguments = ["-c".to_owned(), script.to_owned()];
        let variables = [(name, Some(value.to_owned())), ("HOME", None)];
        let mut child = Child::start("/bin/sh".into(), &arguments, &variables, "/".into()).unwrap();
        let mut lines = Vec::new();
        let mut take = |line: &str| {
            lines.push(line.to_owned());
            Ok(())
        };
        let ended = child.follow(&mut take, deadline, cancel).await;
        child.end(std::slice::from_ref(&mark)).await;
        (ended, lines, marked(&[mark]))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn its_lines_come_whole_and_its_environment_is_what_was_said() {
        let cancel = CancellationToken::new();
        let (ended, lines, left) =
            run("echo one; echo two >&2; printf \"home=${HOME-none}\"; exit 7", LONG, &cancel).await;
        assert_eq!(ended.unwrap(), End::Exited(Some(7)));
        assert_eq!(lines, ["one", "two", "home=none"]);
        assert_eq!(left, []);
    }

    #[tokio::test]
    async fn what_it_left_in_the_background_is_ended_with_it() {
        let cancel = CancellationToken::new();
        // One in its group, and one that has left it, both with the pipe open.
        let (ended, _, left) = run("sleep 1000 & setsid sleep 1000 & exit 0", LONG, &cancel).await;
        assert_eq!(ended.unwrap(), End::Exited(Some(0)));
        assert_eq!(left, []);
    }

    #[tokio::test]
    async fn one_that_ignores_its_end_is_killed() {
        let cancel = CancellationToken::new();
        let script =
            "trap '' TERM; echo on; setsid sh -c 'trap \"\" TERM; sleep 1000' & while :; do sleep 0.1; done";
        let (ended, lines, left) = run(script, Duration::from_millis(500), &cancel).await;
        assert_eq!(ended.unwrap(), End::TimedOut);
        assert_eq!((lines, left), (vec!["on".to_owned()], vec![]));
    }

    #[tokio::test]
    async fn cancelled_it_gets_a_word_before_it_is_killed() {
        let cancel = CancellationToken::new();
        let file = tempfile::NamedTempFile::new().unwrap();
        let script =
            format!("trap 'echo told >{}; exit 0' TERM; while :; do sleep 0.1; done", file.path().display());
        let soon = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            cancel.cancel();
        };
        let ((ended, _, left), ()) = tokio::join!(run(&script, LONG, &cancel), soon);
        assert_eq!(ended.unwrap(), End::Cancelled);
        assert_eq!((std::fs::read_to_string(file.path()).unwrap().trim(), left), ("told", vec![]));
    }

    #[tokio::test]
    async fn it_ends_with_whoever_started_it() {
        let mark = format!("{:016x}", fastrand::u64(..));
        let arguments = ["-c".to_owned(), "sleep 1000; :".to_owned()];
        let variables = [("DRIVETRAIN_TEST", Some(mark.clone()))];
        let child = Child::start("/bin/sh".into(), &arguments, &variables, "/".into()).unwrap();
        let marks = [format!("DRIVETRAIN_TEST={mark}")];
        // Dropped as it is where a future is: nothing of ours runs any more, and its input ends.
        drop(child);
        let until = Instant::now() + LONG;
        while !marked(&marks).is_empty() {
            assert!(Instant::now() < until, "{:?}", marked(&marks));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    #[tokio::test]
    async fn a_program_that_is_none_says_so() {
        let cancel = CancellationToken::new();
        let (ended, lines, _) = run("exec /nonexistent/kayobe", LONG, &cancel).await;
        assert_eq!(ended.unwrap(), End::Exited(Some(127)));
        assert!(lines.iter().any(|line| line.contains("/nonexistent/kayobe")), "{lines:?}");
    }
}
