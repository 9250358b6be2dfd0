//! The inputs of the build: fetched, verified, laid out.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_build::VendorTool;
use drivetrain_config::{Config, Repository};
use drivetrain_fetch::Request;
use drivetrain_model::{ComponentName, ExitCode, LockedInput};
use drivetrain_plan::Selection;
use drivetrain_rpmfile::{PayloadLimits, extract};
use fs_err as fs;
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::context::{Context, source};
use crate::failure::{Failure, Result};
use crate::stage::keys::Trust;
use crate::stage::plan::Planned;
use crate::stage::root::{self, RootInputs};
use crate::stage::{blocking, sources, transfer, vendor};
use crate::state::StateDirectory;

/// The inputs on disk, verified.
pub struct Inputs {
    /// The kernel's development tree.
    pub devel: Utf8PathBuf,
    /// The source RPMs.
    pub source_rpms: BTreeMap<ComponentName, Utf8PathBuf>,
    /// The vendor's userspace packages.
    pub userspace: Vec<Utf8PathBuf>,
    /// The root that builds see, where it is not this host's own.
    pub root: Option<RootInputs>,
    /// The vendor's build tool, where that builds.
    pub vendor_tool: Option<VendorTool>,
}

/// How many packages are fetched at a time: enough to keep a link busy with small files, and few for one server.
const PARALLEL: usize = 8;
/// How many are verified at a time; each takes a processor.
const VERIFIED_AT_ONCE: usize = 4;

/// Brings everything that a plan's build reads.
pub async fn fetch(context: &Context, config: &Config, planned: &Planned) -> Result<Inputs> {
    let devel = kernel_devel(context, config, &planned.selection).await?;
    let source_rpms = source_rpms(context, config, planned).await?;
    let userspace = userspace(context, config, planned).await?;
    let root = root::fetch(context, config, planned).await?;
    let vendor_tool = vendor::fetch(context, config, planned).await?;
    Ok(Inputs { devel, source_rpms, userspace, root, vendor_tool })
}

/// The development tree of the kernel, unpacked once for each kernel-devel RPM.
pub async fn kernel_devel(context: &Context, config: &Config, selection: &Selection) -> Result<Utf8PathBuf> {
    let input = &selection.devel.input;
    let release = &selection.kernel.release;
    let (id, repository) = repository_of(config, input)?;
    let trust = Trust::of(context, &id, repository).await?;
    // Another key, or a repository whose signatures are checked now and were not before: not the same tree.
    let verified = trust.digest_for(&input.nevra).short();
    let place = context.state.kernels().join(format!("{}-{verified}", input.checksum.hex));
    let tree = place.join("usr/src/kernels").join(release.as_str());
    if tree.is_dir() {
        context.reporter.emit(transfer::finished(&input.nevra.file_name(), input.size, true, None));
        return Ok(tree);
    }
    let request = request(input, repository)?;
    let location = &request.source;
    let (fetched, _) = trust.fetch(context, &request, &input.nevra).await?;
    let (shown, unpacked, state) = (location.shown(), place.clone(), context.state.clone());
    blocking(move || unpack(&fetched.path, &unpacked, &state, &shown)).await??;
    if tree.is_dir() {
        return Ok(tree);
    }
    Err(Failure::new(
        ExitCode::Input,
        format!(
            "{} has no /usr/src/kernels/{release}, where the kernel's headers should be",
            location.shown()
        ),
    )
    .next("compare the kernel-devel package with the kernel; tell whoever keeps the repository"))
}

