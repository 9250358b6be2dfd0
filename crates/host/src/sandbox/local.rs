//! The host that drivetrain itself runs on.

use std::process::Stdio;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::install::{INSIDE, InstallJob};
use super::spec::SandboxSpec;
use super::{BUILD_ID, arguments, etc, probe, tools};
use crate::HostError;
use crate::fs::{give, open_regular, remove_tree, set_mode};
use crate::job::{BoxFuture, Ending, Finished, Host, Job, LineSink};
use crate::log::Log;
use crate::output::{pump, sleep};
use crate::spawn::{Group, spawn};

/// Whose output it is that cannot be read.
const OF: &str = "the sandbox";
/// How long to wait for a killed tree to be gone. Only a process stuck in the kernel takes longer.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// What a site may choose of the sandbox.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// A directory for the sandbox's own small files, writable for drivetrain.
    pub state: Utf8PathBuf,
    /// The user and group id that jobs have on the host when drivetrain runs as root.
    pub build_id: u32,
}

impl SandboxOptions {
    /// The defaults, with this state directory.
    #[must_use]
    pub fn new(state: impl Into<Utf8PathBuf>) -> Self {
        Self { state: state.into(), build_id: BUILD_ID }
    }
}

/// Runs jobs in bubblewrap on this host.
///
/// Run by root, bubblewrap sets the mounts up with root's rights, so that inputs may lie below a directory
/// that only root can enter, and `setpriv` then gives up user, groups and every capability before the job's
/// first instruction. Run by a user, all happens in a user namespace.
#[derive(Debug)]
pub struct LocalSandbox {
    setsid: Utf8PathBuf,
    bwrap: Utf8PathBuf,
    etc: Vec<(&'static str, Utf8PathBuf)>,
    /// The id to give up root for; absent for an ordinary user.
    drop_to: Option<u32>,
}

impl LocalSandbox {
    /// Finds the tools, and runs an empty sandbox to see whether the kernel permits it.
    pub async fn new(options: SandboxOptions) -> Result<Self, HostError> {
        let setsid = tools::find("setsid", "util-linux")?;
        let bwrap = tools::find("bwrap", "bubblewrap")?;
        let privileged = rustix::process::geteuid().is_root();
        if privileged {
            tools::find("setpriv", "util-linux")?;
        }
        let etc = etc::write(&options.state.join("etc"))?;
        let sandbox = Self { setsid, bwrap, etc, drop_to: privileged.then_some(options.build_id) };
        let job = Job {
            sandbox: SandboxSpec::default(),
            program: "true".to_owned(),
            arguments: Vec::new(),
            directory: "/".into(),
            log: None,
            append: false,
            deadline: Some(Duration::from_secs(30)),
        };
        let mut said = String::new();
        let mut sink = |line: &str| {
            said.push_str(line);
            said.push('\n');
        };
        match sandbox.run(&job, &mut sink, &CancellationToken::new()).await {
            Ok(finished) if finished.ending.is_success() => Ok(sandbox),
            Ok(_) => Err(probe::forbidden(&said, privileged)),
            Err(HostError::Sandbox { message }) => Err(probe::forbidden(&message, privileged)),
            Err(error) => Err(error),
        }
    }

    /// Bubblewrap in a session of its own, without a terminal that a job could type at or that could send it Ctrl-C:
    /// drivetrain tells jobs in its own way and order. Not bubblewrap's `--new-session`: that is begun half-way through,
    /// when the process that begins it has not yet asked to be killed with its parent and can no more be reached through
    /// its group.
    fn bubblewrap(&self) -> Command {
        let mut command = Command::new(&self.setsid);
        command.arg(&self.bwrap);
        // Cleared for bubblewrap itself as well: a job can read what its parent was started with.
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null());
        command
    }

    fn command(&self, job: &Job) -> Command {
        let mut command = self.bubblewrap();
        command.args(arguments::isolation(self.drop_to.is_none()));
        command.args(arguments::arguments(&job.sandbox, &self.etc));
        command.args(["--chdir", job.directory.as_str(), "--"]);
        command.args(arguments::prelude(&job.sandbox, self.drop_to));
        command.arg(&job.program).args(&job.arguments);
        command
    }

