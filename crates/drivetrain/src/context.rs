//! What all stages of a run share.

use camino::Utf8Path;
use drivetrain_config::Config;
use drivetrain_fetch::{Credentials, Downloader, Http, MetadataCache, Settings, Source, Store};
use drivetrain_host::CancellationToken;
use drivetrain_model::ExitCode;
use url::Url;

use crate::cli::Global;
use crate::failure::{Failure, Result};
use crate::publisher::Publisher;
use crate::reporter::Reporter;
use crate::state::StateDirectory;

/// The surroundings of a run: state, network, reporter, and the token that an interruption cancels.
#[derive(Clone)]
pub struct Context {
    pub state: StateDirectory,
    pub reporter: Reporter,
    pub cache: MetadataCache,
    pub cancel: CancellationToken,
    pub publisher: Publisher,
}

impl Context {
    /// Opens the stores of a state directory.
    pub fn open(state: StateDirectory, reporter: Reporter, cancel: CancellationToken) -> Result<Self> {
        let store = Store::open(state.store()).map_err(|error| store_failure(&state.store(), &error))?;
        let downloader = Downloader::new(Http::new(Settings::default()), store);
        let cache = MetadataCache::open(downloader, state.metadata())
            .map_err(|error| store_failure(&state.metadata(), &error))?;
        let publisher = Publisher::new(state.path(), Some(reporter.clone()));
        Ok(Self { state, reporter, cache, cancel, publisher })
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

/// Reads and checks the configuration file, with what the command line sets in place of its values.
pub fn load_config(global: &Global) -> Result<Config> {
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
    drivetrain_config::parse_with(&text, path.as_str(), &global.set, &environment, base)
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
