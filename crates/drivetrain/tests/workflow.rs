//! The workflow that sites copy into their repositories, step by step as GitHub's runner takes them: every `run:` in a
//! bash of its own, with the variables that its `env:` says and no others, under the conditions of its `if:`.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::server::{Fault, Server};
use common::{BINARY, MINI, Site, copy, names};
use drivetrain_lab::kayobe::{Installation, installed};
use serde_json::Value;

const PASSWORD: &str = "right-horse";
/// `lab:right-horse`, as a header has it.
const ENCODED: &str = "bGFiOnJpZ2h0LWhvcnNl";

type Words = BTreeMap<String, String>;

fn contrib() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/github")
}

/// A workflow, read by the YAML library that comes with Ansible.
fn workflow(python: &Installation, name: &str) -> Value {
    let script =
        "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout, default=str)";
    let file = contrib().join("workflows").join(name);
    let output = Command::new(python.program("python3")).args(["-c", script]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The one job of a workflow.
fn job(workflow: &Value) -> &Value {
    workflow["jobs"].as_object().unwrap().values().next().unwrap()
}

/// A site's repository, with the workflow in it.
struct Repository {
    site: Site,
    workflow: Value,
    vars: Words,
    secrets: Words,
}

impl Repository {
    fn new(site: Option<Site>) -> Option<Self> {
        let python = installed()?;
        let site = site?;
        fs::create_dir_all(site.path("repo/drivetrain")).unwrap();
        for directory in ["workflows", "drivetrain"] {
            copy("-a", &contrib().join(directory), &site.path("repo/.github"));
        }
        let sum = Command::new("sha256sum").arg(BINARY).output().unwrap();
        let sum = String::from_utf8(sum.stdout).unwrap();
        let vars = words(&[
            ("DRIVETRAIN_URL", &format!("file://{BINARY}")),
            ("DRIVETRAIN_SHA256", sum.split(' ').next().unwrap()),
            ("DRIVETRAIN_STATE", site.state().to_str().unwrap()),
        ]);
        let repository =
            Self { site, workflow: workflow(&python, "drivetrain.yml"), vars, secrets: Words::new() };
        repository.commit();
        Some(repository)
    }

    /// Takes over what the site's configuration says now.
    fn commit(&self) {
        let text = fs::read_to_string(self.site.config()).unwrap();
        let text = text.replace("${LAB_USER}", "lab").replace("${LAB_PASSWORD}", "${ARK_PASSWORD}");
        fs::write(self.site.path("repo/drivetrain/mini.yaml"), text).unwrap();
    }

    /// What somebody starts, with these inputs.
    fn dispatch(&self, inputs: &[(&str, &str)]) -> Job<'_> {
        let mut all = words(&[("train", "mini"), ("builder", "as configured"), ("dry_run", "false")]);
        all.extend(words(inputs));
        self.job("workflow_dispatch", all)
    }

    /// What the clock starts.
    fn scheduled(&self) -> Job<'_> {
        self.job("schedule", Words::new())
    }

    fn job(&self, event: &str, inputs: Words) -> Job<'_> {
        let number = names(&self.site.path("")).len();
        let temporary = self.site.path(&format!("runner-{number}"));
        fs::create_dir(&temporary).unwrap();
        let mut job = Job {
            repository: self,
            temporary,
            event: event.to_owned(),
            inputs,
            outputs: BTreeMap::new(),
            ran: Vec::new(),
            failed: None,
            log: String::new(),
        };
        job.steps(self::job(&self.workflow));
        job
    }
}

/// A job, and what became of it.
struct Job<'a> {
    repository: &'a Repository,
    temporary: PathBuf,
    event: String,
    inputs: Words,
    outputs: BTreeMap<String, Words>,
    /// The names of the steps whose conditions held.
    ran: Vec<String>,
    /// The step that failed first.
    failed: Option<String>,
    log: String,
}

