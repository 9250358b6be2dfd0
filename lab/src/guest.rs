//! A virtual machine of the release train: installed by dnf, booted by systemd-boot, and in need of repairs.
//!
//! `drivetrain-lab guest` makes the image. It is as images are that were built elsewhere: its boot entry names
//! another machine than `/etc/machine-id` does, and the boot loader is told to prefer that entry; the root file
//! system is smaller than its disk; `/tmp` and `/var/tmp` are volumes of their own that nothing can be run from.
//!
//! A [`Machine`] runs an overlay of it under QEMU's emulation. Who may log in, and by which key the machine is
//! known, are credentials that systemd takes from the firmware's tables.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use drivetrain_lab::guest::{self, Machine};
//!
//! # fn main() -> anyhow::Result<()> {
//! let Some(guest) = guest::of_tests() else { return Ok(()) };
//! let scratch = tempfile::tempdir()?;
//! let mut machine = Machine::start(&guest, camino::Utf8Path::from_path(scratch.path()).expect("UTF-8"))?;
//! machine.wait(Duration::from_secs(300))?;
//! println!("{}", machine.ssh("uname -r")?);
//! # Ok(())
//! # }
//! ```

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::base64;
use crate::cmd::{command, run};

/// The firmware, and what it remembers.
pub const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// What the firmware remembers at first: every machine has a copy.
pub const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// The description of the image, beside it.
pub const DESCRIPTION: &str = "guest.json";
/// The image.
pub const IMAGE: &str = "disk.qcow2";

/// An image that machines start from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// The image: qcow2, and never written to.
    pub image: Utf8PathBuf,
    /// Who logs in.
    pub user: String,
    /// The release of the kernel that it boots.
    pub kernel: String,
    /// The machine that its boot entry names, which is not itself.
    pub foreign_machine_id: String,
    /// What `/etc/machine-id` says.
    pub machine_id: String,
}

/// The image of a lab; `None` where there is none.
#[must_use]
pub fn installed(lab: &Utf8Path) -> Option<Guest> {
    let dir = lab.join("guest");
    let text = fs::read_to_string(dir.join(DESCRIPTION)).ok()?;
    let mut guest: Guest = serde_json::from_str(&text).ok()?;
    // The lab may have been moved since.
    guest.image = dir.join(IMAGE).canonicalize_utf8().ok()?;
    Some(guest)
}

