//! A repository's metadata: read once, kept, and asked.

//! A repository's metadata, for the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;
use std::ops::ControlFlow;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_config::Repository;
use drivetrain_fetch::{Fetched, Source};
use drivetrain_model::{
    Advisory, Capability, Comparison, Evr, ExitCode, Nevra, Package, RepositoryId, Sha256Digest,
};
use drivetrain_plan::RepositoryMetadata;
use drivetrain_repodata::{
    Decompressor, FileKind, Limits, Modules, Owner, PathPattern, Record, RecordKind, Repomd, RepositoryFile,
    decompress, parse_repomd, read_advisories, read_filelists, read_modules, read_primary,
    read_whole_primary, who_owns,
};
use drivetrain_solve::{IndexBuilder, RepositoryIndex};
use fs_err as fs;

use crate::context::{Context, source};
use crate::failure::{Failure, Result};
use crate::stage::keys::Trust;
use crate::stage::{blocking, transfer};

/// The kernel packages, with the capability that tells each one's release, and a file that does as well.
const RELEASES: &[(&str, &str, &str, &str)] = &[
    ("kernel-core", "kernel-uname-r", "/lib/modules/*/vmlinuz", "/lib/modules/"),
    ("kernel-devel", "kernel-devel-uname-r", "/usr/src/kernels/*/Makefile", "/usr/src/kernels/"),
];

/// The most that a compressed metadata file may have.
const MAX_FILE_BYTES: u64 = 2 << 30;

/// A repository as it was when it was looked at: all that is asked of it later is of the same state.
pub struct Known {
    source: Source,
    repomd: Repomd,
    /// All its packages, where they have been read.
    index: Option<Arc<RepositoryIndex>>,
}

impl Known {
    /// The file lists: ten times as large as everything else, and read only where a file has to be found.
    fn filelists(&self) -> Option<&Record> {
        self.repomd.record(&RecordKind::Filelists)
    }
}

/// Reads a repository, with what the plan asks of the packages with these names. Where all packages will be asked for, or
/// have been before, it reads all; to pass over most of them is five times as fast.
pub async fn read(
    context: &Context,
    id: &RepositoryId,
    repository: &Repository,
    names: &[String],
    all: bool,
) -> Result<(RepositoryMetadata, Known)> {
    let place = Place { context, id, source: source(&repository.url, repository.credentials.as_ref())? };
    let (trust, (bytes, repomd)) = tokio::try_join!(Trust::of(context, id, repository), place.repomd())?;
    let index = match place.kept_index(&repomd).await? {
        None if all => Some(place.index(&repomd).await?),
        kept => kept,
    };
    let mut packages: Vec<Package> = match &index {
        Some(index) => names.iter().flat_map(|name| index.named(name)).collect(),
        None => place.named(&repomd, names).await?,
    };
    place.add_releases(&repomd, &mut packages).await?;
    let metadata = RepositoryMetadata {
        id: id.clone(),
        url: repository.url.clone(),
        snapshot: repository.snapshot.clone(),
        priority: repository.priority,
        exclude: repository.exclude.clone(),
        repomd: Sha256Digest::of(&bytes),
        keys: trust.fingerprints(),
        packages,
    };
    Ok((metadata, Known { source: place.source, repomd, index }))
}

/// All packages of a repository, and its module streams.
pub async fn whole(
    context: &Context,
    id: &RepositoryId,
    known: &Known,
) -> Result<(Arc<RepositoryIndex>, Modules)> {
    let place = Place { context, id, source: known.source.clone() };
    let index = match &known.index {
        Some(index) => index.clone(),
        None => place.index(&known.repomd).await?,
    };
    Ok((index, place.modules(&known.repomd).await?))
}

/// The advisories of a repository that bring packages of these names.
pub async fn advisories(
    context: &Context,
    id: &RepositoryId,
    known: &Known,
    names: &'static [&'static str],
) -> Result<Vec<(Advisory, Vec<Nevra>)>> {
    let Some(record) = known.repomd.record(&RecordKind::Updateinfo) else { return Ok(Vec::new()) };
    let place = Place { context, id, source: known.source.clone() };
    place.read(record, move |opened, limits| Ok(read_advisories(opened, limits, names)?)).await
}

/// Who has which of these files, in one repository. The answer is kept: the lists of a distribution take seconds to read.
pub async fn owners(
    context: &Context,
    id: &RepositoryId,
    known: &Known,
    paths: &BTreeSet<String>,
) -> Result<Vec<(String, Nevra)>> {
    let Some(record) = known.filelists() else { return Ok(Vec::new()) };
    let place = Place { context, id, source: known.source.clone() };
    let asked: Vec<&str> = paths.iter().map(String::as_str).collect();
    let question = Sha256Digest::of(asked.join("\n").as_bytes());
    let kept = context.state.indexes().join(format!("{}-files-{question}.json", record.checksum.hex));
    if let Ok(bytes) = fs::read(&kept)
        && let Ok(answer) = serde_json::from_slice(&bytes)
    {
        return Ok(answer);
    }
    let patterns = paths.iter().map(|path| PathPattern::new(path)).collect();
    let mut answer: Vec<(String, Nevra)> =
        place.who_owns(record, patterns).await?.into_iter().map(|owner| (owner.path, owner.nevra)).collect();
    answer.retain(|(path, _)| paths.contains(path));
    place.keep(&kept, &serde_json::to_vec(&answer).map_err(|error| Failure::of(ExitCode::Internal, &error))?);
    Ok(answer)
}

