//! Modules that were built for one kernel, packaged for the next one that loads them as they are: two real kernels, real
//! modules, real packages.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod common;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::consumer::Node;
use common::repository::{mirror, whole};
use common::{Kernel, NEW, OLD, Site};
use drivetrain_rpmfile::{Changes, FileFact, PayloadLimits, rewrite};
use serde_json::Value;

fn identical(site: &mut Site) {
    site.configure(|settings| settings.reuse = Some("when-identical".to_owned()));
}

fn actions(plan: &Value) -> Vec<String> {
    let components = plan["components"].as_array().unwrap();
    components.iter().map(|component| component["action"]["do"].as_str().unwrap().to_owned()).collect()
}

fn plan(site: &Site) -> Value {
    serde_json::from_str(&site.run(&["plan", "--json"]).succeeds().stdout).unwrap()
}

fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// All of a package's header as rpm reads it, but what says when it was made, and digests of what has the version magic in
/// it.
fn header(package: &Path) -> String {
    const LEFT_OUT: [&str; 11] = [
        "Buildtime",
        "Sha1header",
        "Sha256header",
        "Sigmd5",
        "Sigsize",
        "Cookie",
        "Longarchivesize",
        "Fileinodes",
        "Classdict",
        "Payloaddigest",
        "Filedigests",
    ];
    let text = stdout(Command::new("rpm").args(["-qp", "--xml", "--nosignature"]).arg(package));
    let mut kept = Vec::new();
    let mut skipping = false;
    for line in text.lines() {
        if let Some(tag) = line.trim().strip_prefix("<rpmTag name=\"") {
            skipping = LEFT_OUT.iter().any(|name| tag.starts_with(name));
        }
        if !skipping {
            kept.push(line);
        }
    }
    kept.join("\n")
}

fn packages(site: &Site, kernel: &Kernel) -> Vec<PathBuf> {
    let directory = site.repository(kernel).join("Packages");
    site.served(kernel).into_iter().map(|name| directory.join(name)).collect()
}

#[test]
fn what_was_built_for_the_kernel_before_is_packaged_for_the_next_and_installs_there() {
    let Some(mut site) = Site::new() else { return };
    identical(&mut site);
    site.configure(|settings| settings.snapshot(OLD));
    site.run(&["run"]).succeeds();
    let (older, newer) = (site.lab.older.clone(), site.lab.newer.clone());

    site.configure(|settings| settings.snapshot(NEW));
    let text = site.run(&["plan"]).succeeds().stdout;
    assert!(text.contains("repackage hello-kmod"), "{text}");
    assert!(
        text.contains(&format!(
            "hello-kmod, hello-user-kmod as built for {}: 2 modules ask for",
            older.release
        )),
        "{text}"
    );
    assert!(text.contains("all the same on this kernel"), "{text}");
    assert!(text.contains("To do: build 0 components, repackage 2, reuse 0"), "{text}");

    let output = site.run(&["run"]).succeeds();
    let said = format!("hello-kmod: packaged for this kernel, as built for {}", older.release);
    assert!(output.stderr.contains(&said), "{}", output.stderr);
    assert_eq!(whole(&site.repository(&newer)), Ok(Some(site.served(&newer))));
    let run = site.last_run();
    let build: Value =
        serde_json::from_slice(&std::fs::read(run.directory.join("build.json")).unwrap()).unwrap();
    for component in build["components"].as_array().unwrap() {
        assert_eq!(component["action"]["kernel"], older.release.as_str(), "{component}");
        assert_eq!(component["outcome"]["outcome"], "repackaged", "{component}");
    }
    // That they say another kernel is told, and is no reason not to publish them.
    let verdicts = std::fs::read_to_string(run.directory.join("verdicts.json")).unwrap();
    let verdicts: Value = serde_json::from_str(&verdicts).unwrap();
    let finding = &verdicts["verdict"]["modules"][0]["findings"][0];
    assert_eq!(
        (finding["severity"].as_str(), finding["problem"].as_str()),
        (Some("warning"), Some("release"))
    );

    // The node that has the newer kernel gets them where that kernel looks.
    let node = Node::new(&site, "node", &[&newer]).with_train();
    node.dnf(&["install", "--setopt=install_weak_deps=False", "kmod-hello-user"]);
    let found = stdout(Command::new("find").arg(node.root()).args(["-name", "*.ko*", "-path", "*hello*"]));
    assert_eq!(found.lines().count(), 2, "{found}");
    assert!(found.lines().all(|path| path.contains(&format!("/lib/modules/{}/", newer.release))), "{found}");

    // The second run has nothing to do; a plan after it neither looks at a module nor builds.
    site.run(&["run"]).succeeds();
    let text = site.run(&["plan"]).succeeds().stdout;
    assert!(text.contains("Nothing to do"), "{text}");
    assert!(text.contains("packaged for this kernel before"), "{text}");
    // What is at hand is at hand for who publishes it elsewhere, too.
    let elsewhere = format!("publish.directory.path={}", site.path("elsewhere").display());
    site.run(&["push", "--set", &elsewhere]).succeeds();

    // A build for this kernel makes the same packages, and modules that differ in what they say they are for.
    let ours: Vec<PathBuf> = packages(&site, &newer);
    let kept = site.path("kept");
    std::fs::create_dir(&kept).unwrap();
    let ours: Vec<PathBuf> = ours
        .iter()
        .map(|package| {
            let copy = kept.join(package.file_name().unwrap());
            std::fs::copy(package, &copy).unwrap();
            copy
        })
        .collect();
    site.configure(|settings| settings.reuse = Some("never".to_owned()));
    assert_eq!(actions(&plan(&site)), ["build", "build"]);
    site.run(&["run"]).succeeds();
    let built = packages(&site, &newer);
    assert_eq!(ours.len(), built.len());
    for (ours, built) in ours.iter().zip(&built) {
        let (ours_says, built_says) = (header(ours), header(built));
        let differing: Vec<_> =
            ours_says.lines().zip(built_says.lines()).filter(|(ours, built)| ours != built).collect();
        assert!(
            differing.is_empty() && ours_says.len() == built_says.len(),
            "{}: {differing:?}",
            ours.display()
        );
    }

    // And that is what `diff` says of the two.
    let place = |path: &Path| path.display().to_string();
    let text = site.run(&["diff", &place(&kept), &place(&site.repository(&newer))]).succeeds().stdout;
    assert!(text.contains("  lab_hello: only vermagic\n"), "{text}");
    assert!(text.contains("2 modules differ, only in vermagic; 0 are the same"), "{text}");
    let text =
        site.run(&["diff", "--verbose", &place(&kept), &place(&site.repository(&older))]).succeeds().stdout;
    assert!(text.contains("the same: 2 modules"), "{text}");
}

