//! Runs that do not come to their end, and runs beside each other.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod common;

use std::collections::BTreeSet;
use std::fs::File;
use std::time::{Duration, Instant, SystemTime};

use common::consumer::{Node, has};
use common::processes::survivors;
use common::repository::{flip_a_byte, whole};
use common::running::Running;
use common::{MINI, OLD, Run, Site, names};
use rustix::process::Signal;
use serde_json::Value;

/// When a run is killed: at or after this event.
struct Moment {
    event: &'static str,
    /// The component, stage or file that the event is about.
    about: &'static str,
    then: Then,
}

/// What has to happen after the event.
#[derive(Debug, Clone, Copy)]
enum Then {
    Time(Duration),
    /// A process of this name is started.
    Runs(&'static str),
}

/// So many milliseconds after an event.
const fn moment(event: &'static str, about: &'static str, later: u64) -> Moment {
    Moment { event, about, then: Then::Time(Duration::from_millis(later)) }
}

/// When a process of this name runs for a component.
const fn while_it_runs(process: &'static str, component: &'static str) -> Moment {
    Moment { event: "component-started", about: component, then: Then::Runs(process) }
}

impl Moment {
    fn is(&self, event: &Value) -> bool {
        let about = |key: &str| event[key].as_str().is_some_and(|text| text.starts_with(self.about));
        event["event"] == self.event
            && (self.about.is_empty() || ["component", "stage", "file"].iter().any(|key| about(key)))
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}, then {:?}", self.event, self.about, self.then)
    }
}

/// Kills a run at a moment; whether it was still running then. Nothing of it lives on, and what is published is
/// whole.
fn kill_at(site: &Site, moment: &Moment) -> bool {
    let what = moment.to_string();
    let mut running = site.start(&["run"]);
    let came = running.reaches(|event| moment.is(event))
        && match moment.then {
            Then::Runs(process) => running.runs(process),
            Then::Time(later) => {
                std::thread::sleep(later);
                true
            }
        };
    if !came {
        let output = running.end();
        panic!("the run ended before {what}: {output:?}");
    }
    let started = running.kill();
    let left = survivors(&started, &site.path(""));
    assert_eq!(left, [], "processes that outlived a kill at {what}");
    let kernel = &site.lab.newer;
    let packages =
        whole(&site.repository(kernel)).unwrap_or_else(|problem| panic!("killed at {what}: {problem}"));
    assert_eq!(packages.is_some(), site.repository(kernel).exists());
    if packages.is_some() && has("dnf") {
        let offered = Node::new(site, &format!("node-{}", site.runs().len()), &[kernel]).offered();
        assert_eq!(Some(offered.len()), packages.map(|packages| packages.len()), "killed at {what}");
    }
    site.last_run().exit().is_none()
}

/// What runs have finished so far, by their journals.
fn finished(site: &Site) -> BTreeSet<String> {
    site.runs().iter().flat_map(|run| run.components("built")).collect()
}

/// Runs to the end after a kill: nothing that was finished is built again, and nothing of the kill is left. That
/// run.
fn resume(site: &Site, what: &Moment) -> Run {
    let before = finished(site);
    let what = format!("after a kill at {what}");
    let output = site.run(&["run"]);
    assert_eq!(output.code, Some(0), "{what}: {output:?}");
    let run = site.last_run();
    let again: Vec<String> =
        run.components("built").into_iter().filter(|name| before.contains(name)).collect();
    assert_eq!(again, Vec::<String>::new(), "built again {what}");
    let kernel = &site.lab.newer;
    assert_eq!(whole(&site.repository(kernel)), Ok(Some(site.served(kernel))), "{what}");
    tidy(site, &what);
    run
}

/// Neither builds nor half-done files are left in the state directory.
#[track_caller]
fn tidy(site: &Site, what: &str) {
    let state = site.state();
    // What nobody has locked may be another process's that has just made it; a day later it is nobody's.
    let young = [state.join("work"), state.join("store/tmp")];
    for directory in &young {
        for name in names(directory) {
            let path = directory.join(name);
            assert!(!path.join(".lock").exists(), "{} is left {what}", path.display());
            let yesterday = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
            File::open(path).unwrap().set_modified(yesterday).unwrap();
        }
    }
    site.run(&["build"]).succeeds();
    for directory in &young {
        assert_eq!(names(directory), Vec::<String>::new(), "{} {what}", directory.display());
    }
    assert_eq!(names(&state.join("tmp")), Vec::<String>::new(), "tmp {what}");
    for directory in ["kernels", "components", "sources", "metadata", "store"] {
        let mut names = names(&state.join(directory));
        names.retain(|name| {
            (name.starts_with('.') && name != ".lock") || name.ends_with(".tmp") || name.starts_with("srpm-")
        });
        assert_eq!(names, Vec::<String>::new(), "{directory} {what}");
    }
}

