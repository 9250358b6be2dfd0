//! The client: where it is, its private files, its arguments.

use std::env;
use std::ffi::OsString;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use tempfile::TempDir;

use super::options::SshOptions;
use crate::HostError;

/// The longest path of a socket, less what ssh adds to it while it makes one.
const LONGEST_SOCKET: usize = 80;

/// What every use of ssh for one machine has in common.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) name: String,
    pub(super) options: SshOptions,
    ssh: Utf8PathBuf,
    setsid: Utf8PathBuf,
    /// For the sockets and the pinned key; for this user alone, and removed when this is dropped.
    directory: TempDir,
    arguments: Vec<OsString>,
}

impl Setup {
    pub(super) fn new(options: SshOptions) -> Result<Self, HostError> {
        options.check()?;
        let known_host = options.known_host()?;
        let ssh = find("ssh").ok_or(HostError::NoSsh)?;
        let setsid =
            find("setsid").ok_or(HostError::MissingTool { tool: "setsid", package: "util-linux" })?;
        let directory = directory()?;
        let known_hosts = match known_host {
            Some(line) => Some(pin(&directory, &line)?),
            None => None,
        };
        let arguments = options.arguments(known_hosts.as_deref());
        Ok(Self { name: options.name(), options, ssh, setsid, directory, arguments })
    }

    /// Where the master of this number listens.
    pub(super) fn socket(&self, number: u64) -> OsString {
        self.directory.path().join(format!("m{number}")).into_os_string()
    }

    /// The connection that others share.
    pub(super) fn master(&self, socket: &OsString, remote: &str) -> Command {
        self.command(&["-o", "ControlMaster=yes", "-o", "ControlPersist=no"], socket, remote)
    }

    /// A command through a shared connection. Where the machine permits no more of them in one, or where there is none any
    /// more, ssh makes another connection by itself.
    pub(super) fn shared(&self, socket: &OsString, remote: &str) -> Command {
        self.command(&["-o", "ControlMaster=no"], socket, remote)
    }

    fn command(&self, more: &[&str], socket: &OsString, remote: &str) -> Command {
        let mut command = self.client();
        command.args(more).arg("-S").arg(socket);
        command.args(["-T", "--", &self.options.destination, remote]);
        command
    }

    /// In a session of its own: without a terminal, nothing can be asked for, not even by the ssh of a jump host, which
    /// gets none of our options; and what ssh starts is ended with it.
    fn client(&self) -> Command {
        let mut command = Command::new(&self.setsid);
        command.arg(&self.ssh).args(&self.arguments);
        command.env("SSH_ASKPASS_REQUIRE", "never").env("LC_ALL", "C.UTF-8");
        command
    }

    /// Whether the machine's key was given to us.
    pub(super) fn pinned(&self) -> bool {
        self.options.host_key.is_some()
    }

    /// The host, as far as the options say it.
    pub(super) fn host(&self) -> &str {
        self.options.destination.rsplit('@').next().unwrap_or_default()
    }

    /// The command that shows the machine's keys.
    pub(super) fn keyscan(&self) -> String {
        let resolved = self.resolved();
        let host = setting(&resolved, "hostname").next().unwrap_or(self.host());
        match setting(&resolved, "port").next() {
            Some(port) if port != "22" => format!("ssh-keyscan -p {port} {host}"),
            _ => format!("ssh-keyscan {host}"),
        }
    }

    /// Who logs in, with which keys: what to look at when that is refused.
    pub(super) fn identities(&self) -> String {
        let resolved = self.resolved();
        let user = setting(&resolved, "user").next().unwrap_or("?");
        let keys: Vec<&str> =
            setting(&resolved, "identityfile").filter(|path| expand(path).is_file()).collect();
        let keys = if keys.is_empty() { "no key file".to_owned() } else { keys.join(", ") };
        let agent = match env::var_os("SSH_AUTH_SOCK") {
            Some(_) => "and the keys of the agent (see ssh-add -l)",
            None => "and no agent, as SSH_AUTH_SOCK is not set",
        };
        format!(
            "it was tried as the user {user} with {keys} {agent}; a key with a passphrase has to be in the agent; the \
             public key belongs in ~{user}/.ssh/authorized_keys there"
        )
    }

    /// The configuration that ssh would use. Empty where it will not say.
    fn resolved(&self) -> String {
        let output = self.client().args(["-G", "--", &self.options.destination]).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }
}

/// The values of a setting in what `ssh -G` says.
fn setting<'a>(resolved: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    resolved.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(' '))
}

fn expand(path: &str) -> Utf8PathBuf {
    match (path.strip_prefix("~/"), env::var("HOME")) {
        (Some(rest), Ok(home)) => Utf8PathBuf::from(home).join(rest),
        _ => path.into(),
    }
}

/// The path of a program, where `PATH` says.
fn find(tool: &str) -> Option<Utf8PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    let directories = path.split(':').filter(|directory| directory.starts_with('/'));
    directories.map(|directory| Utf8Path::new(directory).join(tool)).find(|candidate| candidate.is_file())
}

/// A directory for this user alone. `/tmp` where the usual place has a name that is too long for a socket, or means
/// something to ssh.
fn directory() -> Result<TempDir, HostError> {
    let usual = env::var("XDG_RUNTIME_DIR").map_or_else(|_| env::temp_dir(), Into::into);
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let fits = |text: &str| text.starts_with('/') && text.len() < LONGEST_SOCKET - 40 && plain(text);
    let parent = match usual.to_str() {
        Some(text) if fits(text) && usual.is_dir() => text,
        _ => "/tmp",
    };
    // Its mode is 0700, which is this crate's default for directories.
    tempfile::Builder::new()
        .prefix("drivetrain-ssh-")
        .tempdir_in(parent)
        .map_err(HostError::file("make a directory in", parent))
}

fn pin(directory: &TempDir, line: &str) -> Result<Utf8PathBuf, HostError> {
    let path = directory.path().join("known_hosts");
    let path = Utf8PathBuf::from_path_buf(path).map_err(|path| {
        HostError::process("ssh")(std::io::Error::other(format!("{} is not UTF-8", path.display())))
    })?;
    fs::write(&path, line).map_err(HostError::file("write", &path))?;
    Ok(path)
}
