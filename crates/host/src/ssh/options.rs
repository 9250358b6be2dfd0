//! How a machine is reached.

use std::ffi::OsString;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::HostError;

/// How a machine is reached. What is not said here is as the user's `~/.ssh/config` has it.
#[derive(Debug, Clone)]
pub struct SshOptions {
    /// An alias of the configuration, a host, or `user@host`.
    pub destination: String,
    /// The port, instead of the configured one.
    pub port: Option<u16>,
    /// The user, instead of the configured one.
    pub user: Option<String>,
    /// The file of the private key. No other is tried then.
    pub identity: Option<Utf8PathBuf>,
    /// The machine's public key, `type base64`. It alone is accepted then, and no file of known hosts is looked at.
    pub host_key: Option<String>,
    /// Another configuration file for ssh.
    pub config: Option<Utf8PathBuf>,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long a connection that was lost is tried again before that is an error. The first one is not tried again.
    pub patience: Duration,
    /// After how long without a word from us the machine kills a script. More than `patience`, or a script may be gone
    /// by the time that the machine can be reached again.
    pub abandon_after: Duration,
}

impl SshOptions {
    /// The defaults, with this destination.
    #[must_use]
    pub fn new(destination: impl Into<String>) -> Self {
        Self {
            destination: destination.into(),
            port: None,
            user: None,
            identity: None,
            host_key: None,
            config: None,
            connect_timeout: Duration::from_secs(15),
            patience: Duration::from_secs(150),
            abandon_after: Duration::from_secs(180),
        }
    }

    /// A person's name for the machine.
    pub(super) fn name(&self) -> String {
        match &self.user {
            Some(user) if !self.destination.contains('@') => format!("{user}@{}", self.destination),
            _ => self.destination.clone(),
        }
    }

    /// Refuses what ssh would take for something else: an option, a pattern, a command.
    pub(super) fn check(&self) -> Result<(), HostError> {
        check_word("destination", &self.destination, "@:%[]")?;
        // `user@-oProxyCommand=…`: what follows the user is looked at as well.
        let host = self.destination.rsplit('@').next().unwrap_or_default();
        check_word("destination", host, ":%[]")?;
        if let Some(user) = &self.user {
            check_word("user", user, "@")?;
        }
        for (option, path) in [("identity", &self.identity), ("config", &self.config)] {
            if let Some(path) = path {
                check_path(option, path)?;
            }
        }
        Ok(())
    }

    /// The line of a file of known hosts that is true for this machine's key, where that is given.
    pub(super) fn known_host(&self) -> Result<Option<String>, HostError> {
        let Some(key) = &self.host_key else { return Ok(None) };
        let mut words = key.split_ascii_whitespace();
        let (kind, data) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let kind_is_one =
            !kind.is_empty() && kind.chars().all(|c| c.is_ascii_alphanumeric() || "-.@".contains(c));
        let data_is_one =
            data.len() > 16 && data.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c));
        if kind_is_one && data_is_one && !key.trim_end().contains('\n') {
            Ok(Some(format!("* {kind} {data}\n")))
        } else {
            Err(refused("host key", key, "it is not a public key, as in `ssh-ed25519 AAAA…`"))
        }
    }

    /// The arguments that all uses of ssh have in common.
    pub(super) fn arguments(&self, known_hosts: Option<&Utf8Path>) -> Vec<OsString> {
        let mut list: Vec<OsString> = FIXED.iter().flat_map(|option| ["-o".into(), option.into()]).collect();
        let mut push = |option: &str, value: String| list.extend([option.into(), value.into()]);
        push("-o", format!("ConnectTimeout={}", self.connect_timeout.as_secs().max(1)));
        if let Some(known_hosts) = known_hosts {
            push("-o", format!("UserKnownHostsFile=\"{known_hosts}\""));
            PINNED.iter().for_each(|option| push("-o", (*option).to_owned()));
        }
        if let Some(config) = &self.config {
            push("-F", config.to_string());
        }
        if let Some(port) = self.port {
            push("-p", port.to_string());
        }
        if let Some(user) = &self.user {
            push("-l", user.clone());
        }
        if let Some(identity) = &self.identity {
            push("-o", "IdentitiesOnly=yes".to_owned());
            push("-i", identity.to_string());
        }
        list
    }
}

