//! A script on the machine: started apart from the connection, followed, and killed for good.
//!
//! A script runs in a session of its own under a supervisor, its output goes to a file there, and a connection only
//! reads that file. A connection that breaks thus costs nothing: the next one reads on from the same byte. The
//! supervisor watches for signs of life that come with each reader, and kills the script when there were none for
//! long.
//!
//! Killing is a command of its own. A server that is logged in to as root does not pass signals on, and the end of a
//! connection ends nothing. Every process of the script has a variable in its environment that says so; with those go
//! the processes of its session and all descendants.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Patience, Trouble};
use super::farewell::Farewell;
use super::program::Program;
use super::quote::{is_name, quote};
use super::session::{Session, token};
use crate::lines::LineSplitter;
use crate::log::Log;
use crate::output::sleep;
use crate::{Ending, Finished, HostError, LineSink, Script};

/// How long killing may take, with a connection that has to be made again.
const KILL_PATIENCE: Duration = Duration::from_secs(40);
/// How long the last of the output may take, once all is killed.
const REST_PATIENCE: Duration = Duration::from_secs(10);
/// A script that has written more than this on the machine is killed.
const MOST_OUTPUT: u64 = 2 << 30;

/// Runs a script to its end.
pub(super) async fn run(
    connection: &Arc<Connection>,
    script: &Script,
    sink: &mut dyn LineSink,
    cancel: &CancellationToken,
) -> Result<Finished, HostError> {
    let started = Instant::now();
    let log = script.log.as_deref().map(|path| Log::open(path, script.append)).transpose()?;
    let mut output = Output { log, lines: LineSplitter::default(), sink, received: 0 };
    let job = Job { connection: connection.as_ref(), id: token()? };
    let environment = environment(script)?;
    if cancel.is_cancelled() {
        return Ok(Finished { ending: Ending::Cancelled, elapsed: started.elapsed() });
    }
    let farewell = Farewell::new(connection, vec![job.kill_program(), job.program(FORGET)]);
    let work = async {
        job.start(&environment, &script.text).await?;
        job.follow(&mut output).await
    };
    let ending = tokio::select! {
        ending = work => ending?,
        () = cancel.cancelled() => job.kill(&mut output, Ending::Cancelled).await?,
        () = sleep(script.deadline) => job.kill(&mut output, Ending::TimedOut).await?,
    };
    output.lines.finish(output.sink);
    farewell.cancel();
    Ok(Finished { ending, elapsed: started.elapsed() })
}

const START: &str = include_str!("remote/start.sh");
const SUPERVISE: &str = include_str!("remote/supervise.sh");
const FOLLOW: &str = include_str!("remote/follow.sh");
const ENDED: &str = include_str!("remote/ended.sh");
const KILL: &str = include_str!("remote/kill.sh");
const REST: &str = include_str!("remote/rest.sh");
const FORGET: &str = include_str!("remote/forget.sh");

/// The script's variables, as lines for a shell. Without a language among them, it is English in UTF-8.
fn environment(script: &Script) -> Result<String, HostError> {
    let mut text = "unset LC_ALL\n".to_owned();
    let language = |name: &String| name == "LANG" || name.starts_with("LC_");
    if !script.environment.keys().any(language) {
        text.push_str("export LC_ALL=C.UTF-8\n");
    }
    for (name, value) in &script.environment {
        if !is_name(name) || value.contains('\0') {
            return Err(HostError::Variable { variable: name.clone() });
        }
        // Writing to a string does not fail.
        let _ = writeln!(text, "export {name}={}", quote(value));
    }
    Ok(text)
}

/// Where the output goes here.
struct Output<'a> {
    log: Option<Log>,
    lines: LineSplitter,
    sink: &'a mut dyn LineSink,
    received: u64,
}

impl Output<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        self.received += bytes.len() as u64;
        if let Some(log) = &mut self.log {
            log.write(bytes)?;
        }
        self.lines.push(bytes, self.sink);
        Ok(())
    }
}

