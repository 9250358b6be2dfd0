//! Builds with the vendor's own tool, on the system that this runs on.
//!
//! The tool, `doca-kernel-support`, is a script that installs what it needs, builds one component after another, and
//! wraps all packages into one. It runs as it is, on a machine that is there for it, with a `/tmp` of its own; what it
//! left there is searched for packages and logs, wherever it put them, and each package goes to the component whose
//! source RPM it names. From then on these are components like any other.

mod outputs;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{CancellationToken, Ending, SystemScript};
use drivetrain_model::{ComponentName, Event, Sha256Digest};
use fs_err as fs;
use rustix::fs::{FlockOperation, flock};

use crate::cache::{CachedComponent, NewEntry, digest_of};
use crate::component::{Events, MAX_TRIAGED, read_start};
use crate::packages::with_modules;
use crate::{
    BuildError, BuildReport, BuildRequest, Component, ComponentCache, ComponentError, ComponentReport,
    DiagnosisKind, Outcome, ToolPackage, VendorTool, triage,
};
use outputs::{Logs, Outputs};

const SCRIPT: &str = include_str!("tool.sh");

/// How the script says what it does next.
const SAID: &str = "drivetrain: ";
/// How often it is looked which component is being built.
const LOOK: Duration = Duration::from_millis(500);
/// Lines of the tool's that are shown where it ended badly.
const LAST_WORDS: usize = 12;
/// Variables by which a site names the way to the train's repositories.
const PROXIES: &[&str] = &["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// Builds the components of a request with the vendor's tool. `output` gets each line that it writes.
///
/// # Errors
/// Where the tool could not be installed or did nothing that is known of it. A component's failure stands in the report.
pub(crate) async fn build(
    request: &BuildRequest,
    tool: &VendorTool,
    events: Events,
    output: Arc<dyn Fn(&str) + Send + Sync>,
    cancel: &CancellationToken,
) -> Result<BuildReport, BuildError> {
    for directory in [&request.directories.components, &request.directories.logs, &request.directories.work] {
        fs::create_dir_all(directory).map_err(BuildError::file("create", directory))?;
    }
    let run = Run::prepare(request, tool)?;
    if run.wanted.is_empty() {
        return run.report(&Told::default(), &Outputs::default(), None, events.as_ref());
    }
    let mut told = Told::default();
    let ending = run.execute(&mut told, &events, output.as_ref(), cancel).await?;
    if ending == Ending::Cancelled {
        return Ok(run.cancelled());
    }
    if ending == Ending::TimedOut {
        let hours = request.options.deadline.unwrap_or_default().as_secs() / 3600;
        return Err(BuildError::VendorTool {
            what: format!("the vendor's tool was not done after {hours} hours, and was killed"),
            next: "look at vendor-tool.log among the run's logs for what it was at".to_owned(),
        });
    }
    let status = run.status(ending, &told)?;
    events(Event::MachineDoing { doing: "sorting the packages that the tool made".to_owned() });
    let outputs = Outputs::find(&run.own.path("tmp"), &run.own.path("unwrapped"))?;
    run.tell_of_outputs(&outputs, status, &told, &events);
    run.report(&told, &outputs, Some(status), events.as_ref())
}

/// The directory of the only run of the tool on this system.
struct Own {
    directory: Utf8PathBuf,
    _lock: fs::File,
}

impl Own {
    /// Takes it, and removes what a killed run left.
    fn take(work: &Utf8Path) -> Result<Self, BuildError> {
        let path = work.join("vendor-tool.lock");
        let lock = fs::File::create(&path).map_err(BuildError::file("create", &path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| BuildError::VendorTool {
            what: "the vendor's tool is running on this machine for another run of drivetrain".to_owned(),
            next: "wait for that, or give the runs a machine each".to_owned(),
        })?;
        let own = Self { directory: work.join("vendor-tool"), _lock: lock };
        own.remove().map_err(BuildError::file("remove", &own.directory))?;
        for name in ["packages", "sources", "needed", "unwrapped", "collected", "tmp/home", "var-tmp"] {
            let directory = own.path(name);
            fs::create_dir_all(&directory).map_err(BuildError::file("create", &directory))?;
        }
        for name in ["tmp", "var-tmp"] {
            let directory = own.path(name);
            fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o1777))
                .map_err(BuildError::file("change the mode of", &directory))?;
        }
        Ok(own)
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        self.directory.join(name)
    }

    fn remove(&self) -> std::io::Result<()> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // What cannot be removed now, the next run removes.
        drop(self.remove());
    }
}