    /// Installs RPMs into an empty directory with this host's `rpm`, which runs their scripts in there.
    ///
    /// Their scripts run as root, as they do wherever packages are installed, but see no more than the directory, have no
    /// network and cannot get out: nothing of the host can be written to, and the rights that would change the machine
    /// itself (mounts, modules, devices, other processes) are given up.
    ///
    /// # Errors
    /// Where drivetrain does not run as root or there is no `rpm`. That `rpm` fails is an
    /// [`Ending`]; what it said went to the sink and the log.
    pub async fn install(
        &self,
        install: &InstallJob,
        sink: &mut dyn LineSink,
        cancel: &CancellationToken,
    ) -> Result<Finished, HostError> {
        if self.drop_to.is_none() {
            return Err(HostError::NotRoot { doing: "installing packages into a root" });
        }
        let rpm = tools::find("rpm", "rpm")?;
        let spec = install.sandbox();
        let mut command = self.bubblewrap();
        command.args(arguments::installer_isolation());
        command.args(arguments::arguments(&spec, &self.etc));
        // Behind the root itself, which they are mounted into.
        for (option, name) in [("--proc", "proc"), ("--dev", "dev")] {
            command.args([option, &format!("{INSIDE}/{name}")]);
        }
        command.args(["--chdir", "/", "--"]);
        command.args(arguments::prelude(&spec, None));
        command.arg(rpm).args(install.arguments());
        let terms = Terms { log: Some(&install.log), append: false, deadline: install.deadline };
        self.execute(command, &terms, sink, cancel).await
    }

    async fn execute(
        &self,
        mut command: Command,
        terms: &Terms<'_>,
        sink: &mut dyn LineSink,
        cancel: &CancellationToken,
    ) -> Result<Finished, HostError> {
        let started = Instant::now();
        let mut log = terms.log.map(|path| Log::open(path, terms.append)).transpose()?;
        let process = || HostError::process(self.bwrap.as_str());
        // One pipe for both streams: their order is the order in which they were written.
        let (reader, writer) = std::io::pipe().map_err(process())?;
        command.stdout(writer.try_clone().map_err(process())?).stderr(writer);
        let mut output = Receiver::from_owned_fd(reader.into()).map_err(process())?;
        if cancel.is_cancelled() {
            return Ok(Finished { ending: Ending::Cancelled, elapsed: started.elapsed() });
        }
        let mut child = spawn(command).await.map_err(process())?;

        let mut refusal = Refusal::default();
        let mut look = |bytes: &[u8]| refusal.look_at(bytes);
        let pumping = pump(OF, &mut output, &mut log, sink, &mut look);
        let ending = tokio::select! {
            result = pumping => {
                // Nobody holds the pipe any more: all of the tree has ended, or will write nothing further.
                result?;
                None
            }
            () = cancel.cancelled() => Some(Ending::Cancelled),
            () = sleep(terms.deadline) => Some(Ending::TimedOut),
        };
        let ending = match ending {
            None => self.wait(&mut child, terms, started, cancel).await?,
            Some(ending) => {
                // With bubblewrap go all processes of the job's namespace: the kernel kills them with its first, which
                // has asked to be killed with bubblewrap.
                child.kill().await.map_err(process())?;
                // The tree is gone when the last holder of the pipe is.
                let mut look = |_: &[u8]| {};
                let rest = pump(OF, &mut output, &mut log, sink, &mut look);
                tokio::time::timeout(KILL_PATIENCE, rest).await.unwrap_or(Ok(()))?;
                ending
            }
        };
        if let (Ending::Exited(1), Some(message)) = (ending, refusal.message()) {
            return Err(HostError::Sandbox { message });
        }
        Ok(Finished { ending, elapsed: started.elapsed() })
    }

