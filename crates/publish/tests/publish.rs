//! What a publication leaves on disk, and what it does not.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends where something fails, and tells its figures"
)]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use drivetrain_model::{PublicationState, Sha256Digest};
use drivetrain_publish::{
    Action, Depth, DirectoryOptions, DirectoryTarget, Outcome, PublishError, RepositoryPath, Target,
};
use support::{PATH, change, contents, path, publication, rpm, target, version_of};

#[test]
fn a_publication_is_served_with_all_that_belongs_to_it() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rpms = [rpm(store.path(), "kmod-a", "1", "a", 0), rpm(store.path(), "kmod-b", "1", "b", 0)];
    let options = DirectoryOptions {
        base_url: Some("https://repo.example.com/drivers/".parse().unwrap()),
        ..Default::default()
    };
    let target = DirectoryTarget::open(root.path(), options).unwrap();
    target.ensure(&path().into()).unwrap();
    assert_eq!(target.state(&path()).unwrap(), None);
    assert_eq!(version_of(target.publish(&publication(&rpms, "one")).unwrap()), 1);

    let link = root.path().join(PATH);
    let to = std::fs::read_link(&link).unwrap();
    assert_eq!(to, Path::new("../../../.drivetrain").join(PATH).join(".versions/1"));
    let mut names: Vec<String> = contents(&link)
        .keys()
        .map(|name| name.strip_prefix(&link).unwrap().display().to_string())
        .map(|name| {
            name.split('/')
                .map(|part| if part.len() > 64 { &part[64..] } else { part })
                .collect::<Vec<_>>()
                .join("/")
        })
        .collect();
    names.sort();
    insta::assert_debug_snapshot!("files", names);
    insta::assert_snapshot!("repo_file", std::fs::read_to_string(link.join("drivetrain.repo")).unwrap());

    let served = target.state(&path()).unwrap().unwrap();
    assert_eq!(served.version, Some(1));
    assert_eq!(served.url, format!("https://repo.example.com/drivers/{PATH}/"));
    let manifest = target.manifest(&path()).unwrap();
    assert_eq!(manifest.packages.len(), 2);
    for package in &manifest.packages {
        let bytes = std::fs::read(link.join(&package.file.location)).unwrap();
        assert_eq!(Sha256Digest::of(&bytes), package.file.sha256);
    }
    assert_eq!(served.state_for(Sha256Digest::of(b"one")), PublicationState::Current { version: 1 });
    assert_eq!(served.state_for(Sha256Digest::of(b"two")), PublicationState::Outdated { version: 1 });
    assert_eq!(target.check(&path(), Depth::Packages).unwrap().packages, 2);
    let listed = target.list().unwrap();
    assert!(listed[0].problem.is_none());
    assert_eq!(listed.into_iter().map(|listed| listed.served).collect::<Vec<_>>(), [served]);
}

#[test]
fn the_same_again_changes_nothing() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rpms = [rpm(store.path(), "kmod-a", "1", "a", 0)];
    let target = target(root.path());
    target.publish(&publication(&rpms, "one")).unwrap();
    let before = contents(root.path());
    assert_eq!(target.publish(&publication(&rpms, "one")).unwrap(), Outcome::Unchanged { version: 1 });
    let mut after = contents(root.path());
    after.retain(|name, _| !name.ends_with(".lock"));
    assert!(after.iter().all(|(name, bytes)| before[name] == *bytes) && after.len() + 1 == before.len());
    // Another lock, or other packages, are something new.
    assert_eq!(version_of(target.publish(&publication(&rpms, "two")).unwrap()), 2);
    let more = [rpms[0].clone(), rpm(store.path(), "kmod-b", "1", "b", 0)];
    assert_eq!(version_of(target.publish(&publication(&more, "two")).unwrap()), 3);
}

