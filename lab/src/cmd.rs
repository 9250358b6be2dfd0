//! Running other programs: quiet when they succeed, with their last words when they fail.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

/// How many lines of a failed program's output an error carries.
const TAIL: usize = 25;

/// A command, its program looked up in `PATH`.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    // Sorting, messages and dates of every tool are the same wherever the lab is built.
    command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// Runs to the end; what it wrote to standard output.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {}", describe(command)))?;
    finish(command, output)
}

/// Runs with `input` on standard input; what it wrote to standard output.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", describe(command)))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).with_context(|| format!("writing to {}", describe(command)))?;
    }
    let output = child.wait_with_output()?;
    finish(command, output)
}

fn finish(command: &Command, output: Output) -> Result<String> {
    if output.status.success() {
        return String::from_utf8(output.stdout).with_context(|| format!("output of {}", describe(command)));
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    bail!("{} failed ({}):\n{tail}", describe(command), output.status)
}

fn describe(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args().take(4) {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
