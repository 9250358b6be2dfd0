//! The source RPMs of a driver stack: those of the vendor's archive, and the site's own.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_config::{Config, ExtraSource};
use drivetrain_fetch::{Store, Stored};
use drivetrain_model::{ExitCode, Sha256Digest};
use drivetrain_plan::{ChosenPackage, Components, Origin, Selection, SourcePackage, components};
use drivetrain_rpmfile::{DriverSources, PayloadLimits, SourceLimits, SourceRpm, for_each_file};
use fs_err as fs;
use glob::Pattern;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::context::{Context, source};
use crate::failure::{Failure, Result};
use crate::stage::fetch::request;
use crate::stage::keys::Trust;
use crate::stage::plan::Planned;
use crate::stage::{blocking, transfer};
use crate::state::StateDirectory;

/// Raised when the facts below change their meaning.
const FORMAT: u32 = 1;

/// What was found in a source archive: remembered, since opening it takes seconds and it never changes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Opened {
    format: u32,
    /// Who signed the package that holds it.
    signed_by: Option<String>,
    sources: Vec<SourcePackage>,
}

/// The components that a selection is built from, in order.
pub async fn components_of(context: &Context, config: &Config, selection: &Selection) -> Result<Components> {
    let mut found = vendor(context, config, &selection.source).await?;
    found.extend(extra(context, config).await?);
    Ok(components(config, &found)?)
}

/// Fetches and verifies the vendor's source package, and reads every source RPM in it into the store.
pub async fn vendor(
    context: &Context,
    config: &Config,
    chosen: &ChosenPackage,
) -> Result<Vec<SourcePackage>> {
    let trust = Trust::of(context, &config.driver.repository_id, &config.driver.repository).await?;
    let identity = format!("{} {}", chosen.input.checksum, trust.digest_for(&chosen.input.nevra));
    let memory = context.state.sources().join(format!("{}.json", Sha256Digest::of(identity.as_bytes())));
    if let Some(opened) = remembered(&memory, context.store()) {
        return Ok(opened.sources);
    }
    let request = request(&chosen.input, &config.driver.repository)?;
    let (fetched, signed_by) = trust.fetch(context, &request, &chosen.input.nevra).await?;
    let (store, state) = (context.store().clone(), context.state.clone());
    let shown = request.source.shown();
    let sources = blocking(move || open_archive(&fetched.path, &shown, &store, &state)).await??;
    remember(&memory, &Opened { format: FORMAT, signed_by, sources: sources.clone() });
    Ok(sources)
}

fn remembered(path: &Utf8Path, store: &Store) -> Option<Opened> {
    let opened: Opened = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let all_here =
        opened.sources.iter().all(|source| store.contains(&source.sha256.into(), Some(source.size)));
    (opened.format == FORMAT && all_here).then_some(opened)
}

/// Drops source RPMs of the store that are damaged, before a build reads them: whoever fetches finds them missing,
/// and takes them from their archive again.
pub async fn drop_damaged(context: &Context, planned: &Planned) -> Result<()> {
    for component in &planned.components.ordered {
        let (store, checksum) = (context.store().clone(), component.source.sha256.into());
        let taken = blocking(move || store.take(&checksum, None)).await?;
        if let Stored::Dropped(damage) = taken.map_err(|error| Failure::of(ExitCode::Failure, &error))? {
            context.reporter.warn(transfer::damaged(&component.source.nevra.file_name(), &damage));
        }
    }
    Ok(())
}

/// Kept where it can be; without it the next plan is slower and nothing else.
fn remember(path: &Utf8Path, opened: &Opened) {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| serde_json::to_vec(opened).map_err(io::Error::from))
        .and_then(|bytes| fs::write(&temporary, bytes))
        .and_then(|()| fs::rename(&temporary, path));
    drop(written);
}

/// The package holds `MLNX_OFED_SRC-<version>.tgz`, and that holds the source RPMs.
fn open_archive(
    package: &Utf8Path,
    shown: &str,
    store: &Store,
    state: &StateDirectory,
) -> Result<Vec<SourcePackage>> {
    let scratch = state.scratch_directory().map_err(|error| Failure::of(ExitCode::Failure, &error))?;
    let mut found: Option<Result<Vec<SourcePackage>>> = None;
    let limits = PayloadLimits { max_total: 16 << 30, max_file: 8 << 30, ..PayloadLimits::default() };
    let unreadable = |error: &(dyn std::error::Error + 'static)| {
        Failure::because(ExitCode::Input, format!("the source archive in {shown} cannot be read"), error)
            .next("compare driver.source with the package that holds the source archive in the vendor's repository")
    };
    for_each_file(package.as_std_path(), &limits, |entry, content| {
        let name = entry.file.path.rsplit('/').next().unwrap_or_default();
        if !is_source_archive(name) {
            return Ok(ControlFlow::Continue(()));
        }
        let mut sources = Vec::new();
        let limits = SourceLimits::default();
        let read = DriverSources::read(name, content, &limits, |entry, reader| {
            sources.push(take(reader, &entry.file_name, store, scratch.path())?);
            Ok(ControlFlow::Continue(()))
        });
        found = Some(read.map(|_| sources).map_err(|error| unreadable(&error)));
        Ok(ControlFlow::Break(()))
    })
    .map_err(|error| unreadable(&error))?;
    match found {
        Some(Ok(sources)) if sources.is_empty() => Err(Failure::new(
            ExitCode::Input,
            format!("the source archive in {shown} has no source RPMs: none below SRPMS/ ends in .src.rpm"),
        )
        .next("this driver version may be packed in another way: please report it")),
        Some(result) => result,
        None => Err(Failure::new(
            ExitCode::Input,
            format!("{shown} holds no source archive: no file in it is called MLNX_OFED_SRC-<version>.tgz"),
        )
        .next("name the package that holds it as driver.source")),
    }
}

