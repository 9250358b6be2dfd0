//! The site's own patches: a component that does not compile for the newer of two real kernels, and one that mends it.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod common;

use common::Site;
use common::picky::picky;
use serde_json::Value;

/// What mends it: the line that the newer kernel has no member for.
const MEND: &str = "--- a/picky.c\n+++ b/picky.c\n@@ -7,3 +7,3 @@\n #ifdef MEMBER_IS_GONE\n\
                    -\treturn dev->gone_since_this_kernel;\n+\treturn dev == NULL ? 0 : -1;\n #else\n";

/// A site with such a component, and this patch for it, under these conditions.
fn site(text: &str, conditions: &str) -> Option<Site> {
    let mut site = Site::fetched()?;
    let source = picky(&site, &[&site.lab.newer]);
    let patch = site.path("mend.patch");
    std::fs::write(&patch, text).unwrap();
    let entry = format!("[{{component: picky-kmod, path: {}{conditions}}}]", patch.display());
    site.configure(|settings| {
        settings.kernel = "newest-buildable".to_owned();
        settings.extra = vec![source];
        settings.patches = Some(entry);
    });
    Some(site)
}

#[test]
fn a_patch_goes_into_the_kernels_that_its_condition_names_and_no_others() {
    let condition = "header: {file: generated/utsrelease.h, contains: 6.1.0-56}";
    let Some(mut site) = site(MEND, &format!(", source: '>= 1.0, < 2', {condition}")) else { return };
    let (older, newer) = (site.lab.older.release.clone(), site.lab.newer.release.clone());
    let output = site.run(&["run"]).succeeds();
    output.says(&format!("with mend.patch: generated/utsrelease.h of {newer} contains \"6.1.0-56\""));
    assert!(site.repository(&site.lab.newer).exists(), "the newest builds, with the patch");
    let lock: Value = site.run(&["plan", "--json", "--no-lock"]).succeeds().json();
    let of = |plan: &Value| {
        let component = plan["lock"]["components"].as_array().unwrap().iter();
        component.clone().find(|component| component["name"] == "picky-kmod").unwrap().clone()
    };
    assert_eq!(of(&lock)["patches"][0][0], "mend.patch");

    site.configure(|settings| settings.kernel = format!("{{exact: {older}}}"));
    let plan = site.run(&["plan", "--no-lock"]).succeeds();
    plan.says(&format!(
        "without mend.patch: generated/utsrelease.h of {older} does not contain \"6.1.0-56\""
    ));
    let without: Value = site.run(&["plan", "--json", "--no-lock"]).succeeds().json();
    assert!(of(&without)["patches"].is_null());
    // A patch that is not applied changes nothing: what was built without it is taken.
    site.configure(|settings| settings.patches = None);
    let none: Value = site.run(&["plan", "--json", "--no-lock"]).succeeds().json();
    assert_eq!(of(&none)["key"], of(&without)["key"]);
}

#[test]
fn a_patch_that_applies_in_part_stops_the_run_and_no_older_kernel_is_taken_for_it() {
    let half = format!("{MEND}@@ -90,2 +90,3 @@\n not there\n+new\n neither\n");
    let Some(site) = site(&half, "") else { return };
    let output = site.run(&["run"]).ends_with(5);
    output.says("the patch mend.patch does not apply to the source: picky.c: Hunk #2 FAILED at 9");
    assert!(site.last_run().of("held-back").is_empty());
    assert!(!site.repository(&site.lab.older).exists() && !site.repository(&site.lab.newer).exists());
}

#[test]
fn a_patch_that_fits_nothing_is_refused_before_anything_is_built() {
    let Some(mut site) = site(MEND, ", source: '< 1.0'") else { return };
    let output = site.run(&["run"]).ends_with(3);
    output.says(
        "the patch mend.patch is stale: it is for picky-kmod < 1.0, and the driver has picky-kmod-1.0-1",
    );
    assert!(site.last_run().of("component-started").is_empty());

    let patch = site.path("mend.patch").display().to_string();
    site.configure(|settings| {
        settings.patches = Some(format!("[{{component: pickey-kmod, path: {patch}}}]"))
    });
    site.run(&["plan", "--no-lock"])
        .ends_with(3)
        .says("driver.patches has mend.patch for pickey-kmod, and there is no component of that name");
    site.configure(|settings| {
        settings.patches = Some("[{component: picky-kmod, path: none.patch}]".to_owned())
    });
    site.run(&["plan", "--no-lock"])
        .ends_with(2)
        .says("none.patch, which driver.patches names for picky-kmod");
}
