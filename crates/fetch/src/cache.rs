//! Small files that change under one URL.

use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_model::{Checksum, Sha256Digest};
use reqwest::StatusCode;
use reqwest::header::{
    ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use serde::{Deserialize, Serialize};

use crate::download::blocking;
use crate::http::{Answer, body_problem};
use crate::retry::Patience;
use crate::{Downloader, FetchError, Fetched, OnProgress, Problem, Progress, Source, StoreError, disk};

/// How much the first line of an entry may take.
const LONGEST_HEADER: u64 = 64 * 1024;

/// Metadata of repositories: what changes under its URL is asked for again each time, with the server saying
/// whether it did; what has a checksum is kept in the store and never asked for twice. Cheap to clone.
///
/// There is no age below which an entry is taken without asking: a plan made from stale metadata would be
/// wrong without saying so.
#[derive(Debug, Clone)]
pub struct MetadataCache {
    downloader: Downloader,
    root: Utf8PathBuf,
}

/// The content of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// All its bytes.
    pub bytes: Vec<u8>,
    /// Whether the server said that they are those of an earlier time.
    pub from_cache: bool,
}

/// The first line of an entry; the bytes follow it. One file, so that the two never disagree.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    /// For people who look.
    url: String,
    etag: Option<String>,
    last_modified: Option<String>,
    sha256: Sha256Digest,
}

struct Entry {
    header: Header,
    bytes: Vec<u8>,
}

impl MetadataCache {
    /// Opens a cache in a directory of its own, and makes it where it is missing.
    pub fn open(downloader: Downloader, root: impl Into<Utf8PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        fs_err::create_dir_all(&root).map_err(|error| cache_error(&root, error))?;
        Ok(Self { downloader, root })
    }

    /// The downloader, and with it the store.
    #[must_use]
    pub fn downloader(&self) -> &Downloader {
        &self.downloader
    }

    /// Reads what is at a URL now; at most `max_bytes`. Local files are read directly.
    pub async fn get(&self, source: &Source, max_bytes: u64) -> Result<Cached, FetchError> {
        self.get_telling(source, max_bytes, &|_| ()).await
    }

    /// [`MetadataCache::get`], which tells of tries that failed ([`Progress::Retrying`]) and of nothing else.
    pub async fn get_telling(
        &self,
        source: &Source,
        max_bytes: u64,
        progress: OnProgress<'_>,
    ) -> Result<Cached, FetchError> {
        let mut tries = 1;
        let result = match source.local_path() {
            Some(path) => blocking(move || read_local(&path, max_bytes)).await.and_then(|result| result),
            None => self.get_remote(source, max_bytes, &mut tries, progress).await,
        };
        result.map_err(|problem| FetchError { url: source.shown(), tries, problem: Box::new(problem) })
    }

    /// Reads a file whose checksum is known into the store; asks nobody where it is there. `max_bytes` holds
    /// for what metadata claims as well: a repository must not fill the disk.
    pub async fn get_checked(
        &self,
        source: &Source,
        checksum: &Checksum,
        size: Option<u64>,
        max_bytes: u64,
        progress: OnProgress<'_>,
    ) -> Result<Fetched, FetchError> {
        self.downloader.download_limited(source, checksum, size, max_bytes, progress).await
    }

    async fn get_remote(
        &self,
        source: &Source,
        max_bytes: u64,
        tries: &mut u32,
        progress: OnProgress<'_>,
    ) -> Result<Cached, Problem> {
        let path = self.entry_path(source);
        let entry = {
            let path = path.clone();
            blocking(move || read_entry(&path, max_bytes)).await?
        };
        let headers = conditions(entry.as_ref());
        let mut patience = Patience::new(self.downloader.http().settings(), 0);
        let (header, bytes) = loop {
            let problem = match self.try_remote(source, &headers, max_bytes).await {
                Ok(Some(fresh)) => break fresh,
                Ok(None) => match entry {
                    Some(entry) => return Ok(Cached { bytes: entry.bytes, from_cache: true }),
                    None => Problem::Protocol("304 not modified, with nothing to compare".to_owned()),
                },
                Err(problem) => problem,
            };
            let wait = patience.wait_after(&problem, 0);
            *tries = patience.tries;
            let Some(wait) = wait else { return Err(problem) };
            progress(Progress::Retrying { problem: &problem, wait });
            tokio::time::sleep(wait).await;
        };
        let root = self.root.clone();
        blocking(move || {
            write_entry(&root, &path, &header, &bytes)?;
            Ok(Cached { bytes, from_cache: false })
        })
        .await?
    }

