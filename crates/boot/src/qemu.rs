//! QEMU: one machine, until it is off, told to end, or out of time.
//!
//! A thread that lives as long as the machine starts it, waits for it, and has the kernel kill it with the thread
//! (`setpriv --pdeathsig`): whatever becomes of drivetrain, no machine outlives it.

use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{Acceleration, CancellationToken};

use crate::protocol::MARK;
use crate::text::last_lines;
use crate::{BootError, BootOptions};

/// The program for the only architecture that this is made for.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";
/// The same where Enterprise Linux installs it, which is in no path.
pub(crate) const LIBEXEC: &str = "/usr/libexec/qemu-kvm";
const PAUSE: Duration = Duration::from_millis(20);
/// How long what QEMU says itself is waited for, once it has ended.
const LAST_WORDS: Duration = Duration::from_secs(20);
/// How much a guest may say, on its console and of facts.
pub(crate) const LOUDEST: u64 = 16 << 20;
/// How much of what QEMU itself says is kept.
const ERRORS: u64 = 16 << 10;

/// What a machine is started with.
#[derive(Debug)]
pub(crate) struct Machine {
    pub options: BootOptions,
    pub kernel: Utf8PathBuf,
    /// The initramfs, which has no name: nothing is left of it, whatever happens.
    pub initramfs: std::fs::File,
    /// Files that the guest writes to.
    pub console: Utf8PathBuf,
    pub facts: Utf8PathBuf,
}

/// How a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// By itself.
    Off,
    /// It was killed at its deadline.
    Deadline,
    /// It was killed because it said too much.
    TooLoud,
}

/// What is known of a machine that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub how: How,
    pub elapsed: Duration,
    pub acceleration: Acceleration,
    /// The machine that QEMU ran on, where that was not this host.
    pub on: Option<String>,
}

/// Tells the thread of a machine to end it, at the latest when nobody waits for it any more.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a machine to its end.
pub(crate) async fn run(machine: Machine, cancel: &CancellationToken) -> Result<Ran, BootError> {
    let stop = Stop(Arc::new(AtomicBool::new(false)));
    let told = stop.0.clone();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("qemu".to_owned()).spawn(move || {
        // Where nobody waits any more, the machine has been ended.
        drop(sender.send(machine.run(&told)));
    });
    thread.map(drop).map_err(|error| BootError::Qemu { said: format!("no thread: {error}") })?;
    tokio::pin!(receiver);
    let gone = |_| BootError::Qemu { said: "the thread that runs it is gone".to_owned() };
    tokio::select! {
        ran = &mut receiver => return ran.map_err(gone)?,
        () = cancel.cancelled() => stop.0.store(true, Ordering::Relaxed),
    }
    // Once it is told to, it ends at once: and when this is done, no process of it is left.
    receiver.await.map_err(gone)??;
    Err(BootError::Cancelled)
}

impl Machine {
    fn run(self, stop: &AtomicBool) -> Result<Ran, BootError> {
        let acceleration = acceleration()?;
        for path in [&self.console, &self.facts] {
            fs_err::write(path, "").map_err(BootError::file("write", path))?;
        }
        let started = Instant::now();
        let mut child = self.command(acceleration)?.spawn().map_err(|error| not_started(&error))?;
        let errors = child.stderr.take().map(read_aside);
        let ended = self.wait(&mut child, started, stop);
        // It has ended by itself, or is to.
        drop(child.kill());
        let status = child.wait().map_err(|error| BootError::Qemu { said: error.to_string() })?;
        let said = errors.and_then(|errors| errors.recv_timeout(LAST_WORDS).ok()).unwrap_or_default();
        let (how, elapsed) = (ended?, started.elapsed());
        if how == How::Off && !status.success() {
            let said = last_lines(&said, 4).join("; ");
            let said = if said.is_empty() { format!("it ended with {status}") } else { said };
            return Err(BootError::Qemu { said });
        }
        Ok(Ran { how, elapsed, acceleration, on: None })
    }

