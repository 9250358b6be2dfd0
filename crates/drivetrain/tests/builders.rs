//! Builds on other machines: a host over a real sshd, and machines under a real QEMU.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::repository::whole;
use common::sshd::Sshd;
use common::{MINI, Site, names};
use rustix::process::Signal;
use serde_json::Value;

/// A site whose builder is reached over SSH, and the builder's directory.
fn site_with_builder(site: Option<Site>) -> Option<(Site, Sshd, std::path::PathBuf)> {
    let mut site = site?;
    let server = Sshd::start(&site.path(""))?;
    let place = site.path("builder");
    site.configure(|settings| settings.builder = Some(server.section(&place)));
    Some((site, server, place))
}

fn digests(site: &Site) -> Value {
    let kernel = &site.lab.newer;
    let manifest = std::fs::read(site.repository(kernel).join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    manifest["packages"].clone()
}

#[test]
fn a_host_builds_what_this_one_would_and_the_same_bytes_are_published() {
    let Some(site) = Site::built() else { return };
    let Some((there, _server, place)) = site_with_builder(Site::new()) else { return };
    site.run(&["run"]).succeeds();
    let output = there.run(&["run"]).succeeds();
    assert!(output.stdout.contains("builder     builder-3\n"), "{}", output.stdout);
    let run = there.last_run();
    assert_eq!(run.components("built"), MINI);
    assert_eq!(whole(&there.repository(&there.lab.newer)), Ok(Some(there.served(&there.lab.newer))));
    assert_eq!(digests(&there), digests(&site), "another host, and other bytes");
    // Logs are here, and nothing of the site is there.
    for component in MINI {
        let log = std::fs::read_to_string(run.directory.join(format!("logs/{component}.log"))).unwrap();
        assert!(log.contains("Executing(%build)"), "{log}");
    }
    let found =
        Command::new("grep").args(["-rlE", "lab-9.4|published"]).arg(place.join("orders")).output().unwrap();
    assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));

    // What is finished is not built again, and no machine is asked for it.
    drop(_server);
    std::fs::remove_dir_all(&there.settings.publish).unwrap();
    there.run(&["run"]).ends_with(9).says("builder-3");
}

#[test]
fn what_a_component_needs_is_put_there_from_here() {
    let Some((site, _server, place)) = site_with_builder(Site::built()) else { return };
    // All is finished, by the same tools: nothing is built, and nothing is put there but the program.
    site.run(&["run"]).succeeds();
    assert_eq!(site.last_run().components("reused"), MINI);
    assert_eq!(names(&place.join("components")), Vec::<String>::new());
    // Without the second component it is built against the first, which this host built.
    let components = site.state().join("components");
    for key in names(&components) {
        let manifest = std::fs::read_to_string(components.join(&key).join("manifest.json")).unwrap();
        if manifest.contains("\"component\": \"hello-user-kmod\"") {
            std::fs::remove_dir_all(components.join(&key)).unwrap();
        }
    }
    site.run(&["build"]).succeeds();
    let run = site.last_run();
    assert_eq!(
        (run.components("built"), run.components("reused")),
        (vec![MINI[1].to_owned()], vec![MINI[0].to_owned()])
    );
    assert_eq!(names(&place.join("components")).len(), 2);
    assert_eq!(names(&components).len(), 2);
}

#[test]
fn what_is_finished_and_needed_by_nothing_that_is_left_is_not_built_again_there() {
    let Some((mut site, _server, place)) = site_with_builder(Site::built()) else { return };
    site.configure(|settings| settings.extra = vec![site_trap(settings)]);
    site.run(&["build"]).ends_with(5).says("broken-kmod did not build").says("broken.c:9");
    let run = site.last_run();
    assert_eq!(
        (run.components("reused"), run.components("failed").len()),
        (MINI.map(String::from).to_vec(), 1)
    );
    assert_eq!(names(&place.join("components")), Vec::<String>::new());
}