/// Which of these packages have any of these paths, where one of the two is no directory: directories are shared. A path
/// comes with whether it is one.
pub async fn owners_among(
    context: &Context,
    id: &RepositoryId,
    known: &Known,
    packages: BTreeSet<Nevra>,
    paths: &BTreeMap<&str, bool>,
) -> Result<BTreeSet<Nevra>> {
    let Some(record) = known.filelists() else { return Ok(BTreeSet::new()) };
    let place = Place { context, id, source: known.source.clone() };
    let paths: BTreeMap<String, bool> = paths.iter().map(|(path, is)| ((*path).to_owned(), *is)).collect();
    let read = move |opened: Opened, limits: &Limits| {
        let names: BTreeSet<&str> = packages.iter().map(|nevra| nevra.name.as_str()).collect();
        let mut owners = BTreeSet::new();
        read_filelists(
            opened,
            limits,
            |name, _| names.contains(name),
            |package| {
                let shares = |file: &RepositoryFile| {
                    let ours = paths.get(&file.path);
                    ours.is_some_and(|is_directory| !is_directory || file.kind != FileKind::Directory)
                };
                if packages.contains(&package.nevra) && package.files.iter().any(shares) {
                    owners.insert(package.nevra);
                }
                ControlFlow::Continue(())
            },
        )?;
        Ok(owners)
    };
    place.read(record, read).await
}

struct Place<'a> {
    context: &'a Context,
    id: &'a RepositoryId,
    source: Source,
}

