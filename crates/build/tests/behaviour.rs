//! How builds share the machine, end early, and come back.

#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::{Bench, failure, outcome, source_rpm, unpack, utf8};
use drivetrain_build::{Debuginfo, Outcome, Patch, Recipe};
use drivetrain_host::CancellationToken;
use drivetrain_model::{Capability, Event, Sha256Digest};

#[tokio::test(flavor = "multi_thread")]
async fn components_that_do_not_need_each_other_are_built_at_once() {
    let Some(bench) = Bench::new().await else { return };
    // Each waits until the other has started: one after the other, neither would ever end.
    let [one, two] = [("one", "two"), ("two", "one")].map(|(me, other)| {
        let meet = format!(
            "touch /drivetrain/ccache/{me}\nn=0\nwhile [ ! -e /drivetrain/ccache/{other} ]; do sleep 0.1; n=$((n+1)); [ $n -lt 300 ]; done"
        );
        bench.component_with(&source_rpm(&bench, me, "", &meet), &[], Recipe::default())
    });
    let report = bench.build(&[&one, &two]).await;
    assert!(report.is_success(), "{report:#?}");
    let events = bench.events.lock().unwrap();
    let names: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::ComponentStarted { .. } => Some("started"),
            Event::ComponentFinished { .. } => Some("finished"),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["started", "started", "finished", "finished"]);
    assert!(events.iter().any(|event| {
        matches!(event, Event::ComponentProgress { doing, .. } if doing.starts_with("CC [M] ") || doing == "build")
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_debugging_information_the_code_is_the_same() {
    let Some(bench) = Bench::new().await else { return };
    let srpm = source_rpm(&bench, "same", "", "");
    let mut modules = Vec::new();
    for (debuginfo, directory) in [(Debuginfo::Drop, "drop"), (Debuginfo::Keep, "keep")] {
        let mut recipe = Recipe { debuginfo, ..Recipe::default() };
        // rpmbuild's own stripping, and a package for what is stripped, would hide the difference.
        for name in ["__os_install_post", "debug_package"] {
            recipe.macros.insert(name.to_owned(), String::new());
        }
        let component = bench.component_with(&srpm, &[], recipe);
        let report = bench.build(&[&component]).await;
        assert!(report.is_success(), "{report:#?}");
        let root = unpack(&bench, &report, "same", directory);
        modules.push(root.join(format!("lib/modules/{}/extra/same.ko", bench.kernel.release)));
    }
    let section = |module: &camino::Utf8Path, name: &str| {
        let out = module.with_extension("section");
        let done = Command::new("objcopy")
            .args(["-O", "binary", "--set-section-flags", &format!("{name}=alloc"), "-j", name])
            .args([module, &*out])
            .status()
            .unwrap();
        assert!(done.success());
        std::fs::read(out).unwrap()
    };
    for name in
        [".text", ".init.text", ".rodata", ".rodata.str1.1", ".data", ".modinfo", "__versions", "__param"]
    {
        assert_eq!(section(&modules[0], name), section(&modules[1], name), "{name}");
    }
    assert!(section(&modules[1], ".init.text").len() > 20 && section(&modules[1], "__versions").len() >= 64);
    let sizes: Vec<_> = modules.iter().map(|module| std::fs::metadata(module).unwrap().len()).collect();
    assert!(sizes[0] * 2 < sizes[1], "{sizes:?}: nothing was dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn debugging_information_that_is_kept_is_in_a_package_of_its_own() {
    let Some(bench) = Bench::new().await else { return };
    if !camino::Utf8Path::new("/usr/bin/eu-strip").exists() {
        println!("skipped: no eu-strip, which is in the package elfutils");
        return;
    }
    // One that its spec file strips, and one that it does not; neither is executable.
    let stripped = bench.lab.join("rpms/mini/hello-kmod-1.0-1.src.rpm");
    let plain = source_rpm(&bench, "plain", "", "");
    for (srpm, name, module) in [(&stripped, "hello-kmod", "hello/lab_hello"), (&plain, "plain", "plain")] {
        let recipe = Recipe { debuginfo: Debuginfo::Keep, ..Recipe::default() };
        let report = bench.build(&[&bench.component_with(srpm, &[], recipe)]).await;
        assert!(report.is_success(), "{report:#?}\n{}", bench.log(name));
        let packages: Vec<_> =
            report.components[0].packages.iter().map(|package| package.nevra.name.clone()).collect();
        assert!(packages.contains(&format!("{name}-debuginfo")), "{packages:?}\n{}", bench.log(name));
        let root = unpack(&bench, &report, name, name);
        let installed = format!("lib/modules/{}/extra/{module}.ko", bench.kernel.release);
        let sections = |path: &camino::Utf8Path| {
            let output = Command::new("readelf").args(["-S", "-W", path.as_str()]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let own = sections(&root.join(&installed));
        assert!(!own.contains(".debug_info") && own.contains(".gnu_debuglink"), "{own}");
        assert!(own.contains("__versions") && own.contains(".symtab"), "{own}");
        let directory = root.join("usr/lib/debug").join(&installed);
        let debug = directory.parent().unwrap().read_dir_utf8().unwrap().next().unwrap().unwrap();
        assert!(sections(debug.path()).contains(".debug_info"));
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(root.join(&installed)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o644, "as the spec file installs it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_requirements_and_macros_come_from_the_configuration() {
    let Some(mut bench) = Bench::new().await else { return };
    let srpm = source_rpm(
        &bench,
        "odd",
        "BuildRequires: odd-tool >= 2\nBuildRequires: gcc\n%{?with_building_kmods:BuildRequires: also-odd}",
        "test '%{my_macro}' = 'a b' && grep -q PATCHED odd.c",
    );
    let patch = bench.path("odd.patch");
    std::fs::write(
        &patch,
        "--- a/odd.c\n+++ b/odd.c\n@@ -1,1 +1,2 @@\n+/* PATCHED */\n #include <linux/module.h>\n",
    )
    .unwrap();
    let mut recipe = Recipe::default();
    recipe.macros.insert("my_macro".to_owned(), "a b".to_owned());
    recipe.patches = vec![read(&patch)];
    let component = bench.component_with(&srpm, &[], recipe);
    let error = failure(&bench.build(&[&component]).await, "odd");
    assert!(error.contains("needs also-odd") && error.contains("; and odd-tool >= 2"), "{error}");
    bench.options.provides = vec![Capability::unversioned("odd-tool"), Capability::unversioned("also-odd")];
    let report = bench.build(&[&component]).await;
    assert!(report.is_success(), "{}\n{}", failure(&report, "odd"), bench.log("odd"));

    std::fs::write(&patch, "changed since").unwrap();
    std::fs::remove_dir_all(bench.path("components")).unwrap();
    let error = failure(&bench.build(&[&component]).await, "odd");
    assert!(error.contains("odd.patch is not what was planned"), "{error}");
}

/// A patch, as it is there.
fn read(path: &camino::Utf8Path) -> Patch {
    let sha256 = Sha256Digest::of(&std::fs::read(path).unwrap());
    Patch { name: path.file_name().unwrap().to_owned(), path: path.to_owned(), sha256 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_does_not_fit_is_told_by_its_name_and_hunks() {
    let Some(bench) = Bench::new().await else { return };
    let srpm = source_rpm(&bench, "odd", "", "");
    let error = async |name: &str, text: &str| {
        let path = bench.path(name);
        std::fs::write(&path, text).unwrap();
        let recipe = Recipe { patches: vec![read(&path)], ..Recipe::default() };
        let report = bench.build(&[&bench.component_with(&srpm, &[], recipe)]).await;
        assert!(
            !report.failures().next().unwrap().1.is_of_the_source(),
            "it is the site's, not the kernel's"
        );
        failure(&report, "odd")
    };
    let first = "--- a/odd.c\n+++ b/odd.c\n@@ -1,1 +1,2 @@\n+/* PATCHED */\n #include <linux/module.h>\n";
    // The first hunk fits, the second does not.
    let half = format!("{first}@@ -50,2 +51,3 @@\n int not_there;\n+int new;\n int not_there_either;\n");
    let said = error("half.patch", &half).await;
    assert!(
        said.contains("the patch half.patch does not apply to the source: odd.c: Hunk #2 FAILED at 5"),
        "{said}"
    );
    let said = error("moved.patch", &first.replace("odd.c", "even.c")).await;
    assert!(
        said.contains("the patch moved.patch does not apply to the source: the source has no such file"),
        "{said}"
    );
    let said = error(
        "done.patch",
        "--- a/odd.c\n+++ b/odd.c\n@@ -1,1 +1,1 @@\n-#include <linux/init.h>\n+#include <linux/module.h>\n",
    )
    .await;
    assert!(said.contains("the patch done.patch is in the source already"), "{said}");
    let said = error("text.patch", "this is no patch\n").await;
    assert!(said.contains("text.patch does not apply to the source: Only garbage was found"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_would_not_be_applied_is_an_error() {
    let Some(bench) = Bench::new().await else { return };
    let srpm = source_rpm(&bench, "tools", "", "");
    // Under the name of one of the run's own directories, too.
    assert!(bench.build(&[&bench.component_with(&srpm, &[], Recipe::default())]).await.is_success());

    let spec = bench.path("srpm/SPECS/tools.spec");
    let text = std::fs::read_to_string(&spec).unwrap().replace("%build\n", "# in one go\n");
    std::fs::write(&spec, text).unwrap();
    common::pack(&bench, &spec);
    let patch = bench.path("any.patch");
    std::fs::write(&patch, "").unwrap();
    let patches = vec![read(&patch)];
    let component = bench.component_with(&srpm, &[], Recipe { patches, ..Recipe::default() });
    let error = failure(&bench.build(&[&component]).await, "tools");
    assert!(error.contains("has no %build section"), "{error}");
}

const FOREVER: &str = "echo READY; sleep 3600";

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_build_ends_at_once_and_keeps_what_is_finished() {
    let Some(bench) = Bench::new().await else { return };
    let quick = bench.component_with(&source_rpm(&bench, "quick", "", ""), &[], Recipe::default());
    let slow = bench.component_with(&source_rpm(&bench, "slow", "", FOREVER), &[&quick], Recipe::default());
    let after = bench.component_with(&source_rpm(&bench, "after", "", ""), &[&slow], Recipe::default());
    let cancel = CancellationToken::new();
    let cancelling = async {
        while !bench.path("logs/slow.log").exists() || !bench.log("slow").contains("\nREADY\n") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cancel.cancel();
        Instant::now()
    };
    let components = [&quick, &slow, &after];
    let (report, cancelled) = tokio::join!(bench.build_until(&components, &cancel), cancelling);
    assert!(cancelled.elapsed() < Duration::from_secs(5), "{:?}", cancelled.elapsed());
    assert!(report.cancelled);
    assert!(outcome(&report, "quick").is_success());
    for name in ["slow", "after"] {
        assert!(matches!(outcome(&report, name), Outcome::NotTried { why } if why.contains("interrupted")));
    }
    assert!(bench.path("work").read_dir_utf8().unwrap().next().is_none());
    let again = bench.build(&[&quick]).await;
    assert!(matches!(outcome(&again, "quick"), Outcome::Reused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_takes_too_long_is_killed() {
    let Some(mut bench) = Bench::new().await else { return };
    bench.options.deadline = Some(Duration::from_secs(3));
    let slow = bench.component_with(&source_rpm(&bench, "slow", "", FOREVER), &[], Recipe::default());
    let report = bench.build(&[&slow]).await;
    assert_eq!(failure(&report, "slow"), "the build of slow ran into its deadline");
}

/// The process that the next test kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of another test"]
async fn victim() {
    let Ok(directory) = std::env::var("DRIVETRAIN_TEST_DIRECTORY") else { return };
    let Some(bench) = Bench::new().await else { return };
    let quick = bench.component_with(&source_rpm(&bench, "quick", "", ""), &[], Recipe::default());
    let slow = bench.component_with(&source_rpm(&bench, "slow", "", FOREVER), &[&quick], Recipe::default());
    let mut request = bench.request(&[&quick, &slow]);
    for path in [
        &mut request.directories.work,
        &mut request.directories.components,
        &mut request.directories.ccache,
        &mut request.directories.logs,
    ] {
        *path = camino::Utf8PathBuf::from(&directory).join(path.file_name().unwrap());
    }
    let events = std::sync::Arc::new(|_| {});
    drivetrain_build::build(bench.host.clone(), request, None, events, &CancellationToken::new())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_the_next_run_tidies_up_and_goes_on() {
    let Some(bench) = Bench::new().await else { return };
    let directory = utf8(bench.directory.path());
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored"])
        .env("DRIVETRAIN_TEST_DIRECTORY", &directory)
        .env("TMPDIR", &directory)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !bench.path("logs/slow.log").exists() || !bench.log("slow").contains("\nREADY\n") {
        assert!(started.elapsed() < Duration::from_secs(300));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    let leftovers = bench.path("work").read_dir_utf8().unwrap().count();
    assert_eq!(leftovers, 1);
    // What it had finished is there, and what it left is removed.
    let finished = bench.path("components").read_dir_utf8().unwrap().count();
    assert_eq!(finished, 1);
    let other = bench.component_with(&source_rpm(&bench, "other", "", ""), &[], Recipe::default());
    assert!(bench.build(&[&other]).await.is_success());
    assert!(bench.path("work").read_dir_utf8().unwrap().next().is_none());
    assert_eq!(bench.path("components").read_dir_utf8().unwrap().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_of_another_kernel_is_refused_before_anything_is_built() {
    let Some(bench) = Bench::new().await else { return };
    let mut request = bench.request(&[]);
    request.kernel.release = drivetrain_model::KernelRelease::parse("5.14.0-427.el9.x86_64").unwrap();
    let events = std::sync::Arc::new(|_| {});
    let error =
        drivetrain_build::build(bench.host.clone(), request, None, events, &CancellationToken::new()).await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("is no kernel development tree for 5.14.0-427.el9.x86_64: it is the one of"),
        "{error}"
    );
}
