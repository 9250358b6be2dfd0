//! The cloud that the tests share, and what they need to use it.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use camino::Utf8PathBuf;
use drivetrain_lab::openstack::{Installation, Options, Server, Service, Who, installed};
use drivetrain_machines::{
    Attach, CloudSource, Identity, Lease, OpenStack, OpenStackOptions, Order, Provider as _,
};
use drivetrain_model::RunId;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// A cloud, for one test at a time.
pub struct Cloud {
    pub server: OwnedMutexGuard<Server>,
    directory: tempfile::TempDir,
}

static INSTALLATION: OnceLock<Option<Installation>> = OnceLock::new();
static SERVER: Mutex<Option<Arc<AsyncMutex<Server>>>> = Mutex::new(None);

/// The cloud, started by whoever is first; `None` where the lab has none.
pub async fn cloud() -> Option<Cloud> {
    let installation = INSTALLATION.get_or_init(installed).as_ref()?;
    let server = {
        let mut shared = SERVER.lock().unwrap();
        let started = std::time::Instant::now();
        Arc::clone(shared.get_or_insert_with(|| {
            let server = Server::start(installation, Options::default()).unwrap();
            println!("the cloud is ready after {:.1} s", started.elapsed().as_secs_f64());
            Arc::new(AsyncMutex::new(server))
        }))
    };
    let server = server.lock_owned().await;
    let cloud = Cloud { server, directory: tempfile::tempdir().unwrap() };
    // What a test that failed has left is no reason for others to fail.
    cloud.remove_all().await;
    Some(cloud)
}

impl Cloud {
    /// A `clouds.yaml` with changes: pieces of text, and what is there instead.
    pub fn file(&self, changes: &[(&str, &str)]) -> Utf8PathBuf {
        let text = changes.iter().fold(self.server.clouds_yaml(), |text, (from, to)| text.replace(from, to));
        let path = self.directory.path().join(format!("clouds-{}.yaml", fastrand::u64(..)));
        fs_err::write(&path, text).unwrap();
        path.try_into().unwrap()
    }

    /// A builder as the tests want it, from a changed `clouds.yaml`.
    pub fn options_from(&self, file: Utf8PathBuf) -> OpenStackOptions {
        let source = CloudSource { cloud: Some("lab".to_owned()), file: Some(file) };
        OpenStackOptions {
            user: "rocky".to_owned(),
            active_within: Duration::from_secs(120),
            patience: Duration::from_secs(90),
            ..OpenStackOptions::new(source, "rocky-9", "b.small", Attach::Network("build-net".to_owned()))
        }
    }

    pub fn options(&self) -> OpenStackOptions {
        self.options_from(self.file(&[]))
    }

    pub fn provider(&self) -> OpenStack {
        OpenStack::new(self.options()).unwrap()
    }

    /// With changes to the options.
    pub fn provider_with(&self, change: impl FnOnce(&mut OpenStackOptions)) -> OpenStack {
        let mut options = self.options();
        change(&mut options);
        OpenStack::new(options).unwrap()
    }

    /// What is in the project, whoever made it, as `kind name`; the ports of routers and such left out.
    pub fn inventory(&self) -> Vec<String> {
        let lists = [
            (Service::NovaApi, "/servers?limit=1000", "servers", "name"),
            (Service::Neutron, "/floatingips", "floatingips", "floating_ip_address"),
            (Service::Neutron, "/ports?fields=name&fields=device_owner", "ports", "name"),
        ];
        let mut all = Vec::new();
        for (service, path, key, name) in lists {
            let (status, answer) = self.server.request(Who::Builder, "GET", service, path, None).unwrap();
            assert_eq!(status, 200, "{path}: {answer}");
            let items = answer[key].as_array().unwrap().iter();
            let items =
                items.filter(|item| !item["device_owner"].as_str().unwrap_or("").starts_with("network:"));
            all.extend(items.map(|item| format!("{key} {}", item[name].as_str().unwrap_or_default())));
        }
        all
    }

    /// Asks in somebody's name for what has to work.
    pub fn ask(&self, who: Who, method: &str, service: Service, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.server.request(who, method, service, path, body).unwrap();
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    async fn remove_all(&self) {
        let provider = self.provider();
        for found in provider.list().await.unwrap() {
            provider.destroy(&found.lease.id).await.unwrap();
        }
    }

    /// Removes everything of drivetrain's, and fails where that is not all.
    pub async fn tidy(&self) {
        self.remove_all().await;
        assert_eq!(self.inventory(), [""; 0], "something is left");
    }
}

pub fn order() -> Order {
    let run = RunId::parse("20261127T140000-test").unwrap();
    let lease = Lease::new(run, "jo@workstation".to_owned(), Timestamp::now(), SignedDuration::from_hours(4));
    let identity = Identity {
        user_key: "ssh-ed25519 AAAAuser drivetrain".to_owned(),
        host_key: "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n".to_owned(),
        host_public_key: "ssh-ed25519 AAAAhost".to_owned(),
    };
    Order { lease, identity }
}

/// Addresses and ids are others in every cloud.
pub fn settled(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || "-.".contains(c))) {
        let bare = word.trim_end_matches(|c: char| !(c.is_ascii_alphanumeric() || "-.".contains(c)));
        let end = &word[bare.len()..];
        let is_id = bare.trim_start_matches("req-").len() == 36 && bare.matches('-').count() >= 4;
        match bare {
            _ if is_id => out.push_str("ID"),
            _ if bare.starts_with("127.77.") => out.push_str("ADDRESS"),
            _ => out.push_str(bare),
        }
        out.push_str(end);
    }
    out
}
