//! Several places that change together.

use std::path::PathBuf;

use drivetrain_lab::pulp::Release;
use drivetrain_publish::{
    Action, ConsumerSettings, Promotion, PublishError, PulpOptions, PulpTarget, RepositoryPath, Target as _,
};
use serde_json::json;

use crate::bed::{Bed, dnf_sees, publication_at, published, whole};
use crate::support::change;

const KERNELS: [&str; 3] = ["5.14.0-1.el9.x86_64", "5.14.0-2.el9.x86_64", "5.14.0-3.el9.x86_64"];

fn at(channel: &str, kernel: &str) -> RepositoryPath {
    RepositoryPath::parse(&format!("{channel}/lab-9.4/3.2.0/{kernel}/x86_64")).unwrap()
}

fn promotion(kernel: &str) -> Promotion {
    Promotion {
        from: at("development", kernel),
        to: at("release", kernel).into(),
        consumers: ConsumerSettings { priority: 50, vendor: None },
    }
}

fn publish(target: &PulpTarget, kernel: &str, rpms: &[PathBuf], lock: &str) -> u64 {
    let mut publication = publication_at(at("development", kernel).as_str(), rpms, lock);
    publication.address.repository = format!("doca-{kernel}");
    published(target.publish(&publication).unwrap()).version
}

fn version(target: &PulpTarget, channel: &str, kernel: &str) -> Option<u64> {
    target.state(&at(channel, kernel)).unwrap().and_then(|served| served.version)
}

/// Three kernels' repositories, the second version of each in development and the first in release.
fn second_in_development(bed: &Bed, target: &PulpTarget) {
    for kernel in KERNELS {
        publish(target, kernel, &[bed.rpm("kmod-a", kernel)], "one");
    }
    let all: Vec<Promotion> = KERNELS.iter().map(|kernel| promotion(kernel)).collect();
    let promoted = target.promote(&all, &change("anna@lab")).unwrap();
    assert!(promoted.iter().all(|one| (one.previous, one.version, one.unchanged) == (None, 1, false)));
    for kernel in KERNELS {
        publish(target, kernel, &[bed.rpm("kmod-b", kernel)], "two");
    }
}

#[test]
fn a_promotion_serves_the_same_publication_in_another_channel() {
    for release in Release::ALL {
        let Some(bed) = Bed::new(release) else { return };
        let target = bed.target();
        second_in_development(&bed, &target);
        let all: Vec<Promotion> = KERNELS.iter().map(|kernel| promotion(kernel)).collect();
        let release = at("release", KERNELS[0]);
        let url = target.url(&release).unwrap();
        assert_eq!(dnf_sees(&url, bed.files.path()), ["kmod-a"]);
        let promoted = target.promote(&all, &change("anna@lab")).unwrap();
        assert!(promoted.iter().all(|one| (one.previous, one.version, one.unchanged) == (Some(1), 2, false)));
        assert_eq!(dnf_sees(&url, bed.files.path()), ["kmod-b"]);
        let again = target.promote(&all, &change("anna@lab")).unwrap();
        assert!(again.iter().all(|one| one.unchanged), "{again:?}");

        // Each channel has its own history, and its own way back.
        let actions: Vec<Action> =
            target.history(&release).unwrap().iter().map(|entry| entry.action).collect();
        assert_eq!(actions, [Action::Promote, Action::Promote]);
        target.rollback(&release, None, &change("anna@lab")).unwrap();
        assert_eq!(version(&target, "release", KERNELS[0]), Some(1));
        assert_eq!(version(&target, "development", KERNELS[0]), Some(2));
        assert_eq!(target.list().unwrap().len(), 6);
    }
}

#[test]
fn a_version_that_a_channel_would_go_back_to_outlives_what_is_kept() {
    let Some(bed) = Bed::new(Release::Current) else { return };
    let target = bed.target_with(bed.settings(), PulpOptions { keep: 2, ..PulpOptions::default() });
    let kernel = KERNELS[0];
    for version in 1..=2 {
        publish(&target, kernel, &[bed.rpm("kmod-a", &version.to_string())], &version.to_string());
        target.promote(&[promotion(kernel)], &change("anna@lab")).unwrap();
        // Other bytes under the same name would be refused: each version has a package of its own name.
        publish(&target, kernel, &[bed.rpm(&format!("kmod-{version}"), "x")], &format!("{version}-again"));
    }
    for number in 10..14 {
        publish(&target, kernel, &[bed.rpm(&format!("kmod-{number}"), "x")], &number.to_string());
    }
    let kept: Vec<u64> = target
        .state(&at("release", kernel))
        .unwrap()
        .unwrap()
        .versions
        .iter()
        .map(|one| one.version)
        .collect();
    assert_eq!(kept, [1, 3, 7, 8]);
    let back = target.rollback(&at("release", kernel), None, &change("anna@lab")).unwrap();
    assert_eq!((back.from, back.to), (3, 1));
    let url = target.url(&at("release", kernel)).unwrap();
    assert_eq!(dnf_sees(&url, bed.files.path()), ["kmod-a"]);
}