/// What is known of a run by listening to it.
#[derive(Default)]
struct Told {
    last: Vec<String>,
    /// When each component's log appeared, in order.
    started: Vec<(ComponentName, Instant)>,
    ended: Option<Instant>,
}

impl Told {
    /// How long a component took: until the next began, since there is one at a time.
    fn ms(&self, name: &ComponentName) -> u64 {
        let position = self.started.iter().position(|(started, _)| started == name);
        let Some((_, begin)) = position.and_then(|position| self.started.get(position)) else { return 0 };
        let next = position.and_then(|position| self.started.get(position + 1)).map(|(_, next)| *next);
        let took = next.or(self.ended).map_or(Duration::ZERO, |end| end.duration_since(*begin));
        u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
    }

    fn last_words(&self) -> String {
        self.last.join("\n  ")
    }

    /// The line in which a program complains of its options.
    fn usage(&self) -> Option<&str> {
        const COMPLAINTS: &[&str] = &[
            "unrecognized option",
            "invalid option",
            "unknown option",
            "Unknown option",
            "requires an argument",
        ];
        self.last
            .iter()
            .map(String::as_str)
            .find(|line| COMPLAINTS.iter().any(|complaint| line.contains(complaint)))
    }
}

struct Run<'a> {
    request: &'a BuildRequest,
    tool: &'a VendorTool,
    cache: ComponentCache,
    finished: BTreeMap<Sha256Digest, CachedComponent>,
    wanted: Vec<&'a Component>,
    own: Own,
}

impl<'a> Run<'a> {
    /// Lays out what the script takes.
    fn prepare(request: &'a BuildRequest, tool: &'a VendorTool) -> Result<Self, BuildError> {
        let own = Own::take(&request.directories.work)?;
        let cache = ComponentCache::new(&request.directories.components);
        cache.sweep();
        let mut finished = BTreeMap::new();
        for component in &request.components {
            // What is damaged is built again.
            if let Ok(Some(entry)) = cache.get(&component.key) {
                finished.insert(component.key, entry);
            }
        }
        let wanted = request.components.iter().filter(|component| !finished.contains_key(&component.key));
        let run = Self { request, tool, cache, wanted: wanted.collect(), finished, own };
        for ToolPackage { nevra, path, sha256 } in &tool.packages {
            run.put(path, *sha256, &run.own.path("packages").join(nevra.file_name()))?;
        }
        for component in run.wanted.iter().filter(|component| tool.extra.contains(&component.name)) {
            let place = run.own.path("sources").join(format!("{}-0-0.src.rpm", component.name));
            run.put(&component.srpm, component.sha256, &place)?;
        }
        for package in run.devel_packages() {
            let place = run.own.path("needed").join(&package.file);
            fs::copy(&package.path, &place).map_err(BuildError::file("copy", &package.path))?;
        }
        let repacked = run.not_of_the_archive();
        if !repacked.is_empty() {
            run.write("repack", &repacked.join("\n"))?;
        }
        run.write("tmp/home/.rpmmacros", &macros(&tool.macros))?;
        Ok(run)
    }

    /// A copy of a file that is what it should be.
    fn put(&self, path: &Utf8Path, expected: Sha256Digest, place: &Utf8Path) -> Result<(), BuildError> {
        fs::copy(path, place).map_err(BuildError::file("copy", path))?;
        let (_, found) = digest_of(place).map_err(BuildError::file("read", place))?;
        if found == expected {
            return Ok(());
        }
        Err(BuildError::VendorTool {
            what: format!("{path} is not what was planned: its sha256 is {found}, not {expected}"),
            next: "remove it there, and run again: it is put there once more".to_owned(),
        })
    }

    fn write(&self, name: &str, text: &str) -> Result<(), BuildError> {
        let path = self.own.path(name);
        fs::write(&path, format!("{text}\n")).map_err(BuildError::file("write", path))
    }

    /// The packages of headers and symbol versions of what is finished.
    fn devel_packages(&self) -> impl Iterator<Item = &crate::CachedPackage> {
        self.finished
            .values()
            .flat_map(|entry| &entry.packages)
            .filter(|package| package.nevra.name.contains("-devel") && package.modules.is_empty())
    }

    /// What has to be taken out of the vendor's archive.
    fn not_of_the_archive(&self) -> Vec<&str> {
        let finished = self.request.components.iter().filter(|one| self.finished.contains_key(&one.key));
        let names: BTreeSet<&str> = finished
            .map(|component| &component.name)
            .chain(&self.tool.left_out)
            .chain(&self.tool.extra)
            .map(ComponentName::as_str)
            .collect();
        names.into_iter().collect()
    }

