//! The agent: drivetrain as the first process of a guest.
//!
//! It loads the modules that the request names, one after another, each in a process of its own, since the kernel kills
//! the one that a module's fault befalls; says what became of each, in the kernel's own words; tries what they are for;
//! and switches the machine off. It has no shell and no tools but itself.

mod check;
mod child;
mod kernel;
mod load;
mod netlink;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rustix::system::{RebootCommand, reboot};

use crate::protocol::{Fact, GuestRequest, MARK, PREFIX, REQUEST};
use child::IN_SYSTEM;
use kernel::KernelLog;
use load::LOAD;

/// Where the facts go.
const PORT: &str = "/dev/ttyS1";
/// How the kernel calls its first process.
const INIT: &str = "/init";

/// Does the agent's work where this process is that of a guest; `None` where it is not, which is to be asked before
/// anything else is done.
#[must_use]
pub fn enter() -> Option<ExitCode> {
    let mut arguments = std::env::args();
    if arguments.next().as_deref() != Some(INIT) || !Path::new(REQUEST).is_file() {
        return None;
    }
    let rest: Vec<String> = arguments.collect();
    match rest.split_first() {
        Some((word, [path])) if word == LOAD => Some(load::in_child(path)),
        Some((word, command)) if word == IN_SYSTEM => Some(child::in_system(command)),
        _ if std::process::id() == 1 => Some(first_process()),
        _ => None,
    }
}

fn first_process() -> ExitCode {
    if let Err(error) = kernel::mount_all("") {
        return give_up(&format!("cannot mount what the kernel tells: {error}"));
    }
    let marked = std::fs::read_to_string("/proc/cmdline")
        .is_ok_and(|line| line.split_whitespace().any(|word| word == MARK));
    if !marked {
        return give_up("the kernel's command line is not that of a boot test");
    }
    // A module that fails is to be told of, and not to end the machine before it is.
    kernel::set("/proc/sys/kernel/panic_on_oops", "0");
    kernel::set("/proc/sys/kernel/panic_on_warn", "0");
    match Report::open() {
        Ok(mut report) => work(&mut report),
        Err(error) => return give_up(&format!("cannot open {PORT}: {error}")),
    }
    power_off()
}

fn work(report: &mut Report) {
    let mut log = KernelLog::open();
    report.say(&kernel::booted());
    let request = match std::fs::read(REQUEST).map(|text| serde_json::from_slice::<GuestRequest>(&text)) {
        Ok(Ok(request)) => request,
        Ok(Err(error)) => return report.say(&Fact::Unable { why: format!("the request: {error}") }),
        Err(error) => return report.say(&Fact::Unable { why: format!("the request: {error}") }),
    };
    let patience = Duration::from_millis(request.step_ms);
    // What it said while it booted is on the console.
    log.skip();
    let is_sound = load::all(&request.modules, patience, &mut log, report);
    if let Some(wanted) = request.check.as_ref().filter(|_| is_sound) {
        check::rdma(wanted, patience, &mut log, report);
    }
    report.say(&Fact::Finished {
        uptime_ms: kernel::uptime_ms(),
        tainted: kernel::number("/proc/sys/kernel/tainted").unwrap_or_default(),
        said: log.since(),
    });
}

/// The way to whoever booted the guest.
pub(crate) struct Report(File);

impl Report {
    fn open() -> std::io::Result<Self> {
        File::options().write(true).open(PORT).map(Self)
    }

    pub(crate) fn say(&mut self, fact: &Fact) {
        // Without the port nobody is there to be told.
        if let Ok(text) = serde_json::to_string(fact) {
            drop(writeln!(self.0, "{PREFIX}{text}"));
            drop(self.0.flush());
        }
    }
}

/// Says on the console why there will be no facts.
fn give_up(why: &str) -> ExitCode {
    if let Ok(mut console) = File::options().write(true).open("/dev/console") {
        drop(writeln!(console, "drivetrain: {why}"));
    }
    power_off()
}

fn power_off() -> ExitCode {
    // Where a machine cannot be switched off, QEMU ends as well when it begins anew.
    for command in [RebootCommand::PowerOff, RebootCommand::Restart] {
        if reboot(command).is_ok() {
            break;
        }
    }
    ExitCode::FAILURE
}
