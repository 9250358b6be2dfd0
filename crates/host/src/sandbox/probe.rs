//! Turns bubblewrap's refusal into advice.

use fs_err as fs;

use crate::HostError;

/// Settings that forbid namespaces to users, and the value with which they do.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
];

/// What to say when even an empty sandbox cannot be made.
pub(super) fn forbidden(message: &str, privileged: bool) -> HostError {
    let reason =
        message.lines().find(|line| !line.trim().is_empty()).unwrap_or("bwrap failed without a word");
    HostError::Forbidden { reason: reason.trim().to_owned(), advice: advice(privileged, read_setting) }
}

fn read_setting(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn advice(privileged: bool, setting: impl Fn(&str) -> Option<String>) -> String {
    let off: Vec<&str> = SETTINGS
        .iter()
        .filter(|(path, forbids, _)| setting(path).is_some_and(|value| value.trim() == *forbids))
        .map(|(_, _, command)| *command)
        .collect();
    if !privileged && !off.is_empty() {
        return format!(
            "user namespaces are switched off here: run `{}`, or run drivetrain as root",
            off.join("` and `")
        );
    }
    "in a container, it needs --privileged, or --cap-add SYS_ADMIN with seccomp, AppArmor and masked /proc paths \
     off (podman: --security-opt seccomp=unconfined --security-opt unmask=ALL); elsewhere, check with \
     `bwrap --unshare-all --ro-bind / / true`"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_forbids_is_named_with_its_remedy() {
        let ubuntu = |path: &str| path.contains("apparmor").then(|| "1\n".to_owned());
        assert!(advice(false, ubuntu).contains("sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"));
        assert!(advice(true, ubuntu).contains("in a container"));
        assert!(advice(false, |_| None).contains("in a container"));
    }
}