#[test]
fn a_component_that_fails_there_is_told_with_its_first_error_and_its_log() {
    let Some((mut site, _server, _)) = site_with_builder(Site::new()) else { return };
    site.configure(|settings| settings.extra = vec![site_trap(settings)]);
    let output = site.run(&["build", "--keep-going"]).ends_with(5);
    output.says("broken-kmod did not build").says("broken.c:9");
    let run = site.last_run();
    assert_eq!((run.components("built").len(), run.components("failed").len()), (2, 1));
    let log = std::fs::read_to_string(run.directory.join("logs/broken-kmod.log")).unwrap();
    assert!(log.contains("broken.c:9"), "{log}");
}

fn site_trap(settings: &common::Settings) -> std::path::PathBuf {
    Path::new(&settings.vendor).join("../traps/broken-kmod-1.0-1.src.rpm")
}

#[test]
fn an_interrupted_build_leaves_no_process_there_and_the_next_run_goes_on() {
    let Some((mut site, _server, place)) = site_with_builder(Site::new()) else { return };
    site.configure(common::Settings::slow);
    let mut running = site.start(&["run"]);
    assert!(running.reaches(|event| event["event"] == "component-started"));
    running.signal(Signal::INT);
    running.end().ends_with(130);
    let left =
        Command::new("pgrep").args(["-fa", place.to_str().unwrap()]).stdin(Stdio::null()).output().unwrap();
    assert!(left.stdout.is_empty(), "{}", String::from_utf8_lossy(&left.stdout));
    assert!(!site.repository(&site.lab.newer).exists());
    site.run(&["run"]).succeeds();
    assert_eq!(site.last_run().published(), Some((1, false)));
}

#[test]
fn a_network_that_drops_in_the_midst_of_a_build_costs_nothing() {
    let Some((mut site, server, _)) = site_with_builder(Site::new()) else { return };
    site.configure(common::Settings::slow);
    let mut running = site.start(&["run"]);
    assert!(running.reaches(|event| event["event"] == "component-started"));
    // All connections, and nothing of what runs at their other end.
    assert!(server.drop_connections() > 0);
    running.end().succeeds();
    let run = site.last_run();
    assert_eq!(run.components("built"), MINI);
    assert_eq!(run.published(), Some((1, false)));
    for component in MINI {
        let log = std::fs::read_to_string(run.directory.join(format!("logs/{component}.log"))).unwrap();
        assert_eq!(log.matches("Executing(%build)").count(), 1, "{log}");
    }
}

#[test]
fn a_host_that_is_not_the_one_that_is_known_is_refused() {
    let Some((site, server, _)) = site_with_builder(Site::new()) else { return };
    server.write_known(&server.other_key());
    let output = site.run(&["plan"]).ends_with(9);
    assert!(output.error().contains("host key"), "{}", output.error());
    site.nothing_happened();
}

#[test]
fn a_host_that_is_prepared_is_used_by_one_run_at_a_time() {
    let Some((mut site, server, place)) = site_with_builder(Site::fetched()) else { return };
    site.configure(|settings| {
        settings.slow();
        let nothing = "grow: false, repositories: false, sync: false, boot: false, packages: []";
        settings.builder = Some(format!("{}\n  prepare: {{{nothing}}}", server.section(&place)));
    });
    let mut first = site.start(&["run"]);
    assert!(first.reaches(|event| event["event"] == "component-started"));
    let note = std::fs::read_to_string(place.join("holder")).unwrap();
    first.signal(Signal::INT);
    first.end().ends_with(130);
    assert!(!place.join("holder").exists());
    // Another runner's, of which this one knows nothing, is not waited for and not taken over.
    let (_, rest) = note.split_once(' ').unwrap();
    std::fs::write(place.join("holder"), format!("20261127T140000.123Z-abcd {rest}")).unwrap();
    let second = site.run(&["run"]).ends_with(8);
    assert!(second.error().contains("is being used by the run "), "{}", second.error());
    assert!(place.join("holder").exists());
    // One that was killed on this host left its note, and is not waited for.
    std::fs::write(place.join("holder"), note).unwrap();
    site.run(&["run"]).succeeds();
    assert!(!place.join("holder").exists());
}

