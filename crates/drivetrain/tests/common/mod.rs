//! A site for tests: a configuration, a state directory and a publication directory of its own, on the lab's real
//! train and driver stack, and the real binary to run on them.
//!
//! Without a lab (`.lab` at the top of the workspace, or `DRIVETRAIN_LAB`) the tests that need it say so and pass.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "each test takes what it needs, and ends where something fails"
)]

pub mod boxed;
pub mod consumer;
pub mod gpg;
pub mod picky;
pub mod processes;
pub mod pulp_user;
pub mod repository;
pub mod running;
pub mod server;
pub mod sshd;
pub mod text;

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_drivetrain");
/// The lab's snapshot with the older kernel alone.
pub const OLD: &str = "20261001T000000";
/// The lab's snapshot with both kernels.
pub const NEW: &str = "20261101T000000";
/// The components of the smallest stack.
pub const MINI: [&str; 2] = ["hello-kmod", "hello-user-kmod"];

/// The lab, and the two kernels of its train.
#[derive(Debug, Clone)]
pub struct Lab {
    pub directory: PathBuf,
    pub older: Kernel,
    pub newer: Kernel,
}

/// A kernel of the train.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// What `uname -r` prints.
    pub release: String,
    /// The version and release of its packages.
    pub package: String,
    /// Its kernel-devel.
    pub devel: PathBuf,
}

/// The lab, where there is one.
pub fn lab() -> Option<Lab> {
    let directory = std::env::var_os("DRIVETRAIN_LAB")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.lab"), PathBuf::from);
    let Ok(directory) = directory.canonicalize() else {
        println!("skipped: no lab in {}", directory.display());
        return None;
    };
    let (Some(older), Some(newer)) = (kernel(&directory, OLD, 0), kernel(&directory, NEW, 1)) else {
        println!("skipped: no lab with two kernels in {}", directory.display());
        return None;
    };
    Some(Lab { directory, older, newer })
}

/// The n-th kernel-devel of a snapshot, oldest first.
fn kernel(lab: &Path, snapshot: &str, nth: usize) -> Option<Kernel> {
    let packages = lab.join(format!("www/train/AppStream/x86_64/os/{snapshot}/Packages/k"));
    let mut found = names(&packages);
    found.retain(|name| name.starts_with("kernel-devel-"));
    let file = found.get(nth)?;
    let output = Command::new("rpm")
        .args(["-qp", "--nosignature", "--provides"])
        .arg(packages.join(file))
        .output()
        .ok()?;
    let provides = String::from_utf8_lossy(&output.stdout).into_owned();
    let release = provides.lines().find_map(|line| line.strip_prefix("kernel-devel-uname-r = "))?;
    Some(Kernel {
        release: release.to_owned(),
        package: file.strip_prefix("kernel-devel-")?.strip_suffix(".x86_64.rpm")?.to_owned(),
        devel: packages.join(file),
    })
}