impl Job<'_> {
    fn steps(&mut self, job: &Value) {
        for step in job["steps"].as_array().unwrap() {
            let name = step["name"].as_str().unwrap();
            let condition = step["if"].as_str().unwrap_or("success()");
            let condition = condition.trim_start_matches("${{").trim_end_matches("}}");
            // A condition that does not ask for the job's state holds after successes alone.
            let holds =
                truth(&self.evaluate(condition)) && (self.failed.is_none() || condition.contains("always()"));
            if !holds {
                continue;
            }
            self.ran.push(name.to_owned());
            let Some(script) = step["run"].as_str() else { continue };
            let mut environment = self.variables(&job["env"]);
            environment.extend(self.variables(&step["env"]));
            if !self.run(step["id"].as_str().unwrap_or(name), script, &environment) {
                self.failed.get_or_insert(name.to_owned());
            }
        }
    }

    fn variables(&self, given: &Value) -> Words {
        let none = serde_json::Map::new();
        let given = given.as_object().unwrap_or(&none);
        given.iter().map(|(name, value)| (name.clone(), self.expand(value.as_str().unwrap()))).collect()
    }

    /// A text that is one expression, or none.
    fn expand(&self, text: &str) -> String {
        match text.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")) {
            Some(expression) => self.evaluate(expression),
            None => text.to_owned(),
        }
    }

    fn run(&mut self, id: &str, script: &str, environment: &Words) -> bool {
        let file = |name: &str| self.temporary.join(format!("{name}-{id}"));
        fs::write(file("script"), script).unwrap();
        let output = Command::new("bash")
            .args(["--noprofile", "--norc", "-eo", "pipefail"])
            .arg(file("script"))
            .current_dir(self.repository.site.path("repo"))
            .stdin(Stdio::null())
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"))
            .envs(environment)
            .env("CI", "true")
            .env("GITHUB_OUTPUT", file("output"))
            .env("GITHUB_STEP_SUMMARY", self.temporary.join("summary"))
            .env("GITHUB_SERVER_URL", "https://github.com")
            .env("GITHUB_REPOSITORY", "site/kayobe-config")
            .env("GITHUB_RUN_ID", "4711")
            .env("GITHUB_ACTOR", "somebody")
            .env("GITHUB_EVENT_NAME", &self.event)
            .env("RUNNER_TEMP", &self.temporary)
            .env("RUNNER_ENVIRONMENT", "self-hosted")
            .output()
            .unwrap();
        self.log.push_str(&String::from_utf8_lossy(&output.stdout));
        self.log.push_str(&String::from_utf8_lossy(&output.stderr));
        let written = fs::read_to_string(file("output")).unwrap_or_default();
        let outputs = written.lines().map(|line| line.split_once('=').unwrap());
        self.outputs.insert(
            id.to_owned(),
            outputs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        );
        output.status.success()
    }

    fn output(&self, step: &str, name: &str) -> &str {
        self.outputs.get(step).and_then(|outputs| outputs.get(name)).map_or("", String::as_str)
    }

    fn ran(&self, step: &str) -> bool {
        self.ran.iter().any(|name| name == step)
    }

    fn summary(&self) -> String {
        fs::read_to_string(self.temporary.join("summary")).unwrap_or_default()
    }

    /// What the runner takes for commands: not what stands between the marks that switch them off.
    fn annotations(&self) -> Vec<&str> {
        let mut found = Vec::new();
        let mut until: Option<String> = None;
        for line in self.log.lines() {
            if let Some(token) = line.strip_prefix("::stop-commands::") {
                until = Some(format!("::{token}::"));
            } else if until.as_deref() == Some(line) {
                until = None;
            } else if until.is_none() && line.starts_with("::") {
                found.push(line);
            }
        }
        assert_eq!(until, None, "commands stay switched off");
        found
    }

    #[track_caller]
    fn annotates(&self, start: &str, text: &str) {
        let all = self.annotations();
        assert!(
            all.iter().any(|line| line.starts_with(start) && line.contains(text)),
            "{all:#?}\n{}",
            self.log
        );
    }

    /// The directory that would be uploaded, and the names of the runs in it.
    fn evidence(&self) -> (PathBuf, Vec<String>) {
        let path = PathBuf::from(self.output("evidence", "path"));
        let runs = names(&path.join("runs"));
        (path, runs)
    }

    /// The value of an expression, as far as the workflow has such.
    fn evaluate(&self, expression: &str) -> String {
        let tokens = tokens(expression);
        let mut rest = tokens.as_slice();
        let value = self.any(&mut rest);
        assert!(rest.is_empty(), "{expression} is not understood from {rest:?} on");
        value
    }

    fn any(&self, rest: &mut &[String]) -> String {
        let mut value = self.all(rest);
        while take(rest, "||") {
            let right = self.all(rest);
            value = if truth(&value) { value } else { right };
        }
        value
    }

    fn all(&self, rest: &mut &[String]) -> String {
        let mut value = self.equal(rest);
        while take(rest, "&&") {
            let right = self.equal(rest);
            value = if truth(&value) { right } else { value };
        }
        value
    }

    fn equal(&self, rest: &mut &[String]) -> String {
        let left = self.one(rest);
        if !take(rest, "==") {
            return left;
        }
        (left == self.one(rest)).to_string()
    }

    fn one(&self, rest: &mut &[String]) -> String {
        if take(rest, "!") {
            return (!truth(&self.one(rest))).to_string();
        }
        if take(rest, "(") {
            let value = self.any(rest);
            assert!(take(rest, ")"));
            return value;
        }
        let (word, after) = rest.split_first().unwrap();
        *rest = after;
        if let Some(text) = word.strip_prefix('\'') {
            return text.to_owned();
        }
        if word == "always" || word == "success" {
            assert!(take(rest, "(") && take(rest, ")"));
            return "true".to_owned();
        }
        let get = |words: &Words, name: &str| words.get(name).cloned().unwrap_or_default();
        match word.split('.').collect::<Vec<_>>().as_slice() {
            ["inputs", name] => get(&self.inputs, name),
            ["vars", name] => get(&self.repository.vars, name),
            ["secrets", name] => get(&self.repository.secrets, name),
            ["steps", id, "outputs", name] => self.output(id, name).to_owned(),
            ["matrix", "train"] => "mini".to_owned(),
            ["github", "event_name"] => self.event.clone(),
            _ => panic!("{word} is not known"),
        }
    }
}

