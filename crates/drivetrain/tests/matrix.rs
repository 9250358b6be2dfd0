//! Several cells in one go, on the lab's two real kernels: each by itself, with what they share read once.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod common;

use common::picky::picky;
use common::repository::whole;
use common::{MINI, Run, Site};
use rustix::process::Signal;
use serde_json::Value;

/// The runs of a command, by the kernel that each was for.
fn by_kernel(runs: Vec<Run>) -> Vec<(String, Run)> {
    let kernel = |run: &Run| run.of("planned")[0]["cell"]["kernel"].as_str().unwrap().to_owned();
    let mut runs: Vec<(String, Run)> = runs.into_iter().map(|run| (kernel(&run), run)).collect();
    runs.sort_by(|a, b| a.0.cmp(&b.0));
    runs
}

#[test]
fn all_kernels_of_a_train_are_built_side_by_side_and_what_they_share_is_fetched_once() {
    let Some(mut site) = Site::new() else { return };
    site.configure(|settings| settings.kernel = "all-in-train".to_owned());
    let output = site.run(&["run"]).succeeds();
    let (older, newer) = (&site.lab.older, &site.lab.newer);
    for kernel in [older, newer] {
        assert_eq!(whole(&site.repository(kernel)), Ok(Some(site.served(kernel))));
        // Lines say whose they are, by what tells the cells from each other.
        assert!(
            output.stderr.contains(&format!("] {}: hello-kmod: built in", kernel.release)),
            "{}",
            output.stderr
        );
        let row = format!("lab-9.4/3.2.0/{}/x86_64  version 1 is served", kernel.release);
        assert!(output.stdout.contains(&row), "{}", output.stdout);
    }
    assert!(output.stdout.ends_with("All 2 cells are served.\n"), "{}", output.stdout);

    let runs = by_kernel(site.runs());
    assert_eq!(runs.len(), 2);
    let fetched = |file: &str| {
        let of = |run: &Run| {
            run.of("fetch-finished")
                .into_iter()
                .filter(|event| event["file"] == file && event["cached"] == false)
                .count()
        };
        runs.iter().map(|(_, run)| of(run)).sum::<usize>()
    };
    assert_eq!(fetched("doca-ofed-source-3.2.0-1.rhel9.noarch.rpm"), 1, "the source archive");
    for (_, run) in &runs {
        let mut built = run.components("built");
        built.sort();
        assert_eq!(built, MINI);
        assert_eq!(run.exit(), Some(0));
    }
    // Both were under way at the same time.
    let moment =
        |run: &Run, kind: &str| run.of(kind)[0]["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let (first, second) = (&runs[0].1, &runs[1].1);
    assert!(moment(first, "run-started") < moment(second, "run-finished"));
    assert!(moment(second, "run-started") < moment(first, "run-finished"));

    site.run(&["run"]).succeeds().says("version 1, as before");
    // Nothing of the pool that they shared is left.
    assert_eq!(common::names(&site.state().join("work")), Vec::<String>::new());
}

/// A site whose extra component does not compile for some of the kernels.
fn failing(which: impl Fn(&Site) -> Vec<&common::Kernel>) -> Option<Site> {
    let mut site = Site::fetched()?;
    let source = picky(&site, &which(&site));
    let kernels = format!(
        "  train.kernel: [{{exact: {}}}, {{exact: {}}}]",
        site.lab.newer.release, site.lab.older.release
    );
    site.configure(|settings| {
        settings.extra = vec![source];
        settings.matrix = Some(kernels);
    });
    Some(site)
}

#[test]
fn a_cell_that_fails_keeps_none_of_the_others_and_the_code_says_that_some_did() {
    let Some(site) = failing(|site| vec![&site.lab.newer]) else { return };
    let summary = site.path("summary.md");
    let output = site.run(&["run", "--summary", summary.to_str().unwrap()]).ends_with(10);
    let (older, newer) = (&site.lab.older, &site.lab.newer);
    assert!(site.repository(older).exists() && !site.repository(newer).exists());
    let output = output
        .says(&format!("lab-9.4/3.2.0/{}/x86_64  picky-kmod did not build", newer.release))
        .says(&format!("lab-9.4/3.2.0/{}/x86_64  version 1 is served", older.release))
        .says("1 of 2 cells succeeded; the others are as they were.");
    assert!(output.error().contains("picky.c:8"), "{}", output.stderr);
    let text = std::fs::read_to_string(summary).unwrap();
    for expected in [older.release.as_str(), newer.release.as_str(), "picky.c:8"] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }

    // For programs: events say which cell they are of, and the end has all of them.
    let output = site.run(&["run", "--json"]).ends_with(10);
    let first: Value = serde_json::from_str(output.stdout.lines().next().unwrap()).unwrap();
    assert!(first["of"].as_str().unwrap().starts_with("lab-9.4/3.2.0/6.1.0-"), "{first}");
    let end: Value = serde_json::from_str(&output.stdout[output.stdout.find("\n{\n").unwrap()..]).unwrap();
    let cells = end["cells"].as_array().unwrap();
    assert_eq!(
        (cells[0]["outcome"].as_str(), cells[1]["outcome"].as_str()),
        (Some("failed"), Some("unchanged"))
    );
    assert_eq!(cells[0]["error"]["code"], 5);

    // One of them by itself.
    site.run(&["run", "--cell", &format!("*/{}/*", older.release)])
        .succeeds()
        .says("Nothing to do: version 1");
    site.run(&["run", "--cell", "rocky/*"])
        .ends_with(2)
        .says("no cell that --cell names")
        .says(&older.release);
}

