//! A whole run on a machine of the train's own system, under QEMU: made from an image that lags behind, prepared, booted
//! into the kernel that is built for, built on, and destroyed.
//!
//! It takes `drivetrain-lab guest`, and a quarter of an hour where there is no KVM: `scripts/test --machines`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use std::path::Path;

use common::repository::whole;
use common::server::Server;
use common::{MINI, Site, names};
use drivetrain_lab::guest::{self, FIRMWARE, Guest};
use serde_json::Value;

/// What builds take, under the names of the lab's train.
const PACKAGES: &str = "bubblewrap, cpio, elfutils-libelf-devel, gcc, kmod, make, patch, perl-interpreter, \
                        redhat-rpm-config, rpm-build, util-linux";

/// A site that builds on such a machine, which reaches the train under the name that this host has for it.
fn site(guest: &Guest) -> Option<(Site, Server)> {
    let mut site = Site::fetched()?;
    let server = Server::of(&site.lab.directory.join("www"));
    let port = server.url().rsplit_once(':').unwrap().1.to_owned();
    let (www, machines) = (site.lab.directory.join("www"), site.path("machines"));
    let section = format!(
        "  kind: qemu\n  qemu: {{image: {}, memory: 2048, disk: 6, firmware: {FIRMWARE}, directory: {}}}\n  machine: \
         {{urls: {{\"file://{}/\": \"http://10.0.2.2:{port}/\"}}}}\n  prepare: {{packages: [{PACKAGES}], exec: [/tmp, \
         /var/tmp]}}",
        guest.image,
        machines.display(),
        www.display()
    );
    site.configure(|settings| settings.builder = Some(section));
    Some((site, server))
}

#[test]
#[ignore = "takes a quarter of an hour: scripts/test --machines"]
fn a_machine_is_made_prepared_booted_into_the_kernel_used_and_destroyed() {
    let Some(guest) = guest::of_tests() else { return };
    let Some((site, server)) = site(&guest) else { return };
    site.run(&["run", "--why", "faithful"]).succeeds();
    let run = site.last_run();
    for event in run.of("machine-step") {
        println!("{} ({} ms): {}", event["step"], event["ms"], event["because"]);
    }
    // What was to be changed was, and by these steps.
    let changed = |event: &Value| event["changed"] == true;
    let steps: Vec<String> = run
        .of("machine-step")
        .iter()
        .filter(|event| changed(event))
        .map(|event| event["step"].as_str().unwrap().to_owned())
        .collect();
    let newer = &site.lab.newer.release;
    assert_eq!(
        steps,
        [
            "grow the root file system".to_owned(),
            "use the train's repositories".to_owned(),
            "bring all packages to the train's".to_owned(),
            "install what builds take".to_owned(),
            format!("make {newer} boot next"),
            "let programs on /tmp be executed".to_owned(),
            "let programs on /var/tmp be executed".to_owned(),
            format!("run the kernel {newer}"),
        ]
    );
    assert_eq!(run.components("built"), MINI);
    assert_eq!(run.published(), Some((1, false)));
    assert_eq!(whole(&site.repository(&site.lab.newer)), Ok(Some(site.served(&site.lab.newer))));
    // The machine had the train from this host, and not the vendor's source packages.
    assert!(server.requests().iter().any(|request| request.path.starts_with("/train/BaseOS/")));
    assert!(!server.requests().iter().any(|request| request.path.contains("doca")));
    is_gone(&site, &run);

    // The lock was right before there was a machine: nothing is to do, and none is made.
    site.run(&["run"]).succeeds().says("Nothing to do: version 1 is served.");
    assert!(site.last_run().of("machine-asked").is_empty());
}

/// Nothing is left of the machine.
fn is_gone(site: &Site, run: &common::Run) {
    let lease = run.of("machine-asked")[0]["lease"].as_str().unwrap().to_owned();
    let gone = &run.of("machine-gone")[0];
    assert_eq!(gone["lease"], lease);
    assert_eq!(gone["resources"].as_array().unwrap().len(), 2);
    assert_eq!(names(&site.path("machines")), Vec::<String>::new());
    assert_eq!(names(&site.state().join("leases")), Vec::<String>::new());
    let running = std::process::Command::new("pgrep").args(["-f", &lease]).output().unwrap();
    assert!(running.stdout.is_empty());
    assert!(Path::new(&site.state()).exists());
}