/// A site whose machines are made under QEMU, from an image that nothing boots from; and the directory where they are.
fn site_of_an_empty_image(more: &str) -> Option<(Site, std::path::PathBuf)> {
    let has = |program: &str| {
        Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !has("qemu-img") || !has("qemu-system-x86_64") {
        println!("skipped: there is no QEMU");
        return None;
    }
    let mut site = Site::fetched()?;
    let image = site.path("image.qcow2");
    let made = Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&image).arg("1M").status();
    assert!(made.unwrap().success());
    let machines = site.path("machines");
    site.configure(|settings| {
        settings.builder = Some(format!(
            "  kind: qemu\n  qemu: {{image: {}, memory: 256, cpus: 1, directory: {}}}\n  machine: {{urls: {{\"file://\": \
             \"http://10.0.2.2:1\"}}{more}}}",
            image.display(),
            machines.display()
        ));
    });
    Some((site, machines))
}

#[test]
fn a_machine_that_never_boots_is_given_up_with_what_its_console_said_and_removed() {
    let Some((site, machines)) = site_of_an_empty_image(", patience: 1") else { return };
    // Kept, since that is asked for; and removed by its name.
    let output = site.run(&["run", "--keep"]).ends_with(9);
    output
        .says("did not come up")
        .says("its console")
        .says("`--keep` leaves the machine")
        .says("is kept until ");
    assert_eq!(names(&machines).len(), 1);
    site.run(&["machines"]).succeeds().says("kept").says("ssh ");
    site.run(&["gc"]).succeeds().says("nothing that nobody needs");
    let lease = site.last_run().of("machine-asked")[0]["lease"].as_str().unwrap().to_owned();
    site.run(&["gc", "--lease", &lease]).succeeds();
    assert_eq!(names(&machines), Vec::<String>::new());
}

#[test]
fn a_machine_of_a_killed_run_is_listed_and_removed() {
    let Some((site, machines)) = site_of_an_empty_image("") else { return };
    site.run(&["plan", "--no-lock"]).succeeds().says("builder     a machine of QEMU on this host");
    assert_eq!(names(&machines), Vec::<String>::new(), "a plan makes nothing");
    site.run(&["machines"]).succeeds().says("There are no machines of drivetrain's");
    let mut running = site.start(&["run"]);
    // Nothing boots from the image: it waits for an answer.
    assert!(running.reaches(|event| event["event"] == "machine-asked"));
    while names(&machines).iter().all(|name| !machines.join(name).join("pid").exists()) {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    site.run(&["machines"]).succeeds().says("in use");
    site.run(&["gc"]).succeeds().says("nothing that nobody needs");
    running.kill();
    let listed = site.run(&["machines", "--json"]).succeeds().json();
    assert_eq!(listed[0]["state"], "left behind");
    // Its process, and its directory. While it starts it may be two processes.
    assert!(listed[0]["resources"].as_array().unwrap().len() >= 2, "{listed}");
    site.run(&["gc", "--dry-run"]).succeeds().says("Would be removed");
    site.run(&["gc"]).succeeds().says("its run has ended: removed process");
    site.run(&["machines"]).succeeds().says("There are no machines of drivetrain's");
    assert_eq!(names(&machines), Vec::<String>::new());

    // One that is interrupted removes its own.
    let mut running = site.start(&["run"]);
    assert!(running.reaches(|event| event["event"] == "machine-asked"));
    running.signal(Signal::INT);
    running.end().ends_with(130);
    assert_eq!(names(&machines), Vec::<String>::new());
    assert_eq!(names(&site.state().join("leases")), Vec::<String>::new());
}