/// The names in a directory, sorted; none where it is not there.
pub fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a site's configuration says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the train's repositories are below: a directory or a URL.
    pub train: String,
    /// What the vendor's repository is below.
    pub vendor: String,
    pub baseos: String,
    pub appstream: String,
    /// The kernel policy, as YAML.
    pub kernel: String,
    pub train_key: PathBuf,
    pub vendor_key: PathBuf,
    /// `${LAB_USER}` and `${LAB_PASSWORD}` for every repository.
    pub login: bool,
    pub source: Option<String>,
    pub include: Vec<String>,
    pub extra: Vec<PathBuf>,
    pub macros: Vec<(String, String)>,
    /// What builds the components, where it is not the default.
    pub build: Option<String>,
    /// The driver stack of the lab.
    pub stack: String,
    /// Takes the train's packages without looking at their signatures.
    pub unsigned_train: bool,
    /// Takes the vendor's packages without looking at their signatures.
    pub unsigned: bool,
    /// `driver.patches`, as a YAML list.
    pub patches: Option<String>,
    /// `driver.reuse`, where it is not the default.
    pub reuse: Option<String>,
    /// What is wanted of the vendor's userspace packages.
    pub userspace: Vec<String>,
    /// The `consumers` section, as a YAML mapping.
    pub consumers: Option<String>,
    /// Packages of debugging information are made too.
    pub debuginfo: bool,
    pub base_url: Option<String>,
    pub publish: PathBuf,
    /// The `publish` section, as YAML, in place of a directory.
    pub publish_to: Option<String>,
    pub channels: Vec<String>,
    /// `publish.sign`, as a YAML mapping.
    pub sign: Option<String>,
    /// `publish.lockstep`, as a YAML mapping.
    pub lockstep: Option<String>,
    /// The `builder` section, as YAML.
    pub builder: Option<String>,
    /// The `prove` section, as a YAML mapping.
    pub prove: Option<String>,
    /// The `matrix` section, as YAML.
    pub matrix: Option<String>,
}

impl Settings {
    fn new(lab: &Lab, site: &Path) -> Self {
        let www = lab.directory.join("www");
        Self {
            train: www.join("train").display().to_string(),
            vendor: www.display().to_string(),
            baseos: NEW.to_owned(),
            appstream: NEW.to_owned(),
            kernel: "latest".to_owned(),
            train_key: www.join("keys/RPM-GPG-KEY-train"),
            vendor_key: www.join("keys/RPM-GPG-KEY-vendor"),
            login: false,
            source: None,
            include: Vec::new(),
            extra: Vec::new(),
            // The lab's spec files make kmod packages without the macro of Enterprise Linux.
            macros: vec![("KMP".to_owned(), "1".to_owned())],
            build: None,
            stack: "doca-mini".to_owned(),
            unsigned_train: false,
            unsigned: false,
            patches: None,
            reuse: None,
            userspace: Vec::new(),
            consumers: None,
            debuginfo: false,
            base_url: None,
            publish: site.join("published"),
            publish_to: None,
            channels: Vec::new(),
            sign: None,
            lockstep: None,
            builder: None,
            prove: None,
            matrix: None,
        }
    }

    /// Makes every build last: what is to happen in its midst then does, on a machine of any speed.
    pub fn slow(&mut self) {
        self.macros.push(("lab_pause".to_owned(), "4".to_owned()));
    }

    /// Takes a snapshot for both of the train's repositories.
    pub fn snapshot(&mut self, snapshot: &str) {
        snapshot.clone_into(&mut self.baseos);
        snapshot.clone_into(&mut self.appstream);
    }

