//! Many files at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use drivetrain_fetch::{Progress, Request, Source};

use crate::server::{Reply, Server, Step};
use crate::support::{Place, checksum};

fn requests(server: &Server, names: impl IntoIterator<Item = String>) -> Vec<Request> {
    names
        .into_iter()
        .map(|name| Request {
            source: Source::parse(&server.url(&name)).unwrap(),
            checksum: checksum(format!("/{name}").as_bytes()),
            size: None,
        })
        .collect()
}

#[tokio::test]
async fn so_many_at_a_time_and_in_order() {
    let server = Server::start(|seen| {
        let steps =
            vec![Step::Pause(Duration::from_millis(20)), Step::Send(seen.target.clone().into_bytes())];
        Reply::new("200 OK", &[], steps)
    })
    .await;
    let place = Place::new();
    let requests = requests(&server, (0..20).map(|n| format!("file{n}")));
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let progress = |_: &Request, progress: Progress<'_>| match progress {
        Progress::Started { .. } => {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        }
        Progress::Finished { .. } => {
            running.fetch_sub(1, Ordering::SeqCst);
        }
        _ => {}
    };
    let fetched = place.downloader.download_all(&requests, 3, &progress).await.unwrap();
    assert_eq!(most.into_inner(), 3);
    for (n, file) in fetched.iter().enumerate() {
        assert_eq!(fs_err::read_to_string(&file.path).unwrap(), format!("/file{n}"));
    }
    assert_eq!(fetched.len(), 20);
}

#[tokio::test]
async fn one_run_shows_all_that_is_missing() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/b" | "/d" => Reply::status("404 Not Found"),
        _ => Reply::file(seen, seen.target.as_bytes(), None),
    })
    .await;
    let place = Place::new();
    let requests = requests(&server, ["a", "b", "c", "d", "e"].map(str::to_owned));
    let errors = place.downloader.download_all(&requests, 1, &|_, _| {}).await.unwrap_err();
    assert!(errors.first.url.ends_with("/b"));
    assert_eq!((errors.others.len(), errors.not_tried), (1, 0));
    assert_eq!(errors.to_string().lines().count(), 2);
    assert_eq!(place.files().len(), 3);
}

#[tokio::test]
async fn rejected_credentials_are_not_tried_on_every_file() {
    let server = Server::start(|_| Reply::status("401 Unauthorized")).await;
    let requests = requests(&server, (0..10).map(|n| n.to_string()));
    let errors = Place::new().downloader.download_all(&requests, 2, &|_, _| {}).await.unwrap_err();
    assert!(server.seen().len() <= 3, "{}", server.seen().len());
    assert_eq!(1 + errors.others.len() + errors.not_tried, 10);
    assert!(errors.to_string().ends_with("more files were not tried"), "{errors}");
}

/// The future must be fit for `tokio::spawn`.
#[tokio::test]
async fn a_batch_can_be_a_task() {
    let place = Place::new();
    let downloader = place.downloader.clone();
    let task = tokio::spawn(async move { downloader.download_all(&[], 4, &|_, _| {}).await });
    assert_eq!(task.await.unwrap().unwrap(), []);
}
