//! This host's side.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{CancellationToken, Ending, LineSink, Machine, Script};
use drivetrain_model::{ComponentOutcome, Event, Sha256Digest};
use fs_err as fs;

use super::archive;
use super::protocol::{Reported, Said};
use crate::cache::{CachedComponent, digest_of};
use crate::component::Events;
use crate::{
    BuildError, BuildReport, BuildRequest, Component, ComponentCache, ComponentError, ComponentReport,
    Outcome, Toolchain,
};

/// How long a short question may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Lines of the system's that are shown where the worker did not do its work.
const LAST_WORDS: usize = 5;

/// Where everything of drivetrain's is on a builder.
#[derive(Debug, Clone)]
pub struct Place(Utf8PathBuf);

impl Place {
    /// A directory, absolute, of characters that every shell takes as they are.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn new(directory: &Utf8Path) -> Result<Self, String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
        let climbs = directory.components().any(|part| part.as_str() == "..");
        if !directory.is_absolute() || climbs || !directory.as_str().chars().all(is_plain) {
            return Err(format!("{directory} has to be an absolute path of letters, digits and ./_-+"));
        }
        Ok(Self(directory.to_owned()))
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Utf8Path {
        &self.0
    }

    fn input(&self, sha256: &Sha256Digest) -> Utf8PathBuf {
        self.0.join("inputs").join(sha256.to_string())
    }

    fn entry(&self, key: &Sha256Digest) -> Utf8PathBuf {
        self.0.join("components").join(key.to_string())
    }
}

/// A builder that is another machine.
#[derive(Debug, Clone)]
pub struct RemoteBuilder {
    machine: Arc<dyn Machine>,
    place: Place,
    /// Where the worker is there.
    program: Utf8PathBuf,
}

