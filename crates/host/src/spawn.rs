//! Starts processes from a thread that never ends.
//!
//! "Die with the parent" is a signal that the kernel sends when the *thread* that forked ends, not the
//! process. Started from a thread of an asynchronous runtime's pool, which retires idle threads, a build
//! would be killed at random. So one thread, which lives as long as the process, starts them all.

use std::io;
use std::process::ExitStatus;
use std::sync::{OnceLock, mpsc};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

struct Request {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Group>>,
}

/// A process that becomes the leader of a group of its own. The whole group is killed when this is dropped.
///
/// Bubblewrap's first process alone is not enough: killed while it sets the namespaces up, it leaves one behind that
/// waits for its word for ever, and has not yet asked the kernel to be killed with it.
#[derive(Debug)]
pub(crate) struct Group(Child);

impl Group {
    /// Waits for the leader's end.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }

    /// Whether the leader has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Our ends of the leader's input, output and error output, where they are pipes; once.
    pub(crate) fn take_pipes(&mut self) -> (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>) {
        (self.0.stdin.take(), self.0.stdout.take(), self.0.stderr.take())
    }

    /// Kills the group, and waits for the leader's end.
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        self.signal();
        self.0.kill().await
    }

    fn signal(&self) {
        // It has a number until it has been waited for, and until then nobody else gets that.
        let leader = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(leader) = leader {
            // There is none where the leader has ended, or has not yet begun one: then it is alone, and is killed alone.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal();
    }
}

/// Starts a command that begins a group of its own.
pub(crate) async fn spawn(mut command: Command) -> io::Result<Group> {
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    // After the group: kills a leader that has not yet begun one, and has the runtime wait for it.
    command.kill_on_drop(true);
    let (reply, answer) = oneshot::channel();
    let request = Request { command, runtime: Handle::current(), reply };
    let gone = || io::Error::other("the thread that starts processes is gone");
    SPAWNER.get_or_init(start).send(request).map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

fn start() -> mpsc::Sender<Request> {
    let (sender, receiver) = mpsc::channel::<Request>();
    // Where the thread cannot be made, the receiver is dropped, and every later call says so.
    let thread = thread::Builder::new().name("spawner".to_owned()).spawn(move || {
        for Request { mut command, runtime, reply } in receiver {
            let _guard = runtime.enter();
            let child = command.spawn().map(Group);
            // The command keeps our end of the output pipe open until it is dropped.
            drop(command);
            // Where nobody waits any more, the child is dropped here, and so killed.
            drop(reply.send(child));
        }
    });
    drop(thread);
    sender
}
