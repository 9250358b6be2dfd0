//! Evidence beside a repository.

use std::collections::BTreeMap;
use std::path::PathBuf;

use drivetrain_fetch::Credentials;
use drivetrain_lab::pulp::{Options, Release};
use drivetrain_model::Sha256Digest;
use drivetrain_publish::{
    ConsumerSettings, Outcome, Promotion, Publication, PublishError, PulpOptions, RepositoryPath, Target as _,
};
use serde_json::json;

use crate::bed::{Bed, fetch, publication_at, published, whole};
use crate::support::change;

const DEVELOPMENT: &str = "development/lab-9.4/x86_64";
const RELEASE: &str = "release/lab-9.4/x86_64";

/// A publication with as much evidence as a run has.
fn with_evidence(rpms: &[PathBuf], lock: &str) -> Publication {
    let mut publication = publication_at(DEVELOPMENT, rpms, lock);
    let file = |name: &str, text: String| (name.to_owned(), text.into_bytes());
    publication.evidence = BTreeMap::from([
        file("lock.json", format!("{{\"lock\":\"{lock}\"}}")),
        file("verdicts.json", format!("[\"{lock}\"]")),
        file("provenance.json", format!("{{\"of\":\"{lock}\"}}")),
        // The same for all versions, and so one file of the server's.
        file("provenance.json.asc", "a signature".to_owned()),
        file("sbom.cdx.json", "x".repeat(300_000)),
    ]);
    publication
}

fn evidence_url(url: &str, repomd: Sha256Digest, name: &str) -> String {
    format!("{}-evidence/{repomd}/{name}", url.trim_end_matches('/'))
}

/// That all of it is served, byte by byte.
fn is_served(publication: &Publication, url: &str, repomd: Sha256Digest) {
    for (name, bytes) in &publication.evidence {
        let url = evidence_url(url, repomd, name);
        let (status, read) = fetch(&url);
        assert_eq!((status, read == *bytes), (200, true), "{url}");
    }
}

fn promotion() -> Promotion {
    Promotion {
        from: RepositoryPath::parse(DEVELOPMENT).unwrap(),
        to: RepositoryPath::parse(RELEASE).unwrap().into(),
        consumers: ConsumerSettings { priority: 50, vendor: None },
    }
}

#[test]
fn evidence_is_served_beside_each_version_in_each_channel_while_it_is_kept() {
    beside_each_version(Release::Current);
}

#[test]
fn an_old_server_serves_evidence_as_well() {
    beside_each_version(Release::Lts);
}

fn beside_each_version(release: Release) {
    let Some(bed) = Bed::new(release) else { return };
    let target = bed.target_with(bed.settings(), PulpOptions { keep: 2, ..PulpOptions::default() });
    let first = with_evidence(&bed.rpms("a", 2), "one");
    let one = published(target.publish(&first).unwrap());
    assert_eq!(one.warnings, Vec::<String>::new(), "{release}");
    is_served(&first, &one.url, one.repomd);

    // To another channel, and what comes after it there.
    let promoted = target.promote(&[promotion()], &change("anna@lab")).unwrap();
    is_served(&first, &promoted[0].url, one.repomd);
    let second = with_evidence(&bed.rpms("b", 2), "two");
    let two = published(target.publish(&second).unwrap());
    is_served(&first, &promoted[0].url, one.repomd);
    for url in [&one.url, &promoted[0].url] {
        is_served(&second, url, two.repomd);
    }
    target.promote(&[promotion()], &change("anna@lab")).unwrap();

    // And back.
    for path in [DEVELOPMENT, RELEASE] {
        target.rollback(&RepositoryPath::parse(path).unwrap(), None, &change("anna@lab")).unwrap();
    }
    is_served(&first, &promoted[0].url, one.repomd);

    // What no version has any more is gone.
    target.publish(&with_evidence(&bed.rpms("three", 1), "three")).unwrap();
    target.promote(&[promotion()], &change("anna@lab")).unwrap();
    let four = published(target.publish(&with_evidence(&bed.rpms("four", 1), "four")).unwrap());
    assert_eq!((four.removed, four.warnings), (vec![2], Vec::new()), "{release}");
    let kept = target.state(&RepositoryPath::parse(DEVELOPMENT).unwrap()).unwrap().unwrap().versions.len();
    let (_, repository) = bed
        .server
        .request("GET", "/pulp/api/v3/repositories/file/file/?name__contains=evidence", None)
        .unwrap();
    let newest = repository["results"][0]["latest_version_href"].as_str().unwrap();
    let query = format!("/pulp/api/v3/content/file/files/?repository_version={newest}&limit=1");
    let (_, list) = bed.server.request("GET", &query, None).unwrap();
    assert_eq!(list["count"].as_u64(), Some(5 * kept as u64), "{release}");
    // It is no longer in the repository; the current release serves superseded publications for some days more.
    is_served(&first, &one.url, one.repomd);
    is_served(&with_evidence(&[], "four"), &four.url, four.repomd);
}

