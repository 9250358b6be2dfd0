//! A real Pulp, as the tests and benches of others use it. Where the lab has none these say so and pass.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "each test ends where something fails")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use drivetrain_lab::pulp::{Installation, Options, Release, Server, installed};
use serde_json::json;

const STATUS: &str = "/pulp/api/v3/status/";
const REPOSITORIES: &str = "/pulp/api/v3/repositories/rpm/rpm/";

fn start(installation: &Installation) -> Server {
    Server::start(installation, Options::default()).unwrap()
}

/// The versions of the pins are those that the server says it has.
fn assert_pinned(server: &Server) {
    let release = server.installation().release();
    let (status, body) = server.request("GET", STATUS, None).unwrap();
    assert_eq!(status, 200, "{body}");
    for (component, package) in [("core", "pulpcore"), ("rpm", "pulp-rpm")] {
        let versions = body["versions"].as_array().unwrap();
        let version = versions.iter().find(|entry| entry["component"] == component).unwrap();
        assert_eq!(version["version"].as_str(), release.pinned(package), "{body}");
    }
    assert_eq!(body["online_workers"].as_array().unwrap().len(), 2, "{body}");
}

/// Waits until something holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn answers(url: &str) -> bool {
    TcpStream::connect(url.strip_prefix("http://").unwrap()).is_ok()
}

/// How many processes a program has that work below a directory, or have it in their command line.
fn count(program: &str, directory: &str) -> usize {
    let of_it = |process: &Path| {
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let there = std::fs::read_link(process.join("cwd")).unwrap_or_default();
        line.contains(program) && (line.contains(directory) || there.starts_with(directory))
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| of_it(&entry.path())).count()
}

fn starts_with_what_is_pinned(release: Release) {
    let Some(installation) = installed(release) else { return };
    let started = Instant::now();
    let server = start(&installation);
    println!("{release}: ready after {:.1} s", started.elapsed().as_secs_f64());
    assert_pinned(&server);
    assert!(server.api_log().unwrap().contains(STATUS));

    let directory = server.directory().to_owned();
    assert!(directory.join("data/media").exists());
    for program in ["postgres", "pulpcore-api", "pulpcore-content", "pulpcore-worker"] {
        assert!(count(program, directory.as_str()) > 0, "{program}");
    }
    drop(server);
    assert!(!directory.exists());
    assert_eq!(count("", directory.as_str()), 0);
}

#[test]
fn the_current_pulp_starts_with_what_is_pinned_and_leaves_nothing() {
    starts_with_what_is_pinned(Release::Current);
}

#[test]
fn the_old_pulp_starts_with_what_is_pinned_and_leaves_nothing() {
    starts_with_what_is_pinned(Release::Lts);
}

#[test]
fn two_servers_at_once_know_nothing_of_each_other() {
    let (Some(current), Some(lts)) = (installed(Release::Current), installed(Release::Lts)) else { return };
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| start(&current));
        let other = scope.spawn(|| start(&lts));
        (one.join().unwrap(), other.join().unwrap())
    });
    assert_ne!(one.api_url(), other.api_url());
    assert_ne!(one.content_url(), other.content_url());

    let (status, body) = one.request("POST", REPOSITORIES, Some(&json!({ "name": "mine" }))).unwrap();
    assert_eq!(status, 201, "{body}");
    assert_eq!(one.request("GET", REPOSITORIES, None).unwrap().1["count"], 1);
    assert_eq!(other.request("GET", REPOSITORIES, None).unwrap().1["count"], 0);

    drop(one);
    assert_pinned(&other);
}

/// What `a_server_dies_with_the_process_that_started_it` starts and kills.
#[test]
#[ignore = "started by another test"]
fn holder() {
    let installation = installed(Release::Current).unwrap();
    // The thread that starts it may end before the process does.
    let server = std::thread::spawn(move || start(&installation)).join().unwrap();
    assert_pinned(&server);
    println!("holding {} {}", server.api_url(), server.directory());
    loop {
        std::thread::park();
    }
}

#[test]
fn a_server_dies_with_the_process_that_started_it() {
    if installed(Release::Current).is_none() {
        return;
    }
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holder", "--ignored", "--nocapture"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let held = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("holding ")?.1.to_owned()));
    let held = held.unwrap();
    let (url, directory) = held.split_once(' ').unwrap();
    assert!(answers(url));

    holder.kill().unwrap();
    holder.wait().unwrap();
    eventually("its directory is there", || !Path::new(directory).exists());
    eventually("a process of it is there", || count("", directory) == 0);
    assert!(!answers(url));
}

/// A server with a directory of its own is killed, and opened again.
fn is_kept(release: Release) {
    let Some(installation) = installed(release) else { return };
    let directory = tempfile::tempdir().unwrap();
    let directory = Utf8Path::from_path(directory.path()).unwrap().join("server");
    let open = || Server::open(&installation, &directory, Options::default());

    let server = open().unwrap();
    let (status, body) = server.request("POST", REPOSITORIES, Some(&json!({ "name": "kept" }))).unwrap();
    assert_eq!(status, 201, "{body}");
    let error = open().map(drop).unwrap_err();
    assert!(error.to_string().contains("running"), "{error}");
    drop(server);

    let server = open().unwrap();
    let (status, body) = server.request("GET", REPOSITORIES, None).unwrap();
    assert_eq!((status, &body["results"][0]["name"]), (200, &json!("kept")), "{body}");
}

#[test]
fn the_current_pulp_has_everything_again_after_it_was_killed() {
    is_kept(Release::Current);
}

#[test]
fn the_old_pulp_has_everything_again_after_it_was_killed() {
    is_kept(Release::Lts);
}

