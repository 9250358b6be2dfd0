//! QEMU on another machine.
//!
//! What goes there is a kernel and an initramfs, what comes back is what the guest said: nothing of drivetrain's is
//! installed there, and the machine judges nothing. It has to have QEMU, and room for the two.

use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{self as host, Acceleration, CancellationToken, Script, quote};

use crate::protocol::KEPT_LINES;
use crate::qemu::{GuestFiles, How, LIBEXEC, LOUDEST, Machine, PROGRAM, Ran, arguments};
use crate::text::{last_lines, printable};
use crate::{BootError, BootOptions};

/// How long a short question may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long it may take to remove what was put there.
const CLEAN_PATIENCE: Duration = Duration::from_secs(30);
/// A file that a guest wrote: QEMU ends a little beyond its limit, whatever the shell counts in.
const MOST: u64 = 4 * LOUDEST;
/// Begins what a script of ours says.
const SAYS: &str = "drivetrain-boot: ";
/// What a shell says of a program that wrote more than `ulimit -f` lets it: `SIGXFSZ`, 25, and 128.
const WROTE_TOO_MUCH: i32 = 153;

/// A machine that runs QEMU.
#[derive(Debug, Clone)]
pub struct EmulatorThere {
    machine: Arc<dyn host::Machine>,
    directory: Utf8PathBuf,
}

/// QEMU as it was found.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    program: String,
    acceleration: Acceleration,
}

impl EmulatorThere {
    /// On this machine, with its files below `directory` there, which need not exist.
    #[must_use]
    pub fn new(machine: Arc<dyn host::Machine>, directory: &Utf8Path) -> Self {
        Self { machine, directory: directory.join("boots") }
    }

    fn name(&self) -> &str {
        self.machine.name()
    }

    /// Whether it has QEMU: better asked before anything is built for it. Nothing is changed there.
    ///
    /// # Errors
    /// [`BootError::NoQemuThere`], and those of the machine.
    pub async fn require_qemu(&self, cancel: &CancellationToken) -> Result<(), BootError> {
        let said = self.answer(&format!("{}say program \"$qemu\"", find()), PATIENCE, cancel).await?;
        self.program(&said).map(drop)
    }

    /// Runs a machine to its end, as [`qemu::run`](crate::qemu::run) does.
    pub(crate) async fn run(&self, machine: Machine, cancel: &CancellationToken) -> Result<Ran, BootError> {
        if machine.options.firmware.is_some() {
            return Err(self.failed("firmware of one's own is for machines on this host".to_owned()));
        }
        let place = self.directory.join(format!("{}-{}", std::process::id(), fastrand::u64(..)));
        let ran = self.run_in(&place, &machine, cancel).await;
        // Also where it was cancelled. What cannot be removed now is by the next, after a day.
        let removing = format!("rm -rf {}", quote(place.as_str()));
        drop(self.answer(&removing, CLEAN_PATIENCE, &CancellationToken::new()).await);
        if cancel.is_cancelled() { Err(BootError::Cancelled) } else { ran }
    }

    async fn run_in(
        &self,
        place: &Utf8Path,
        machine: &Machine,
        cancel: &CancellationToken,
    ) -> Result<Ran, BootError> {
        let found = self.prepare(place, cancel).await?;
        let [kernel, initramfs, console, facts] =
            ["kernel", "initramfs", "console", "facts"].map(|name| place.join(name));
        let unnamed = format!("/proc/self/fd/{}", machine.initramfs.as_raw_fd());
        for (here, there) in [(machine.kernel.as_path(), &kernel), (Utf8Path::new(&unnamed), &initramfs)] {
            until(cancel, self.machine.put(here, there, 0o600)).await?;
        }
        let files = GuestFiles { kernel: &kernel, initramfs: &initramfs, console: &console, facts: &facts };
        let script = script(&found, &machine.options, &files);
        let (lines, ending) = self.said(&script, machine.options.timeout, cancel).await?;
        let (how, elapsed) = match ending {
            host::Ending::TimedOut => (How::Deadline, machine.options.timeout),
            _ => ended(&lines)
                .map_err(|said| BootError::Qemu { said: format!("{said} (on {})", self.name()) })?,
        };
        for (there, here) in [(&console, &machine.console), (&facts, &machine.facts)] {
            until(cancel, self.machine.get_at_most(there, here, MOST)).await?;
        }
        Ok(Ran { how, elapsed, acceleration: found.acceleration, on: Some(self.name().to_owned()) })
    }

