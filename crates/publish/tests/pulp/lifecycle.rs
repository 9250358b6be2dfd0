//! Publishing, again, something else, and back.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use drivetrain_lab::pulp::Release;
use drivetrain_publish::{Accept, Action, Depth, Outcome, PublishError, PulpOptions, PulpStep, Target as _};

use crate::bed::{Bed, dnf_sees, publication, published, watched, whole};
use crate::proxy::{Proxy, Rules};
use crate::support::{change, path, rpm};

#[test]
fn a_publication_is_what_dnf_sees() {
    for release in Release::ALL {
        let Some(bed) = Bed::new(release) else { return };
        let target = bed.target();
        let rpms = bed.rpms("a", 5);
        target.ensure(&path().into()).unwrap();
        let first = published(target.publish(&publication(&rpms, "one")).unwrap());
        assert_eq!((first.version, first.previous, first.packages), (1, None, 5), "{release}");
        assert_eq!(first.warnings, Vec::<String>::new(), "{release}");
        let names = dnf_sees(&first.url, bed.files.path());
        assert_eq!(names, ["kmod-a-0", "kmod-a-1", "kmod-a-2", "kmod-a-3", "kmod-a-4"], "{release}");
        assert_eq!(target.check(&path(), Depth::Packages).unwrap().packages, 5);

        // The same again is no version, no publication and no change.
        let again = target.publish(&publication(&rpms, "one")).unwrap();
        assert_eq!(again, Outcome::Unchanged { version: 1 }, "{release}");

        // Another set takes the place of the first.
        let mut other = rpms[..3].to_vec();
        other.push(bed.rpm("kmod-new", "b"));
        let second = published(target.publish(&publication(&other, "two")).unwrap());
        assert_eq!((second.version, second.previous), (2, Some(1)), "{release}");
        let names = dnf_sees(&second.url, bed.files.path());
        assert_eq!(names, ["kmod-a-0", "kmod-a-1", "kmod-a-2", "kmod-new"], "{release}");

        // And back.
        let back = target.rollback(&path(), None, &change("anna@lab")).unwrap();
        assert_eq!((back.from, back.to), (2, 1), "{release}");
        assert_eq!(dnf_sees(&second.url, bed.files.path()).len(), 5, "{release}");
        let served = target.state(&path()).unwrap().unwrap();
        assert_eq!((served.version, served.versions.len()), (Some(1), 2), "{release}");
        let held = target.held_back(&path(), publication(&other, "two").lock).unwrap().unwrap();
        assert_eq!((held.from, held.by.as_str()), (Some(2), "anna@lab"), "{release}");
        let actions: Vec<Action> =
            target.history(&path()).unwrap().iter().map(|entry| entry.action).collect();
        assert_eq!(actions, [Action::Publish, Action::Publish, Action::Rollback], "{release}");

        // Forward again, of what is there already: no version is made.
        let forward = published(target.publish(&publication(&other, "two")).unwrap());
        assert_eq!((forward.version, forward.previous), (2, Some(1)), "{release}");
        nothing_for_staging(&bed);
    }
}

/// No staging distribution is left.
fn nothing_for_staging(bed: &Bed) {
    let (status, answer) = bed
        .server
        .request("GET", "/pulp/api/v3/distributions/rpm/rpm/?name__contains=staging", None)
        .unwrap();
    assert_eq!((status, answer["count"].as_u64()), (200, Some(0)));
}

#[test]
fn only_what_is_missing_is_uploaded() {
    let Some(bed) = Bed::new(Release::Current) else { return };
    let steps = Arc::new(Mutex::new(Vec::new()));
    let target = bed.target_with(bed.settings(), watched(&steps));
    target.publish(&publication(&bed.rpms("a", 6), "one")).unwrap();
    let uploads = |steps: &[PulpStep]| {
        steps
            .iter()
            .filter_map(|step| match step {
                PulpStep::Upload { files, of_files, .. } => Some((*files, *of_files)),
                _ => None,
            })
            .next_back()
    };
    assert_eq!(uploads(&steps.lock().unwrap()), Some((6, 6)));
    steps.lock().unwrap().clear();
    let mut more = bed.rpms("a", 6);
    more.push(bed.rpm("kmod-more", "x"));
    target.publish(&publication(&more, "two")).unwrap();
    assert_eq!(uploads(&steps.lock().unwrap()), Some((1, 1)));
}

