//! Channels: what is proven in one is served in the next, by the same command for a directory and for Pulp.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use common::consumer::{Node, has};
use common::pulp_user::{PASSWORD, publishes_to};
use common::{Site, text};
use drivetrain_lab::pulp::{self, Options, Release, Server};

/// Publishes, promotes, goes back, and says what is served, on whatever target the site has.
fn through_the_channels(site: &Site) {
    site.run(&["status"]).succeeds().says("serves nothing");
    site.run(&["promote"]).ends_with(7).says("drivetrain run");
    site.run(&["run", "--why", "first"]).succeeds().says("Served: version 1");
    site.run(&["promote", "--dry-run"]).succeeds().says("would serve version 1").says("Nothing was changed");
    site.run(&["promote", "--why", "accepted"]).succeeds().says("1 repository changed in release, together");
    site.run(&["promote"]).succeeds().says("Nothing to do: release serves all of it");

    // Other inputs: another version, in development alone.
    let mut changed = site.run(&["status", "--json"]).succeeds().json();
    let rows = changed.as_array_mut().unwrap();
    assert_eq!(rows.len(), 2);
    for (row, channel) in rows.iter().zip(["development", "release"]) {
        assert_eq!(row["channel"], channel);
        assert_eq!(row["version"], 1);
        assert_eq!(row["kernel"], site.lab.newer.release.as_str());
        assert_eq!(row["proof"]["modules"], 2);
    }
    assert_eq!(rows[1]["why"], "accepted");
    on_the_coverage_page(site);
}

/// Both channels are on the page, and the kernel that nothing was built for.
fn on_the_coverage_page(site: &Site) {
    let pages = site.path("pages");
    site.run(&["site", &pages.display().to_string()]).succeeds().says("1 driver repository is served");
    let found: serde_json::Value =
        serde_json::from_slice(&std::fs::read(pages.join("coverage.json")).unwrap()).unwrap();
    let entry = &found["entries"][0];
    assert_eq!(entry["kernel"], site.lab.newer.release.as_str());
    for (place, channel) in entry["places"].as_array().unwrap().iter().zip(["development", "release"]) {
        assert_eq!((&place["channel"], &place["proven"]["modules"]), (&channel.into(), &2.into()));
    }
    assert_eq!(entry["places"][1]["changed"]["why"], "accepted");
    assert_eq!(found["entries"][1]["lack"]["because"], "never-built");
}

fn two_channels(site: &mut Site) {
    site.configure(|settings| settings.channels = vec!["development".to_owned(), "release".to_owned()]);
}

