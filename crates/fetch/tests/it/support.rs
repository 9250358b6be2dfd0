//! What most tests begin with.

use std::sync::Mutex;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_fetch::{
    Downloader, FetchError, Fetched, Http, MetadataCache, Progress, Settings, Source, Store,
};
use drivetrain_model::{Checksum, Sha256Digest};

/// A store and a cache in a directory that goes with them.
pub struct Place {
    pub downloader: Downloader,
    pub root: Utf8PathBuf,
    _directory: tempfile::TempDir,
}

/// Impatient, so that tests of patience are short.
pub fn settings() -> Settings {
    Settings {
        connect_timeout: Duration::from_secs(5),
        stall_timeout: Duration::from_millis(400),
        tries: 4,
        first_wait: Duration::from_millis(2),
        longest_wait: Duration::from_millis(10),
        longest_retry_after: Duration::from_secs(3),
        proxy_from_environment: false,
    }
}

impl Place {
    pub fn new() -> Self {
        Self::with(settings())
    }

    pub fn with(settings: Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).unwrap();
        let store = Store::open(root.join("store")).unwrap();
        Self { downloader: Downloader::new(Http::new(settings), store), root, _directory: directory }
    }

    pub fn cache(&self) -> MetadataCache {
        MetadataCache::open(self.downloader.clone(), self.root.join("cache")).unwrap()
    }

    /// A downloader as another process has it, for the same store.
    pub fn reopened(&self) -> Downloader {
        Downloader::new(Http::new(settings()), Store::open(self.root.join("store")).unwrap())
    }

    pub fn store(&self) -> &Store {
        self.downloader.store()
    }

    pub fn part(&self, body: &[u8]) -> Utf8PathBuf {
        self.store().root().join("partial").join(format!("{}.part", Sha256Digest::of(body)))
    }

    pub async fn get(&self, url: &str, body: &[u8]) -> Result<Fetched, FetchError> {
        let source = Source::parse(url).unwrap();
        self.downloader.download(&source, &checksum(body), Some(body.len() as u64), &|_| {}).await
    }

    /// As [`Place::get`], for a file of unknown size.
    pub async fn get_unsized(&self, url: &str, body: &[u8]) -> Result<Fetched, FetchError> {
        let source = Source::parse(url).unwrap();
        self.downloader.download(&source, &checksum(body), None, &|_| {}).await
    }

    /// All files below the store, relative to it.
    pub fn files(&self) -> Vec<String> {
        files(self.store().root())
    }
}

pub fn files(root: &Utf8Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in directory.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_string());
            }
        }
    }
    found.sort();
    found
}

pub fn checksum(body: &[u8]) -> Checksum {
    Sha256Digest::of(body).into()
}

/// Bytes that differ at every place where a mistake could be made.
pub fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).take(length).collect()
}

/// Collects progress as text.
#[derive(Default)]
pub struct Told(Mutex<Vec<String>>);

impl Told {
    pub fn tell(&self, progress: &Progress<'_>) {
        let text = match progress {
            Progress::Bytes { .. } => return,
            Progress::Retrying { problem, .. } => format!("retrying: {problem}"),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(text);
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}
