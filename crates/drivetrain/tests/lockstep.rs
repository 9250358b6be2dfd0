//! Kernels and drivers held together, judged by a node's dnf with the settings of Enterprise Linux: the train behind the
//! driver, equal to it, and ahead of it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use std::path::PathBuf;

use common::consumer::{Node, has};
use common::pulp_user::publishes_to;
use common::{Kernel, NEW, OLD, Site};
use drivetrain_lab::pulp::{self, Options, Release, Server};
use drivetrain_model::{Capability, Evr};
use drivetrain_rpmfile::MetaPackage;

/// The package that nodes install.
const PACKAGE: &str = "doca-mini-lockstep";

/// `dnf.conf` of Enterprise Linux 9, and the same with the one setting that changes what dnf does.
fn dnf_conf(best: bool) -> String {
    let best = if best { "True" } else { "False" };
    format!(
        "[main]\ngpgcheck=1\ninstallonly_limit=3\nclean_requirements_on_remove=True\nbest={best}\n\
         skip_if_unavailable=False\n"
    )
}

/// A site that publishes for the older kernel, with the train already having the newer one.
fn site() -> Option<Site> {
    if !has("dnf") || !has("createrepo_c") {
        return None;
    }
    let mut site = Site::built()?;
    let older = site.lab.older.release.clone();
    site.configure(|settings| {
        settings.lockstep = Some("{}".to_owned());
        settings.kernel = format!("{{exact: {older}}}");
    });
    Some(site)
}

fn publish_newer_too(site: &mut Site) {
    site.configure(|settings| settings.kernel = "latest".to_owned());
    site.run(&["run"]).succeeds();
}

fn together(site: &Site) -> PathBuf {
    site.settings.publish.join("lab-9.4/3.2.0/x86_64")
}

/// A node of Enterprise Linux's settings with the train at a snapshot.
fn node<'s>(site: &'s Site, name: &str, snapshot: &str, best: bool) -> Node<'s> {
    let node = Node::bare(site, name).with_configuration(&dnf_conf(best));
    other_updates(site, &node, 1);
    node.with_train_at(snapshot)
}

/// And with what is published for all kernels, as it is served.
fn follow(site: &Site, node: &Node<'_>) {
    let file = std::fs::read_to_string(together(site).join("drivetrain.repo")).unwrap();
    node.write_repository_file("lockstep.repo", &file);
}

/// A repository with something else, of which there are security updates.
fn other_updates(site: &Site, node: &Node<'_>, version: u32) {
    let directory = site.path("others");
    std::fs::create_dir_all(&directory).unwrap();
    let package = MetaPackage {
        name: "something-else".to_owned(),
        evr: Evr::new(0, version.to_string(), "1"),
        summary: "Something else".to_owned(),
        description: "Something else.".to_owned(),
        build_time: 1_795_833_900,
        requires: Vec::new(),
        conflicts: Vec::<Capability>::new(),
        obsoletes: Vec::new(),
    };
    package.write(&directory.join(format!("something-else-{version}.rpm"))).unwrap();
    let made = std::process::Command::new("createrepo_c").arg("--quiet").arg(&directory).status().unwrap();
    assert!(made.success());
    let advisory = format!(
        "<updates><update from='x' status='final' type='security' version='1'><id>S-{version}</id><title>t</title>\
         <issued date='2026-01-01 00:00:00'/><severity>Important</severity><description>d</description><pkglist>\
         <collection short='c'><name>c</name><package name='something-else' version='{version}' release='1' epoch='0' \
         arch='noarch' src='s'><filename>something-else-{version}.rpm</filename></package></collection></pkglist>\
         </update></updates>"
    );
    let file = site.path("updateinfo.xml");
    std::fs::write(&file, advisory).unwrap();
    let mut adding = std::process::Command::new("modifyrepo_c");
    assert!(adding.arg(&file).arg(directory.join("repodata")).output().unwrap().status.success());
    node.write_repository_file(
        "others.repo",
        &format!("[others]\nname=others\nbaseurl=file://{}/\ngpgcheck=0\n", directory.display()),
    );
}

/// The kernels that a node has, and the modules, as `VERSION` and `NAME`.
fn has_installed(node: &Node<'_>, wanted: &[&Kernel]) {
    let installed = node.dnf(&["repoquery", "--installed", "--qf", "%{name} %{version}-%{release}"]);
    let mut kernels: Vec<&str> =
        installed.lines().filter_map(|line| line.strip_prefix("kernel-core ")).collect();
    kernels.sort_unstable();
    assert_eq!(
        kernels,
        wanted.iter().map(|kernel| kernel.package.as_str()).collect::<Vec<_>>(),
        "{installed}"
    );
    for kernel in wanted {
        for module in ["kmod-hello", "kmod-hello-user"] {
            assert!(installed.contains(&format!("{module}-{} ", kernel.release)), "{installed}");
        }
        assert!(!common::consumer::modules(&node.root(), &kernel.release).is_empty());
    }
}