/// How a script stands.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Running,
    Ended { code: i32, size: u64 },
    Unsupervised,
    Rebooted,
    Absent,
}

impl Standing {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        match words.next()? {
            "running" => Some(Self::Running),
            "unsupervised" => Some(Self::Unsupervised),
            "rebooted" => Some(Self::Rebooted),
            "absent" => Some(Self::Absent),
            "ended" => {
                Some(Self::Ended { code: words.next()?.parse().ok()?, size: words.next()?.parse().ok()? })
            }
            _ => None,
        }
    }
}

/// One script, on its machine.
struct Job<'a> {
    connection: &'a Connection,
    id: String,
}

impl Job<'_> {
    fn program(&self, body: &str) -> Program {
        Program::with_tree(body).set("id", &self.id)
    }

    fn kill_program(&self) -> Program {
        self.program(KILL)
    }

    /// The supervisor, with its clock: it counts silent turns, so that nobody who sets the machine's time ends a script.
    fn supervisor(&self) -> String {
        let silence = self.connection.options().abandon_after;
        let turn = (silence / 20).clamp(Duration::from_millis(100), Duration::from_secs(5));
        let turns = silence.as_millis() / turn.as_millis().max(1);
        self.program(SUPERVISE)
            .set("tick", turn.as_secs_f64())
            .set("ticks", turns.max(1))
            .set("most", MOST_OUTPUT)
            .text()
    }

    async fn start(&self, environment: &str, script: &str) -> Result<(), HostError> {
        let action = "start a script";
        let supervisor = self.supervisor();
        let program = self
            .program(START)
            .set("environment_size", environment.len())
            .set("script_size", script.len())
            .set("supervise_size", supervisor.len());
        let input = [environment.as_bytes(), script.as_bytes(), supervisor.as_bytes()];
        let first = Instant::now();
        let mut patience = Patience::new(self.connection, action);
        loop {
            match self.connection.call(&program, &input).await {
                Ok(answer) if answer.code == 0 => return Ok(()),
                Ok(answer) => return Err(self.connection.refused(action, answer.said)),
                Err(trouble) => patience.bear(trouble).await?,
            }
            // By now the machine may have run it, given it up and forgotten it: it would run again.
            if first.elapsed() > self.connection.options().abandon_after {
                return Err(self.abandoned());
            }
        }
    }

    /// Hands the output on until the script has ended and all of it is there.
    async fn follow(&self, output: &mut Output<'_>) -> Result<Ending, HostError> {
        let mut patience = Patience::new(self.connection, "follow a script");
        loop {
            match self.read(output, FOLLOW, &mut patience).await {
                Ok(()) => {}
                Err(trouble) => {
                    patience.bear(trouble).await?;
                    continue;
                }
            }
            match self.standing().await? {
                Standing::Running => {}
                Standing::Ended { size, .. } if output.received < size => {}
                Standing::Ended { code, .. } => {
                    self.forget().await;
                    return Ok(Ending::Exited(code));
                }
                Standing::Unsupervised => {
                    self.clean_up().await?;
                    return Ok(Ending::Killed);
                }
                Standing::Rebooted => {
                    self.forget().await;
                    return Err(HostError::Rebooted { name: self.connection.name().to_owned() });
                }
                Standing::Absent => return Err(self.abandoned()),
            }
        }
    }

    /// Reads the output from where it was, for as long as the program writes it.
    async fn read(
        &self,
        output: &mut Output<'_>,
        body: &str,
        patience: &mut Patience<'_>,
    ) -> Result<(), Trouble> {
        let program = self.program(body).set("from", output.received + 1);
        let mut session = self.connection.session(&program).await?;
        patience.restore();
        let mut beats = JoinSet::new();
        if let Some(input) = session.take_input() {
            beats.spawn(beat(input, self.connection.options().abandon_after));
        }
        pour(&mut session, output).await?;
        beats.shutdown().await;
        let closed = session.end().await;
        if closed.code == Some(0) { Ok(()) } else { Err(self.connection.closed(closed)) }
    }

    async fn standing(&self) -> Result<Standing, HostError> {
        let action = "ask after a script";
        let text = self.connection.ask(action, &self.program(ENDED), &[]).await?;
        Standing::parse(&text).ok_or_else(|| self.connection.refused(action, format!("it said {text:?}")))
    }

    fn abandoned(&self) -> HostError {
        let after = self.connection.options().abandon_after;
        HostError::Abandoned { name: self.connection.name().to_owned(), after }
    }

    /// Kills the whole tree, and hands on what it had written by then.
    async fn kill(&self, output: &mut Output<'_>, ending: Ending) -> Result<Ending, HostError> {
        let begun = self.kill_tree().await?;
        if begun {
            let mut patience = Patience::new(self.connection, "read what is left of a script's output");
            // It is killed: output that cannot be had any more is no reason to fail.
            let rest = self.read(output, REST, &mut patience);
            drop(tokio::time::timeout(REST_PATIENCE, rest).await);
            self.forget().await;
        }
        Ok(ending)
    }

    /// Kills the whole tree; whether there was one.
    async fn kill_tree(&self) -> Result<bool, HostError> {
        let program = self.kill_program();
        let killing = self.connection.call_again("kill a script", &program, &[]);
        let answer = match tokio::time::timeout(KILL_PATIENCE, killing).await {
            Ok(answer) => answer?,
            Err(_) => return Err(self.not_killed("it did not answer in time".to_owned())),
        };
        if answer.code == 0 { Ok(answer.text == "yes") } else { Err(self.not_killed(answer.said)) }
    }

    fn not_killed(&self, said: String) -> HostError {
        let after = self.connection.options().abandon_after;
        HostError::NotKilled { name: self.connection.name().to_owned(), said, after }
    }

    /// A script without a supervisor: nobody knows how it ends, so it is ended.
    async fn clean_up(&self) -> Result<(), HostError> {
        self.kill_tree().await?;
        self.forget().await;
        Ok(())
    }

    /// Removes what is left of it on the machine. Where that fails, the supervisor does it, or the next script.
    async fn forget(&self) {
        let program = self.program(FORGET);
        let forgetting = self.connection.call(&program, &[]);
        drop(tokio::time::timeout(REST_PATIENCE, forgetting).await);
    }
}