impl RemoteBuilder {
    /// Puts the worker on a machine. `worker` is the program, on this host.
    ///
    /// # Errors
    /// Where the machine does not do as it is told, or cannot run the program.
    pub async fn install(
        machine: Arc<dyn Machine>,
        place: Place,
        worker: &Utf8Path,
        cancel: &CancellationToken,
    ) -> Result<Self, BuildError> {
        let (_, digest) = digest_of(worker).map_err(BuildError::file("read", worker))?;
        let program = place.0.join("bin").join(format!("drivetrain-{}", digest.short()));
        let builder = Self { machine, place, program };
        builder.sh(MAKE_PLACE, cancel).await?;
        builder.put_missing(&[(worker.to_owned(), builder.program.clone(), 0o755)], cancel).await?;
        Ok(builder)
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Arc<dyn Machine> {
        &self.machine
    }

    /// What compiles there.
    ///
    /// # Errors
    /// Where a tool is missing, or the program cannot be run.
    pub async fn toolchain(&self, cancel: &CancellationToken) -> Result<Toolchain, BuildError> {
        let mut tools = None;
        let arguments = format!("probe --directory {}", self.place.0);
        self.call(&arguments, None, cancel, |said| {
            if let Said::Tools { toolchain, version } = said {
                tools = Some((toolchain, version));
            }
        })
        .await?;
        match tools {
            Some((toolchain, version)) if version == env!("CARGO_PKG_VERSION") => Ok(toolchain),
            Some((_, version)) => Err(self.failed(
                format!("it is of version {version}, and this is {}", env!("CARGO_PKG_VERSION")),
                "give the same version with builder.machine.worker",
            )),
            None => Err(self.failed("it said nothing of its tools".to_owned(), "try it there by hand")),
        }
    }

    /// Builds the components of a request there; paths of the request are of this host. As [`build`](crate::build)
    /// does, and with the same events.
    ///
    /// # Errors
    /// Where nothing could be tried, or what was built could not be fetched.
    pub async fn build(
        &self,
        request: &BuildRequest,
        scratch: &Utf8Path,
        events: Arc<dyn Fn(Event) + Send + Sync>,
        cancel: &CancellationToken,
    ) -> Result<BuildReport, BuildError> {
        let cache = ComponentCache::new(&request.directories.components);
        let finished = finished(&cache, request, &events);
        let wanted: Vec<&Component> =
            request.components.iter().filter(|component| !finished.contains_key(&component.key)).collect();
        let mut reported = BTreeMap::new();
        let mut cancelled = false;
        if !wanted.is_empty() {
            self.put_inputs(request, &wanted, &finished, scratch, cancel).await?;
            let ordered = but_what_nothing_needs(request, &wanted);
            (reported, cancelled) = self.order(&ordered, scratch, &finished, &events, cancel).await?;
        }
        let mut components = Vec::new();
        for component in &request.components {
            components.push(match (finished.get(&component.key), reported.remove(component.name.as_str())) {
                (Some(entry), _) => reused(component, entry),
                (None, Some(said)) => self.fetched(request, &cache, component, said, cancel).await?,
                (None, None) => {
                    return Err(self.failed(
                        format!("it said nothing of {}", component.name),
                        "look at its log, and run again",
                    ));
                }
            });
        }
        Ok(BuildReport { components, cancelled })
    }

    async fn put_inputs(
        &self,
        request: &BuildRequest,
        wanted: &[&Component],
        finished: &BTreeMap<Sha256Digest, CachedComponent>,
        scratch: &Utf8Path,
        cancel: &CancellationToken,
    ) -> Result<(), BuildError> {
        let mut files = Vec::new();
        let tool = request.vendor_tool.as_ref();
        for package in tool.into_iter().flat_map(|tool| &tool.packages) {
            files.push((package.path.clone(), self.place.input(&package.sha256), 0o644));
        }
        for component in wanted {
            // Source RPMs of the vendor's archive are in the package that has it.
            if tool.is_none_or(|tool| tool.extra.contains(&component.name)) {
                files.push((component.srpm.clone(), self.place.input(&component.sha256), 0o644));
            }
            let patches = component.recipe.patches.iter();
            files.extend(patches.map(|patch| (patch.path.clone(), self.place.input(&patch.sha256), 0o644)));
        }
        for entry in needed(request, wanted).iter().filter_map(|key| finished.get(key)) {
            let place = self.place.entry(&entry.key);
            let here = ComponentCache::new(&request.directories.components).place(&entry.key);
            let names = ComponentCache::files_of(entry).into_iter();
            files.extend(names.map(|name| (here.join(&name), place.join(&name), 0o644)));
        }
        self.put_missing(&files, cancel).await?;
        self.put_tree(request, scratch, cancel).await
    }

    /// The kernel's development tree, where it is not there yet.
    async fn put_tree(
        &self,
        request: &BuildRequest,
        scratch: &Utf8Path,
        cancel: &CancellationToken,
    ) -> Result<(), BuildError> {
        let place = self.tree(request);
        if self.is_there(&place.join("include/config/kernel.release"), cancel).await? {
            return Ok(());
        }
        let archive = scratch.join("kernel-devel.tar.zst");
        let (tree, packed) = (request.kernel.devel.clone(), archive.clone());
        tokio::task::spawn_blocking(move || archive::pack(&tree, &packed))
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
            .map_err(BuildError::file("pack", &request.kernel.devel))?;
        let remote = place.with_added_extension("tar.zst");
        self.put_missing(&[(archive.clone(), remote.clone(), 0o600)], cancel).await?;
        drop(fs::remove_file(&archive));
        self.call(&format!("unpack {remote} {place}"), None, cancel, |_| {}).await?;
        self.sh(&format!("rm -f {remote}"), cancel).await.map(drop)
    }

    fn tree(&self, request: &BuildRequest) -> Utf8PathBuf {
        let checksum = &request.kernel.devel_checksum;
        self.place.0.join("kernels").join(&checksum.hex).join(request.kernel.release.as_str())
    }

    /// Has the worker build, and reads what it says.
    async fn order(
        &self,
        request: &BuildRequest,
        scratch: &Utf8Path,
        finished: &BTreeMap<Sha256Digest, CachedComponent>,
        events: &Events,
        cancel: &CancellationToken,
    ) -> Result<(BTreeMap<String, Reported>, bool), BuildError> {
        let order = scratch.join("request.json");
        let text = serde_json::to_vec(&self.translated(request))
            .map_err(|error| BuildError::file("write", &order)(error.into()))?;
        fs::write(&order, &text).map_err(BuildError::file("write", &order))?;
        let remote = self.place.0.join("orders").join(format!("{}.json", Sha256Digest::of(&text).short()));
        self.put_missing(&[(order, remote.clone(), 0o600)], cancel).await?;
        let keys: BTreeSet<&str> = request
            .components
            .iter()
            .filter(|component| finished.contains_key(&component.key))
            .map(|component| component.name.as_str())
            .collect();
        let mut report = None;
        let log = request.directories.logs.join("builder.log");
        let mut tool_log = ToolLog::new(request);
        let arguments = format!("build --directory {} {remote}", self.place.0);
        let ending = self
            .call(&arguments, Some(&log), cancel, |said| match said {
                // What is finished here was told already.
                Said::Event { event: Event::ComponentFinished { component, .. } }
                    if keys.contains(component.as_str()) => {}
                Said::Event { event } => events(here(event, request)),
                Said::Output { line } => tool_log.line(&line),
                Said::Report { components, cancelled } => report = Some((components, cancelled)),
                _ => {}
            })
            .await?;
        match (report, ending) {
            (Some((components, cancelled)), _) => {
                let by_name = components.into_iter().map(|said| (said.name.to_string(), said));
                Ok((by_name.collect(), cancelled))
            }
            (None, Ending::Cancelled) => Ok((request.components.iter().map(not_tried).collect(), true)),
            (None, ending) => Err(self
                .failed(format!("it {ending} without a report"), "look at builder.log among the run's logs")),
        }
    }

    /// The request with the paths that things have there.
    fn translated(&self, request: &BuildRequest) -> BuildRequest {
        let mut request = request.clone();
        request.kernel.devel = self.tree(&request);
        for component in &mut request.components {
            component.srpm = self.place.input(&component.sha256);
            for patch in &mut component.recipe.patches {
                patch.path = self.place.input(&patch.sha256);
            }
        }
        for package in request.vendor_tool.iter_mut().flat_map(|tool| &mut tool.packages) {
            package.path = self.place.input(&package.sha256);
        }
        let place = &self.place.0;
        request.directories.work = place.join("work");
        request.directories.components = place.join("components");
        request.directories.ccache = place.join("ccache");
        request.directories.logs = place.join("logs");
        request
    }

    /// What was built, brought here, compared, and put among the finished components; its log in any case.
    async fn fetched(
        &self,
        request: &BuildRequest,
        cache: &ComponentCache,
        component: &Component,
        said: Reported,
        cancel: &CancellationToken,
    ) -> Result<ComponentReport, BuildError> {
        let log = match &said.log {
            Some(there) => {
                let here = request.directories.logs.join(format!("{}.log", component.name));
                // That a log is missing is no reason to lose what was built.
                self.machine.get(there, &here).await.ok().map(|()| here)
            }
            None => None,
        };
        let (outcome, entry) = match said.outcome {
            ComponentOutcome::Built | ComponentOutcome::Reused | ComponentOutcome::Repackaged { .. } => {
                let entry = self.import(cache, component, cancel).await?;
                (Outcome::Built, Some(entry))
            }
            ComponentOutcome::Failed { error } => {
                let of_the_source = said.of_the_source;
                (Outcome::Failed(ComponentError::Elsewhere { said: error, of_the_source }), None)
            }
            ComponentOutcome::NotTried { why } => (Outcome::NotTried { why }, None),
        };
        Ok(ComponentReport {
            name: component.name.clone(),
            key: component.key,
            outcome,
            packages: entry.map(|entry| entry.packages).unwrap_or_default(),
            log,
            ms: said.ms,
            cpu_ms: said.cpu_ms,
            phases: said.phases,
        })
    }

    async fn import(
        &self,
        cache: &ComponentCache,
        component: &Component,
        cancel: &CancellationToken,
    ) -> Result<CachedComponent, BuildError> {
        let damaged = |reason: String| BuildError::SentBack {
            builder: self.machine.name().to_owned(),
            component: component.name.clone(),
            reason,
        };
        let there = self.place.entry(&component.key);
        let incoming = cache.incoming(&component.key).map_err(|error| damaged(error.to_string()))?;
        let names = self.sh(&format!("cd {there} && ls -1"), cancel).await?;
        for name in names.iter().filter(|name| is_plain_file(name)) {
            self.machine.get(&there.join(name), &incoming.join(name)).await.map_err(BuildError::Host)?;
        }
        let (cache, key) = (cache.clone(), component.key);
        let imported = tokio::task::spawn_blocking(move || cache.import(&key, &incoming)).await;
        imported.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())).map_err(damaged)
    }

    /// Puts files there that are not: named by their checksum, they are the same where they have the name.
    async fn put_missing(
        &self,
        files: &[(Utf8PathBuf, Utf8PathBuf, u32)],
        cancel: &CancellationToken,
    ) -> Result<(), BuildError> {
        let look = |remote: &Utf8Path| {
            let directory = remote.parent().unwrap_or(&self.place.0);
            format!("[ -e {remote} ] || {{ mkdir -p {directory} && echo {remote}; }}\n")
        };
        let list: String = files.iter().map(|(_, remote, _)| look(remote)).collect();
        let missing: BTreeSet<String> = self.sh(&list, cancel).await?.into_iter().collect();
        for (local, remote, mode) in files.iter().filter(|(_, remote, _)| missing.contains(remote.as_str())) {
            self.machine.put(local, remote, *mode).await.map_err(BuildError::Host)?;
        }
        Ok(())
    }

    async fn is_there(&self, path: &Utf8Path, cancel: &CancellationToken) -> Result<bool, BuildError> {
        Ok(self
            .sh(&format!("[ ! -e {path} ] || echo there"), cancel)
            .await?
            .iter()
            .any(|line| line == "there"))
    }

    /// Runs a few commands, and returns what they print.
    async fn sh(&self, text: &str, cancel: &CancellationToken) -> Result<Vec<String>, BuildError> {
        let mut script = Script::new(text.replace("$PLACE", self.place.0.as_str()));
        script.deadline = Some(PATIENCE);
        let mut lines = Vec::new();
        let mut sink = |line: &str| lines.push(line.to_owned());
        let finished = self.machine.run(&script, &mut sink, cancel).await.map_err(BuildError::Host)?;
        if finished.ending.is_success() {
            return Ok(lines);
        }
        let said = format!("{text:?} {}: {}", finished.ending, lines.join("; "));
        Err(self.failed(said, "see that this user may write there and that there is room"))
    }

    /// Calls the worker. Everything that it says is told; a refusal is an error.
    async fn call(
        &self,
        arguments: &str,
        log: Option<&Utf8Path>,
        cancel: &CancellationToken,
        mut told: impl FnMut(Said) + Send,
    ) -> Result<Ending, BuildError> {
        let mut script = Script::new(format!("exec {} worker {arguments}", self.program));
        script.log = log.map(Utf8Path::to_owned);
        let mut others: Vec<String> = Vec::new();
        let mut refusal = None;
        let mut sink = |line: &str| match Said::from_line(line) {
            Some(Said::Refused { why, next }) => refusal = Some((why, next)),
            Some(said) => told(said),
            None => {
                others.push(line.to_owned());
                let begin = others.len().saturating_sub(LAST_WORDS);
                others.drain(..begin);
            }
        };
        let sink: &mut dyn LineSink = &mut sink;
        let finished = self.machine.run(&script, sink, cancel).await.map_err(BuildError::Host)?;
        if let Some((what, Some(next))) = refusal {
            return Err(BuildError::VendorTool { what: format!("{}: {what}", self.machine.name()), next });
        }
        if let Some((why, None)) = refusal {
            return Err(
                self.failed(why, "correct that on the builder, and run again: what was put there is kept")
            );
        }
        match finished.ending {
            Ending::Exited(0) | Ending::Cancelled | Ending::TimedOut => Ok(finished.ending),
            ending => Err(self.failed(format!("it {ending}: {}", others.join("; ")), advice(&others))),
        }
    }

    fn failed(&self, said: String, next: &str) -> BuildError {
        BuildError::Worker { builder: self.machine.name().to_owned(), said, next: next.to_owned() }
    }
}

