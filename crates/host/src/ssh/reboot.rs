//! Boots, and the way from one to the next.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Trouble};
use super::program::Program;
use crate::{BootId, HostError};

/// How often the machine is asked whether it is back.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one attempt to ask it may take: a connection into a machine that goes down may hang.
const ATTEMPT: Duration = Duration::from_secs(30);

const REBOOT: &str = include_str!("remote/reboot.sh");
const BOOT_ID: &str = "exec cat /proc/sys/kernel/random/boot_id";

/// Which boot this is.
pub(super) async fn boot_id(connection: &Connection) -> Result<BootId, HostError> {
    let action = "read the boot id";
    let text = connection.ask(action, &Program::new(BOOT_ID), &[]).await?;
    parse(&text).ok_or_else(|| connection.refused(action, format!("it said {text:?}")))
}

fn parse(text: &str) -> Option<BootId> {
    let fits = text.len() == 36 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    fits.then(|| BootId(text.to_owned()))
}

/// What has been seen of the machine since it was told to boot.
#[derive(Debug)]
enum Seen {
    /// It has answered all the time.
    Up,
    /// It does not answer; with the reason.
    Down(String),
    /// It did not answer, and does so again: from the same boot.
    UpAgain,
}

/// Boots the machine, and waits until another boot answers.
pub(super) async fn reboot(
    connection: &Connection,
    deadline: Duration,
    cancel: &CancellationToken,
) -> Result<BootId, HostError> {
    let mut seen = Seen::Up;
    let outcome = tokio::select! {
        result = through(connection, &mut seen) => Some(result),
        () = tokio::time::sleep(deadline) => None,
        () = cancel.cancelled() => {
            let name = connection.name().to_owned();
            return Err(HostError::Cancelled { name, action: "wait for it to boot" });
        }
    };
    outcome.unwrap_or_else(|| Err(overdue(connection.name(), deadline, seen)))
}

async fn through(connection: &Connection, seen: &mut Seen) -> Result<BootId, HostError> {
    let before = boot_id(connection).await?;
    request(connection).await?;
    loop {
        tokio::time::sleep(PAUSE).await;
        // Each time anew: a connection that is there proves nothing about the next one.
        connection.disconnect().await;
        match ask(connection).await {
            Ok(now) if now != before => return Ok(now),
            Ok(_) => {
                if matches!(seen, Seen::Down(_)) {
                    *seen = Seen::UpAgain;
                }
            }
            // A machine on its way up refuses logins for a while.
            Err(Trouble::Lost(said))
            | Err(Trouble::Failed(HostError::LoginRefused { said, .. } | HostError::Remote { said, .. })) => {
                *seen = Seen::Down(said);
            }
            Err(Trouble::Failed(error)) => return Err(error),
        }
    }
}

/// Tells it to boot. That the connection breaks meanwhile is no wonder.
async fn request(connection: &Connection) -> Result<(), HostError> {
    match connection.call(&Program::new(REBOOT), &[]).await {
        Ok(answer) if answer.code == 0 => Ok(()),
        Ok(answer) => Err(connection.refused("reboot", answer.said)),
        Err(Trouble::Lost(_)) => Ok(()),
        Err(Trouble::Failed(error)) => Err(error),
    }
}

async fn ask(connection: &Connection) -> Result<BootId, Trouble> {
    let program = Program::new(BOOT_ID);
    let asking = connection.call(&program, &[]);
    let Ok(answer) = tokio::time::timeout(ATTEMPT, asking).await else {
        return Err(Trouble::Lost(format!("no answer within {} seconds", ATTEMPT.as_secs())));
    };
    let answer = answer?;
    parse(&answer.text).ok_or_else(|| Trouble::Lost(format!("no boot id: {}", answer.said)))
}

fn overdue(name: &str, deadline: Duration, seen: Seen) -> HostError {
    let name = name.to_owned();
    match seen {
        Seen::Up => HostError::NeverWentDown { name, deadline },
        Seen::Down(said) => HostError::NeverCameBack { name, deadline, said },
        Seen::UpAgain => HostError::SameBoot { name, deadline },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_is_one_and_nothing_else() {
        assert!(parse("5d1c0f9e-4b7c-4ab0-9d4f-0d5f3a1b2c3d").is_some());
        assert!(parse("").is_none() && parse("cat: No such file or directory").is_none());
    }

    #[test]
    fn how_a_reboot_failed_is_said() {
        let deadline = Duration::from_secs(600);
        let say = |seen| overdue("root@b1", deadline, seen).to_string();
        assert_eq!(
            say(Seen::Up),
            "root@b1 was told to reboot and never went down within 600 seconds: see on its console what holds the shutdown \
             up (systemctl list-jobs)"
        );
        assert_eq!(
            say(Seen::Down("Connection refused".to_owned())),
            "root@b1 went down to reboot and was not back within 600 seconds (Connection refused): see on its console \
             whether the new kernel boots and has a network"
        );
        assert_eq!(
            say(Seen::UpAgain),
            "root@b1 was told to reboot, went away, and answers from the same boot after 600 seconds: its network or sshd \
             was restarted, but not the machine; a container cannot be rebooted like this"
        );
    }
}
