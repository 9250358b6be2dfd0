//! Whole runs on servers of a real OpenStack: made, built on over SSH, and destroyed. Its hypervisor is not one; an sshd
//! on this host at each server's address stands in for its machine.
//!
//! It takes `drivetrain-lab openstack install`: `scripts/test --openstack`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use common::repository::whole;
use common::{MINI, Site, names};
use drivetrain_lab::openstack::{self, Hosts, Options, Server, Service, Who};
use rustix::process::Signal;

/// A site whose builder is a server of the cloud; nothing is prepared on what stands in for it.
fn site(server: &Server) -> Option<Site> {
    let mut site = Site::fetched()?;
    let clouds = site.path("clouds.yaml");
    std::fs::write(&clouds, server.clouds_yaml()).unwrap();
    site.environment.push(("OS_CLIENT_CONFIG_FILE".to_owned(), clouds.display().to_string()));
    let place = site.path("builder");
    site.configure(|settings| {
        settings.builder = Some(format!(
            "  kind: openstack\n  openstack: {{cloud: lab, image: rocky-9, flavor: b.small, network: build-net}}\n  \
             machine: {{directory: {}}}\n  prepare: {{grow: false, repositories: false, sync: false, packages: [], \
             boot: false}}",
            place.display()
        ));
    });
    Some(site)
}

/// What is in the project: servers, and ports that are nobody's but theirs.
fn inventory(server: &Server) -> Vec<String> {
    let mut all = Vec::new();
    for (service, path, key) in [
        (Service::NovaApi, "/servers", "servers"),
        (Service::Neutron, "/ports?fields=name&fields=device_owner", "ports"),
    ] {
        let (status, answer) = server.request(Who::Builder, "GET", service, path, None).unwrap();
        assert_eq!(status, 200, "{answer}");
        let items = answer[key].as_array().unwrap().iter();
        let items = items.filter(|item| !item["device_owner"].as_str().unwrap_or("").starts_with("network:"));
        all.extend(items.map(|item| format!("{key} {}", item["name"])));
    }
    all
}

/// Does something while servers get their hosts.
fn attended<T>(server: &Server, directory: &Utf8Path, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let attending = scope.spawn(|| {
            let mut hosts = Hosts::new(directory);
            while !done.load(Ordering::Relaxed) {
                hosts.attend(server).unwrap();
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        attending.join().unwrap();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
fn servers_are_made_used_and_destroyed_and_none_is_left_of_runs_that_are_killed() {
    let Some(installation) = openstack::installed() else { return };
    let server = Server::start(&installation, Options::default()).unwrap();
    let Some(site) = site(&server) else { return };
    let hosts = Utf8PathBuf::try_from(site.path("hosts")).unwrap();
    attended(&server, &hosts, || {
        the_whole_of_it(&site, &server);
        killed_at_moments(&site, &server);
    });
    nobody_answers(&site, &server);
}

fn the_whole_of_it(site: &Site, server: &Server) {
    let plan = site.run(&["plan"]).succeeds();
    assert!(plan.stdout.contains("OpenStack at http://127.77."), "{}", plan.stdout);
    assert_eq!(inventory(server), [""; 0], "a plan makes nothing");

    let output = site.run(&["run", "--why", "cloud"]).succeeds();
    println!("{}{}", output.stderr, output.stdout);
    let run = site.last_run();
    assert_eq!(run.components("built"), MINI);
    assert_eq!(run.published(), Some((1, false)));
    assert_eq!(whole(&site.repository(&site.lab.newer)), Ok(Some(site.served(&site.lab.newer))));
    let gone = run.of("machine-gone");
    assert_eq!(gone[0]["lease"], run.of("machine-asked")[0]["lease"]);
    assert_eq!(inventory(server), [""; 0]);
    assert_eq!(names(&site.state().join("leases")), Vec::<String>::new());
    // What is served asks for no machine.
    site.run(&["run"]).succeeds().says("Nothing to do: version 1 is served.");
    assert!(site.last_run().of("machine-asked").is_empty());
}

/// Nothing is built and nothing published. What stands in for machines keeps what was on it, as no machine does.
fn start_afresh(site: &Site) {
    std::fs::remove_dir_all(site.state().join("components")).unwrap();
    std::fs::remove_dir_all(&site.settings.publish).unwrap();
    std::fs::remove_dir_all(site.path("builder")).unwrap();
}

/// SIGKILL while the machine is asked for, waited for, built on: the next command removes it, by what is noted on it.
fn killed_at_moments(site: &Site, server: &Server) {
    start_afresh(site);
    for event in ["machine-asked", "machine-up", "component-started"] {
        let mut running = site.start(&["run"]);
        assert!(running.reaches(|said| said["event"] == event), "{event}");
        running.signal(Signal::KILL);
        running.end();
        // Another host, without a record of anything: it takes what has expired, and leaves what has not.
        let elsewhere = site.path(&format!("elsewhere-{event}"));
        let mut other = common::bare(&site.path(""));
        other.envs(site.environment.iter().map(|(name, value)| (name, value)));
        other.arg("--config").arg(site.config()).arg("--state").arg(&elsewhere).arg("gc");
        let before = inventory(server);
        common::finish(&mut other).succeeds();
        if event != "machine-asked" {
            assert!(!before.is_empty(), "{event}: there was nothing to leave");
            assert_eq!(inventory(server), before, "{event}: what has not expired was taken");
        }
        // The host whose run was killed knows that nobody needs it.
        site.run(&["gc"]).succeeds();
        assert_eq!(inventory(server), [""; 0], "killed at {event}");
        println!("killed at {event}: {} resources were left, and are gone", before.len());
    }
    site.run(&["run"]).succeeds();
    assert_eq!(inventory(server), [""; 0]);
}

/// A server that never answers is given up by who interrupts, and is gone.
fn nobody_answers(site: &Site, server: &Server) {
    start_afresh(site);
    let mut running = site.start(&["run"]);
    assert!(running.says("waiting for "));
    running.signal(Signal::INT);
    running.end().ends_with(130);
    assert_eq!(inventory(server), [""; 0]);
}