/// Every part fails and is put right.
fn is_put_right(release: Release) {
    let Some(installation) = installed(release) else { return };
    let options = Options { fast_auth: true, api_timeout: 30, ..Options::default() };
    let mut server = Server::start(&installation, options).unwrap();

    server.stop_api();
    assert!(!answers(&server.api_url()));
    server.start_api().unwrap();
    server.kill_api();
    assert!(!answers(&server.api_url()));
    server.start_api().unwrap();
    server.restart_api().unwrap();

    server.stop_database();
    assert!(server.sql("SELECT 1").is_err());
    server.start_database().unwrap();
    assert_eq!(server.sql("SELECT 1").unwrap(), "1");

    server.kill_workers();
    assert_eq!(count("pulpcore-worker", server.directory().as_str()), 0);
    server.start_worker(1).unwrap();
    server.start_workers().unwrap();
    server.stop_content();
    assert!(!answers(&server.content_url()));
    server.start_content().unwrap();
    assert_eq!(server.request("GET", REPOSITORIES, None).unwrap().0, 200);
}

#[test]
fn what_fails_of_the_current_pulp_can_be_put_right_again() {
    is_put_right(Release::Current);
}

#[test]
fn what_fails_of_the_old_pulp_can_be_put_right_again() {
    is_put_right(Release::Lts);
}

#[test]
fn a_plain_user_may_do_what_the_roles_say() {
    for release in Release::ALL {
        let Some(installation) = installed(release) else { continue };
        let server = start(&installation);
        server.create_user("courier", "carries-packages-1", &["rpm.rpmrepository_creator"]).unwrap();
        let (_, users) = server.request("GET", "/pulp/api/v3/users/?username=courier", None).unwrap();
        let roles = format!("{}roles/", users["results"][0]["pulp_href"].as_str().unwrap());
        let (_, roles) = server.request("GET", &roles, None).unwrap();
        assert_eq!(roles["results"][0]["role"], "rpm.rpmrepository_creator", "{roles}");
        server.manage(&["check", "--database", "default"]).unwrap();
    }
}

/// What curl prints for a request below the API.
fn curl(server: &Server, path: &str, arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--noproxy", "*", "--output", "/dev/null"])
        .args(arguments)
        .arg(format!("{}/pulp/api/v3/{path}", server.api_url()))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn sessions_end_when_they_are_expired() {
    let Some(installation) = installed(Release::Current) else { return };
    let server = start(&installation);
    let user = format!("{}:{}", server.username(), server.password());
    let headers = curl(&server, "login/", &["--request", "POST", "--dump-header", "-", "--user", &user]);
    let cookie = headers.split_once("sessionid=").unwrap_or_else(|| panic!("{headers}")).1;
    let cookie = format!("sessionid={}", cookie.split(';').next().unwrap());
    let status = || curl(&server, "repositories/", &["--write-out", "%{http_code}", "--cookie", &cookie]);
    assert_eq!(status(), "200");
    server.expire_sessions().unwrap();
    assert_eq!(status(), "401");
}

#[test]
fn options_say_where_packages_are_kept_how_passwords_are_hashed_and_what_else_is_set() {
    for release in Release::ALL {
        let Some(installation) = installed(release) else { continue };
        let directory = tempfile::tempdir().unwrap();
        let media = Utf8Path::from_path(directory.path()).unwrap().to_owned();
        let options = Options {
            media: Some(media.clone()),
            fast_auth: true,
            settings: vec!["ALLOWED_CONTENT_CHECKSUMS = [\"sha256\", \"sha512\"]".to_owned()],
            ..Options::default()
        };
        let server = Server::start(&installation, options).unwrap();
        let user = format!("{}:{}", server.username(), server.password());
        let status = curl(
            &server,
            "artifacts/",
            &["--form", "file=@/proc/self/cmdline", "--user", &user, "--write-out", "%{http_code}"],
        );
        assert_eq!(status, "201");
        assert_eq!(std::fs::read_dir(media.join("artifact")).unwrap().count(), 1);
        assert!(!server.directory().join("data/media/artifact").exists());
        let password = server.sql("SELECT password FROM auth_user WHERE username = 'admin'");
        let password = password.or_else(|_| server.sql("SELECT password FROM core_user")).unwrap();
        assert!(password.starts_with("md5$"), "{password}");
        assert_eq!(server.sql("SELECT count(*) FROM core_artifact WHERE sha384 IS NULL").unwrap(), "1");
    }
}

#[test]
fn a_worker_that_is_killed_takes_with_it_what_it_forked_for_its_task() {
    let Some(installation) = installed(Release::Current) else { return };
    let mut server = start(&installation);
    let create = |path: &str, object| server.request("POST", path, Some(&object)).unwrap().1;
    // It takes connections, and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let remote = create("/pulp/api/v3/remotes/rpm/rpm/", json!({ "name": "silent", "url": url }));
    let repository = create(REPOSITORIES, json!({ "name": "waiting" }));
    let sync = format!("{}sync/", repository["pulp_href"].as_str().unwrap());
    let task = create(&sync, json!({ "remote": remote["pulp_href"] }))["task"].as_str().unwrap().to_owned();

    let workers = |server: &Server| count("pulpcore-worker", server.directory().as_str());
    let idle = workers(&server);
    eventually("the task has no process", || workers(&server) > idle);
    let state = |server: &Server| server.request("GET", &task, None).unwrap().1["state"].clone();
    eventually("the task is not running", || state(&server) == "running");
    let started = Instant::now();
    server.kill_workers();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(workers(&server), 0);
    assert_eq!(state(&server), "running", "nobody is left to say otherwise");
    server.start_workers().unwrap();
}
