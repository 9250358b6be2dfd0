//! A script on the system that drivetrain itself runs on, as it is: nothing is hidden from it, and what it changes stays
//! changed. Its mounts and its processes are its own, so that neither outlives it.

use std::collections::BTreeMap;
use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::log::Log;
use crate::output::{pump, sleep};
use crate::spawn::spawn;
use crate::{Ending, Finished, HostError, LineSink};

/// Whose output it is that cannot be read.
const OF: &str = "a script";
/// How long the last of the output may take once all is killed.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// A script for `/bin/sh -eu`, run as root.
#[derive(Debug, Clone, Default)]
pub struct SystemScript {
    /// The script.
    pub text: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// All variables that it has; `PATH` beside them.
    pub environment: BTreeMap<String, String>,
    /// The file that gets the output as it is.
    pub log: Option<Utf8PathBuf>,
    /// After this time all of it is killed.
    pub deadline: Option<Duration>,
}

impl SystemScript {
    /// Runs it to its end. Cancelling the token, dropping the future and the death of drivetrain itself all kill every
    /// process that it started: they are in a PID namespace, whose first process is killed with the one that waits here.
    ///
    /// # Errors
    /// Where drivetrain does not run as root, a tool is missing, or the log cannot be written.
    pub async fn run(
        &self,
        sink: &mut dyn LineSink,
        cancel: &CancellationToken,
    ) -> Result<Finished, HostError> {
        if !rustix::process::geteuid().is_root() {
            return Err(HostError::NotRoot { doing: "installing packages into the system" });
        }
        let started = Instant::now();
        let process = || HostError::process("unshare");
        let mut log = self.log.as_deref().map(|path| Log::open(path, false)).transpose()?;
        let (reader, writer) = io::pipe().map_err(process())?;
        let mut command = self.command();
        command.stdout(writer.try_clone().map_err(process())?).stderr(writer);
        let mut output = Receiver::from_owned_fd(reader.into()).map_err(process())?;
        if cancel.is_cancelled() {
            return Ok(Finished { ending: Ending::Cancelled, elapsed: started.elapsed() });
        }
        let mut child = spawn(command).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => HostError::MissingTool { tool: "setpriv", package: "util-linux" },
            _ => process()(error),
        })?;
        let finishing = async {
            pump(OF, &mut output, &mut log, sink, &mut |_| {}).await?;
            let status = child.wait().await.map_err(process())?;
            Ok(status.code().map_or(Ending::Killed, Ending::Exited))
        };
        let ended = tokio::select! {
            ended = finishing => return ended.map(|ending| Finished { ending, elapsed: started.elapsed() }),
            () = cancel.cancelled() => Ending::Cancelled,
            () = sleep(self.deadline) => Ending::TimedOut,
        };
        child.kill().await.map_err(process())?;
        // The tree is gone when the last holder of the pipe is.
        let mut look = |_: &[u8]| {};
        let rest = pump(OF, &mut output, &mut log, sink, &mut look);
        tokio::time::timeout(KILL_PATIENCE, rest).await.unwrap_or(Ok(()))?;
        Ok(Finished { ending: ended, elapsed: started.elapsed() })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "--ipc",
            "--pid",
        ]);
        command.args([
            "--mount-proc",
            "--fork",
            "--kill-child=KILL",
            "--",
            "/bin/sh",
            "-euc",
            &self.text,
            "drivetrain",
        ]);
        command.args(&self.arguments);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(&self.environment);
        command.stdin(Stdio::null()).current_dir("/").process_group(0);
        command
    }
}
