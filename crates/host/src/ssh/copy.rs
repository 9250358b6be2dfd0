//! Files to the machine and from it: whole or not at all, and what was lost on the way is not sent twice.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_model::Sha256Digest;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::process::ChildStdin;

use super::connection::{Connection, Patience, Trouble};
use super::farewell::Farewell;
use super::program::Program;
use super::session::token;
use crate::HostError;

/// One piece of a file, in memory.
const PIECE: usize = 256 * 1024;
/// How often a file that arrived with another checksum is copied from its beginning.
const COPIES: u32 = 2;

const PUT: &str = include_str!("remote/put.sh");
const PUT_STATE: &str = include_str!("remote/put-state.sh");
const GET: &str = include_str!("remote/get.sh");
const GET_STATE: &str = include_str!("remote/get-state.sh");
const REMOVE: &str = include_str!("remote/remove.sh");

/// The exit code of `put.sh` for a file that has not come whole.
const SHORT: i32 = 7;
/// The exit code of `put.sh` for one that has another checksum.
const CORRUPT: i32 = 8;

/// A path as programs there take it: never for an option.
fn argument(path: &Utf8Path) -> Result<String, HostError> {
    if path.as_str().contains('\0') || path.file_name().is_none() {
        let reason = std::io::Error::from(std::io::ErrorKind::InvalidInput);
        return Err(HostError::file("copy to or from", path)(reason));
    }
    Ok(if path.is_absolute() { path.to_string() } else { format!("./{path}") })
}

/// Copies a file to the machine.
pub(super) async fn put(
    connection: &Arc<Connection>,
    local: &Utf8Path,
    remote: &Utf8Path,
    mode: u32,
) -> Result<(), HostError> {
    let (size, sum) = blocking(local, measure).await?;
    let target = argument(remote)?;
    let part = format!("{target}.{}.part", token()?);
    let parent = Utf8Path::new(&target).parent().map_or("/", Utf8Path::as_str);
    let describe = |body: &str| {
        let program = Program::new(body).set("part", &part).set("target", &target).set("parent", parent);
        program.set("size", size).set("sum", sum).set("mode", format!("{:o}", mode & 0o7777))
    };
    let farewell = Farewell::new(connection, vec![describe(REMOVE)]);
    let put = Put { connection, local, remote, action: format!("put {local} to {remote}"), size };
    put.all(&describe(PUT), &describe(PUT_STATE)).await?;
    farewell.cancel();
    Ok(())
}

struct Put<'a> {
    connection: &'a Connection,
    local: &'a Utf8Path,
    remote: &'a Utf8Path,
    action: String,
    size: u64,
}

impl Put<'_> {
    async fn all(&self, program: &Program, state: &Program) -> Result<(), HostError> {
        let mut patience = Patience::new(self.connection, &self.action);
        let mut offset = 0;
        let mut copies = 0;
        loop {
            match self.some(program, offset).await {
                Ok(0) => return Ok(()),
                Ok(CORRUPT) => {
                    copies += 1;
                    if copies >= COPIES {
                        return Err(self.corrupt());
                    }
                    offset = 0;
                    continue;
                }
                Ok(_) => return Err(self.changed()),
                Err(trouble) => patience.bear(trouble).await?,
            }
            let arrived = self.connection.ask(&self.action, state, &[]).await?;
            if arrived == "whole" {
                return Ok(());
            }
            let arrived = arrived.parse().unwrap_or(0).min(self.size);
            if arrived > offset {
                patience.restore();
            }
            offset = arrived;
        }
    }

    /// Sends the file from this byte on; the program's exit code, where that is one of those it has a meaning for.
    async fn some(&self, program: &Program, offset: u64) -> Result<i32, Trouble> {
        let program = program.clone().set("offset", offset);
        let mut session = self.connection.session(&program).await?;
        if let Some(input) = session.take_input() {
            self.send(input, offset).await?;
        }
        let closed = session.end().await;
        match closed.code {
            Some(code @ (0 | SHORT | CORRUPT)) => Ok(code),
            None | Some(255) => Err(self.connection.closed(closed)),
            Some(_) => {
                let said = super::failure::summary(&closed.said);
                Err(self.connection.refused(&self.action, said).into())
            }
        }
    }

    async fn send(&self, mut input: ChildStdin, offset: u64) -> Result<(), HostError> {
        let read = || HostError::file("read", self.local);
        let mut file = tokio::fs::File::open(self.local).await.map_err(read())?;
        file.seek(SeekFrom::Start(offset)).await.map_err(read())?;
        let mut file = file.take(self.size - offset);
        let mut piece = vec![0; PIECE];
        loop {
            let count = file.read(&mut piece).await.map_err(read())?;
            // Where nobody takes it, the end of the session says why.
            if count == 0 || input.write_all(&piece[..count]).await.is_err() {
                return Ok(());
            }
        }
    }

    fn corrupt(&self) -> HostError {
        HostError::Corrupt { name: self.connection.name().to_owned(), path: self.remote.to_owned() }
    }

    fn changed(&self) -> HostError {
        HostError::file("read", self.local)(std::io::Error::other("it became shorter while it was copied"))
    }
}