/// Unpacks beside the place and renames, so that what is at the place is whole.
fn unpack(package: &Utf8Path, place: &Utf8Path, state: &StateDirectory, shown: &str) -> Result<()> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        Failure::because(ExitCode::Input, format!("{shown} cannot be unpacked"), error)
    };
    let parent = place.parent().unwrap_or(place);
    fs::create_dir_all(parent).map_err(|error| failed(&error))?;
    let temporary = state.scratch_directory().map_err(|error| failed(&error))?;
    let limits = PayloadLimits::default();
    extract(package.as_std_path(), temporary.path(), &limits, |_| true).map_err(|error| failed(&error))?;
    match fs::rename(temporary.path(), place) {
        Ok(()) => {
            // It has another name now: nothing is left to remove.
            drop(temporary.keep());
            Ok(())
        }
        // Another run was quicker, with the same bytes.
        Err(_) if place.is_dir() => Ok(()),
        Err(error) => Err(failed(&error)),
    }
}

/// The userspace packages, into the store that all cells share; each verified, whether it was there or not.
async fn userspace(context: &Context, config: &Config, planned: &Planned) -> Result<Vec<Utf8PathBuf>> {
    let inputs = planned.userspace.as_ref().map_or(&[][..], |set| &set.inputs);
    if inputs.is_empty() {
        return Ok(Vec::new());
    }
    let repository = &config.driver.repository;
    let trust = Trust::of(context, &config.driver.repository_id, repository).await?;
    let wanted = inputs.iter().map(|input| Ok((input, request(input, repository)?, &trust)));
    verified(context, &wanted.collect::<Result<Vec<_>>>()?).await
}

/// Brings packages here, several at a time, and verifies each, whether it was there or not; their files, in this order.
pub async fn verified(
    context: &Context,
    wanted: &[(&LockedInput, Request, &Trust)],
) -> Result<Vec<Utf8PathBuf>> {
    let requests: Vec<Request> = wanted.iter().map(|(_, request, _)| request.clone()).collect();
    let fetched = context
        .cache
        .downloader()
        .download_all(&requests, PARALLEL, &transfer::tell_all(&context.reporter))
        .await
        .map_err(|error| Failure::of(ExitCode::Input, &error))?;
    let verifying = wanted.iter().zip(&fetched).map(|((input, request, trust), fetched)| async move {
        trust.accept(context, request, &input.nevra, fetched).await?;
        Ok(fetched.path.clone())
    });
    futures_util::stream::iter(verifying).buffered(VERIFIED_AT_ONCE).try_collect().await
}

/// What to ask a repository for, to have one of its packages.
pub fn request(input: &LockedInput, repository: &Repository) -> Result<Request> {
    let source = source(&input.url, repository.credentials.as_ref())?;
    Ok(Request { source, checksum: input.checksum.clone(), size: Some(input.size) })
}

fn repository_of<'c>(
    config: &'c Config,
    input: &LockedInput,
) -> Result<(drivetrain_model::RepositoryId, &'c Repository)> {
    config.repositories().find(|(id, _)| Some(id) == input.repository.as_ref()).ok_or_else(|| {
        Failure::new(
            ExitCode::Internal,
            format!("{} is from a repository that is not configured", input.nevra),
        )
    })
}

/// The source RPMs, from the store. The plan put them there; one that is gone is brought again.
async fn source_rpms(
    context: &Context,
    config: &Config,
    planned: &Planned,
) -> Result<BTreeMap<ComponentName, Utf8PathBuf>> {
    let missing = |planned: &Planned| {
        planned
            .components
            .ordered
            .iter()
            .find(|component| {
                !context.store().contains(&component.source.sha256.into(), Some(component.source.size))
            })
            .map(|component| component.source.nevra.clone())
    };
    if missing(planned).is_some() {
        sources::vendor(context, config, &planned.selection.source).await?;
        sources::extra(context, config).await?;
    }
    if let Some(nevra) = missing(planned) {
        return Err(Failure::new(ExitCode::Input, format!("{nevra} has changed since the plan was made"))
            .next("plan again"));
    }
    let path = |sha256: drivetrain_model::Sha256Digest| context.store().path(&sha256.into());
    Ok(planned
        .components
        .ordered
        .iter()
        .map(|component| (component.name.clone(), path(component.source.sha256)))
        .collect())
}