/// What the vendor's tool writes, as it writes it.
struct ToolLog(Option<fs::File>);

impl ToolLog {
    fn new(request: &BuildRequest) -> Self {
        let path = request.directories.logs.join("vendor-tool.log");
        // The builder has it as well: that it cannot be written here is no reason not to build.
        Self(request.vendor_tool.as_ref().and_then(|_| fs::File::create(path).ok()))
    }

    fn line(&mut self, line: &str) {
        if let Some(file) = &mut self.0 {
            drop(writeln!(file, "{line}"));
        }
    }
}

/// Readable for builds, which run as another user.
const MAKE_PLACE: &str = "mkdir -p $PLACE/bin $PLACE/inputs $PLACE/components $PLACE/kernels $PLACE/orders
chmod 755 $PLACE $PLACE/bin $PLACE/inputs $PLACE/components $PLACE/kernels
chmod 700 $PLACE/orders";

/// What the system says where it cannot run a program, and what helps.
fn advice(lines: &[String]) -> &'static str {
    let said = |words: &str| lines.iter().any(|line| line.contains(words));
    if said("GLIBC_") || said("required file not found") || said("No such file or directory") {
        "this program needs a newer system than the builder's: name one in builder.machine.worker that is linked statically \
         (RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --target x86_64-unknown-linux-gnu)"
    } else if said("Exec format error") {
        "the builder has another processor: name a program for it in builder.machine.worker"
    } else if said("Permission denied") {
        "builder.machine.directory may be on a file system that is mounted noexec: name another"
    } else {
        "look at the machine, and run again"
    }
}

