//! Small files that change under one URL.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use drivetrain_fetch::{Problem, Source};

use crate::server::{Reply, Server};
use crate::support::{Place, bytes, checksum, files};

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let version = Arc::new(AtomicUsize::new(1));
    let current = Arc::clone(&version);
    let server = Server::start(move |seen| {
        let version = current.load(Ordering::Relaxed);
        let etag = format!("\"v{version}\"");
        if seen.header("if-none-match") == Some(&etag) {
            return Reply::new("304 Not Modified", &[("ETag", &etag)], vec![]);
        }
        Reply::body(format!("repomd {version}").as_bytes()).with("ETag", &etag)
    })
    .await;
    let place = Place::new();
    let source = Source::parse(&server.url("repomd.xml")).unwrap();
    for (version_now, from_cache) in [(1, false), (1, true), (2, false), (2, true)] {
        version.store(version_now, Ordering::Relaxed);
        // Each time as a new process would.
        let cached = place.cache().get(&source, 1000).await.unwrap();
        assert_eq!(cached.bytes, format!("repomd {version_now}").into_bytes());
        assert_eq!(cached.from_cache, from_cache);
    }
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn a_date_serves_where_there_is_no_tag() {
    const DATE: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
    let server = Server::start(|seen| match seen.header("if-modified-since") {
        Some(DATE) => Reply::new("304 Not Modified", &[], vec![]),
        _ => Reply::body(b"repomd").with("Last-Modified", DATE),
    })
    .await;
    let place = Place::new();
    let source = Source::parse(&server.url("repomd.xml")).unwrap();
    assert!(!place.cache().get(&source, 1000).await.unwrap().from_cache);
    assert!(place.cache().get(&source, 1000).await.unwrap().from_cache);
}

#[tokio::test]
async fn a_spoilt_entry_is_as_good_as_none() {
    let server = Server::start(|seen| match seen.header("if-none-match") {
        Some(_) => Reply::new("304 Not Modified", &[], vec![]),
        None => Reply::body(b"repomd").with("ETag", "\"a\""),
    })
    .await;
    let place = Place::new();
    let cache = place.cache();
    let source = Source::parse(&server.url("repomd.xml?key=secret")).unwrap();
    cache.get(&source, 1000).await.unwrap();
    let names = files(&place.root.join("cache"));
    assert_eq!(names.len(), 1);
    let entry = place.root.join("cache").join(&names[0]);
    let good = fs_err::read(&entry).unwrap();
    assert!(!String::from_utf8_lossy(&good).contains("secret"));
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for spoilt in [&flipped[..], &good[..good.len() - 1], &good[..10], b"", b"\n", b"{}\n"] {
        fs_err::write(&entry, spoilt).unwrap();
        let cached = cache.get(&source, 1000).await.unwrap();
        assert_eq!((cached.bytes.as_slice(), cached.from_cache), (&b"repomd"[..], false));
    }
    assert!(cache.get(&source, 1000).await.unwrap().from_cache);
}

#[tokio::test]
async fn an_unexpected_304_is_no_content() {
    let server = Server::start(|_| Reply::new("304 Not Modified", &[], vec![])).await;
    let source = Source::parse(&server.url("repomd.xml")).unwrap();
    let error = Place::new().cache().get(&source, 1000).await.unwrap_err();
    assert!(matches!(*error.problem, Problem::Protocol(_)), "{error}");
}

#[tokio::test]
async fn metadata_has_a_limit_and_is_tried_again() {
    let server = Server::start(|seen| match seen.number {
        0 => Reply::status("503 Service Unavailable"),
        1 => Reply::body(&bytes(1000)).cut(400),
        _ => Reply::body(&bytes(1000)),
    })
    .await;
    let place = Place::new();
    let source = Source::parse(&server.url("repomd.xml")).unwrap();
    assert_eq!(place.cache().get(&source, 1000).await.unwrap().bytes, bytes(1000));
    let error = place.cache().get(&source, 999).await.unwrap_err();
    assert!(matches!(*error.problem, Problem::TooLarge { limit: 999 }), "{error}");
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn local_metadata_is_read_directly() {
    let place = Place::new();
    let path = place.root.join("repomd.xml");
    let source = Source::file(&path).unwrap();
    for content in ["one", "two"] {
        fs_err::write(&path, content).unwrap();
        let cached = place.cache().get(&source, 3).await.unwrap();
        assert_eq!((cached.bytes.as_slice(), cached.from_cache), (content.as_bytes(), false));
    }
    assert!(place.cache().get(&source, 2).await.is_err());
    fs_err::remove_file(&path).unwrap();
    let error = place.cache().get(&source, 2).await.unwrap_err().to_string();
    assert!(error.contains("repomd.xml") && error.contains("No such file"), "{error}");
}

#[tokio::test]
async fn what_has_a_checksum_is_never_asked_for_twice() {
    let body = bytes(5000);
    let sent = body.clone();
    let server = Server::start(move |seen| Reply::file(seen, &sent, None)).await;
    let place = Place::new();
    let source = Source::parse(&server.url("primary.xml.zst")).unwrap();
    for from_cache in [false, true] {
        let fetched =
            place.cache().get_checked(&source, &checksum(&body), None, 5000, &|_| {}).await.unwrap();
        assert_eq!(fetched.from_cache, from_cache);
    }
    assert_eq!(server.seen().len(), 1);
}