fn is_source_archive(name: &str) -> bool {
    ["MLNX_OFED_SRC-*.tgz", "MLNX_OFED_SRC-*.tar.*"]
        .iter()
        .filter_map(|pattern| Pattern::new(pattern).ok())
        .any(|pattern| pattern.matches(name))
}

/// Writes one source RPM into the store and reads what the plan needs of it.
fn take(reader: &mut dyn Read, name: &str, store: &Store, scratch: &Path) -> io::Result<SourcePackage> {
    let mut file = tempfile::NamedTempFile::new_in(scratch)?;
    let size = io::copy(reader, &mut file)?;
    let path = Utf8Path::from_path(file.path())
        .ok_or_else(|| io::Error::other("the state directory is not UTF-8"))?;
    let (sha256, stored) = store.insert_from_file(path).map_err(io::Error::other)?;
    facts(&stored, name, sha256, size, Origin::Vendor).map_err(io::Error::other)
}

fn facts(
    path: &Utf8Path,
    name: &str,
    sha256: Sha256Digest,
    size: u64,
    origin: Origin,
) -> Result<SourcePackage, drivetrain_rpmfile::Error> {
    let opened = SourceRpm::from_reader(open(path, name)?, name)?;
    Ok(SourcePackage {
        nevra: opened.facts.nevra.clone(),
        sha256,
        size,
        packages: opened.packages(),
        may_need: opened.may_need(),
        takes_kernel: opened.spec_text.contains("KVERSION") || opened.spec_text.contains("building_kmods"),
        origin,
    })
}

fn open(path: &Utf8Path, name: &str) -> Result<File, drivetrain_rpmfile::Error> {
    File::open(path).map_err(|error| drivetrain_rpmfile::Error {
        file: name.to_owned(),
        problem: Box::new(drivetrain_rpmfile::Problem::Read(error)),
    })
}

/// The source RPMs that the configuration names beside the vendor's, copied into the store. A file was put
/// there by whoever wrote the configuration; a URL comes with its checksum.
pub async fn extra(context: &Context, config: &Config) -> Result<Vec<SourcePackage>> {
    let mut sources = Vec::new();
    for extra in &config.driver.extra {
        match extra {
            ExtraSource::Path(path) => {
                for file in source_files(path)? {
                    let store = context.store().clone();
                    sources.push(blocking(move || take_file(&file, &store)).await??);
                }
            }
            ExtraSource::Url { url, sha256 } => sources.push(take_url(context, url, *sha256).await?),
        }
    }
    Ok(sources)
}

fn source_files(path: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
    let unreadable = |error: &(dyn std::error::Error + 'static)| {
        Failure::because(ExitCode::Usage, format!("{path}, which driver.extra names, cannot be read"), error)
    };
    if !fs::metadata(path).map_err(|error| unreadable(&error))?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in path.read_dir_utf8().map_err(|error| unreadable(&error))? {
        let entry = entry.map_err(|error| unreadable(&error))?;
        if entry.file_name().ends_with(".src.rpm") {
            files.push(entry.into_path());
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::new(
            ExitCode::Usage,
            format!("{path}, which driver.extra names, has no file that ends in .src.rpm"),
        ));
    }
    Ok(files)
}

fn take_file(file: &Utf8Path, store: &Store) -> Result<SourcePackage> {
    let bad = |error: &(dyn std::error::Error + 'static)| {
        Failure::because(ExitCode::Input, format!("the extra source RPM {file} cannot be used"), error)
    };
    let (sha256, stored) = store.insert_from_file(file).map_err(|error| bad(&error))?;
    let size = fs::metadata(&stored).map_err(|error| bad(&error))?.len();
    let url = Url::from_file_path(file).map_err(|()| {
        Failure::new(ExitCode::Usage, format!("{file}, which driver.extra names, is no absolute path"))
    })?;
    facts(&stored, file.as_str(), sha256, size, Origin::Extra { url }).map_err(|error| bad(&error))
}

async fn take_url(context: &Context, url: &Url, sha256: Sha256Digest) -> Result<SourcePackage> {
    let location = source(url, None)?;
    let file = location.file_name().to_owned();
    let tell = transfer::tell(&context.reporter, &location, &file);
    let fetched = context
        .cache
        .downloader()
        .download(&location, &sha256.into(), None, &tell)
        .await
        .map_err(|error| Failure::of(ExitCode::Input, &error))?;
    if !fetched.from_cache {
        context.reporter.emit(transfer::finished(&file, fetched.size, false, None));
    }
    let origin = Origin::Extra { url: url.clone() };
    facts(&fetched.path, &location.shown(), sha256, fetched.size, origin).map_err(|error| {
        Failure::because(
            ExitCode::Input,
            format!("the extra source RPM {} cannot be used", location.shown()),
            &error,
        )
    })
}
