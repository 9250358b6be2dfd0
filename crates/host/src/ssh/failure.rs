//! What ssh says, as an error with advice.

use super::session::Closed;
use super::setup::Setup;
use crate::HostError;

/// The end of what was said, on one line.
pub(super) fn summary(said: &str) -> String {
    last(said, 6)
}

fn last(said: &str, count: usize) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return "it said nothing".to_owned();
    }
    lines[lines.len().saturating_sub(count)..].join("; ")
}

/// Why a connection could not be made.
pub(super) fn connecting(setup: &Setup, closed: &Closed) -> HostError {
    let name = setup.name.clone();
    // Before these two come ssh's frame and its advice, in the place of which is ours.
    let verdict = || last(&closed.said, 2);
    if closed.said.contains("HOST IDENTIFICATION HAS CHANGED") || closed.said.contains("HOST KEY HAS CHANGED")
    {
        return HostError::HostKeyChanged { name, said: verdict(), advice: changed(setup, &closed.said) };
    }
    if closed.said.contains("Host key verification failed") || closed.said.contains("host key is known for") {
        return HostError::HostKeyUnknown { name, said: verdict(), advice: unknown(setup) };
    }
    let said = summary(&closed.said);
    if closed.said.contains("Permission denied (") || closed.said.contains("Too many authentication failures")
    {
        return HostError::LoginRefused { name, said, advice: setup.identities() };
    }
    if closed.code.is_some_and(|code| code != 255) {
        return HostError::Remote { name, action: "run a command".to_owned(), said };
    }
    HostError::Unreachable { name, said }
}

fn changed(setup: &Setup, said: &str) -> String {
    let shown = said.split_ascii_whitespace().find(|word| word.starts_with("SHA256:"));
    let shown = shown.map(|key| format!("it shows {}; ", key.trim_end_matches('.'))).unwrap_or_default();
    if setup.pinned() {
        return format!(
            "{shown}that is not the key that it was made or configured with: another machine answers at this address, or it \
             was installed anew; find out which before you change the configured key"
        );
    }
    // Of a jump host, it is not this machine's key that has changed.
    let removal = said.lines().find_map(|line| Some(line[line.find("ssh-keygen -f")?..].trim().to_owned()));
    let removal = removal.unwrap_or_else(|| format!("ssh-keygen -R {}", setup.host()));
    format!(
        "{shown}another machine answers at this address, or it was installed anew: compare that with the one on its console \
         (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), and only where they agree remove the old key (`{removal}`) \
         and add the new one; never switch the check off"
    )
}

fn unknown(setup: &Setup) -> String {
    if setup.pinned() {
        return "it has no key of the type that it was made or configured with: another machine answers at this address, \
                or sshd offers other keys; see `ssh-keyscan` for those"
            .to_owned();
    }
    format!(
        "get its key (`{}`), compare the fingerprint (`ssh-keygen -lf` on that) with the one on its console, and add the \
         line to ~/.ssh/known_hosts; never switch the check off",
        setup.keyscan()
    )
}
