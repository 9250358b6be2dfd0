//! The publication target of a configuration: a directory, or a Pulp server.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_config::{Config, Publish, PublishDirectory, PublishPulp, PublishTarget, PulpCredentials};
use drivetrain_fetch::Credentials;
use drivetrain_model::{Event, ExitCode, RunId};
use drivetrain_publish::{
    DirectoryOptions, DirectoryTarget, PublishError, PulpOptions, PulpStep, PulpTarget, Signing, Target,
};
use drivetrain_pulp::{Client, Notice, Profile, Settings, correlation_id, default_profile_file};
use drivetrain_rpmfile::PackageKey;
use fs_err as fs;
use jiff::Timestamp;
use tokio::runtime::Handle;
use url::Url;

use crate::failure::{Failure, Result};
use crate::journal;
use crate::reporter::Reporter;
use crate::stage::sign;

/// A password is a line, not a file.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// Opens the target, and keeps a server's session, and the key, for the whole of a process. Cheap to clone.
#[derive(Clone)]
pub struct Publisher(Arc<Inner>);

struct Inner {
    /// Who is told what a publication does.
    reporter: Option<Reporter>,
    /// The state directory: part of who this is to the server.
    state: Utf8PathBuf,
    run: OnceLock<RunId>,
    pulp: Kept<PulpTarget>,
    key: Kept<PackageKey>,
}

/// What was made for a `publish` section: the cells of a matrix may have several.
struct Kept<T>(Mutex<Vec<(Publish, Arc<T>)>>);

impl<T> Kept<T> {
    fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// What was made for it before, or is made now.
    fn get_or_make(&self, publish: &Publish, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, made)) = kept.iter().find(|(known, _)| known == publish) {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(make()?);
        kept.push((publish.clone(), Arc::clone(&made)));
        Ok(made)
    }
}

impl Publisher {
    /// For a process that works in this state directory.
    pub fn new(state: &Utf8Path, reporter: Option<Reporter>) -> Self {
        let inner = Inner {
            reporter,
            state: state.to_owned(),
            run: OnceLock::new(),
            pulp: Kept::new(),
            key: Kept::new(),
        };
        Self(Arc::new(inner))
    }

    /// What is done from now on is done for this run: the server's log says so.
    pub fn for_run(&self, run: &RunId) {
        // A second run in one process there is not.
        drop(self.0.run.set(run.clone()));
    }

    /// The target, if it is there: a plan makes nothing. Whether a server is there is found out when it is asked.
    pub fn existing(&self, config: &Config) -> Result<Option<Arc<dyn Target>>> {
        match &config.publish.target {
            PublishTarget::Directory(directory) if !DirectoryTarget::is_at(directory.path.as_std_path()) => {
                Ok(None)
            }
            // Whoever asks what is served need not have the key.
            PublishTarget::Directory(directory) => Ok(Some(self.directory(directory, config, None)?)),
            PublishTarget::Pulp(pulp) => Ok(Some(self.pulp(pulp, config)?)),
        }
    }

    /// The target, made where it is not there.
    pub fn made(&self, config: &Config) -> Result<Arc<dyn Target>> {
        match &config.publish.target {
            PublishTarget::Directory(directory) => {
                let make = |path: &Path| {
                    fs::create_dir_all(path).map_err(|error| Failure::of(ExitCode::Publish, &error))
                };
                if let Some(parent) = directory.path.parent() {
                    make(parent.as_std_path())?;
                }
                let signing = self.key(config)?.as_ref().map(sign::signing);
                Ok(self.directory(directory, config, signing)?)
            }
            PublishTarget::Pulp(pulp) => {
                let target = self.pulp(pulp, config)?;
                if let Some(key) = self.key(config)? {
                    target.packages_are_signed(sign::signing(&key));
                }
                Ok(target)
            }
        }
    }

    /// The key that what is published is signed with, where it is: read and tried once.
    pub fn key(&self, config: &Config) -> Result<Option<Arc<PackageKey>>> {
        let Some(sign) = &config.publish.sign else { return Ok(None) };
        self.0.key.get_or_make(&config.publish, || sign::read(sign)).map(Some)
    }

    fn directory(
        &self,
        directory: &PublishDirectory,
        config: &Config,
        signing: Option<Signing>,
    ) -> Result<Arc<DirectoryTarget>> {
        let options = DirectoryOptions {
            base_url: directory.base_url.clone(),
            keep: config.publish.keep,
            signing,
            ..DirectoryOptions::default()
        };
        DirectoryTarget::open(directory.path.as_std_path(), options)
            .map(Arc::new)
            .map_err(|error| failed(&error))
    }

    fn pulp(&self, pulp: &PublishPulp, config: &Config) -> Result<Arc<PulpTarget>> {
        self.0.pulp.get_or_make(&config.publish, || {
            let client =
                Client::new(self.settings(pulp)?).map_err(|error| Failure::of(ExitCode::Publish, &error))?;
            Ok(PulpTarget::new(client, Handle::current(), self.options(pulp, config)))
        })
    }

    fn options(&self, pulp: &PublishPulp, config: &Config) -> PulpOptions {
        let reporter = self.0.reporter.clone();
        PulpOptions {
            keep: config.publish.keep,
            chunk: u64::from(pulp.chunk_mib) << 20,
            adopt: pulp.adopt,
            guard: pulp.content_guard.clone(),
            signing_service: pulp.signing_service.clone(),
            client_name: format!("{}:{}", crate::stage::publish::who(), self.0.state),
            progress: Box::new(move |step| {
                if let Some(reporter) = &reporter {
                    reporter.emit(event(&step));
                }
            }),
        }
    }

