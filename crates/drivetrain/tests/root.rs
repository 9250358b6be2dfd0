//! Builds that see the train's own packages instead of this host: real packages of the train, installed by the real rpm.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::consumer::Node;
use common::repository::whole;
use common::{MINI, Site, names};
use rustix::process::Signal;
use serde_json::Value;

/// What a root of the lab's train is asked to have.
const PACKAGES: &[&str] = &[
    "bash",
    "ccache",
    "coreutils",
    "cpio",
    "elfutils-libelf-devel",
    "findutils",
    "gcc",
    "kmod",
    "lab-release",
    "make",
    "openssl",
    "patch",
    "rpm-build",
    "util-linux",
];

fn section(packages: &[&str]) -> String {
    format!("  kind: sandbox\n  root: train\n  packages: [{}]", packages.join(", "))
}

/// A site whose builds see a root of these packages. Roots take root.
fn site(packages: &[&str]) -> Option<Site> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let mut site = Site::fetched()?;
    site.configure(|settings| settings.builder = Some(section(packages)));
    Some(site)
}

/// The roots of a site.
fn roots(site: &Site) -> Vec<PathBuf> {
    let directory = site.state().join("roots");
    names(&directory).iter().map(|name| directory.join(name)).filter(|path| path.is_dir()).collect()
}

fn installed(root: &Path) -> BTreeSet<String> {
    let output = Command::new("rpm")
        .arg("--root")
        .arg(root)
        .args(["--dbpath", "/var/lib/rpm", "-qa", "--qf", "%{nevra}\n"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn the_trains_own_tools_build_and_what_they_are_is_locked() {
    let Some(site) = site(PACKAGES) else { return };
    let output = site.run(&["run"]).succeeds();
    assert!(output.stdout.contains("of the train's packages ("), "{}", output.stdout);
    let run = site.last_run();
    assert_eq!(run.components("built"), MINI);
    assert_eq!(whole(&site.repository(&site.lab.newer)), Ok(Some(site.served(&site.lab.newer))));

    // Every package of the root is an input, with its checksum.
    let lock: Value =
        serde_json::from_slice(&std::fs::read(run.directory.join("lock.json")).unwrap()).unwrap();
    let inputs = lock["inputs"].as_array().unwrap();
    let locked: BTreeSet<String> = inputs
        .iter()
        .filter(|input| input["role"] == "build-root")
        .map(|input| input["nevra"].as_str().unwrap().to_owned())
        .collect();
    assert!(lock["toolchain_description"].as_str().unwrap().starts_with("the train's gcc "), "{lock}");
    let made = roots(&site);
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(installed(&made[0]), locked);

    // It is what dnf makes of the same wants.
    let node = Node::bare(&site, "node").with_train();
    let mut arguments = vec!["install"];
    arguments.extend(PACKAGES);
    node.dnf(&arguments);
    let theirs = node.dnf(&["repoquery", "--installed", "--qf", "%{name}-%{version}-%{release}.%{arch}"]);
    // Imported keys are packages to rpm.
    let theirs: BTreeSet<String> =
        theirs.lines().filter(|name| !name.starts_with("gpg-pubkey")).map(str::to_owned).collect();
    let wanted: BTreeSet<String> = locked.iter().filter(|name| theirs.contains(*name)).cloned().collect();
    assert_eq!(wanted, theirs, "dnf installs what the root does not have");
    let more: Vec<&String> = locked.difference(&theirs).collect();
    // Beside what is wanted, what the components' spec files require.
    assert!(more.len() < 12, "{more:?}");
}

#[test]
fn a_root_is_made_once_and_nothing_is_fetched_for_what_is_there() {
    let Some(mut site) = site(PACKAGES) else { return };
    site.run(&["build"]).succeeds();
    let first = site.last_run();
    let step = |run: &common::Run| {
        let steps = run.of("machine-step");
        assert_eq!(steps.len(), 1, "{steps:?}");
        steps[0]["changed"].as_bool().unwrap()
    };
    assert!(step(&first));
    // Another kernel, the same root.
    let older = site.lab.older.release.clone();
    site.configure(|settings| settings.kernel = format!("{{exact: {older}}}"));
    site.run(&["build"]).succeeds();
    let second = site.last_run();
    assert_eq!(second.components("built").len(), MINI.len());
    assert!(!step(&second));
    assert_eq!(roots(&site).len(), 1);
    // Nothing is built, and no root is looked for.
    std::fs::remove_dir_all(site.state().join("roots")).unwrap();
    site.run(&["build"]).succeeds();
    assert_eq!(site.last_run().components("reused"), MINI);
    assert!(!site.state().join("roots").exists());
}

#[test]
fn what_the_host_has_and_the_root_has_not_is_not_there() {
    // This host's gcc built the lab.
    assert!(Path::new("/usr/bin/gcc").exists());
    let Some(site) = site(&["bash", "coreutils", "cpio", "lab-release", "patch", "rpm", "util-linux"]) else {
        return;
    };
    let output = site.run(&["run"]).ends_with(3);
    output.says("is not installed on the builder").says("builder.packages");
    assert!(!site.repository(&site.lab.newer).exists());
}

#[test]
fn a_package_that_the_train_does_not_have_is_named_before_anything_is_fetched() {
    let Some(site) = site(&["gcc", "makee"]) else { return };
    site.run(&["plan"]).ends_with(3).says("makee is wanted").says("did you mean make");
    assert!(!site.state().join("roots").exists());
}

#[test]
fn a_root_that_is_not_finished_is_no_root() {
    let Some(site) = site(PACKAGES) else { return };
    let running = site.start(&["build"]);
    let begun = || roots(&site).iter().any(|root| root.join("usr").exists());
    let until = Instant::now() + Duration::from_secs(120);
    while !begun() {
        assert!(Instant::now() < until, "no root is made");
        std::thread::sleep(Duration::from_millis(5));
    }
    running.signal(Signal::KILL);
    running.end();
    let unfinished = names(&site.state().join("roots"));
    assert!(
        unfinished.iter().all(|name| name.ends_with(".new") || name.ends_with(".lock")),
        "{unfinished:?}"
    );
    site.run(&["build"]).succeeds();
    assert_eq!(site.last_run().components("built"), MINI);
    let left = names(&site.state().join("roots"));
    assert!(!left.iter().any(|name| name.ends_with(".new")), "{left:?}");
}
