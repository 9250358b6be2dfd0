//! A publisher that is killed: what is served is one version or the other, whole.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends where something fails, and tells its figures"
)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use drivetrain_publish::{Depth, DirectoryOptions, DirectoryTarget, Step, Target};
use support::{PATH, change, path, publication, rpm, target};

const STEPS: [Step; 10] = [
    Step::Lock,
    Step::Settle,
    Step::Build,
    Step::Carry,
    Step::Check,
    Step::Sync,
    Step::Name,
    Step::Flip,
    Step::Note,
    Step::Retain,
];

/// Not a test: the process that is killed. It publishes two sets of packages in turn, or dies by itself at a
/// step.
#[test]
fn helper() {
    let Ok(root) = std::env::var("PUBLISH_ROOT") else { return };
    let store = PathBuf::from(std::env::var("PUBLISH_STORE").unwrap());
    let die_at = std::env::var("PUBLISH_DIE_AT").ok();
    let once = std::env::var("PUBLISH_ONCE").is_ok();
    let options = DirectoryOptions {
        keep: 3,
        progress: Box::new(move |step| {
            if die_at.as_deref() == Some(&format!("{step:?}")) {
                std::process::abort();
            }
        }),
        ..Default::default()
    };
    let target = DirectoryTarget::open(Path::new(&root), options).unwrap();
    let sets = sets(&store);
    // Both sets in turn, with a lock of its own each time, so that every one is a new version.
    for round in std::process::id().. {
        for (name, rpms) in &sets {
            target.publish(&publication(rpms, &format!("{name}-{round}"))).unwrap();
            if once {
                return;
            }
        }
    }
}

/// The packages of either set: some shared, some of one name with other bytes.
fn sets(store: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut sets: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for set in ["a", "b"] {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(store.join(set)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        sets.insert(set.to_owned(), files);
    }
    sets
}

fn make_sets(store: &Path) {
    for set in ["a", "b"] {
        let directory = store.join(set);
        std::fs::create_dir(&directory).unwrap();
        for number in 0..4 {
            rpm(&directory, &format!("kmod-{number}"), "1", if number < 2 { "shared" } else { set }, 20_000);
        }
        rpm(&directory, &format!("kmod-only-{set}"), "1", set, 20_000);
    }
}

fn start(root: &Path, store: &Path, environment: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper", "--nocapture"])
        .env("PUBLISH_ROOT", root)
        .env("PUBLISH_STORE", store)
        .envs(environment.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The set that is served; fails where it is not one of them, whole.
fn served_set(root: &Path) -> Option<String> {
    let target = target(root);
    let served = target.state(&path()).unwrap()?;
    served.version?;
    target.check(&path(), Depth::Packages).unwrap();
    let names: Vec<String> =
        target.manifest(&path()).unwrap().packages.into_iter().map(|package| package.nevra.name).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    let set = names.iter().find_map(|name| name.strip_prefix("kmod-only-")).unwrap().to_owned();
    Some(set)
}

#[test]
fn killed_at_random_moments_it_leaves_one_version_or_the_other() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_sets(store.path());
    let mut left = BTreeMap::<&str, u32>::new();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let home = root.path().join(".drivetrain").join(PATH);
    for _ in 0..100 {
        let mut child = start(root.path(), store.path(), &[]);
        // Until it has begun, then for some time that is never the same.
        let before = std::fs::read(root.path().join(".drivetrain/.lock")).unwrap_or_default();
        while std::fs::read(root.path().join(".drivetrain/.lock")).unwrap_or_default() == before {
            std::thread::sleep(Duration::from_micros(200));
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros(seed >> 33 & 0xffff));
        child.kill().unwrap();
        child.wait().unwrap();

        let set = served_set(root.path());
        *left
            .entry(match set.as_deref() {
                None => "nothing served yet",
                Some("a") => "a served",
                Some(_) => "b served",
            })
            .or_default() += 1;
        if home.join(".incoming").exists() {
            *left.entry("a half-made or half-removed version").or_default() += 1;
        }
        if root.path().join(PATH).parent().unwrap().join(".x86_64.new").symlink_metadata().is_ok() {
            *left.entry("a new link not yet in place").or_default() += 1;
        }
    }
    eprintln!("after 100 kills: {left:?}");
    // The next publication goes through and cleans up.
    let target = target(root.path());
    target.publish(&publication(&sets(store.path())["a"], "last")).unwrap();
    assert!(!home.join(".incoming").exists());
    assert_eq!(served_set(root.path()).as_deref(), Some("a"));
    assert!(left.get("a half-made or half-removed version").is_some_and(|count| *count > 20), "{left:?}");
}

#[test]
fn dying_at_every_step_it_leaves_one_version_or_the_other() {
    for first in [false, true] {
        for step in STEPS {
            let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            make_sets(store.path());
            let target = target(root.path());
            if !first {
                for round in 0..3 {
                    target.publish(&publication(&sets(store.path())["b"], &round.to_string())).unwrap();
                }
            }
            let name = format!("{step:?}");
            let status =
                start(root.path(), store.path(), &[("PUBLISH_DIE_AT", &name), ("PUBLISH_ONCE", "1")])
                    .wait()
                    .unwrap();
            assert!(!status.success(), "{name}");
            let flipped = matches!(step, Step::Note | Step::Retain);
            let expected = if flipped {
                Some("a")
            } else if first {
                None
            } else {
                Some("b")
            };
            assert_eq!(served_set(root.path()).as_deref(), expected, "died at {name}");

            // What comes next finds everything in order, and the record tells what happened.
            target.publish(&publication(&sets(store.path())["b"], "next")).unwrap();
            assert_eq!(served_set(root.path()).as_deref(), Some("b"));
            let served = target.state(&path()).unwrap().unwrap();
            let entries = target.history(&path()).unwrap();
            let noted: Vec<u64> = entries.iter().map(|entry| entry.version).collect();
            for version in &served.versions {
                assert!(
                    noted.contains(&version.version),
                    "died at {name}: version {} was never noted",
                    version.version
                );
            }
            if flipped {
                target.rollback(&path(), None, &change("x")).unwrap();
                assert_eq!(served_set(root.path()).as_deref(), Some("a"), "died at {name}");
            }
        }
    }
}

#[test]
fn the_umask_does_not_matter() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_sets(store.path());
    let root = root.path().join("new");
    let status = Command::new("sh")
        .args(["-c", "umask 0777; exec \"$0\" --exact helper"])
        .arg(std::env::current_exe().unwrap())
        .env("PUBLISH_ROOT", &root)
        .env("PUBLISH_STORE", store.path())
        .env("PUBLISH_ONCE", "1")
        .output()
        .unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
    let mut open = vec![root.clone()];
    let mut seen = 0;
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
            if metadata.is_dir() {
                assert_eq!(mode, 0o755, "{}", path.display());
                open.push(path);
            } else if metadata.is_file() {
                assert_eq!(mode, 0o644, "{}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 10);
}