#[test]
fn unchanged_packages_take_no_space() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let a = rpm(store.path(), "kmod-a", "1", "a", 0);
    let target = target(root.path());
    target.publish(&publication(std::slice::from_ref(&a), "one")).unwrap();
    let b = rpm(store.path(), "kmod-b", "1", "b", 0);
    target.publish(&publication(&[a, b], "two")).unwrap();
    let inode = |version: u64| {
        let versions = root.path().join(".drivetrain").join(PATH).join(".versions");
        std::fs::metadata(versions.join(format!("{version}/Packages/kmod-a-1-1.el9.noarch.rpm")))
            .unwrap()
            .ino()
    };
    assert_eq!(inode(1), inode(2));
}

#[test]
fn without_links_and_across_file_systems_files_are_copied() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = DirectoryOptions { links: false, ..Default::default() };
    let target = DirectoryTarget::open(root.path(), options).unwrap();
    let a = rpm(store.path(), "kmod-a", "1", "a", 0);
    // Not for everybody to read: linking it would make it so for its owner.
    let b = rpm(store.path(), "kmod-b", "1", "b", 0);
    std::fs::set_permissions(&b, PermissionsExt::from_mode(0o600)).unwrap();
    for lock in ["one", "two", "three"] {
        target.publish(&publication(&[a.clone(), b.clone()], lock)).unwrap();
        target.check(&path(), Depth::Packages).unwrap();
    }
    for (name, _) in
        contents(root.path()).iter().filter(|(name, _)| name.extension().is_some_and(|e| e == "rpm"))
    {
        let metadata = std::fs::metadata(name).unwrap();
        assert_eq!((metadata.nlink(), metadata.mode() & 0o777), (1, 0o644), "{}", name.display());
    }
    let shared_memory = Path::new("/dev/shm");
    if shared_memory.is_dir() {
        let store = tempfile::tempdir_in(shared_memory).unwrap();
        let c = rpm(store.path(), "kmod-c", "1", "c", 0);
        assert_eq!(version_of(self::target(root.path()).publish(&publication(&[c], "four")).unwrap()), 4);
    }
    assert_eq!(std::fs::metadata(&b).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn one_name_with_two_contents_never_changes_under_a_reader() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = target(root.path());
    let old = rpm(store.path(), "kmod-a", "1", "old", 0);
    let new = rpm(store.path(), "kmod-a", "1", "new", 0);
    target.publish(&publication(&[old], "one")).unwrap();
    let manifest = |target: &DirectoryTarget| target.manifest(&path()).unwrap();
    let first = manifest(&target);
    target.publish(&publication(&[new], "two")).unwrap();
    let second = manifest(&target);
    assert_ne!(first.packages[0].file.location, second.packages[0].file.location);
    let is_all_there = |manifest: &drivetrain_publish::Manifest| {
        manifest.metadata.iter().chain(manifest.packages.iter().map(|package| &package.file)).all(|file| {
            std::fs::read(root.path().join(PATH).join(&file.location))
                .is_ok_and(|bytes| Sha256Digest::of(&bytes) == file.sha256)
        })
    };
    // A reader of either version finds all of it, before and after a way back.
    assert!(is_all_there(&first) && is_all_there(&second));
    target.rollback(&path(), None, &change("x")).unwrap();
    assert_eq!(manifest(&target), first);
    assert!(is_all_there(&first) && is_all_there(&second));
}

#[test]
fn a_carried_file_gives_way_to_one_that_still_counts() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = DirectoryOptions { keep: 3, ..Default::default() };
    let target = DirectoryTarget::open(root.path(), options).unwrap();
    // Version 3 carries the old kmod-a of version 1. When the new one comes, version 1 is gone, its name is
    // free again, and version 3 is still there to go back to.
    for (name, content) in
        [("kmod-a", "old"), ("kmod-b", ""), ("kmod-c", ""), ("kmod-d", ""), ("kmod-a", "new")]
    {
        let package = rpm(store.path(), name, "1", content, 0);
        target.publish(&publication(&[package], &format!("{name}{content}"))).unwrap();
    }
    let fifth = target.manifest(&path()).unwrap();
    let package = &fifth.packages[0].file;
    assert_eq!(package.location, "Packages/kmod-a-1-1.el9.noarch.rpm");
    let read = || Sha256Digest::of(&std::fs::read(root.path().join(PATH).join(&package.location)).unwrap());
    let third = root.path().join(".drivetrain").join(PATH).join(".versions/3").join(&package.location);
    assert_ne!(
        Sha256Digest::of(&std::fs::read(third).unwrap()),
        package.sha256,
        "the old one is not carried"
    );
    target.rollback(&path(), Some(3), &change("x")).unwrap();
    assert_eq!(read(), package.sha256);
}