#[test]
fn what_was_served_without_evidence_gets_its_own_with_the_next_run() {
    let Some(bed) = Bed::new(Release::Current) else { return };
    let target = bed.target();
    let whole = with_evidence(&bed.rpms("a", 2), "one");
    let mut bare = whole.clone();
    bare.evidence.clear();
    let done = published(target.publish(&bare).unwrap());
    assert_eq!(fetch(&evidence_url(&done.url, done.repomd, "lock.json")).0, 404);
    assert_eq!(target.publish(&whole).unwrap(), Outcome::Unchanged { version: 1 });
    is_served(&whole, &done.url, done.repomd);
    // What belongs to the version stays as it was published.
    let mut later = whole.clone();
    later.evidence.insert("lock.json".to_owned(), b"of another run".to_vec());
    assert_eq!(target.publish(&later).unwrap(), Outcome::Unchanged { version: 1 });
    is_served(&whole, &done.url, done.repomd);
}

#[test]
fn evidence_that_cannot_be_published_leaves_what_was_served_and_the_next_run_goes_on() {
    let Some(bed) = Bed::new(Release::Current) else { return };
    let target = bed.target();
    let old = published(target.publish(&with_evidence(&bed.rpms("a", 2), "old")).unwrap());
    let (_, list) = bed
        .server
        .request("GET", "/pulp/api/v3/repositories/file/file/?name__contains=evidence", None)
        .unwrap();
    let repository = list["results"][0]["pulp_href"].as_str().unwrap().to_owned();
    let autopublish = |on: bool| {
        let change = json!({ "autopublish": on });
        let (status, answer) = bed.server.request("PATCH", &repository, Some(&change)).unwrap();
        assert!(matches!(status, 200 | 202), "{answer}");
        std::thread::sleep(std::time::Duration::from_secs(2));
    };
    autopublish(false);
    let new = with_evidence(&bed.rpms("b", 2), "new");
    let error = target.publish(&new).unwrap_err();
    assert!(matches!(error, PublishError::InTheWay { .. }), "{error:?}");
    let text = whole(&error).replace(&bed.server.api_url(), "http://SERVER");
    insta::assert_snapshot!(text, @"the repository of files lab-9.4-3.2.0-5.14.0-1.el9.x86_64-x86_64-evidence of http://SERVER is in the way: one without autopublish, so that nothing of it would be seen. Turn that on for it");
    let path = RepositoryPath::parse(DEVELOPMENT).unwrap();
    assert_eq!(target.state(&path).unwrap().unwrap().version, Some(old.version));
    autopublish(true);
    let done = published(target.publish(&new).unwrap());
    is_served(&new, &done.url, done.repomd);
}

#[test]
fn evidence_takes_roles_of_its_own_and_its_lack_is_no_fault() {
    let fast = Options { fast_auth: true, ..Options::default() };
    let Some(bed) = Bed::with(Release::Current, fast) else { return };
    let roles = [
        "rpm.rpm_package_uploader",
        "rpm.rpmrepository_creator",
        "rpm.rpmpublication_creator",
        "rpm.rpmdistribution_creator",
    ];
    let publication = |name: &str| {
        let mut publication = with_evidence(&bed.rpms(name, 1), name);
        publication.address = RepositoryPath::parse(&format!("{name}/x86_64")).unwrap().into();
        publication
    };
    let without = publication("anna");
    let done = published(bed.target_as("anna", &roles).publish(&without).unwrap());
    insta::assert_snapshot!(done.warnings.join("\n"), @r#"the evidence is not published beside anna/x86_64, only its labels: cannot create the repository of files anna-x86_64-evidence: the server says "You do not have permission to perform this action.". It takes the permission file.add_filerepository on it, which the role file.filerepository_creator has: `pulp user role-assignment add --username NAME --role file.filerepository_creator --object ''` gives it everywhere"#);
    let mut more = roles.to_vec();
    more.extend(["file.filerepository_creator", "file.filedistribution_creator", "file.file_uploader"]);
    let with = publication("bert");
    let done = published(bed.target_as("bert", &more).publish(&with).unwrap());
    assert_eq!(done.warnings, Vec::<String>::new());
    is_served(&with, &done.url, done.repomd);

    // Behind the guard of the repository, as that is.
    let (status, answer) = bed
        .server
        .request(
            "POST",
            "/pulp/api/v3/contentguards/core/header/",
            Some(&json!({
                "name": "machines", "header_name": "X-Site", "header_value": "geheim"
            })),
        )
        .unwrap();
    assert_eq!(status, 201, "{answer}");
    let options = PulpOptions { guard: Some("machines".to_owned()), ..PulpOptions::default() };
    let mut settings = bed.settings();
    settings.credentials = Some(Credentials::new(bed.server.username(), bed.server.password()));
    let guarded = publication("carl");
    let done = published(bed.target_with(settings, options).publish(&guarded).unwrap());
    assert_eq!(done.warnings, Vec::<String>::new());
    assert_eq!(fetch(&evidence_url(&done.url, done.repomd, "lock.json")).0, 403);
}
