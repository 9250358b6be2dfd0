//! A repository that somebody names, by its URL or its directory: no configuration says anything of it.

use std::io::BufReader;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_fetch::{FetchError, Problem, Request, Source};
use drivetrain_model::{Checksum, ExitCode, Package};
use drivetrain_repodata::{Limits, RecordKind, Repomd, decompress, parse_repomd, read_whole_primary};
use fs_err as fs;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::stage::{blocking, transfer};

/// The most that compressed metadata may have: driver repositories have kilobytes.
const MAX_METADATA: u64 = 256 << 20;
/// The most packages that a driver repository may have.
const MAX_PACKAGES: usize = 20_000;
/// How many are fetched at once.
const PARALLEL: usize = 4;

/// A repository, read: every file is what the metadata says.
pub struct RepositoryAt {
    /// Where it is.
    pub source: Source,
    /// Its `repomd.xml`.
    pub repomd: Vec<u8>,
    /// How many documents of metadata that names; each is what it says.
    pub documents: usize,
    /// The packages.
    pub packages: Vec<PackageAt>,
}

/// One of its packages.
#[derive(Debug, Clone)]
pub struct PackageAt {
    /// Its file, whose checksum is the one of the metadata.
    pub file: Utf8PathBuf,
    /// The name of its file in the repository.
    pub name: String,
    /// What its bytes are, by the metadata, and were found to be.
    pub checksum: Checksum,
    /// How many bytes it has.
    pub size: u64,
}

/// Where a text leads: a URL, or a directory with metadata in it. `None` where it is neither: files then.
pub fn source_of(text: &str) -> Result<Option<Source>> {
    let usage = |error: &(dyn std::error::Error + 'static)| Failure::of(ExitCode::Usage, error);
    if text.contains("://") {
        return Source::parse(text).map(Some).map_err(|error| usage(&error));
    }
    let path = Utf8Path::new(text);
    if !path.join("repodata/repomd.xml").exists() {
        return Ok(None);
    }
    let absolute = path.canonicalize_utf8().map_err(|error| usage(&error))?;
    Source::file(&absolute).map(Some).map_err(|error| usage(&error))
}

/// Reads all of it.
///
/// # Errors
/// Where anything cannot be had, is damaged, or is more than a driver repository has.
pub async fn read(context: &Context, source: Source) -> Result<RepositoryAt> {
    let limits = Limits::default();
    let place = join(&source, "repodata/repomd.xml")?;
    let tell = transfer::tell(&context.reporter, &place, "repomd.xml");
    let got = context.cache.get_telling(&place, limits.max_repomd_bytes, &tell).await;
    let bytes = got
        .map_err(|error| Failure::of(ExitCode::Input, &error).next("name the URL of a YUM repository"))?
        .bytes;
    let repomd = parse_repomd(&bytes, &limits).map_err(|error| {
        Failure::because(ExitCode::Input, format!("{} cannot be used", place.shown()), &error)
    })?;
    documents(context, &source, &repomd).await?;
    let packages = packages(context, &source, &repomd).await?;
    let requests = packages.iter().map(|package| request(&source, package)).collect::<Result<Vec<_>>>()?;
    let tell = transfer::tell_all(&context.reporter);
    let fetched = context.cache.downloader().download_all(&requests, PARALLEL, &tell).await;
    let fetched = fetched.map_err(|error| Failure::of(ExitCode::Input, &error))?;
    let packages = fetched.into_iter().zip(&packages).map(|(fetched, package)| PackageAt {
        file: fetched.path,
        name: package.location.rsplit('/').next().unwrap_or(&package.location).to_owned(),
        checksum: package.checksum.clone(),
        size: package.size,
    });
    let (documents, packages) = (repomd.records.len(), packages.collect());
    Ok(RepositoryAt { source, repomd: bytes, documents, packages })
}

impl RepositoryAt {
    /// Reads what may be beside the metadata, below a place of its own; `None` where it is not there.
    pub async fn beside(context: &Context, place: &Source, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let place = join(place, name)?;
        let tell = transfer::tell(&context.reporter, &place, name);
        match context.cache.get_telling(&place, most, &tell).await {
            Ok(cached) => Ok(Some(cached.bytes)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(Failure::of(ExitCode::Input, &error)),
        }
    }
}

fn is_missing(error: &FetchError) -> bool {
    match &*error.problem {
        Problem::NotFound(_) => true,
        Problem::Input(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Fetches every document of metadata, so that each is what `repomd.xml` says.
async fn documents(context: &Context, source: &Source, repomd: &Repomd) -> Result<()> {
    for record in &repomd.records {
        let place = join(source, &record.location)?;
        let tell = transfer::tell(&context.reporter, &place, record.kind.name());
        let got = context.cache.get_checked(&place, &record.checksum, record.size, MAX_METADATA, &tell).await;
        got.map_err(|error| Failure::of(ExitCode::Input, &error))?;
    }
    Ok(())
}

fn join(source: &Source, name: &str) -> Result<Source> {
    source.join(name).map_err(|error| Failure::of(ExitCode::Input, &error))
}

fn request(source: &Source, package: &Package) -> Result<Request> {
    Ok(Request {
        source: join(source, &package.location)?,
        checksum: package.checksum.clone(),
        size: Some(package.size),
    })
}

async fn packages(context: &Context, source: &Source, repomd: &Repomd) -> Result<Vec<Package>> {
    let record = repomd.record(&RecordKind::Primary).ok_or_else(|| {
        Failure::new(ExitCode::Input, format!("the metadata at {} names no list of packages", source.shown()))
    })?;
    let place = join(source, &record.location)?;
    let checksum: &Checksum = &record.checksum;
    let tell = transfer::tell(&context.reporter, &place, "the list of packages");
    let fetched = context
        .cache
        .get_checked(&place, checksum, record.size, MAX_METADATA, &tell)
        .await
        .map_err(|error| Failure::of(ExitCode::Input, &error))?;
    let (document, open_size) = (place.shown(), record.open_size);
    let read = blocking(move || -> Result<Vec<Package>, Box<dyn std::error::Error + Send + Sync>> {
        let limits = Limits::default();
        let file = BufReader::new(fs::File::open(&fetched.path)?);
        let mut packages = Vec::new();
        read_whole_primary(decompress(&document, file, open_size, &limits)?, &limits, 1, |package| {
            if packages.len() <= MAX_PACKAGES {
                packages.push(package);
            }
        })?;
        Ok(packages)
    });
    let packages = read.await?.map_err(|error| {
        Failure::because(ExitCode::Input, format!("{} cannot be used", place.shown()), error.as_ref())
    })?;
    if packages.len() > MAX_PACKAGES {
        let message =
            format!("{} lists more than {MAX_PACKAGES} packages: it is no driver repository", place.shown());
        return Err(Failure::new(ExitCode::Input, message));
    }
    Ok(packages)
}