#[test]
fn a_kill_while_planning_costs_nothing_but_time() {
    for moment in [
        moment("run-started", "", 0),
        moment("fetch-started", "doca-ofed-source", 0),
        moment("planned", "", 0),
    ] {
        let Some(site) = Site::fetched() else { return };
        // All but the unpacked kernel.
        for name in ["store", "sources", "metadata", "toolchain.json"] {
            let path = site.state().join(name);
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        }
        killed_before_the_build(site, &moment);
    }
}

#[test]
fn a_kill_while_the_kernel_is_fetched_or_unpacked_costs_nothing_but_time() {
    for moment in [moment("fetch-started", "kernel-devel", 20), moment("fetch-finished", "kernel-devel", 400)]
    {
        let Some(site) = Site::new() else { return };
        killed_before_the_build(site, &moment);
    }
}

fn killed_before_the_build(mut site: Site, moment: &Moment) {
    // The first component is enough here.
    site.configure(|settings| settings.include = vec![MINI[0].to_owned()]);
    assert!(kill_at(&site, moment));
    assert_eq!(resume(&site, moment).components("built"), [MINI[0]]);
}

#[test]
fn a_kill_in_the_middle_of_a_build_leaves_no_process_and_the_build_is_made_anew() {
    for moment in [
        moment("component-started", MINI[0], 0),
        while_it_runs("rpmbuild", MINI[0]),
        while_it_runs("make", MINI[0]),
    ] {
        let Some(mut site) = Site::fetched() else { return };
        site.configure(|settings| settings.include = vec![MINI[0].to_owned()]);
        assert!(kill_at(&site, &moment));
        assert_eq!(resume(&site, &moment).components("built"), [MINI[0]]);
    }
}

#[test]
fn a_kill_between_components_keeps_those_that_were_finished() {
    for moment in [moment("component-finished", MINI[0], 0), while_it_runs("make", MINI[1])] {
        let Some(site) = Site::fetched() else { return };
        assert!(kill_at(&site, &moment));
        let run = resume(&site, &moment);
        assert_eq!(run.components("reused"), [MINI[0]]);
        assert_eq!(run.components("built"), [MINI[1]]);
    }
}

#[test]
fn a_kill_after_the_build_builds_nothing_again_and_publishes_once() {
    for moment in [
        moment("stage-started", "build", 0),
        moment("component-finished", MINI[1], 0),
        moment("proven", "", 0),
        moment("stage-started", "publish", 0),
        moment("stage-started", "publish", 15),
        moment("stage-started", "publish", 40),
        moment("published", "", 0),
    ] {
        let Some(site) = Site::built() else { return };
        // It may have ended: the last steps are short.
        kill_at(&site, &moment);
        resume(&site, &moment);
        assert_eq!(finished(&site), BTreeSet::new());
        let kernel = &site.lab.newer;
        let history = site.history(kernel);
        assert_eq!(history.lines().count(), 1, "{history}");
        site.run(&["run"]).succeeds().says("Nothing to do: version 1 is served.");
    }
}

#[test]
fn a_change_that_a_kill_kept_from_being_noted_is_noted_by_the_next_run() {
    let Some(site) = Site::built() else { return };
    site.run(&["run"]).succeeds();
    let kernel = site.lab.newer.clone();
    // As a kill leaves it between the step and the record of it.
    std::fs::remove_file(site.history_file(&kernel)).unwrap();
    site.run(&["run"]).succeeds().says("Nothing to do: version 1 is served.");
    let history = site.history(&kernel);
    assert!(history.contains(r#""action":"found""#), "{history}");
    site.run(&["run"]).succeeds();
    assert_eq!(site.history(&kernel).lines().count(), 1, "noted again");
}

#[test]
fn a_run_that_is_killed_again_and_again_comes_to_its_end() {
    let Some(site) = Site::new() else { return };
    // Each gets a little further than the one before.
    for length in [50, 300, 700, 1500, 2500, 3500, 5000] {
        let running = site.start(&["run"]);
        std::thread::sleep(Duration::from_millis(length));
        let started = running.kill();
        assert_eq!(survivors(&started, &site.path("")), []);
        assert!(whole(&site.repository(&site.lab.newer)).is_ok());
    }
    site.run(&["run"]).succeeds();
    for component in MINI {
        let built = site
            .runs()
            .iter()
            .flat_map(|run| run.components("built"))
            .filter(|name| name == component)
            .count();
        assert!(built <= 1, "{component} was finished {built} times");
    }
    tidy(&site, "after many kills");
}

#[test]
fn an_interruption_ends_the_build_at_once_with_code_130_and_the_next_run_goes_on() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        interrupted(|running| running.signal(signal));
    }
}

