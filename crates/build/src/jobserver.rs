//! One pool of compile slots for all components that build at the same time.
//!
//! It is GNU make's jobserver: a pipe with as many bytes in it as there are slots. As a named pipe it reaches
//! every sandbox without handing down descriptors. Each running component holds one byte itself, for the
//! process that its make runs without asking; so the components together never run more compilers than
//! there are slots, and a slot that one of them leaves idle is taken by another.

use std::io::{self, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use tokio::net::unix::pipe::{OpenOptions, Receiver};

/// The pool.
#[derive(Debug)]
pub(crate) struct JobServer {
    path: Utf8PathBuf,
    slots: usize,
    /// How many components hold a slot, or wait for one.
    holders: Mutex<usize>,
    reader: Receiver,
    writer: fs::File,
}

/// A slot that a component holds; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    server: &'a JobServer,
    held: bool,
}

impl JobServer {
    /// Makes the pipe in a directory that jobs can enter.
    pub(crate) fn create(directory: &Utf8Path, slots: usize) -> io::Result<Self> {
        let path = directory.join("slots");
        mknodat(CWD, path.as_std_path(), FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        // After the fact, so that our umask does not count: the builds run as another user.
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        let reader = OpenOptions::new().read_write(true).open_receiver(&path)?;
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let mut writer =
            fs::OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(&path)?;
        // A pipe holds 65536 bytes; nobody has so many cores.
        let slots = slots.clamp(1, 4096);
        writer.write_all(&vec![b'+'; slots])?;
        Ok(Self { path, slots, holders: Mutex::new(0), reader, writer })
    }

    /// The pipe's directory, on the host.
    pub(crate) fn directory(&self) -> &Utf8Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Waits for a slot.
    pub(crate) async fn acquire(&self) -> io::Result<Slot<'_>> {
        let mut slot = self.queue()?;
        loop {
            self.reader.readable().await?;
            match self.reader.try_read(&mut [0]) {
                Ok(_) => {
                    slot.held = true;
                    return Ok(slot);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn queue(&self) -> io::Result<Slot<'_>> {
        let mut holders = self.holders();
        if *holders == 0 {
            // A killed make takes its slots with it. Nobody runs now, so the pool can be made whole.
            self.refill()?;
        }
        *holders += 1;
        drop(holders);
        Ok(Slot { server: self, held: false })
    }

    fn holders(&self) -> MutexGuard<'_, usize> {
        // A counter is right whatever happened to the thread that held it.
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refill(&self) -> io::Result<()> {
        loop {
            // Not through the asynchronous reader, which asks the kernel only after it was told of bytes.
            match (&self.writer).read(&mut [0; 512]) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        (&self.writer).write_all(&vec![b'+'; self.slots])
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut holders = self.server.holders();
        *holders = holders.saturating_sub(1);
        if self.held {
            // We hold both ends open, and never write more than the pipe takes: this cannot fail.
            let written = (&self.server.writer).write_all(b"+");
            debug_assert!(written.is_ok());
        }
    }
}
