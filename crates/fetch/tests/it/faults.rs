//! Answers that are none, and what is said of them.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use drivetrain_fetch::{Problem, Settings, Source};

use crate::server::{Reply, Seen, Server, Step, closed_port};
use crate::support::{Place, bytes, checksum, settings};

async fn error_of(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static, body: &[u8]) -> (String, usize) {
    let server = Server::start(answer).await;
    let place = Place::new();
    let error = place.get(&server.url("a.rpm"), body).await.unwrap_err();
    assert_eq!(place.files(), Vec::<String>::new(), "left after {error}");
    (error.to_string().replace(&server.address.to_string(), "host"), server.seen().len())
}

#[tokio::test]
async fn what_will_not_change_is_asked_once() {
    for (status, text) in [
        ("401 Unauthorized", "the server wants credentials (401 unauthorized); set the user and password"),
        ("403 Forbidden", "the server refuses access (403 forbidden); it may want credentials"),
        ("404 Not Found", "the server does not have it (404 not found); check the URL"),
        ("410 Gone", "the server does not have it (410 gone)"),
        ("407 Proxy Authentication Required", "the proxy wants credentials (407)"),
        ("400 Bad Request", "the server answered 400 bad request; check the URL"),
        ("501 Not Implemented", "the server answered 501 not implemented"),
        ("204 No Content", "the server's answer makes no sense: status 204 no content"),
        ("304 Not Modified", "the server answered 304 not modified"),
        ("206 Partial Content", "the server's answer makes no sense: status 206 partial content"),
    ] {
        let (error, requests) = error_of(move |_| Reply::status(status), b"hello").await;
        let start = "cannot fetch http://host/a.rpm: ";
        assert!(error.starts_with(&format!("{start}{text}")), "{error}");
        assert_eq!(requests, 1, "{error}");
    }
}

#[tokio::test]
async fn rejected_credentials_are_said_to_be_and_not_shown() {
    let server = Server::start(|_| Reply::status("401 Unauthorized")).await;
    let place = Place::new();
    let credentials = drivetrain_fetch::Credentials::new("me", "hunter2");
    let source = Source::parse(&server.url("a")).unwrap().with_credentials(Some(credentials));
    let error = place.downloader.download(&source, &checksum(b"x"), None, &|_| {}).await.unwrap_err();
    assert!(error.to_string().contains("rejected the credentials (401 unauthorized)"), "{error}");
    assert!(!format!("{error} {error:?} {source:?}").contains("hunter2"));
    assert_eq!(server.seen()[0].header("authorization"), Some("Basic bWU6aHVudGVyMg=="));
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for status in
        ["500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable", "429 Too Many Requests"]
    {
        let body = bytes(1000);
        let sent = body.clone();
        let server = Server::start(move |seen| match seen.number {
            0 | 1 => Reply::status(status),
            _ => Reply::file(seen, &sent, None),
        })
        .await;
        Place::new().get(&server.url("a"), &body).await.unwrap();
        assert_eq!(server.seen().len(), 3);
    }
}

#[tokio::test]
async fn patience_ends() {
    let (error, requests) = error_of(|_| Reply::status("500 Internal Server Error"), b"hello").await;
    assert_eq!(
        error,
        "cannot fetch http://host/a.rpm after 4 tries: the server answered 500 internal server error; the \
         fault is the server's: try later, or use a mirror"
    );
    assert_eq!(requests, 4);
}