    /// One try: new content, or nothing where the server says that the old is good.
    async fn try_remote(
        &self,
        source: &Source,
        headers: &HeaderMap,
        max_bytes: u64,
    ) -> Result<Option<(Header, Vec<u8>)>, Problem> {
        let http = self.downloader.http();
        let answer = http.get(source, headers).await?;
        match answer.status() {
            StatusCode::NOT_MODIFIED => return Ok(None),
            StatusCode::OK => {}
            _ => return Err(answer.problem()),
        }
        let mut header = Header {
            url: source.shown(),
            etag: answer.header(ETAG).map(str::to_owned),
            last_modified: answer.header(LAST_MODIFIED).map(str::to_owned),
            sha256: Sha256Digest::of(&[]),
        };
        let bytes = read_body(answer, max_bytes, http.settings().stall_timeout).await?;
        header.sha256 = Sha256Digest::of(&bytes);
        Ok(Some((header, bytes)))
    }

    fn entry_path(&self, source: &Source) -> Utf8PathBuf {
        self.root.join(Sha256Digest::of(source.url().as_str().as_bytes()).to_string())
    }
}

async fn read_body(answer: Answer, max_bytes: u64, stall: std::time::Duration) -> Result<Vec<u8>, Problem> {
    let mut response = answer.response;
    let announced = response.content_length();
    if announced.is_some_and(|length| length > max_bytes) {
        return Err(Problem::TooLarge { limit: max_bytes });
    }
    let mut bytes = Vec::new();
    loop {
        let got = bytes.len() as u64;
        let chunk = match tokio::time::timeout(stall, response.chunk()).await {
            Err(_) => return Err(Problem::Stalled { waited: stall, at: got }),
            Ok(Err(error)) => return Err(body_problem(error, got, announced)),
            Ok(Ok(None)) => return Ok(bytes),
            Ok(Ok(Some(chunk))) => chunk,
        };
        if got + chunk.len() as u64 > max_bytes {
            return Err(Problem::TooLarge { limit: max_bytes });
        }
        bytes.extend_from_slice(&chunk);
    }
}

fn read_local(path: &Utf8Path, max_bytes: u64) -> Result<Cached, Problem> {
    let file = fs_err::File::open(path).map_err(Problem::Input)?;
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(Problem::Input)?;
    if bytes.len() as u64 > max_bytes {
        return Err(Problem::TooLarge { limit: max_bytes });
    }
    Ok(Cached { bytes, from_cache: false })
}

/// What makes the request conditional on the entry that is here.
fn conditions(entry: Option<&Entry>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: HeaderName, value: Option<&String>| {
        if let Some(value) = value.and_then(|text| HeaderValue::from_str(text).ok()) {
            drop(headers.insert(name, value));
        }
    };
    if let Some(Entry { header, .. }) = entry {
        put(IF_NONE_MATCH, header.etag.as_ref());
        put(IF_MODIFIED_SINCE, header.last_modified.as_ref());
    }
    headers
}

/// The entry, where it is whole and its bytes are those that were written. Anything else is as good as none.
fn read_entry(path: &Utf8Path, max_bytes: u64) -> Option<Entry> {
    let file = fs_err::File::open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(LONGEST_HEADER)).read_to_end(&mut bytes).ok()?;
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let header: Header = serde_json::from_slice(&bytes[..end]).ok()?;
    bytes.drain(..=end);
    let good = bytes.len() as u64 <= max_bytes && Sha256Digest::of(&bytes) == header.sha256;
    good.then_some(Entry { header, bytes })
}

fn write_entry(root: &Utf8Path, path: &Utf8Path, header: &Header, bytes: &[u8]) -> Result<(), Problem> {
    use std::io::Write;
    let mut first = serde_json::to_vec(header).map_err(|error| Problem::Internal(error.to_string()))?;
    first.push(b'\n');
    let written = tempfile::NamedTempFile::new_in(root).and_then(|mut file| {
        file.write_all(&first)?;
        file.write_all(bytes)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    });
    Ok(written.map_err(|error| cache_error(root, error))?)
}

fn cache_error(root: &Utf8Path, error: std::io::Error) -> StoreError {
    if disk::is_full(&error) {
        StoreError::DiskFull(disk::full(root, None, &error))
    } else {
        StoreError::Io(error)
    }
}
