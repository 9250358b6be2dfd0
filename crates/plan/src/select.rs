//! The kernel, its kernel-devel and the vendor's source package.

use std::collections::BTreeMap;

use drivetrain_config::Config;
use drivetrain_model::{
    HeldBack, InputRole, LockedInput, LockedRepository, Package, PlannedKernel, Problem, RepositoryId,
};

use crate::metadata::{Found, RepositoryMetadata, visible};
use crate::refusal::{error, url_of};
use crate::{Refusal, kernel};

/// What the metadata decides: enough to know what has to be fetched to plan further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The kernel, and why this one.
    pub kernel: PlannedKernel,
    /// Its `kernel-core`.
    pub core: ChosenPackage,
    /// Its `kernel-devel`.
    pub devel: ChosenPackage,
    /// The package that holds the vendor's source archive.
    pub source: ChosenPackage,
    /// The package that has the vendor's build tool, where that builds.
    pub tool: Option<ChosenPackage>,
    /// The repositories that were looked at.
    pub repositories: BTreeMap<RepositoryId, LockedRepository>,
}

/// A package that was chosen from a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenPackage {
    /// As it goes into the lock.
    pub input: LockedInput,
    /// As the metadata describes it.
    pub package: Package,
}

/// Chooses. Refuses where the train has no kernel that fits the policy, where that kernel has no kernel-devel,
/// where the vendor's repository has no source package, or where two repositories disagree about a package. `held_back`
/// are the kernels that the driver is known not to build for.
pub fn select(
    config: &Config,
    train: &[RepositoryMetadata],
    vendor: &RepositoryMetadata,
    held_back: &[HeldBack],
) -> Result<Selection, Refusal> {
    let kernel = kernel::choose(config, train, held_back)?;
    let considered = || kernel.planned.considered.clone();
    let source = source_package(config, vendor).map_err(|refusal| refusal.considering(considered()))?;
    let tool = tool_package(config, vendor).map_err(|refusal| refusal.considering(considered()))?;
    let mut problems = Vec::new();
    let mut chosen = |found: Found<'_>, repositories: &[RepositoryMetadata], role| {
        problems.extend(disagreement(found, repositories));
        choose(found, role, &mut problems)
    };
    let core = chosen(kernel.core, train, InputRole::Kernel);
    let devel = chosen(kernel.devel, train, InputRole::KernelDevel);
    let source = chosen((vendor, source), std::slice::from_ref(vendor), InputRole::DriverSource);
    let tool =
        tool.and_then(|tool| chosen((vendor, tool), std::slice::from_ref(vendor), InputRole::DriverTool));
    let (Some(core), Some(devel), Some(source), true) = (core, devel, source, problems.is_empty()) else {
        return Err(Refusal::all(problems).considering(considered()));
    };
    let repositories = train
        .iter()
        .chain([vendor])
        .map(|repository| {
            let locked = LockedRepository {
                url: repository.url.clone(),
                repomd: repository.repomd,
                keys: repository.keys.clone(),
            };
            (repository.id.clone(), locked)
        })
        .collect();
    Ok(Selection { kernel: kernel.planned, core, devel, source, tool, repositories })
}

fn choose(
    (repository, package): Found<'_>,
    role: InputRole,
    problems: &mut Vec<Problem>,
) -> Option<ChosenPackage> {
    match url_of(&package.nevra, &package.location, &repository.url, &repository.shown()) {
        Ok(url) => Some(ChosenPackage {
            input: LockedInput {
                role,
                nevra: package.nevra.clone(),
                repository: Some(repository.id.clone()),
                url,
                size: package.size,
                checksum: package.checksum.clone(),
            },
            package: package.clone(),
        }),
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

/// Two repositories that have one package with different bytes: nobody can say which is meant.
fn disagreement((repository, package): Found<'_>, all: &[RepositoryMetadata]) -> Option<Problem> {
    let (other, theirs) = all
        .iter()
        .filter(|other| other.id != repository.id && other.priority == repository.priority)
        .flat_map(|other| other.packages.iter().map(move |package| (other, package)))
        .find(|(_, theirs)| theirs.nevra == package.nevra && theirs.checksum != package.checksum)?;
    Some(error(
        format!(
            "{} is in {} with {} and in {} with {}",
            package.nevra,
            repository.shown(),
            package.checksum,
            other.shown(),
            theirs.checksum
        ),
        "exclude it in one of the two, or give the repository that is meant a lower `priority`",
    ))
}

fn tool_package<'a>(config: &Config, vendor: &'a RepositoryMetadata) -> Result<Option<&'a Package>, Refusal> {
    let Some(tool) = &config.driver.vendor_tool else { return Ok(None) };
    let name = &tool.package;
    let found = visible(std::slice::from_ref(vendor), name, &config.train.arch);
    found.last().map(|(_, package)| Some(*package)).ok_or_else(|| {
        Refusal::new(
            format!("{} at {} has no package {name}, which has the vendor's build tool", vendor.id, vendor.url),
            "name the package that has doca-kernel-support as driver.vendor_tool.package, or leave driver.build out: \
             drivetrain builds the source RPMs without that tool",
        )
    })
}

fn source_package<'a>(config: &Config, vendor: &'a RepositoryMetadata) -> Result<&'a Package, Refusal> {
    let name = &config.driver.source;
    visible(std::slice::from_ref(vendor), name, &config.train.arch)
        .last()
        .map(|(_, package)| *package)
        .ok_or_else(|| {
            Refusal::new(
                format!("{} at {} has no package {name}, which holds the driver's source", vendor.id, vendor.url),
                "compare driver.version and driver.repository.url with the vendor's repository, and driver.source \
                 with the name of the package there",
            )
        })
}