/// Copies a file from the machine.
pub(super) async fn get(
    connection: &Connection,
    remote: &Utf8Path,
    local: &Utf8Path,
    most: u64,
) -> Result<(), HostError> {
    let get =
        Get { connection, remote, source: argument(remote)?, action: format!("get {remote} as {local}") };
    for _ in 0..COPIES {
        let (size, sum) = get.measure().await?;
        if size > most {
            let why = format!("{remote} is said to be of {size} bytes, and no more than {most} are taken");
            return Err(connection.refused(&get.action, why));
        }
        let (temporary, received) = get.all(beside(local)?, size).await?;
        if received == sum {
            temporary.persist(local).map_err(|error| HostError::file("write", local)(error.error))?;
            return Ok(());
        }
    }
    Err(HostError::Corrupt { name: connection.name().to_owned(), path: remote.to_owned() })
}

struct Get<'a> {
    connection: &'a Connection,
    remote: &'a Utf8Path,
    source: String,
    action: String,
}

impl Get<'_> {
    async fn measure(&self) -> Result<(u64, Sha256Digest), HostError> {
        let program = Program::new(GET_STATE).set("source", &self.source);
        let text = self.connection.ask(&self.action, &program, &[]).await?;
        let parsed = text
            .split_once(' ')
            .and_then(|(size, sum)| Some((size.parse().ok()?, Sha256Digest::parse(sum).ok()?)));
        parsed.ok_or_else(|| self.connection.refused(&self.action, format!("it said {text:?}")))
    }

    /// Receives as many bytes, however many connections that takes.
    async fn all(&self, file: NamedTempFile, size: u64) -> Result<(NamedTempFile, Sha256Digest), HostError> {
        let mut patience = Patience::new(self.connection, &self.action);
        let mut receiver = Receiver { file, hasher: Sha256::new(), received: 0, size };
        while receiver.received < size {
            let before = receiver.received;
            let outcome = self.some(&mut receiver).await;
            if receiver.received > before {
                patience.restore();
            }
            match outcome {
                Ok(()) if receiver.received < size => return Err(self.shorter()),
                Ok(()) => {}
                Err(trouble) => patience.bear(trouble).await?,
            }
        }
        Ok((receiver.file, Sha256Digest::from_bytes(receiver.hasher.finalize().into())))
    }

    async fn some(&self, receiver: &mut Receiver) -> Result<(), Trouble> {
        let program = Program::new(GET).set("source", &self.source).set("from", receiver.received + 1);
        let mut session = self.connection.session(&program).await?;
        let mut piece = vec![0; PIECE];
        while receiver.received < receiver.size {
            match session.output.read(&mut piece).await {
                Ok(count @ 1..) => receiver.take(&piece[..count])?,
                _ => break,
            }
        }
        if receiver.received == receiver.size {
            return Ok(());
        }
        let closed = session.end().await;
        if closed.code == Some(0) { Ok(()) } else { Err(self.connection.closed(closed)) }
    }

    fn shorter(&self) -> HostError {
        let said = format!("{} became shorter while it was copied", self.remote);
        self.connection.refused(&self.action, said)
    }
}

struct Receiver {
    file: NamedTempFile,
    hasher: Sha256,
    received: u64,
    size: u64,
}

impl Receiver {
    fn take(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        // Whoever appends to the file at this moment adds nothing to what is copied.
        let room = usize::try_from(self.size - self.received).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room)];
        self.hasher.update(bytes);
        self.received += bytes.len() as u64;
        let path = Utf8PathBuf::from(self.file.path().to_string_lossy().into_owned());
        self.file.write_all(bytes).map_err(HostError::file("write", path))
    }
}

/// A file beside the target, with the permissions that a new file has.
fn beside(local: &Utf8Path) -> Result<NamedTempFile, HostError> {
    let parent = local.parent().filter(|parent| !parent.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    tempfile::Builder::new()
        .prefix(".drivetrain-")
        .suffix(".part")
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(parent)
        .map_err(HostError::file("make a file in", parent))
}

/// The size and the checksum of a file.
fn measure(path: &Utf8Path) -> Result<(u64, Sha256Digest), HostError> {
    let read = || HostError::file("read", path);
    let mut file = fs_err::File::open(path).map_err(read())?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece).map_err(read())? {
            0 => break,
            count => hasher.update(&piece[..count]),
        }
    }
    let size = file.stream_position().map_err(read())?;
    Ok((size, Sha256Digest::from_bytes(hasher.finalize().into())))
}

async fn blocking<T: Send + 'static>(
    path: &Utf8Path,
    work: fn(&Utf8Path) -> Result<T, HostError>,
) -> Result<T, HostError> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || work(&path))
        .await
        .map_err(|error| HostError::process("the copying")(std::io::Error::other(error)))?
}
