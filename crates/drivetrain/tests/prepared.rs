//! Hosts that are made ready, by real dnf and rpm on a system of the train's packages: a container that ssh reaches.
//!
//! It takes root and `drivetrain-lab container`.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod common;

use std::process::Command;

use common::boxed::{Boxed, PLACE};
use common::repository::whole;
use common::{MINI, Run};
use drivetrain_lab::base64;

/// What builds take, under the names of the lab's train.
const PACKAGES: &str = "bubblewrap, cpio, elfutils-libelf-devel, gcc, kmod, make, patch, perl-interpreter, \
                        redhat-rpm-config, rpm-build, util-linux";
fn prepared() -> Option<Boxed> {
    Boxed::new(&format!("exec: [/tmp], packages: [{PACKAGES}]"))
}

/// Installs packages that no repository has, each with these lines of a spec file.
fn install(host: &Boxed, packages: &[(&str, &str)]) {
    let top = host.site.path("rpmbuild");
    std::fs::create_dir_all(&top).unwrap();
    for (name, tags) in packages {
        let spec = top.join(format!("{name}.spec"));
        let text = format!(
            "Name: {name}\nVersion: 99\nRelease: 1\nSummary: {name}\nLicense: MIT\nBuildArch: noarch\n{tags}\n\
             %description\n{name}\n%files\n"
        );
        std::fs::write(&spec, text).unwrap();
        let mut rpmbuild = Command::new("rpmbuild");
        rpmbuild.args(["-bb", "--quiet", "--define"]).arg(format!("_topdir {}", top.display())).arg(spec);
        assert!(rpmbuild.status().unwrap().success());
    }
    for (name, _) in packages {
        let package = std::fs::read(top.join(format!("RPMS/noarch/{name}-99-1.noarch.rpm"))).unwrap();
        let text = base64::encode(&package);
        let script = format!("echo {text} | base64 -d >/root/p.rpm && rpm -i /root/p.rpm && rm /root/p.rpm");
        host.container.ssh(&script).unwrap();
    }
}

/// The steps of a run that changed something. Whether the train has newer packages than the container is the lab's matter.
fn changed(run: &Run) -> Vec<String> {
    let steps = run.of("machine-step");
    let changed = steps.iter().filter(|event| event["changed"] == true);
    let names = changed.map(|event| event["step"].as_str().unwrap().to_owned());
    names.filter(|step| !step.starts_with("bring all")).collect()
}

#[test]
fn a_host_is_brought_to_the_train_once_and_found_so_afterwards() {
    let Some(mut host) = prepared() else { return };
    host.site.run(&["run"]).succeeds();
    let run = host.site.last_run();
    assert_eq!(
        changed(&run),
        ["use the train's repositories", "install what builds take", "let programs on /tmp be executed"]
    );
    assert_eq!(run.components("built"), MINI);
    assert_eq!(
        whole(&host.site.repository(&host.site.lab.newer)),
        Ok(Some(host.site.served(&host.site.lab.newer)))
    );
    let options = host.container.ssh("findmnt -no OPTIONS /tmp").unwrap();
    assert!(!options.contains("noexec") && options.contains("rw"), "{options}");

    // Another kernel, the same host.
    let older = host.site.lab.older.release.clone();
    host.site.configure(|settings| settings.kernel = format!("{{exact: {older}}}"));
    host.site.run(&["build"]).succeeds();
    assert_eq!(changed(&host.site.last_run()), [""; 0]);
}

#[test]
fn packages_that_do_not_go_with_the_trains_are_named_by_dnf_and_nothing_is_built() {
    let Some(host) = prepared() else { return };
    // Newer than the train's, and another that insists on it.
    install(&host, &[("bc", ""), ("site-agent", "Requires: bc >= 99")]);
    let output = host.site.run(&["run"]).ends_with(9);
    output.says("bring all packages to the train's").says("site-agent");
    let run = host.site.last_run();
    assert!(run.of("component-started").is_empty());
    let log = std::fs::read_to_string(run.directory.join("machine.log")).unwrap();
    assert!(log.contains("site-agent"), "{log}");
    // Nothing was changed half-way, and it goes on once that is out of the way.
    assert_eq!(host.container.ssh("rpm -q --qf '%{version}' bc").unwrap(), "99");
    host.container.ssh("rpm -e site-agent").unwrap();
    host.site.run(&["run"]).succeeds();
    assert_ne!(host.container.ssh("rpm -q --qf '%{version}' bc").unwrap(), "99");
}

#[test]
fn a_disk_that_is_full_there_is_told_as_that() {
    let Some(host) = prepared() else { return };
    host.container.ssh(&format!("mkdir -p {PLACE}; mount -t tmpfs -o size=2m tmpfs {PLACE}")).unwrap();
    host.site.run(&["run"]).ends_with(9).says("No space left on device");
    // Room for the program and the inputs, and none for a build.
    host.container
        .ssh(&format!(
            "umount {PLACE}; mkdir -p {PLACE}/work; mount -t tmpfs -o size=128k tmpfs {PLACE}/work"
        ))
        .unwrap();
    let output = host.site.run(&["run"]);
    assert_ne!(output.code, Some(0));
    output.says("No space left on device");
    assert!(!host.site.repository(&host.site.lab.newer).exists());
    host.container.ssh(&format!("umount {PLACE}/work")).unwrap();
    host.site.run(&["run"]).succeeds();
}