/// Another kernel-devel: as if a structure that everything uses had changed.
struct OtherLayout;

impl Changes for OtherLayout {
    fn wants(&self, file: &FileFact) -> bool {
        file.path.ends_with("/Module.symvers")
    }

    fn content(&mut self, _: &FileFact, content: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let text = String::from_utf8_lossy(content);
        let lines = text.lines().map(|line| match line.split_once('\t') {
            Some((_, rest)) if rest.starts_with("module_layout\t") => format!("0x00c0ffee\t{rest}\n"),
            _ => format!("{line}\n"),
        });
        Ok(Some(lines.collect::<String>().into_bytes()))
    }
}

#[test]
fn a_kernel_with_another_layout_is_built_for_and_the_plan_says_what_differs() {
    let Some(mut site) = Site::built() else { return };
    identical(&mut site);
    let mirror = mirror(&site);
    // The older kernel's, in its own snapshot: what was built for the newer one is at hand.
    let snapshot = mirror.www.join(format!("train/AppStream/x86_64/os/{OLD}"));
    let devel = snapshot.join(format!("Packages/k/kernel-devel-{}.x86_64.rpm", site.lab.older.package));
    let other = site.path("other.rpm");
    rewrite(&devel.canonicalize().unwrap(), &other, &PayloadLimits::default(), &mut OtherLayout).unwrap();
    std::fs::remove_file(&devel).unwrap();
    std::fs::rename(&other, &devel).unwrap();
    stdout(Command::new("createrepo_c").arg("--quiet").arg(&snapshot));
    mirror.used_by(&mut site);
    site.configure(|settings| {
        settings.snapshot(OLD);
        settings.unsigned_train = true;
    });
    let planned = plan(&site);
    assert_eq!(actions(&planned), ["build", "build"]);
    let found = &planned["reuse"][0];
    assert_eq!((found["verdict"].as_str(), found["modules"].as_u64()), (Some("differs"), Some(2)), "{found}");
    assert!(found["first"].as_str().unwrap().contains("symbol module_layout: module wants CRC"), "{found}");
    let text = site.run(&["plan"]).succeeds().stdout;
    let said = format!(
        "not as built for {}: 2 of 2 modules differ; lab_hello: symbol module_layout",
        site.lab.newer.release
    );
    assert!(text.contains(&said), "{text}");
}

#[test]
fn a_damaged_build_is_not_taken_and_neither_is_one_of_other_inputs() {
    let Some(mut site) = Site::built() else { return };
    identical(&mut site);
    site.configure(|settings| settings.snapshot(OLD));
    assert_eq!(actions(&plan(&site)), ["repackage", "repackage"]);

    // With other macros it is another build.
    site.configure(|settings| settings.macros.push(("another".to_owned(), "1".to_owned())));
    assert_eq!(actions(&plan(&site)), ["build", "build"]);
    site.configure(|settings| settings.macros.truncate(1));

    // A byte of a package that has changed since: the plan, which reads sizes, cannot know, or finds it unreadable.
    let components = site.state().join("components");
    let package = stdout(Command::new("find").arg(&components).args(["-name", "kmod-hello-user*.rpm"]));
    let package = PathBuf::from(package.trim());
    let mut bytes = std::fs::read(&package).unwrap();
    let last = bytes.len() - 30;
    bytes[last] ^= 1;
    std::fs::write(&package, bytes).unwrap();
    let planned = plan(&site);
    assert_eq!(actions(&planned), ["build", "build"]);
    assert!(
        planned["reuse"][0]["first"].as_str().unwrap().contains("digest does not match"),
        "{}",
        planned["reuse"]
    );
}
