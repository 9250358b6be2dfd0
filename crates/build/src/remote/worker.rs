//! The worker's side.

use std::io::Write;
use std::sync::{Arc, Mutex};

use camino::Utf8Path;
use drivetrain_host::{CancellationToken, LocalSandbox, RootFs, SandboxOptions};
use fs_err as fs;

use super::archive;
use super::protocol::Said;
use crate::{BuildRequest, Toolchain, build};

type Out = Arc<Mutex<Box<dyn Write + Send>>>;

/// Says what compiles on this machine, on `out`. `directory` is the worker's place.
pub async fn serve_probe(directory: &Utf8Path, out: Box<dyn Write + Send>) {
    let out = Arc::new(Mutex::new(out));
    let said = match probe(directory).await {
        Ok(toolchain) => Said::Tools { toolchain, version: env!("CARGO_PKG_VERSION").to_owned() },
        Err(why) => Said::Refused { why },
    };
    say(&out, &said);
}

async fn probe(directory: &Utf8Path) -> Result<Toolchain, String> {
    let host = sandbox(directory).await?;
    Toolchain::probe(&host, &RootFs::Host, &directory.join("toolchain.json"))
        .await
        .map_err(|error| chain(&error))
}

/// Builds what the file `request` asks for, and says on `out` what happens.
pub async fn serve_build(
    directory: &Utf8Path,
    request: &Utf8Path,
    out: Box<dyn Write + Send>,
    cancel: &CancellationToken,
) {
    let out = Arc::new(Mutex::new(out));
    let said = match read_and_build(directory, request, &out, cancel).await {
        Ok(said) => said,
        Err(why) => Said::Refused { why },
    };
    say(&out, &said);
}

async fn read_and_build(
    directory: &Utf8Path,
    request: &Utf8Path,
    out: &Out,
    cancel: &CancellationToken,
) -> Result<Said, String> {
    let text = fs::read(request).map_err(|error| error.to_string())?;
    let request: BuildRequest =
        serde_json::from_slice(&text).map_err(|error| format!("{request}: {error}"))?;
    let host = Arc::new(sandbox(directory).await?);
    let events = {
        let out = out.clone();
        Arc::new(move |event| say(&out, &Said::Event { event }))
    };
    let report = build(host, request, events, cancel).await.map_err(|error| chain(&error))?;
    Ok(Said::report(&report))
}

/// Unpacks what was put here, to its place.
pub fn serve_unpack(archive: &Utf8Path, place: &Utf8Path, out: Box<dyn Write + Send>) {
    let said = match archive::unpack(archive, place) {
        Ok(()) => Said::Done,
        Err(error) => Said::Refused { why: error.to_string() },
    };
    say(&Arc::new(Mutex::new(out)), &said);
}

async fn sandbox(directory: &Utf8Path) -> Result<LocalSandbox, String> {
    LocalSandbox::new(SandboxOptions::new(directory.join("sandbox"))).await.map_err(|error| chain(&error))
}

fn say(out: &Out, said: &Said) {
    let Ok(line) = said.to_line() else { return };
    let mut out = out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Where nobody listens any more, nobody needs to be told; the build ends by its own rules.
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