#[test]
fn an_upgrade_takes_a_kernel_when_its_driver_is_there_and_not_before() {
    let Some(mut site) = site() else { return };
    site.run(&["plan"]).succeeds().says(&format!("lockstep    {PACKAGE} for the newest 5 kernels"));
    site.run(&["run"]).succeeds().says(&format!("dnf install {PACKAGE}"));
    site.run(&["run"]).succeeds().says("is served already");
    let (older, newer) = (site.lab.older.clone(), site.lab.newer.clone());
    let mut nodes = Vec::new();
    for best in [true, false] {
        // The driver is ahead of the train, or equal: it has just what the train has.
        let node = node(&site, &format!("node-{best}"), OLD, best);
        follow(&site, &node);
        node.dnf(&["install", PACKAGE, "kernel", "something-else"]);
        has_installed(&node, &[&older]);
        assert!(node.dnf(&["upgrade"]).is_empty());
        // The train gets ahead.
        let node = node.with_train_at(NEW);
        other_updates(&site, &node, 2);
        node.dnf(&["upgrade", "--security"]);
        assert!(
            node.dnf(&["repoquery", "--installed", "--qf", "%{name}-%{version}", "something-else"])
                .contains("else-2")
        );
        has_installed(&node, &[&older]);
        node.dnf(&["upgrade"]);
        node.dnf(&["install", "kernel"]);
        has_installed(&node, &[&older]);
        nodes.push(best);
    }

    publish_newer_too(&mut site);
    for best in nodes {
        // The same node, as it was left.
        let node = Node::bare(&site, &format!("node-{best}")).with_configuration(&dnf_conf(best));
        node.dnf(&["upgrade"]);
        has_installed(&node, &[&older, &newer]);
        assert!(node.dnf(&["upgrade"]).is_empty());
        node.dnf(&["distro-sync"]);
        assert!(node.dnf(&["autoremove"]).is_empty());
        has_installed(&node, &[&older, &newer]);
        // A kernel takes its modules with it.
        node.dnf(&["remove", &format!("kernel-core-{}", older.package)]);
        has_installed(&node, &[&newer]);
    }
}

#[test]
fn a_driver_ahead_of_the_train_brings_its_kernel_along() {
    let Some(mut site) = site() else { return };
    publish_newer_too(&mut site);
    let node = node(&site, "node", OLD, true);
    node.dnf(&["install", "kernel"]);
    follow(&site, &node);
    // A kernel of before, without modules, is in nobody's way.
    node.dnf(&["install", PACKAGE]);
    node.dnf(&["upgrade"]);
    let kernels = node.dnf(&["repoquery", "--installed", "--qf", "%{version}-%{release}", "kernel-core"]);
    assert_eq!(kernels.lines().collect::<Vec<_>>(), [&site.lab.older.package, &site.lab.newer.package]);
    assert!(!common::consumer::modules(&node.root(), &site.lab.newer.release).is_empty());
    assert!(common::consumer::modules(&node.root(), &site.lab.older.release).is_empty());
}

#[test]
fn a_kernel_without_modules_is_refused_by_name_and_taken_out_when_asked_for() {
    let Some(site) = site() else { return };
    site.run(&["run"]).succeeds();
    let node = node(&site, "node", NEW, true);
    node.dnf(&["install", "kernel"]);
    follow(&site, &node);
    assert!(node.dnf(&["upgrade"]).is_empty(), "the repository alone changes nothing of what is there");
    let (succeeded, text) = node.try_dnf(&["install", PACKAGE]);
    assert!(!succeeded && text.contains("conflicts with kernel-core >"), "{text}");
    node.dnf(&["install", "--allowerasing", PACKAGE]);
    has_installed(&node, &[&site.lab.older]);
    let newer = format!("kernel-core-{}", site.lab.newer.package);
    let (succeeded, text) = node.try_dnf(&["install", &newer]);
    assert!(!succeeded && text.contains("conflicts with kernel-core >"), "{text}");
}

#[test]
fn the_way_out_is_the_one_that_is_written_down() {
    let Some(site) = site() else { return };
    site.run(&["run"]).succeeds();
    for keeps in [false, true] {
        let node = node(&site, &format!("node-{keeps}"), NEW, true);
        follow(&site, &node);
        node.dnf(&["install", PACKAGE, "kernel"]);
        if keeps {
            node.dnf(&["mark", "install", "kmod-*"]);
        }
        node.dnf(&["remove", PACKAGE]);
        let modules = common::consumer::modules(&node.root(), &site.lab.older.release);
        assert_eq!(modules.is_empty(), !keeps);
        assert!(node.dnf(&["upgrade"]).is_empty(), "the repository's priority still holds");
        node.remove_repository_file("lockstep.repo");
        node.dnf(&["upgrade"]);
        let kernels = node.dnf(&["repoquery", "--installed", "--qf", "%{version}-%{release}", "kernel-core"]);
        assert!(kernels.contains(&site.lab.newer.package), "{kernels}");
    }
}