/// What no configuration changes: nothing is asked, nothing is forwarded, a host that is not known is refused, and the
/// other end is known to be gone within half a minute.
const FIXED: &[&str] = &[
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "EscapeChar=none",
    "LogLevel=INFO",
    "ServerAliveInterval=10",
    "ServerAliveCountMax=3",
];

/// With a key that is given, no other source of keys counts.
const PINNED: &[&str] =
    &["GlobalKnownHostsFile=/dev/null", "KnownHostsCommand=none", "VerifyHostKeyDNS=no", "UpdateHostKeys=no"];

fn check_word(option: &'static str, value: &str, more: &str) -> Result<(), HostError> {
    if value.is_empty() {
        return Err(refused(option, value, "it is empty"));
    }
    if value.starts_with('-') {
        return Err(refused(option, value, "ssh would take it for an option"));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c) || more.contains(c);
    match value.chars().find(|&c| !fits(c)) {
        Some(odd) => Err(refused(option, value, &format!("{odd:?} has no place in it"))),
        None => Ok(()),
    }
}

fn check_path(option: &'static str, path: &Utf8Path) -> Result<(), HostError> {
    let value = path.as_str();
    if value.contains(['%', '$', '\n']) {
        return Err(refused(
            option,
            value,
            "ssh reads a meaning into %, $ and line ends in the names of files",
        ));
    }
    if !path.is_file() {
        return Err(refused(option, value, "there is no such file"));
    }
    Ok(())
}

fn refused(option: &'static str, value: &str, reason: &str) -> HostError {
    HostError::SshOption { option, value: value.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(options: &SshOptions) -> String {
        options
            .check()
            .and_then(|()| options.known_host().map(|_| ()))
            .map_or_else(|e| e.to_string(), |()| String::new())
    }

    #[test]
    fn what_ssh_would_take_for_something_else_is_refused() {
        let refused = |destination: &str| message(&SshOptions::new(destination));
        for destination in ["builder", "root@builder-3.example.org", "root@[fe80::1%eth0]", "a.b@domain@host"]
        {
            assert_eq!(refused(destination), "");
        }
        assert_eq!(
            refused("-oProxyCommand=id"),
            "the destination \"-oProxyCommand=id\" of ssh is refused: ssh would take it for an option"
        );
        assert_eq!(
            refused("a@-oProxyCommand"),
            "the destination \"-oProxyCommand\" of ssh is refused: ssh would take it for an option"
        );
        assert_eq!(refused("a b"), "the destination \"a b\" of ssh is refused: ' ' has no place in it");
        assert!(
            refused("a;b").contains("';'")
                && refused("a\nb").contains(r"'\n'")
                && refused("").contains("empty")
        );
        let user = SshOptions { user: Some("-x".to_owned()), ..SshOptions::new("a") };
        assert!(message(&user).contains("the user \"-x\""));
    }

    #[test]
    fn a_pinned_key_is_one_key() {
        let key = |key: &str| SshOptions { host_key: Some(key.to_owned()), ..SshOptions::new("a") };
        let pinned = key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA comment").known_host().unwrap();
        assert_eq!(pinned.as_deref(), Some("* ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA\n"));
        assert!(message(&key("AAAAC3NzaC1lZDI1NTE5AAAA")).contains("it is not a public key"));
        assert!(
            message(&key("ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAA\n* ssh-rsa BBBB")).contains("not a public key")
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let options = SshOptions { identity: Some("/nonexistent/key".into()), ..SshOptions::new("a") };
        assert_eq!(
            message(&options),
            "the identity \"/nonexistent/key\" of ssh is refused: there is no such file"
        );
    }
}