#[test]
fn a_way_back_and_its_record() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = target(root.path());
    let error = target.rollback(&path(), None, &change("x")).unwrap_err();
    assert!(matches!(error, PublishError::NotServed(_)), "{error}");
    for number in 1..=3 {
        let package = rpm(store.path(), "kmod-a", &number.to_string(), "a", 0);
        target.publish(&publication(&[package], &number.to_string())).unwrap();
    }
    assert_eq!(target.rollback(&path(), None, &change("anna")).unwrap().to, 2);
    assert_eq!(target.rollback(&path(), None, &change("anna")).unwrap().to, 1);
    let error = target.rollback(&path(), None, &change("anna")).unwrap_err();
    insta::assert_snapshot!(error, @"lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64 serves version 1, and no earlier version is on disk");
    assert_eq!(target.rollback(&path(), Some(3), &change("bert")).unwrap().to, 3);
    let error = target.rollback(&path(), Some(9), &change("bert")).unwrap_err();
    insta::assert_snapshot!(error, @"lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64 has no version 9: there are 1, 2, 3");
    let history = target.history(&path()).unwrap();
    let words: Vec<(Action, Option<u64>, u64, &str)> =
        history.iter().map(|entry| (entry.action, entry.from, entry.version, entry.by.as_str())).collect();
    use Action::{Publish, Rollback};
    assert_eq!(
        words,
        [
            (Publish, None, 1, "tester@lab"),
            (Publish, Some(1), 2, "tester@lab"),
            (Publish, Some(2), 3, "tester@lab"),
            (Rollback, Some(3), 2, "anna"),
            (Rollback, Some(2), 1, "anna"),
            (Rollback, Some(1), 3, "bert"),
        ]
    );
    // A torn line, as a power cut leaves it, costs that line and no other.
    let log = root.path().join(".drivetrain").join(PATH).join(".history.jsonl");
    let mut text = std::fs::read_to_string(&log).unwrap();
    text.truncate(text.len() - 20);
    std::fs::write(&log, text).unwrap();
    target.rollback(&path(), Some(2), &change("bert")).unwrap();
    let actions: Vec<Action> = target.history(&path()).unwrap().iter().map(|entry| entry.action).collect();
    assert_eq!(actions, [Publish, Publish, Publish, Rollback, Rollback, Action::Found, Rollback]);
}

#[test]
fn what_was_gone_back_from_is_held_back_until_something_is_published() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = target(root.path());
    let publish = |lock: &str| {
        let package = rpm(store.path(), "kmod-a", "1", lock, 0);
        version_of(target.publish(&publication(&[package], lock)).unwrap())
    };
    let held = |lock: &str| target.held_back(&path(), Sha256Digest::of(lock.as_bytes())).unwrap();
    assert_eq!(held("1"), None, "nothing was published");
    for lock in ["1", "2", "3"] {
        publish(lock);
        assert_eq!(held(lock), None);
    }
    target.rollback(&path(), None, &change("anna")).unwrap();
    target.rollback(&path(), None, &change("bert")).unwrap();
    let first = held("3").unwrap();
    assert_eq!((first.from, first.version, first.by.as_str()), (Some(3), 2, "anna"));
    let second = held("2").unwrap();
    assert_eq!((second.from, second.version, second.by.as_str()), (Some(2), 1, "bert"));
    assert_eq!((held("1"), held("4")), (None, None), "what is served, and what is new");
    publish("4");
    assert_eq!(held("3"), None, "somebody has published since, and knew of it");
}