#[test]
fn trains_are_an_axis_and_each_has_its_own_newest_kernel() {
    let Some(mut site) = Site::built() else { return };
    site.configure(|settings| {
        let snapshots = |name: &str, snapshot: &str| {
            format!(
                "    - {{name: {name}, repositories: {{baseos: {{snapshot: {snapshot}}}, appstream: {{snapshot: \
                 {snapshot}}}}}}}\n"
            )
        };
        let trains = snapshots("lab-9.4", common::NEW) + &snapshots("lab-9.3", common::OLD);
        settings.include = vec![MINI[0].to_owned()];
        settings.matrix = Some(format!("  train:\n{trains}"));
    });
    let (page, json) = (site.path("summary.html"), site.path("summary.json"));
    site.run(&["run", "--summary", page.to_str().unwrap()])
        .succeeds()
        .says(&format!("lab-9.4/3.2.0/{}/x86_64  version 1 is served", site.lab.newer.release))
        .says(&format!("lab-9.3/3.2.0/{}/x86_64  version 1 is served", site.lab.older.release));
    assert!(site.repository(&site.lab.newer).exists());
    assert!(site.settings.publish.join(format!("lab-9.3/3.2.0/{}/x86_64", site.lab.older.release)).exists());
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("lab-9.3"), "{page}");
    site.run(&["run", "--summary", json.to_str().unwrap(), "--cell", "lab-9.3/*"]).succeeds();
    let json: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(json["outcome"], "unchanged");
    // What is done with a train's repositories is done with one train's.
    site.run(&["status", "--repo-file"]).ends_with(2).says("has several cells");
    site.run(&["status", "--repo-file", "--cell", "lab-9.3/*"]).succeeds().says("lab-9.3");
}

#[test]
fn where_no_cell_succeeds_the_code_is_that_of_their_failure_and_nothing_is_published() {
    let Some(site) = failing(|site| vec![&site.lab.older, &site.lab.newer]) else { return };
    site.run(&["run", "--at-once", "1"]).ends_with(5).says("None of 2 cells succeeded");
    assert!(!site.repository(&site.lab.older).exists() && !site.repository(&site.lab.newer).exists());
}

#[test]
fn a_plan_has_a_lock_for_each_cell_and_is_held_to_them() {
    let Some(mut site) = Site::built() else { return };
    site.configure(|settings| settings.kernel = "all-in-train".to_owned());
    let output = site.run(&["plan"]).succeeds();
    for kernel in [&site.lab.older, &site.lab.newer] {
        let lock = format!("drivetrain.lock.d/lab-9.4_3.2.0_{}_x86_64.lock", kernel.release);
        assert!(site.path(&lock).exists(), "{lock}");
        assert!(output.stdout.contains(&format!("kernel      {}", kernel.release)), "{}", output.stdout);
    }
    let plans: Value = site.run(&["plan", "--json", "--no-lock"]).succeeds().json();
    assert_eq!(plans.as_array().unwrap().len(), 2);
    site.run(&["plan", "--locked"]).succeeds();
    site.configure(|settings| settings.macros.push(("other".to_owned(), "1".to_owned())));
    site.run(&["run", "--locked"]).ends_with(3).says("no longer fits");
    site.run(&["closure", "kmod-hello"]).succeeds();

    site.configure(|settings| {
        settings.kernel = "latest".to_owned();
        settings.matrix = Some("  train.name: [lab-9.4, lab-9.5]".to_owned());
    });
    site.run(&["closure", "kmod-hello"])
        .ends_with(2)
        .says("has several cells, and this is done with one")
        .says("lab-9.5/3.2.0/latest/x86_64");
}

#[test]
fn an_interruption_ends_all_cells_and_the_next_run_goes_on() {
    let Some(mut site) = Site::new() else { return };
    site.configure(|settings| {
        settings.kernel = "all-in-train".to_owned();
        settings.slow();
    });
    let mut running = site.start(&["run"]);
    assert!(running.reaches(|event| event["event"] == "component-started"));
    running.signal(Signal::INT);
    let output = running.end();
    assert_eq!(output.code, Some(130), "{}\n{}", output.stdout, output.stderr);
    assert!(site.runs().iter().all(|run| run.exit() == Some(130)));
    site.configure(|settings| settings.macros.retain(|(name, _)| name != "lab_pause"));
    site.run(&["run"]).succeeds().says("All 2 cells are served");
}
