//! A running cloud, and what can go wrong with one.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use camino::Utf8PathBuf;
use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::Service;
use super::home::Home;
use super::http;
use super::installation::Installation;
use crate::cmd::{run, run_with_input};
use crate::enclosure::{Enclosure, Process};
use crate::processes::poll_every;

/// How long a part may take to be ready.
const READY: Duration = Duration::from_secs(240);
const LOOKING: Duration = Duration::from_millis(200);
/// How long a part may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(10);

/// What can differ from cloud to cloud.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nova's driver: `fake.FakeDriver`, or one that fails, `fake.FakeBuildAbortDriver` say.
    pub driver: String,
    /// How long a token is good for.
    pub token_seconds: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options { driver: "fake.FakeDriver".to_owned(), token_seconds: 3600 }
    }
}

/// In whose name something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The administrator, in the project `admin`.
    Admin,
    /// The user `builder`, in the project `builders`.
    Builder,
}

impl Who {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Admin => ("admin", "admin"),
            Self::Builder => ("builder", "builders"),
        }
    }
}

/// An OpenStack on this machine. It ends, with all its processes and mounts, when it is dropped or when this process
/// ends.
pub struct Server {
    // The order is that of dropping: with the namespace all processes end, and are then waited for.
    enclosure: Enclosure,
    services: BTreeMap<Service, Process>,
    broker: Option<Process>,
    database: Option<Process>,
    home: Home,
    started: Timestamp,
    /// Keeps the installation from being replaced.
    _in_use: Option<File>,
}

impl Server {
    /// Starts a cloud in a temporary directory, which ends with it, and waits until it is ready.
    pub fn start(installation: &Installation, options: Options) -> Result<Self> {
        let in_use = installation.use_lock()?;
        ensure!(in_use.is_some(), "OpenStack in {} is no longer there", installation.directory());
        // In the lab: what is on a memory's file system elsewhere may not be large enough.
        let directory = tempfile::Builder::new().prefix("cloud-").tempdir_in(installation.directory())?;
        let directory = Utf8PathBuf::try_from(directory.keep()).context("the path of the lab")?;
        let enclosure = Enclosure::with_mounts(Some(&directory), None)?;
        let root = installation.overlay(&enclosure, &directory)?;
        let home = Home::new(root, directory.join("logs"))?;
        let mut server = Self::new(home, enclosure, in_use);
        server.prepare(&options)?;
        server.start_infrastructure()?;
        server.move_to_address()?;
        server.start_all()?;
        Ok(server)
    }

    fn new(home: Home, enclosure: Enclosure, in_use: Option<File>) -> Self {
        Server {
            enclosure,
            services: BTreeMap::new(),
            broker: None,
            database: None,
            home,
            started: Timestamp::now(),
            _in_use: in_use,
        }
    }

    /// Runs a cloud in an installation's own root directory, fills its databases, and ends it.
    pub(super) fn seed(installation: &Installation, home: Home, enclosure: Enclosure) -> Result<()> {
        let mut server = Self::new(home, enclosure, None);
        server.prepare(&Options::default())?;
        server.make_database()?;
        server.start_infrastructure()?;
        let databases = include_bytes!("../../openstack/databases.sql");
        let client = ["mariadb", "--no-defaults", "--socket=/run/mysqld/mysqld.sock"];
        run_with_input(&mut server.command(&client), databases)?;
        let address = server.home.address();
        server.run_in(&["/lab/etc/schema.sh", &address]).context("making the tables")?;
        server.start_service(Service::Keystone)?;
        server.run_in(&["python3", "/lab/etc/seed_keystone.py", &address])?;
        server.start_all()?;
        server.run_in(&["python3", "/lab/etc/seed_cloud.py", &address])?;
        server.end();
        crate::say(format_args!("OpenStack's databases are in {}", installation.root()));
        Ok(())
    }