    /// Makes room there, and finds QEMU.
    async fn prepare(&self, place: &Utf8Path, cancel: &CancellationToken) -> Result<Found, BootError> {
        let script = format!(
            "{find}umask 077
mkdir -p {directory}
find {directory} -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf {{}} + || :
mkdir {place}
: >{place}/console
: >{place}/facts
{KVM}say program \"$qemu\"
",
            find = find(),
            directory = quote(self.directory.as_str()),
            place = quote(place.as_str()),
        );
        let lines = self.answer(&script, PATIENCE, cancel).await?;
        let acceleration = match lines.iter().any(|line| line == "kvm") {
            true => Acceleration::Kvm,
            false => Acceleration::Emulated,
        };
        Ok(Found { program: self.program(&lines)?, acceleration })
    }

    fn program(&self, lines: &[String]) -> Result<String, BootError> {
        let found = lines.iter().find_map(|line| line.strip_prefix("program "));
        let found = found.filter(|path| path.starts_with('/')).map(str::to_owned);
        found.ok_or_else(|| BootError::NoQemuThere { machine: self.name().to_owned() })
    }

    /// Runs a short script, and returns what it says.
    async fn answer(
        &self,
        text: &str,
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> Result<Vec<String>, BootError> {
        match self.said(text, deadline, cancel).await? {
            (_, host::Ending::TimedOut) => {
                Err(self.failed(format!("a command there has not ended after {} s", deadline.as_secs())))
            }
            (said, _) => Ok(said),
        }
    }

    /// Runs a script, and returns what it says with how it ended: by itself, or at its deadline.
    async fn said(
        &self,
        text: &str,
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> Result<(Vec<String>, host::Ending), BootError> {
        let mut script = Script::new(format!("{SAY}{text}"));
        script.deadline = Some(deadline);
        let (mut said, mut others) = (Vec::new(), Vec::new());
        let mut sink = |line: &str| match line.strip_prefix(SAYS) {
            Some(line) => keep(&mut said, line),
            None => keep(&mut others, line),
        };
        let finished = self.machine.run(&script, &mut sink, cancel).await?;
        match finished.ending {
            host::Ending::Cancelled => Err(BootError::Cancelled),
            host::Ending::Exited(0) | host::Ending::TimedOut => Ok((said, finished.ending)),
            ending => {
                let words = last_lines(others.join("\n").as_bytes(), 3).join("; ");
                Err(self.failed(format!("a command there {ending}: {words}")))
            }
        }
    }

    fn failed(&self, said: String) -> BootError {
        let (machine, directory) = (self.name().to_owned(), self.directory.clone());
        BootError::There { machine, said, directory }
    }
}

async fn until<T>(
    cancel: &CancellationToken,
    copying: impl Future<Output = Result<T, host::HostError>>,
) -> Result<T, BootError> {
    tokio::select! {
        copied = copying => Ok(copied?),
        () = cancel.cancelled() => Err(BootError::Cancelled),
    }
}

/// Keeps the last lines of a machine that may say whatever it likes.
fn keep(lines: &mut Vec<String>, line: &str) {
    lines.push(printable(line));
    lines.drain(..lines.len().saturating_sub(KEPT_LINES));
}

/// What the script says of QEMU's end; as an error, why it did not start the machine.
fn ended(lines: &[String]) -> Result<(How, Duration), String> {
    let end = lines.iter().find_map(|line| line.strip_prefix("ended "));
    let end = end.and_then(|text| {
        let mut words = text.split(' ');
        let status = words.next()?.parse::<i32>().ok()?;
        let [from, to] = [words.next()?, words.next()?].map(|word| word.parse::<f64>().ok());
        let elapsed = Duration::try_from_secs_f64((to? - from?).max(0.0)).ok()?;
        Some((status, elapsed))
    });
    match end {
        Some((0, elapsed)) => Ok((How::Off, elapsed)),
        Some((WROTE_TOO_MUCH, elapsed)) => Ok((How::TooLoud, elapsed)),
        Some((status, _)) => {
            let said: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("error ")).collect();
            Err(if said.is_empty() { format!("it ended with {status}") } else { said.join("; ") })
        }
        None => Err("nothing says how it ended".to_owned()),
    }
}

const SAY: &str = "say() { printf 'drivetrain-boot: %s\\n' \"$*\"; }\n";

/// Finds the program; as nothing where there is none.
fn find() -> String {
    format!("qemu=$(command -v {PROGRAM} || :)\n[ -n \"$qemu\" ] || ! [ -x {LIBEXEC} ] || qemu={LIBEXEC}\n")
}

/// As [`Acceleration::probe`] finds it out.
const KVM: &str =
    "if [ -n \"$qemu\" ] && [ -e /dev/kvm ] && echo quit | timeout 20 \"$qemu\" -accel kvm -cpu host -m 64 \
\t-nodefaults -display none -S -monitor stdio >/dev/null 2>&1; then say kvm; fi
";

/// Runs QEMU, which may write so much to its files and no more, and says how it ended.
fn script(found: &Found, options: &BootOptions, files: &GuestFiles<'_>) -> String {
    let words = arguments(options, files, found.acceleration);
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!(
        "ulimit -f {blocks}
ulimit -c 0
read -r from _ </proc/uptime
status=0
{program} {words} </dev/null >/dev/null 2>{errors} || status=$?
read -r to _ </proc/uptime
tail -n 4 {errors} | while read -r line; do say error \"$line\"; done
say ended \"$status\" \"$from\" \"$to\"
",
        blocks = LOUDEST / 512,
        program = quote(&found.program),
        words = words.join(" "),
        errors = quote(&files.console.with_file_name("errors").into_string()),
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What a script says that calls this program in place of QEMU.
    fn said(program: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let place = Utf8Path::from_path(directory.path()).unwrap().join("it's a, place");
        fs_err::create_dir(&place).unwrap();
        let fake = place.join("qemu");
        fs_err::write(&fake, format!("#!/bin/sh\ncd \"${{0%/*}}\"\n{program}\n")).unwrap();
        assert!(Command::new("chmod").arg("755").arg(&fake).status().unwrap().success());
        let [kernel, initramfs, console, facts] =
            ["kernel", "initramfs", "console", "facts"].map(|name| place.join(name));
        let files = GuestFiles { kernel: &kernel, initramfs: &initramfs, console: &console, facts: &facts };
        let found = Found { program: fake.into_string(), acceleration: Acceleration::Emulated };
        let text = format!("{SAY}{}", script(&found, &BootOptions::new("/agent"), &files));
        let output = Command::new("sh").args(["-eu", "-c", &text]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines().filter_map(|line| line.strip_prefix(SAYS)).map(str::to_owned).collect()
    }

    fn ended(program: &str) -> Result<How, String> {
        super::ended(&said(program)).map(|(how, _)| how)
    }

    #[test]
    fn the_script_says_how_the_machine_ended_and_why_it_did_not_start() {
        assert_eq!(ended("exit 0"), Ok(How::Off));
        assert_eq!(ended("kill -XFSZ $$"), Ok(How::TooLoud));
        assert_eq!(ended("yes >console"), Ok(How::TooLoud));
        let refused = ended("echo \"qemu: -m: cannot 'have' it\" >&2; exit 1");
        assert_eq!(refused, Err("qemu: -m: cannot 'have' it".to_owned()));
        assert_eq!(ended("exit 7"), Err("it ended with 7".to_owned()));
    }

    #[test]
    fn paths_with_any_characters_are_words_of_their_own() {
        let said = said("for word; do echo \"$word\" >&2; done; exit 1");
        // The last four lines that it wrote.
        assert!(said.iter().any(|line| line.ends_with("/it's a, place/initramfs")), "{said:?}");
    }
}