#[test]
fn where_one_cannot_change_none_does() {
    let Some(bed) = Bed::new(Release::Current) else { return };
    let target = bed.target();
    second_in_development(&bed, &target);
    // The database refuses to point the last one elsewhere, and nothing else.
    let path = at("release", KERNELS[2]);
    let refuse = format!(
        "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$ LANGUAGE plpgsql; \
         CREATE TRIGGER refuse BEFORE UPDATE ON core_distribution FOR EACH ROW \
         WHEN (NEW.base_path = '{path}' AND NEW.publication_id IS DISTINCT FROM OLD.publication_id) \
         EXECUTE FUNCTION refuse();"
    );
    bed.server.sql(&refuse).unwrap();
    let all: Vec<Promotion> = KERNELS.iter().map(|kernel| promotion(kernel)).collect();
    let error = target.promote(&all, &change("anna@lab")).unwrap_err();
    assert!(matches!(error, PublishError::Together { .. }), "{}", whole(&error));
    assert!(error.to_string().contains("what was served before is served"), "{error}");
    for kernel in KERNELS {
        assert_eq!(version(&target, "release", kernel), Some(1), "{kernel}");
        let url = target.url(&at("release", kernel)).unwrap();
        assert_eq!(dnf_sees(&url, bed.files.path()), ["kmod-a"]);
    }
    // And all do once it lets them.
    bed.server.sql("DROP TRIGGER refuse ON core_distribution;").unwrap();
    target.promote(&all, &change("anna@lab")).unwrap();
    assert!(KERNELS.iter().all(|kernel| version(&target, "release", kernel) == Some(2)));
}

#[test]
fn what_a_killed_client_began_to_change_together_is_finished_by_the_next() {
    let Some(bed) = Bed::new(Release::Current) else { return };
    let target = bed.target_with(bed.settings(), named("first"));
    second_in_development(&bed, &target);
    let before = labels(&bed);
    let all: Vec<Promotion> = KERNELS.iter().map(|kernel| promotion(kernel)).collect();
    target.promote(&all, &change("anna@lab")).unwrap();
    let after = labels(&bed);

    // As it is when a client is killed after the first change: the others are only told. All that a note has is in
    // the labels that were, and in those that came of them.
    for kernel in &KERNELS[1..] {
        let path = at("release", kernel).to_string();
        let (was, is) = (&before[&path], &after[&path]);
        let group = is["pulp_labels"]["drivetrain_flip"].as_str().unwrap();
        let change = is["pulp_labels"]["drivetrain_change_00000002"].as_str().unwrap();
        let pending = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("group", group),
                ("of", "3"),
                ("by", "first"),
                ("since", "1790000000"),
                ("repository", is["pulp_labels"]["drivetrain_repository"].as_str().unwrap()),
                ("record", is["pulp_labels"]["drivetrain_record"].as_str().unwrap()),
                ("change", change),
            ])
            .finish();
        let mut labels = was["pulp_labels"].clone();
        labels["drivetrain_pending"] = pending.into();
        let body = json!({ "publication": was["publication"], "pulp_labels": labels });
        let href = is["pulp_href"].as_str().unwrap();
        bed.server.request("PATCH", href, Some(&body)).unwrap();
    }
    wait_until(|| version(&target, "release", KERNELS[2]) == Some(1));

    let next = bed.target_with(bed.settings(), named("second"));
    next.settle(&at("release", KERNELS[0]), &change("bert@lab")).unwrap();
    for kernel in KERNELS {
        assert_eq!(version(&next, "release", kernel), Some(2), "{kernel}");
    }
    assert!(labels(&bed).values().all(|one| one["pulp_labels"].get("drivetrain_pending").is_none()));
}

fn named(client: &str) -> PulpOptions {
    PulpOptions { client_name: client.to_owned(), ..PulpOptions::default() }
}

fn wait_until(holds: impl Fn() -> bool) {
    for _ in 0..100 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("it never held");
}

/// All distributions, by base path.
fn labels(bed: &Bed) -> std::collections::BTreeMap<String, serde_json::Value> {
    let (_, answer) =
        bed.server.request("GET", "/pulp/api/v3/distributions/rpm/rpm/?limit=100", None).unwrap();
    let all = answer["results"].as_array().unwrap().iter();
    all.map(|one| (one["base_path"].as_str().unwrap().to_owned(), one.clone())).collect()
}
