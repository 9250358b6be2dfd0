//! From inputs to RPMs.

use std::num::NonZeroUsize;
use std::sync::Arc;

use camino::Utf8PathBuf;
use drivetrain_build::{
    BuildError, BuildOptions, BuildReport, BuildRequest, CachedPackage, Component, Directories, Outcome,
    TargetKernel, build, take_finished,
};
use drivetrain_config::{Config, Jobs};
use drivetrain_host::RootFs;
use drivetrain_model::{Capability, ComponentName, ExitCode};
use drivetrain_plan::{is_published, recipe, recipe_of};
use fs_err as fs;

use crate::cli::Building;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::stage::fetch::Inputs;
use crate::stage::machine::{Ready, Workshop};
use crate::stage::plan::Planned;
use crate::stage::{held_back, reuse, utf8};

/// The finished components, and the kernel they were built for.
pub struct Built {
    /// What became of every component: all are there.
    pub report: BuildReport,
    /// The kernel's development tree.
    pub devel: Utf8PathBuf,
    /// The vendor's userspace packages, which go with them.
    pub userspace: Vec<Utf8PathBuf>,
}

impl Built {
    /// The RPMs of all components that are to be published.
    pub fn packages(&self) -> impl Iterator<Item = &CachedPackage> {
        self.report
            .components
            .iter()
            .flat_map(|component| &component.packages)
            .filter(|package| is_published(&package.nevra.name))
    }
}

/// What the command line says of a build.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuildSettings {
    /// Go on with what does not need a component that failed.
    pub keep_going: bool,
    /// Overrides `builder.jobs`.
    pub jobs: Option<NonZeroUsize>,
    /// Try again what is known not to build.
    pub retry: bool,
}

impl From<&Building> for BuildSettings {
    fn from(building: &Building) -> Self {
        Self { keep_going: building.keep_going, jobs: building.jobs, retry: building.retry }
    }
}

/// Builds what the plan says.
pub async fn make(
    context: &Context,
    config: &Config,
    planned: &Planned,
    inputs: Inputs,
    ready: Option<&Ready>,
    settings: BuildSettings,
    logs: Utf8PathBuf,
) -> Result<Built> {
    reuse::make(context, planned).await?;
    let request = request(context, config, planned, &inputs, ready, settings, logs)?;
    let report = run(context, planned, request, ready).await?;
    if report.cancelled {
        return Err(Failure::interrupted());
    }
    held_back::remember(context, &report);
    match failure(&report) {
        Some(failure) => Err(failure),
        None => Ok(Built { report, devel: inputs.devel, userspace: inputs.userspace }),
    }
}

async fn run(
    context: &Context,
    planned: &Planned,
    request: BuildRequest,
    ready: Option<&Ready>,
) -> Result<BuildReport> {
    let reporter = context.reporter.clone();
    let events = Arc::new(move |event| reporter.emit(event));
    let report = match (&planned.workshop, ready) {
        (Workshop::Here(host), _) => {
            let (work, jobs) = (&request.directories.work, request.options.jobs);
            let slots = context.together.slots(&**host, work, jobs).await?;
            build(host.clone(), request, Some(&slots), events, &context.cancel).await
        }
        (_, Some(Ready::Machine(builder))) => {
            let scratch = context.state.scratch_directory().map_err(|error| {
                Failure::because(ExitCode::Failure, "there is no room to work in", &error)
            })?;
            let path = utf8(scratch.path())?;
            fs::create_dir_all(&request.directories.logs)
                .map_err(|error| Failure::of(ExitCode::Failure, &error))?;
            builder.build(&request, &path, events, &context.cancel).await
        }
        (_, None | Some(Ready::Root(_))) => take_finished(&request, events).await,
    };
    report.map_err(|error| {
        let failure = match error {
            BuildError::VendorTool { what, next } => Failure::new(ExitCode::Build, what).next(next),
            error => Failure::of(ExitCode::Build, &error),
        };
        context.or_interrupted(failure)
    })
}

