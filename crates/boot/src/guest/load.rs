//! Modules into the kernel.

use std::fs::File;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::system::finit_module;

use super::child::{End, in_words, wait};
use super::kernel::{self, KernelLog};
use super::{INIT, Report};
use crate::protocol::{Fact, GuestModule, KEPT_CHARACTERS};

/// The word that makes the agent load one module, and end.
pub(super) const LOAD: &str = "load";
/// Where the loading process leaves the kernel's error.
const ERRNO: &str = "/run/errno";

/// Loads all of them; whether the kernel is still one that more can be asked of.
pub(super) fn all(
    modules: &[GuestModule],
    patience: Duration,
    log: &mut KernelLog,
    report: &mut Report,
) -> bool {
    let mut broken: Option<String> = None;
    for module in modules {
        let name = module.name.clone();
        if let Some(why) = &broken {
            report.say(&Fact::NotTried { module: name, why: why.clone() });
            continue;
        }
        report.say(&Fact::Loading { module: name.clone() });
        // On the console too: the last such line there is the module that a machine went down with.
        kernel::set("/dev/kmsg", &format!("<14>drivetrain: loading {name}\n"));
        let fact = load(module, patience, log);
        broken = match &fact {
            Fact::Died { .. } => Some(format!("the kernel cannot be trusted after {name}")),
            Fact::Hangs { .. } => Some(format!("{name} hangs, and holds what loads modules")),
            _ => None,
        };
        report.say(&fact);
    }
    broken.is_none()
}

fn load(module: &GuestModule, patience: Duration, log: &mut KernelLog) -> Fact {
    let name = module.name.clone();
    let started = Instant::now();
    let elapsed = || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let child = Command::new(INIT).arg(LOAD).arg(&module.path).stdin(Stdio::null()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            let why = format!("no process can be started to load it: {error}");
            return Fact::NotTried { module: name, why };
        }
    };
    let status = match wait(&mut child, patience) {
        End::Exited(status) => status,
        End::Hangs => {
            let stack = kernel::text(&format!("/proc/{}/stack", child.id())).unwrap_or_default();
            let stack = stack.lines().take(30).map(|line| line.chars().take(KEPT_CHARACTERS).collect());
            return Fact::Hangs { module: name, ms: elapsed(), stack: stack.collect(), said: log.since() };
        }
    };
    let (ms, said) = (elapsed(), log.since());
    if status.code().is_none() {
        return Fact::Died { module: name, ms, how: in_words(status), said };
    }
    if status.success() {
        let of = |what: &str| kernel::text(&format!("/sys/module/{}/{what}", module.name));
        return Fact::Loaded {
            module: name,
            ms,
            srcversion: of("srcversion"),
            build_id: build_id(&module.name),
            taint: of("taint"),
            said,
        };
    }
    let error = kernel::text(ERRNO).unwrap_or_else(|| in_words(status));
    Fact::Refused { module: name, ms, error, said }
}

/// What the linker called a loaded module, as the kernel shows it: a note, whose name is `GNU`.
fn build_id(module: &str) -> Option<String> {
    const HEAD: usize = 16;
    let note = std::fs::read(format!("/sys/module/{module}/notes/.note.gnu.build-id")).ok()?;
    let id = note.get(HEAD..).filter(|id| !id.is_empty())?;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Loads one module, in a process that may not survive it.
pub(super) fn in_child(path: &str) -> ExitCode {
    drop(std::fs::remove_file(ERRNO));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => {
            kernel::set(ERRNO, &format!("{path}: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match finit_module(&file, c"", 0) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            kernel::set(ERRNO, &std::io::Error::from(error).to_string());
            ExitCode::FAILURE
        }
    }
}
