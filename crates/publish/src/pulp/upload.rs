//! Packages that the server lacks, and nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use drivetrain_model::{Nevra, Sha256Digest};
use drivetrain_pulp::{Href, PackageFile, PulpError};
use drivetrain_rpmfile::{RpmFile, verify_digests};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::target::{PulpStep, PulpTarget};
use crate::directory::files::digest;
use crate::{Publication, PublishError, Result};

/// The server gives up on a request after 30 s, unless it is told otherwise: two thirds of that.
const GOOD_TIME: Duration = Duration::from_secs(20);

/// A package to publish, looked at.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    pub(super) path: PathBuf,
    pub(super) nevra: Nevra,
    pub(super) sha256: Sha256Digest,
    pub(super) size: u64,
}

/// Looks at the packages, on all processors; the same file twice is one. That each is whole is checked here, because
/// the server takes what was cut.
pub(super) fn look(publication: &Publication) -> Result<Vec<Incoming>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = publication.rpms.len().div_ceil(threads).max(1);
    let looked: Vec<Result<Vec<Incoming>>> = std::thread::scope(|scope| {
        let shares = publication.rpms.chunks(share);
        let threads: Vec<_> =
            shares.map(|paths| scope.spawn(|| paths.iter().map(|path| look_at(path)).collect())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(interrupted()))).collect()
    });
    let mut by_digest = BTreeMap::new();
    for package in looked.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten() {
        by_digest.entry(package.sha256).or_insert(package);
    }
    if by_digest.is_empty() {
        return Err(PublishError::Empty(publication.address.path.clone()));
    }
    let mut packages: Vec<Incoming> = by_digest.into_values().collect();
    packages.sort_by_key(|package| package.nevra.file_name());
    Ok(packages)
}

fn interrupted() -> PublishError {
    PublishError::File(std::io::Error::other("a thread that read packages ended"))
}

fn look_at(path: &Path) -> Result<Incoming> {
    verify_digests(path)?;
    let nevra = RpmFile::open(path)?.nevra;
    let (sha256, size) = digest(path)?;
    Ok(Incoming { path: path.to_owned(), nevra, sha256, size })
}

impl PulpTarget {
    /// The addresses of packages on the server, once all of them are there.
    pub(super) async fn upload(&self, packages: &[Incoming]) -> Result<BTreeMap<Sha256Digest, Href>> {
        self.tell(PulpStep::Compare);
        let digests: Vec<Sha256Digest> = packages.iter().map(|package| package.sha256).collect();
        let mut there = BTreeMap::new();
        for package in self.client.packages(&digests).await? {
            if let Ok(digest) = Sha256Digest::parse(&package.pkg_id) {
                there.insert(digest, package.pulp_href);
            }
        }
        let missing: Vec<&Incoming> =
            packages.iter().filter(|package| !there.contains_key(&package.sha256)).collect();
        if missing.is_empty() {
            return Ok(there);
        }
        let bytes = missing.iter().map(|package| package.size).sum();
        self.require_room(bytes).await?;
        there.extend(self.upload_all(&missing, bytes).await?);
        Ok(there)
    }

    /// Sends packages, the largest first, so that none of those is last and alone.
    async fn upload_all(&self, packages: &[&Incoming], bytes: u64) -> Result<Vec<(Sha256Digest, Href)>> {
        let mut order = packages.to_vec();
        order.sort_by_key(|package| std::cmp::Reverse(package.size));
        let count = Mutex::new((0_usize, 0_u64));
        let of_files = packages.len();
        let tell = |files: usize, sent: u64| {
            let mut count = count.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *count = (count.0 + files, (count.1 + sent).min(bytes));
            self.tell(PulpStep::Upload { files: count.0, of_files, bytes: count.1, of_bytes: bytes });
        };
        tell(0, 0);
        let line = Line::default();
        futures_util::stream::iter(order)
            .map(async |package| {
                let href = self.upload_one(package, &line, &|sent| tell(0, sent)).await;
                tell(1, 0);
                match href {
                    Ok(href) => Ok((package.sha256, href)),
                    Err(error) => Err(self.explained(error, bytes).await),
                }
            })
            .buffer_unordered(self.client.settings().connections.max(1))
            .try_collect()
            .await
    }

    async fn upload_one(
        &self,
        package: &Incoming,
        line: &Line,
        sent: &(dyn Fn(u64) + Send + Sync),
    ) -> std::result::Result<Href, PulpError> {
        let name = package.nevra.file_name();
        let file =
            PackageFile { path: &package.path, name: &name, size: package.size, sha256: package.sha256 };
        let chunk = (package.size > self.options.chunk).then_some(self.options.chunk);
        if chunk.is_some() && !line.small_parts.load(Ordering::Relaxed) {
            let mut all_at_once = line.all_at_once.lock().await;
            let Some(most) = *all_at_once else {
                // The first one, alone, to see how fast it goes.
                let started = Instant::now();
                let href = self.upload_in(file, chunk, line, sent).await;
                if href.is_ok() {
                    *all_at_once = Some(self.most_at_once(package.size, started.elapsed()));
                }
                return href;
            };
            drop(all_at_once);
            if package.size <= most {
                match self.client.upload_package(file, None, sent).await {
                    Err(error) if is_about_size(&error) => *line.all_at_once.lock().await = Some(0),
                    other => return other,
                }
            }
        }
        self.upload_in(file, chunk, line, sent).await
    }

    /// In chunks of a size, or of a small one where those do not get through.
    async fn upload_in(
        &self,
        file: PackageFile<'_>,
        chunk: Option<u64>,
        line: &Line,
        sent: &(dyn Fn(u64) + Send + Sync),
    ) -> std::result::Result<Href, PulpError> {
        const SMALL: u64 = 1 << 20;
        if !line.small_parts.load(Ordering::Relaxed) {
            match self.client.upload_package(file, chunk, sent).await {
                Err(error) if file.size > SMALL && is_about_size(&error) => {
                    line.small_parts.store(true, Ordering::Relaxed);
                }
                other => return other,
            }
        }
        self.client.upload_package(file, Some(SMALL), sent).await
    }

    /// How much goes in one request in good time, on each of the connections, after this went in so long.
    fn most_at_once(&self, size: u64, took: Duration) -> u64 {
        let connections = self.client.settings().connections.max(1) as f64;
        let most = size as f64 * GOOD_TIME.as_secs_f64() / took.as_secs_f64().max(0.001) / connections;
        most as u64
    }
}

/// What is known of what is between here and the server, after the packages that were sent.
#[derive(Default)]
struct Line {
    /// One request was too large or too slow for it; so all are.
    small_parts: AtomicBool,
    /// Of packages that are large enough for chunks, those of up to so many bytes go in one request all the same:
    /// the server has each byte of a chunk written and read twice. `None` until the first one is there.
    all_at_once: tokio::sync::Mutex<Option<u64>>,
}

/// Whether smaller parts may get through: a proxy takes no bodies of this size (413), or the server gave up on a body
/// that took too long, which looks like any other broken connection or error of its own.
fn is_about_size(error: &PulpError) -> bool {
    match error {
        PulpError::Refused { status, .. } => *status == 413,
        PulpError::Broken { .. } | PulpError::Unreachable { .. } => true,
        _ => false,
    }
}
