//! From a train to a repository that nodes install from.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use std::process::Command;

use common::consumer::{Node, has, modules};
use common::repository::whole;
use common::{MINI, NEW, OLD, Site, bare, finish, text};
use serde_json::Value;

/// What the smallest stack yields for nodes.
const KMODS: [&str; 2] = ["kmod-hello-1.0-1.1.rhel9", "kmod-hello-user-1.0-1.1.rhel9"];

#[test]
fn a_run_from_nothing_publishes_modules_that_dnf_installs_into_an_empty_root_and_a_second_run_does_nothing() {
    let Some(site) = Site::new() else { return };
    let kernel = &site.lab.newer;
    site.run(&["run", "--why", "the first"]).succeeds().says("Served: version 1 at file://");
    let first = site.last_run();
    assert_eq!(first.components("built"), MINI);
    assert_eq!(first.published(), Some((1, false)));
    assert_eq!(first.exit(), Some(0));
    assert_eq!(first.of("proven")[0]["modules"], 2);
    assert_eq!(whole(&site.repository(kernel)), Ok(Some(site.served(kernel))));
    its_report_tells_of_it(&site, &first);

    // The second finds everything as it is.
    let second = site.run(&["run"]).succeeds();
    assert!(second.took.as_secs() < 5, "{:?}", second.took);
    second.says("Nothing to do: version 1 is served.");
    let run = site.last_run();
    assert_ne!(run.id, first.id);
    assert_eq!(run.of("component-started"), Vec::<Value>::new());
    assert_eq!(run.published(), Some((1, true)));
    assert_eq!(site.runs().len(), 2);

    // Nodes know the train and this repository, and nothing else.
    if has("dnf") {
        let node = Node::new(&site, "node", &[kernel]);
        let offered = node.offered();
        assert!(KMODS.iter().all(|kmod| offered.iter().any(|name| name == kmod)), "{offered:?}");
        let node = node.with_train();
        node.dnf(&["install", "kmod-hello-user"]);
        assert_eq!(
            modules(&node.root(), &kernel.release),
            ["hello-user/lab_hello_user.ko", "hello/lab_hello.ko"]
                .map(|module| format!("lib/modules/{}/extra/{module}", kernel.release))
        );
        let names = node.dnf(&["repoquery", "--installed", "--qf", "%{name}"]);
        assert!(names.lines().any(|name| name == "kernel-core"), "the kernel came with its modules: {names}");
        assert!(!names.contains("dkms"), "{names}");
    }
    if has("mergerepo_c") {
        let output = Command::new("mergerepo_c")
            .args(["--all", "--omit-baseurl", "--compress-type", "gz", "--repo"])
            .arg(format!("file://{}/", site.repository(kernel).display()))
            .arg("--outputdir")
            .arg(site.path("merged"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(whole_packages(&site.path("merged")), site.served(kernel).len());
    }
}

/// A run leaves a page, Markdown and JSON, and `show` prints the same at any time.
fn its_report_tells_of_it(site: &Site, run: &common::Run) {
    let read = |name: &str| std::fs::read_to_string(run.directory.join(name)).unwrap();
    let (page, markdown) = (read("report.html"), read("report.md"));
    let json: Value = serde_json::from_str(&read("report.json")).unwrap();
    let kernel = site.lab.newer.release.as_str();
    assert_eq!((&json["outcome"], &json["exit"]["code"]), (&Value::from("served"), &Value::from(0)));
    assert_eq!(
        (&json["cell"]["kernel"], &json["published"]["version"]),
        (&Value::from(kernel), &Value::from(1))
    );
    assert_eq!(
        (&json["proof"]["modules"], &json["proof"]["each"][0]["loads"]),
        (&Value::from(2), &Value::from(true))
    );
    assert_eq!(json["inputs"].as_array().unwrap().len(), 3);
    assert!(json["install"][0].as_str().unwrap().ends_with("/drivetrain.repo"), "{json}");
    assert_eq!(json["install"][1], "dnf install kmod-hello kmod-hello-user");
    for text in [&page, &markdown] {
        for said in
            [kernel, "all load", "dnf install kmod-hello kmod-hello-user", "hello-user-kmod", "file://"]
        {
            assert!(text.contains(said), "{said}: {text}");
        }
    }
    assert!(page.contains("href=\"logs/hello-kmod.log\"") && page.contains("<svg"), "{page}");
    assert_eq!(site.run(&["show", &run.id, "--html"]).succeeds().stdout, page);
    assert_eq!(site.run(&["show", "--markdown"]).succeeds().stdout, markdown);
    assert_eq!(site.run(&["show", "latest", "--annotations"]).succeeds().stdout, "");
    site.run(&["show", "latest", "--html", "--markdown"]).ends_with(2);
}

#[test]
fn a_run_that_fails_leaves_a_report_with_its_first_error() {
    let Some(mut site) = Site::built() else { return };
    let trap = site.trap("broken-kmod");
    site.configure(|settings| settings.extra = vec![trap]);
    site.run(&["run", "--keep-going"]).ends_with(5);
    let run = site.last_run();
    let read = |name: &str| std::fs::read_to_string(run.directory.join(name)).unwrap();
    let json: Value = serde_json::from_str(&read("report.json")).unwrap();
    let error = &json["first_errors"][0];
    assert_eq!((&json["outcome"], &json["broken_stage"]), (&Value::from("failed"), &Value::from("build")));
    assert_eq!(
        (&error["component"], &error["log"]),
        (&Value::from("broken-kmod"), &Value::from("logs/broken-kmod.log"))
    );
    let (file, line) = (error["file"].as_str().unwrap(), error["line"].as_u64().unwrap());
    assert!(file.ends_with("broken.c"), "{error}");
    assert!(error["excerpt"]["error_line"].is_u64(), "{error}");
    assert!(
        read("report.md").contains(&format!("**broken-kmod** at `{file}:{line}`")),
        "{}",
        read("report.md")
    );
    assert!(read("report.html").contains(&format!("<code>{file}:{line}</code>")));
    let annotations = site.run(&["show", "--annotations"]).succeeds().stdout;
    assert!(annotations.starts_with("::error title=broken-kmod does not build for kernel "), "{annotations}");
    assert!(annotations.contains(&format!(",file={file},line={line}::")), "{annotations}");
}

#[test]
fn a_report_that_cannot_be_written_is_a_warning_and_no_failure() {
    let Some(site) = Site::built() else { return };
    let mut running = site.start(&["run"]);
    // A directory stands where the report is to be.
    assert!(running.reaches(|event| event["event"] == "run-started"));
    let run = site.last_run();
    std::fs::create_dir(run.directory.join("report.html")).unwrap();
    running.end().succeeds().says("the report of this run cannot be written");
}

/// How many packages the metadata of a merged repository name; the packages are not beside them.
fn whole_packages(directory: &std::path::Path) -> usize {
    common::repository::Repository(directory.to_owned()).primary().matches("<package type=\"rpm\">").count()
}

#[test]
fn a_newer_kernel_gets_a_repository_of_its_own_beside_the_first() {
    let Some(mut site) = Site::built() else { return };
    site.configure(|settings| settings.snapshot(OLD));
    site.run(&["run"]).succeeds();
    assert_eq!(site.last_run().components("built"), MINI, "nothing of the other kernel's is taken");
    let before = site.served(&site.lab.older);
    site.configure(|settings| settings.snapshot(NEW));
    site.run(&["run"]).succeeds();
    assert_eq!(site.served(&site.lab.older), before);
    assert_eq!(whole(&site.repository(&site.lab.older)), Ok(Some(before.clone())));
    assert_eq!(whole(&site.repository(&site.lab.newer)), Ok(Some(before.clone())));

    let shown = site.run(&["show", "--json"]).succeeds().json();
    let kernels: Vec<&str> = shown["repositories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|repository| repository["cell"]["kernel"].as_str().unwrap())
        .collect();
    assert_eq!(kernels, [&site.lab.older.release, &site.lab.newer.release]);

    // Both have packages of one name and version: each node takes the one that fits its kernel.
    if has("dnf") {
        for (name, kernel) in [("older", &site.lab.older), ("newer", &site.lab.newer)] {
            let node = Node::new(&site, name, &[kernel]).with_train();
            node.dnf(&["install", "kmod-hello"]);
            assert_eq!(
                modules(&node.root(), &kernel.release),
                [format!("lib/modules/{}/extra/hello/lab_hello.ko", kernel.release)]
            );
        }
    }
}

#[test]
fn a_lock_passes_what_it_was_written_for_and_refuses_another_kernel_by_name() {
    let Some(mut site) = Site::built() else { return };
    let missing = site.run(&["run", "--locked"]).ends_with(3);
    missing.says("drivetrain.lock cannot be used").says("write it with `drivetrain plan`");
    let plan = site.run(&["plan"]).succeeds();
    insta::assert_snapshot!(text::stable(&site, &plan.stdout), @r"
    cell        lab-9.4/3.2.0/NEWER/x86_64
    kernel      NEWER, the newest of the train
                kernel-core-NEWER-PACKAGE.x86_64 from baseos
                kernel-devel-NEWER-PACKAGE.x86_64 from appstream
                not OLDER: older than the newest (in baseos, kernel-devel in appstream)
    driver      doca-ofed-source-3.2.0-1.rhel9.noarch from doca-mini, SIZE
    toolchain   TOOLCHAIN
    components
      reuse     hello-kmod      1.0-1
      reuse     hello-user-kmod 1.0-1, after hello-kmod
    publish     directory SITE/published
                lab-9.4/3.2.0/NEWER/x86_64 (nothing there yet)

    To do: build 0 components, reuse 2, prove every module, publish a new version.
    Lock: SITE/drivetrain.lock
    ");
    let lock = site.path("drivetrain.lock");
    let written = std::fs::read(&lock).unwrap();
    site.run(&["plan", "--locked"]).succeeds();
    site.run(&["run", "--locked"]).succeeds();
    assert_eq!(site.last_run().published(), Some((1, false)));
    // Planning again writes the same bytes: a lock in version control changes only when something did.
    site.run(&["plan"]).succeeds().says("Nothing to do");
    assert_eq!(std::fs::read(&lock).unwrap(), written);

    site.configure(|settings| settings.snapshot(OLD));
    for command in ["plan", "run", "build", "push"] {
        let refused = site.run(&[command, "--locked"]).ends_with(3);
        let (older, newer) = (&site.lab.older.release, &site.lab.newer.release);
        refused.says("no longer fits").says(older).says(newer);
    }
    assert_eq!(std::fs::read(&lock).unwrap(), written);
    assert!(!site.repository(&site.lab.older).exists());
    // Without --locked the lock is not looked at, and `plan --no-lock` leaves it alone.
    site.run(&["plan", "--no-lock"]).succeeds();
    assert_eq!(std::fs::read(&lock).unwrap(), written);
}

#[test]
fn what_is_built_is_pushed_later_and_what_is_not_built_is_refused() {
    let Some(site) = Site::fetched() else { return };
    let refused = site.run(&["push"]).ends_with(3);
    refused.says("not built yet from these inputs: hello-kmod, hello-user-kmod").says("drivetrain build");
    site.nothing_happened();
    site.run(&["build"]).succeeds().says("Built and proven in").says("drivetrain push");
    assert_eq!(site.last_run().components("built"), MINI);
    assert!(!site.settings.publish.exists(), "a build publishes nothing");
    let pushed = site.run(&["push", "--why", "CVE-2026-1234"]).succeeds();
    pushed.says("Served: version 1").says("drivetrain.repo && dnf install kmod-hello kmod-hello-user\n");
    let run = site.last_run();
    assert_eq!(run.components("reused"), MINI);
    assert_eq!(run.components("built"), Vec::<String>::new());
    let history = site.history(&site.lab.newer);
    assert!(history.contains("CVE-2026-1234"), "{history}");
    site.run(&["push"]).succeeds().says("Nothing to do");
}

#[test]
fn a_rollback_serves_the_version_before_and_leads_back_again() {
    let Some(mut site) = Site::built() else { return };
    let nothing = site.run(&["rollback"]).ends_with(7);
    nothing.says("nothing has been published yet");
    site.run(&["run"]).succeeds();
    // A macro that goes into the packages' headers: other inputs, other packages, and so another version.
    site.configure(|settings| settings.macros.push(("packager".to_owned(), "second".to_owned())));
    site.run(&["run"]).succeeds();
    assert_eq!(site.last_run().components("built"), MINI);
    assert_eq!(site.last_run().published(), Some((2, false)));
    let kernel = &site.lab.newer;
    let repomd = || std::fs::read(site.repository(kernel).join("repodata/repomd.xml")).unwrap();
    let second = repomd();

    let dry = site.run(&["rollback", "--dry-run"]).succeeds();
    dry.says("serves version 2").says("Kept are: 1, 2").says("Nothing was changed");
    assert_eq!(repomd(), second);
    site.run(&["rollback", "--why", "a regression"])
        .succeeds()
        .says("served version 2, serves version 1 now");
    assert_ne!(repomd(), second);
    assert_eq!(whole(&site.repository(kernel)), Ok(Some(site.served(kernel))));
    if has("dnf") {
        let node = Node::new(&site, "node", &[kernel]);
        assert_ne!(packagers(&node), "second");
        let back = site.run(&["rollback", "--to", "2", "--json"]).succeeds().json();
        assert_eq!((back["from"].as_u64(), back["to"].as_u64()), (Some(1), Some(2)));
        assert_eq!(packagers(&node), "second");
        site.run(&["rollback"]).succeeds();
        assert_ne!(packagers(&node), "second");
        site.run(&["rollback", "--to", "2"]).succeeds();
    } else {
        site.run(&["rollback", "--to", "2"]).succeeds();
    }
    assert_eq!(repomd(), second);
    site.run(&["rollback", "--to", "9"]).ends_with(7).says("9");
    // What is served is what the inputs make: nothing to do, and no version 3.
    site.run(&["run"]).succeeds().says("Nothing to do: version 2 is served.");
}

#[test]
fn a_run_that_nobody_watches_does_not_bring_back_what_was_rolled_back() {
    let Some(mut site) = Site::built() else { return };
    site.run(&["run"]).succeeds();
    site.configure(|settings| settings.macros.push(("packager".to_owned(), "second".to_owned())));
    site.run(&["run"]).succeeds();
    site.run(&["rollback", "--why", "a regression"]).succeeds().says("--undo-rollback");
    let repomd = || std::fs::read(site.repository(&site.lab.newer).join("repodata/repomd.xml")).unwrap();
    let first = repomd();
    site.run(&["plan"]).succeeds().says("(a regression): a run will not publish the same again");
    for command in ["run", "push"] {
        let refused = site.run(&[command]).ends_with(7);
        refused
            .says("version 2 of lab-9.4/3.2.0/")
            .says("was rolled back")
            .says("went back to version 1 at 20")
            .says(": a regression")
            .says("--undo-rollback");
        assert_eq!(repomd(), first);
    }
    assert_eq!(site.last_run().exit(), Some(7));
    site.run(&["build"]).succeeds();
    site.run(&["push", "--undo-rollback", "--why", "it was the firmware"])
        .succeeds()
        .says("Served: version 3");
    site.run(&["run"]).succeeds().says("Nothing to do: version 3 is served.");
    site.run(&["rollback"]).succeeds();
    site.configure(|settings| drop(settings.macros.pop()));
    site.configure(|settings| settings.macros.push(("packager".to_owned(), "third".to_owned())));
    site.run(&["run"]).succeeds().says("Served: version 4");
}

/// Who made the packages that dnf is offered.
fn packagers(node: &Node<'_>) -> String {
    let text = node.dnf(&["repoquery", "--qf", "%{packager}", "kmod-hello", "kmod-hello-user"]);
    text.trim().to_owned()
}

#[test]
fn a_dry_rollback_speaks_json_and_knows_which_versions_are_kept() {
    let Some(site) = Site::built() else { return };
    site.run(&["run"]).succeeds();
    site.run(&["rollback", "--dry-run", "--to", "9"]).ends_with(7).says("9");
    site.run(&["rollback", "--dry-run", "--to", "1", "--json"]).succeeds().json();
}

#[test]
fn a_run_that_finds_its_repository_damaged_says_so_and_touches_nothing() {
    let Some(site) = Site::built() else { return };
    site.run(&["run"]).succeeds();
    let kernel = &site.lab.newer;
    let package = site.repository(kernel).join("Packages").join(&site.served(kernel)[0]);
    common::repository::flip_a_byte(&package);
    let damaged = std::fs::read(&package).unwrap();
    site.run(&["run"]).ends_with(7).says("is damaged").says(&site.served(kernel)[0]);
    assert_eq!(std::fs::read(&package).unwrap(), damaged);
}

#[test]
fn show_tells_of_runs_repositories_and_evidence() {
    let Some(site) = Site::fetched() else { return };
    site.run(&["show"]).succeeds().says("no runs in");
    site.run(&["show", "latest"]).ends_with(2).says("there are no runs");
    assert!(!site.state().join("runs").exists(), "looking makes nothing");
    site.run(&["run"]).succeeds();
    site.run(&["run"]).succeeds();
    let runs = site.runs();
    let list = site.run(&["show"]).succeeds();
    for run in &runs {
        assert!(list.stdout.contains(&run.id), "{}", list.stdout);
    }
    list.says("serves version 1 since").says("kept: 1").says("done");
    let all = site.run(&["show", "--json"]).succeeds().json();
    assert_eq!(all["runs"].as_array().unwrap().len(), 2);
    assert_eq!(all["repositories"][0]["version"], 1);
    assert_eq!(all["repositories"][0]["run"], runs[0].id);

    let one = site.run(&["show", &runs[0].id]).succeeds();
    insta::assert_snapshot!(dated(&text::stable(&site, &one.stdout)), @r"
    run         RUN, run
    began       WHEN
    ended       done after TIME
    cell        lab-9.4/3.2.0/NEWER/x86_64
    lock        DIGEST
                kernel-core-NEWER-PACKAGE.x86_64, SIZE, file://LAB/www/train/BaseOS/x86_64/os/20261101T000000/Packages/k/kernel-core-NEWER-PACKAGE.x86_64.rpm
                kernel-devel-NEWER-PACKAGE.x86_64, SIZE, file://LAB/www/train/AppStream/x86_64/os/20261101T000000/Packages/k/kernel-devel-NEWER-PACKAGE.x86_64.rpm
                doca-ofed-source-3.2.0-1.rhel9.noarch, SIZE, file://LAB/www/doca-mini/3.2.0/rhel9/x86_64/Packages/d/doca-ofed-source-3.2.0-1.rhel9.noarch.rpm
    toolchain   TOOLCHAIN
    stages      plan TIME, fetch TIME, build TIME, prove TIME, publish TIME
    component   hello-kmod: built in TIME, 3 packages
                PHASES
                SITE/state/runs/RUN/logs/hello-kmod.log
    component   hello-user-kmod: built in TIME, 2 packages
                PHASES
                SITE/state/runs/RUN/logs/hello-user-kmod.log
    proof       2 modules, 6 symbols, all load
    install     2 packages with 17 of the train
    published   version 1, file://SITE/published/lab-9.4/3.2.0/NEWER/x86_64/
    files       SITE/state/runs/RUN
    ");
    let evidence = site.run(&["show", &runs[0].id, "--json"]).succeeds().json();
    assert_eq!(evidence["run"]["run"], runs[0].id);
    assert_eq!(evidence["run"]["exit"], 0);
    assert_eq!(evidence["events"].as_array().unwrap(), &runs[0].events);
    assert_eq!(evidence["lock"]["cell"]["kernel"], site.lab.newer.release);
    for part in ["plan", "verdicts", "build", "installation"] {
        assert!(evidence[part].is_object(), "{part}");
    }
    // The logs of the run that built, and of the one that found everything built.
    for run in &runs {
        for component in MINI {
            let log = site.run(&["show", &run.id, "--log", component]).succeeds();
            assert!(log.stdout.contains("Executing(%build)"), "{}", log.stdout);
        }
    }
    site.run(&["show", "latest", "--log", "iser"]).ends_with(2).says("no log of iser");
    let journal = site.run(&["show", "latest", "--journal"]).succeeds();
    let journal: Vec<Value> =
        journal.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(journal, runs[1].events);
    site.run(&["show", "20200101T000000Z-aaaa"]).ends_with(2).says("there is no run");
    site.run(&["show", "../../etc"]).ends_with(2);
    // Without a configuration there are still the runs.
    let mut elsewhere = bare(&site.path(""));
    elsewhere.args(["show", "--config", "nowhere.yaml", "--state"]).arg(site.state());
    finish(&mut elsewhere).succeeds().says(&runs[0].id);
}

#[test]
fn show_lists_a_damaged_repository_with_its_problem_and_rollback_leads_out_of_it() {
    let Some(mut site) = Site::built() else { return };
    site.run(&["run"]).succeeds();
    site.configure(|settings| settings.macros.push(("packager".to_owned(), "second".to_owned())));
    site.run(&["run"]).succeeds();
    // A repository of another kernel beside it.
    let (whole, damaged) = (&site.lab.older, &site.lab.newer);
    let (at, hidden) = (site.repository(damaged), site.history_file(damaged));
    let text = |path: &std::path::Path| path.display().to_string().replace(&damaged.release, &whole.release);
    let copy = |from: &std::path::Path| {
        common::copy("-a", from, std::path::Path::new(&text(from.parent().unwrap())))
    };
    copy(hidden.parent().unwrap());
    std::fs::create_dir_all(site.repository(whole).parent().unwrap()).unwrap();
    let link = std::fs::read_link(&at).unwrap();
    std::os::unix::fs::symlink(text(&link), site.repository(whole)).unwrap();
    site.run(&["show"]).succeeds();

    std::fs::write(at.join("manifest.json"), "{").unwrap();
    let show = site.run(&["show"]).ends_with(7);
    show.says("serves version 2 since")
        .says(&format!("lab-9.4/3.2.0/{}/x86_64\n    damaged: ", damaged.release))
        .says("manifest.json is no manifest that this version of drivetrain reads");
    let json = site.run(&["show", "--json"]).ends_with(7).json();
    let problems: Vec<bool> =
        json["repositories"].as_array().unwrap().iter().map(|one| one["problem"].is_string()).collect();
    assert_eq!(problems.iter().filter(|problem| **problem).count(), 1, "{json}");
    assert_eq!(problems.len(), 2, "{json}");
    let back = site.run(&["rollback", &damaged.release]).succeeds();
    back.says("served version 2, serves version 1 now");
    site.run(&["show"]).succeeds();
}

/// Without the date of the line that has one, and the phases of builds, which stand in the order of their times.
fn dated(text: &str) -> String {
    text.lines()
        .map(|line| match line {
            line if line.starts_with("began ") => "began       WHEN\n".to_owned(),
            line if line.contains("package TIME") => "            PHASES\n".to_owned(),
            line => format!("{line}\n"),
        })
        .collect()
}

#[test]
fn the_latest_run_is_the_one_that_began_last_also_within_a_second() {
    let Some(site) = Site::built() else { return };
    site.run(&["run"]).succeeds();
    for _ in 0..12 {
        site.run(&["run", "--quiet"]).succeeds();
        let latest = site.run(&["show", "latest", "--json"]).succeeds().json();
        assert_eq!(latest["run"]["run"], site.last_run().id);
    }
    let listed = site.run(&["show", "--json"]).succeeds().json();
    let listed: Vec<&str> =
        listed["runs"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap()).collect();
    assert_eq!(listed, site.runs().iter().map(|run| run.id.as_str()).collect::<Vec<_>>());
}

#[test]
fn check_passes_what_is_published_and_names_what_another_kernel_would_refuse() {
    let Some(site) = Site::built() else { return };
    site.run(&["run"]).succeeds();
    let (older, newer) = (&site.lab.older, &site.lab.newer);
    let packages = site.repository(newer).join("Packages").display().to_string();
    let devel = newer.devel.display().to_string();
    let check = |arguments: &[&str]| {
        let mut command = bare(&site.path(""));
        finish(command.arg("check").args(arguments))
    };
    let good = check(&[&packages, "--kernel", &devel]).succeeds();
    good.says("loads: 2 modules on").says(&newer.release);
    let tree = site.lab.directory.join("kernels").join(&newer.release).display().to_string();
    check(&[&packages, "--kernel", &tree]).succeeds();
    let json = check(&[&packages, "--kernel", &devel, "--json"]).succeeds().json();
    assert_eq!(json["modules"].as_array().unwrap().len(), 2);

    let other = check(&[&packages, "--kernel", &older.devel.display().to_string()]).ends_with(6);
    insta::assert_snapshot!(text::stable(&site, &other.stdout), @r"
    lab_hello: does not load (kmod-hello-1.0-1.1.rhel9.x86_64.rpm)
        not publishable: built for kernel NEWER, not for OLDER
    lab_hello_user: does not load (kmod-hello-user-1.0-1.1.rhel9.x86_64.rpm)
        not publishable: built for kernel NEWER, not for OLDER
    does not load: 2 of 2 modules on OLDER
    ");

    // One symbol with another CRC, as a kernel has that was built with another configuration.
    let symbols = std::fs::read_to_string(format!("{tree}/Module.symvers")).unwrap();
    let line = symbols.lines().find(|line| line.split('\t').nth(1) == Some("_printk")).unwrap();
    let crc = line.split('\t').next().unwrap();
    std::fs::write(site.path("Module.symvers"), symbols.replace(line, &line.replace(crc, "0xdeadbeef")))
        .unwrap();
    let altered = ["--kernel", "Module.symvers", "--release", &newer.release];
    let wrong = check(&[&[packages.as_str()], &altered[..]].concat()).ends_with(6);
    insta::assert_snapshot!(text::stable(&site, &wrong.stdout).replace(crc, "CRC"), @r"
    lab_hello: does not load (kmod-hello-1.0-1.1.rhel9.x86_64.rpm)
        does not load: symbol _printk: module wants CRC CRC, kernel NEWER has 0xdeadbeef (vmlinux)
    lab_hello_user: does not load (kmod-hello-user-1.0-1.1.rhel9.x86_64.rpm)
        does not load: needs lab_hello of the set, which does not load
    does not load: 2 of 2 modules on NEWER
    not judged: nothing at hand tells the flags of the version magic and the machine of kernel NEWER: the modules were compared with each other in this, and not with the kernel. Its kernel-devel or kernel-core, an RPM or unpacked, tells it
    not judged: whether the symbols are those of kernel NEWER: only --release says so
    ");
    wrong.says("_printk").says(crc).says("0xdeadbeef");
    // Bytes that are not those of the package, be it the kernel's or one of the modules'.
    let damaged = site.path("kernel-devel.rpm");
    let bytes = std::fs::read(&newer.devel).unwrap();
    std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    let cut = check(&[&packages, "--kernel", damaged.to_str().unwrap()]).ends_with(4);
    cut.says("kernel-devel.rpm: is truncated").says("fetch the RPM again");
    let flipped = site.path("kmod-hello.rpm");
    std::fs::copy(format!("{packages}/{}.x86_64.rpm", KMODS[0]), &flipped).unwrap();
    common::repository::flip_a_byte(&flipped);
    let wrong = check(&[flipped.to_str().unwrap(), "--kernel", &devel]).ends_with(4);
    wrong.says("kmod-hello.rpm: the payload digest does not match");
    check(&[&packages, "--kernel", "Module.symvers"]).ends_with(4).says("--release");
    check(&[&packages, "--kernel", "/nowhere"]).ends_with(4);
    // A user of a module that is not among the files cannot load either.
    let alone = format!("{packages}/{}.x86_64.rpm", KMODS[1]);
    check(&[&alone, "--kernel", &devel]).ends_with(6).says("lab_hello");
}

#[test]
fn with_json_every_line_of_a_run_is_an_event() {
    let Some(site) = Site::built() else { return };
    let run = site.run(&["run", "--json"]).succeeds();
    assert_eq!(run.stderr, "");
    let events: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for event in &events {
        assert!(event["event"].is_string() && event["at"].is_string(), "{event}");
    }
    assert_eq!(events.first().unwrap()["event"], "run-started");
    assert_eq!(events.last().unwrap()["event"], "run-finished");
    // The journal has the same, without what is of use only at the moment.
    let kept: Vec<&Value> = events
        .iter()
        .filter(|event| !["fetch-progress", "component-progress"].contains(&event["event"].as_str().unwrap()))
        .collect();
    assert_eq!(kept, site.last_run().events.iter().collect::<Vec<_>>());

    let plan = site.run(&["plan", "--json"]).succeeds();
    assert_eq!(plan.stderr, "");
    assert_eq!(plan.json()["kernel"]["release"], site.lab.newer.release);
    // A failure is an object too.
    let refused = site.run(&["plan", "--locked", "--lock", "nowhere.lock", "--json"]).ends_with(3);
    assert_eq!(refused.json()["error"]["code"], 3);
}

#[test]
fn a_publication_that_cannot_be_made_is_refused_before_anything_is_built() {
    let Some(site) = Site::fetched() else { return };
    std::fs::write(&site.settings.publish, "a file\n").unwrap();
    site.run(&["run"]).ends_with(7).says(site.settings.publish.to_str().unwrap());
    site.nothing_happened();
}

#[test]
fn a_lock_that_is_no_lock_is_refused() {
    let Some(site) = Site::built() else { return };
    for text in ["", "{}", "not JSON", "{\"format\": 99}"] {
        std::fs::write(site.path("drivetrain.lock"), text).unwrap();
        site.run(&["run", "--locked"]).ends_with(3).says("drivetrain.lock cannot be used");
    }
    assert!(!site.repository(&site.lab.newer).exists());
}

#[test]
fn an_ordinary_user_builds_and_publishes_without_any_privilege() {
    let Some(mut site) = Site::new() else { return };
    let setpriv = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    // The binary goes along: where it was built may be closed to others.
    let binary = site.path("drivetrain");
    std::fs::copy(common::BINARY, &binary).unwrap();
    site.configure(|settings| settings.include = vec![MINI[0].to_owned()]);
    let owned = Command::new("chown").args(["-R", "65534:65534"]).arg(site.path("")).output();
    if !owned.is_ok_and(|output| output.status.success()) || !has("setpriv") {
        println!("skipped: only root can become another user");
        return;
    }
    let may_read =
        Command::new("setpriv").args(setpriv).args(["test", "-r"]).arg(&site.settings.train_key).status();
    if !may_read.is_ok_and(|status| status.success()) {
        println!("skipped: others cannot read the lab");
        return;
    }
    let mut command = Command::new("setpriv");
    command
        .args(setpriv)
        .arg(&binary)
        .args(["run", "--config"])
        .arg(site.config())
        .current_dir(site.path(""));
    // Where a user's state goes when nobody says.
    command.env("HOME", site.path("home")).env_remove("XDG_STATE_HOME").env_remove("DRIVETRAIN_STATE");
    finish(&mut command).succeeds();
    let kernel = &site.lab.newer;
    assert_eq!(whole(&site.repository(kernel)), Ok(Some(site.served(kernel))));
    assert!(site.path("home/.local/state/drivetrain/runs").is_dir());
}

#[test]
fn debugging_information_that_is_kept_is_published_beside_the_modules() {
    let Some(mut site) = Site::fetched() else { return };
    if !has("eu-strip") {
        println!("skipped: no eu-strip, which is in the package elfutils");
        return;
    }
    site.configure(|settings| settings.debuginfo = true);
    site.run(&["run"]).succeeds().says("&& dnf install kmod-hello kmod-hello-user\n");
    let served = site.served(&site.lab.newer);
    for name in ["hello-kmod-debuginfo-1.0", "hello-user-kmod-debuginfo-1.0", "kmod-hello-1.0"] {
        assert!(served.iter().any(|served| served.starts_with(name)), "{name}: {served:?}");
    }
    if has("dnf") {
        let node = Node::new(&site, "node", &[&site.lab.newer]);
        let found = node.dnf(&["repoquery", "--qf", "%{name}", "*-debuginfo"]);
        assert!(found.contains("hello-kmod-debuginfo"), "{found}");
    }
}

#[test]
fn where_kmod_packages_cannot_be_made_the_plan_says_so_and_modules_packages_are_published() {
    let Some(mut site) = Site::fetched() else { return };
    site.configure(|settings| {
        settings.macros.clear();
        settings.include = vec![MINI[0].to_owned()];
    });
    let plan = site.run(&["plan", "--no-lock"]).succeeds();
    plan.says("COMPONENT-modules packages instead of kmod-COMPONENT");
    site.run(&["run"]).succeeds().says("&& dnf install hello-modules\n");
    let served = site.served(&site.lab.newer);
    assert!(served.iter().any(|name| name.starts_with("hello-modules-1.0")), "{served:?}");
    assert!(!served.iter().any(|name| name.starts_with("kmod-")), "{served:?}");
}
