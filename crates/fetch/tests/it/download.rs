//! Files that arrive, and those that were there.

use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;
use drivetrain_fetch::{Problem, Source};
use drivetrain_model::{Checksum, ChecksumAlgorithm};

use crate::server::{Reply, Server};
use crate::support::{Place, Told, bytes, checksum};

#[tokio::test]
async fn a_file_arrives_whole_read_only_and_once() {
    let body = bytes(700_000);
    let sent = body.clone();
    let server = Server::start(move |seen| Reply::file(seen, &sent, Some("\"a\""))).await;
    let place = Place::new();
    let fetched = place.get(&server.url("a.rpm"), &body).await.unwrap();
    assert!(!fetched.from_cache);
    assert_eq!(fetched.size, 700_000);
    assert_eq!(fetched.path, place.store().path(&checksum(&body)));
    assert_eq!(fs_err::read(&fetched.path).unwrap(), body);
    assert_eq!(fs_err::metadata(&fetched.path).unwrap().permissions().mode() & 0o777, 0o444);
    assert_eq!(place.files().len(), 1, "{:?}", place.files());
    assert!(place.get(&server.url("a.rpm"), &body).await.unwrap().from_cache);
    assert!(place.get_unsized(&server.url("b.rpm"), &body).await.unwrap().from_cache);
    assert_eq!(server.seen().len(), 1);
    assert_eq!(server.seen()[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn a_stored_file_of_the_wrong_size_is_fetched_again() {
    let body = bytes(1000);
    let sent = body.clone();
    let server = Server::start(move |seen| Reply::file(seen, &sent, None)).await;
    let place = Place::new();
    let path = place.store().path(&checksum(&body));
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(&path, b"cut short by a power failure").unwrap();
    place.get(&server.url("a"), &body).await.unwrap();
    place.store().verify(&checksum(&body)).unwrap();
}

#[tokio::test]
async fn a_stored_file_that_was_damaged_is_told_of_and_fetched_again() {
    let body = bytes(1000);
    let sent = body.clone();
    let server = Server::start(move |seen| Reply::file(seen, &sent, None)).await;
    let place = Place::new();
    let original = place.root.join("original.rpm");
    fs_err::write(&original, &body).unwrap();
    let mut flipped = body.clone();
    flipped[500] ^= 1;
    let path = place.store().path(&checksum(&body));
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    for url in [server.url("a"), Source::file(&original).unwrap().url().to_string()] {
        for damaged in [&flipped[..], &body[..999], b""] {
            for size in [Some(1000), None] {
                fs_err::write(&path, damaged).unwrap();
                // As another process finds it: this one remembers what it has brought.
                let later = place.reopened();
                let told = Told::default();
                let tell = |progress: drivetrain_fetch::Progress<'_>| told.tell(&progress);
                let source = Source::parse(&url).unwrap();
                let fetched = later.download(&source, &checksum(&body), size, &tell).await.unwrap();
                assert!(!fetched.from_cache);
                assert_eq!(fs_err::read(&fetched.path).unwrap(), body);
                assert!(told.lines()[0].starts_with("Damaged"), "{:?}", told.lines());
                fs_err::remove_file(&fetched.path).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let server = Server::start(|seen| Reply::file(seen, b"", None)).await;
    let place = Place::new();
    assert_eq!(place.get_unsized(&server.url("a"), b"").await.unwrap().size, 0);
    assert_eq!(Place::new().get(&server.url("a"), b"").await.unwrap().size, 0);
}

#[tokio::test]
async fn other_checksums_than_sha256_are_followed() {
    let server = Server::start(|seen| Reply::file(seen, b"abc", None)).await;
    let place = Place::new();
    let source = Source::parse(&server.url("a")).unwrap();
    let sha384 = Checksum {
        algorithm: ChecksumAlgorithm::Sha384,
        hex: "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
              8086072ba1e7cc2358baeca134c825a7"
            .to_owned(),
    };
    let fetched = place.downloader.download(&source, &sha384, Some(3), &|_| {}).await.unwrap();
    assert!(fetched.path.as_str().contains("/sha384/cb/cb00753f"), "{}", fetched.path);
}

#[tokio::test]
async fn what_is_compressed_stays_compressed() {
    // Some servers say this of every .gz file. The checksum is over the compressed bytes.
    let body = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let server =
        Server::start(move |seen| Reply::file(seen, &body, None).with("Content-Encoding", "gzip")).await;
    let place = Place::new();
    let fetched = place.get(&server.url("primary.xml.gz"), &body).await.unwrap();
    assert_eq!(fs_err::read(fetched.path).unwrap(), body);
    let source = Source::parse(&server.url("primary.xml.gz")).unwrap();
    assert_eq!(place.cache().get(&source, 1000).await.unwrap().bytes, body);
}

#[tokio::test]
async fn callers_for_one_file_share_one_transfer() {
    let body = bytes(300_000);
    let sent = body.clone();
    let server = Server::start(move |seen| Reply::file(seen, &sent, None)).await;
    let place = Place::new();
    let url = server.url("a");
    let (a, b, c) = tokio::join!(place.get(&url, &body), place.get(&url, &body), place.get(&url, &body));
    let cached = [a, b, c].into_iter().filter(|result| result.as_ref().unwrap().from_cache).count();
    assert_eq!((cached, server.seen().len()), (2, 1));
    assert_eq!(place.files().len(), 1, "{:?}", place.files());
}

#[tokio::test]
async fn progress_tells_what_happens() {
    let body = bytes(1000);
    let sent = body.clone();
    let server = Server::start(move |seen| match seen.number {
        0 => Reply::status("503 Service Unavailable"),
        _ => Reply::file(seen, &sent, None),
    })
    .await;
    let place = Place::new();
    let told = Told::default();
    let source = Source::parse(&server.url("a")).unwrap();
    let tell = |progress: drivetrain_fetch::Progress<'_>| told.tell(&progress);
    place.downloader.download(&source, &checksum(&body), Some(1000), &tell).await.unwrap();
    assert_eq!(
        told.lines(),
        [
            "Started { resumed_at: 0, size: Some(1000) }",
            "retrying: the server answered 503 service unavailable; the fault is the server's: try later, or \
             use a mirror",
            "Finished { size: 1000, from_cache: false }",
        ]
    );
}

#[tokio::test]
async fn local_files_are_copied_and_checked() {
    let place = Place::new();
    let body = bytes(500_000);
    let input = place.root.join("in put.rpm");
    fs_err::write(&input, &body).unwrap();
    let source = Source::file(&input).unwrap();
    let fetched = place.get(source.url().as_str(), &body).await.unwrap();
    fs_err::write(&input, b"changed later").unwrap();
    assert_eq!(fs_err::read(&fetched.path).unwrap(), body);
    assert_eq!(fs_err::metadata(&input).unwrap().permissions().mode() & 0o200, 0o200);
    assert_eq!(place.files().len(), 1);
    assert!(place.get(source.url().as_str(), &body).await.unwrap().from_cache);

    let size = place.get(source.url().as_str(), b"another file").await.unwrap_err();
    assert!(matches!(*size.problem, Problem::Size { expected: 12, got: Some(13), .. }), "{size}");
    let wrong = place.get(source.url().as_str(), b"changed lateR").await.unwrap_err();
    assert!(matches!(*wrong.problem, Problem::Checksum { .. }), "{wrong}");
    for (path, text) in [("/nosuch/file", "No such file"), ("/tmp", "/tmp is not a regular file")] {
        let source = Source::file(Utf8Path::new(path)).unwrap();
        let error = place.get(source.url().as_str(), &bytes(9)).await.unwrap_err().to_string();
        assert!(error.contains(path) && error.contains(text), "{error}");
    }
    assert_eq!(place.files().len(), 1, "{:?}", place.files());
}
