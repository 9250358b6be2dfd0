//! Containers: that one can log in to one, what it is like, and that nothing is left of it.

use camino::Utf8Path;
use drivetrain_lab::container::{self, Container};

#[test]
fn it_is_a_system_of_the_train_of_its_own_and_ends_with_all_that_runs_in_it() {
    let Some(root) = container::of_tests() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let container = Container::start(&root, Utf8Path::from_path(scratch.path()).unwrap()).unwrap();
    let said = container.ssh("cat /etc/redhat-release; rpm -q dnf gcc; echo mine >/etc/mine").unwrap();
    assert!(said.contains("lab release 9.4") && said.contains("dnf-") && said.contains("gcc-"), "{said}");
    let said = container.ssh("cp /usr/bin/true /tmp/true && ! /tmp/true 2>&1").unwrap();
    assert!(said.contains("Permission denied"), "{said}");
    assert!(!root.join("etc/mine").exists());

    container.ssh("nohup sleep 31536001 >/dev/null 2>&1 &").unwrap();
    assert!(container.processes().unwrap().iter().any(|line| line == "sleep 31536001"));
    drop(container);
    let left = std::process::Command::new("pgrep").args(["-fx", "sleep 31536001"]).output().unwrap();
    assert!(left.stdout.is_empty(), "{}", String::from_utf8_lossy(&left.stdout));
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(scratch.path().to_str().unwrap()), "{mounts}");
}