fn words(given: &[(&str, &str)]) -> Words {
    given.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn truth(value: &str) -> bool {
    !matches!(value, "" | "false")
}

fn take(rest: &mut &[String], token: &str) -> bool {
    let is = rest.first().is_some_and(|first| first == token);
    if is {
        *rest = &rest[1..];
    }
    is
}

/// Words, operators, and texts with the quotation mark that they begin with.
fn tokens(expression: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => rest[1..].find('\'').unwrap() + 1,
            '&' | '|' | '=' => 2,
            '!' | '(' | ')' => 1,
            _ => rest.find(|c: char| !c.is_alphanumeric() && c != '.' && c != '_').unwrap_or(rest.len()),
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start_matches('\'').trim_start();
    }
    tokens
}

/// The files below a directory that have a secret in them.
fn with_secret(directory: &Path) -> String {
    let found =
        Command::new("grep").args(["-rla", "-e", PASSWORD, "-e", ENCODED]).arg(directory).output().unwrap();
    String::from_utf8(found.stdout).unwrap()
}

#[test]
fn actions_are_pinned_and_nothing_is_written_into_scripts() {
    let Some(python) = installed() else { return };
    for name in names(&contrib().join("workflows")) {
        let workflow = workflow(&python, &name);
        assert_eq!(workflow["permissions"], serde_json::json!({}), "{name}");
        let job = job(&workflow);
        assert!(
            job["timeout-minutes"].is_number() && job["concurrency"]["cancel-in-progress"] == false,
            "{name}"
        );
        for step in job["steps"].as_array().unwrap() {
            if let Some(uses) = step["uses"].as_str() {
                let (_, commit) = uses.split_once('@').unwrap();
                assert!(commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()), "{uses}");
            }
            let script = step["run"].as_str().unwrap_or_default();
            assert!(!script.contains("${{"), "{name}: {script}");
        }
    }
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let Some(repository) = Repository::new(Site::fetched()) else { return };
    let job = repository.dispatch(&[
        ("dry_run", "true"),
        ("kernel", "newest-buildable"),
        ("driver_version", "3.2.0"),
    ]);
    assert_eq!(job.failed, None, "{}", job.log);
    assert_eq!(job.output("plan", "needed"), "true");
    assert!(!job.ran("Build, prove and publish") && !job.ran("Save the state") && job.ran("Reap machines"));
    let summary = job.summary();
    assert!(summary.contains("To do: build 2 components"), "{summary}");
    assert_eq!(job.annotations(), Vec::<&str>::new());
    let (evidence, runs) = job.evidence();
    let plan: Value = serde_json::from_slice(&fs::read(evidence.join("plan.json")).unwrap()).unwrap();
    assert_eq!(plan["kernel"]["policy"], "newest-buildable", "the inputs were not taken");
    assert!(runs.is_empty());
    repository.site.nothing_happened();
    assert_eq!(names(&repository.site.path("repo/drivetrain")), ["mini.yaml"], "no lock was written");
}

