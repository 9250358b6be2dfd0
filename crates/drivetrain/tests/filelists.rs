//! Repositories whose primary metadata do not tell a kernel's release: its files do.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod common;

use common::Site;
use common::repository::mirror;

/// Takes a provided name out of a primary, wherever it stands.
fn without(primary: &str, name: &str) -> String {
    let wanted = format!("name=\"{name}\"");
    primary.lines().filter(|line| !line.contains(&wanted)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_kernel_whose_provides_do_not_tell_its_release_is_known_by_its_files() {
    let Some(mut site) = Site::new() else { return };
    let mirror = mirror(&site);
    mirror.used_by(&mut site);
    let release = site.lab.newer.release.clone();
    site.run(&["plan"]).succeeds();
    mirror.baseos().replace_primary(|primary| without(&primary, "kernel-uname-r"));
    mirror.appstream().replace_primary(|primary| without(&primary, "kernel-devel-uname-r"));
    let planned = site.run(&["plan", "--no-lock"]).succeeds();
    // The package's version is another text than the release, so it cannot have been guessed from that.
    assert!(!site.lab.newer.package.contains(&release));
    planned.says(&format!("kernel      {release}, the newest of the train")).says("baseos filelists");
}