    fn yaml(&self) -> String {
        let mut text = String::new();
        let login = |text: &mut String, indent: &str| {
            if self.login {
                writeln!(text, "{indent}username: ${{LAB_USER}}\n{indent}password: ${{LAB_PASSWORD}}")
                    .unwrap();
            }
        };
        writeln!(
            text,
            "train:\n  name: lab-9.4\n  arch: x86_64\n  kernel: {}\n  keys: [{}]\n  repositories:",
            self.kernel,
            self.train_key.display()
        )
        .unwrap();
        for (id, name, snapshot) in
            [("baseos", "BaseOS", &self.baseos), ("appstream", "AppStream", &self.appstream)]
        {
            writeln!(
                text,
                "    {id}:\n      url: {}/{name}/{{arch}}/os/{{snapshot}}\n      snapshot: {snapshot}",
                self.train
            )
            .unwrap();
            if self.unsigned_train {
                writeln!(text, "      verify: checksums-only").unwrap();
            }
            login(&mut text, "      ");
        }
        writeln!(
            text,
            "\ndriver:\n  name: {stack}\n  version: 3.2.0\n  repository:\n    url: {}/{stack}/{{version}}/rhel9/{{arch}}",
            self.vendor,
            stack = self.stack,
        )
        .unwrap();
        if self.unsigned {
            writeln!(text, "    verify: checksums-only").unwrap();
        } else {
            writeln!(text, "    keys: [{}]", self.vendor_key.display()).unwrap();
        }
        login(&mut text, "    ");
        if let Some(source) = &self.source {
            writeln!(text, "  source: {source}").unwrap();
        }
        if let Some(build) = &self.build {
            writeln!(text, "  build: {build}").unwrap();
        }
        if !self.include.is_empty() {
            writeln!(text, "  components: {{include: [{}]}}", self.include.join(", ")).unwrap();
        }
        if !self.extra.is_empty() {
            writeln!(text, "  extra:").unwrap();
        }
        for path in &self.extra {
            writeln!(text, "    - path: {}", path.display()).unwrap();
        }
        if let Some(patches) = &self.patches {
            writeln!(text, "  patches: {patches}").unwrap();
        }
        if let Some(reuse) = &self.reuse {
            writeln!(text, "  reuse: {reuse}").unwrap();
        }
        if !self.macros.is_empty() {
            writeln!(text, "  macros:").unwrap();
        }
        for (name, value) in &self.macros {
            writeln!(text, "    {name}: {value}").unwrap();
        }
        if !self.userspace.is_empty() {
            writeln!(text, "  userspace: {{packages: [{}]}}", self.userspace.join(", ")).unwrap();
        }
        if let Some(consumers) = &self.consumers {
            writeln!(text, "\nconsumers: {consumers}").unwrap();
        }
        if self.debuginfo {
            writeln!(text, "\nbuilder:\n  kind: sandbox\n  debuginfo: keep").unwrap();
        }
        if let Some(builder) = &self.builder {
            writeln!(text, "\nbuilder:\n{builder}").unwrap();
        }
        if let Some(prove) = &self.prove {
            writeln!(text, "\nprove: {prove}").unwrap();
        }
        match &self.publish_to {
            Some(section) => writeln!(text, "\npublish:\n{section}").unwrap(),
            None => writeln!(text, "\npublish:\n  directory:\n    path: {}", self.publish.display()).unwrap(),
        }
        if let Some(url) = &self.base_url {
            writeln!(text, "    base_url: {url}").unwrap();
        }
        if !self.channels.is_empty() {
            writeln!(text, "  channels: [{}]", self.channels.join(", ")).unwrap();
        }
        if let Some(sign) = &self.sign {
            writeln!(text, "  sign: {sign}").unwrap();
        }
        if let Some(lockstep) = &self.lockstep {
            writeln!(text, "  lockstep: {lockstep}").unwrap();
        }
        if let Some(matrix) = &self.matrix {
            writeln!(text, "\nmatrix:\n{matrix}").unwrap();
        }
        text
    }
}

/// A site.
#[derive(Debug)]
pub struct Site {
    pub lab: Lab,
    pub settings: Settings,
    pub environment: Vec<(String, String)>,
    directory: TempDir,
}

impl Site {
    /// From nothing, with the newest snapshot of the lab's smallest stack.
    pub fn new() -> Option<Self> {
        let lab = lab()?;
        let directory = tempfile::Builder::new().prefix("drivetrain-site-").tempdir().unwrap();
        let settings = Settings::new(&lab, directory.path());
        let site = Self { lab, settings, environment: Vec::new(), directory };
        site.write_config();
        Some(site)
    }

    /// With the smallest stack built for the newer kernel, but not published. It is built once for all tests.
    pub fn built() -> Option<Self> {
        let site = Self::new()?;
        let seed = seed(&site);
        for name in names(&seed) {
            // Kernels are ten thousand files that nobody writes to: links do, and take a tenth of the time.
            let how = if name == "kernels" { "-al" } else { "-a" };
            copy(how, &seed.join(&name), &site.path("state"));
        }
        Some(site)
    }