#[test]
fn modules_of_one_kernel_become_those_of_all_kernels() {
    let Some(site) = site() else { return };
    site.run(&["run"]).succeeds();
    let older = site.lab.older.clone();
    let node = Node::new(&site, "node", &[&older]).with_configuration(&dnf_conf(true)).with_train_at(NEW);
    node.dnf(&["install", "kmod-hello", "kmod-hello-user", &format!("kernel-{}", older.package)]);
    node.remove_repository_file(&format!("{}.repo", older.release));
    follow(&site, &node);
    node.dnf(&["upgrade"]);
    has_installed(&node, &[&older]);
    assert!(!node.installed().contains(&"kmod-hello".to_owned()));
    assert!(node.installed().contains(&PACKAGE.to_owned()));
}

#[test]
fn what_was_taken_back_stays_back_and_channels_go_together() {
    let Some(mut site) = site() else { return };
    site.configure(|settings| settings.channels = vec!["development".to_owned(), "release".to_owned()]);
    site.run(&["run"]).succeeds();
    publish_newer_too(&mut site);
    let at = |site: &Site, channel: &str| {
        let file = site.settings.publish.join(channel).join("lab-9.4/3.2.0/x86_64/manifest.json");
        let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        (manifest["version"].as_u64().unwrap(), manifest["lockstep"]["kernels"].as_array().unwrap().len())
    };
    assert_eq!(at(&site, "development"), (2, 2));
    let older = site.lab.older.release.clone();
    site.run(&["promote", &older]).succeeds().says("left as it is");
    site.run(&["promote"]).succeeds().says("2 repositories changed in release, together");
    assert_eq!(at(&site, "release").1, 2);
    site.run(&["status"]).succeeds().says(&format!("package  {PACKAGE}"));

    site.run(&["rollback", "--lockstep", "--channel", "development", "--why", "too new"]).succeeds();
    assert_eq!(at(&site, "development"), (1, 1));
    site.run(&["run"]).succeeds().says("took back what");
    assert_eq!(at(&site, "development"), (1, 1));
    assert_eq!(at(&site, "release").1, 2);
    site.run(&["run", "--undo-rollback"]).succeeds();
    assert_eq!(at(&site, "development").1, 2);
    let pages = site.path("pages");
    site.run(&["site", &pages.display().to_string()]).succeeds().says("2 driver repositories are served");
}

#[test]
fn a_pulp_server_serves_kernels_and_drivers_together() {
    let Some(mut site) = site() else { return };
    let Some(installation) = pulp::installed(Release::Current) else { return };
    let server = Server::start(&installation, Options::default()).unwrap();
    publishes_to(&mut site, &server);
    site.configure(|settings| settings.channels = vec!["development".to_owned(), "release".to_owned()]);
    let older = site.lab.older.clone();
    let newer = site.lab.newer.clone();
    site.run(&["run"]).succeeds();
    site.run(&["run"]).succeeds().says("Nothing to do").says("is served already");
    site.run(&["promote"]).succeeds().says("2 repositories changed in release, together");
    publish_newer_too(&mut site);
    let rows = site.run(&["status", "--verify", "--json"]).succeeds().json();
    let all = |channel: &str| {
        let mut rows = rows.as_array().unwrap().iter();
        rows.find(|row| row["channel"] == channel && !row["lockstep"].is_null()).unwrap().clone()
    };
    assert_eq!(all("development")["lockstep"]["kernels"].as_array().unwrap().len(), 2);
    assert_eq!(all("release")["lockstep"]["kernels"].as_array().unwrap().len(), 1);

    let node = node(&site, "node", NEW, true);
    let url = all("release")["url"].as_str().unwrap().to_owned();
    let output =
        std::process::Command::new("curl").args(["-fsS", &format!("{url}config.repo")]).output().unwrap();
    node.write_repository_file("drivers.repo", &String::from_utf8(output.stdout).unwrap());
    node.dnf(&["install", PACKAGE, "kernel"]);
    node.dnf(&["upgrade"]);
    has_installed(&node, &[&older]);
    site.run(&["promote"]).succeeds().says("2 repositories changed in release, together");
    node.dnf(&["upgrade"]);
    has_installed(&node, &[&older, &newer]);

    // Each is what its statement says, which lies beside it; of all kernels, and of one.
    let rows = site.run(&["status", "--json"]).succeeds().json();
    for row in rows.as_array().unwrap() {
        let url = row["url"].as_str().unwrap();
        let said = site.run(&["verify", url, "--allow", "unsigned"]).succeeds().stdout.clone();
        assert!(said.contains("it names these packages and no others"), "{said}");
        assert!(said.contains("each as the statement says"), "{said}");
    }
}
