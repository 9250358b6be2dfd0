//! Files whose checksum is known, into the store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use camino::Utf8PathBuf;
use drivetrain_model::Checksum;
use futures_util::StreamExt;
use reqwest::StatusCode;
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE,
};
use tokio::sync::mpsc;

use crate::http::{Answer, body_problem};
use crate::partial::{Committed, Partial};
use crate::retry::Patience;
use crate::{FetchError, FetchErrors, Http, Problem, Source, Store, StoreError, Stored, disk};

/// How often [`Progress::Bytes`] is told at most.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// How much is collected at most while the disk is busy.
const BATCH: usize = 1024 * 1024;

/// Reads files whose checksum is known into a store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Downloader {
    http: Http,
    store: Store,
}

/// One file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where it is.
    pub source: Source,
    /// What it is.
    pub checksum: Checksum,
    /// How many bytes it has, where known. Known is better: a wrong or endless answer ends at once.
    pub size: Option<u64>,
}

/// A file that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is.
    pub path: Utf8PathBuf,
    /// How many bytes it has.
    pub size: u64,
    /// Whether it was there already, or another process brought it.
    pub from_cache: bool,
}

/// How a fetch goes.
#[derive(Debug)]
pub enum Progress<'a> {
    /// The store had the file, and not as its checksum says: it is removed, and will be fetched again.
    Damaged {
        /// What was found.
        damage: &'a StoreError,
    },
    /// Another process is fetching the same file; this one waits for it.
    Waiting,
    /// The transfer begins. Not told for a file that is in the store already.
    Started {
        /// How many bytes an earlier try left.
        resumed_at: u64,
        /// How many there will be, where known.
        size: Option<u64>,
    },
    /// Bytes came; told ten times a second at most. May go back, where a transfer has to start over.
    Bytes {
        /// How many of the file's bytes are here.
        bytes: u64,
    },
    /// A try failed, and another will follow.
    Retrying {
        /// Why it failed.
        problem: &'a Problem,
        /// When the next begins.
        wait: Duration,
    },
    /// The file is in the store, and is what its checksum says.
    Finished {
        /// How many bytes it has.
        size: u64,
        /// Whether it was there already.
        from_cache: bool,
    },
}