    /// With everything fetched and unpacked for the newer kernel, and nothing built.
    pub fn fetched() -> Option<Self> {
        let site = Self::built()?;
        std::fs::remove_dir_all(site.state().join("components")).unwrap();
        Some(site)
    }

    /// Changes the configuration.
    pub fn configure(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.write_config();
    }

    fn write_config(&self) {
        std::fs::write(self.config(), self.settings.yaml()).unwrap();
    }

    /// A path inside the site.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub fn config(&self) -> PathBuf {
        self.path("drivetrain.yaml")
    }

    pub fn trap(&self, name: &str) -> PathBuf {
        self.lab.directory.join(format!("traps/{name}-1.0-1.src.rpm"))
    }

    /// Where the repository for a kernel is published.
    pub fn repository(&self, kernel: &Kernel) -> PathBuf {
        self.settings.publish.join(format!("lab-9.4/3.2.0/{}/x86_64", kernel.release))
    }

    /// The command, ready to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(self.directory.path());
        command.arg("--config").arg(self.config()).arg("--state").arg(self.state()).args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the binary to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        finish(&mut self.command(arguments))
    }

    /// Starts the binary and comes back at once.
    pub fn start(&self, arguments: &[&str]) -> running::Running {
        running::Running::start(self, arguments)
    }

    /// All runs, in the order in which they began.
    pub fn runs(&self) -> Vec<Run> {
        let runs = self.state().join("runs");
        let mut all: Vec<Run> = names(&runs)
            .into_iter()
            .map(|id| Run {
                events: events(&runs.join(&id).join("journal.jsonl")),
                directory: runs.join(&id),
                id,
            })
            .filter(|run| !run.events.is_empty())
            .collect();
        all.sort_by_key(|run| moment(&run.events[0]));
        all
    }

    /// The run that began last.
    pub fn last_run(&self) -> Run {
        self.runs().pop().unwrap()
    }

    /// The RPMs that are served for a kernel, by the manifest. Those of earlier versions, which are kept beside
    /// them for who is in the middle of a download, are not among them.
    pub fn served(&self, kernel: &Kernel) -> Vec<String> {
        let manifest = std::fs::read(self.repository(kernel).join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let location = |package: &Value| {
            package["location"].as_str().unwrap().trim_start_matches("Packages/").to_owned()
        };
        let mut names: Vec<String> = manifest["packages"].as_array().unwrap().iter().map(location).collect();
        names.sort();
        names
    }

    /// The record of all changes to what is served for a kernel.
    pub fn history(&self, kernel: &Kernel) -> String {
        std::fs::read_to_string(self.history_file(kernel)).unwrap()
    }

    /// Where that record is kept.
    pub fn history_file(&self, kernel: &Kernel) -> PathBuf {
        let path = format!(".drivetrain/lab-9.4/3.2.0/{}/x86_64/.history.jsonl", kernel.release);
        self.settings.publish.join(path)
    }

    /// Fails if anything was built or published.
    pub fn nothing_happened(&self) {
        assert_eq!(names(&self.state().join("components")), Vec::<String>::new());
        for kernel in [&self.lab.older, &self.lab.newer] {
            assert!(!self.repository(kernel).exists(), "something is published for {}", kernel.release);
        }
        let started = self.runs().iter().flat_map(|run| run.of("component-started")).count();
        assert_eq!(started, 0, "a build began");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Whatever a test is about: no command leaves a process behind.
        let mut left = processes::end_survivors(self.directory.path());
        // Those are dnf's, for the keys that it imports; they were ended as well.
        left.retain(|process| process.name != "gpg-agent");
        assert!(
            left.is_empty() || std::thread::panicking(),
            "processes that outlived their command: {left:?}"
        );
    }
}

/// The moment of an event. Fractions of a second have as many digits as they need, so text does not sort.
fn moment(event: &Value) -> jiff::Timestamp {
    event["at"].as_str().unwrap().parse().unwrap()
}