fn without_when_and_who(text: &str) -> String {
    let between = |line: &str, after: &str, before: &str, word: &str| match line.split_once(after) {
        Some((start, rest)) => {
            let (_, end) = rest.split_once(before).unwrap();
            format!("{start}{after}{word}{before}{end}")
        }
        None => line.to_owned(),
    };
    let lines =
        text.lines().map(|line| between(&between(line, " since ", ", ", "WHEN"), "  by ", ": ", "WHO"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_directory_has_channels() {
    let Some(mut site) = Site::built() else { return };
    two_channels(&mut site);
    through_the_channels(&site);
    let shown = site.run(&["status", "--verify"]).succeeds();
    insta::assert_snapshot!(without_when_and_who(&text::stable(&site, &shown.stdout)), @r"
    directory SITE/published

    development: doca-mini 3.2.0 for kernel NEWER, lab-9.4, x86_64
      serves   version 1 since WHEN, 3 packages
      changed  by WHO: first
      proven   2 modules with 6 symbols fit the kernel, 2 packages install with 17 of the train; not booted (run RUN); every package was read back
      url      file://SITE/published/development/lab-9.4/3.2.0/NEWER/x86_64/

    release: doca-mini 3.2.0 for kernel NEWER, lab-9.4, x86_64
      serves   version 1 since WHEN, 3 packages
      changed  by WHO: accepted
      proven   2 modules with 6 symbols fit the kernel, 2 packages install with 17 of the train; not booted (run RUN); every package was read back
      url      file://SITE/published/release/lab-9.4/3.2.0/NEWER/x86_64/
    ");

    // A second version, promoted and taken back where it did not do.
    site.configure(|settings| settings.consumers = Some("{priority: 40}".to_owned()));
    site.run(&["run"]).succeeds().says("Served: version 2");
    site.run(&["promote"]).succeeds();
    site.run(&["rollback"])
        .ends_with(2)
        .says("several channels serve it")
        .says("--channel: development, release");
    site.run(&["rollback", "--channel", "release"]).succeeds().says("serves version 1 now");
    site.run(&["promote"]).ends_with(7).says("was rolled back").says("--undo-rollback");
    site.run(&["promote", "--undo-rollback"]).succeeds();
    let repo_file = site.run(&["status", "--repo-file", "--channel", "release"]).succeeds().stdout;
    assert!(repo_file.contains("/release/lab-9.4/") && repo_file.contains("priority=40"), "{repo_file}");
    if has("dnf") {
        let node = Node::bare(&site, "node").with_train();
        node.write_repository_file("drivers.repo", &repo_file);
        node.dnf(&["install", "kmod-hello", "kmod-hello-user"]);
    }
    site.run(&["promote", "--to", "nowhere"]).ends_with(2).says("there is no channel nowhere");
}

#[test]
fn a_pulp_server_serves_what_a_run_proved_and_keeps_its_password() {
    let Some(mut site) = Site::built() else { return };
    let Some(installation) = pulp::installed(Release::Current) else { return };
    let server = Server::start(&installation, Options::default()).unwrap();
    publishes_to(&mut site, &server);
    site.configure(|settings| settings.publish_to.as_mut().unwrap().push_str("\n    labels: {site: lab}"));
    two_channels(&mut site);
    through_the_channels(&site);
    site.run(&["status", "--verify"]).succeeds().says("every package was read back");
    site.run(&["run"]).succeeds().says("Nothing to do: version 1 is served.");

    // The server knows the run, by the id that its requests carried.
    let run = site.last_run();
    assert!(!run.of("run-started").is_empty());
    if has("dnf") {
        let rows = site.run(&["status", "--channel", "release", "--json"]).succeeds().json();
        let url = rows[0]["url"].as_str().unwrap();
        let output =
            std::process::Command::new("curl").args(["-fsS", &format!("{url}config.repo")]).output().unwrap();
        let repo_file = String::from_utf8(output.stdout).unwrap();
        assert!(repo_file.contains("priority=50"), "{repo_file}");
        let node = Node::bare(&site, "node").with_train();
        node.write_repository_file("drivers.repo", &repo_file);
        println!("{}", node.dnf(&["install", "kmod-hello", "kmod-hello-user"]));
        assert!(node.installed().iter().any(|name| name == "kmod-hello"));
    }

    // What a person who changes things by hand leaves is seen, and mended by the next run.
    let select = "/pulp/api/v3/distributions/rpm/rpm/?pulp_label_select=site%3Dlab";
    let (_, found) = server.request("GET", select, None).unwrap();
    assert_eq!(found["count"], 2);
    let development = found["results"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["base_path"].as_str().unwrap().starts_with("development/"));
    let href = development.unwrap()["pulp_href"].as_str().unwrap();
    server.request("PATCH", href, Some(&serde_json::json!({ "publication": null }))).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    site.run(&["status"]).succeeds().says("serves   nothing that drivetrain published");
    site.run(&["run"]).succeeds().says("Served: version 1");

    // A wrong password says so; the right one is nowhere but in the environment.
    site.environment.pop();
    site.environment.push(("ARK_PASSWORD".to_owned(), "wrong".to_owned()));
    site.run(&["run"])
        .ends_with(7)
        .says("refuses the user name or the password")
        .says("publish.pulp.credentials");
    let found =
        std::process::Command::new("grep").args(["-rlF", PASSWORD]).arg(site.state()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}
