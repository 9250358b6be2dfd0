//! The connection that all commands for one machine share, and making it anew.

use std::process::Command;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::sync::Mutex;

use super::failure;
use super::options::SshOptions;
use super::program::Program;
use super::session::{Closed, NoSession, Session};
use super::setup::Setup;
use crate::HostError;

/// The longest wait between two attempts to connect again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a connection that is under suspicion has to answer.
const PROBE: Duration = Duration::from_secs(10);
/// How long the start of one command may take.
const BEGINNING: Duration = Duration::from_secs(60);
/// How much a program may answer.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// Why something did not happen.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The connection broke, after it had once been there; with ssh's last words.
    Lost(String),
    /// Anything else.
    Failed(HostError),
}

impl From<HostError> for Trouble {
    fn from(error: HostError) -> Self {
        Self::Failed(error)
    }
}

/// What a program answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: i32,
    pub(super) text: String,
    pub(super) said: String,
}

/// An ssh process that holds the connection, and a command at its other end that waits for the end of its input: when
/// drivetrain dies, that comes, and no connection is left behind.
#[derive(Debug)]
struct Master {
    session: Session,
    _input: Option<ChildStdin>,
    number: u64,
}

/// The connection to one machine. It is made when it is first needed, and ended when this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) setup: Setup,
    master: Mutex<Option<Master>>,
    /// A command failed: the master may be there and lead nowhere.
    suspect: AtomicBool,
    /// How many masters there have been; the last of them has this number.
    made: AtomicU64,
    /// What is still being done for futures that were dropped.
    farewells: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl Connection {
    pub(super) fn new(options: SshOptions) -> Result<Self, HostError> {
        let setup = Setup::new(options)?;
        let (suspect, made, farewells) = Default::default();
        Ok(Self { setup, master: Mutex::default(), suspect, made, farewells })
    }

    pub(super) fn name(&self) -> &str {
        &self.setup.name
    }

    pub(super) fn options(&self) -> &SshOptions {
        &self.setup.options
    }

    /// Starts a program through the shared connection, which is made where there is none.
    pub(super) async fn session(&self, program: &Program) -> Result<Session, Trouble> {
        let number = self.master().await?;
        self.through(number, program, BEGINNING).await.map_err(|trouble| match trouble {
            NoSession::Closed(closed) => self.closed(closed),
            NoSession::Failed(error) => error.into(),
        })
    }

    async fn through(&self, number: u64, program: &Program, limit: Duration) -> Result<Session, NoSession> {
        let socket = self.setup.socket(number);
        Session::open(program, |remote| self.setup.shared(&socket, remote), limit).await
    }

    /// What the end of a command means that was to go on.
    pub(super) fn closed(&self, closed: Closed) -> Trouble {
        let said = failure::summary(&closed.said);
        if closed.is_lost() {
            self.suspect.store(true, Ordering::Relaxed);
            return Trouble::Lost(said);
        }
        let action = "run a command".to_owned();
        Trouble::Failed(HostError::Remote { name: self.name().to_owned(), action, said })
    }

    /// Keeps a thread that works for a future that was dropped.
    pub(super) fn keep(&self, thread: JoinHandle<()>) {
        let mut farewells = self.farewells.lock().unwrap_or_else(PoisonError::into_inner);
        farewells.retain(|thread| !thread.is_finished());
        farewells.push(thread);
    }

    /// Waits for all of those.
    pub(super) async fn settle(&self) {
        let threads = std::mem::take(&mut *self.farewells.lock().unwrap_or_else(PoisonError::into_inner));
        let joining = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // A panic there has been reported by then.
                drop(thread.join());
            }
        });
        drop(joining.await);
    }

    /// Whether there has ever been a connection.
    pub(super) fn was_made(&self) -> bool {
        self.made.load(Ordering::Relaxed) > 0
    }

    /// A command through the last connection that there was, outside of any runtime.
    pub(super) fn latest(&self, remote: &str) -> Command {
        self.setup.shared(&self.setup.socket(self.made.load(Ordering::Relaxed)), remote)
    }

    /// The number of the master, which is there and answers.
    async fn master(&self) -> Result<u64, Trouble> {
        let mut slot = self.master.lock().await;
        if let Some(master) = slot.as_mut()
            && !master.session.has_ended()
        {
            let number = master.number;
            if !self.suspect.load(Ordering::Relaxed) || self.answers(number).await {
                self.suspect.store(false, Ordering::Relaxed);
                return Ok(number);
            }
        }
        *slot = None;
        let made = self.made.load(Ordering::Relaxed);
        match self.connect(made + 1).await {
            Ok(master) => {
                *slot = Some(master);
                self.made.store(made + 1, Ordering::Relaxed);
                self.suspect.store(false, Ordering::Relaxed);
                Ok(made + 1)
            }
            Err(HostError::Unreachable { said, .. }) if made > 0 => Err(Trouble::Lost(said)),
            Err(error) => Err(error.into()),
        }
    }

    async fn answers(&self, number: u64) -> bool {
        match self.through(number, &Program::new("exit 0"), PROBE).await {
            Ok(session) => session.end().await.code == Some(0),
            Err(_) => false,
        }
    }

    async fn connect(&self, number: u64) -> Result<Master, HostError> {
        let program = Program::new("exec cat >/dev/null");
        let socket = self.setup.socket(number);
        // What the timeout of the connection does not cover: jump hosts, keys that wait to be touched.
        let limit = self.options().connect_timeout + BEGINNING;
        match Session::open(&program, |remote| self.setup.master(&socket, remote), limit).await {
            Ok(mut session) => Ok(Master { _input: session.take_input(), session, number }),
            Err(NoSession::Closed(closed)) => Err(failure::connecting(&self.setup, &closed)),
            Err(NoSession::Failed(error)) => Err(error),
        }
    }

    /// Ends the connection: the machine is about to go away.
    pub(super) async fn disconnect(&self) {
        let master = self.master.lock().await.take();
        if let Some(master) = master {
            master.session.end_now().await;
        }
    }

    /// Runs a program to its end, once.
    pub(super) async fn call(&self, program: &Program, input: &[&[u8]]) -> Result<Answer, Trouble> {
        let mut session = self.session(program).await?;
        let stdin = session.take_input();
        let mut text = Vec::new();
        let mut output = (&mut session.output).take(LONGEST_ANSWER);
        // Where either of them fails, the end of the process says why.
        let (_, _) = tokio::join!(give(stdin, input), output.read_to_end(&mut text));
        let closed = session.end().await;
        match closed.code {
            None | Some(255) => Err(self.closed(closed)),
            Some(code) => Ok(Answer {
                code,
                text: String::from_utf8_lossy(&text).trim_end().to_owned(),
                said: failure::summary(&closed.said),
            }),
        }
    }

    /// Runs a program that may be run any number of times, until it has come to an end once.
    pub(super) async fn call_again(
        &self,
        action: &str,
        program: &Program,
        input: &[&[u8]],
    ) -> Result<Answer, HostError> {
        let mut patience = Patience::new(self, action);
        loop {
            match self.call(program, input).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => patience.bear(trouble).await?,
            }
        }
    }

    /// The same, for a program that has failed unless it exits with 0.
    pub(super) async fn ask(
        &self,
        action: &str,
        program: &Program,
        input: &[&[u8]],
    ) -> Result<String, HostError> {
        let answer = self.call_again(action, program, input).await?;
        if answer.code == 0 { Ok(answer.text) } else { Err(self.refused(action, answer.said)) }
    }

    /// The machine was asked, and did not do it.
    pub(super) fn refused(&self, action: &str, said: String) -> HostError {
        HostError::Remote { name: self.name().to_owned(), action: action.to_owned(), said }
    }
}

