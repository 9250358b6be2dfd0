//! Processes that are killed, that race, and that have no room. Each is this test program again, with
//! `child` as its only test.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_fetch::{Downloader, Http, Settings, Source, Store};
use drivetrain_model::Checksum;

use crate::server::{Reply, Server, Step};
use crate::support::{Place, bytes, checksum, files, settings};

/// Not a test: what the child processes do.
#[tokio::test]
#[ignore = "started by the other tests"]
async fn child() {
    let Ok(url) = std::env::var("FETCH_URL") else { return };
    let variable = |name| std::env::var(name).unwrap();
    let settings = Settings {
        stall_timeout: Duration::from_secs(30),
        proxy_from_environment: std::env::var("http_proxy").is_ok(),
        ..settings()
    };
    let store = Store::open(variable("FETCH_STORE")).unwrap();
    let root = store.root().to_owned();
    let checksum = Checksum::parse("sha256", &variable("FETCH_SHA256")).unwrap();
    let size = std::env::var("FETCH_SIZE").ok().map(|size| size.parse().unwrap());
    let source = Source::parse(&url).unwrap();
    let result =
        Downloader::new(Http::new(settings), store).download(&source, &checksum, size, &|_| {}).await;
    let text = match result {
        Ok(fetched) => format!("ok cached={} {}", fetched.from_cache, fetched.size),
        Err(error) => format!("{error}\n{}", files(&root).join("\n")),
    };
    fs_err::write(variable("FETCH_RESULT"), text).unwrap();
}

struct Job {
    url: String,
    store: Utf8PathBuf,
    body: Vec<u8>,
    result: Utf8PathBuf,
    size: bool,
}

impl Job {
    fn command(&self, mut command: Command) -> Command {
        command
            .args(["--exact", "processes::child", "--ignored"])
            .env("FETCH_URL", &self.url)
            .env("FETCH_STORE", &self.store)
            .env("FETCH_SHA256", checksum(&self.body).hex)
            .env("FETCH_RESULT", &self.result)
            .stdout(Stdio::null());
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"] {
            command.env_remove(name);
        }
        if self.size {
            command.env("FETCH_SIZE", self.body.len().to_string());
        }
        command
    }

    fn start(&self) -> Child {
        self.command(Command::new(std::env::current_exe().unwrap())).spawn().unwrap()
    }

    fn result(&self) -> String {
        fs_err::read_to_string(&self.result).unwrap()
    }
}

async fn ended(mut child: Child) -> ExitStatus {
    tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap()
}

