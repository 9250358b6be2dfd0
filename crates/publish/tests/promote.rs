//! Several repositories of a directory that change together.
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod support;

use std::path::Path;

use drivetrain_publish::{
    Action, ConsumerSettings, DirectoryTarget, Promotion, PublishError, RepositoryPath, Target as _,
};
use support::{change, publication, rpm, target, version_of};

const KERNELS: [&str; 2] = ["5.14.0-1.el9.x86_64", "5.14.0-2.el9.x86_64"];

fn at(channel: &str, kernel: &str) -> RepositoryPath {
    RepositoryPath::parse(&format!("{channel}/lab-9.4/{kernel}/x86_64")).unwrap()
}

fn promotions() -> Vec<Promotion> {
    KERNELS
        .iter()
        .map(|kernel| Promotion {
            from: at("development", kernel),
            to: at("release", kernel).into(),
            consumers: ConsumerSettings { priority: 40, vendor: None },
        })
        .collect()
}

/// Publishes a version of each kernel's repository in development.
fn publish(target: &DirectoryTarget, files: &Path, name: &str) {
    for kernel in KERNELS {
        let mut publication = publication(&[rpm(files, name, "1", kernel, 100)], name);
        publication.address = at("development", kernel).into();
        version_of(target.publish(&publication).unwrap());
    }
}

fn served(target: &DirectoryTarget, channel: &str) -> Vec<Option<u64>> {
    KERNELS
        .iter()
        .map(|kernel| target.state(&at(channel, kernel)).unwrap().and_then(|one| one.version))
        .collect()
}

#[test]
fn what_is_served_in_one_channel_is_served_in_the_next() {
    let (files, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = target(root.path());
    publish(&target, files.path(), "kmod-a");
    let done = target.promote(&promotions(), &change("anna@lab")).unwrap();
    assert!(
        done.iter().all(|one| (one.previous, one.version, one.unchanged) == (None, 1, false)),
        "{done:?}"
    );
    let (from, to) = (at("development", KERNELS[0]), at("release", KERNELS[0]));
    let (source, promoted) = (target.manifest(&from).unwrap(), target.manifest(&to).unwrap());
    assert_eq!((promoted.lock, &promoted.run), (source.lock, &source.run));
    assert_eq!(promoted.evidence, source.evidence);
    assert_eq!(target.history(&to).unwrap()[0].action, Action::Promote);
    let repo_file = std::fs::read_to_string(root.path().join(to.as_str()).join("drivetrain.repo")).unwrap();
    assert!(repo_file.contains("/release/") && repo_file.contains("priority=40"), "{repo_file}");
    let again = target.promote(&promotions(), &change("anna@lab")).unwrap();
    assert!(again.iter().all(|one| one.unchanged), "{again:?}");
}

#[test]
fn where_one_cannot_change_none_does() {
    let (files, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = target(root.path());
    publish(&target, files.path(), "kmod-a");
    target.promote(&promotions(), &change("anna@lab")).unwrap();
    publish(&target, files.path(), "kmod-b");
    // A directory where the new link is made, before it takes the place of the old one.
    let blocked = root.path().join(at("release", KERNELS[1]).as_str()).with_file_name(".x86_64.new");
    std::fs::create_dir_all(blocked.join("in the way")).unwrap();
    let error = target.promote(&promotions(), &change("anna@lab")).unwrap_err();
    assert!(matches!(error, PublishError::File(_)), "{error:?}");
    assert_eq!(served(&target, "release"), [Some(1), Some(1)]);
    std::fs::remove_dir_all(&blocked).unwrap();
    target.promote(&promotions(), &change("anna@lab")).unwrap();
    let names: Vec<String> = target
        .manifest(&at("release", KERNELS[1]))
        .unwrap()
        .packages
        .into_iter()
        .map(|package| package.nevra.name)
        .collect();
    assert_eq!(names, ["kmod-b"]);
}

#[test]
fn what_a_killed_process_began_to_change_together_is_finished_by_the_next() {
    let (files, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = target(root.path());
    publish(&target, files.path(), "kmod-a");
    target.promote(&promotions(), &change("anna@lab")).unwrap();
    publish(&target, files.path(), "kmod-b");
    target.promote(&promotions(), &change("anna@lab")).unwrap();
    assert_eq!(served(&target, "release"), [Some(2), Some(2)]);

    // As it is between the two renames: the first has changed, the second has not, and what is to be is written down.
    let second = at("release", KERNELS[1]);
    let link = root.path().join(second.as_str());
    let to_first = std::fs::read_link(&link).unwrap().with_file_name("1");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(to_first, &link).unwrap();
    let changes = KERNELS.map(
        |kernel| serde_json::json!({ "path": at("release", kernel).as_str(), "version": 2, "before": 1 }),
    );
    let intent = serde_json::json!({ "changes": changes });
    std::fs::write(root.path().join(".drivetrain/.promotion.json"), intent.to_string()).unwrap();
    assert_eq!(served(&target, "release"), [Some(2), Some(1)]);

    target.settle(&at("release", KERNELS[0]), &change("bert@lab")).unwrap();
    assert_eq!(served(&target, "release"), [Some(2), Some(2)]);
    assert!(!root.path().join(".drivetrain/.promotion.json").exists());
}
