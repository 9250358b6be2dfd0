//! A running server, and what can go wrong with one.

use std::fs::File;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::home::{Home, Ports};
use super::installation::{Installation, PASSWORD};
use super::{Release, http};
use crate::cmd::run;
use crate::enclosure::{Enclosure, Process};
use crate::processes::poll_every;

/// How long a server may take to be ready. On a machine with nothing else to do it takes five seconds.
const READY: Duration = Duration::from_secs(180);
/// How often it is looked at meanwhile: that costs what makes it ready, too.
const LOOKING: Duration = Duration::from_millis(100);
/// How long an application may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many pairs of ports are tried.
const ATTEMPTS: usize = 5;

/// What can differ from server to server.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many workers run tasks.
    pub workers: usize,
    /// How many requests the API answers at once.
    pub api_workers: usize,
    /// The seconds after which the API gives up on a request whose body has not arrived, with an answer of 500.
    pub api_timeout: u32,
    /// Where packages are kept instead of in the server's directory: a small disk, say.
    pub media: Option<Utf8PathBuf>,
    /// Lines for the end of `settings.py`.
    pub settings: Vec<String>,
    /// Whether passwords are hashed cheaply. Pulp's own way costs the server 0.3 s with every request that has
    /// one; who measures must not change it.
    pub fast_auth: bool,
    /// The port of the API, instead of a free one.
    pub api_port: Option<u16>,
    /// The port of the content application, instead of a free one.
    pub content_port: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            workers: 2,
            api_workers: 2,
            api_timeout: 90,
            media: None,
            settings: Vec::new(),
            fast_auth: false,
            api_port: None,
            content_port: None,
        }
    }
}

/// A Pulp server on this machine. It ends, with all its processes, when it is dropped or when this process ends.
pub struct Server {
    // The order is that of dropping: with the namespace all processes end, and are then waited for.
    enclosure: Enclosure,
    api: Option<Process>,
    content: Option<Process>,
    workers: Vec<Option<Process>>,
    database: Option<Process>,
    home: Home,
    ports: Ports,
    options: Options,
    installation: Installation,
    /// Keeps the installation from being replaced.
    _in_use: File,
}

impl Server {
    /// Starts an empty server in a temporary directory, which ends with it, and waits until it is ready.
    pub fn start(installation: &Installation, options: Options) -> Result<Self> {
        let in_use = in_use(installation)?;
        let directory = temporary_directory()?;
        let enclosure = Enclosure::new(Some(&directory), None)?;
        let home = Home::create(&directory)?;
        installation.copy_template(&home)?;
        Self::run(installation, options, home, enclosure, in_use)
    }

    /// Starts the server of a directory, which is made where it is not there and kept afterwards.
    pub fn open(installation: &Installation, directory: &Utf8Path, options: Options) -> Result<Self> {
        let in_use = in_use(installation)?;
        fs::create_dir_all(directory)?;
        let home = Home::create(&directory.canonicalize_utf8()?)?;
        let lock = fs::File::create(home.directory().join("lock"))?.into_file();
        ensure!(lock.try_lock().is_ok(), "a server is running in {directory} already");
        let enclosure = Enclosure::new(None, Some(lock))?;
        let stamp = home.directory().join("stamp");
        match fs::read_to_string(&stamp) {
            Ok(present) => ensure!(
                present == installation.key(),
                "{directory} is of another Pulp or PostgreSQL: remove it for an empty one"
            ),
            Err(_) => {
                installation.copy_template(&home)?;
                fs::write(&stamp, installation.key())?;
            }
        }
        Self::run(installation, options, home, enclosure, in_use)
    }

    fn run(
        installation: &Installation,
        options: Options,
        home: Home,
        enclosure: Enclosure,
        in_use: File,
    ) -> Result<Self> {
        let mut server = Server {
            enclosure,
            api: None,
            content: None,
            workers: (0..options.workers).map(|_| None).collect(),
            database: None,
            home,
            ports: Ports { api: 0, content: 0 },
            options,
            installation: installation.clone(),
            _in_use: in_use,
        };
        server.start_database()?;
        server.start_applications()?;
        Ok(server)
    }