#[test]
fn large_packages_go_in_one_request_where_that_gets_through_in_good_time() {
    let Some(bed) = Bed::new(Release::Current) else { return };
    let large = |set: &str| -> Vec<PathBuf> {
        let one = |number| {
            let name = format!("kmod-{set}-{number}");
            rpm(bed.files.path(), &name, "1", &name, 1_500_000)
        };
        (0..4).map(one).collect()
    };
    let in_chunks = || {
        let log = bed.server.api_log().unwrap();
        log.lines().filter(|line| line.contains("POST /pulp/api/v3/uploads/ ")).count()
    };
    let options = || PulpOptions { chunk: 256 << 10, ..PulpOptions::default() };
    let target = bed.target_with(bed.settings(), options());
    assert_eq!(published(target.publish(&publication(&large("a"), "one")).unwrap()).packages, 4);
    assert_eq!(in_chunks(), 1, "the first, which shows how fast it goes");

    // Fast, and yet it does not take them: chunks of the size that is configured get through.
    let proxy =
        Proxy::start(&bed.server.api_url(), Rules { largest_body: Some(1_000_000), ..Rules::default() });
    let target = bed.target_with(bed.settings_at(&proxy.url()), options());
    assert_eq!(published(target.publish(&publication(&large("b"), "two")).unwrap()).packages, 4);
    assert_eq!(in_chunks(), 1 + 4);
    assert!((1..=3).contains(&proxy.refused()), "{}", proxy.refused());
}

#[test]
fn what_is_not_accepted_is_not_served() {
    let Some(bed) = Bed::new(Release::Current) else { return };
    let target = bed.target();
    target.publish(&publication(&bed.rpms("a", 2), "one")).unwrap();
    let mut refused = publication(&bed.rpms("b", 2), "two");
    refused.accept =
        Accept::new(|packages| Err(format!("{} packages that nobody can install", packages.len())));
    let error = target.publish(&refused).unwrap_err();
    assert!(matches!(error, PublishError::ReadBack { .. }), "{error:?}");
    assert!(whole(&error).contains("2 packages that nobody can install; it is not served"), "{error}");
    let served = target.state(&path()).unwrap().unwrap();
    assert_eq!(served.version, Some(1));
    assert_eq!(dnf_sees(&served.url, bed.files.path()), ["kmod-a-0", "kmod-a-1"]);
    nothing_for_staging(&bed);
}

#[test]
fn other_bytes_of_the_same_name_are_refused_unless_asked_for() {
    let Some(bed) = Bed::new(Release::Current) else { return };
    let target = bed.target();
    let first =
        target.publish(&publication(&[bed.rpm("kmod-a", "x"), bed.rpm("kmod-b", "x")], "one")).unwrap();
    let url = published(first).url;
    let mut other = publication(&[bed.rpm("kmod-a", "y"), bed.rpm("kmod-b", "x")], "two");
    let error = target.publish(&other).unwrap_err();
    insta::assert_snapshot!(whole(&error), @"lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64 serves other packages of the same names and versions, and nodes that have those would never be told: kmod-a-1-1.el9.noarch");
    assert_eq!(target.state(&path()).unwrap().unwrap().version, Some(1));
    other.replace = true;
    let second = published(target.publish(&other).unwrap());
    assert_eq!(second.version, 2);
    assert_eq!(dnf_sees(&url, bed.files.path()), ["kmod-a", "kmod-b"]);
    assert_eq!(target.check(&path(), Depth::Packages).unwrap().version, 2);
}

#[test]
fn versions_that_a_way_back_may_need_stay() {
    let Some(bed) = Bed::new(Release::Current) else { return };
    let options = drivetrain_publish::PulpOptions { keep: 2, ..Default::default() };
    let target = bed.target_with(bed.settings(), options);
    for number in 1..=5 {
        let set = format!("set{number}");
        let done = published(target.publish(&publication(&bed.rpms(&set, 1), &set)).unwrap());
        assert_eq!(done.version, number);
        assert_eq!(done.warnings, Vec::<String>::new());
    }
    let kept = |target: &drivetrain_publish::PulpTarget| -> Vec<u64> {
        target.state(&path()).unwrap().unwrap().versions.iter().map(|version| version.version).collect()
    };
    assert_eq!(kept(&target), [4, 5]);
    // What was gone back to long ago stays as long as it is served.
    target.rollback(&path(), None, &change("anna@lab")).unwrap();
    for number in 6..=8 {
        let set = format!("set{number}");
        target.publish(&publication(&bed.rpms(&set, 1), &set)).unwrap();
    }
    assert_eq!(kept(&target), [7, 8]);
    let error = target.rollback(&path(), Some(1), &change("anna@lab")).unwrap_err();
    assert_eq!(error.to_string(), format!("{} has no version 1: there are 7, 8", path()));
}