#[test]
fn a_way_back_that_a_killed_process_did_not_note_holds_back_too() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = target(root.path());
    for lock in ["1", "2"] {
        let package = rpm(store.path(), "kmod-a", "1", lock, 0);
        target.publish(&publication(&[package], lock)).unwrap();
    }
    let log = root.path().join(".drivetrain").join(PATH).join(".history.jsonl");
    let before = std::fs::read(&log).unwrap();
    target.rollback(&path(), None, &change("anna")).unwrap();
    std::fs::write(&log, before).unwrap();
    target.settle(&path(), &change("next")).unwrap();
    let held = target.held_back(&path(), Sha256Digest::of(b"2")).unwrap().unwrap();
    assert_eq!((held.action, held.from, held.version), (Action::Found, Some(2), 1));
}

#[test]
fn what_a_killed_process_tried_out_is_removed_by_the_next() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = target(root.path());
    target.ensure(&path().into()).unwrap();
    // Above the largest number that a process can have, and the number of one that lives.
    let (dead, living) = (".probe-4194305".to_owned(), ".probe-1".to_owned());
    let directories = [
        root.path().join(".drivetrain").join(PATH).join(".versions"),
        root.path().join(PATH).parent().unwrap().to_owned(),
    ];
    let leave = || {
        for directory in &directories {
            std::fs::write(directory.join(&dead), "x").unwrap();
            std::fs::write(directory.join(&living), "x").unwrap();
        }
    };
    let swept = || {
        for directory in &directories {
            assert!(!directory.join(&dead).exists(), "{}", directory.display());
            assert!(directory.join(&living).exists(), "{}", directory.display());
        }
    };
    leave();
    target.ensure(&path().into()).unwrap();
    swept();
    leave();
    target.publish(&publication(&[rpm(store.path(), "kmod-a", "1", "a", 0)], "one")).unwrap();
    swept();
}

#[test]
fn a_damaged_repository_does_not_hide_the_others() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = target(root.path());
    let package = rpm(store.path(), "kmod-a", "1", "a", 0);
    let names = ["lab/1", "lab/2", "lab/3", "lab/4"];
    for name in names {
        let mut publication = publication(std::slice::from_ref(&package), "one");
        publication.address = RepositoryPath::parse(name).unwrap().into();
        target.publish(&publication).unwrap();
    }
    let manifest = |name: &str| root.path().join(name).join("manifest.json");
    std::fs::remove_file(manifest("lab/2")).unwrap();
    std::fs::write(manifest("lab/3"), "{").unwrap();
    std::fs::remove_file(root.path().join("lab/4")).unwrap();
    std::fs::write(root.path().join("lab/4"), "mine").unwrap();
    let listed = target.list().unwrap();
    let told: Vec<(&str, Option<u64>, Option<String>)> = listed
        .iter()
        .map(|listed| {
            let problem = listed.problem.as_ref().map(ToString::to_string);
            (listed.served.path.as_str(), listed.served.version, problem)
        })
        .collect();
    assert_eq!(told.iter().map(|(path, ..)| *path).collect::<Vec<_>>(), names);
    assert_eq!(told[0], ("lab/1", Some(1), None));
    for (at, text) in [(1, "No such file"), (2, "is no manifest"), (3, "is in the way")] {
        assert!(told[at].2.as_ref().unwrap().contains(text), "{told:?}");
        assert!(target.state(&listed[at].served.path).is_err());
    }
    assert_eq!((told[1].1, told[3].1), (Some(1), None));
}

#[test]
fn old_versions_go_but_never_the_served_one_or_the_one_before() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = DirectoryOptions { keep: 2, ..Default::default() };
    let target = DirectoryTarget::open(root.path(), options).unwrap();
    let versions = || -> Vec<u64> {
        target.state(&path()).unwrap().unwrap().versions.iter().map(|version| version.version).collect()
    };
    for number in 1..=4 {
        let package = rpm(store.path(), "kmod-a", &number.to_string(), "a", 0);
        target.publish(&publication(&[package], &number.to_string())).unwrap();
    }
    assert_eq!(versions(), [3, 4]);
    target.rollback(&path(), None, &change("x")).unwrap();
    let package = rpm(store.path(), "kmod-a", "5", "a", 0);
    assert_eq!(version_of(target.publish(&publication(&[package], "5")).unwrap()), 5);
    assert_eq!(versions(), [3, 5], "3 was served before 5, though 4 is newer");
    let served = root.path().join(PATH).join("Packages");
    assert_eq!(
        std::fs::read_dir(served).unwrap().count(),
        2,
        "of the versions that are gone nothing is carried"
    );
}

