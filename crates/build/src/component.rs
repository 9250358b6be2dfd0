//! One component: from its source RPM to RPMs in the cache of finished components.

mod scripts;

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{
    Bind, CancellationToken, Ending, Host, Job, KernelLink, LineSink, RootFs, SandboxSpec, Symlink,
};
use drivetrain_model::{Capability, Event};
use fs_err as fs;

use crate::cache::{CachedComponent, ComponentCache, NewEntry, digest_of, open};
use crate::jobserver::JobServer;
use crate::packages::{self, BuiltPackage, capability};
use crate::progress::{Phase, Progress};
use crate::report::PhaseTime;
use crate::requirements::{Provided, missing_for_debuginfo};
use crate::tools::{Tools, inside};
use crate::triage::{DiagnosisKind, triage};
use crate::{BuildRequest, Component, ComponentError, Debuginfo};

/// Receives the events of a build.
pub(crate) type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// What all components of a run share.
pub(crate) struct Shared {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) request: BuildRequest,
    pub(crate) root: RootFs,
    /// The run's directory.
    pub(crate) run: Utf8PathBuf,
    pub(crate) tools: Tools,
    pub(crate) slots: Arc<JobServer>,
    pub(crate) provided: Provided,
    pub(crate) cache: ComponentCache,
    pub(crate) events: Events,
}

/// What a build yields besides the RPMs.
pub(crate) struct Built {
    pub(crate) entry: CachedComponent,
    pub(crate) phases: Vec<PhaseTime>,
    pub(crate) cpu_ms: Option<u64>,
}

/// Why a build did not yield anything.
pub(crate) enum Stopped {
    Failed(ComponentError),
    Cancelled,
}

impl From<ComponentError> for Stopped {
    fn from(error: ComponentError) -> Self {
        Self::Failed(error)
    }
}

/// Builds one component. `needs` are the finished components that it is built against.
pub(crate) async fn build(
    shared: &Shared,
    component: &Component,
    needs: &[CachedComponent],
    log: &Utf8Path,
    cancel: &CancellationToken,
) -> Result<Built, Stopped> {
    // Not beside the run's own directories: a component may be called `tools`.
    let directory = shared.run.join("components").join(component.name.as_str());
    let work = Work { shared, component, needs, log, cancel, directory };
    let result = work.build().await;
    // What cannot be removed now, the next run removes.
    drop(shared.host.remove_directory(&work.directory).await);
    result.map_err(|stopped| match stopped {
        Stopped::Failed(error) => Stopped::Failed(error.about_room(&component.name)),
        Stopped::Cancelled => Stopped::Cancelled,
    })
}

struct Work<'a> {
    shared: &'a Shared,
    component: &'a Component,
    needs: &'a [CachedComponent],
    log: &'a Utf8Path,
    cancel: &'a CancellationToken,
    directory: Utf8PathBuf,
}