fn request(
    context: &Context,
    config: &Config,
    planned: &Planned,
    inputs: &Inputs,
    ready: Option<&Ready>,
    settings: BuildSettings,
    logs: Utf8PathBuf,
) -> Result<BuildRequest> {
    let builder = &config.builder;
    let recipe = recipe(config, planned.toolchain.kernel_module_package);
    let planned_as =
        |name: &ComponentName| planned.plan.components.iter().find(|planned| planned.name == *name);
    let components = planned
        .components
        .ordered
        .iter()
        .zip(&planned.plan.lock.components)
        .map(|(component, locked)| {
            let srpm = inputs.source_rpms.get(&component.name).cloned().ok_or_else(|| {
                Failure::new(ExitCode::Internal, format!("{} has no source RPM", component.name))
            })?;
            Ok(Component {
                name: component.name.clone(),
                srpm,
                sha256: component.source.sha256,
                needs: component.needs.clone(),
                // What was made of another kernel's build has a key of its own.
                key: planned_as(&component.name)
                    .and_then(|planned| planned.action.key())
                    .unwrap_or(locked.key),
                family: planned.families.get(&component.name).copied(),
                recipe: recipe_of(component, &recipe),
                estimate_ms: planned_as(&component.name).and_then(|planned| planned.estimate_ms),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let devel = &planned.selection.devel;
    Ok(BuildRequest {
        kernel: TargetKernel {
            release: planned.selection.kernel.release.clone(),
            arch: config.train.arch.clone(),
            devel: inputs.devel.clone(),
            devel_checksum: devel.input.checksum.clone(),
            devel_provides: devel.package.provides.clone(),
        },
        components,
        options: BuildOptions {
            jobs: jobs(settings.jobs, builder.jobs),
            keep_going: settings.keep_going,
            provides: builder.provides.iter().map(Capability::unversioned).collect(),
            ccache: builder.ccache,
            probe_cache: builder.ccache,
            ..BuildOptions::default()
        },
        directories: Directories {
            work: builder.work.clone().unwrap_or_else(|| context.state.work()),
            components: context.state.components(),
            ccache: context.state.ccache(),
            logs,
        },
        toolchain: planned.toolchain.clone(),
        root: match ready {
            Some(Ready::Root(root)) => root.file_system(),
            _ => RootFs::Host,
        },
        vendor_tool: inputs.vendor_tool.clone(),
    })
}

fn jobs(asked: Option<NonZeroUsize>, configured: Jobs) -> NonZeroUsize {
    let configured = match configured {
        Jobs::Auto => None,
        Jobs::Count(count) => NonZeroUsize::try_from(count).ok(),
    };
    asked.or(configured).unwrap_or(BuildOptions::default().jobs)
}

/// All that failed, each with its first error and its log.
fn failure(report: &BuildReport) -> Option<Failure> {
    if report.is_success() {
        return None;
    }
    let failed: Vec<_> = report.failures().collect();
    let names: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
    let message = match names.as_slice() {
        [only] => format!("{only} did not build"),
        names => format!("{} components did not build: {}", names.len(), names.join(", ")),
    };
    let mut failure = Failure::new(ExitCode::Build, message);
    for component in &report.components {
        match &component.outcome {
            Outcome::Failed(error) => {
                let mut text = Failure::of(ExitCode::Build, error).one_line();
                if let Some(log) = &component.log {
                    text.push_str(&format!("\nlog: {log}"));
                }
                failure.causes.push(text);
            }
            Outcome::NotTried { why } => {
                failure.causes.push(format!("{} was not built: {why}", component.name));
            }
            Outcome::Built | Outcome::Reused | Outcome::Repackaged { .. } => {}
        }
    }
    Some(failure.next(
        "what did build is kept and is not built again: correct the cause (a patch, a macro, a package on the \
         builder, driver.components.exclude) and run the same command again",
    ))
}