    fn wait(&self, child: &mut Child, started: Instant, stop: &AtomicBool) -> Result<How, BootError> {
        loop {
            let status = child.try_wait().map_err(|error| BootError::Qemu { said: error.to_string() })?;
            if status.is_some() {
                return Ok(How::Off);
            }
            if stop.load(Ordering::Relaxed) {
                return Err(BootError::Cancelled);
            }
            if started.elapsed() > self.options.timeout {
                return Ok(How::Deadline);
            }
            let size = |path: &Utf8Path| path.metadata().map_or(0, |metadata| metadata.len());
            if size(&self.console).max(size(&self.facts)) > LOUDEST {
                return Ok(How::TooLoud);
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn command(&self, acceleration: Acceleration) -> Result<Command, BootError> {
        let mut command = dying_with_its_parent()?;
        command.args(self.arguments(acceleration));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(command)
    }

    fn arguments(&self, acceleration: Acceleration) -> Vec<String> {
        let initramfs = format!("/proc/{}/fd/{}", std::process::id(), self.initramfs.as_raw_fd());
        let files = GuestFiles {
            kernel: &self.kernel,
            initramfs: Utf8Path::new(&initramfs),
            console: &self.console,
            facts: &self.facts,
        };
        let mut arguments = arguments(&self.options, &files, acceleration);
        arguments.extend(self.firmware());
        arguments
    }

    fn firmware(&self) -> Vec<String> {
        let Some(firmware) = &self.options.firmware else { return Vec::new() };
        let mut words = vec![
            "-machine".to_owned(),
            if firmware.secure { "q35,smm=on" } else { "q35" }.to_owned(),
            "-drive".to_owned(),
            format!("if=pflash,format=raw,unit=0,readonly=on,file={}", escaped(&firmware.code)),
            "-drive".to_owned(),
            format!("if=pflash,format=raw,unit=1,file={}", escaped(&firmware.variables)),
        ];
        if firmware.secure {
            words.extend(["-global", "driver=cfi.pflash01,property=secure,value=on"].map(str::to_owned));
        }
        words
    }
}

/// The files of a machine, where QEMU runs.
pub(crate) struct GuestFiles<'a> {
    pub kernel: &'a Utf8Path,
    pub initramfs: &'a Utf8Path,
    pub console: &'a Utf8Path,
    pub facts: &'a Utf8Path,
}

/// What QEMU is called with, but for firmware.
pub(crate) fn arguments(
    options: &BootOptions,
    files: &GuestFiles<'_>,
    acceleration: Acceleration,
) -> Vec<String> {
    let mut arguments: Vec<String> = acceleration.arguments().map(str::to_owned).into();
    let words = [
        "-name",
        "drivetrain-boot",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-smp",
        &options.cpus.to_string(),
        "-m",
        &format!("{}M", options.memory),
        "-chardev",
        &format!("file,id=console,path={}", escaped(files.console)),
        "-serial",
        "chardev:console",
        "-chardev",
        &format!("file,id=facts,path={}", escaped(files.facts)),
        "-serial",
        "chardev:facts",
        "-kernel",
        files.kernel.as_str(),
        "-initrd",
        files.initramfs.as_str(),
        "-append",
        &kernel_command_line(options),
    ];
    arguments.extend(words.map(str::to_owned));
    arguments
}

fn kernel_command_line(options: &BootOptions) -> String {
    // The second port has to be there on kernels that are built for one; what the agent notes is not to be left out.
    let own = ["console=ttyS0", "8250.nr_uarts=4", "printk.devkmsg=on", "panic=-1", "rdinit=/init", MARK];
    let words = own.iter().copied().chain(options.kernel_arguments.iter().map(String::as_str));
    words.collect::<Vec<_>>().join(" ")
}

/// In QEMU's options a comma ends a value.
fn escaped(path: &Utf8Path) -> String {
    path.as_str().replace(',', ",,")
}

/// Whether what a guest takes is on this host: better asked before anything is fetched and installed for it.
///
/// # Errors
/// Names what is not there.
pub fn require_qemu() -> Result<(), BootError> {
    program()?;
    if !is_in_path("setpriv") {
        return Err(BootError::MissingTool { tool: "setpriv", package: "util-linux" });
    }
    Ok(())
}

fn program() -> Result<&'static str, BootError> {
    if is_in_path(PROGRAM) {
        return Ok(PROGRAM);
    }
    if Path::new(LIBEXEC).is_file() {
        return Ok(LIBEXEC);
    }
    Err(BootError::NoQemu { program: PROGRAM.to_owned() })
}

fn dying_with_its_parent() -> Result<Command, BootError> {
    require_qemu()?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program()?]);
    Ok(command)
}

fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| Path::new(&directory).join(program).is_file())
}

fn not_started(error: &std::io::Error) -> BootError {
    BootError::Qemu { said: error.to_string() }
}

/// What a process says, read by a thread of its own.
fn read_aside(mut from: std::process::ChildStderr) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut said = Vec::new();
        // What can be read is told; what is beyond the limit is read and forgotten, so that nobody waits.
        drop(from.by_ref().take(ERRORS).read_to_end(&mut said));
        drop(std::io::copy(&mut from, &mut std::io::sink()));
        drop(sender.send(said));
    });
    receiver
}

/// What this host can do; found out once, by a machine that is stopped before its first instruction: that there is a
/// `/dev/kvm` says little where this host is a virtual machine itself.
pub(crate) fn acceleration() -> Result<Acceleration, BootError> {
    static KNOWN: OnceLock<Acceleration> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(*known);
    }
    let command = dying_with_its_parent()?;
    Ok(*KNOWN.get_or_init(|| Acceleration::probe(command)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Firmware;

    fn machine(options: BootOptions) -> Machine {
        Machine {
            options,
            kernel: "/k".into(),
            initramfs: tempfile::tempfile().unwrap(),
            console: "/run/a,b/console".into(),
            facts: "/run/facts".into(),
        }
    }

    #[test]
    fn commas_in_paths_end_no_option_and_arguments_of_the_site_stand_behind_ours() {
        let mut options = BootOptions::new("/agent");
        options.kernel_arguments = vec!["module.sig_enforce=1".to_owned()];
        let machine = machine(options);
        let arguments = machine.arguments(Acceleration::Emulated);
        assert!(
            arguments.iter().any(|word| word == "file,id=console,path=/run/a,,b/console"),
            "{arguments:?}"
        );
        assert!(kernel_command_line(&machine.options).ends_with("drivetrain.guest module.sig_enforce=1"));
        assert!(!arguments.iter().any(|word| word.contains("pflash")));
    }

    #[test]
    fn firmware_comes_with_a_machine_that_can_protect_its_variables() {
        let mut options = BootOptions::new("/agent");
        let firmware = Firmware { code: "/code".into(), variables: "/vars".into(), secure: true };
        options.firmware = Some(firmware);
        let text = machine(options).arguments(Acceleration::Kvm).join(" ");
        assert!(text.contains("-accel kvm -cpu host"), "{text}");
        assert!(text.contains("-machine q35,smm=on"), "{text}");
        assert!(text.contains("unit=1,file=/vars"), "{text}");
        assert!(text.ends_with("-global driver=cfi.pflash01,property=secure,value=on"), "{text}");
    }
}