fn is_plain_file(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains('/')
}

/// The report of a request of which everything is finished already, so that no machine is needed.
///
/// # Errors
/// Where something is not, or is damaged; what is damaged is removed, so that the next plan has it built.
pub async fn take_finished(
    request: &BuildRequest,
    events: Arc<dyn Fn(Event) + Send + Sync>,
) -> Result<BuildReport, BuildError> {
    let cache = ComponentCache::new(&request.directories.components);
    let finished = finished(&cache, request, &events);
    let mut components = Vec::new();
    for component in &request.components {
        let Some(entry) = finished.get(&component.key) else {
            let place = cache.place(&component.key);
            drop(fs::remove_dir_all(&place));
            return Err(BuildError::NotFinished { component: component.name.clone(), path: place });
        };
        components.push(reused(component, entry));
    }
    Ok(BuildReport { components, cancelled: false })
}

/// What is finished here already, told as [`build`](crate::build) tells it.
fn finished(
    cache: &ComponentCache,
    request: &BuildRequest,
    events: &Events,
) -> BTreeMap<Sha256Digest, CachedComponent> {
    let mut finished = BTreeMap::new();
    for component in &request.components {
        match cache.get(&component.key) {
            Ok(Some(entry)) => {
                events(Event::ComponentFinished {
                    component: component.name.clone(),
                    ms: 0,
                    outcome: entry.outcome().to_event(),
                    packages: entry.packages.iter().map(|package| package.file.clone()).collect(),
                });
                finished.insert(component.key, entry);
            }
            Ok(None) => {}
            Err(reason) => events(Event::Warning {
                message: format!(
                    "the finished {} of an earlier run is damaged and is built again: {reason}",
                    component.name
                ),
            }),
        }
    }
    finished
}