    fn settings(&self, pulp: &PublishPulp) -> Result<Settings> {
        let profile = pulp.profile.as_deref().map(|name| profile(pulp, name)).transpose()?;
        let profile = profile.as_ref();
        let server = pulp.url.clone().or_else(|| profile?.base_url.clone()).ok_or_else(|| {
            Failure::new(
                ExitCode::Usage,
                "neither publish.pulp.url nor base_url of the profile says where Pulp is",
            )
        })?;
        let mut settings = Settings::new(server);
        settings.credentials = match &pulp.credentials {
            Some(credentials) => Some(given(credentials)?),
            None => profile.and_then(|profile| profile.credentials.clone()),
        };
        require_private(&settings)?;
        let api_root = profile.and_then(|profile| profile.api_root.clone());
        settings.api_root = match api_root {
            // What is configured here goes before what a profile says, and this is what is there unless it is.
            Some(root) if pulp.api_root == settings.api_root => root,
            _ => pulp.api_root.clone(),
        };
        settings.domain = pulp.domain.clone().or_else(|| profile?.domain.clone());
        settings.ca = pulp.ca.clone();
        settings.connections = usize::try_from(pulp.connections).unwrap_or(1);
        let run = self.0.run.get().cloned().unwrap_or_else(|| journal::new_run_id(Timestamp::now()));
        settings.correlation = correlation_id(run.as_str());
        if let Some(reporter) = self.0.reporter.clone() {
            let doing =
                format!("asking {}, whose log has this run as {}", target(&settings), settings.correlation);
            reporter.emit(Event::Publishing { doing });
            settings.notice = Notice::new(move |what| reporter.warn(what));
        }
        Ok(settings)
    }
}

fn target(settings: &Settings) -> String {
    format!("Pulp {}", settings.server.as_str().trim_end_matches('/'))
}

/// A password goes over TLS, or not out of this host.
fn require_private(settings: &Settings) -> Result<()> {
    let server = &settings.server;
    let local = matches!(server.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if settings.credentials.is_none() || server.scheme() == "https" || local {
        return Ok(());
    }
    Err(Failure::new(
        ExitCode::Usage,
        format!("{server} is plain http, and the password would be sent readable"),
    )
    .next("use https, with publish.pulp.ca where the server has a certificate of your own authority"))
}

fn profile(pulp: &PublishPulp, name: &str) -> Result<Profile> {
    let file = pulp.profile_file.clone().or_else(|| default_profile_file(|name| std::env::var(name).ok()));
    let file = file.ok_or_else(|| {
        Failure::new(ExitCode::Usage, "where pulp-cli's settings are is not known: HOME is not set")
            .next("name the file with publish.pulp.profile_file")
    })?;
    Profile::read(&file, name).map_err(|error| Failure::of(ExitCode::Usage, &error))
}

fn given(credentials: &PulpCredentials) -> Result<Credentials> {
    match credentials {
        PulpCredentials::Given(given) => {
            Ok(Credentials::new(given.username.expose(), given.password.expose()))
        }
        PulpCredentials::File { username, password_file } => {
            let password = password(password_file).map_err(|error| {
                let message =
                    format!("publish.pulp.credentials.password_file {password_file} cannot be used");
                Failure::because(ExitCode::Usage, message, &error)
            })?;
            Ok(Credentials::new(username, password))
        }
    }
}

/// The first line of a file; nothing else may be in it.
fn password(file: &Utf8Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    fs::File::open(file)?.take(MAX_PASSWORD_BYTES + 1).read_to_string(&mut text)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains(['\n', '\r']) || text.len() as u64 > MAX_PASSWORD_BYTES {
        return Err(std::io::Error::other("it must hold the password, in one line"));
    }
    Ok(line.to_owned())
}

/// What a server was asked to publish, as an event of the run.
fn event(step: &PulpStep) -> Event {
    match *step {
        PulpStep::Upload { files: 0, of_files, bytes: 0, of_bytes } => Event::Publishing {
            doing: format!(
                "uploading {}, {}",
                crate::view::words::count(of_files, "package"),
                crate::view::words::bytes(of_bytes)
            ),
        },
        PulpStep::Upload { files, of_files, bytes, of_bytes } => {
            Event::UploadProgress { files, of_files, bytes, of_bytes }
        }
        _ => Event::Publishing { doing: step.words().to_owned() },
    }
}

/// The target, in words: for the plan.
pub fn target_words(config: &Config) -> String {
    match &config.publish.target {
        PublishTarget::Directory(directory) => format!("directory {}", directory.path),
        PublishTarget::Pulp(pulp) => {
            let server = pulp.url.as_ref().map(Url::to_string);
            let server = server.or_else(|| pulp.profile.as_ref().map(|name| format!("of profile {name}")));
            format!("Pulp {}", server.unwrap_or_default().trim_end_matches('/'))
        }
    }
}

/// What a target could not do.
pub fn failed(error: &PublishError) -> Failure {
    let failure = Failure::of(ExitCode::Publish, error);
    match error {
        PublishError::Replaced { .. } => failure.next(
            "give the new packages another release, so that nodes take them; or publish them all the same with \
             --replace, and reinstall them on nodes that have the others",
        ),
        PublishError::Pulp(drivetrain_pulp::PulpError::Credentials { .. }) => failure.next(
            "see publish.pulp.credentials, or the profile: `pulp status` with the same profile should work, and \
             `pulp user list` say who you are",
        ),
        PublishError::ServerFull { .. } => {
            failure.next("make room on the server, such as with `pulp orphan cleanup`, and run again: nothing is lost")
        }
        PublishError::Pulp(error) if error.is_transient() => {
            failure.next("run again when the server is well: what is there already is not sent again")
        }
        _ => failure,
    }
}