impl Place<'_> {
    fn join(&self, location: &str) -> Result<Source> {
        self.source.join(location).map_err(|error| {
            Failure::because(ExitCode::Input, format!("the metadata of {} cannot be used", self.id), &error)
                .next("tell whoever keeps the repository: its metadata point out of it")
        })
    }

    fn bad(&self, source: &Source, error: &(dyn std::error::Error + 'static)) -> Failure {
        Failure::because(
            ExitCode::Input,
            format!("the metadata of {} at {} cannot be used", self.id, source.shown()),
            error,
        )
        .next(
            "if it was being changed at this moment, try again; otherwise tell whoever keeps the repository",
        )
    }

    /// What is there now: the one file that is asked for in every plan.
    async fn repomd(&self) -> Result<(Vec<u8>, Repomd)> {
        let limits = Limits::default();
        let source = self.join("repodata/repomd.xml")?;
        let tell = transfer::tell(&self.context.reporter, &source, &format!("{} repomd.xml", self.id));
        let got = self.context.cache.get_telling(&source, limits.max_repomd_bytes, &tell).await;
        let bytes = got
            .map_err(|error| {
                Failure::of(ExitCode::Input, &error).next(format!(
                    "compare the url of {} in the configuration with what the server has",
                    self.id
                ))
            })?
            .bytes;
        let repomd = parse_repomd(&bytes, &limits).map_err(|error| self.bad(&source, &error))?;
        Ok((bytes, repomd))
    }

    /// Brings one metadata file here. Its checksum is the one of `repomd.xml` afterwards.
    async fn fetch(&self, record: &Record) -> Result<(Source, Fetched)> {
        let source = self.join(&record.location)?;
        let file = format!("{} {}", self.id, record.kind.name());
        let tell = transfer::tell(&self.context.reporter, &source, &file);
        let fetched = self
            .context
            .cache
            .get_checked(&source, &record.checksum, record.size, MAX_FILE_BYTES, &tell)
            .await
            .map_err(|error| Failure::of(ExitCode::Input, &error))?;
        if !fetched.from_cache {
            self.context.reporter.emit(transfer::finished(&file, fetched.size, false, None));
        }
        Ok((source, fetched))
    }

    fn record<'r>(&self, repomd: &'r Repomd, kind: &RecordKind) -> Result<&'r Record> {
        repomd.record(kind).ok_or_else(|| {
            Failure::new(
                ExitCode::Input,
                format!("repomd.xml of {} at {} names no {}", self.id, self.source.shown(), kind.name()),
            )
            .next("tell whoever keeps the repository")
        })
    }

    fn index_file(&self, primary: &Record) -> Utf8PathBuf {
        self.context.state.indexes().join(format!("{}.index", primary.checksum.hex))
    }

    /// All packages, as an earlier command left them. They are kept by the checksum of the metadata that they are from.
    /// What is damaged, or of another version of drivetrain, is made anew.
    async fn kept_index(&self, repomd: &Repomd) -> Result<Option<Arc<RepositoryIndex>>> {
        let path = self.index_file(self.record(repomd, &RecordKind::Primary)?);
        let kept = blocking(move || RepositoryIndex::from_bytes(&fs::read(path).ok()?).ok()).await?;
        Ok(kept.map(Arc::new))
    }

    /// All packages, which are then kept.
    async fn index(&self, repomd: &Repomd) -> Result<Arc<RepositoryIndex>> {
        let record = self.record(repomd, &RecordKind::Primary)?;
        let index = Arc::new(self.read(record, make_index).await?);
        let written = index.clone();
        let bytes = blocking(move || written.to_bytes()).await?;
        self.keep(&self.index_file(record), &bytes);
        Ok(index)
    }

    /// The packages of these names alone.
    async fn named(&self, repomd: &Repomd, names: &[String]) -> Result<Vec<Package>> {
        let (record, names) = (self.record(repomd, &RecordKind::Primary)?, names.to_vec());
        self.read(record, move |opened, limits| named_packages(opened, limits, &names)).await
    }

    /// Its module streams; none where it says nothing of any.
    async fn modules(&self, repomd: &Repomd) -> Result<Modules> {
        let Some(record) = repomd.record(&RecordKind::Modules) else { return Ok(Modules::default()) };
        self.read(record, |opened, limits| Ok(read_modules(opened, limits)?)).await
    }

    async fn who_owns(&self, record: &Record, patterns: Vec<PathPattern>) -> Result<Vec<Owner>> {
        self.read(record, move |opened, limits| Ok(who_owns(opened, limits, &patterns)?)).await
    }

    /// Brings one metadata file here, and reads it.
    async fn read<T: Send + 'static>(
        &self,
        record: &Record,
        read: impl FnOnce(Opened, &Limits) -> Result<T, Unusable> + Send + 'static,
    ) -> Result<T> {
        let (source, fetched) = self.fetch(record).await?;
        let (document, open_size) = (source.shown(), record.open_size);
        let done = blocking(move || {
            let limits = Limits::default();
            let file = BufReader::with_capacity(1 << 17, fs::File::open(&fetched.path)?);
            read(decompress(&document, file, open_size, &limits)?, &limits)
        });
        done.await?.map_err(|error| self.bad(&source, error.as_ref()))
    }

    /// Keeps something for the next time, whole or not at all. Where that cannot be done, it is made again then.
    fn keep(&self, path: &Utf8Path, bytes: &[u8]) {
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(self.context.state.indexes())?;
            let temporary = self.context.state.scratch_directory()?;
            let unfinished = temporary.path().join("kept");
            fs::write(&unfinished, bytes)?;
            fs::rename(unfinished, path)
        };
        if let Err(error) = write() {
            self.context.reporter.warn(format!("{path} cannot be kept, and has to be made again: {error}"));
        }
    }

    /// Fills in the kernel releases of packages whose provides do not tell them, from the files they own.
    /// RHEL's do; the filelists, ten times as large, are then never asked for.
    async fn add_releases(&self, repomd: &Repomd, packages: &mut [Package]) -> Result<()> {
        let silent = |package: &Package| {
            RELEASES.iter().any(|(name, capability, _, _)| {
                package.nevra.name == *name && package.provided(capability).is_none()
            })
        };
        if !packages.iter().any(silent) {
            return Ok(());
        }
        let record = self.record(repomd, &RecordKind::Filelists)?;
        let patterns = RELEASES.iter().map(|(_, _, file, _)| PathPattern::new(file)).collect();
        let owners = self.who_owns(record, patterns).await?;
        for package in packages.iter_mut().filter(|package| silent(package)) {
            let Some((_, capability, _, before)) =
                RELEASES.iter().find(|(name, ..)| package.nevra.name == *name)
            else {
                continue;
            };
            let release = owners
                .iter()
                .filter(|owner| owner.nevra == package.nevra)
                .find_map(|owner| owner.path.strip_prefix(before)?.split('/').next());
            if let Some(release) = release {
                let evr = Evr::parse(release);
                package.provides.push(Capability::versioned(*capability, Comparison::Equal, evr));
            }
        }
        Ok(())
    }
}

/// Why metadata cannot be used.
type Unusable = Box<dyn std::error::Error + Send + Sync>;

/// A metadata file, decompressed as it is read.
type Opened = Decompressor<BufReader<fs::File>>;

/// The most threads that parse one repository's metadata: more would wait for the one that cuts them out of the stream.
const MOST_PARSERS: usize = 4;

fn make_index(opened: Opened, limits: &Limits) -> Result<RepositoryIndex, Unusable> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = IndexBuilder::default();
    read_whole_primary(opened, limits, processors.min(MOST_PARSERS), |package| builder.push(&package))?;
    Ok(builder.finish()?)
}

fn named_packages(opened: Opened, limits: &Limits, names: &[String]) -> Result<Vec<Package>, Unusable> {
    let mut builder = IndexBuilder::default();
    read_primary(
        opened,
        limits,
        |name, _| names.iter().any(|wanted| wanted == name),
        |package| {
            builder.push(&package);
            ControlFlow::Continue(())
        },
    )?;
    Ok(builder.finish()?.packages().collect())
}