    /// Starts all but the database, on other ports where those that were free no longer are.
    fn start_applications(&mut self) -> Result<()> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            self.ports = free_ports(&self.options)?;
            self.home.write_settings(self.ports, &self.options)?;
            for number in 0..self.workers.len() {
                self.launch_worker(number)?;
            }
            self.launch_content()?;
            self.launch_api()?;
            let Err(error) = self.wait_ready() else { return Ok(()) };
            if attempt == ATTEMPTS || !self.lost_a_port() {
                return Err(error);
            }
            self.api = None;
            self.content = None;
            self.workers.fill_with(|| None);
        }
    }

    /// Whether an application ended because something else has its port.
    fn lost_a_port(&mut self) -> bool {
        let is_fixed = self.options.api_port.is_some() && self.options.content_port.is_some();
        let applications = [&mut self.api, &mut self.content];
        !is_fixed
            && applications
                .into_iter()
                .flatten()
                .any(|process| process.check().is_err() && process.last_words().contains("in use"))
    }

    // What a client needs to know.

    /// The URL of the API: `http://127.0.0.1:PORT`, to which `/pulp/api/v3/` is added.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.api)
    }

    /// The URL of the content application, to which `/pulp/content/` and a distribution's path are added.
    #[must_use]
    pub fn content_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.content)
    }

    /// The administrator's name.
    #[must_use]
    pub fn username(&self) -> &'static str {
        "admin"
    }

    /// The administrator's password.
    #[must_use]
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Its directory, with `data/media`, `data/tmp` and `log` in it.
    #[must_use]
    pub fn directory(&self) -> &Utf8Path {
        self.home.directory()
    }

    /// What it was started from.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The API's access log so far: a line a request, with its method, path and status.
    pub fn api_log(&self) -> Result<String> {
        self.log("access")
    }

    /// What a part of it has said: `api`, `content`, `worker0`, `postgres`. Nothing where it has said nothing.
    pub fn log(&self, part: &str) -> Result<String> {
        let file = self.home.log(part);
        Ok(if file.exists() { fs::read_to_string(file)? } else { String::new() })
    }

    // What an administrator does.

    /// A request as the administrator. The path is below the host: `/pulp/api/v3/tasks/`. The status, and the body
    /// where it is JSON.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let user = format!("{}:{}", self.username(), self.password());
        let answer = http::request(method, &format!("{}{path}", self.api_url()), Some(&user), body)?;
        Ok((answer.status, serde_json::from_str(&answer.body).unwrap_or_default()))
    }

    /// Makes a user with roles on everything, `rpm.rpm_package_uploader` say. Pulp refuses passwords that are short
    /// or common.
    pub fn create_user(&self, name: &str, password: &str, roles: &[&str]) -> Result<()> {
        let user = json!({ "username": name, "password": password });
        let created = self.create("/pulp/api/v3/users/", &user)?;
        let href = created["pulp_href"].as_str().context("a user without an address")?;
        for role in roles {
            self.create(&format!("{href}roles/"), &json!({ "role": role, "content_object": null }))?;
        }
        Ok(())
    }

    fn create(&self, path: &str, object: &Value) -> Result<Value> {
        let (status, answer) = self.request("POST", path, Some(object))?;
        ensure!(status == 201, "POST {path}: {status} {answer}");
        Ok(answer)
    }

    /// Runs `pulpcore-manager`; what it wrote to standard output.
    pub fn manage(&self, arguments: &[&str]) -> Result<String> {
        run(self.program("pulpcore-manager").args(arguments))
    }

    /// Runs SQL in Pulp's database; what it gives, a row a line, its columns apart by `|`.
    pub fn sql(&self, sql: &str) -> Result<String> {
        self.installation.postgres().sql(&self.home, "pulp", sql)
    }

    /// Ends all sessions: a client's next request with a cookie is answered with 401.
    pub fn expire_sessions(&self) -> Result<()> {
        self.sql("DELETE FROM django_session").map(drop)
    }

    // Faults, and their ends.

    /// Stops the API as its service manager would. Requests that it is at for longer than a few seconds are lost.
    pub fn stop_api(&mut self) {
        if let Some(api) = self.api.take() {
            api.end(Signal::TERM, PATIENCE);
        }
    }

    /// Kills the API with all requests that it is at.
    pub fn kill_api(&mut self) {
        if let Some(api) = self.api.take() {
            api.kill();
        }
    }

    /// Starts the API where it is not running, and waits until the server is ready.
    pub fn start_api(&mut self) -> Result<()> {
        if !is_running(&mut self.api) {
            self.launch_api()?;
        }
        self.wait_ready()
    }

    /// Stops the API and starts it again.
    pub fn restart_api(&mut self) -> Result<()> {
        self.stop_api();
        self.start_api()
    }

    /// Stops the content application.
    pub fn stop_content(&mut self) {
        if let Some(content) = self.content.take() {
            content.end(Signal::TERM, PATIENCE);
        }
    }

    /// Starts the content application where it is not running, and waits until the server is ready.
    pub fn start_content(&mut self) -> Result<()> {
        if !is_running(&mut self.content) {
            self.launch_content()?;
        }
        self.wait_ready()
    }

    /// Kills a worker, counted from 0, and what it has forked for the task that it is at.
    pub fn kill_worker(&mut self, number: usize) {
        if let Some(worker) = self.workers.get_mut(number).and_then(Option::take) {
            worker.kill();
        }
    }

    /// Kills all workers.
    pub fn kill_workers(&mut self) {
        for number in 0..self.workers.len() {
            self.kill_worker(number);
        }
    }

    /// Starts a worker, counted from 0, where it is not running, and waits until the API knows of it.
    pub fn start_worker(&mut self, number: usize) -> Result<()> {
        ensure!(number < self.workers.len(), "there is no worker {number}");
        if !is_running(&mut self.workers[number]) {
            self.launch_worker(number)?;
        }
        self.wait_until(|server| server.worker_not_ready(number))
    }

    /// Starts all workers that are not running, and waits until the API knows of them.
    pub fn start_workers(&mut self) -> Result<()> {
        (0..self.workers.len()).try_for_each(|number| self.start_worker(number))
    }

    /// Stops the database, with all connections to it.
    pub fn stop_database(&mut self) {
        if let Some(database) = self.database.take() {
            database.end(Signal::INT, PATIENCE);
        }
    }

    /// Starts the database where it is not running, and waits until it accepts connections. The applications find
    /// it again by themselves; workers end without it: see [`Server::start_workers`].
    pub fn start_database(&mut self) -> Result<()> {
        if !is_running(&mut self.database) {
            self.database = Some(self.installation.postgres().start(&self.enclosure, &self.home)?);
        }
        Ok(())
    }

    /// Waits until all parts that were not stopped are ready: the API answers and reaches the database, the workers
    /// have reported, and the content application answers. Tasks that come before a worker would wait for minutes.
    pub fn wait_ready(&mut self) -> Result<()> {
        self.wait_until(|server| {
            server.check()?;
            Ok(server.not_ready())
        })
    }

    /// Waits until nothing is missing any more.
    fn wait_until(&mut self, missing: impl Fn(&mut Self) -> Result<Option<String>>) -> Result<()> {
        let mut last = String::new();
        let outcome = poll_every(LOOKING, READY, || match missing(self) {
            Err(error) => Some(Err(error)),
            Ok(None) => Some(Ok(())),
            Ok(Some(what)) => {
                last = what;
                None
            }
        });
        match outcome {
            Some(outcome) => outcome,
            None => bail!("not ready after {} s: {last}", READY.as_secs()),
        }
    }

    /// Fails where a part has ended by itself, with its last words.
    pub fn check(&mut self) -> Result<()> {
        let parts = [&mut self.database, &mut self.api, &mut self.content];
        parts.into_iter().chain(&mut self.workers).flatten().try_for_each(Process::check)
    }

    /// What is still missing.
    fn not_ready(&self) -> Option<String> {
        let content = format!("{}/pulp/content/", self.content_url());
        let missing = match &self.api {
            None => None,
            Some(api) => self.status().and_then(|status| self.complete(api, &status)).err(),
        };
        missing.or_else(|| {
            let silent =
                self.content.is_some() && !http::get(&content).is_ok_and(|answer| answer.status == 200);
            silent.then(|| "the content application does not answer".to_owned())
        })
    }

    /// What is missing for a worker to run tasks. Without an API there is nothing to be seen.
    fn worker_not_ready(&mut self, number: usize) -> Result<Option<String>> {
        let parts = [&mut self.workers[number], &mut self.api];
        parts.into_iter().flatten().try_for_each(Process::check)?;
        let (Some(worker), Some(_)) = (&self.workers[number], &self.api) else { return Ok(None) };
        Ok(self.status().and_then(|status| has_reported(&status, worker)).err())
    }

    /// The status, once the API reaches the database; otherwise what is missing.
    fn status(&self) -> Result<Value, String> {
        let answer = http::get(&format!("{}/pulp/api/v3/status/", self.api_url()))
            .map_err(|error| format!("the API does not answer: {error}"))?;
        let status: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        match answer.status {
            200 if status["database_connection"]["connected"] == true => Ok(status),
            200 => Err("the API does not reach the database".to_owned()),
            other => Err(format!("the API answers {other}")),
        }
    }

    /// What is missing by the status.
    fn complete(&self, api: &Process, status: &Value) -> Result<(), String> {
        // One that has not booted yet does not hear when it is told to end, and without a database takes the whole
        // API with it.
        if reports(status, "online_api_apps", api).count() < self.options.api_workers {
            return Err("not all of the API has reported".to_owned());
        }
        if self.content.is_some() && status["online_content_apps"].as_array().is_none_or(Vec::is_empty) {
            return Err("the content application has not reported".to_owned());
        }
        self.workers.iter().flatten().try_for_each(|worker| has_reported(status, worker))
    }

    // Starting parts of it.

    fn program(&self, name: &str) -> Command {
        self.home.program(&self.enclosure, &self.installation, name)
    }

    fn launch_worker(&mut self, number: usize) -> Result<()> {
        let name = format!("worker{number}");
        let log = self.home.log(&name);
        self.workers[number] = Some(Process::start(name, self.program("pulpcore-worker"), log)?);
        Ok(())
    }

    fn launch_api(&mut self) -> Result<()> {
        let workers = self.options.api_workers;
        let mut command = self.application("pulpcore-api", self.ports.api, workers, self.options.api_timeout);
        command.arg("--access-logfile").arg(self.home.log("access"));
        self.api = Some(Process::start("the API", command, self.home.log("api"))?);
        Ok(())
    }

    fn launch_content(&mut self) -> Result<()> {
        let mut command = self.application("pulpcore-content", self.ports.content, 1, 90);
        command.arg("--access-logfile").arg(self.home.log("content-access"));
        self.content = Some(Process::start("the content application", command, self.home.log("content"))?);
        Ok(())
    }

    fn application(&self, name: &str, port: u16, workers: usize, timeout: u32) -> Command {
        let mut command = self.program(name);
        command.args(["--bind", &format!("127.0.0.1:{port}"), "--workers", &workers.to_string()]);
        command.args(["--timeout", &timeout.to_string()]);
        if self.installation.release() == Release::Current {
            // A socket in the home directory of the user, which several servers would share.
            command.arg("--no-control-socket");
        }
        command
    }
}