#[test]
fn a_run_publishes_and_the_nights_after_it_do_nothing() {
    let Some(mut repository) = Repository::new(Site::fetched()) else { return };
    let right = format!("Basic {ENCODED}");
    let server = Server::start(&repository.site.lab.directory.join("www"), move |request| {
        (request.authorization.as_deref() != Some(&right)).then_some(Fault::Status(401))
    });
    repository.site.configure(|settings| {
        settings.train = format!("{}/train", server.url());
        settings.vendor = server.url();
        settings.login = true;
    });
    repository.commit();
    repository.secrets = words(&[("ARK_PASSWORD", PASSWORD)]);

    // A night with something new.
    let first = repository.scheduled();
    assert_eq!(first.failed, None, "{}", first.log);
    assert_eq!((first.output("plan", "needed"), first.output("run", "exit")), ("true", "0"));
    let run = repository.site.last_run();
    assert_eq!(run.components("built"), MINI);
    assert_eq!(run.published(), Some((1, false)));
    let summary = first.summary();
    assert!(
        summary.contains("Version 1 is served") && summary.contains("`hello-kmod` 1.0-1 | built"),
        "{summary}"
    );
    let (evidence, runs) = first.evidence();
    assert_eq!(runs, [run.id.as_str()]);
    for name in ["journal.jsonl", "lock.json", "verdicts.json", "report.html", "logs/hello-kmod.log"] {
        assert!(evidence.join("runs").join(&run.id).join(name).exists(), "{name}");
    }
    let history = repository.site.history(&repository.site.lab.newer);
    assert!(
        history.contains("https://github.com/site/kayobe-config/actions/runs/4711 (schedule by somebody)")
    );

    // One without.
    let second = repository.scheduled();
    assert_eq!(second.failed, None, "{}", second.log);
    assert_eq!(second.output("plan", "needed"), "false");
    assert!(!second.ran("Build, prove and publish") && second.ran("Upload the evidence"));
    second.annotates("::notice ", "there is nothing to do");
    assert_eq!(second.annotations().len(), 1);
    assert_eq!(repository.site.runs().len(), 1);

    // Somebody who asks gets a run all the same, which looks at what is served.
    let asked = repository.dispatch(&[]);
    assert_eq!((asked.failed.as_deref(), asked.output("run", "exit")), (None, "0"), "{}", asked.log);
    assert_eq!(repository.site.last_run().published(), Some((1, true)));

    for job in [&first, &second, &asked] {
        assert!(!job.log.contains(PASSWORD) && !job.log.contains(ENCODED));
    }
    assert_eq!(with_secret(&repository.site.path("")), "");
}

