//! Starts processes from a thread that never ends.
//!
//! "Die with the parent" is a signal that the kernel sends when the *thread* that forked ends, not the
//! process. Started from a thread of an asynchronous runtime's pool, which retires idle threads, a build
//! would be killed at random. So one thread, which lives as long as the process, starts them all.

use std::io;
use std::sync::{OnceLock, mpsc};
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

struct Request {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// Starts a command. The child is killed when it is dropped.
pub(crate) async fn spawn(mut command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
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
            let child = command.spawn();
            // The command keeps our end of the output pipe open until it is dropped.
            drop(command);
            // Where nobody waits any more, the child is dropped here, and so killed.
            drop(reply.send(child));
        }
    });
    drop(thread);
    sender
}
