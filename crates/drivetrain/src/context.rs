//! What all stages of a run share.

use camino::Utf8Path;
use drivetrain_config::{Config, ConfiguredCell};
use drivetrain_fetch::{Credentials, Downloader, Http, MetadataCache, Settings, Source, Store};
use drivetrain_host::CancellationToken;
use drivetrain_model::ExitCode;
use url::Url;

use crate::cli::Global;
use crate::command::state_path;
use crate::failure::{Failure, Result};
use crate::kayobe_train;
use crate::publisher::Publisher;
use crate::reporter::Reporter;
use crate::state::StateDirectory;
use crate::together::Together;
use crate::view;

/// The surroundings of a run: state, network, reporter, and the token that an interruption cancels.
#[derive(Clone)]
pub struct Context {
    pub state: StateDirectory,
    pub reporter: Reporter,
    pub cache: MetadataCache,
    pub cancel: CancellationToken,
    pub publisher: Publisher,
    /// What it shares with other cells that are worked on in this process.
    pub together: Together,
}

impl Context {
    /// Opens the stores of a state directory.
    pub fn open(state: StateDirectory, reporter: Reporter, cancel: CancellationToken) -> Result<Self> {
        let store = Store::open(state.store()).map_err(|error| store_failure(&state.store(), &error))?;
        let downloader = Downloader::new(Http::new(Settings::default()), store);
        let cache = MetadataCache::open(downloader, state.metadata())
            .map_err(|error| store_failure(&state.metadata(), &error))?;
        let publisher = Publisher::new(state.path(), Some(reporter.clone()));
        Ok(Self { state, reporter, cache, cancel, publisher, together: Together::default() })
    }

    /// For what is looked up besides, and not told of.
    pub fn quiet(global: &Global, cancel: CancellationToken) -> Result<Self> {
        let state = StateDirectory::open(state_path(global))?;
        Self::open(state, Reporter::new(Box::new(view::Quiet)), cancel)
    }

    /// The store of fetched files.
    pub fn store(&self) -> &Store {
        self.cache.downloader().store()
    }

    /// The failure of something that ends when the run is interrupted: then it is that, in whatever words it ended.
    pub fn or_interrupted(&self, failure: Failure) -> Failure {
        if self.cancel.is_cancelled() { Failure::interrupted() } else { failure }
    }

    /// Does something until it is done or the run is interrupted.
    pub async fn unless_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Failure::interrupted()),
            result = work => result,
        }
    }
}

fn store_failure(path: &Utf8Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::because(ExitCode::Failure, format!("{path} cannot be used"), error)
        .next("make room or rights there, or choose another state directory with --state")
}

/// A URL of the configuration as a source, with the credentials of its repository.
pub fn source(url: &Url, credentials: Option<&drivetrain_config::Credentials>) -> Result<Source> {
    let credentials = credentials
        .map(|credentials| Credentials::new(credentials.username.expose(), credentials.password.expose()));
    Source::new(url.clone())
        .map(|source| source.with_credentials(credentials))
        .map_err(|error| Failure::of(ExitCode::Usage, &error))
}

/// The configuration of one cell, for what is done with one.
pub fn load_config(global: &Global) -> Result<Config> {
    let mut cells = load_cells(global)?;
    match (cells.pop(), cells.as_slice()) {
        (Some(only), []) => Ok(only.config),
        (last, others) => Err(several(others.iter().chain(last.as_ref()).map(|cell| cell.name.as_str()))),
    }
}

/// The configuration of one train and driver, for what is done with all of its kernels: a matrix may have several of these.
pub fn load_stack(global: &Global) -> Result<Config> {
    let cells = load_cells(global)?;
    let stack = |config: &Config| {
        (
            config.train.name.clone(),
            config.driver.name.clone(),
            config.driver.version.clone(),
            config.publish.clone(),
        )
    };
    let first = cells.first().map(|cell| stack(&cell.config));
    if cells.iter().any(|cell| Some(stack(&cell.config)) != first) {
        return Err(several(cells.iter().map(|cell| cell.name.as_str())));
    }
    cells.into_iter().next().map(|cell| cell.config).ok_or_else(no_cell)
}

/// The configuration of the first cell, for what is the same in all of them.
pub fn load_any(global: &Global) -> Result<Config> {
    load_cells(global)?.into_iter().next().map(|cell| cell.config).ok_or_else(no_cell)
}

fn several<'n>(names: impl Iterator<Item = &'n str>) -> Failure {
    let mut failure =
        Failure::new(ExitCode::Usage, "the configuration has several cells, and this is done with one");
    failure.causes = names.take(20).map(str::to_owned).collect();
    failure.next("name one with --cell, which takes * for any text: --cell 'rocky-9.6/*'")
}

fn no_cell() -> Failure {
    Failure::new(ExitCode::Usage, "the configuration has no such cell").next("look at what --cell says")
}

/// Those of the configuration's cells that the command line means.
pub fn load_cells(global: &Global) -> Result<Vec<ConfiguredCell>> {
    let all = read_config(global)?;
    if global.cell.is_empty() {
        return Ok(all);
    }
    let names: Vec<String> = all.iter().map(|cell| cell.name.clone()).collect();
    let meant = |cell: &ConfiguredCell| global.cell.iter().any(|pattern| pattern.matches(&cell.name));
    let cells: Vec<ConfiguredCell> = all.into_iter().filter(meant).collect();
    if cells.is_empty() {
        let mut failure = Failure::new(ExitCode::Usage, "the configuration has no cell that --cell names");
        failure.causes = names.into_iter().take(20).collect();
        return Err(failure.next("name one of these; * stands for any text"));
    }
    Ok(cells)
}

/// Reads and checks the configuration file, with what the command line sets in place of its values.
fn read_config(global: &Global) -> Result<Vec<ConfiguredCell>> {
    let path = global.config.as_path();
    let unreadable = |error: &std::io::Error| {
        let failure =
            Failure::because(ExitCode::Usage, format!("the configuration {path} cannot be read"), error);
        match error.kind() {
            std::io::ErrorKind::NotFound => failure
                .next("name the file with --config FILE, or write a commented one with `drivetrain init`"),
            _ => failure,
        }
    };
    // The limit is the parser's; what is longer is not read into memory first.
    let text = read_limited(path).map_err(|error| unreadable(&error))?;
    let absolute = camino::absolute_utf8(path).map_err(|error| unreadable(&error))?;
    let base = absolute.parent().unwrap_or(Utf8Path::new("/"));
    let site = kayobe_train::read;
    drivetrain_config::parse_site(&text, path.as_str(), &global.set, &environment, base, &site)
        .map_err(|error| Failure::new(ExitCode::Usage, error.to_string()))
}

fn read_limited(path: &Utf8Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let limit = u64::try_from(drivetrain_config::MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    fs_err::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8 text"))
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
