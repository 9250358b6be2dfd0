//! Redirects, and where credentials go.

use drivetrain_fetch::{Credentials, FetchError, Fetched, Problem, RedirectProblem, Source};

use crate::server::{Reply, Server};
use crate::support::{Place, checksum};

const BASIC: Option<&str> = Some("Basic bWU6aHVudGVyMg==");

fn to(location: &str) -> Reply {
    Reply::new("302 Found", &[("Location", location), ("Content-Length", "0")], vec![])
}

async fn get(place: &Place, url: &str) -> Result<Fetched, FetchError> {
    let source = Source::parse(url).unwrap().with_credentials(Some(Credentials::new("me", "hunter2")));
    place.downloader.download(&source, &checksum(b"hello"), Some(5), &|_| {}).await
}

#[tokio::test]
async fn credentials_do_not_leave_their_host() {
    let other = Server::start(|seen| Reply::file(seen, b"hello", None)).await;
    let target = other.url("signed?token=1");
    let server = Server::start(move |_| to(&target)).await;
    get(&Place::new(), &server.url("a")).await.unwrap();
    assert_eq!(server.seen()[0].header("authorization"), BASIC);
    assert_eq!(other.seen()[0].target, "/signed?token=1");
    assert_eq!(other.seen()[0].header("authorization"), None);
    assert_eq!(other.seen()[0].header("referer"), None);
}

#[tokio::test]
async fn credentials_come_back_with_their_host() {
    // Away and back: what is sent is decided by each hop's own host.
    let home = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let back = std::sync::Arc::clone(&home);
    let other = Server::start(move |_| to(back.get().unwrap())).await;
    let away = other.url("x");
    let server = Server::start(move |seen| match seen.number {
        0 => to(&away),
        _ => Reply::file(seen, b"hello", None),
    })
    .await;
    home.set(server.url("home")).unwrap();
    get(&Place::new(), &server.url("a")).await.unwrap();
    let sent: Vec<_> =
        server.seen().iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect();
    assert_eq!(sent, [BASIC.map(str::to_owned), BASIC.map(str::to_owned)]);
    assert_eq!(other.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn relative_redirects_on_one_host_keep_credentials() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/repo/a" => to("b?c=d"),
        _ => Reply::file(seen, b"hello", None),
    })
    .await;
    get(&Place::new(), &server.url("repo/a")).await.unwrap();
    assert_eq!(server.seen()[1].target, "/repo/b?c=d");
    assert_eq!(server.seen()[1].header("authorization"), BASIC);
}

#[tokio::test]
async fn a_server_cannot_choose_credentials() {
    let other = Server::start(|seen| Reply::file(seen, b"hello", None)).await;
    let target = format!("http://evil:secret@{}/x", other.address);
    let server = Server::start(move |_| to(&target)).await;
    get(&Place::new(), &server.url("a")).await.unwrap();
    assert_eq!(other.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_host_that_wants_what_was_withheld_is_named() {
    let other = Server::start(|_| Reply::status("401 Unauthorized")).await;
    let target = other.url("x");
    let server = Server::start(move |_| to(&target)).await;
    let error = get(&Place::new(), &server.url("a")).await.unwrap_err();
    assert!(error.to_string().contains("redirects to 127.0.0.1, which wants credentials"), "{error}");
}

#[tokio::test]
async fn five_redirects_are_followed_and_no_more() {
    for (redirects, followed) in [(5, true), (6, false)] {
        let server = Server::start(move |seen| match seen.number {
            number if number < redirects => to("/next"),
            _ => Reply::file(seen, b"hello", None),
        })
        .await;
        let result = get(&Place::new(), &server.url("a")).await;
        assert_eq!(result.is_ok(), followed);
        assert_eq!(server.seen().len(), 6);
        if let Err(error) = result {
            assert!(error.to_string().ends_with("the server redirects more than 5 times; check the URL"));
        }
    }
}

#[tokio::test]
async fn redirects_to_files_or_nowhere_are_refused() {
    for (reply, text) in [
        (to as fn(&str) -> Reply, "to file:///etc/passwd, which is no http or https URL"),
        (|_| Reply::status("302 Found"), "without saying where to"),
    ] {
        let server = Server::start(move |_| reply("file:///etc/passwd")).await;
        let error = get(&Place::new(), &server.url("a")).await.unwrap_err();
        assert!(matches!(*error.problem, Problem::Redirect(_)), "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
    assert_eq!(RedirectProblem::Missing.to_string(), "without saying where to");
}
