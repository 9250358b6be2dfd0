//! The worker's side.

use std::io::Write;
use std::sync::{Arc, Mutex};

use camino::Utf8Path;
use drivetrain_host::{CancellationToken, LocalSandbox, RootFs, SandboxOptions};
use drivetrain_model::Event;
use fs_err as fs;

use super::archive;
use super::protocol::Said;
use crate::{BuildError, BuildRequest, Toolchain, build, vendor};

type Out = Arc<Mutex<Box<dyn Write + Send>>>;

/// Says what compiles on this machine, on `out`. `directory` is the worker's place.
pub async fn serve_probe(directory: &Utf8Path, out: Box<dyn Write + Send>) {
    let out = Arc::new(Mutex::new(out));
    let said = match probe(directory).await {
        Ok(toolchain) => Said::Tools { toolchain, version: env!("CARGO_PKG_VERSION").to_owned() },
        Err(why) => Said::refused(why),
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
    let said = read_and_build(directory, request, &out, cancel).await.unwrap_or_else(|refused| refused);
    say(&out, &said);
}

async fn read_and_build(
    directory: &Utf8Path,
    request: &Utf8Path,
    out: &Out,
    cancel: &CancellationToken,
) -> Result<Said, Said> {
    let text = fs::read(request).map_err(|error| Said::refused(error.to_string()))?;
    let request: BuildRequest =
        serde_json::from_slice(&text).map_err(|error| Said::refused(format!("{request}: {error}")))?;
    let events: Arc<dyn Fn(Event) + Send + Sync> = {
        let out = out.clone();
        Arc::new(move |event| say(&out, &Said::Event { event }))
    };
    let report = if let Some(tool) = &request.vendor_tool {
        let out = out.clone();
        let output = Arc::new(move |line: &str| say(&out, &Said::Output { line: line.to_owned() }));
        vendor::build(&request, tool, events, output, cancel).await
    } else {
        let host = Arc::new(sandbox(directory).await.map_err(Said::refused)?);
        build(host, request, None, events, cancel).await
    };
    report.map(|report| Said::report(&report)).map_err(|error| match &error {
        BuildError::VendorTool { what, next } => {
            Said::Refused { why: what.clone(), next: Some(next.clone()) }
        }
        _ => Said::refused(chain(&error)),
    })
}

/// Unpacks what was put here, to its place.
pub fn serve_unpack(archive: &Utf8Path, place: &Utf8Path, out: Box<dyn Write + Send>) {
    let said = match archive::unpack(archive, place) {
        Ok(()) => Said::Done,
        Err(error) => Said::refused(error.to_string()),
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