/// A run, as its journal tells it.
#[derive(Debug)]
pub struct Run {
    pub id: String,
    pub directory: PathBuf,
    pub events: Vec<Value>,
}

impl Run {
    /// The events of a kind.
    pub fn of(&self, kind: &str) -> Vec<Value> {
        self.events.iter().filter(|event| event["event"] == kind).cloned().collect()
    }

    /// The components with this outcome: `built`, `reused`, `failed`, `not-tried`.
    pub fn components(&self, outcome: &str) -> Vec<String> {
        self.of("component-finished")
            .iter()
            .filter(|event| event["outcome"] == outcome)
            .map(|event| event["component"].as_str().unwrap().to_owned())
            .collect()
    }

    /// What it ended with, if it ended.
    pub fn exit(&self) -> Option<i64> {
        self.of("run-finished").first()?["exit"].as_i64()
    }

    /// The version that it served, and whether that was served before.
    pub fn published(&self) -> Option<(i64, bool)> {
        let events = self.of("published");
        let event = events.first()?;
        Some((event["version"].as_i64()?, event["unchanged"].as_bool()?))
    }
}

/// The events in a journal; half a line at its end is left out.
pub fn events(journal: &Path) -> Vec<Value> {
    let text = std::fs::read(journal).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The binary alone, with nothing of the developer's environment that would change what it does.
pub fn bare(directory: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.current_dir(directory).stdin(Stdio::null()).env("NO_COLOR", "1");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_lowercase();
        if text.starts_with("drivetrain_") || text.ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end.
pub fn finish(command: &mut Command) -> Output {
    let started = Instant::now();
    let output = command.output().unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        took: started.elapsed(),
    }
}

/// What came of a command.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Output {
    /// It succeeded.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.ends_with(0)
    }

    /// It ended with this code.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Somewhere in what it printed stands this.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "{text:?} is not in:\n{}\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// The failure at the end, from the word on. Lines of progress have a time before it.
    #[track_caller]
    pub fn error(&self) -> &str {
        let start = match self.stderr.find("\nerror: ") {
            Some(newline) => newline + 1,
            None if self.stderr.starts_with("error: ") => 0,
            None => panic!("no error in:\n{}", self.stderr),
        };
        &self.stderr[start..]
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in:\n{}", self.stdout))
    }
}

/// A state directory in which the smallest stack is built. It belongs to one build of the binary, so that no test
/// passes on what another binary made.
fn seed(site: &Site) -> PathBuf {
    let binary = std::fs::metadata(BINARY).unwrap();
    let built = binary.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    let top = Path::new(env!("CARGO_TARGET_TMPDIR")).join("drivetrain-seed");
    let seed = top.join(format!("{}-{}", built.as_nanos(), binary.len()));
    std::fs::create_dir_all(&top).unwrap();
    let lock = File::create(top.join("lock")).unwrap();
    lock.lock().unwrap();
    if !seed.exists() {
        for old in names(&top).iter().filter(|name| *name != "lock") {
            std::fs::remove_dir_all(top.join(old)).unwrap();
        }
        let state = top.join("making");
        let mut command = bare(&top);
        command.arg("--config").arg(site.config()).arg("--state").arg(&state).args(["build", "--quiet"]);
        finish(&mut command).succeeds();
        // Records of runs are not what is reused.
        for name in ["runs", "cells"] {
            std::fs::remove_dir_all(state.join(name)).unwrap();
        }
        std::fs::rename(&state, &seed).unwrap();
    }
    seed
}

/// Copies a file or a directory into a directory, with owners and modes, or makes links (`-al`).
pub fn copy(how: &str, from: &Path, into: &Path) {
    std::fs::create_dir_all(into).unwrap();
    let status = Command::new("cp").arg(how).arg(from).arg(into).status().unwrap();
    assert!(status.success());
}