fn in_use(installation: &Installation) -> Result<File> {
    let lock = installation.use_lock()?;
    lock.with_context(|| format!("Pulp in {} is no longer there", installation.directory()))
}

fn is_running(part: &mut Option<Process>) -> bool {
    part.as_mut().is_some_and(|process| process.check().is_ok())
}

/// A new directory that nobody else can look into. The path is short, for the socket's sake.
pub(super) fn temporary_directory() -> Result<Utf8PathBuf> {
    let directory = tempfile::Builder::new().prefix("pulp-").tempdir()?;
    Utf8PathBuf::try_from(directory.keep()).context("the path of temporary files")
}

/// Ports that nobody has at the moment.
fn free_ports(options: &Options) -> Result<Ports> {
    // Both at once, or the second might be the first.
    let api = listener(options.api_port)?;
    let content = listener(options.content_port)?;
    Ok(Ports { api: api.local_addr()?.port(), content: content.local_addr()?.port() })
}

fn listener(port: Option<u16>) -> Result<TcpListener> {
    let port = port.unwrap_or(0);
    TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("port {port} of this machine"))
}

/// The names in a list of the status that have written to the database since a process was started. The status has
/// those that were killed for a while longer.
fn reports<'a>(status: &'a Value, list: &str, since: &Process) -> impl Iterator<Item = &'a str> {
    let started = since.started();
    status[list].as_array().into_iter().flatten().filter_map(move |entry| {
        let heartbeat: Timestamp = entry["last_heartbeat"].as_str()?.parse().ok()?;
        (heartbeat >= started).then(|| entry["name"].as_str())?
    })
}

/// Whether a worker has reported. Its name begins with its process number.
fn has_reported(status: &Value, worker: &Process) -> Result<(), String> {
    let number = worker.inner_id().map(|number| number.to_string()).unwrap_or_default();
    let is_own = |name: &str| {
        let end = name.find(|c: char| !c.is_ascii_digit()).unwrap_or(name.len());
        !number.is_empty() && name[..end] == number
    };
    if reports(status, "online_workers", worker).any(is_own) {
        return Ok(());
    }
    Err(format!("{} has not reported", worker.name()))
}