    fn name_of(&self, position: usize) -> String {
        self.tool.packages.get(position).map_or_else(String::new, |package| package.nevra.to_string())
    }

    fn script(&self) -> SystemScript {
        let kernel = &self.request.kernel;
        let names: Vec<&str> = self.request.components.iter().map(|one| one.name.as_str()).collect();
        let variables = [
            ("OWN", self.own.directory.to_string()),
            ("BEFORE", self.request.directories.work.join("vendor-tool.before").into_string()),
            ("TREE", kernel.devel.to_string()),
            ("KERNEL", kernel.release.to_string()),
            ("PROGRAM", self.tool.program.to_string()),
            ("TOOL", self.name_of(0)),
            ("SOURCE", self.name_of(1)),
            ("COMPONENTS", names.join(" ")),
            ("HOME", "/tmp/home".to_owned()),
            // Without a terminal's name tools that ask for one end before they begin.
            ("TERM", "linux".to_owned()),
            ("LC_ALL", "C".to_owned()),
        ];
        let proxies = PROXIES.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        // Its -k wants a directory that kernel-devel does not bring, and its long form of -s wants no argument.
        let mut arguments = vec!["-s".to_owned(), format!("/usr/src/kernels/{}", kernel.release)];
        arguments.push("--dirty".to_owned());
        if self.request.options.keep_going {
            arguments.push("-K".to_owned());
        }
        arguments.extend(self.tool.arguments.iter().cloned());
        SystemScript {
            text: SCRIPT.to_owned(),
            arguments,
            environment: variables
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .chain(proxies)
                .collect(),
            log: Some(self.request.directories.logs.join("vendor-tool.log")),
            deadline: self.request.options.deadline,
        }
    }

