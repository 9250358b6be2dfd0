//! What can go wrong, made to go wrong. Whatever it is, consumers see what they saw, and the next run succeeds.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use drivetrain_fetch::Credentials;
use drivetrain_lab::pulp::{Options, Release, Server};
use drivetrain_publish::{
    Depth, Outcome, Publication, PublishError, PulpOptions, PulpStep, PulpTarget, RepositoryPath, Target as _,
};
use drivetrain_pulp::Settings;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::bed::{Bed, publication, publication_at, published, whole};
use crate::proxy::{Proxy, Rules};
use crate::support::{PATH, change, path, rpm, serve};

const API: &str = "/pulp/api/v3";
const PASSWORD: &str = "anders als admin";
/// Longer than a restart of anything takes on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// A server that is not slowed down by its passwords.
fn bed(options: Options) -> Option<Bed> {
    Bed::with(Release::Current, Options { fast_auth: true, ..options })
}

/// What is served before something goes wrong.
struct Old {
    version: u64,
    repomd: (u16, Vec<u8>),
}

impl Old {
    /// Publishes what is to stay.
    fn publish(bed: &Bed) -> Self {
        let outcome = bed.target().publish(&publication(&bed.rpms("old", 2), "old")).unwrap();
        Self { version: published(outcome).version, repomd: repomd(bed) }
    }

    /// That it is still served: as the server says, and as consumers read it.
    fn is_served(&self, bed: &Bed) {
        let target = bed.target();
        assert_eq!(target.state(&path()).unwrap().and_then(|served| served.version), Some(self.version));
        assert_eq!(target.check(&path(), Depth::Packages).unwrap().packages, 2);
        assert!(repomd(bed) == self.repomd, "consumers see something else");
    }
}

/// That another run puts things right.
fn next_run_succeeds(bed: &Bed, publication: &Publication) {
    let done = published(bed.target().publish(publication).unwrap());
    assert_eq!(done.warnings, Vec::<String>::new());
    is_served_whole(bed, publication);
}

/// That consumers get just these packages, byte by byte.
fn is_served_whole(bed: &Bed, publication: &Publication) {
    let target = bed.target();
    let check = target.check(&publication.address.path, Depth::Packages).unwrap();
    let size: u64 = publication.rpms.iter().map(|rpm| std::fs::metadata(rpm).unwrap().len()).sum();
    assert_eq!((check.packages, check.bytes), (publication.rpms.len(), size));
}

fn repomd(bed: &Bed) -> (u16, Vec<u8>) {
    read(&format!("{}/pulp/content/{PATH}/repodata/repomd.xml", bed.server.content_url()), &[])
}

/// The status and the bytes of a URL.
fn read(url: &str, curl: &[&str]) -> (u16, Vec<u8>) {
    let output = Command::new("curl")
        .args(["--silent", "--insecure", "--noproxy", "*", "--write-out", "%{http_code}"])
        .args(curl)
        .arg(url)
        .output()
        .unwrap();
    let (body, status) = output.stdout.split_at(output.stdout.len() - 3);
    (std::str::from_utf8(status).unwrap().parse().unwrap(), body.to_vec())
}

/// An error as a user sees it, without what differs from server to server.
fn seen(bed: &Bed, error: &PublishError) -> String {
    let text = whole(error);
    let text = text
        .replace(&bed.server.api_url(), "http://SERVER")
        .replace(&bed.server.content_url(), "http://CONTENT");
    without_times(&without_ids(&text))
}

/// With `TIME` for every number that is as long as one in microseconds.
fn without_times(text: &str) -> String {
    let mut out = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
        out.push_str(if digits.len() == 16 { "TIME" } else { digits });
        out.push_str(&part[digits.len()..]);
    }
    out
}

/// With `ID` for every UUID.
fn without_ids(text: &str) -> String {
    let is_id = |text: &str| {
        text.len() == 36
            && text.char_indices().all(|(at, c)| match at {
                8 | 13 | 18 | 23 => c == '-',
                _ => c.is_ascii_hexdigit(),
            })
    };
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let length = if rest.get(..36).is_some_and(is_id) { 36 } else { first.len_utf8() };
        out.push_str(if length == 36 { "ID" } else { &rest[..length] });
        rest = &rest[length..];
    }
    out
}

/// Makes an object as the administrator; its address.
fn create(server: &Server, endpoint: &str, object: Value) -> String {
    let (status, answer) = server.request("POST", &format!("{API}/{endpoint}"), Some(&object)).unwrap();
    match status {
        201 => answer["pulp_href"].as_str().unwrap().to_owned(),
        202 => finished(server, &answer)["created_resources"][0].as_str().unwrap_or_default().to_owned(),
        _ => panic!("{endpoint}: {status} {answer}"),
    }
}

/// Changes an object as the administrator.
fn patch(server: &Server, href: &str, change: Value) {
    let (status, answer) = server.request("PATCH", href, Some(&change)).unwrap();
    assert!(matches!(status, 200 | 202), "{href}: {status} {answer}");
    if status == 202 {
        finished(server, &answer);
    }
}

/// The task of an answer, once it is done.
fn finished(server: &Server, answer: &Value) -> Value {
    let started = Instant::now();
    loop {
        let (_, task) = server.request("GET", answer["task"].as_str().unwrap(), None).unwrap();
        match task["state"].as_str() {
            Some("completed") => return task,
            Some("failed" | "canceled") => panic!("{task}"),
            _ => assert!(started.elapsed() < PATIENCE, "{task}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn href_of(server: &Server, endpoint: &str, name: &str) -> String {
    let (_, list) = server.request("GET", &format!("{API}/{endpoint}?name={name}"), None).unwrap();
    list["results"][0]["pulp_href"].as_str().unwrap().to_owned()
}

fn patient(bed: &Bed) -> Settings {
    Settings { patience: PATIENCE, ..bed.settings() }
}

/// Publishes, and does something to the server when that comes to a step for the first time. It waits there until
/// `fault` tells it to go on or returns.
fn publish_and(
    bed: &mut Bed,
    publication: &Publication,
    at: fn(&PulpStep) -> bool,
    fault: impl FnOnce(&mut Server, &dyn Fn()),
) -> Result<Outcome, PublishError> {
    let (reached, has_reached) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let (may_go_on, over) = (Mutex::new(may_go_on), AtomicBool::new(false));
    let progress = move |step: PulpStep| {
        if at(&step) && !over.swap(true, Ordering::SeqCst) {
            let _ = reached.send(());
            let _ = may_go_on.lock().unwrap().recv_timeout(PATIENCE);
        }
    };
    let options = PulpOptions { progress: Box::new(progress), ..PulpOptions::default() };
    let target = bed.target_with(patient(bed), options);
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| target.publish(publication));
        while has_reached.recv_timeout(Duration::from_millis(100)).is_err() {
            assert!(!publishing.is_finished(), "it never came to that step: {:?}", publishing.join());
        }
        fault(&mut bed.server, &|| go_on.send(()).unwrap_or(()));
        let _ = go_on.send(());
        publishing.join().unwrap()
    })
}