    /// Ends everything in order: what is copied needs no recovery.
    fn end(mut self) {
        for service in Service::ALL.into_iter().rev() {
            self.stop(service);
        }
        if let Some(broker) = self.broker.take() {
            broker.kill();
        }
        if let Some(database) = self.database.take() {
            database.end(Signal::TERM, Duration::from_secs(60));
        }
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        self.home.command(&self.enclosure, words)
    }

    fn run_in(&self, words: &[&str]) -> Result<String> {
        run(&mut self.command(words))
    }

    fn prepare(&self, options: &Options) -> Result<()> {
        self.home.mount(&self.enclosure)?;
        self.home.write_settings(&self.enclosure, options)
    }

    fn make_database(&self) -> Result<()> {
        let directories = ["/lab/data/mysql", "/run/mysqld"];
        self.run_in(&[&["install", "-d", "-o", "mysql", "-g", "mysql"], &directories[..]].concat())?;
        let options = ["--no-defaults", "--user=mysql", "--datadir=/lab/data/mysql", "--skip-test-db"];
        self.run_in(
            &[&["mysql_install_db"], &options[..], &["--auth-root-authentication-method=socket"]].concat(),
        )?;
        Ok(())
    }

    /// The database and the broker. Without the latter, services wait for seconds at a time.
    fn start_infrastructure(&mut self) -> Result<()> {
        self.run_in(&["install", "-d", "-o", "mysql", "-g", "mysql", "/run/mysqld"])?;
        let options = [
            "--no-defaults",
            "--user=mysql",
            "--datadir=/lab/data/mysql",
            "--socket=/run/mysqld/mysqld.sock",
            "--skip-networking",
            "--pid-file=/run/mysqld/mysqld.pid",
            // A crash of the machine may lose the data; that of the database may not.
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=0",
            "--innodb-flush-method=nosync",
            // What is written to is copied first: small files make a cloud start sooner.
            "--innodb-log-file-size=16M",
            "--innodb-buffer-pool-size=128M",
            "--performance-schema=OFF",
            "--max-connections=300",
            "--character-set-server=utf8mb3",
        ];
        let command = self.command(&[&["mariadbd"], &options[..]].concat());
        self.database = Some(Process::start("MariaDB", command, self.home.log("mariadb"))?);
        let (address, [epmd, nodes]) = (self.home.address(), self.home.broker_ports());
        let command = self.command(&["/lab/etc/rabbit.sh", &address, &epmd, &nodes]);
        self.broker = Some(Process::start("RabbitMQ", command, self.home.log("rabbitmq"))?);
        let ping = ["mariadb-admin", "--no-defaults", "--socket=/run/mysqld/mysqld.sock", "ping"];
        self.wait_until("MariaDB accepts no connections", |server| server.run_in(&ping).is_ok())?;
        let broker = format!("{}:5672", self.home.address());
        self.wait_until("RabbitMQ accepts no connections", |_| TcpStream::connect(&broker).is_ok())
    }

    /// The databases have the address in them that the cloud had which they were made in.
    fn move_to_address(&self) -> Result<()> {
        let address = self.home.address();
        let moved = |column: &str| {
            format!("{column} = regexp_replace({column}, '127[.]77[.][0-9]+[.][0-9]+', '{address}')")
        };
        let sql = format!(
            "UPDATE keystone.endpoint SET {}; UPDATE nova_api.cell_mappings SET {}",
            moved("url"),
            moved("transport_url")
        );
        self.home.sql(&self.enclosure, &sql).map(drop)
    }

    /// Starts what is not running, and waits until all of it is ready.
    fn start_all(&mut self) -> Result<()> {
        for service in Service::ALL {
            self.launch(service)?;
        }
        self.wait_ready()
    }

    fn launch(&mut self, service: Service) -> Result<()> {
        if self.services.get_mut(&service).is_some_and(|process| process.check().is_ok()) {
            return Ok(());
        }
        let words = service.command(&self.home);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let process = Process::start(service.name(), self.command(&words), self.home.log(service.name()))?;
        self.services.insert(service, process);
        Ok(())
    }

