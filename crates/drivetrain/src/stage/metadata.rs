//! A repository's metadata, for the plan.

use std::io::BufReader;
use std::ops::ControlFlow;

use drivetrain_config::Repository;
use drivetrain_fetch::{Fetched, Source};
use drivetrain_model::{Capability, Comparison, Evr, ExitCode, Package, RepositoryId, Sha256Digest};
use drivetrain_plan::RepositoryMetadata;
use drivetrain_repodata::{
    Limits, PathPattern, Record, RecordKind, Repomd, RepositoryIndex, decompress, parse_repomd, read_primary,
    who_owns,
};

use crate::context::{Context, source};
use crate::failure::{Failure, Result, internal};
use crate::stage::transfer;

/// The kernel packages, with the capability that tells each one's release, and a file that does as well.
const RELEASES: &[(&str, &str, &str, &str)] = &[
    ("kernel-core", "kernel-uname-r", "/lib/modules/*/vmlinuz", "/lib/modules/"),
    ("kernel-devel", "kernel-devel-uname-r", "/usr/src/kernels/*/Makefile", "/usr/src/kernels/"),
];

/// The most that a compressed metadata file may have.
const MAX_FILE_BYTES: u64 = 2 << 30;

/// Reads what a repository says of the packages with these names.
pub async fn read(
    context: &Context,
    id: &RepositoryId,
    repository: &Repository,
    names: &[String],
) -> Result<RepositoryMetadata> {
    let place = Place { context, id, source: source(&repository.url, repository.credentials.as_ref())? };
    let limits = Limits::default();
    let repomd_source = place.join("repodata/repomd.xml")?;
    let bytes = context
        .cache
        .get_telling(
            &repomd_source,
            limits.max_repomd_bytes,
            &transfer::tell(&context.reporter, &repomd_source, &format!("{id} repomd.xml")),
        )
        .await
        .map_err(|error| {
            Failure::of(ExitCode::Input, &error)
                .next(format!("compare the url of {id} in the configuration with what the server has"))
        })?
        .bytes;
    let repomd = parse_repomd(&bytes, &limits).map_err(|error| place.bad(&repomd_source, &error))?;
    let mut packages = place.packages(&repomd, names).await?;
    place.add_releases(&repomd, &mut packages).await?;
    Ok(RepositoryMetadata {
        id: id.clone(),
        url: repository.url.clone(),
        snapshot: repository.snapshot.clone(),
        priority: repository.priority,
        exclude: repository.exclude.clone(),
        repomd: Sha256Digest::of(&bytes),
        packages,
    })
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

    async fn packages(&self, repomd: &Repomd, names: &[String]) -> Result<Vec<Package>> {
        let record = self.record(repomd, &RecordKind::Primary)?;
        let (source, fetched) = self.fetch(record).await?;
        let (document, names) = (source.shown(), names.to_vec());
        let open_size = record.open_size;
        let read =
            tokio::task::spawn_blocking(move || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
                let limits = Limits::default();
                let file = BufReader::with_capacity(1 << 17, fs_err::File::open(&fetched.path)?);
                let opened = decompress(&document, file, open_size, &limits)?;
                let mut index = RepositoryIndex::new();
                let mut conflict = None;
                read_primary(
                    opened,
                    &limits,
                    |name, _| names.iter().any(|wanted| wanted == name),
                    |package| match index.insert(package) {
                        Ok(_) => ControlFlow::Continue(()),
                        Err(found) => {
                            conflict = Some(found);
                            ControlFlow::Break(())
                        }
                    },
                )?;
                match conflict {
                    Some(conflict) => Err(conflict),
                    None => Ok(index.into_packages().collect::<Vec<_>>()),
                }
            });
        let read = read.await.map_err(|error| internal(&error))?;
        read.map_err(|error| self.bad(&source, error.as_ref()))
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
        let (source, fetched) = self.fetch(record).await?;
        let (document, open_size) = (source.shown(), record.open_size);
        let read =
            tokio::task::spawn_blocking(move || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
                let limits = Limits::default();
                let file = BufReader::with_capacity(1 << 17, fs_err::File::open(&fetched.path)?);
                let opened = decompress(&document, file, open_size, &limits)?;
                let patterns: Vec<_> =
                    RELEASES.iter().map(|(_, _, file, _)| PathPattern::new(file)).collect();
                Ok(who_owns(opened, &limits, &patterns)?)
            });
        let owners = read
            .await
            .map_err(|error| internal(&error))?
            .map_err(|error| self.bad(&source, error.as_ref()))?;
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