/// Hands on what comes, until it ends: because the script has, or because the connection has.
async fn pour(session: &mut Session, output: &mut Output<'_>) -> Result<(), HostError> {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = session.output.read(&mut buffer).await {
        output.take(&buffer[..count])?;
    }
    Ok(())
}

/// Gives a sign of life every few seconds, for as long as somebody listens.
async fn beat(mut input: ChildStdin, silence: Duration) {
    let pause = (silence / 6).min(Duration::from_secs(5));
    loop {
        tokio::time::sleep(pause).await;
        if input.write_all(b"\n").await.is_err() || input.flush().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_says_of_a_script_is_understood() {
        assert_eq!(Standing::parse("ended 3 1024"), Some(Standing::Ended { code: 3, size: 1024 }));
        assert_eq!(Standing::parse("absent"), Some(Standing::Absent));
        assert_eq!(Standing::parse("ended 3"), None);
        assert_eq!(Standing::parse(""), None);
    }

    #[test]
    fn variables_become_lines_for_a_shell() {
        let mut script = Script::new("true");
        script.environment.insert("NAME".to_owned(), "it's".to_owned());
        assert_eq!(
            environment(&script).unwrap(),
            "unset LC_ALL\nexport LC_ALL=C.UTF-8\nexport NAME='it'\\''s'\n"
        );
        script.environment.insert("LANG".to_owned(), "de".to_owned());
        assert!(!environment(&script).unwrap().contains("export LC_ALL"));
        script.environment.insert("A B".to_owned(), String::new());
        let error = environment(&script).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the variable \"A B\" cannot be given to a script: its name is not one that a shell knows, or its value \
             holds a zero byte"
        );
    }
}
