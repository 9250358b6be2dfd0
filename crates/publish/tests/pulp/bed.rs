//! A server, and a target on it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drivetrain_fetch::Credentials;
use drivetrain_lab::pulp::{self, Options, Release, Server};
use drivetrain_model::Sha256Digest;
use drivetrain_publish::{
    Outcome, Publication, Published, PulpOptions, PulpStep, PulpTarget, RepositoryPath,
};
use drivetrain_pulp::{Client, Settings, correlation_id};
use url::Url;

use crate::support::{self, rpm};

/// A server of its own for one test, with packages to publish.
pub struct Bed {
    pub server: Server,
    pub runtime: tokio::runtime::Runtime,
    pub files: tempfile::TempDir,
}

impl Bed {
    /// `None`, and said so, where the lab has no Pulp.
    pub fn new(release: Release) -> Option<Self> {
        // The old release has no sessions, and each password costs it a third of a second.
        Self::with(release, Options { fast_auth: release == Release::Lts, ..Options::default() })
    }

    pub fn with(release: Release, options: Options) -> Option<Self> {
        let installation = pulp::installed(release)?;
        let server = Server::start(&installation, options).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Some(Self { server, runtime, files: tempfile::tempdir().unwrap() })
    }

    pub fn settings(&self) -> Settings {
        self.settings_at(&self.server.api_url())
    }

    /// By way of another address: a proxy's.
    pub fn settings_at(&self, url: &str) -> Settings {
        let mut settings = Settings::new(Url::parse(url).unwrap());
        settings.credentials = Some(Credentials::new(self.server.username(), self.server.password()));
        settings.correlation = correlation_id(&format!("{:?}", std::thread::current().id()));
        settings.patience = Duration::from_secs(180);
        settings.proxy_from_environment = false;
        settings
    }

    pub fn target(&self) -> PulpTarget {
        self.target_with(self.settings(), PulpOptions::default())
    }

    pub fn target_with(&self, settings: Settings, options: PulpOptions) -> PulpTarget {
        PulpTarget::new(Client::new(settings).unwrap(), self.runtime.handle().clone(), options)
    }

    /// As a user with these roles.
    pub fn target_as(&self, user: &str, roles: &[&str]) -> PulpTarget {
        self.server.create_user(user, "anders als admin", roles).unwrap();
        let mut settings = self.settings();
        settings.credentials = Some(Credentials::new(user, "anders als admin"));
        self.target_with(settings, PulpOptions::default())
    }

    /// A package whose bytes depend on `content`.
    pub fn rpm(&self, name: &str, content: &str) -> PathBuf {
        rpm(self.files.path(), name, "1", content, 20_000)
    }

    pub fn rpms(&self, set: &str, count: usize) -> Vec<PathBuf> {
        (0..count).map(|number| self.rpm(&format!("kmod-{set}-{number}"), set)).collect()
    }
}

/// The status and the bytes of a URL.
pub fn fetch(url: &str) -> (u16, Vec<u8>) {
    let output = std::process::Command::new("curl")
        .args(["--silent", "--noproxy", "*", "--write-out", "%{http_code}", url])
        .output()
        .unwrap();
    let (body, status) = output.stdout.split_at(output.stdout.len() - 3);
    (std::str::from_utf8(status).unwrap().parse().unwrap(), body.to_vec())
}

/// Options whose steps end up in a list.
pub fn watched(steps: &Arc<Mutex<Vec<PulpStep>>>) -> PulpOptions {
    let steps = steps.clone();
    PulpOptions { progress: Box::new(move |step| steps.lock().unwrap().push(step)), ..PulpOptions::default() }
}

pub fn published(outcome: Outcome) -> Published {
    match outcome {
        Outcome::Published(published) => published,
        Outcome::Unchanged { version } => panic!("unchanged: {version}"),
    }
}

/// A publication without evidence: each file of that takes the server several tasks, and has tests of its own.
pub fn publication(rpms: &[PathBuf], lock: &str) -> Publication {
    Publication { evidence: std::collections::BTreeMap::new(), ..support::publication(rpms, lock) }
}

/// A publication at another path, such as a channel's.
pub fn publication_at(path: &str, rpms: &[PathBuf], lock: &str) -> Publication {
    let mut publication = publication(rpms, lock);
    let repository = publication.address.repository.clone();
    publication.address = RepositoryPath::parse(path).unwrap().into();
    publication.address.repository = repository;
    publication
}

/// What is wrong, in all its parts.
pub fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(&format!("\ncaused by: {error}"));
        next = error.source();
    }
    text
}

/// The packages that real dnf sees in a repository, by name.
pub fn dnf_sees(url: &str, scratch: &Path) -> Vec<String> {
    let root = scratch.join(Sha256Digest::of(url.as_bytes()).short());
    for directory in ["cache", "log", "persist", "repos"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    let conf = root.join("dnf.conf");
    let text = format!(
        "[main]\nreposdir={0}/repos\ncachedir={0}/cache\nlogdir={0}/log\npersistdir={0}/persist\nplugins=0\n",
        root.display()
    );
    std::fs::write(&conf, text).unwrap();
    let output = std::process::Command::new("dnf")
        .args(["--quiet", "--releasever=9", "--forcearch=x86_64", "--refresh"])
        .arg(format!("--config={}", conf.display()))
        .arg(format!("--repofrompath=pulp,{url}"))
        .args(["--repo=pulp", "repoquery", "--qf", "%{name}"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut names: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    names.sort();
    names
}
