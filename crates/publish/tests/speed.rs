//! How long a publication of usual size takes: `cargo test -p drivetrain-publish --test speed -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a measurement")]

mod support;

use std::time::Instant;

use drivetrain_publish::Target;
use support::{change, path, publication, rpm, target};

#[test]
#[ignore = "a measurement"]
fn forty_packages_of_three_megabytes() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut rpms: Vec<_> =
        (0..40).map(|n| rpm(store.path(), &format!("kmod-{n}"), "1", &n.to_string(), 3_000_000)).collect();
    let target = target(root.path());
    let time = |what: &str, action: &dyn Fn()| {
        let started = Instant::now();
        action();
        eprintln!("{what}: {:?}", started.elapsed());
    };
    time("first", &|| drop(target.publish(&publication(&rpms, "one")).unwrap()));
    time("unchanged", &|| drop(target.publish(&publication(&rpms, "one")).unwrap()));
    rpms[0] = rpm(store.path(), "kmod-0", "2", "new", 3_000_000);
    time("one package new", &|| drop(target.publish(&publication(&rpms, "two")).unwrap()));
    time("back", &|| assert_eq!(target.rollback(&path(), None, &change("x")).unwrap().to, 1));
}