    /// Runs the script, and tells what it does.
    async fn execute(
        &self,
        told: &mut Told,
        events: &Events,
        output: &(dyn Fn(&str) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<Ending, BuildError> {
        let script = self.script();
        let mut last = Vec::new();
        let mut sink = |line: &str| {
            output(line);
            if let Some(doing) = line.strip_prefix(SAID) {
                events(Event::MachineDoing { doing: doing.to_owned() });
                return;
            }
            if !line.trim().is_empty() {
                last.push(line.to_owned());
                let begin = last.len().saturating_sub(LAST_WORDS);
                last.drain(..begin);
            }
        };
        let finished = {
            let running = script.run(&mut sink, cancel);
            tokio::pin!(running);
            loop {
                tokio::select! {
                    finished = &mut running => break finished,
                    () = tokio::time::sleep(LOOK) => self.look(told, events),
                }
            }
        };
        let finished = finished.map_err(BuildError::Host)?;
        // Those that took less time than a look.
        self.look(told, events);
        told.ended = Some(Instant::now());
        told.last = last;
        Ok(finished.ending)
    }

    /// Which components have begun since it was looked last.
    fn look(&self, told: &mut Told, events: &Events) {
        for name in Logs::of(&self.own.path("tmp")).in_order() {
            let component = self.wanted.iter().find(|component| component.name.as_str() == name);
            let Some(component) = component else { continue };
            if told.started.iter().any(|(started, _)| *started == component.name) {
                continue;
            }
            told.started.push((component.name.clone(), Instant::now()));
            events(Event::ComponentStarted {
                component: component.name.clone(),
                log: self.log_of(&component.name).into_string(),
                estimate_ms: component.estimate_ms,
            });
        }
    }

    fn log_of(&self, name: &ComponentName) -> Utf8PathBuf {
        self.request.directories.logs.join(format!("{name}.log"))
    }

    /// What the tool ended with; an error where it never began, or did nothing.
    fn status(&self, ending: Ending, told: &Told) -> Result<i32, BuildError> {
        if let Ok(why) = fs::read_to_string(self.own.path("refused")) {
            return Err(BuildError::VendorTool {
                what: format!("{}: {}", why.trim(), told.last_words()),
                next: "see that builder.prepare writes the train's repositories and that they have what the package \
                       requires; `drivetrain run --keep` leaves a machine that was made"
                    .to_owned(),
            });
        }
        let status = fs::read_to_string(self.own.path("status")).ok();
        let Some(status) = status.and_then(|text| text.trim().parse::<i32>().ok()) else {
            return Err(BuildError::VendorTool {
                what: format!("the vendor's tool {ending}: {}", told.last_words()),
                next: "look at vendor-tool.log among the run's logs".to_owned(),
            });
        };
        if status == 0 || !told.started.is_empty() {
            return Ok(status);
        }
        let next = "this version of the tool may be another than drivetrain knows: compare its --help with \
                    vendor-tool.log among the run's logs, or have drivetrain build the source RPMs \
                    (driver.build: source-rpms)";
        let what = match told.usage() {
            Some(line) => {
                format!("the vendor's tool does not take the options that drivetrain gives it: {line}")
            }
            None => format!(
                "the vendor's tool exited with {status} before any component:\n  {}",
                told.last_words()
            ),
        };
        Err(BuildError::VendorTool { what, next: next.to_owned() })
    }

    /// What was found that is no component's, and what is odd.
    fn tell_of_outputs(&self, outputs: &Outputs, status: i32, told: &Told, events: &Events) {
        let (mut others, mut unknown) = (Vec::new(), BTreeSet::new());
        for package in &outputs.packages {
            if self.component_of(&package.source).is_none() {
                others.push(package.built.nevra.to_string());
                if !package.built.modules.is_empty() {
                    unknown.insert(package.source.clone());
                }
            }
        }
        let count = outputs.packages.len() - others.len();
        let from = match outputs.repositories.as_slice() {
            [] => "its working directory".to_owned(),
            names => names.join(", "),
        };
        let left_out =
            if others.is_empty() { String::new() } else { format!("; left out: {}", others.join(", ")) };
        events(Event::MachineStep {
            step: "take the tool's packages".to_owned(),
            because: format!("{count} of components in {from}{left_out}"),
            changed: false,
            ms: 0,
        });
        let warn = |message: String| events(Event::Warning { message });
        for source in unknown {
            warn(format!(
                "the vendor's tool built {source}, which is no component of the plan: it is left out, and nothing is known \
                 of what it needs"
            ));
        }
        if status == 0 && outputs.repositories.is_empty() {
            warn(
                "the vendor's tool made no doca-kernel-repo package, as it is known to: its packages were taken from \
                 where it built them"
                    .to_owned(),
            );
        }
        for reason in &outputs.unreadable {
            warn(format!("what the vendor's tool made was passed over: {reason}"));
        }
        let all_there = self.wanted.iter().all(|component| outputs.has(component.name.as_str()));
        if status != 0 && all_there {
            warn(format!(
                "the vendor's tool exited with {status} after it had built everything; its last lines:\n  {}",
                told.last_words()
            ));
        }
    }

    fn component_of(&self, source: &str) -> Option<&'a Component> {
        self.wanted.iter().copied().find(|component| component.name.as_str() == source)
    }

    /// What became of every component.
    fn report(
        &self,
        told: &Told,
        outputs: &Outputs,
        status: Option<i32>,
        events: &(dyn Fn(Event) + Send + Sync),
    ) -> Result<BuildReport, BuildError> {
        let mut components: Vec<ComponentReport> = Vec::new();
        for component in &self.request.components {
            let report = match self.finished.get(&component.key) {
                Some(entry) => self.reused(component, entry),
                None => self.made(component, told, outputs, status, &components),
            };
            events(Event::ComponentFinished {
                component: report.name.clone(),
                ms: report.ms,
                outcome: report.outcome.to_event(),
                packages: report.packages.iter().map(|package| package.file.clone()).collect(),
            });
            components.push(report);
        }
        Ok(BuildReport { components, cancelled: false })
    }

    fn reused(&self, component: &Component, entry: &CachedComponent) -> ComponentReport {
        let mut report = empty(component, entry.outcome());
        report.packages = entry.packages.clone();
        report.log = Some(entry.log());
        report
    }

    fn made(
        &self,
        component: &Component,
        told: &Told,
        outputs: &Outputs,
        status: Option<i32>,
        before: &[ComponentReport],
    ) -> ComponentReport {
        let log = outputs.logs.path(component.name.as_str()).and_then(|there| {
            let log = self.log_of(&component.name);
            fs::copy(there, &log).ok().map(|_| log)
        });
        let ms = told.ms(&component.name);
        let (outcome, packages) = match self.take(component, outputs, log.as_deref(), ms) {
            Ok(Some(entry)) => (Outcome::Built, entry.packages),
            Ok(None) => (self.why_not(component, log.as_deref(), status, told, before), Vec::new()),
            Err(error) => (Outcome::Failed(error.about_room(&component.name)), Vec::new()),
        };
        ComponentReport { packages, log, ms, ..empty(component, outcome) }
    }

    /// Puts a component's packages among the finished ones; `None` where there are none.
    fn take(
        &self,
        component: &Component,
        outputs: &Outputs,
        log: Option<&Utf8Path>,
        ms: u64,
    ) -> Result<Option<CachedComponent>, ComponentError> {
        let found: Vec<_> =
            outputs.packages.iter().filter(|package| package.source == component.name.as_str()).collect();
        if found.is_empty() {
            return Ok(None);
        }
        let collected = self.own.path("collected").join(component.name.as_str());
        fs::create_dir_all(&collected).map_err(ComponentError::file("create", &collected))?;
        let built = found.iter().map(|package| package.built.clone()).collect();
        let built = with_modules(&component.name, built, &self.request.kernel.release)?;
        for package in found {
            // By the name that its header says, whatever the tool called it.
            let place = collected.join(&package.built.file);
            fs::rename(&package.path, &place).map_err(ComponentError::file("rename", &package.path))?;
        }
        let nothing = self.own.path("no-log");
        self.cache
            .put(&NewEntry {
                key: component.key,
                component: &component.name,
                kernel: &self.request.kernel.release,
                family: component.family,
                repackaged: None,
                ms,
                packages: &built,
                rpms: &collected,
                log: log.unwrap_or(&nothing),
            })
            .map(Some)
    }

    /// Why there are no packages of a component.
    fn why_not(
        &self,
        component: &Component,
        log: Option<&Utf8Path>,
        status: Option<i32>,
        told: &Told,
        before: &[ComponentReport],
    ) -> Outcome {
        let failed = before.iter().find(|report| matches!(report.outcome, Outcome::Failed(_)));
        let needs_failed = component.needs.iter().find_map(|need| {
            let report = before.iter().find(|report| report.name == *need)?;
            (!report.outcome.is_success()).then_some(need)
        });
        match (log, needs_failed, failed, status) {
            (_, Some(need), ..) => Outcome::NotTried { why: format!("it needs {need}, which failed") },
            (Some(log), ..) => Outcome::Failed(self.diagnose(component, log)),
            (None, None, Some(report), Some(status)) if status != 0 => {
                Outcome::NotTried { why: format!("{} failed", report.name) }
            }
            _ => {
                let name = component.name.as_str();
                let said = told.last.iter().find(|line| line.contains(name)).cloned();
                Outcome::Failed(ComponentError::PassedOver {
                    component: component.name.clone(),
                    said: said.unwrap_or_else(|| "it says nothing of it".to_owned()),
                })
            }
        }
    }

    fn diagnose(&self, component: &Component, log: &Utf8Path) -> ComponentError {
        let diagnosis = triage(&read_start(log, MAX_TRIAGED).unwrap_or_default());
        let component = component.name.clone();
        match diagnosis.kind {
            DiagnosisKind::DiskFull => {
                ComponentError::DiskFull { component, path: self.own.directory.clone() }
            }
            DiagnosisKind::Network => ComponentError::Network { component, diagnosis },
            _ => ComponentError::Build(diagnosis),
        }
    }

    fn cancelled(&self) -> BuildReport {
        let components =
            self.request.components.iter().map(|component| match self.finished.get(&component.key) {
                Some(entry) => self.reused(component, entry),
                None => empty(component, Outcome::NotTried { why: "the run was interrupted".to_owned() }),
            });
        BuildReport { components: components.collect(), cancelled: true }
    }
}

fn empty(component: &Component, outcome: Outcome) -> ComponentReport {
    ComponentReport {
        name: component.name.clone(),
        key: component.key,
        outcome,
        packages: Vec::new(),
        log: None,
        ms: 0,
        cpu_ms: None,
        phases: Vec::new(),
    }
}

/// A user's configuration of rpm with these macros.
fn macros(macros: &BTreeMap<String, String>) -> String {
    let mut text = Vec::new();
    for (name, value) in macros {
        // A macro cannot be defined as nothing.
        let value = if value.is_empty() { "%{nil}" } else { value };
        // Writing to memory cannot fail.
        drop(writeln!(text, "%{name} {value}"));
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_are_a_users_configuration() {
        let all = [("lab_pause", "4"), ("debug_package", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(macros(&all.into()), "%debug_package %{nil}\n%lab_pause 4\n");
    }

    #[test]
    fn a_component_took_until_the_next_began() {
        let name = |text: &str| ComponentName::parse(text).unwrap();
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        let told = Told {
            last: vec!["doca-kernel-support: unrecognized option '--dirty'".to_owned()],
            started: vec![(name("a"), begin), (name("b"), begin + second)],
            ended: Some(begin + 3 * second),
        };
        assert_eq!((told.ms(&name("a")), told.ms(&name("b")), told.ms(&name("c"))), (1000, 2000, 0));
        assert!(told.usage().unwrap().contains("--dirty"));
    }
}