impl Work<'_> {
    async fn build(&self) -> Result<Built, Stopped> {
        let started = Instant::now();
        self.verify_inputs()?;
        let mut progress = Progress::new();
        for directory in [&self.directory, &self.top(), &self.needs_root()] {
            self.shared.host.create_work_directory(directory).await.map_err(|error| self.host(error))?;
        }
        let prepared = self.run(scripts::PREPARE, self.prepare_sandbox(), &mut progress, false).await?;
        if !prepared.is_success() {
            return Err(self.source_error(prepared).into());
        }
        self.check_requirements()?;
        let ending = self.run(scripts::BUILD, self.build_sandbox()?, &mut progress, true).await?;
        if !ending.is_success() {
            return Err(self.diagnose(ending).into());
        }
        progress.enter(Phase::Store);
        let packages = self.packages()?;
        let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let entry = self.shared.cache.put(&NewEntry {
            key: self.component.key,
            component: &self.component.name,
            kernel: &self.shared.request.kernel.release,
            family: self.component.family,
            repackaged: None,
            ms: elapsed,
            packages: &packages,
            rpms: &self.top().join("RPMS"),
            log: self.log,
        })?;
        let cpu_ms = self.answer("times").ok().and_then(|text| children_ms(&text));
        Ok(Built { entry, phases: progress.finish(), cpu_ms })
    }

    /// The component's directory on the host, seen as `/build/<component>` inside: always the same, so that
    /// paths which find their way into objects and caches are.
    fn top(&self) -> Utf8PathBuf {
        self.directory.join("top")
    }

    fn top_inside(&self) -> Utf8PathBuf {
        Utf8PathBuf::from("/build").join(self.component.name.as_str())
    }

    /// Where the packages of needed components are unpacked, on the host.
    fn needs_root(&self) -> Utf8PathBuf {
        self.directory.join("needs")
    }

    fn verify_inputs(&self) -> Result<(), ComponentError> {
        let patches = self.component.recipe.patches.iter().map(|patch| (&patch.path, patch.sha256));
        for (path, expected) in std::iter::once((&self.component.srpm, self.component.sha256)).chain(patches)
        {
            let (_, found) = digest_of(path).map_err(ComponentError::file("read", path))?;
            if found != expected {
                return Err(ComponentError::Changed { path: path.clone(), expected, found });
            }
        }
        Ok(())
    }

    /// The kernel and the component's own directory: what both steps see.
    fn sandbox(&self) -> SandboxSpec {
        let kernel = &self.shared.request.kernel;
        let tree = format!("/usr/src/kernels/{}", kernel.release);
        let mut sandbox = SandboxSpec { root: self.shared.root.clone(), ..SandboxSpec::default() };
        sandbox.binds.push(Bind::read_only(&kernel.devel, &tree));
        sandbox.binds.push(Bind::writable(self.top(), self.top_inside()));
        sandbox.binds.push(Bind::read_only(self.shared.tools.directory(), inside::TOOLS));
        sandbox.symlinks.push(Symlink {
            link: "/usr/src/kernels/current".into(),
            target: kernel.release.as_str().into(),
        });
        sandbox.kernels.push(KernelLink { release: kernel.release.clone(), build: tree.into() });
        sandbox.environment.extend(
            [
                ("DRIVETRAIN_TOP", self.top_inside().into_string()),
                ("DRIVETRAIN_KERNEL", kernel.release.to_string()),
                ("DRIVETRAIN_QUERY", packages::QUERY.to_owned()),
                ("HOME", self.top_inside().into_string()),
                ("KBUILD_BUILD_USER", "build".to_owned()),
                ("KBUILD_BUILD_HOST", "builder".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        sandbox
    }

    fn prepare_sandbox(&self) -> SandboxSpec {
        let mut sandbox = self.sandbox();
        sandbox.binds.push(Bind::read_only(&self.component.srpm, "/drivetrain/source.rpm"));
        sandbox.binds.extend(self.patches());
        for package in self.devel_packages() {
            sandbox
                .binds
                .push(Bind::read_only(&package.path, format!("/drivetrain/packages/{}", package.file)));
        }
        sandbox.binds.push(Bind::writable(self.needs_root(), "/drivetrain/needs"));
        sandbox
    }

    /// The patches, under names that say their order and are those which people know.
    fn patches(&self) -> impl Iterator<Item = Bind> {
        self.component.recipe.patches.iter().enumerate().map(|(number, patch)| {
            let plain = |c: char| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '_' };
            let name: String = patch.name.chars().take(100).map(plain).collect();
            Bind::read_only(&patch.path, format!("/drivetrain/patches/{number:04}-{name}"))
        })
    }

    /// What a dependent is built against: the packages of headers and symbol versions.
    fn devel_packages(&self) -> impl Iterator<Item = &crate::CachedPackage> {
        self.needs
            .iter()
            .flat_map(|need| &need.packages)
            .filter(|package| package.nevra.name.contains("-devel") && package.modules.is_empty())
    }

    fn build_sandbox(&self) -> Result<SandboxSpec, ComponentError> {
        let request = &self.shared.request;
        let mut sandbox = self.sandbox();
        let sources = self.needs_root().join("usr/src");
        // A link could lead anywhere on the host.
        if is_directory(&self.needs_root().join("usr")) && is_directory(&sources) {
            for entry in sources.read_dir_utf8().map_err(ComponentError::file("read", &sources))? {
                let entry = entry.map_err(ComponentError::file("read", &sources))?;
                let target = Utf8PathBuf::from("/usr/src").join(entry.file_name());
                if is_directory(entry.path()) {
                    sandbox.binds.push(Bind::read_only(entry.path(), target));
                }
            }
        }
        sandbox.binds.extend(self.patches());
        sandbox.binds.push(Bind::writable(self.shared.slots.directory(), inside::SLOTS));
        let ccache = &request.directories.ccache;
        sandbox.binds.push(Bind::writable(ccache.join("objects"), inside::CCACHE));
        if request.options.probe_cache {
            sandbox.binds.push(Bind::writable(ccache.join("probes"), inside::PROBES));
            sandbox.environment.insert("DRIVETRAIN_PROBES".to_owned(), inside::PROBES.to_owned());
        }
        sandbox.environment.insert("DRIVETRAIN_SLOTS".to_owned(), format!("{}/slots", inside::SLOTS));
        for (name, value) in self.shared.tools.environment(request, self.component.recipe.debuginfo) {
            sandbox.environment.insert(name.to_owned(), value);
        }
        Ok(sandbox)
    }

    /// rpmbuild's arguments: the recipe's switches and macros.
    fn definitions(&self) -> Vec<String> {
        let recipe = &self.component.recipe;
        let mut arguments = Vec::new();
        let mut define = |name: &str, value: &str| {
            // A macro cannot be defined as nothing.
            let value = if value.is_empty() { "%{nil}" } else { value };
            arguments.extend(["--define".to_owned(), format!("{name} {value}")]);
        };
        let top = self.top_inside();
        define("_topdir", top.as_str());
        define("_tmppath", top.join("tmp").as_str());
        define("_dbpath", top.join("rpmdb").as_str());
        define("__make", &format!("{}/make", inside::TOOLS));
        define("_smp_mflags", &format!("-j{}", self.shared.request.options.jobs));
        define("_smp_build_ncpus", &self.shared.request.options.jobs.to_string());
        for (name, value) in recipe.macros_for(&self.shared.request.kernel.release) {
            define(&name, &value);
        }
        for (option, names) in [("--with", &recipe.with), ("--without", &recipe.without)] {
            for name in names {
                arguments.extend([option.to_owned(), name.clone()]);
            }
        }
        arguments
    }

    /// Runs one of the two scripts.
    async fn run(
        &self,
        script: &str,
        sandbox: SandboxSpec,
        progress: &mut Progress,
        append: bool,
    ) -> Result<Ending, Stopped> {
        let mut arguments = vec!["-c".to_owned(), script.to_owned(), "drivetrain".to_owned()];
        arguments.extend(self.definitions());
        let job = Job {
            sandbox,
            program: "/bin/sh".to_owned(),
            arguments,
            directory: self.top_inside(),
            log: Some(self.log.to_owned()),
            append,
            deadline: self.shared.request.options.deadline,
        };
        let mut show = Throttle::default();
        let mut sink = |line: &str| {
            if let Some(doing) = progress.line(line)
                && show.permits()
            {
                let component = self.component.name.clone();
                (self.shared.events)(Event::ComponentProgress { component, doing });
            }
        };
        let sink: &mut dyn LineSink = &mut sink;
        let finished =
            self.shared.host.run(&job, sink, self.cancel).await.map_err(|error| self.host(error))?;
        if finished.ending == Ending::Cancelled {
            return Err(Stopped::Cancelled);
        }
        Ok(finished.ending)
    }

    fn host(&self, source: drivetrain_host::HostError) -> ComponentError {
        ComponentError::Host { component: self.component.name.clone(), source }
    }

    fn check_requirements(&self) -> Result<(), ComponentError> {
        let text = self.answer("requires")?;
        let required: Vec<Capability> = text.lines().filter_map(capability).collect();
        let request = &self.shared.request;
        let others: Vec<&Capability> = request
            .options
            .provides
            .iter()
            .chain(&request.kernel.devel_provides)
            .chain(self.needs.iter().flat_map(|need| &need.packages).flat_map(|package| &package.provides))
            .collect();
        let root = self.shared.root.path();
        let mut missing = self.shared.provided.missing(&required, root, &others);
        if self.component.recipe.debuginfo == Debuginfo::Keep {
            missing.extend(missing_for_debuginfo(root));
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(ComponentError::MissingRequirements { component: self.component.name.clone(), missing })
    }

    /// What a script wrote to a file of this name. The build may have put anything there.
    fn answer(&self, name: &str) -> Result<String, ComponentError> {
        let path = self.top().join("out").join(name);
        read_start(&path, MAX_ANSWER).map_err(ComponentError::file("read", &path))
    }

    /// The RPMs that were made, if there are modules for our kernel among them.
    fn packages(&self) -> Result<Vec<BuiltPackage>, ComponentError> {
        let packages = packages::parse(&self.answer("packages")?);
        packages::with_modules(&self.component.name, packages, &self.shared.request.kernel.release)
    }

    fn log_text(&self) -> String {
        read_start(self.log, MAX_TRIAGED).unwrap_or_default()
    }

    fn source_error(&self, ending: Ending) -> ComponentError {
        if !matches!(ending, Ending::Exited(_)) {
            return ComponentError::Ended { component: self.component.name.clone(), ending };
        }
        let diagnosis = triage(&self.log_text());
        if diagnosis.kind == DiagnosisKind::DiskFull {
            return self.disk_full();
        }
        ComponentError::Source { component: self.component.name.clone(), reason: diagnosis.to_string() }
    }

    /// Whether there is no room to speak of. What the compiler says of that may not have got into the log, which
    /// is on the same disk more often than not; asked before anything is removed.
    fn is_disk_full(&self) -> bool {
        const TOO_LITTLE: u64 = 1 << 20;
        [self.directory.as_path(), self.log].into_iter().any(|path| {
            rustix::fs::statvfs(path.as_std_path())
                .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < TOO_LITTLE)
        })
    }

    fn disk_full(&self) -> ComponentError {
        ComponentError::DiskFull { component: self.component.name.clone(), path: self.shared.run.clone() }
    }

    fn diagnose(&self, ending: Ending) -> ComponentError {
        let component = self.component.name.clone();
        if !matches!(ending, Ending::Exited(_)) {
            return ComponentError::Ended { component, ending };
        }
        let diagnosis = triage(&self.log_text());
        match diagnosis.kind {
            _ if self.is_disk_full() => self.disk_full(),
            DiagnosisKind::DiskFull => self.disk_full(),
            DiagnosisKind::Network => ComponentError::Network { component, diagnosis },
            _ => ComponentError::Build(diagnosis),
        }
    }
}

/// Most of a file that a build wrote for us to read. The longest honest one lists an RPM's files.
const MAX_ANSWER: u64 = 64 << 20;

/// Most of a log that is searched for an error. The first one counts, and a log this long repeats itself.
pub(crate) const MAX_TRIAGED: u64 = 64 << 20;

pub(crate) fn read_start(path: &Utf8Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether this is a directory, and not a link to one.
fn is_directory(path: &Utf8Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// What the shell's `times` says of its children: the second line, `4m32.120000s 0m17.050000s`.
fn children_ms(text: &str) -> Option<u64> {
    let line = text.lines().nth(1)?;
    let seconds = line.split_whitespace().map(|time| {
        let (minutes, seconds) = time.strip_suffix('s')?.split_once('m')?;
        Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
    });
    let seconds: f64 = seconds.sum::<Option<f64>>()?;
    Duration::try_from_secs_f64(seconds).ok().and_then(|time| u64::try_from(time.as_millis()).ok())
}

/// Lets a few events a second through: a view can show no more.
#[derive(Default)]
struct Throttle(Option<Instant>);

impl Throttle {
    fn permits(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() >= Duration::from_millis(100));
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shells_times_are_read() {
        assert_eq!(children_ms("0m0.000000s 0m0.010000s\n1m2.500000s 0m3.000000s\n"), Some(65_500));
        assert_eq!(children_ms("0m0.001s 0m0.000s\n0m0.250s 0m0.000s\n"), Some(250));
        for text in ["", "x\ny", "0m1s 0m1s\n-1m0s 0m0s", "0m1s\nNaNm1s 0m0s"] {
            assert_eq!(children_ms(text), None, "{text}");
        }
    }
}
