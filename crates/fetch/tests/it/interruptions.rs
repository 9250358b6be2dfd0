//! Transfers that break off, and what becomes of the bytes that had come.

use std::time::Duration;

use drivetrain_fetch::{Problem, Source};
use proptest::prelude::*;

use crate::server::{Reply, Seen, Server, Step};
use crate::support::{Place, bytes, checksum};

#[tokio::test]
async fn a_transfer_goes_on_where_it_broke_off() {
    let body = bytes(100_000);
    let sent = body.clone();
    let server = Server::start(move |seen| {
        let reply = Reply::file(seen, &sent, Some("\"a\""));
        if seen.number == 0 { reply.cut(30_000) } else { reply }
    })
    .await;
    let place = Place::new();
    let fetched = place.get(&server.url("a"), &body).await.unwrap();
    assert_eq!(fs_err::read(fetched.path).unwrap(), body);
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[0].start(), seen[1].start()), (None, Some(30_000)));
    assert_eq!(seen[1].header("if-range"), Some("\"a\""));
    assert_eq!(place.files().len(), 1, "{:?}", place.files());
}

#[tokio::test]
async fn a_line_that_breaks_more_often_than_patience_lasts_still_brings_the_file() {
    let body = bytes(20_000);
    let sent = body.clone();
    let server = Server::start(move |seen| Reply::file(seen, &sent, None).cut(1000)).await;
    Place::new().get(&server.url("a"), &body).await.unwrap();
    assert_eq!(server.seen().len(), 20);
}