    /// Waits until all parts that were not stopped are ready: what has an API answers, and what has not has written to
    /// the database that it is there.
    pub fn wait_ready(&mut self) -> Result<()> {
        for service in Service::ALL {
            if self.services.contains_key(&service) {
                let what = format!("{} is not ready", service.name());
                self.wait_until(&what, |server| server.is_ready(service))?;
            }
        }
        Ok(())
    }

    fn is_ready(&self, service: Service) -> bool {
        match service.endpoint() {
            Some(_) => {
                http::request("GET", &self.url(service), None, None).is_ok_and(|answer| answer.status < 500)
            }
            None => self.has_reported(service),
        }
    }

    /// Whether a part of Nova has written its heartbeat since it was started. The database that a cloud begins with
    /// has old ones.
    fn has_reported(&self, service: Service) -> bool {
        let since = self.services.get(&service).map_or(self.started, Process::started);
        let sql = format!(
            "SELECT count(*) FROM nova_cell1.services WHERE `binary` = '{}' AND deleted = 0 AND updated_at >= '{}'",
            service.name(),
            since.strftime("%F %T")
        );
        self.home.sql(&self.enclosure, &sql).is_ok_and(|count| count != "0")
    }

    fn wait_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Result<()> {
        let outcome = poll_every(LOOKING, READY, || match self.check() {
            Err(error) => Some(Err(error)),
            Ok(()) => is_so(self).then_some(Ok(())),
        });
        outcome.unwrap_or_else(|| bail!("{what} after {} s: see {}", READY.as_secs(), self.home.logs))
    }

    /// Fails where a part has ended by itself, with its last words.
    pub fn check(&mut self) -> Result<()> {
        let infrastructure = [&mut self.database, &mut self.broker].into_iter().flatten();
        infrastructure.chain(self.services.values_mut()).try_for_each(Process::check)
    }

    // What a client needs to know.

    /// Keystone's address, as it is in `clouds.yaml`.
    #[must_use]
    pub fn auth_url(&self) -> String {
        self.url(Service::Keystone)
    }

    /// The address of a part's API.
    #[must_use]
    pub fn url(&self, service: Service) -> String {
        format!("http://{}{}", self.home.address(), service.endpoint().unwrap_or_default())
    }

    /// A `clouds.yaml`: the cloud `lab` as the user `builder` of the project `builders`, and `lab-admin`.
    #[must_use]
    pub fn clouds_yaml(&self) -> String {
        let cloud = |name: &str, who: Who| {
            let (user, project) = who.names();
            format!(
                "  {name}:\n    auth:\n      auth_url: {}\n      username: {user}\n      password: {user}\n      \
                 project_name: {project}\n      user_domain_name: Default\n      project_domain_name: Default\n    \
                 region_name: RegionOne\n    interface: public\n    identity_api_version: 3\n",
                self.auth_url()
            )
        };
        format!("clouds:\n{}{}", cloud("lab", Who::Builder), cloud("lab-admin", Who::Admin))
    }

    /// The directory with the logs of all parts.
    #[must_use]
    pub fn logs(&self) -> &camino::Utf8Path {
        &self.home.logs
    }

    // What is asked of it.

    /// Asks an API in somebody's name; the status, and the answer's JSON.
    pub fn request(
        &self,
        who: Who,
        method: &str,
        service: Service,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value)> {
        let token = self.token(who)?;
        let answer = http::request(method, &format!("{}{path}", self.url(service)), Some(&token), body)?;
        Ok((answer.status, answer.body))
    }

    /// Asks for something that has to work.
    fn need(
        &self,
        who: Who,
        method: &str,
        service: Service,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let (status, answer) = self.request(who, method, service, path, body)?;
        ensure!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        Ok(answer)
    }

    fn token(&self, who: Who) -> Result<String> {
        let (user, project) = who.names();
        let domain = json!({ "id": "default" });
        let identity = json!({
            "methods": ["password"],
            "password": { "user": { "name": user, "domain": domain, "password": user } },
        });
        let scope = json!({ "project": { "name": project, "domain": domain } });
        let body = json!({ "auth": { "identity": identity, "scope": scope } });
        let answer = http::request("POST", &format!("{}/auth/tokens", self.auth_url()), None, Some(&body))?;
        answer.token.with_context(|| format!("no token for {user}: {} {}", answer.status, answer.body))
    }