async fn give(stdin: Option<ChildStdin>, input: &[&[u8]]) -> std::io::Result<()> {
    if let Some(mut stdin) = stdin {
        for piece in input {
            stdin.write_all(piece).await?;
        }
        stdin.flush().await?;
    }
    Ok(())
}

/// How long something is tried again.
#[derive(Debug)]
pub(super) struct Patience<'a> {
    connection: &'a Connection,
    action: &'a str,
    since: Option<Instant>,
    pause: Duration,
}

impl<'a> Patience<'a> {
    const FIRST_PAUSE: Duration = Duration::from_millis(200);

    pub(super) fn new(connection: &'a Connection, action: &'a str) -> Self {
        Self { connection, action, since: None, pause: Self::FIRST_PAUSE }
    }

    /// It goes on: the next loss is a new one.
    pub(super) fn restore(&mut self) {
        (self.since, self.pause) = (None, Self::FIRST_PAUSE);
    }

    /// Waits before the next attempt, where the connection was lost and there is time for one.
    pub(super) async fn bear(&mut self, trouble: Trouble) -> Result<(), HostError> {
        let said = match trouble {
            Trouble::Lost(said) => said,
            Trouble::Failed(error) => return Err(error),
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        let patience = self.connection.options().patience;
        if since.elapsed() + self.pause > patience {
            let name = self.connection.name().to_owned();
            return Err(HostError::ConnectionLost { name, action: self.action.to_owned(), patience, said });
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}