#[tokio::test]
async fn retry_after_is_heeded_up_to_a_limit() {
    let server = Server::start(move |seen| match seen.number {
        0 => Reply::status("429 Too Many Requests").with("Retry-After", "1"),
        _ => Reply::file(seen, b"hello", None),
    })
    .await;
    let begun = Instant::now();
    Place::new().get(&server.url("a"), b"hello").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));

    let answer = |_: &Seen| Reply::status("503 Service Unavailable").with("Retry-After", "86400");
    let (error, requests) = error_of(answer, b"hello").await;
    assert!(error.ends_with("503 service unavailable and asks to wait 86400 s"), "{error}");
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn slow_is_not_stalled() {
    let body = bytes(12);
    let sent = body.clone();
    let server = Server::start(move |_| {
        let steps =
            sent.iter().flat_map(|byte| [Step::Send(vec![*byte]), Step::Pause(Duration::from_millis(100))]);
        Reply::new("200 OK", &[("Content-Length", "12")], steps.collect())
    })
    .await;
    let begun = Instant::now();
    Place::new().get(&server.url("a"), &body).await.unwrap();
    assert!(begun.elapsed() > settings().stall_timeout * 2);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_stalled_body_ends_and_says_where() {
    let answer = |seen: &Seen| {
        Reply::file(seen, &bytes(1000), None).cut(100 - seen.start().unwrap_or(0)).then(Step::Pause(LONG))
    };
    let server = Server::start(answer).await;
    let place = Place::with(Settings { tries: 2, ..settings() });
    let begun = Instant::now();
    let error = place.get(&server.url("a"), &bytes(1000)).await.unwrap_err();
    assert!(begun.elapsed() < LONG / 2);
    assert!(error.to_string().contains("nothing came for 0.4 s (at byte 100)"), "{error}");
    assert_eq!(fs_err::metadata(place.part(&bytes(1000))).unwrap().len(), 100);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = Server::start(|seen| Reply::file(seen, b"", None)).await;
    // Accepts and never writes a head: a listener that nobody serves.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = Place::with(Settings { tries: 1, connect_timeout: Duration::from_millis(200), ..settings() });
    let url = format!("http://{}/a", listener.local_addr().unwrap());
    let error = place.get(&url, b"hello").await.unwrap_err();
    assert!(matches!(*error.problem, Problem::Stalled { at: 0, .. }), "{error}");
    drop(server);
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn more_than_promised_ends_at_once() {
    let flood = |_: &Seen| Reply::new("200 OK", &[("Transfer-Encoding", "chunked")], vec![Step::Flood]);
    let (error, requests) = error_of(flood, &bytes(100_000)).await;
    assert!(error.contains("it has more bytes and should have 100000"), "{error}");
    assert_eq!(requests, 1);

    let (error, requests) = error_of(|_| Reply::body(&bytes(2000)), &bytes(1000)).await;
    assert!(error.contains("it has 2000 bytes and should have 1000"), "{error}");
    assert_eq!(requests, 1);

    let (error, _) = error_of(|_| Reply::body(&bytes(500)), &bytes(1000)).await;
    assert!(error.contains("it has 500 bytes and should have 1000"), "{error}");
}

#[tokio::test]
async fn a_file_of_unknown_size_has_a_limit() {
    let place = Place::new();
    let cache = place.cache();
    for steps in [vec![Step::Flood], vec![]] {
        let length =
            if steps.is_empty() { ("Content-Length", "9999999") } else { ("Transfer-Encoding", "chunked") };
        let steps = Mutex::new(Some(steps));
        let server =
            Server::start(move |_| Reply::new("200 OK", &[length], steps.lock().unwrap().take().unwrap()))
                .await;
        let source = Source::parse(&server.url("a")).unwrap();
        let error = cache.get_checked(&source, &checksum(b"x"), None, 50_000, &|_| {}).await.unwrap_err();
        assert!(matches!(*error.problem, Problem::TooLarge { limit: 50_000 }), "{error}");
        let size = Some(50_001);
        let error = cache.get_checked(&source, &checksum(b"x"), size, 50_000, &|_| {}).await.unwrap_err();
        assert!(matches!(*error.problem, Problem::TooLarge { limit: 50_000 }), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
    assert_eq!(place.files(), Vec::<String>::new());
}

#[tokio::test]
async fn wrong_bytes_never_reach_the_store() {
    let (error, requests) = error_of(|seen| Reply::file(seen, b"jello", None), b"hello").await;
    assert!(error.contains("its checksum is sha256:"), "{error}");
    assert!(error.contains(&format!("should be {}", checksum(b"hello"))), "{error}");
    assert_eq!(requests, 1);

    let login = |seen: &Seen| {
        Reply::file(seen, b"<html>log in", None).with("Content-Type", "text/html; charset=utf-8")
    };
    let (error, _) = error_of(login, b"hello").await;
    assert!(error.contains("it has 12 bytes and should have 5; the answer is an HTML page"), "{error}");
}

#[tokio::test]
async fn no_connection_and_no_name_are_told_apart() {
    let place = Place::with(Settings { tries: 2, ..settings() });
    let error = place.get(&format!("http://{}/a", closed_port().await), b"x").await.unwrap_err();
    assert!(matches!(*error.problem, Problem::Connect { .. }), "{error}");
    assert!(error.to_string().contains("after 2 tries: cannot connect (Connection refused"), "{error}");
    let error = place.get("http://no-such-host.invalid/a", b"x").await.unwrap_err();
    assert!(matches!(*error.problem, Problem::Dns { .. }), "{error}");
    assert!(error.to_string().contains("the host no-such-host.invalid was not found"), "{error}");
}

#[tokio::test]
async fn something_that_is_no_http_server_is_survived() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            use tokio::io::AsyncWriteExt;
            drop(stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await);
        }
    });
    let error = Place::new().get(&url, b"x").await.unwrap_err();
    assert!(matches!(*error.problem, Problem::Truncated { .. }), "{error:?}");
    task.abort();
}