    /// The id of the project `builders`.
    pub fn project(&self) -> Result<String> {
        let projects = self.need(Who::Admin, "GET", Service::Keystone, "/projects?name=builders", None)?;
        projects["projects"][0]["id"].as_str().map(str::to_owned).context("there is no project")
    }

    /// Sets quotas of the project `builders` in Nova: `cores`, `instances`, `ram`.
    pub fn set_compute_quota(&self, quota: &[(&str, i64)]) -> Result<()> {
        let path = format!("/os-quota-sets/{}", self.project()?);
        let body = json!({ "quota_set": pairs(quota) });
        self.need(Who::Admin, "PUT", Service::NovaApi, &path, Some(&body)).map(drop)
    }

    /// Sets quotas of the project `builders` in Neutron: `port`, `floatingip`.
    pub fn set_network_quota(&self, quota: &[(&str, i64)]) -> Result<()> {
        let path = format!("/quotas/{}", self.project()?);
        let body = json!({ "quota": pairs(quota) });
        self.need(Who::Admin, "PUT", Service::Neutron, &path, Some(&body)).map(drop)
    }

    /// Makes a flavor that everybody sees.
    pub fn create_flavor(&self, name: &str, vcpus: u64, ram: u64, disk: u64) -> Result<()> {
        let body = json!({ "flavor": { "name": name, "vcpus": vcpus, "ram": ram, "disk": disk } });
        self.need(Who::Admin, "POST", Service::NovaApi, "/flavors", Some(&body)).map(drop)
    }

    /// Makes an image without content, which stays `queued`.
    pub fn create_queued_image(&self, name: &str) -> Result<()> {
        let body =
            json!({ "name": name, "disk_format": "raw", "container_format": "bare", "visibility": "public" });
        self.need(Who::Admin, "POST", Service::Glance, "/images", Some(&body)).map(drop)
    }

    /// Makes a network of the project `builders`, without a router.
    pub fn create_network(&self, name: &str, cidr: &str) -> Result<String> {
        let body = json!({ "network": { "name": name } });
        let network = self.need(Who::Builder, "POST", Service::Neutron, "/networks", Some(&body))?;
        let id = network["network"]["id"].as_str().context("a network without an id")?.to_owned();
        let body = json!({ "subnet": { "network_id": id, "ip_version": 4, "cidr": cidr } });
        self.need(Who::Builder, "POST", Service::Neutron, "/subnets", Some(&body))?;
        Ok(id)
    }

    /// Runs SQL in the databases; what it gives, a row a line.
    pub fn sql(&self, sql: &str) -> Result<String> {
        self.home.sql(&self.enclosure, sql)
    }

    // Faults, and their ends.

    /// Stops a part as its service manager would.
    pub fn stop(&mut self, service: Service) {
        if let Some(process) = self.services.remove(&service) {
            process.end(Signal::TERM, PATIENCE);
        }
    }

    /// Kills a part with all that it is at.
    pub fn kill(&mut self, service: Service) {
        if let Some(process) = self.services.remove(&service) {
            process.kill();
        }
    }

    /// Changes the options of a cloud that is running: what they are for is started again.
    pub fn reconfigure(&mut self, options: &Options) -> Result<()> {
        self.home.write_settings(&self.enclosure, options)?;
        for service in [Service::Keystone, Service::NovaCompute] {
            self.stop(service);
            self.launch(service)?;
        }
        self.wait_ready()
    }

    /// Starts a part where it is not running, and waits until all is ready.
    pub fn start_service(&mut self, service: Service) -> Result<()> {
        self.launch(service)?;
        self.wait_ready()
    }
}

fn pairs(quota: &[(&str, i64)]) -> Value {
    quota.iter().map(|(name, limit)| ((*name).to_owned(), Value::from(*limit))).collect()
}