#[test]
fn what_drivetrain_did_not_make_is_not_touched() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = target(root.path());
    let rpms = [rpm(store.path(), "kmod-a", "1", "a", 0)];
    let elsewhere = tempfile::tempdir().unwrap();
    let refused = |what: &str| {
        for error in [
            target.ensure(&path().into()).unwrap_err(),
            target.publish(&publication(&rpms, "one")).unwrap_err(),
        ] {
            assert!(matches!(error, PublishError::InTheWay { .. }), "{what}: {error}");
        }
        assert_eq!(
            std::fs::read_dir(elsewhere.path()).unwrap().count(),
            0,
            "{what}: something was written elsewhere"
        );
    };
    let link = root.path().join(PATH);
    let parent = link.parent().unwrap();

    std::os::unix::fs::symlink(elsewhere.path(), root.path().join("lab-9.4")).unwrap();
    refused("a link in the path");
    std::fs::remove_file(root.path().join("lab-9.4")).unwrap();

    std::fs::create_dir_all(parent).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
    refused("a link at the end of the path");
    std::fs::remove_file(&link).unwrap();

    std::fs::create_dir(&link).unwrap();
    refused("a directory");
    std::fs::remove_dir(&link).unwrap();

    std::fs::write(&link, "x").unwrap();
    refused("a file");
    std::fs::remove_file(&link).unwrap();

    let hidden = root.path().join(".drivetrain/lab-9.4");
    if hidden.exists() {
        std::fs::remove_dir_all(&hidden).unwrap();
    }
    std::os::unix::fs::symlink(elsewhere.path(), &hidden).unwrap();
    refused("a link in the hidden directory");
    std::fs::remove_file(&hidden).unwrap();

    assert_eq!(version_of(target.publish(&publication(&rpms, "one")).unwrap()), 1);
    let mut below = publication(&rpms, "one");
    below.address.path = RepositoryPath::parse(&format!("{PATH}/below")).unwrap();
    let error = target.publish(&below).unwrap_err();
    assert!(matches!(error, PublishError::InTheWay { .. }), "below a repository: {error}");
    let mut above = publication(&rpms, "one");
    above.address.path = RepositoryPath::parse("lab-9.4/3.2.0").unwrap();
    let error = target.publish(&above).unwrap_err();
    assert!(matches!(error, PublishError::InTheWay { .. }), "above a repository: {error}");
}

#[test]
fn what_cannot_be_published_changes_nothing() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = target(root.path());
    let good = rpm(store.path(), "kmod-a", "1", "a", 0);
    target.publish(&publication(std::slice::from_ref(&good), "one")).unwrap();
    let before = contents(root.path());
    let text = store.path().join("no.rpm");
    std::fs::write(&text, "no package").unwrap();
    let other = rpm(store.path(), "kmod-a", "1", "another build", 0);
    let mut escape = publication(std::slice::from_ref(&good), "two");
    escape.evidence.insert("../../x".to_owned(), Vec::new());
    for bad in [
        publication(&[], "two"),
        publication(&[good.clone(), text], "two"),
        publication(&[good.clone(), store.path().join("missing.rpm")], "two"),
        publication(&[good.clone(), store.path().to_owned()], "two"),
        publication(&[good, other], "two"),
        escape,
    ] {
        let error = target.publish(&bad).unwrap_err();
        let mut after = contents(root.path());
        let lock = root.path().join(".drivetrain/.lock");
        after.insert(lock.clone(), before[&lock].clone());
        assert_eq!(after, before, "{error}");
    }
}