/// The request without what is finished and is needed by nothing that is to be built: there it is neither, and has no
/// source either.
fn but_what_nothing_needs(request: &BuildRequest, wanted: &[&Component]) -> BuildRequest {
    let needed = needed(request, wanted);
    let is_wanted = |component: &Component| wanted.iter().any(|wanted| wanted.key == component.key);
    let mut ordered = request.clone();
    let (kept, dropped): (Vec<_>, Vec<_>) = std::mem::take(&mut ordered.components)
        .into_iter()
        .partition(|component| is_wanted(component) || needed.contains(&component.key));
    ordered.components = kept;
    if let Some(tool) = &mut ordered.vendor_tool {
        // It builds whatever its archive has.
        tool.left_out.extend(dropped.into_iter().map(|component| component.name));
    }
    ordered
}

/// The keys of all that these components need, and that needs in turn.
fn needed(request: &BuildRequest, wanted: &[&Component]) -> BTreeSet<Sha256Digest> {
    let by_name: BTreeMap<_, _> =
        request.components.iter().map(|component| (&component.name, component)).collect();
    let mut keys = BTreeSet::new();
    let mut open: Vec<_> = wanted.iter().flat_map(|component| &component.needs).collect();
    while let Some(name) = open.pop() {
        let Some(component) = by_name.get(name) else { continue };
        if keys.insert(component.key) {
            open.extend(&component.needs);
        }
    }
    keys
}

fn reused(component: &Component, entry: &CachedComponent) -> ComponentReport {
    ComponentReport {
        name: component.name.clone(),
        key: component.key,
        outcome: entry.outcome(),
        packages: entry.packages.clone(),
        log: Some(entry.log()),
        ms: 0,
        cpu_ms: None,
        phases: Vec::new(),
    }
}

fn not_tried(component: &Component) -> (String, Reported) {
    let said = Reported {
        name: component.name.clone(),
        outcome: ComponentOutcome::NotTried { why: "the run was interrupted".to_owned() },
        log: None,
        ms: 0,
        cpu_ms: None,
        phases: Vec::new(),
        of_the_source: false,
    };
    (component.name.to_string(), said)
}

/// An event with the paths that things will have here.
fn here(event: Event, request: &BuildRequest) -> Event {
    match event {
        Event::ComponentStarted { component, estimate_ms, .. } => {
            let log = request.directories.logs.join(format!("{component}.log")).to_string();
            Event::ComponentStarted { component, log, estimate_ms }
        }
        other => other,
    }
}