#[test]
fn control_c_which_the_compilers_get_too_is_an_interruption_and_not_a_failed_build() {
    interrupted(|running| running.signal_group(Signal::INT));
}

fn interrupted(interrupt: impl FnOnce(&Running)) {
    let Some(mut site) = Site::fetched() else { return };
    site.configure(|settings| settings.include = vec![MINI[0].to_owned()]);
    let mut running = site.start(&["run"]);
    assert!(running.runs("make"));
    let started = running.descendants();
    assert!(!started.is_empty(), "a build has processes");
    let began = Instant::now();
    interrupt(&running);
    let output = running.end().ends_with(130);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    output.says("interrupted").says("run the same command again");
    assert_eq!(survivors(&started, &site.path("")), []);
    assert_eq!(site.last_run().exit(), Some(130));
    assert!(!site.repository(&site.lab.newer).exists());
    assert_eq!(names(&site.state().join("work")), Vec::<String>::new(), "it tidied up itself");
    site.run(&["run"]).succeeds();
}

#[test]
fn of_two_runs_of_one_cell_the_second_waits_and_finds_the_work_done() {
    let Some(mut site) = Site::fetched() else { return };
    site.configure(|settings| {
        settings.include = vec![MINI[0].to_owned()];
        settings.slow();
    });
    let mut first = site.start(&["run"]);
    assert!(first.reaches(|event| event["event"] == "component-started"));
    let id = site.last_run().id;
    let holder = format!("is being worked on by run {id} (process {}", first.pid());

    // One that may not wait is told whom it would have waited for.
    let busy = site.run(&["run", "--no-wait"]).ends_with(8);
    busy.says(&holder).says("leave --no-wait out");
    let mut second = site.start(&["run"]);
    assert!(second.says("waiting for it to end"));
    first.end().succeeds();
    let second = second.end().succeeds();
    second.says(&holder);
    let runs = site.runs();
    assert_eq!(runs.iter().map(|run| run.exit().unwrap()).collect::<Vec<_>>(), [0, 8, 0]);
    assert_eq!(runs[0].components("built"), [MINI[0]]);
    assert_eq!(runs[2].components("built"), Vec::<String>::new());
    assert_eq!(runs[2].published(), Some((1, true)));
}

#[test]
fn runs_that_begin_at_the_same_moment_all_succeed_and_build_everything_once() {
    let Some(mut site) = Site::new() else { return };
    site.configure(|settings| settings.include = vec![MINI[0].to_owned()]);
    let running: Vec<_> = (0..3).map(|_| site.start(&["run"])).collect();
    for run in running {
        run.end().succeeds();
    }
    let runs = site.runs();
    assert_eq!(runs.iter().map(|run| run.components("built").len()).sum::<usize>(), 1);
    assert_eq!(site.history(&site.lab.newer).lines().count(), 1);
    tidy(&site, "after three runs at once");
}

#[test]
fn runs_of_two_cells_share_a_state_directory_at_the_same_time() {
    let Some(mut site) = Site::fetched() else { return };
    site.configure(|settings| settings.include = vec![MINI[0].to_owned()]);
    let mut newer = site.start(&["run"]);
    assert!(newer.reaches(|event| event["event"] == "component-started"));
    site.configure(|settings| settings.snapshot(OLD));
    let older = site.run(&["run"]).succeeds();
    newer.end().succeeds();
    assert!(!older.stderr.contains("waiting"), "{}", older.stderr);
    for kernel in [&site.lab.older, &site.lab.newer] {
        assert_eq!(whole(&site.repository(kernel)), Ok(Some(site.served(kernel))));
    }
}

#[test]
fn an_interrupted_wait_ends_with_code_130() {
    let Some(mut site) = Site::fetched() else { return };
    site.configure(|settings| {
        settings.include = vec![MINI[0].to_owned()];
        settings.slow();
    });
    let mut first = site.start(&["run"]);
    assert!(first.reaches(|event| event["event"] == "component-started"));
    let mut second = site.start(&["run"]);
    assert!(second.says("waiting for it to end"));
    second.signal(Signal::INT);
    second.end().ends_with(130);
    first.end().succeeds();
}