fn is_uploading(step: &PulpStep) -> bool {
    matches!(step, PulpStep::Upload { files, .. } if *files >= 2)
}

fn is_version(step: &PulpStep) -> bool {
    *step == PulpStep::Version
}

fn is_publish(step: &PulpStep) -> bool {
    *step == PulpStep::Publish
}

fn is_flip(step: &PulpStep) -> bool {
    *step == PulpStep::Flip
}

// Rights.

/// A target of a user, and a publication at a path of the user's own.
fn as_user(bed: &Bed, user: &str, roles: &[&str]) -> (PulpTarget, Publication) {
    let target = bed.target_as(user, roles);
    let mut publication = publication(&bed.rpms(user, 2), user);
    publication.address = RepositoryPath::parse(&format!("{user}/x86_64")).unwrap().into();
    (target, publication)
}

const UPLOADER: &str = "rpm.rpm_package_uploader";
const REPOSITORIES: &str = "rpm.rpmrepository_creator";
const PUBLICATIONS: &str = "rpm.rpmpublication_creator";
const DISTRIBUTIONS: &str = "rpm.rpmdistribution_creator";

#[test]
fn what_a_user_may_not_do_is_said_with_the_permission_and_the_role_that_it_takes() {
    let Some(bed) = bed(Options::default()) else { return };
    let old = Old::publish(&bed);
    let mut settings = bed.settings();
    settings.credentials = Some(Credentials::new("admin", "wrong"));
    let stranger = bed.target_with(settings, PulpOptions::default());
    let error = stranger.publish(&publication(&bed.rpms("new", 2), "new")).unwrap_err();
    insta::assert_snapshot!(seen(&bed, &error), @"cannot look for the distribution at lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64: http://SERVER refuses the user name or the password");
    assert!(matches!(stranger.ensure(&path().into()), Err(PublishError::Pulp(_))));

    let refused = |user: &str, roles: &[&str]| {
        let (target, mut publication) = as_user(&bed, user, roles);
        publication.rpms.truncate(1);
        let error = target.publish(&publication).unwrap_err();
        assert!(target.state(&publication.address.path).unwrap().is_none());
        seen(&bed, &error)
    };
    insta::assert_snapshot!(refused("anna", &[]), @r#"cannot create the repository anna-x86_64: the server says "You do not have permission to perform this action.". It takes the permission rpm.add_rpmrepository on it, which the role rpm.rpmrepository_creator has: `pulp user role-assignment add --username NAME --role rpm.rpmrepository_creator --object ''` gives it everywhere"#);
    insta::assert_snapshot!(refused("bert", &[REPOSITORIES, PUBLICATIONS, DISTRIBUTIONS]), @r#"cannot upload kmod-bert-0-1-1.el9.noarch.rpm: the server says "You do not have permission to perform this action.". It takes the permission rpm.upload_rpm_packages on it, which the role rpm.rpm_package_uploader has: `pulp user role-assignment add --username NAME --role rpm.rpm_package_uploader --object ''` gives it everywhere"#);
    insta::assert_snapshot!(refused("carl", &[REPOSITORIES, UPLOADER, DISTRIBUTIONS]), @r#"cannot publish /pulp/api/v3/repositories/rpm/rpm/ID/versions/1/: the server says "You do not have permission to perform this action.". It takes the permission rpm.add_rpmpublication on it, which the role rpm.rpmpublication_creator has: `pulp user role-assignment add --username NAME --role rpm.rpmpublication_creator --object ''` gives it everywhere"#);
    insta::assert_snapshot!(refused("dora", &[REPOSITORIES, UPLOADER, PUBLICATIONS]), @r#"cannot create the distribution dora-x86_64-staging-run-dora-TIME at drivetrain-staging/dora-x86_64/run-dora-TIME: the server says "You do not have permission to perform this action.". It takes the permission rpm.add_rpmdistribution on it, which the role rpm.rpmdistribution_creator has: `pulp user role-assignment add --username NAME --role rpm.rpmdistribution_creator --object ''` gives it everywhere"#);

    // What is another user's cannot even be seen.
    let (target, mut publication) =
        as_user(&bed, "emil", &[REPOSITORIES, UPLOADER, PUBLICATIONS, DISTRIBUTIONS]);
    publication.address = path().into();
    let error = target.publish(&publication).unwrap_err();
    insta::assert_snapshot!(seen(&bed, &error), @"a repository lab-9.4-3.2.0-5.14.0-1.el9.x86_64-x86_64 of http://SERVER is in the way: there and cannot be seen by this user, who lacks the permission rpm.view_rpmrepository on it");
    publication.address.repository = "emil".to_owned();
    let error = target.publish(&publication).unwrap_err();
    insta::assert_snapshot!(seen(&bed, &error), @"a distribution lab-9.4-3.2.0-5.14.0-1.el9.x86_64-x86_64 or at lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64 of http://SERVER is in the way: there and cannot be seen by this user, who lacks the permission rpm.view_rpmdistribution on it");
    old.is_served(&bed);
}

#[test]
fn four_roles_are_enough_to_publish_and_to_go_back_and_a_fifth_for_packages_in_parts() {
    let Some(bed) = bed(Options::default()) else { return };
    let (target, mut publication) =
        as_user(&bed, "fred", &[REPOSITORIES, UPLOADER, PUBLICATIONS, DISTRIBUTIONS]);
    target.ensure(&publication.address).unwrap();
    let first = published(target.publish(&publication).unwrap());
    assert_eq!((first.version, first.warnings), (1, Vec::new()));
    let mut second = publication.clone();
    second.rpms = bed.rpms("fred-2", 3);
    second.lock = drivetrain_model::Sha256Digest::of(b"second");
    let done = published(target.publish(&second).unwrap());
    assert_eq!((done.version, done.warnings), (2, Vec::new()));
    is_served_whole(&bed, &second);
    let back = target.rollback(&publication.address.path, None, &change("fred@lab")).unwrap();
    assert_eq!((back.from, back.to), (2, 1));
    is_served_whole(&bed, &publication);
    // What is no longer kept can be removed as well.
    for number in 3..=8 {
        publication.rpms = bed.rpms(&format!("fred-{number}"), 1);
        let done = published(target.publish(&publication).unwrap());
        assert_eq!((done.version, done.warnings), (number, Vec::new()));
    }

    let in_parts = || PulpOptions { chunk: 64 << 10, ..PulpOptions::default() };
    let mut settings = bed.settings();
    settings.credentials = Some(Credentials::new("fred", PASSWORD));
    publication.rpms = vec![rpm(bed.files.path(), "kmod-large", "1", "large", 300_000)];
    let error = bed.target_with(settings.clone(), in_parts()).publish(&publication).unwrap_err();
    insta::assert_snapshot!(seen(&bed, &error), @r#"cannot upload kmod-large-1-1.el9.noarch.rpm in parts: the server says "You do not have permission to perform this action.". It takes the permission core.add_upload on it, which the role core.upload_creator has: `pulp user role-assignment add --username NAME --role core.upload_creator --object ''` gives it everywhere"#);
    bed.target_as("gina", &[REPOSITORIES, UPLOADER, PUBLICATIONS, DISTRIBUTIONS, "core.upload_creator"]);
    settings.credentials = Some(Credentials::new("gina", PASSWORD));
    publication.address = RepositoryPath::parse("gina/x86_64").unwrap().into();
    let done = published(bed.target_with(settings, in_parts()).publish(&publication).unwrap());
    assert_eq!((done.version, done.warnings), (1, Vec::new()));
    is_served_whole(&bed, &publication);
}

#[test]
fn an_old_server_says_that_only_an_administrator_can_publish() {
    let Some(bed) = Bed::with(Release::Lts, Options { fast_auth: true, ..Options::default() }) else {
        return;
    };
    let (target, publication) = as_user(&bed, "hans", &["rpm.admin"]);
    let error = target.publish(&publication).unwrap_err();
    insta::assert_snapshot!(seen(&bed, &error), @"http://SERVER has pulp_rpm 3.27.14, where only administrators can upload packages for drivetrain. From 3.33 on the role rpm.rpm_package_uploader is enough");
    assert!(target.state(&publication.address.path).unwrap().is_none());
}

// What is there already.

#[test]
fn what_others_made_is_not_taken_unless_it_is_to_be_adopted() {
    let Some(bed) = bed(Options::default()) else { return };
    let server = &bed.server;
    let new = publication(&bed.rpms("new", 2), "new");
    let called = |repository: &str| {
        let mut publication = new.clone();
        publication.address.repository = repository.to_owned();
        publication
    };
    let target = bed.target();
    let refused = |publication: &Publication| {
        let early = target.ensure(&publication.address).unwrap_err();
        let error = target.publish(publication).unwrap_err();
        assert_eq!(whole(&early), whole(&error), "what a run is told before it builds is the same");
        seen(&bed, &error)
    };
    let rpm_repositories = "repositories/rpm/rpm/";

    create(server, "repositories/file/file/", json!({ "name": "files" }));
    insta::assert_snapshot!(refused(&called("files")), @"the repository files of http://SERVER is in the way: one of another type (repositories/file/file). Choose another publish.pulp.repository");
    create(server, rpm_repositories, json!({ "name": "hasty", "autopublish": true }));
    insta::assert_snapshot!(refused(&called("hasty")), @"the repository hasty of http://SERVER is in the way: one with autopublish: it would serve what is not proven. Turn that off for it");

    // One that nobody has used is as good as a new one; one that has been used is not.
    let theirs = create(server, rpm_repositories, json!({ "name": "theirs" }));
    target.ensure(&called("theirs").address).unwrap();
    let mut elsewhere = publication_at("elsewhere/x86_64", &bed.rpms("theirs", 1), "theirs");
    elsewhere.address.repository = "source".to_owned();
    target.publish(&elsewhere).unwrap();
    let (_, packages) = server.request("GET", &format!("{API}/content/rpm/packages/?limit=1"), None).unwrap();
    let units = json!({ "add_content_units": [packages["results"][0]["pulp_href"]] });
    let (_, answer) = server.request("POST", &format!("{theirs}modify/"), Some(&units)).unwrap();
    finished(server, &answer);
    insta::assert_snapshot!(refused(&called("theirs")), @"the repository theirs of http://SERVER is in the way: one that drivetrain did not make, and it has been used. What is in it would be replaced: choose another publish.pulp.repository, or take it over with publish.pulp.adopt");

    // A distribution at the path, or of the name, or one that follows its repository.
    let distributions = "distributions/rpm/rpm/";
    let foreign =
        create(server, distributions, json!({ "name": "foreign", "base_path": PATH, "repository": theirs }));
    insta::assert_snapshot!(refused(&new), @"the distribution foreign of http://SERVER at lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64 is in the way: one that drivetrain did not make. Choose another publish.pulp.layout, or take it over with publish.pulp.adopt");
    assert_eq!(repomd(&bed).0, 404);
    patch(server, &foreign, json!({ "base_path": "somewhere/else", "name": new.address.distribution }));
    insta::assert_snapshot!(refused(&new), @"the distribution lab-9.4-3.2.0-5.14.0-1.el9.x86_64-x86_64 of http://SERVER is in the way: one of another path, somewhere/else. Choose another publish.pulp.distribution or layout");
    patch(server, &foreign, json!({ "base_path": PATH, "name": "foreign" }));

    let adopting = PulpOptions { adopt: true, ..PulpOptions::default() };
    let adopting = bed.target_with(bed.settings(), adopting);
    let done = published(adopting.publish(&called("theirs")).unwrap());
    assert_eq!((done.version, done.warnings), (2, Vec::new()));
    is_served_whole(&bed, &new);
    // Now it is drivetrain's.
    let mut other = called("theirs");
    other.rpms = bed.rpms("other", 1);
    next_run_succeeds(&bed, &other);
}

#[test]
fn what_somebody_changed_by_hand_is_told_and_put_right() {
    let Some(bed) = bed(Options::default()) else { return };
    let (server, target) = (&bed.server, bed.target());
    let old = publication(&bed.rpms("old", 2), "old");
    target.publish(&old).unwrap();
    let distribution = href_of(server, "distributions/rpm/rpm/", &old.address.distribution);
    let repository = href_of(server, "repositories/rpm/rpm/", &old.address.repository);

    patch(server, &distribution, json!({ "repository": repository, "publication": null }));
    let listed = target.list().unwrap();
    insta::assert_snapshot!(seen(&bed, listed[0].problem.as_ref().unwrap()), @"lab-9.4-3.2.0-5.14.0-1.el9.x86_64-x86_64 follows its repository, and would serve what is not proven");
    assert_eq!(target.state(&path()).unwrap().unwrap().version, None);
    let error = target.check(&path(), Depth::Metadata).unwrap_err();
    assert!(matches!(error, PublishError::Changed { .. }), "{error}");
    // The same packages from the same lock: and yet there is something to do.
    let done = published(target.publish(&old).unwrap());
    assert_eq!((done.version, done.warnings), (1, Vec::new()));
    is_served_whole(&bed, &old);

    let (_, publication) = server
        .request("POST", &format!("{API}/publications/rpm/rpm/"), Some(&json!({ "repository": repository })))
        .unwrap();
    let publication = finished(server, &publication)["created_resources"][0].clone();
    patch(server, &distribution, json!({ "publication": publication }));
    let error = target.check(&path(), Depth::Metadata).unwrap_err();
    insta::assert_snapshot!(seen(&bed, &error), @"lab-9.4-3.2.0-5.14.0-1.el9.x86_64-x86_64 serves another publication than drivetrain pointed it to");
    published(target.publish(&old).unwrap());
    is_served_whole(&bed, &old);

    patch(server, &repository, json!({ "autopublish": true }));
    let error = target.publish(&crate::bed::publication(&bed.rpms("new", 1), "new")).unwrap_err();
    assert!(matches!(error, PublishError::InTheWay { .. }), "{error}");
    is_served_whole(&bed, &old);
}

// Things that stop, and start again.

#[test]
fn an_api_that_goes_away_while_packages_are_on_their_way_is_waited_for() {
    let Some(mut bed) = bed(Options::default()) else { return };
    let old = Old::publish(&bed);
    let new = publication(&bed.rpms("new", 12), "new");
    let mut seen_meanwhile = (0, Vec::new());
    let content = format!("{}/pulp/content/{PATH}/repodata/repomd.xml", bed.server.content_url());
    let outcome = publish_and(&mut bed, &new, is_uploading, |server, go_on| {
        go_on();
        server.stop_api();
        seen_meanwhile = read(&content, &[]);
        server.start_api().unwrap();
    });
    assert!(seen_meanwhile == old.repomd, "consumers do not notice");
    assert_eq!(published(outcome.unwrap()).warnings, Vec::<String>::new());
    is_served_whole(&bed, &new);

    // Killed with all that it was at, while the distribution is changed.
    let newer = publication(&bed.rpms("newer", 3), "newer");
    let outcome = publish_and(&mut bed, &newer, is_flip, |server, go_on| {
        go_on();
        server.kill_api();
        server.start_api().unwrap();
    });
    assert_eq!(published(outcome.unwrap()).warnings, Vec::<String>::new());
    is_served_whole(&bed, &newer);

    // One that stays away is said to be away, and the next run goes on.
    let newest = publication(&bed.rpms("newest", 3), "newest");
    bed.server.stop_api();
    let impatient = Settings { patience: Duration::from_secs(1), ..bed.settings() };
    let error = bed.target_with(impatient, PulpOptions::default()).publish(&newest).unwrap_err();
    insta::assert_snapshot!(seen(&bed, &error), @"cannot look for the distribution at lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64: http://SERVER/pulp/api/v3/login/ cannot be reached (Connection refused (os error 111))");
    bed.server.start_api().unwrap();
    is_served_whole(&bed, &newer);
    next_run_succeeds(&bed, &newest);
}

/// Makes the insertion into a table of the server's take long: whoever does it is in the middle of a task.
fn slow_down(server: &Server, table: &str) {
    let function = "CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
                    $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$";
    server.sql(function).unwrap();
    server
        .sql(&format!("CREATE TRIGGER slow BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION slow()"))
        .unwrap();
}

/// Waits until something is as slow as that.
fn wait_until_slow(server: &Server) {
    let started = Instant::now();
    while server.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").unwrap() == "0" {
        assert!(started.elapsed() < PATIENCE, "no task is in the middle");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn no_longer_slow(server: &Server, table: &str) {
    server
        .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        .unwrap();
    server.sql(&format!("DROP TRIGGER slow ON {table}")).unwrap();
}

/// Starts workers anew. What the old ones were at is given up at once: left to itself, the server does that within 2 to
/// 17 minutes.
fn restart_workers(server: &mut Server) {
    server.kill_workers();
    server.sql("UPDATE core_task SET app_lock_id = NULL").unwrap();
    server.sql("DELETE FROM core_appstatus WHERE app_type = 'worker'").unwrap();
    for number in 0..2 {
        server.start_worker(number).unwrap();
    }
}

#[test]
fn a_task_whose_worker_is_killed_is_sent_again() {
    let Some(mut bed) = bed(Options::default()) else { return };
    Old::publish(&bed);
    for (set, table, at) in [
        ("version", "core_repositoryversion", is_version as fn(&PulpStep) -> bool),
        ("publication", "core_publication", is_publish),
    ] {
        let new = publication(&bed.rpms(set, 2), set);
        let mut meanwhile = (0, Vec::new());
        let before = repomd(&bed);
        let content = format!("{}/pulp/content/{PATH}/repodata/repomd.xml", bed.server.content_url());
        let outcome = publish_and(&mut bed, &new, at, |server, go_on| {
            slow_down(server, table);
            go_on();
            wait_until_slow(server);
            server.kill_workers();
            no_longer_slow(server, table);
            meanwhile = read(&content, &[]);
            restart_workers(server);
        });
        assert!(meanwhile == before, "{set}: consumers see what they saw");
        assert_eq!(published(outcome.unwrap()).warnings, Vec::<String>::new(), "{set}");
        is_served_whole(&bed, &new);
    }
}

#[test]
fn a_task_that_no_worker_was_woken_for_is_sent_again() {
    let Some(mut bed) = bed(Options::default()) else { return };
    Old::publish(&bed);
    let new = publication(&bed.rpms("new", 2), "new");
    let started = Instant::now();
    let outcome = publish_and(&mut bed, &new, is_version, |server, go_on| {
        server.kill_workers();
        let tasks = || server.sql("SELECT count(*) FROM core_task WHERE state = 'waiting'").unwrap();
        go_on();
        while tasks() == "0" {
            assert!(started.elapsed() < PATIENCE, "no task waits");
            std::thread::sleep(Duration::from_millis(50));
        }
        restart_workers(server);
    });
    assert_eq!(published(outcome.unwrap()).warnings, Vec::<String>::new());
    assert!(started.elapsed() < Duration::from_secs(90), "{:?}", started.elapsed());
    is_served_whole(&bed, &new);
}

#[test]
fn a_database_that_goes_away_in_the_middle_is_waited_for() {
    let Some(mut bed) = bed(Options::default()) else { return };
    Old::publish(&bed);
    for (set, at) in
        [("upload", is_uploading as fn(&PulpStep) -> bool), ("version", is_version), ("flip", is_flip)]
    {
        let new = publication(&bed.rpms(set, 6), set);
        let outcome = publish_and(&mut bed, &new, at, |server, go_on| {
            server.stop_database();
            go_on();
            // Long enough for requests to fail of it.
            std::thread::sleep(Duration::from_secs(2));
            // Without it the rest may have ended, and is started again as a service manager would.
            server.kill_api();
            server.stop_content();
            server.kill_workers();
            server.start_database().unwrap();
            server.start_content().unwrap();
            server.start_api().unwrap();
            restart_workers(server);
        });
        assert_eq!(published(outcome.unwrap()).warnings, Vec::<String>::new(), "{set}");
        is_served_whole(&bed, &new);
    }
}

#[test]
fn sessions_may_end_and_orphans_be_cleaned_away_in_the_middle() {
    let Some(mut bed) = bed(Options::default()) else { return };
    Old::publish(&bed);
    for (set, at) in [
        ("upload", is_uploading as fn(&PulpStep) -> bool),
        ("version", is_version),
        ("publish", is_publish),
        ("flip", is_flip),
    ] {
        let new = publication(&bed.rpms(set, 4), set);
        let outcome = publish_and(&mut bed, &new, at, |server, _| server.expire_sessions().unwrap());
        assert_eq!(published(outcome.unwrap()).warnings, Vec::<String>::new(), "{set}");
        is_served_whole(&bed, &new);
    }
    let new = publication(&bed.rpms("orphans", 4), "orphans");
    let outcome = publish_and(&mut bed, &new, is_version, |server, _| {
        let all = json!({ "orphan_protection_time": 0 });
        let (status, answer) =
            server.request("POST", &format!("{API}/orphans/cleanup/"), Some(&all)).unwrap();
        assert_eq!(status, 202, "{answer}");
        finished(server, &answer);
        assert_eq!(
            server.sql("SELECT count(*) FROM rpm_package WHERE name LIKE 'kmod-orphans-%'").unwrap(),
            "0"
        );
    });
    assert_eq!(published(outcome.unwrap()).warnings, Vec::<String>::new());
    is_served_whole(&bed, &new);
}

// Disks.

/// A file system of its own, of a few megabytes.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, and said so, where none can be mounted.
    fn new(megabytes: u64) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m,mode=0777");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(directory));
        }
        println!("skipped: a tmpfs cannot be mounted here");
        None
    }

    fn filling(&self) -> PathBuf {
        self.0.path().join("filling")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").args(["--lazy"]).arg(self.0.path()).output());
    }
}

/// Takes all that is free but so many bytes.
fn fill(file: &std::path::Path, leave: u64) {
    let mut filling = std::fs::File::create(file).unwrap();
    while filling.write_all(&[0; 4096]).is_ok() {}
    let size = filling.metadata().unwrap().len();
    filling.set_len(size.saturating_sub(leave)).unwrap();
}

#[test]
fn a_server_whose_disk_is_full_is_said_to_be_full_and_serves_what_it_served() {
    let Some(disk) = SmallDisk::new(80) else { return };
    let media = disk.0.path().to_str().unwrap().into();
    let Some(mut bed) = bed(Options { media: Some(media), ..Options::default() }) else { return };
    let old = Old::publish(&bed);
    let filling = disk.filling();
    let full = |bed: &Bed, result: Result<Outcome, PublishError>, during: &str| {
        let error = result.unwrap_err();
        assert!(matches!(error, PublishError::ServerFull { .. }), "{during}: {}", whole(&error));
        old.is_served(bed);
        let figures = seen(bed, &error).replace(|c: char| c.is_ascii_digit(), "");
        insta::allow_duplicates! {
            insta::assert_snapshot!(figures, @"http://SERVER has no room:  MB are needed, with what it keeps for itself, and  MB are free; nothing that is served has changed");
        }
    };

    // Refused before anything is sent.
    fill(&filling, 8 << 20);
    let new = publication(&bed.rpms("new", 4), "new");
    let uploads = |bed: &Bed| bed.server.api_log().unwrap().matches("packages/upload/").count();
    let before = uploads(&bed);
    let result = bed.target().publish(&new);
    assert_eq!(uploads(&bed), before);
    full(&bed, result, "before");
    std::fs::remove_file(&filling).unwrap();

    // Filled by somebody else while packages are on their way, in one request or in parts, or when they have arrived.
    let large = publication(&[rpm(bed.files.path(), "kmod-large", "1", "large", 3_000_000)], "large");
    let is_beginning: fn(&PulpStep) -> bool = |step| matches!(step, PulpStep::Upload { .. });
    for (publication, at, during) in
        [(&new, is_beginning, "upload"), (&large, is_beginning, "large"), (&new, is_publish, "publish")]
    {
        let result = publish_and(&mut bed, publication, at, |_, _| fill(&filling, 0));
        full(&bed, result, during);
        std::fs::remove_file(&filling).unwrap();
    }
    // Of each file that did not fit the server has an empty one, and would take that for what is sent again.
    for (publication, name) in [(&large, "large"), (&new, "new")] {
        let mut result = bed.target().publish(publication);
        if let Err(error) = &result {
            println!("{name}: {}", seen(&bed, error));
            let answer = bed.server.request(
                "POST",
                &format!("{API}/orphans/cleanup/"),
                Some(&json!({ "orphan_protection_time": 0 })),
            );
            finished(&bed.server, &answer.unwrap().1);
            result = bed.target().publish(publication);
        }
        assert_eq!(published(result.unwrap()).warnings, Vec::<String>::new(), "{name}");
        is_served_whole(&bed, publication);
    }
}

/// Cuts the file that the server has of a package to its first half: its header is whole.
fn cut_on_the_server(server: &Server, package: &std::path::Path) {
    let digest = drivetrain_model::Sha256Digest::of(&std::fs::read(package).unwrap()).to_string();
    let artifact = server.directory().join("data/media/artifact").join(&digest[..2]).join(&digest[2..]);
    let file = std::fs::OpenOptions::new().write(true).open(artifact).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

#[test]
fn what_the_server_has_not_kept_whole_is_not_served_but_sent_again() {
    let Some(bed) = bed(Options::default()) else { return };
    let old = Old::publish(&bed);
    let new = publication(&bed.rpms("new", 3), "new");
    // Everything is there, and nothing is served.
    let prepare = |target: &PulpTarget, publication: &Publication| {
        let accept = drivetrain_publish::Accept::new(|_| Err("not yet".to_owned()));
        target.publish(&Publication { accept, ..publication.clone() }).unwrap_err();
        cut_on_the_server(&bed.server, &publication.rpms[1]);
    };
    // Who may not remove anything says who can.
    let (target, mut theirs) = as_user(&bed, "kurt", &[REPOSITORIES, UPLOADER, PUBLICATIONS, DISTRIBUTIONS]);
    prepare(&target, &theirs);
    let error = target.publish(&theirs).unwrap_err();
    insta::assert_snapshot!(seen(&bed, &error), @"http://SERVER has not kept what it was sent: Packages/k/kmod-kurt-1-1-1.el9.noarch.rpm has 13014 bytes, and not 26029. Its disk was full when that was written, or a process of it was killed; it is not served. An administrator can remove it with `pulp orphan cleanup --protection-time 0`: then run again");
    assert!(target.state(&theirs.address.path).unwrap().is_none());
    let all = json!({ "orphan_protection_time": 0 });
    let (_, answer) = bed.server.request("POST", &format!("{API}/orphans/cleanup/"), Some(&all)).unwrap();
    finished(&bed.server, &answer);
    assert_eq!(published(target.publish(&theirs).unwrap()).warnings, Vec::<String>::new());
    is_served_whole(&bed, &theirs);

    prepare(&bed.target(), &new);
    old.is_served(&bed);
    next_run_succeeds(&bed, &new);

    // What is served elsewhere already is not taken away.
    cut_on_the_server(&bed.server, &new.rpms[0]);
    theirs.address = path().into();
    theirs.rpms.push(new.rpms[0].clone());
    let error = bed.target().publish(&theirs).unwrap_err();
    insta::assert_snapshot!(seen(&bed, &error), @"http://SERVER has not kept what it was sent: Packages/k/kmod-new-0-1-1.el9.noarch.rpm has 13014 bytes, and not 26029. Its disk was full when that was written, or a process of it was killed; it is not served. An administrator can remove it with `pulp orphan cleanup --protection-time 0`: then run again");
    assert_eq!(bed.target().state(&path()).unwrap().unwrap().record.unwrap().lock, new.lock);
}

// What is between here and the server.

#[test]
fn what_a_proxy_cuts_is_sent_or_asked_for_again() {
    let Some(bed) = bed(Options::default()) else { return };
    let old = Old::publish(&bed);
    // Every other answer, in its head or in its body, while everything is made for the first time as well.
    for (name, after) in [("head", 40), ("body", 420)] {
        let proxy =
            Proxy::start(&bed.server.api_url(), Rules { cut_answers: Some((after, 2)), ..Rules::default() });
        let target = bed.target_with(bed.settings_at(&proxy.url()), PulpOptions::default());
        let mut new = publication(&bed.rpms(name, 4), name);
        new.address = RepositoryPath::parse(&format!("cut/{name}")).unwrap().into();
        let done = published(target.publish(&new).unwrap());
        assert_eq!((done.version, done.warnings), (1, Vec::new()), "{name}");
        assert!(proxy.cut() > 5, "{name}: {}", proxy.cut());
        is_served_whole(&bed, &new);
    }
    let proxy =
        Proxy::start(&bed.server.api_url(), Rules { cut_bodies: Some((10_000, 5)), ..Rules::default() });
    let target = bed.target_with(bed.settings_at(&proxy.url()), PulpOptions::default());
    old.is_served(&bed);
    let new = publication(&bed.rpms("bodies", 4), "bodies");
    assert_eq!(published(target.publish(&new).unwrap()).warnings, Vec::<String>::new());
    assert!(proxy.cut() >= 5);
    is_served_whole(&bed, &new);
}

#[test]
fn what_is_too_large_or_too_slow_for_a_proxy_goes_in_parts() {
    let Some(bed) = bed(Options { api_timeout: 5, ..Options::default() }) else { return };
    let large = |name: &str| vec![rpm(bed.files.path(), &format!("kmod-{name}"), "1", name, 2_300_000)];
    let cases = [
        ("refused", Rules { largest_body: Some(1_500_000), ..Rules::default() }),
        ("broken-off", Rules { cut_bodies: Some((1_500_000, usize::MAX)), ..Rules::default() }),
        // All of it takes longer than the server waits, and a part does not.
        ("slow", Rules { rate: Some(330_000), ..Rules::default() }),
    ];
    for (name, rules) in cases {
        let proxy = Proxy::start(&bed.server.api_url(), rules);
        let target = bed.target_with(bed.settings_at(&proxy.url()), PulpOptions::default());
        let new = publication(&large(name), name);
        let started = Instant::now();
        assert_eq!(published(target.publish(&new).unwrap()).warnings, Vec::<String>::new(), "{name}");
        println!("{name}: {:.1} s", started.elapsed().as_secs_f64());
        assert!(started.elapsed() < Duration::from_secs(55), "{name}: {:?}", started.elapsed());
        assert!(bed.server.api_log().unwrap().contains("/uploads/"), "{name}");
        if name == "refused" {
            assert_eq!(proxy.refused(), 1, "once is enough");
        }
        is_served_whole(&bed, &new);
    }
    let (_, left) = bed.server.request("GET", &format!("{API}/uploads/"), None).unwrap();
    assert_eq!(left["count"], 0, "uploads are removed: {left}");
}

#[test]
fn a_clock_that_is_off_is_a_warning_and_no_more() {
    let Some(bed) = bed(Options::default()) else { return };
    for (set, hours, direction) in [("ahead", -48, "ahead of"), ("behind", 48, "behind")] {
        let rules = Rules { clock: Some(SignedDuration::from_hours(hours)), ..Rules::default() };
        let proxy = Proxy::start(&bed.server.api_url(), rules);
        let target = bed.target_with(bed.settings_at(&proxy.url()), PulpOptions::default());
        let new = publication(&bed.rpms(set, 1), set);
        let done = published(target.publish(&new).unwrap());
        assert_eq!(done.warnings.len(), 1, "{:?}", done.warnings);
        assert!(done.warnings[0].contains(direction), "{:?}", done.warnings);
        if hours == 48 {
            // It may be a second more or less.
            let (before, after) = done.warnings[0].split_once(" behind ").unwrap();
            assert!(before.contains(" 47h") || before.contains(" 48h"), "{before}");
            insta::assert_snapshot!(format!("{} TIME behind {after}", before.split_once(" is ").unwrap().0), @"the clock here TIME behind the server's: the times that are noted are not right");
        }
        is_served_whole(&bed, &new);
    }
}

#[test]
fn a_private_authority_is_trusted_where_it_is_named_and_https_wants_its_referer() {
    let https = r#"SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")"#;
    let Some(bed) = bed(Options { settings: vec![https.to_owned()], ..Options::default() }) else { return };
    let server = bed.server.api_url();
    // One that the server knows of, and one that it does not.
    let rules = Rules { headers: vec!["X-Forwarded-Proto: https"], ..Rules::default() };
    let known = Proxy::start_tls(&server, rules);
    let unknown = Proxy::start_tls(&server, Rules::default());
    for (set, proxy) in [("known", &known), ("unknown", &unknown)] {
        let ca = camino::Utf8PathBuf::try_from(bed.files.path().join(format!("{set}.pem"))).unwrap();
        std::fs::write(&ca, proxy.authority.as_ref().unwrap()).unwrap();
        let settings = Settings { ca: Some(ca), ..bed.settings_at(&proxy.url()) };
        let new = publication(&bed.rpms(set, 2), set);
        let done = published(bed.target_with(settings, PulpOptions::default()).publish(&new).unwrap());
        assert_eq!(done.warnings, Vec::<String>::new(), "{set}");
        is_served_whole(&bed, &new);
    }
    // That the server is as strict as that: a session without a referer changes nothing.
    let jar = bed.files.path().join("cookies");
    let jar = jar.to_str().unwrap();
    let user = format!("{}:{}", bed.server.username(), bed.server.password());
    let login = format!("{}{API}/login/", known.url());
    assert_eq!(read(&login, &["--request", "POST", "--user", &user, "--cookie-jar", jar]).0, 201);
    let cookies = std::fs::read_to_string(jar).unwrap();
    let token = cookies.lines().find(|line| line.contains("csrftoken")).unwrap().rsplit('\t').next().unwrap();
    let token = format!("X-CSRFToken: {token}");
    let (status, said) = read(&login, &["--request", "DELETE", "--cookie", jar, "--header", &token]);
    assert_eq!(status, 403);
    assert!(String::from_utf8_lossy(&said).contains("Referer"), "{}", String::from_utf8_lossy(&said));

    // Nobody waits for trust to come.
    let started = Instant::now();
    let settings = bed.settings_at(&known.url());
    let error = bed.target_with(settings, PulpOptions::default()).ensure(&path().into()).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    insta::assert_snapshot!(seen(&bed, &error).replace(&known.url(), "https://PROXY"), @"cannot ask the server for its status: no secure connection to https://PROXY/pulp/api/v3/login/ (invalid peer certificate: UnknownIssuer); its certificate authority is not known here: name the authority's PEM file as publish.pulp.ca");
    let settings = bed.settings_at(&server.replace("http:", "https:"));
    let settings = Settings { patience: Duration::ZERO, ..settings };
    let error = bed.target_with(settings, PulpOptions::default()).ensure(&path().into()).unwrap_err();
    insta::assert_snapshot!(seen(&bed, &error).replace(&server.replace("http:", "https:"), "https://SERVER"), @"cannot ask the server for its status: https://SERVER/pulp/api/v3/login/ does not take a connection in time (operation timed out)");
}

#[test]
fn what_is_no_pulp_server_is_said_to_be_none() {
    let Some(bed) = bed(Options::default()) else { return };
    let refused = |settings: Settings| {
        let settings = Settings { patience: Duration::from_secs(1), ..settings };
        let url = settings.server.as_str().trim_end_matches('/').to_owned();
        let target = bed.target_with(settings, PulpOptions::default());
        let early = target.ensure(&path().into()).unwrap_err();
        let error = target.publish(&publication(&bed.rpms("new", 1), "new")).unwrap_err();
        let mask = |error| without_ids(&whole(&error)).replace(&url, "http://SERVER");
        format!("{}\n{}", mask(early), mask(error))
    };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    insta::assert_snapshot!(refused(bed.settings_at(&format!("http://{nobody}"))), @r"
    cannot ask the server for its status: http://SERVER/pulp/api/v3/login/ cannot be reached (Connection refused (os error 111))
    cannot look for the distribution at lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64: http://SERVER/pulp/api/v3/login/ cannot be reached (Connection refused (os error 111))
    ");
    let files = serve(bed.files.path());
    insta::assert_snapshot!(refused(bed.settings_at(&format!("http://{files}"))), @r"
    http://SERVER has no Pulp at /pulp/api/v3/status/: see the URL, api_root (Pulp's API_ROOT) and domain of publish.pulp
    cannot look for the distribution at lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64: the server has no such object, or this user may not see it (http://SERVER/pulp/api/v3/distributions/rpm/rpm/)
    ");
    insta::assert_snapshot!(refused(Settings { api_root: "/ark/".to_owned(), ..bed.settings() }), @r"
    http://SERVER has no Pulp at /ark/api/v3/status/: see the URL, api_root (Pulp's API_ROOT) and domain of publish.pulp
    cannot look for the distribution at lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64: the server has no such object, or this user may not see it (http://SERVER/ark/api/v3/distributions/rpm/rpm/)
    ");
    insta::assert_snapshot!(refused(Settings { domain: Some("team".to_owned()), ..bed.settings() }), @r"
    http://SERVER has no Pulp at /pulp/team/api/v3/status/: see the URL, api_root (Pulp's API_ROOT) and domain of publish.pulp
    cannot look for the distribution at lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64: the server has no such object, or this user may not see it (http://SERVER/pulp/team/api/v3/distributions/rpm/rpm/)
    ");
    // A web page for everything, as portals have it.
    std::fs::create_dir_all(bed.files.path().join("pulp/api/v3/status")).unwrap();
    let portal = portal();
    insta::assert_snapshot!(refused(bed.settings_at(&format!("http://{portal}"))), @r"
    cannot ask the server for its status: the answer of http://SERVER/pulp/api/v3/status/ is not understood: it is an HTML page
    cannot look for the distribution at lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64: the answer of http://SERVER/pulp/api/v3/distributions/rpm/rpm/ is not understood: it is an HTML page
    ");
}

/// Answers everything with a page.
fn portal() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            drop(std::io::Read::read(&mut stream, &mut request));
            let page = "<html><body>Please log in</body></html>";
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close";
            drop(write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len()));
        }
    });
    address
}

// Two at once.

#[test]
fn of_two_publications_at_once_one_is_served_whole() {
    let Some(bed) = bed(Options::default()) else { return };
    let named = |name: &str| {
        let options = PulpOptions { client_name: name.to_owned(), ..PulpOptions::default() };
        bed.target_with(bed.settings(), options)
    };
    let (anna, bert) = (named("anna"), named("bert"));
    let at_once = |left: &Publication, right: &Publication| {
        let (left, right) = std::thread::scope(|scope| {
            let left = scope.spawn(|| anna.publish(left));
            let right = scope.spawn(|| bert.publish(right));
            (left.join().unwrap(), right.join().unwrap())
        });
        for outcome in [left.unwrap(), right.unwrap()] {
            if let Outcome::Published(published) = outcome {
                // The one that came first may find that it is the other's that is served.
                let others = |warning: &String| warning.starts_with("somebody else changed ");
                assert!(published.warnings.iter().all(others), "{:?}", published.warnings);
            }
        }
    };
    // The first of all, when nothing is there; then another set.
    for round in ["first", "second"] {
        let same = publication(&bed.rpms(round, 4), round);
        at_once(&same, &same);
        is_served_whole(&bed, &same);
        assert_eq!(anna.publish(&same).unwrap(), bert.publish(&same).unwrap());
    }
    for round in 0..2 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        let (a, b) = (publication(&bed.rpms(&a, 3), &a), publication(&bed.rpms(&b, 5), &b));
        at_once(&a, &b);
        let record = anna.state(&path()).unwrap().unwrap().record.unwrap();
        is_served_whole(&bed, if record.lock == a.lock { &a } else { &b });
        next_run_succeeds_or_is_there(&bed, &b);
        let (_, staging) = bed
            .server
            .request("GET", &format!("{API}/distributions/rpm/rpm/?name__contains=staging"), None)
            .unwrap();
        assert_eq!(staging["count"], 0, "{staging}");
    }
}

fn next_run_succeeds_or_is_there(bed: &Bed, publication: &Publication) {
    bed.target().publish(publication).unwrap();
    is_served_whole(bed, publication);
}

// What is not sent at all.

#[test]
fn what_is_no_whole_package_is_refused_before_anything_is_sent() {
    let files = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // Nobody listens there: whatever were sent would fail of that.
    let mut settings = Settings::new(url::Url::parse("http://127.0.0.1:9").unwrap());
    settings.patience = Duration::ZERO;
    let client = drivetrain_pulp::Client::new(settings).unwrap();
    let target = PulpTarget::new(client, runtime.handle().clone(), PulpOptions::default());
    let refused = |rpms: &[PathBuf]| {
        let error = target.publish(&publication(rpms, "new")).unwrap_err();
        whole(&error).replace(&files.path().display().to_string(), "FILES")
    };
    let good = rpm(files.path(), "kmod-a", "1", "good", 20_000);
    let truncated = files.path().join("truncated.rpm");
    let bytes = std::fs::read(&good).unwrap();
    std::fs::write(&truncated, &bytes[..bytes.len() - 1000]).unwrap();
    let text = files.path().join("text.rpm");
    std::fs::write(&text, "404 Not Found\n").unwrap();
    let damaged = files.path().join("damaged.rpm");
    let mut changed = bytes;
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&damaged, changed).unwrap();
    insta::assert_snapshot!(refused(&[good.clone(), truncated]), @r"
    a package cannot be published
    caused by: FILES/truncated.rpm: is truncated: it ends within the payload
    caused by: is truncated: it ends within the payload
    ");
    insta::assert_snapshot!(refused(&[good.clone(), text]), @r"
    a package cannot be published
    caused by: FILES/text.rpm: is truncated: it ends within the lead
    caused by: is truncated: it ends within the lead
    ");
    insta::assert_snapshot!(refused(&[good.clone(), damaged]), @r"
    a package cannot be published
    caused by: FILES/damaged.rpm: the payload digest does not match: the file is damaged or truncated
    caused by: the payload digest does not match: the file is damaged or truncated
    ");
    insta::assert_snapshot!(refused(&[good, files.path().join("missing.rpm")]), @r"
    a package cannot be published
    caused by: FILES/missing.rpm: cannot be read
    caused by: cannot be read
    caused by: failed to open file `FILES/missing.rpm`: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(refused(&[]), @"no packages to publish in lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64");
}

// Who may read it.

#[test]
fn what_is_guarded_is_read_back_and_nobody_else_can_read_it() {
    let Some(bed) = bed(Options::default()) else { return };
    let server = &bed.server;
    create(server, "contentguards/core/rbac/", json!({ "name": "people" }));
    let header = json!({ "name": "machines", "header_name": "X-Site", "header_value": "sehr geheim" });
    create(server, "contentguards/core/header/", header);
    let guarded = |guard: &str| PulpOptions { guard: Some(guard.to_owned()), ..PulpOptions::default() };
    let url = |path: &str| format!("{}/pulp/content/{path}/repodata/repomd.xml", server.content_url());

    let user = format!("{}:{}", server.username(), server.password());
    let cases: [(&str, [&str; 2]); 2] =
        [("people", ["--user", &user]), ("machines", ["--header", "X-Site: c2VociBnZWhlaW0="])];
    for (guard, access) in cases {
        let mut new = publication(&bed.rpms(guard, 2), guard);
        new.address = RepositoryPath::parse(&format!("guarded/{guard}")).unwrap().into();
        let target = bed.target_with(bed.settings(), guarded(guard));
        target.ensure(&new.address).unwrap();
        let done = published(target.publish(&new).unwrap());
        assert_eq!(done.warnings, Vec::<String>::new(), "{guard}");
        assert_eq!(target.check(&new.address.path, Depth::Packages).unwrap().packages, 2);
        assert_eq!(read(&url(new.address.path.as_str()), &[]).0, 403, "{guard}");
        assert_eq!(read(&url(new.address.path.as_str()), &access).0, 200, "{guard}");

        // A plain user has to see the guard, and to get past it.
        let name = format!("{guard}-user");
        let mut roles = vec![REPOSITORIES, UPLOADER, PUBLICATIONS, DISTRIBUTIONS];
        roles.extend(match guard {
            "people" => ["core.rbaccontentguard_viewer", "core.rbaccontentguard_downloader"].as_slice(),
            _ => ["core.headercontentguard_viewer"].as_slice(),
        });
        let (_, mut theirs) = as_user(&bed, &name, &roles);
        theirs.rpms.truncate(1);
        let mut settings = bed.settings();
        settings.credentials = Some(Credentials::new(name.as_str(), PASSWORD));
        let done = published(bed.target_with(settings, guarded(guard)).publish(&theirs).unwrap());
        assert_eq!(done.warnings, Vec::<String>::new(), "{name}");
        assert_eq!(read(&url(theirs.address.path.as_str()), &[]).0, 403, "{name}");
    }

    // One that is not there, and one that drivetrain cannot get past: said before a build is paid for.
    let early = |guard: &str| {
        let target = bed.target_with(bed.settings(), guarded(guard));
        seen(&bed, &target.ensure(&path().into()).unwrap_err())
    };
    insta::assert_snapshot!(early("nobody"), @"publish.pulp.content_guard nobody is in the way: not on http://SERVER, or cannot be seen by this user. `pulp content-guard list` shows those that are");
    create(server, "contentguards/core/composite/", json!({ "name": "several", "guards": [] }));
    insta::assert_snapshot!(early("several"), @"http://SERVER has the content guard several of the kind contentguards/core/composite, and drivetrain cannot read back what is behind it: it can get past core/rbac and core/header");
    // Who may see the guard and not get past it is told so, and nothing is served.
    let (_, theirs) = as_user(
        &bed,
        "ines",
        &[REPOSITORIES, UPLOADER, PUBLICATIONS, DISTRIBUTIONS, "core.rbaccontentguard_viewer"],
    );
    let mut settings = bed.settings();
    settings.credentials = Some(Credentials::new("ines", PASSWORD));
    let error = bed.target_with(settings, guarded("people")).publish(&theirs).unwrap_err();
    insta::assert_snapshot!(seen(&bed, &error), @r#"cannot read back what is served: the server says "http://CONTENT/pulp/content/drivetrain-staging/ines-x86_64/run-ines-TIME/ is guarded, and drivetrain is not let in""#);
    assert_eq!(read(&url(theirs.address.path.as_str()), &["--user", &user]).0, 404);
}
