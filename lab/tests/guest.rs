//! The virtual machine: what its image is like, and that one can log in to it.

use std::time::Duration;

use camino::Utf8Path;
use drivetrain_lab::guest::{self, Machine};

/// Emulated, on a machine that does other things too.
const BOOT: Duration = Duration::from_secs(400);

#[test]
fn it_boots_its_old_kernel_and_has_what_is_to_be_repaired() {
    let Some(guest) = guest::of_tests() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(&guest, Utf8Path::from_path(scratch.path()).unwrap()).unwrap();
    let elapsed = machine.wait(BOOT).unwrap();
    println!("one can log in after {:.1} s", elapsed.as_secs_f64());

    assert_eq!(machine.ssh("uname -r").unwrap().trim(), guest.kernel);
    let packages = machine.ssh("rpm -qa kernel-core dnf").unwrap();
    assert!(packages.contains("kernel-core-") && packages.contains("dnf-"), "{packages}");

    // The boot entry is another machine's.
    let entries = machine.ssh("ls /boot/loader/entries").unwrap();
    assert_eq!(entries.trim(), format!("{}-{}.conf", guest.foreign_machine_id, guest.kernel));
    assert_eq!(machine.ssh("cat /etc/machine-id").unwrap().trim(), guest.machine_id);
    assert_ne!(guest.machine_id, guest.foreign_machine_id);
    assert!(machine.ssh("cat /boot/loader/loader.conf").unwrap().contains(&guest.foreign_machine_id));

    // Nothing can be run from where temporary files are, whichever way fstab says so.
    for dir in ["/tmp", "/var/tmp"] {
        let script = format!("cp /usr/bin/true {dir}/true && ! {dir}/true 2>&1");
        let said = machine.ssh(&script).unwrap();
        assert!(said.contains("Permission denied"), "{dir}: {said}");
    }
    let fstab = machine.ssh("cat /etc/fstab").unwrap();
    assert!(fstab.contains(",noexec,") && fstab.contains(",noexec 0"), "{fstab}");

    // The root file system could be larger.
    let sizes = machine.ssh("blockdev --getsize64 /dev/vda /dev/vda4").unwrap();
    let sizes: Vec<u64> = sizes.lines().map(|line| line.parse().unwrap()).collect();
    assert!(sizes[0] > 2 * sizes[1], "{sizes:?}");

    // It is another one's key that does not let in.
    std::fs::remove_file(machine.key()).unwrap();
    assert!(machine.ssh("true").is_err());
}