#[test]
fn show_tells_a_run_that_goes_on_from_one_that_was_killed() {
    let Some(mut site) = Site::fetched() else { return };
    site.configure(common::Settings::slow);
    let mut running = site.start(&["run"]);
    let pid = running.pid();
    assert!(running.reaches(|event| event["event"] == "component-started"));
    let words = format!("running (process {pid})");
    site.run(&["show"]).succeeds().says(&words);
    site.run(&["show", "latest"]).succeeds().says(&format!("now         {words}"));
    let json = site.run(&["show", "--json"]).succeeds().json();
    assert_eq!((&json["runs"][0]["state"], &json["runs"][0]["process"]), (&"running".into(), &pid.into()));
    running.kill();
    site.run(&["show"]).succeeds().says("  killed\n");
    site.run(&["show", "latest"]).succeeds().says("ended       killed\n");
    let json = site.run(&["show", "latest", "--json"]).succeeds().json();
    assert_eq!(json["run"]["state"], "killed");
    assert!(json["run"]["process"].is_null(), "{json}");
    site.run(&["run"]).succeeds();
    assert_eq!(site.run(&["show", "latest", "--json"]).succeeds().json()["run"]["state"], "ended");
}

#[test]
fn leftovers_of_a_kill_are_swept_by_many_commands_at_once() {
    let Some(site) = Site::new() else { return };
    site.run(&["plan", "--no-lock"]).succeeds();
    for number in 0..40 {
        // Above the largest number that a process can have.
        let tree = site.state().join(format!("tmp/{}-left", 4_194_305 + number));
        for file in 0..50 {
            let directory = tree.join(format!("usr/{file}"));
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("file"), "left").unwrap();
        }
    }
    let running: Vec<_> = (0..6).map(|_| site.start(&["plan", "--no-lock"])).collect();
    for plan in running {
        plan.end().succeeds();
    }
    assert_eq!(names(&site.state().join("tmp")), Vec::<String>::new());
}

#[test]
fn a_finished_component_that_was_damaged_since_is_built_again() {
    let Some(mut site) = Site::fetched() else { return };
    site.configure(|settings| settings.include = vec![MINI[0].to_owned()]);
    site.run(&["build"]).succeeds();
    let components = site.state().join("components");
    let key = names(&components).into_iter().find(|name| !name.starts_with('.')).unwrap();
    let directory = components.join(key);
    let mut open = vec![directory];
    let mut damaged = 0;
    while let Some(directory) = open.pop() {
        for name in names(&directory) {
            let path = directory.join(&name);
            if path.is_dir() {
                open.push(path);
            } else if name.starts_with("kmod-") && name.ends_with(".rpm") {
                flip_a_byte(&path);
                damaged += 1;
            }
        }
    }
    assert_eq!(damaged, 1);
    site.run(&["run"]).succeeds();
    assert_eq!(site.last_run().components("built"), [MINI[0]]);
    let kernel = &site.lab.newer;
    assert_eq!(whole(&site.repository(kernel)), Ok(Some(site.served(kernel))));
    let packages = site.repository(kernel).join("Packages").display().to_string();
    let devel = kernel.devel.display().to_string();
    site.run(&["check", &packages, "--kernel", &devel]).succeeds();
}

/// Does something to the bytes of every file in a site's store; returns how many there are.
fn damage_store(site: &Site, damage: impl Fn(&mut Vec<u8>)) -> usize {
    let mut open = vec![site.state().join("store/sha256")];
    let mut count = 0;
    while let Some(directory) = open.pop() {
        for path in std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else {
                let mut bytes = std::fs::read(&path).unwrap();
                damage(&mut bytes);
                std::fs::remove_file(&path).unwrap();
                std::fs::write(&path, bytes).unwrap();
                count += 1;
            }
        }
    }
    count
}

#[test]
fn what_was_damaged_in_the_store_is_fetched_again_and_said() {
    let Some(site) = Site::built() else { return };
    for damage in ["a bit flipped", "cut off", "empty"] {
        let files = damage_store(&site, |bytes| match damage {
            "a bit flipped" => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            "cut off" => bytes.truncate(bytes.len() / 2),
            _ => bytes.clear(),
        });
        assert!(files > 5, "{files}");
        std::fs::remove_dir_all(site.state().join("components")).unwrap();
        if damage == "a bit flipped" {
            // What was made of the store's files hides them: without it, each is read.
            std::fs::remove_dir_all(site.state().join("kernels")).unwrap();
        }
        let run = site.run(&["build"]).succeeds();
        run.says("was damaged in the store, and is fetched again").says("look at the disk's health");
        assert_eq!(site.last_run().components("built"), MINI);
        let again = site.run(&["build"]).succeeds();
        assert!(!again.stderr.contains("damaged"), "{}", again.stderr);
    }
}