#[tokio::test]
async fn a_server_that_ignores_ranges_starts_again() {
    let body = bytes(100_000);
    let sent = body.clone();
    let server = Server::start(move |seen| {
        let reply = Reply::body(&sent);
        if seen.number == 0 { reply.cut(30_000) } else { reply }
    })
    .await;
    let place = Place::new();
    let fetched = place.get(&server.url("a"), &body).await.unwrap();
    assert_eq!(fetched.size, 100_000);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_server_that_always_cuts_and_ignores_ranges_is_given_up() {
    let body = bytes(100_000);
    let sent = body.clone();
    let server = Server::start(move |_| Reply::body(&sent).cut(30_000)).await;
    let error = Place::new().get(&server.url("a"), &body).await.unwrap_err();
    assert!(error.to_string().contains("the connection ended at byte 30000 of 100000"), "{error}");
    assert_eq!(server.seen().len(), 4); // The first got further than nothing; three did not get further than it.
}

#[tokio::test]
async fn a_file_that_was_replaced_is_not_mixed_with_the_old_one() {
    let (old, new) = (bytes(50_000), vec![7; 50_000]);
    let sent = new.clone();
    let server = Server::start(move |seen| match seen.number {
        0 => Reply::file(seen, &old, Some("\"old\"")).cut(20_000),
        _ => Reply::file(seen, &sent, Some("\"new\"")),
    })
    .await;
    let place = Place::new();
    let fetched = place.get(&server.url("a"), &new).await.unwrap();
    assert_eq!(fs_err::read(fetched.path).unwrap(), new);
    assert_eq!(server.seen()[1].header("if-range"), Some("\"old\""));
}

#[tokio::test]
async fn a_date_serves_where_the_tag_is_weak() {
    let body = bytes(50_000);
    let sent = body.clone();
    let server = Server::start(move |seen| {
        let reply = Reply::body(&sent)
            .with("ETag", "W/\"weak\"")
            .with("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT");
        if seen.number == 0 { reply.cut(20_000) } else { reply }
    })
    .await;
    Place::new().get(&server.url("a"), &body).await.unwrap();
    assert_eq!(server.seen()[1].header("if-range"), Some("Wed, 21 Oct 2015 07:28:00 GMT"));
}

#[tokio::test]
async fn a_mixed_file_is_found_out_and_fetched_once_more() {
    // A server without tags or dates: only the checksum can tell.
    let (old, new) = (bytes(50_000), vec![7; 50_000]);
    let sent = new.clone();
    let server = Server::start(move |seen| match seen.number {
        0 => Reply::file(seen, &old, None).cut(20_000),
        _ => Reply::file(seen, &sent, None),
    })
    .await;
    let place = Place::new();
    let fetched = place.get(&server.url("a"), &new).await.unwrap();
    assert_eq!(fs_err::read(fetched.path).unwrap(), new);
    let starts: Vec<_> = server.seen().iter().map(Seen::start).collect();
    assert_eq!(starts, [None, Some(20_000), None]);
}

#[tokio::test]
async fn starting_over_happens_once() {
    let body = bytes(50_000);
    let server = Server::start(|seen| {
        let reply = Reply::file(seen, &[7; 50_000], None);
        if seen.number.is_multiple_of(2) { reply.cut(20_000) } else { reply }
    })
    .await;
    let place = Place::new();
    let error = place.get(&server.url("a"), &body).await.unwrap_err();
    assert!(matches!(*error.problem, Problem::Checksum { .. }), "{error}");
    assert_eq!(server.seen().len(), 4);
    assert_eq!(place.files(), Vec::<String>::new());
}

#[tokio::test]
async fn what_an_earlier_process_left_is_judged_by_the_checksum() {
    let body = bytes(50_000);
    let mut longer = body.clone();
    longer.push(0);
    let cases: [(_, _, &[Option<usize>]); 6] = [
        ("good", body[..20_000].to_vec(), &[Some(20_000)]),
        ("good and complete", body.clone(), &[]),
        ("empty", Vec::new(), &[None]),
        ("wrong", vec![7; 20_000], &[Some(20_000), None]),
        ("wrong and complete", vec![7; 50_000], &[None]),
        ("too long", longer, &[None]),
    ];
    for (name, left, starts) in cases {
        let sent = body.clone();
        let server = Server::start(move |seen| Reply::file(seen, &sent, Some("\"a\""))).await;
        let place = Place::new();
        fs_err::write(place.part(&body), &left).unwrap();
        let fetched = place.get(&server.url("a"), &body).await.unwrap();
        assert_eq!(fs_err::read(fetched.path).unwrap(), body, "{name}");
        let seen: Vec<_> = server.seen().iter().map(Seen::start).collect();
        assert_eq!(seen, starts, "{name}");
        assert_eq!(place.files().len(), 1, "{name}: {:?}", place.files());
    }
}

#[tokio::test]
async fn all_bytes_may_be_here_without_anyone_knowing() {
    let body = bytes(50_000);
    let sent = body.clone();
    let server = Server::start(move |seen| Reply::file(seen, &sent, None)).await;
    let place = Place::new();
    fs_err::write(place.part(&body), &body).unwrap();
    place.get_unsized(&server.url("a"), &body).await.unwrap();
    assert_eq!(server.seen().len(), 1); // Answered with 416, and the length.
}

#[tokio::test]
async fn ranges_that_were_not_asked_for_are_not_taken() {
    let body = bytes(1000);
    for range in ["bytes 0-999/1000", "bytes 301-999/1000", "items 300-999/1000", "nonsense"] {
        let sent = body.clone();
        let server = Server::start(move |seen| match seen.number {
            0 => Reply::body(&sent).cut(300),
            1 => Reply::new(
                "206 Partial Content",
                &[("Content-Range", range), ("Content-Length", "700")],
                vec![Step::Send(sent[300..].to_vec())],
            ),
            _ => Reply::body(&sent),
        })
        .await;
        let place = Place::new();
        let fetched = place.get(&server.url("a"), &body).await.unwrap();
        assert_eq!(fs_err::read(fetched.path).unwrap(), body, "{range}");
        assert_eq!(server.seen().len(), 3, "{range}");
    }
}

#[tokio::test]
async fn a_body_without_a_length_that_ends_early_is_continued() {
    let body = bytes(40_000);
    let sent = body.clone();
    let server = Server::start(move |seen| match seen.number {
        0 => Reply::new("200 OK", &[], vec![Step::Send(sent[..10_000].to_vec())]),
        _ => Reply::file(seen, &sent, None),
    })
    .await;
    Place::new().get(&server.url("a"), &body).await.unwrap();
    assert_eq!(server.seen()[1].start(), Some(10_000));
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_what_had_come() {
    let body = bytes(100_000);
    let sent = body.clone();
    let server = Server::start(move |seen| {
        let reply = Reply::file(seen, &sent, None);
        if seen.number == 0 { reply.cut(60_000).then(Step::Pause(Duration::from_secs(20))) } else { reply }
    })
    .await;
    let place = Place::with(drivetrain_fetch::Settings {
        stall_timeout: Duration::from_secs(30),
        ..crate::support::settings()
    });
    let url = server.url("a");
    let part = place.part(&body);
    let arrived = async {
        while fs_err::metadata(&part).map_or(0, |metadata| metadata.len()) < 60_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        result = place.get(&url, &body) => panic!("ended too early: {result:?}"),
        () = arrived => {}
    }
    place.get(&url, &body).await.unwrap();
    assert_eq!(server.seen()[1].start(), Some(60_000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However a body is cut into pieces and broken off, and whether or not the server heeds ranges and
    /// announces lengths, the same bytes arrive.
    #[test]
    fn any_interruptions_end_with_the_same_bytes(
        length in 0_usize..30_000,
        cuts in proptest::collection::vec((1_usize..12_000, any::<bool>(), any::<bool>()), 0..12),
        pieces in 1_usize..5_000,
        sized: bool,
        left in 0_usize..40_000,
        left_good: bool,
    ) {
        let body = bytes(length);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let arrived = runtime.block_on(async {
            let sent = body.clone();
            let server = Server::start(move |seen| {
                let Some((cut, ranges, announce)) = cuts.get(seen.number).copied() else {
                    return Reply::file(seen, &sent, Some("\"a\""));
                };
                let start = seen.start().filter(|start| ranges && *start < sent.len());
                let rest = &sent[start.unwrap_or(0)..];
                // Without a length and with an unknown size, an early end is no fault that anyone could see:
                // there the body is whole.
                let end = if sized || announce { cut.min(rest.len()) } else { rest.len() };
                let steps = rest[..end].chunks(pieces).map(|piece| Step::Send(piece.to_vec())).collect();
                let length = rest.len().to_string();
                let range = format!("bytes {}-{}/{}", start.unwrap_or(0), sent.len().max(1) - 1, sent.len());
                let mut headers = Vec::new();
                if announce {
                    headers.push(("Content-Length", length.as_str()));
                }
                if start.is_some() {
                    headers.push(("Content-Range", range.as_str()));
                }
                Reply::new(if start.is_some() { "206 Partial Content" } else { "200 OK" }, &headers, steps)
            })
            .await;
            let place = Place::with(drivetrain_fetch::Settings { tries: 20, ..crate::support::settings() });
            let left = if left_good { bytes(left.min(length)) } else { vec![7; left] };
            fs_err::write(place.part(&body), left).unwrap();
            let source = Source::parse(&server.url("a")).unwrap();
            let size = sized.then_some(length as u64);
            let fetched = place.downloader.download(&source, &checksum(&body), size, &|_| {}).await;
            fetched.map(|fetched| (fs_err::read(fetched.path).unwrap(), place.files().len()))
        });
        prop_assert_eq!(arrived.map_err(|error| error.to_string()), Ok((body, 1)));
    }
}