async fn grown(path: &Utf8Path, length: u64) {
    while fs_err::metadata(path).map_or(0, |metadata| metadata.len()) < length {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_killed_download_goes_on_where_it_was() {
    let body = bytes(400_000);
    let sent = body.clone();
    let server = Server::start(move |seen| {
        let reply = Reply::file(seen, &sent, Some("\"a\""));
        if seen.number == 0 { reply.cut(250_000).then(Step::Pause(Duration::from_secs(60))) } else { reply }
    })
    .await;
    let place = Place::new();
    let job = Job {
        url: server.url("a"),
        store: place.store().root().to_owned(),
        body: body.clone(),
        result: place.root.join("result"),
        size: true,
    };
    let mut child = job.start();
    grown(&place.part(&body), 250_000).await;
    child.kill().unwrap(); // SIGKILL
    ended(child).await;
    assert!(!place.store().contains(&checksum(&body), None));
    let fetched = place.get(&job.url, &body).await.unwrap();
    assert_eq!(fs_err::read(fetched.path).unwrap(), body);
    assert_eq!(server.seen()[1].start(), Some(250_000));
    assert_eq!(server.seen()[1].header("if-range"), Some("\"a\""));
    assert_eq!(place.files().len(), 1, "{:?}", place.files());
}

#[tokio::test]
async fn two_processes_transfer_one_file_once() {
    let body = bytes(200_000);
    let sent = body.clone();
    let server = Server::start(move |_| {
        let (first, rest) = sent.split_at(100_000);
        let pause = Step::Pause(Duration::from_millis(600));
        let steps = vec![Step::Send(first.to_vec()), pause, Step::Send(rest.to_vec())];
        Reply::new("200 OK", &[("Content-Length", "200000")], steps)
    })
    .await;
    let place = Place::new();
    let jobs = ["one", "two", "three"].map(|name| Job {
        url: server.url("a"),
        store: place.store().root().to_owned(),
        body: body.clone(),
        result: place.root.join(name),
        size: true,
    });
    let children = jobs.each_ref().map(Job::start);
    for child in children {
        assert!(ended(child).await.success());
    }
    let mut results = jobs.each_ref().map(Job::result);
    results.sort();
    assert_eq!(results, ["ok cached=false 200000", "ok cached=true 200000", "ok cached=true 200000"]);
    assert_eq!(server.seen().len(), 1);
    assert_eq!(place.files().len(), 1, "{:?}", place.files());
}

#[tokio::test]
async fn when_the_first_is_killed_the_second_takes_over() {
    let body = bytes(200_000);
    let sent = body.clone();
    let server = Server::start(move |seen| {
        let reply = Reply::file(seen, &sent, None);
        if seen.number == 0 { reply.cut(80_000).then(Step::Pause(Duration::from_secs(60))) } else { reply }
    })
    .await;
    let place = Place::new();
    let job = Job {
        url: server.url("a"),
        store: place.store().root().to_owned(),
        body: body.clone(),
        result: place.root.join("result"),
        size: true,
    };
    let mut child = job.start();
    grown(&place.part(&body), 80_000).await;
    let told = crate::support::Told::default();
    let source = Source::parse(&job.url).unwrap();
    let sum = checksum(&body);
    let tell = |progress: drivetrain_fetch::Progress<'_>| told.tell(&progress);
    let second = place.downloader.download(&source, &sum, Some(200_000), &tell);
    let kill = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        child.kill().unwrap();
        ended(child).await;
    };
    let (second, ()) = tokio::join!(second, kill);
    assert_eq!(fs_err::read(second.unwrap().path).unwrap(), body);
    assert_eq!(
        told.lines(),
        [
            "Waiting",
            "Started { resumed_at: 80000, size: Some(200000) }",
            "Finished { size: 200000, from_cache: false }"
        ]
    );
}

/// A file system of 256 KiB, in a mount namespace that ends with the child.
#[tokio::test]
async fn a_full_disk_is_told_with_its_numbers_and_left_clean() {
    let probe = Command::new("unshare").args(["-m", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        println!("skipped: making a mount namespace is not permitted here");
        return;
    }
    let body = bytes(1_000_000);
    let sent = body.clone();
    // Announced: refused before a byte is read. Not announced: found out while writing.
    for (announced, needed) in [(true, "976.6 KiB more needed, "), (false, "")] {
        let sent = sent.clone();
        let server = Server::start(move |_| {
            if announced {
                return Reply::body(&sent);
            }
            Reply::new("200 OK", &[], vec![Step::Send(sent.clone())])
        })
        .await;
        let place = Place::new();
        let mount = place.root.join("small");
        fs_err::create_dir(&mount).unwrap();
        let job = Job {
            url: server.url("a"),
            store: mount.join("store"),
            body: body.clone(),
            result: place.root.join("result"),
            size: false,
        };
        let mut shell = Command::new("unshare");
        shell.args(["-m", "sh", "-c"]);
        shell.arg(format!("mount -t tmpfs -o size=256k tmpfs '{mount}' && exec \"$0\" \"$@\""));
        shell.arg(std::env::current_exe().unwrap());
        assert!(ended(job.command(shell).spawn().unwrap()).await.success());
        let result = job.result();
        let (error, left) = result.split_once('\n').unwrap();
        let expected = format!("there is no room on the file system mounted at {mount}: {needed}");
        assert!(error.contains(&expected), "{error}");
        assert!(!left.contains("sha256/") && !left.contains(".part"), "left: {left}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn the_environment_names_the_proxy() {
    let proxy = Server::start(|seen| Reply::file(seen, b"hello", None)).await;
    let place = Place::new();
    let job = Job {
        url: "http://repo.invalid/a".to_owned(),
        store: place.store().root().to_owned(),
        body: b"hello".to_vec(),
        result: place.root.join("result"),
        size: true,
    };
    let mut command = job.command(Command::new(std::env::current_exe().unwrap()));
    command.env("http_proxy", format!("http://{}", proxy.address));
    assert!(ended(command.spawn().unwrap()).await.success());
    assert_eq!(job.result(), "ok cached=false 5");
    assert_eq!(proxy.seen()[0].target, "http://repo.invalid/a");
}
