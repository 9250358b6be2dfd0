//! Virtual environments of Python, made from pinned requirements.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use camino::Utf8Path;
use fs_err as fs;

use crate::cmd::{command, run};
use crate::enclosure::Enclosure;

/// A Python that is new enough, and its version. Debian's first: it is the one that python3-venv belongs to.
pub(crate) fn python() -> Result<(&'static str, String)> {
    let check = "import sys; print(sys.version); sys.exit(sys.version_info < (3, 11))";
    for program in ["/usr/bin/python3", "python3"] {
        if let Ok(version) = run(command(program).args(["-c", check])) {
            return Ok((program, version));
        }
    }
    bail!("not installed: a Python from 3.11 on, with its module venv (run `drivetrain-lab deps`)")
}

/// Makes one where there may be one already. It has its path in its programs, and so cannot be made elsewhere and
/// renamed. Nothing but what the requirements name is installed.
pub(crate) fn make(
    enclosure: &Enclosure,
    python: &str,
    environment: &Utf8Path,
    requirements: &str,
) -> Result<()> {
    if environment.exists() {
        fs::remove_dir_all(environment)?;
    }
    let list = environment.with_file_name("requirements.txt");
    fs::write(&list, requirements)?;
    let quietly = |program: &str, arguments: &[&str]| {
        let mut command = enclosure.command(program);
        without_others(&mut command, &[]);
        run(command.args(arguments))
    };
    let venv = quietly(python, &["-m", "venv", environment.as_str()]);
    venv.context("making a virtual environment (is python3-venv installed? run `drivetrain-lab deps`)")?;
    let pip = environment.join("bin/pip");
    let install = ["install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"];
    quietly(pip.as_str(), &[&install[..], &["--requirement", list.as_str()]].concat())?;
    quietly(pip.as_str(), &["check", "--disable-pip-version-check"])?;
    Ok(())
}

/// Takes from a command what would change how Python behaves, other modules say, and what begins like one of these.
pub(crate) fn without_others(command: &mut Command, prefixes: &[&str]) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PYTHON") || prefixes.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command.env("PYTHONUNBUFFERED", "1");
}