#[test]
fn a_build_that_fails_is_marked_on_its_component_and_its_evidence_is_kept() {
    let Some(mut repository) = Repository::new(Site::fetched()) else { return };
    let trap = repository.site.trap("broken-kmod");
    repository.site.configure(|settings| settings.extra = vec![trap]);
    repository.commit();
    let job = repository.dispatch(&[("builder", "sandbox")]);
    assert_eq!(job.failed.as_deref(), Some("Build, prove and publish"), "{}", job.log);
    assert_eq!(job.output("run", "exit"), "5");
    job.annotates("::error ", "broken-kmod");
    assert!(job.summary().contains("`broken-kmod`"), "{}", job.summary());
    let run = repository.site.last_run();
    let (evidence, runs) = job.evidence();
    assert_eq!(runs, [run.id.as_str()]);
    assert!(evidence.join("runs").join(&run.id).join("logs/broken-kmod.log").exists());
    for step in ["Reap machines", "Report", "Upload the evidence"] {
        assert!(job.ran(step), "{step}");
    }
    assert!(!repository.site.repository(&repository.site.lab.newer).exists(), "something is published");
}

#[test]
fn what_cannot_be_planned_is_said_on_the_page_and_inputs_are_words_and_nothing_more() {
    let Some(mut repository) = Repository::new(Site::new()) else { return };
    let fails = |repository: &Repository, inputs: &[(&str, &str)], step: &str, says: &str| {
        let job = repository.dispatch(inputs);
        assert_eq!(job.failed.as_deref(), Some(step), "{}", job.log);
        assert!(!job.ran("Build, prove and publish"));
        job.annotates("::error ", says);
    };
    let hostile =
        format!("3.2.0$(touch {0})`touch {0}`;touch {0}", repository.site.path("repo/pwned").display());
    fails(&repository, &[("driver_version", &hostile)], "Plan", "--set driver.version=3.2.0$(touch ");
    fails(&repository, &[("kernel", "neuest")], "Plan", "all-in-train, exact:RELEASE");
    fails(&repository, &[("kernel", "exact:6.1.0-1-x}, a: {")], "Plan", "train.kernel");
    fails(&repository, &[("kernel", "ceiling:2.6.32-1.el6.x86_64")], "Plan", "2.6.32-1.el6.x86_64");
    fails(&repository, &[("builder", "qemu")], "Plan", "the builder is sandbox, train, or as configured");
    assert_eq!(names(&repository.site.path("repo")), [".github", "drivetrain"]);

    // The program has to be the one that was meant.
    let right = repository.vars.insert("DRIVETRAIN_SHA256".to_owned(), "0".repeat(64)).unwrap();
    fails(&repository, &[], "Install drivetrain", &format!("has the SHA-256 {right}"));
    repository.vars.remove("DRIVETRAIN_SHA256");
    fails(&repository, &[], "Install drivetrain", "DRIVETRAIN_URL and DRIVETRAIN_SHA256");
    repository.vars.insert("DRIVETRAIN_SHA256".to_owned(), right);
    repository.vars.insert("DRIVETRAIN_URL".to_owned(), "http://192.0.2.1/drivetrain".to_owned());
    fails(&repository, &[], "Install drivetrain", "has to begin with https://");
    repository.site.nothing_happened();
}

#[test]
fn a_train_is_named_without_a_directory() {
    let Some(repository) = Repository::new(Site::new()) else { return };
    for (train, says) in [("../mini", "without a directory"), ("other", "there is no drivetrain/other.yaml")]
    {
        let output = Command::new("bash")
            .arg(contrib().join("drivetrain/ci"))
            .arg("plan")
            .current_dir(repository.site.path("repo"))
            .env("TRAIN", train)
            .env("RUNNER_TEMP", repository.site.path(""))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!output.status.success() && text.starts_with("::error ") && text.contains(says), "{text}");
    }
}