    /// Waits for a job whose output has ended: it may have closed its output and still run.
    async fn wait(
        &self,
        child: &mut Group,
        terms: &Terms<'_>,
        started: Instant,
        cancel: &CancellationToken,
    ) -> Result<Ending, HostError> {
        let process = || HostError::process(self.bwrap.as_str());
        let left = terms.deadline.map(|deadline| deadline.saturating_sub(started.elapsed()));
        let ending = tokio::select! {
            status = child.wait() => {
                let status = status.map_err(process())?;
                return Ok(status.code().map_or(Ending::Killed, Ending::Exited));
            }
            () = cancel.cancelled() => Ending::Cancelled,
            () = sleep(left) => Ending::TimedOut,
        };
        child.kill().await.map_err(process())?;
        Ok(ending)
    }
}

/// What of a job the watching of its process depends on.
struct Terms<'a> {
    log: Option<&'a Utf8Path>,
    append: bool,
    deadline: Option<Duration>,
}

/// Bubblewrap's own complaint, where one line of it is all that was ever said.
///
/// It writes the line in pieces, which on a busy machine arrive one by one.
#[derive(Default)]
struct Refusal {
    said: Vec<u8>,
}

impl Refusal {
    /// More than the longest path in a message.
    const LONGEST: usize = 8 * 1024;

    fn look_at(&mut self, bytes: &[u8]) {
        let room = Self::LONGEST.saturating_sub(self.said.len());
        self.said.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn message(&self) -> Option<String> {
        let message = self.said.strip_prefix(b"bwrap: ")?.strip_suffix(b"\n")?;
        let one_line = !message.contains(&b'\n');
        one_line.then(|| String::from_utf8_lossy(message).trim_end().to_owned())
    }
}

/// Copies a file that a job may have made, or may have put something else in the place of.
async fn copy(source: &Utf8Path, target: &Utf8Path) -> Result<(), HostError> {
    let (source, target) = (source.to_owned(), target.to_owned());
    tokio::task::spawn_blocking(move || {
        let mut reader = open_regular(&source).map_err(HostError::file("read", &source))?;
        let mut writer = fs::File::create(&target).map_err(HostError::file("write", &target))?;
        std::io::copy(&mut reader, &mut writer).map_err(HostError::file("write", &target))?;
        Ok(())
    })
    .await
    .map_err(|error| HostError::process("the copying")(std::io::Error::other(error)))?
}

impl Host for LocalSandbox {
    fn name(&self) -> &str {
        "this host"
    }

    fn run<'a>(
        &'a self,
        job: &'a Job,
        sink: &'a mut dyn LineSink,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Finished, HostError>> {
        Box::pin(async move {
            let terms = Terms { log: job.log.as_deref(), append: job.append, deadline: job.deadline };
            self.execute(self.command(job), &terms, sink, cancel).await
        })
    }

    fn create_work_directory<'a>(&'a self, path: &'a Utf8Path) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move {
            fs::create_dir_all(path).map_err(HostError::file("create", path))?;
            give(path, self.drop_to)
        })
    }

    fn remove_directory<'a>(&'a self, path: &'a Utf8Path) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move {
            let path = path.to_owned();
            tokio::task::spawn_blocking(move || remove_tree(&path))
                .await
                .map_err(|error| HostError::process("the removal")(std::io::Error::other(error)))?
        })
    }

    fn put<'a>(&'a self, local: &'a Utf8Path, remote: &'a Utf8Path) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move {
            copy(local, remote).await?;
            set_mode(remote, 0o644)
        })
    }

    fn get<'a>(&'a self, remote: &'a Utf8Path, local: &'a Utf8Path) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(copy(remote, local))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(chunks: &[&[u8]]) -> Option<String> {
        let mut refusal = Refusal::default();
        chunks.iter().for_each(|chunk| refusal.look_at(chunk));
        refusal.message()
    }

    #[test]
    fn a_refusal_is_known_however_its_bytes_arrive() {
        assert_eq!(message(&[b"bwrap: ", b"no", b": why\n"]).as_deref(), Some("no: why"));
        assert_eq!(message(&[b"bwrap: no\n"]).as_deref(), Some("no"));
        assert_eq!(message(&[b"bwrap: no\n", b"and more\n"]), None);
        assert_eq!(message(&[b"first\n", b"bwrap: no\n"]), None);
        assert_eq!(message(&[]), None);
    }
}
