//! The vendor's build tool, where that builds the components: fetched, verified, and told what to build.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_build::{ToolPackage, VendorTool};
use drivetrain_config::{Config, Debuginfo};
use drivetrain_model::{ExitCode, Sha256Digest};
use drivetrain_plan::{ChosenPackage, Origin};
use drivetrain_rpmfile::{FileKind, RpmFile};
use fs_err as fs;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::stage::blocking;
use crate::stage::fetch::request;
use crate::stage::keys::Trust;
use crate::stage::plan::Planned;

/// The name of the tool, wherever its package has it.
const TOOL: &str = "doca-kernel-support";

/// Brings the packages that the tool needs, where it builds and something has to be built.
pub async fn fetch(context: &Context, config: &Config, planned: &Planned) -> Result<Option<VendorTool>> {
    let (Some(chosen), Some(settings)) = (&planned.selection.tool, &config.driver.vendor_tool) else {
        return Ok(None);
    };
    if !planned.plan.builds() {
        return Ok(None);
    }
    let tool = package(context, config, chosen).await?;
    let source = package(context, config, &planned.selection.source).await?;
    let ordered = &planned.components.ordered;
    let skipped = planned.components.skipped.iter().map(|skipped| &skipped.name);
    Ok(Some(VendorTool {
        program: program(&tool)?,
        packages: vec![tool, source],
        arguments: settings.arguments.clone(),
        macros: macros(config),
        // What else the archive has is for the tool to pass over.
        left_out: skipped
            .filter(|name| config.driver.components.reason_to_skip(name).is_some())
            .cloned()
            .collect(),
        extra: ordered
            .iter()
            .filter(|component| component.source.origin != Origin::Vendor)
            .map(|component| component.name.clone())
            .collect(),
    }))
}

async fn package(context: &Context, config: &Config, chosen: &ChosenPackage) -> Result<ToolPackage> {
    let repository = &config.driver.repository;
    let trust = Trust::of(context, &config.driver.repository_id, repository).await?;
    let request = request(&chosen.input, repository)?;
    let (fetched, _) = trust.fetch(context, &request, &chosen.input.nevra).await?;
    let path = fetched.path.clone();
    let sha256 = blocking(move || digest(&path)).await??;
    Ok(ToolPackage { nevra: chosen.input.nevra.clone(), path: fetched.path, sha256 })
}

/// The metadata may have another checksum than the one by which things are put on a builder.
fn digest(path: &Utf8Path) -> Result<Sha256Digest> {
    let bytes = fs::read(path).map_err(|error| Failure::of(ExitCode::Failure, &error))?;
    Ok(Sha256Digest::of(&bytes))
}

fn program(package: &ToolPackage) -> Result<Utf8PathBuf> {
    let header =
        RpmFile::open(package.path.as_std_path()).map_err(|error| Failure::of(ExitCode::Input, &error))?;
    let found = header
        .files
        .iter()
        .find(|file| file.kind == FileKind::Regular && Utf8Path::new(&file.path).file_name() == Some(TOOL));
    found.map(|file| Utf8PathBuf::from(&file.path)).ok_or_else(|| {
        Failure::new(ExitCode::Input, format!("{} has no program {TOOL}", package.nevra)).next(
            "name the package that has it as driver.vendor_tool.package, or leave driver.build out: drivetrain builds \
             the source RPMs without that tool",
        )
    })
}

/// What the configuration says of the components' builds, as RPM's own configuration says it. The tool's own macros are
/// stronger.
fn macros(config: &Config) -> BTreeMap<String, String> {
    let driver = &config.driver;
    let mut macros = driver.macros.clone();
    macros.extend(driver.with.iter().map(|name| (format!("_with_{name}"), format!("--with-{name}"))));
    macros
        .extend(driver.without.iter().map(|name| (format!("_without_{name}"), format!("--without-{name}"))));
    if config.builder.debuginfo == Debuginfo::Drop {
        macros.entry("debug_package".to_owned()).or_default();
    }
    macros
}