#[test]
fn two_at_once_publish_one_after_the_other() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let packages: Vec<_> = (0..8).map(|n| rpm(store.path(), "kmod-a", &n.to_string(), "a", 0)).collect();
    std::thread::scope(|scope| {
        for (number, package) in packages.iter().enumerate() {
            let root = root.path();
            scope.spawn(move || {
                let options = DirectoryOptions { keep: 20, ..Default::default() };
                let target = DirectoryTarget::open(root, options).unwrap();
                target.publish(&publication(std::slice::from_ref(package), &number.to_string())).unwrap();
            });
        }
    });
    let target = target(root.path());
    let served = target.state(&path()).unwrap().unwrap();
    assert_eq!((served.version, served.versions.len()), (Some(8), 8));
    assert_eq!(target.history(&path()).unwrap().len(), 8);
    target.check(&path(), Depth::Packages).unwrap();
}

#[test]
fn who_waits_too_long_is_told_for_whom() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let package = rpm(store.path(), "kmod-a", "1", "a", 0);
    let (began, has_begun) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let options = DirectoryOptions {
        progress: Box::new(move |step| {
            if step == drivetrain_publish::Step::Build {
                began.send(()).unwrap();
                may_go_on.lock().unwrap().recv().unwrap();
            }
        }),
        ..Default::default()
    };
    let slow = DirectoryTarget::open(root.path(), options).unwrap();
    let first = publication(std::slice::from_ref(&package), "one");
    let thread = std::thread::spawn(move || version_of(slow.publish(&first).unwrap()));
    has_begun.recv().unwrap();
    let options = DirectoryOptions { patience: Duration::from_millis(200), ..Default::default() };
    let error = DirectoryTarget::open(root.path(), options)
        .unwrap()
        .publish(&publication(&[package], "two"))
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("tester@lab (process ") && text.contains(&std::process::id().to_string()),
        "{text}"
    );
    go_on.send(()).unwrap();
    assert_eq!(thread.join().unwrap(), 1);
}

#[test]
fn a_full_disk_is_named_and_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m", "none"])
        .arg(root.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("NOT RUN: mounting a small tmpfs takes root");
        return;
    }
    struct Mount<'a>(&'a Path);
    impl Drop for Mount<'_> {
        fn drop(&mut self) {
            drop(std::process::Command::new("umount").arg(self.0).status());
        }
    }
    let mount = Mount(root.path());
    let store = tempfile::tempdir().unwrap();
    let target = target(root.path());
    let small = rpm(store.path(), "kmod-a", "1", "a", 300_000);
    target.publish(&publication(std::slice::from_ref(&small), "one")).unwrap();
    let lock = root.path().join(".drivetrain/.lock");
    let before = contents(root.path());
    // Every size from "just fits" up: the space runs out in another place for each.
    let mut full = 0;
    let sizes = (0..24).map(|step| 2_660_000 + step * 8192).chain([1_000_000, 5_000_000]);
    for padding in sizes {
        let large = rpm(store.path(), "kmod-b", &padding.to_string(), "b", padding);
        match target.publish(&publication(&[small.clone(), large], "two")) {
            Ok(outcome) => {
                let version = version_of(outcome);
                target.rollback(&path(), Some(1), &change("x")).unwrap();
                std::fs::remove_dir_all(
                    root.path().join(".drivetrain").join(PATH).join(format!(".versions/{version}")),
                )
                .unwrap();
                // What version 1 carries of it goes too, to begin again from the same state.
                for name in contents(root.path()).keys() {
                    if !before.contains_key(name) {
                        std::fs::remove_file(name).unwrap();
                    }
                }
            }
            Err(error) => {
                assert!(error.is_full(), "{error}");
                full += 1;
                let mut after = contents(root.path());
                after.retain(|name, _| *name != lock && !name.ends_with(".history.jsonl"));
                let mut before = before.clone();
                before.retain(|name, _| *name != lock && !name.ends_with(".history.jsonl"));
                assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "{padding}");
                assert_eq!(after, before);
                target.check(&path(), Depth::Packages).unwrap();
            }
        }
    }
    eprintln!("the disk was full {full} times of 26");
    assert!((3..26).contains(&full), "the disk was full {full} times");
    drop(mount);
}
