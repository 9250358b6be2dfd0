//! What is still done on the machine when nobody waits for it any more.

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;

use super::connection::Connection;
use super::program::Program;
use super::session::bootstrap;

/// Programs that are run, one after the other, if this is dropped: when the future that holds it is.
///
/// From a thread, because by then there may be no runtime any more; and without waiting for it, because a drop cannot
/// wait: [`Connection::settle`] does. Should drivetrain end before they are done, the machine's own watch sees to it.
#[derive(Debug)]
pub(super) struct Farewell {
    connection: Arc<Connection>,
    programs: Vec<Program>,
}

impl Farewell {
    pub(super) fn new(connection: &Arc<Connection>, programs: Vec<Program>) -> Self {
        Self { connection: Arc::clone(connection), programs }
    }

    /// There is nothing to be done.
    pub(super) fn cancel(mut self) {
        self.programs.clear();
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // Where there never was a connection, nothing has been begun.
        if self.programs.is_empty() || !self.connection.was_made() {
            return;
        }
        let programs = std::mem::take(&mut self.programs);
        let connection = Arc::clone(&self.connection);
        let thread = thread::Builder::new().name("farewell".to_owned()).spawn(move || {
            for program in programs {
                // Whatever becomes of it, there is nobody left to tell.
                drop(run(&connection, &program));
            }
        });
        if let Ok(thread) = thread {
            self.connection.keep(thread);
        }
    }
}

fn run(connection: &Connection, program: &Program) -> std::io::Result<()> {
    let text = program.text();
    let mut command = connection.latest(&bootstrap(&text));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(text.as_bytes())?;
    }
    child.wait().map(|_| ())
}
