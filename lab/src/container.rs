//! Systems of the release train without a machine: a root that dnf installed, an SSH server in it, and this host's
//! kernel and speed.
//!
//! `drivetrain-lab container` makes the root. A [`Container`] is an overlay of it in a mount and a PID namespace: what is
//! done to it is gone with it, and nothing that runs in it outlives it. Its `/tmp` is one that nothing can be run from.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::cmd::{command, run};
use crate::enclosure::{Enclosure, Process};
use crate::processes::poll;

const START: &str = include_str!("../container/start");

/// How long its SSH server may take to answer.
const STARTING: Duration = Duration::from_secs(30);

/// The root in a lab's directory.
#[must_use]
pub fn root(lab: &Utf8Path) -> Utf8PathBuf {
    lab.join("container/root")
}

/// What tests start containers from: the root in `DRIVETRAIN_LAB`, or in `.lab` at the top of the workspace. `None`, and
/// a line that says so, where there is none or it cannot be used.
#[must_use]
pub fn of_tests() -> Option<Utf8PathBuf> {
    let lab = std::env::var("DRIVETRAIN_LAB")
        .map_or_else(|_| Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../.lab"), Utf8PathBuf::from);
    let root = root(&lab).canonicalize_utf8().ok();
    if root.is_none() {
        println!("skipped: no root for containers in {lab} (drivetrain-lab container)");
    } else if !crate::enclosure::is_root() {
        println!("skipped: containers take root");
        return None;
    }
    root
}

/// A container that runs, until it is dropped.
pub struct Container {
    // In the order in which they end.
    server: Option<Process>,
    enclosure: Enclosure,
    dir: Utf8PathBuf,
    port: u16,
}

impl Container {
    /// Starts one with its things in `dir`, an empty directory, and waits until one can log in.
    pub fn start(root: &Utf8Path, dir: &Utf8Path) -> Result<Self> {
        for key in ["login", "host"] {
            run(command("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"])
                .arg(dir.join(key)))?;
        }
        // Whoever takes the port in between makes the start fail, not the container another.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let host = fs::read_to_string(dir.join("host.pub"))?;
        fs::write(dir.join("known_hosts"), format!("[127.0.0.1]:{port} {host}"))?;
        let enclosure = Enclosure::with_mounts(None, None)?;
        let mut start = enclosure.command("sh");
        start.args(["-c", START]).envs([("ROOT", root.as_str()), ("DIR", dir.as_str())]);
        start.env("PORT", port.to_string());
        let server = Process::start("the container's SSH server", start, dir.join("server.log"))?;
        let mut container = Self { server: Some(server), enclosure, dir: dir.to_owned(), port };
        container.wait()?;
        Ok(container)
    }

    fn wait(&mut self) -> Result<()> {
        let mut last = None;
        let answered = poll(STARTING, || {
            if let Some(Err(ended)) = self.server.as_mut().map(Process::check) {
                return Some(Err(ended));
            }
            match self.ssh("true") {
                Ok(_) => Some(Ok(())),
                Err(error) => {
                    last = Some(error);
                    None
                }
            }
        });
        match (answered, last) {
            (Some(result), _) => result,
            (None, Some(error)) => Err(error).context("nobody can log in to the container"),
            (None, None) => bail!("the container was not asked"),
        }
    }

    /// The port on 127.0.0.1 of its SSH server.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The private key that logs in.
    #[must_use]
    pub fn key(&self) -> Utf8PathBuf {
        self.dir.join("login")
    }

    /// The file that knows it by its key.
    #[must_use]
    pub fn known_hosts(&self) -> Utf8PathBuf {
        self.dir.join("known_hosts")
    }

    /// A configuration of ssh that calls it by this name.
    pub fn ssh_config(&self, name: &str) -> Result<Utf8PathBuf> {
        let path = self.dir.join("ssh_config");
        let text = format!(
            "Host {name}\n  HostName 127.0.0.1\n  Port {}\n  User root\n  IdentityFile {}\n  UserKnownHostsFile {}\n  \
             StrictHostKeyChecking yes\n",
            self.port,
            self.key(),
            self.known_hosts()
        );
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Runs a command as root; what it wrote to standard output.
    pub fn ssh(&self, script: &str) -> Result<String> {
        let known = format!("UserKnownHostsFile={}", self.known_hosts());
        run(command("ssh")
            .args(["-F", "none", "-i", self.key().as_str(), "-o", "BatchMode=yes", "-o", &known])
            .args(["-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR"])
            .args(["-p", &self.port.to_string(), "root@127.0.0.1", "--", script]))
    }

    /// The processes in it, a command line each.
    pub fn processes(&self) -> Result<Vec<String>> {
        let listed = run(self.enclosure.command("ps").args(["-eo", "args="]))?;
        Ok(listed.lines().map(str::to_owned).collect())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // It holds the file system that goes with the namespaces.
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }
}
