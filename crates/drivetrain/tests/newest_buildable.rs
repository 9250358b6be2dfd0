//! The newest kernel that the driver builds for, where it does not build for the newest: a real component, two real kernels,
//! and a compiler that says no.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod common;

use std::path::Path;
use std::process::Command;

use common::picky::picky;
use common::repository::{mirror, whole};
use common::{Kernel, Site};
use serde_json::Value;

/// A site that wants the newest kernel that builds, with such a component.
fn site(not_for: impl Fn(&Site) -> Vec<&Kernel>) -> Option<Site> {
    let mut site = Site::fetched()?;
    let source = picky(&site, &not_for(&site));
    site.configure(|settings| {
        settings.kernel = "newest-buildable".to_owned();
        settings.extra = vec![source];
    });
    Some(site)
}

/// Adds an advisory for a package to a repository.
fn add_advisory(repository: &Path, kernel: &Kernel, id: &str, cve: &str) {
    let (version, release) = kernel.package.split_once('-').unwrap();
    let text = format!(
        "<updates><update type=\"security\" status=\"final\"><id>{id}</id><title>kernel</title>\
         <severity>Important</severity><references><reference href=\"https://x/\" id=\"{cve}\" type=\"cve\"/></references>\
         <pkglist><collection><package name=\"kernel-core\" epoch=\"0\" version=\"{version}\" release=\"{release}\" \
         arch=\"x86_64\"><filename>k.rpm</filename></package></collection></pkglist></update></updates>"
    );
    let file = repository.join("updateinfo.xml");
    std::fs::write(&file, text).unwrap();
    let output = Command::new("modifyrepo_c").arg(&file).arg(repository.join("repodata")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_kernel_before_is_published_and_what_is_held_back_is_said_first() {
    let Some(mut site) = site(|site| vec![&site.lab.newer]) else { return };
    let mirror = mirror(&site);
    add_advisory(&mirror.baseos().0, &site.lab.newer, "RLSA-2026:0056", "CVE-2026-5600");
    mirror.used_by(&mut site);

    let (older, newer) = (site.lab.older.release.clone(), site.lab.newer.release.clone());
    let output = site.run(&["run"]).succeeds();
    let first = output.stderr.find("held back").unwrap();
    assert!(output.stderr[first..].contains("picky.c:8"), "{}", output.stderr);
    assert!(output.stdout.contains("Held back:  6.1.0-"), "{}", output.stdout);
    assert!(site.repository(&site.lab.older).exists() && !site.repository(&site.lab.newer).exists());
    assert_eq!(whole(&site.repository(&site.lab.older)), Ok(Some(site.served(&site.lab.older))));
    let run = site.last_run();
    let held = run.of("held-back");
    assert_eq!(
        (held[0]["release"].as_str(), held[0]["component"].as_str()),
        (Some(newer.as_str()), Some("picky-kmod"))
    );
    assert_eq!(held[0]["advisories"][0]["cves"], serde_json::json!(["CVE-2026-5600"]));
    // The log of that attempt is kept: the one for the older kernel has the run's.
    let log = std::fs::read_to_string(held[0]["log"].as_str().unwrap()).unwrap();
    assert!(log.contains("picky.c:8") && log.contains("gone_since_this_kernel"), "{log}");
    let report = std::fs::read_to_string(run.directory.join("report.md")).unwrap();
    assert!(report.contains("gone_since_this_kernel"), "{report}");

    // The plan says it before anything else, and nothing is tried again.
    let plan = site.run(&["plan", "--no-lock"]).succeeds();
    assert!(
        plan.stdout.starts_with(&format!("held back: {newer}: picky-kmod does not build for it:")),
        "{}",
        plan.stdout
    );
    plan.says("without RLSA-2026:0056 (Important): CVE-2026-5600")
        .says(&format!("kernel      {older}, the newest that is not known to fail"))
        .says("Nothing to do");
    site.run(&["run"]).succeeds().says("Nothing to do: version 1 is served.");
    assert!(site.last_run().of("component-started").is_empty());
    let json: Value = site.run(&["plan", "--no-lock", "--json"]).succeeds().json();
    assert_eq!(json["kernel"]["held_back"][0]["release"], newer);

    // It is tried where that is asked for, and where what is built has changed.
    site.run(&["run", "--retry"]).succeeds();
    assert_eq!(site.last_run().components("failed"), ["picky-kmod"]);
    let mended = picky(&site, &[]);
    site.configure(|settings| settings.extra = vec![mended]);
    site.run(&["run"]).succeeds();
    assert!(site.repository(&site.lab.newer).exists());
    assert!(site.last_run().of("held-back").is_empty());
}

#[test]
fn a_driver_that_builds_for_no_kernel_is_told_with_the_first_error_for_each() {
    let Some(site) = site(|site| vec![&site.lab.older, &site.lab.newer]) else { return };
    let output = site.run(&["run"]).ends_with(5);
    output
        .says("the driver builds for no kernel of the train")
        .says(&site.lab.older.release)
        .says(&site.lab.newer.release)
        .says("picky.c:8");
    assert!(!site.repository(&site.lab.older).exists() && !site.repository(&site.lab.newer).exists());
    // Known, and not tried again.
    let output = site.run(&["run"]).ends_with(5);
    output.says("picky.c:8");
    assert!(site.last_run().of("component-started").is_empty());
}
