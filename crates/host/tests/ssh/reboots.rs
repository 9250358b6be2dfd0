//! Machines that boot, or do not.

use std::time::Duration;

use drivetrain_host::{BootId, CancellationToken, Ending, HostError, Machine, Script, SshMachine};

use super::run;
use super::server::{Server, World};

/// Another boot. Unlike a real one it leaves processes alone, but for those of a job that says `crash`.
const GOOD: &str = "
cat /proc/sys/kernel/random/uuid >$boot
kill $sshd
[ $1 = crash ] || exit 0
for file in $(grep -slzxF DRIVETRAIN_SUPERVISOR=$DRIVETRAIN_JOB /proc/[0-9]*/environ); do
    pid=${file#/proc/}
    kill -KILL ${pid%/environ}
done
kill -KILL $PPID";

fn server(systemctl: &str) -> Option<Server> {
    Server::start_in(&World { systemctl: Some(systemctl), ..World::default() })
}

async fn reboot(machine: &SshMachine, seconds: u64) -> Result<BootId, HostError> {
    machine.reboot(Duration::from_secs(seconds), &CancellationToken::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_reboots_is_back_with_another_boot_id() {
    let Some(server) = server(GOOD) else { return };
    let machine = server.machine();
    let before = machine.boot_id().await.unwrap();
    assert_eq!(machine.boot_id().await.unwrap(), before);
    let after = reboot(&machine, 30).await.unwrap();
    assert_ne!(after, before);
    assert_eq!(machine.boot_id().await.unwrap(), after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_does_not_reboot_is_told_apart_by_how() {
    for (systemctl, expected) in [
        ("exit 0", "was told to reboot and never went down within 6 seconds"),
        ("kill $sshd", "was told to reboot, went away, and answers from the same boot after 6 seconds"),
        ("touch $stop; kill $sshd", "went down to reboot and was not back within 6 seconds"),
    ] {
        let Some(server) = server(systemctl) else { return };
        let text = reboot(&server.machine(), 6).await.unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_boot_can_be_cancelled() {
    let Some(server) = server("exit 0") else { return };
    let cancel = CancellationToken::new();
    let machine = server.machine();
    let cancelling = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(machine.reboot(Duration::from_secs(60), &cancel), cancelling);
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "cancelled while root@127.0.0.1 was made to wait for it to boot"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_reboots_last_has_ended_well_and_one_under_a_reboot_has_not() {
    let Some(server) = server(GOOD) else { return };
    let machine = server.machine();
    let (finished, lines) = run(&machine, &Script::new("echo bye; systemctl reboot")).await.unwrap();
    assert_eq!((finished.ending, lines), (Ending::Exited(0), vec!["bye".to_owned()]));

    let outcome = run(&machine, &Script::new("echo bye; systemctl crash; sleep 60")).await;
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "root@127.0.0.1 was rebooted while a script ran on it: see its journal for why (journalctl -b -1)"
    );
    machine.settle().await;
}