/// Whom to tell. Called from within the transfer: it must return soon.
pub type OnProgress<'a> = &'a (dyn Fn(Progress<'_>) + Send + Sync);

/// What a fetch asks for.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    source: &'a Source,
    checksum: &'a Checksum,
    size: Option<u64>,
    /// How many bytes are taken, where the size is not known.
    limit: u64,
    progress: OnProgress<'a>,
}

/// Where a try left the partial file, and how it ended: with all bytes, or with a problem.
struct Tried {
    partial: Partial,
    outcome: Result<(), Problem>,
    html: bool,
}

impl Downloader {
    /// Joins an HTTP side and a store.
    #[must_use]
    pub fn new(http: Http, store: Store) -> Self {
        Self { http, store }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The HTTP side.
    #[must_use]
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Brings one file into the store, unless it is there.
    ///
    /// May be dropped at any moment: what has come is kept, and the next call goes on from there. Several
    /// calls for one checksum, in one process or many, transfer it once.
    pub async fn download(
        &self,
        source: &Source,
        checksum: &Checksum,
        size: Option<u64>,
        progress: OnProgress<'_>,
    ) -> Result<Fetched, FetchError> {
        self.download_limited(source, checksum, size, u64::MAX, progress).await
    }

    /// Brings many files into the store, `concurrency` at a time, and returns them in the order of the
    /// requests.
    ///
    /// A failed file does not keep the others from being fetched, so that one run shows all that is wrong;
    /// but where the failure would meet the others as well (credentials, a full disk), no more are begun.
    pub async fn download_all(
        &self,
        requests: &[Request],
        concurrency: usize,
        progress: &(dyn Fn(&Request, Progress<'_>) + Send + Sync),
    ) -> Result<Vec<Fetched>, FetchErrors> {
        let stopped = AtomicBool::new(false);
        let one = |(index, request): (usize, &'_ Request)| {
            let (stopped, request) = (&stopped, request.clone());
            async move {
                if stopped.load(Ordering::Relaxed) {
                    return (index, None);
                }
                let tell = |step: Progress<'_>| progress(&request, step);
                let result = self.download(&request.source, &request.checksum, request.size, &tell).await;
                if result.as_ref().is_err_and(|error| error.problem.stops_the_rest()) {
                    stopped.store(true, Ordering::Relaxed);
                }
                (index, Some(result))
            }
        };
        let mut running = futures_util::stream::iter(requests.iter().enumerate().map(one))
            .buffer_unordered(concurrency.max(1));
        let mut fetched: Vec<(usize, Fetched)> = Vec::with_capacity(requests.len());
        let mut errors = Vec::new();
        let mut not_tried = 0;
        while let Some((index, result)) = running.next().await {
            match result {
                Some(Ok(file)) => fetched.push((index, file)),
                Some(Err(error)) => errors.push(error),
                None => not_tried += 1,
            }
        }
        let mut errors = errors.into_iter();
        if let Some(first) = errors.next() {
            return Err(FetchErrors { first, others: errors.collect(), not_tried });
        }
        fetched.sort_unstable_by_key(|(index, _)| *index);
        Ok(fetched.into_iter().map(|(_, file)| file).collect())
    }

    /// [`Downloader::download`] with a limit for files whose size is not known.
    pub(crate) async fn download_limited(
        &self,
        source: &Source,
        checksum: &Checksum,
        size: Option<u64>,
        limit: u64,
        progress: OnProgress<'_>,
    ) -> Result<Fetched, FetchError> {
        let wanted = Wanted { source, checksum, size, limit, progress };
        let mut tries = 1;
        let result = match source.local_path() {
            _ if size.is_some_and(|size| size > limit) => Err(Problem::TooLarge { limit }),
            Some(path) => self.copy(&wanted, path).await,
            None => self.transfer(&wanted, &mut tries).await,
        };
        match result {
            Ok(fetched) => {
                progress(Progress::Finished { size: fetched.size, from_cache: fetched.from_cache });
                Ok(fetched)
            }
            Err(problem) => Err(FetchError { url: source.shown(), tries, problem: Box::new(problem) }),
        }
    }

    /// The file from the store, if it is whole; one that is damaged is told of and no longer there.
    async fn find(&self, wanted: &Wanted<'_>) -> Result<Option<Fetched>, Problem> {
        let (store, checksum, size) = (self.store.clone(), wanted.checksum.clone(), wanted.size);
        Ok(match blocking(move || store.take(&checksum, size)).await?? {
            Stored::Sound { path, size } => Some(Fetched { path, size, from_cache: true }),
            Stored::Absent => None,
            Stored::Dropped(damage) => {
                (wanted.progress)(Progress::Damaged { damage: &damage });
                None
            }
        })
    }

    /// A local file: copied, and hashed on the way.
    ///
    /// Neither linked nor cloned. A hard link would change with its original; and a clone would have to be
    /// read for its checksum all the same.
    async fn copy(&self, wanted: &Wanted<'_>, path: Utf8PathBuf) -> Result<Fetched, Problem> {
        if let Some(found) = self.find(wanted).await? {
            return Ok(found);
        }
        (wanted.progress)(Progress::Started { resumed_at: 0, size: wanted.size });
        let store = self.store.clone();
        let (checksum, size, limit) = (wanted.checksum.clone(), wanted.size, wanted.limit);
        blocking(move || {
            let metadata = fs_err::metadata(&path).map_err(Problem::Input)?;
            if !metadata.is_file() {
                let text = format!("{path} is not a regular file");
                return Err(Problem::Input(std::io::Error::new(std::io::ErrorKind::InvalidInput, text)));
            }
            check_announced(Some(metadata.len()), size, limit, false)?;
            let file = fs_err::File::open(&path).map_err(Problem::Input)?;
            let (temporary, got, size) = store.copy_in(file, checksum.algorithm, Some(metadata.len()))?;
            if got != checksum {
                return Err(Problem::Checksum { expected: checksum, got, html: false });
            }
            let path = store.keep(temporary, &checksum)?;
            Ok(Fetched { path, size, from_cache: false })
        })
        .await?
    }

    async fn transfer(&self, wanted: &Wanted<'_>, tries: &mut u32) -> Result<Fetched, Problem> {
        let mut partial = match self.claim(wanted).await? {
            Ok(partial) => partial,
            Err(fetched) => return Ok(fetched),
        };
        (wanted.progress)(Progress::Started { resumed_at: partial.length(), size: wanted.size });
        let mut patience = Patience::new(self.http.settings(), partial.length());
        let mut started_over = false;
        loop {
            let tried = self.attempt(wanted, partial).await?;
            let problem = match tried.outcome {
                Err(problem) => {
                    partial = tried.partial;
                    problem
                }
                Ok(()) => match blocking(move || tried.partial.commit()).await?? {
                    Committed::Kept { path, size } => return Ok(Fetched { path, size, from_cache: false }),
                    Committed::Wrong { partial: wrong, .. } if wrong.resumed && !started_over => {
                        // Some of the bytes are of an earlier try, or of a file that was replaced since.
                        started_over = true;
                        partial = reset(*wrong).await?;
                        continue;
                    }
                    Committed::Wrong { partial: wrong, got } => {
                        partial = *wrong;
                        Problem::Checksum { expected: wanted.checksum.clone(), got, html: tried.html }
                    }
                },
            };
            let wait = patience.wait_after(&problem, partial.length());
            *tries = patience.tries;
            let Some(wait) = wait else {
                if keeps_partial(&problem) {
                    partial.leave();
                } else {
                    partial.discard();
                }
                return Err(problem);
            };
            (wanted.progress)(Progress::Retrying { problem: &problem, wait });
            tokio::time::sleep(wait).await;
        }
    }

    /// The partial file, once it is ours; or the finished file, where another process brought it meanwhile.
    async fn claim(&self, wanted: &Wanted<'_>) -> Result<Result<Partial, Fetched>, Problem> {
        let mut waited = false;
        let mut pause = Duration::from_millis(20);
        loop {
            if let Some(found) = self.find(wanted).await? {
                return Ok(Err(found));
            }
            let (store, checksum, size) = (self.store.clone(), wanted.checksum.clone(), wanted.size);
            if let Some(partial) = blocking(move || Partial::claim(&store, &checksum, size)).await?? {
                // The one who had it may have finished between the look into the store and the claim.
                let Some(found) = self.find(wanted).await? else { return Ok(Ok(partial)) };
                partial.discard();
                return Ok(Err(found));
            }
            if !waited {
                waited = true;
                (wanted.progress)(Progress::Waiting);
            }
            // Asking now and then, rather than a thread that sleeps in the lock: that thread could not be
            // called off.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// One try: asks for what is missing, and adds it.
    async fn attempt(&self, wanted: &Wanted<'_>, mut partial: Partial) -> Result<Tried, Problem> {
        loop {
            let have = partial.length();
            if wanted.size == Some(have) {
                return Ok(Tried { partial, outcome: Ok(()), html: false });
            }
            let headers = range_headers(&partial, wanted.source);
            let answer = match self.http.get(wanted.source, &headers).await {
                Ok(answer) => answer,
                Err(problem) => return Ok(Tried { partial, outcome: Err(problem), html: false }),
            };
            let html = answer.is_html();
            let whole = match read_answer(&answer, have, wanted.size) {
                Reading::Whole(whole) => {
                    if have > 0 {
                        partial = reset(partial).await?;
                    }
                    partial.write_note(wanted.source.url(), validator(&answer));
                    whole
                }
                Reading::Rest(whole) => {
                    partial.resumed = true;
                    whole
                }
                Reading::AllHere => return Ok(Tried { partial, outcome: Ok(()), html }),
                Reading::StartOver => {
                    // Ends: without bytes no range is asked for, and then no answer means this.
                    partial = reset(partial).await?;
                    continue;
                }
                Reading::Bad(problem) => return Ok(Tried { partial, outcome: Err(problem), html }),
            };
            let missing = whole.or(wanted.size).map(|whole| whole.saturating_sub(partial.length()));
            let fits = check_announced(whole, wanted.size, wanted.limit, html).and_then(|()| {
                disk::check_room(self.store.root(), missing.unwrap_or(0)).map_err(StoreError::from)?;
                Ok(())
            });
            if let Err(problem) = fits {
                return Ok(Tried { partial, outcome: Err(problem), html });
            }
            return self.receive(wanted, partial, answer, whole.or(wanted.size)).await;
        }
    }

    /// Reads the body; a thread of its own hashes and writes meanwhile.
    async fn receive(
        &self,
        wanted: &Wanted<'_>,
        mut partial: Partial,
        answer: Answer,
        whole: Option<u64>,
    ) -> Result<Tried, Problem> {
        let html = answer.is_html();
        let mut response = answer.response;
        let mut got = partial.length();
        let (sender, mut receiver) = mpsc::channel::<Vec<Bytes>>(1);
        // Where this future is dropped, the thread writes what it was given and then lets go of the file.
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(batch) = receiver.blocking_recv() {
                if let Err(error) = partial.append(&batch) {
                    return (partial, Err(error));
                }
            }
            (partial, Ok(()))
        });
        let stall = self.http.settings().stall_timeout;
        let mut deadline = tokio::time::Instant::now() + stall;
        let mut batch = Batch::default();
        let mut told = Instant::now();
        let received = loop {
            // Pieces are handed on one by one while the writer keeps up, and collected while it does not. So a
            // slow line leaves every byte on the disk at once, and a fast one does not wake a thread for each
            // packet.
            tokio::select! {
                biased;
                permit = sender.reserve(), if !batch.pieces.is_empty() => match permit {
                    Ok(permit) => {
                        if batch.is_full() {
                            // The disk was waited for; the server is given its time anew.
                            deadline = tokio::time::Instant::now() + stall;
                        }
                        permit.send(batch.take());
                    }
                    // The writer has failed, and says below how.
                    Err(_) => break Ok(()),
                },
                chunk = response.chunk(), if !batch.is_full() => match chunk {
                    Ok(Some(chunk)) => {
                        deadline = tokio::time::Instant::now() + stall;
                        got += chunk.len() as u64;
                        if got > wanted.size.unwrap_or(wanted.limit) {
                            break Err(too_many(wanted, html));
                        }
                        batch.put(chunk);
                        if told.elapsed() >= PROGRESS_INTERVAL {
                            told = Instant::now();
                            (wanted.progress)(Progress::Bytes { bytes: got });
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(body_problem(error, got, whole)),
                },
                () = tokio::time::sleep_until(deadline), if !batch.is_full() => {
                    break Err(Problem::Stalled { waited: stall, at: got });
                }
            }
        };
        drop(sender.send(batch.take()).await);
        drop(sender);
        let (partial, written) = writer.await.map_err(|error| Problem::Internal(error.to_string()))?;
        let outcome = match (written, received) {
            (Err(error), _) => {
                let needed = whole.map(|whole| whole.saturating_sub(partial.length()));
                Err(self.store.error(error, needed).into())
            }
            (Ok(()), Err(problem)) => Err(problem),
            (Ok(()), Ok(())) if whole.is_some_and(|whole| got < whole) => {
                let what = "the server closed it".to_owned();
                Err(Problem::Truncated { got, expected: whole, what })
            }
            (Ok(()), Ok(())) => Ok(()),
        };
        (wanted.progress)(Progress::Bytes { bytes: partial.length() });
        Ok(Tried { partial, outcome, html })
    }
}

/// Pieces of a body that wait for the writer.
#[derive(Default)]
struct Batch {
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Batch {
    fn put(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.pieces.push(piece);
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH
    }

    fn take(&mut self) -> Vec<Bytes> {
        self.bytes = 0;
        std::mem::take(&mut self.pieces)
    }
}

/// What an answer means for the bytes that are here.
enum Reading {
    /// The file from its start; of this length, where known.
    Whole(Option<u64>),
    /// What is missing; the whole has this length, where known.
    Rest(Option<u64>),
    /// Nothing is missing.
    AllHere,
    /// The bytes that are here cannot be continued.
    StartOver,
    /// Neither.
    Bad(Problem),
}

fn read_answer(answer: &Answer, have: u64, size: Option<u64>) -> Reading {
    let length = answer.header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
    let range = answer.header(CONTENT_RANGE).and_then(parse_content_range);
    match answer.status() {
        StatusCode::OK => Reading::Whole(length),
        StatusCode::PARTIAL_CONTENT if have > 0 => match range {
            Some((Some(start), total)) if start == have => {
                Reading::Rest(total.or_else(|| length.map(|length: u64| have.saturating_add(length))))
            }
            _ => Reading::StartOver,
        },
        StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => match range {
            Some((None, Some(total))) if total == have && size.is_none() => Reading::AllHere,
            _ => Reading::StartOver,
        },
        _ => Reading::Bad(answer.problem()),
    }
}

/// Reads `bytes 5-9/10`, `bytes 5-9/*` and `bytes */10`: the first byte's position and the whole length.
fn parse_content_range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    if range == "*" {
        return Some((None, total));
    }
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
    (start <= end && total.is_none_or(|total| end < total)).then_some((Some(start), total))
}

/// Asks for the bytes that are missing, of the same file as those that are here. Where the server never gave
/// its file a name, the checksum alone decides whether the pieces belong together.
fn range_headers(partial: &Partial, source: &Source) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let have = partial.length();
    if have == 0 {
        return headers;
    }
    put(&mut headers, RANGE, &format!("bytes={have}-"));
    if let Some(validator) = partial.validator(source.url()) {
        put(&mut headers, IF_RANGE, &validator);
    }
    headers
}

fn put(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        drop(headers.insert(name, value));
    }
}

/// What `If-Range` may hold: a strong entity tag, or a date.
fn validator(answer: &Answer) -> Option<&str> {
    answer.header(ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| answer.header(LAST_MODIFIED))
}

/// Refuses an answer by its announced length, before any of it is read.
fn check_announced(whole: Option<u64>, size: Option<u64>, limit: u64, html: bool) -> Result<(), Problem> {
    match (whole, size) {
        (Some(got), Some(expected)) if got != expected => {
            Err(Problem::Size { expected, got: Some(got), html })
        }
        (Some(got), None) if got > limit => Err(Problem::TooLarge { limit }),
        _ => Ok(()),
    }
}

fn too_many(wanted: &Wanted<'_>, html: bool) -> Problem {
    match wanted.size {
        Some(expected) => Problem::Size { expected, got: None, html },
        None => Problem::TooLarge { limit: wanted.limit },
    }
}

/// Whether what has come may be of use to a later try. On a full disk it is in everyone's way.
fn keeps_partial(problem: &Problem) -> bool {
    !matches!(
        problem,
        Problem::Checksum { .. }
            | Problem::Size { .. }
            | Problem::TooLarge { .. }
            | Problem::Store(StoreError::DiskFull(_))
    )
}

async fn reset(mut partial: Partial) -> Result<Partial, Problem> {
    // Truncating a large file takes its time.
    Ok(blocking(move || partial.reset().map(|()| partial)).await??)
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        assert_eq!(parse_content_range("bytes 5-9/10"), Some((Some(5), Some(10))));
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((Some(5), None)));
        assert_eq!(parse_content_range("bytes */10"), Some((None, Some(10))));
        for text in
            ["", "bytes", "bytes 5/10", "bytes 9-5/10", "bytes 5-10/10", "items 5-9/10", "bytes -5/10"]
        {
            assert_eq!(parse_content_range(text), None, "{text}");
        }
    }
}
