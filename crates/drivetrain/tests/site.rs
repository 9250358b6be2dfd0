//! The coverage page of a target: what is served, and what is missing and why.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod common;

use std::path::Path;

use common::picky::picky;
use common::{NEW, OLD, Site, names};
use serde_json::Value;

fn coverage(directory: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(directory.join("coverage.json")).unwrap()).unwrap()
}

fn entries(coverage: &Value) -> Vec<(&str, Option<u64>, Option<&str>)> {
    let entries = coverage["entries"].as_array().unwrap().iter();
    entries
        .map(|entry| {
            (
                entry["kernel"].as_str().unwrap(),
                entry["places"][0]["version"].as_u64(),
                entry["lack"]["because"].as_str(),
            )
        })
        .collect()
}

#[test]
fn two_kernels_of_a_directory_are_on_its_page_with_how_they_were_proven() {
    let Some(mut site) = Site::built() else { return };
    let (older, newer) = (site.lab.older.release.clone(), site.lab.newer.release.clone());
    let pages = site.path("pages");
    let page = pages.display().to_string();

    // Nothing is published yet, and the page says what the train has.
    site.run(&["site", &page])
        .succeeds()
        .says("0 driver repositories are served, and 1 kernel needs somebody");
    assert_eq!(
        entries(&coverage(&pages)),
        [(newer.as_str(), None, Some("never-built")), (older.as_str(), None, Some("never-built"))]
    );
    assert!(!site.settings.publish.exists(), "looking makes nothing");

    site.configure(|settings| settings.snapshot(OLD));
    site.run(&["run", "--why", "the older"]).succeeds();
    site.configure(|settings| settings.snapshot(NEW));
    site.run(&["run", "--why", "the newer"]).succeeds();
    site.run(&["site", &page]).succeeds().says("2 driver repositories are served, and none is missing");
    let found = coverage(&pages);
    assert_eq!(entries(&found), [(newer.as_str(), Some(1), None), (older.as_str(), Some(1), None)]);
    assert_eq!(found["entries"][1]["places"][0]["changed"]["why"], "the older");
    assert_eq!(found["entries"][0]["places"][0]["proven"]["modules"], 2);
    assert_eq!(found["trains"][0]["kernels"], 2);
    let html = std::fs::read_to_string(pages.join("index.html")).unwrap();
    let markdown = std::fs::read_to_string(pages.join("coverage.md")).unwrap();
    for text in [&html, &markdown] {
        for said in [older.as_str(), newer.as_str(), "2 modules", "lab-9.4", "doca-mini"] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }
    assert_eq!(names(&pages), ["coverage.json", "coverage.md", "index.html"], "nothing unfinished is left");

    // The train is gone: what is served is told all the same, and that the rest is not known.
    site.configure(|settings| "20200101T000000".clone_into(&mut settings.baseos));
    site.run(&["site", &page]).ends_with(4).says("not known: what train lab-9.4 has");
    assert_eq!(entries(&coverage(&pages)).len(), 2);
    assert!(
        std::fs::read_to_string(pages.join("index.html"))
            .unwrap()
            .contains("Not everything could be found out")
    );
    site.run(&["site", &page, "--no-train"]).succeeds();
}

#[test]
fn a_kernel_that_the_driver_does_not_build_for_is_missing_by_its_first_error() {
    let Some(mut site) = Site::built() else { return };
    let source = picky(&site, &[&site.lab.newer]);
    site.configure(|settings| {
        settings.kernel = "newest-buildable".to_owned();
        settings.extra = vec![source];
        settings.channels = vec!["development".to_owned(), "release".to_owned()];
    });
    site.run(&["run"]).succeeds();
    let pages = site.path("pages");
    site.run(&["site", &pages.display().to_string()]).succeeds().says("1 kernel needs somebody");
    let found = coverage(&pages);
    let (older, newer) = (site.lab.older.release.clone(), site.lab.newer.release.clone());
    let newer = newer.as_str();
    assert_eq!(entries(&found), [(newer, None, Some("does-not-build")), (older.as_str(), Some(1), None)]);
    assert_eq!(found["entries"][0]["lack"]["held"]["component"], "picky-kmod");
    assert_eq!(found["entries"][1]["not_in"], serde_json::json!(["release"]));
    let markdown = std::fs::read_to_string(pages.join("coverage.md")).unwrap();
    assert!(markdown.contains("picky.c:8"), "{markdown}");

    // The same is known where the policy would not have asked.
    site.configure(|settings| settings.kernel = format!("{{exact: {older}}}"));
    site.run(&["site", &pages.display().to_string()]).succeeds();
    assert_eq!(entries(&coverage(&pages))[0], (newer, None, Some("does-not-build")));
}