/// What tests start machines from: the image in `DRIVETRAIN_LAB`, or in `.lab` at the top of the workspace. `None`,
/// and a line that says so, where there is none.
#[must_use]
pub fn of_tests() -> Option<Guest> {
    let lab = std::env::var("DRIVETRAIN_LAB")
        .map_or_else(|_| Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../.lab"), Utf8PathBuf::from);
    let guest = installed(&lab);
    if guest.is_none() {
        println!("skipped: no guest in {lab} (drivetrain-lab guest)");
    }
    guest
}

impl Guest {
    /// Makes a disk that starts as the image is.
    pub fn overlay(&self, to: &Utf8Path) -> Result<()> {
        run(command("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
            .args([&self.image, &to.to_owned()]))?;
        Ok(())
    }
}

/// The credentials that let whoever has a key log in as root, and make the machine known by a key of its own, as
/// strings for the firmware's tables (SMBIOS type 11).
///
/// `authorized` is a line of an `authorized_keys` file, `host_key` a private key in OpenSSH's format (ed25519).
#[must_use]
pub fn credentials(authorized: &str, host_key: &str) -> [String; 2] {
    let file = format!(
        "f~ /etc/ssh/ssh_host_ed25519_key 0600 root root - {}\n",
        base64::encode(host_key.as_bytes())
    );
    [
        format!(
            "io.systemd.credential.binary:ssh.authorized_keys.root={}",
            base64::encode(authorized.as_bytes())
        ),
        format!("io.systemd.credential.binary:tmpfiles.extra={}", base64::encode(file.as_bytes())),
    ]
}

/// QEMU for one machine: a disk, the firmware's variables, the port of this host that leads to its SSH server, and
/// strings for its SMBIOS tables. It ends when whoever starts it does.
#[must_use]
pub fn qemu(disk: &Utf8Path, variables: &Utf8Path, port: u16, smbios: &[String]) -> Command {
    // q35 hangs in its firmware when an emulated machine reboots.
    let mut qemu = command("setpriv");
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    qemu.args(["-machine", "pc", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048"]);
    qemu.args(["-nodefaults", "-display", "none", "-serial", "stdio"]);
    qemu.args(["-drive", &format!("if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE}")]);
    qemu.args(["-drive", &format!("if=pflash,format=raw,unit=1,file={variables}")]);
    qemu.args(["-drive", &format!("if=virtio,format=qcow2,cache=unsafe,file={disk}")]);
    qemu.args(["-netdev", &format!("user,id=net0,hostfwd=tcp:127.0.0.1:{port}-:22")]);
    qemu.args(["-device", "virtio-net-pci,netdev=net0,romfile=", "-device", "virtio-rng-pci"]);
    for value in smbios {
        // A comma separates QEMU's options; two of them are one.
        qemu.args(["-smbios", &format!("type=11,value={}", value.replace(',', ",,"))]);
    }
    qemu
}

/// A machine that runs, until it is dropped.
pub struct Machine {
    dir: Utf8PathBuf,
    port: u16,
    started: Instant,
    child: Child,
}

impl Machine {
    /// Starts a machine with a disk of its own in `dir`, an empty directory: with new keys, and without waiting.
    pub fn start(guest: &Guest, dir: &Utf8Path) -> Result<Self> {
        for key in ["login", "host"] {
            run(command("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"])
                .arg(dir.join(key)))?;
        }
        let disk = dir.join("disk.qcow2");
        guest.overlay(&disk)?;
        let variables = dir.join("variables.fd");
        fs::copy(VARIABLES, &variables)?;
        let smbios =
            credentials(&fs::read_to_string(dir.join("login.pub"))?, &fs::read_to_string(dir.join("host"))?);
        // Whoever takes the port in between makes the start fail, not the machine another.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let host = fs::read_to_string(dir.join("host.pub"))?;
        fs::write(dir.join("known_hosts"), format!("[127.0.0.1]:{port} {host}"))?;

        let child = qemu(&disk, &variables, port, &smbios)
            .stdout(Stdio::from(fs::File::create(dir.join("serial.log"))?.into_parts().0))
            .stderr(Stdio::from(fs::File::create(dir.join("qemu.log"))?.into_parts().0))
            .spawn()
            .context("starting qemu-system-x86_64")?;
        Ok(Machine { dir: dir.to_owned(), port, started: Instant::now(), child })
    }

    /// The port on 127.0.0.1 that leads to its SSH server.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The private key that logs in.
    #[must_use]
    pub fn key(&self) -> Utf8PathBuf {
        self.dir.join("login")
    }

    /// The file that knows the machine by its key.
    #[must_use]
    pub fn known_hosts(&self) -> Utf8PathBuf {
        self.dir.join("known_hosts")
    }

    /// Waits until one can log in; how long it has been running by then.
    pub fn wait(&mut self, limit: Duration) -> Result<Duration> {
        let until = Instant::now() + limit;
        loop {
            let Err(error) = self.ssh("true") else { return Ok(self.started.elapsed()) };
            if let Some(status) = self.child.try_wait()? {
                let said = fs::read_to_string(self.dir.join("qemu.log"))?;
                bail!("QEMU ended ({status}): {said}");
            }
            if Instant::now() > until {
                let serial = String::from_utf8_lossy(&fs::read(self.dir.join("serial.log"))?).into_owned();
                return Err(
                    error.context(format!("nobody can log in after {limit:?}; on the console:\n{serial}"))
                );
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Runs a command as root; what it wrote to standard output.
    pub fn ssh(&self, script: &str) -> Result<String> {
        run(command("ssh")
            .args([
                "-F",
                "none",
                "-i",
                self.key().as_str(),
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=yes",
            ])
            .args(["-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=15", "-o", "LogLevel=ERROR", "-o"])
            .arg(format!("UserKnownHostsFile={}", self.known_hosts()))
            .args(["-p", &self.port.to_string(), "root@127.0.0.1", "--", script]))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_what_systemd_reads() {
        let [login, host] = credentials("ssh-ed25519 AAAA me\n", "KEY");
        assert_eq!(
            login,
            "io.systemd.credential.binary:ssh.authorized_keys.root=c3NoLWVkMjU1MTkgQUFBQSBtZQo="
        );
        let encoded = base64::encode(b"f~ /etc/ssh/ssh_host_ed25519_key 0600 root root - S0VZ\n");
        assert_eq!(host, format!("io.systemd.credential.binary:tmpfiles.extra={encoded}"));
    }

    #[test]
    fn where_there_is_no_lab_there_is_no_guest() {
        assert_eq!(installed(Utf8Path::new("/nonexistent")), None);
    }
}
