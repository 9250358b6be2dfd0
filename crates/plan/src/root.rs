//! The packages of a build root: the train's own tools, for hosts that are not of the train.

use std::collections::BTreeSet;

use drivetrain_build::Toolchain;
use drivetrain_config::{BuildRoot, Config};
use drivetrain_model::{Capability, InputRole, LockedInput, Nevra, Sha256Digest};
use drivetrain_solve::{Closure, Needed, Options, Want, World, closure, paths_to_look_up};

use crate::refusal::{chain, url_of};
use crate::userspace::wants;
use crate::{Components, Inventories, Refusal, Selection};

/// The layout of roots: another number, and all are made again.
const LAYOUT: u32 = 1;

/// What a toolchain is called by, for people.
const NAMED: &[&str] = &["gcc", "binutils", "make", "rpm-build"];

/// What a build root is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootSet {
    /// Its packages, as they go into the lock.
    pub inputs: Vec<LockedInput>,
    /// The tools that this is, by the packages that they come from.
    pub toolchain: Toolchain,
}

impl RootSet {
    /// The plan's words for it.
    #[must_use]
    pub fn in_words(&self) -> String {
        let size: u64 = self.inputs.iter().map(|input| input.size).sum();
        format!(
            "a root of {} of the train's packages ({} MB to fetch), and nothing of this host's",
            self.inputs.len(),
            size.div_ceil(1_000_000)
        )
    }
}

/// The files whose owners have to be known before the set can be made, as
/// [`files_to_look_up`](crate::files_to_look_up) says it for userspace packages.
#[must_use]
pub fn root_files_to_look_up(
    config: &Config,
    inventories: &Inventories,
    wanted: &[String],
    needed: &[Capability],
) -> BTreeSet<String> {
    let world = inventories.train_alone(config);
    let mut found: Vec<Want> = wanted.iter().filter_map(|text| Want::find(&world, text).ok()).collect();
    found.extend(there(&world, needed));
    let mut paths = paths_to_look_up(&world, &found, &Options::default());
    paths.extend(wanted.iter().filter(|text| text.starts_with('/')).cloned());
    paths
}

/// What components require for their builds and neither each other nor kernel-devel, which builds see anyway.
#[must_use]
pub fn build_requirements(selection: &Selection, components: &Components) -> Vec<Capability> {
    let sources = || components.ordered.iter().map(|component| &component.source);
    let made: BTreeSet<&str> = sources().flat_map(|source| &source.packages).map(String::as_str).collect();
    let provided: BTreeSet<&str> =
        selection.devel.package.provides.iter().map(|capability| capability.name.as_str()).collect();
    let mut needed: Vec<Capability> = Vec::new();
    for capability in sources().flat_map(|source| &source.may_need) {
        let name = capability.name.as_str();
        let elsewhere = made.contains(name) || provided.contains(name) || name.starts_with("rpmlib(");
        if !elsewhere && !needed.contains(capability) {
            needed.push(capability.clone());
        }
    }
    needed
}

/// The set for a configuration whose builds see the train's tools; `None` where they see the host's.
///
/// What a spec file only may require, and the train does not have, is left out: whether it is required after all is seen
/// when its component is built.
///
/// # Errors
/// Where a package that the configuration names is not in the train, or something that it needs.
pub fn root(
    config: &Config,
    inventories: &Inventories,
    needed: &[Capability],
) -> Result<Option<RootSet>, Refusal> {
    let BuildRoot::Train { packages } = &config.builder.root else { return Ok(None) };
    let world = inventories.train_alone(config);
    let mut all = wants(&world, packages)?;
    all.extend(there(&world, needed));
    let closure = closure(&world, &all, &Options::default()).map_err(|unsolvable| {
        Refusal::new(
            format!("a build root of {} cannot be made:{}", packages.join(", "), chain(&unsolvable)),
            "add the repository that has what is missing (often CRB) to train.repositories, look at `exclude` and \
             train.module_streams, or correct builder.packages",
        )
    })?;
    let inputs =
        closure.packages.iter().map(|package| input(config, package)).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(RootSet { toolchain: toolchain(&closure), inputs }))
}

fn there(world: &World<'_>, needed: &[Capability]) -> Vec<Want> {
    needed.iter().filter_map(|capability| Want::find(world, &capability.to_string()).ok()).collect()
}

/// Equal packages, equal tools.
fn toolchain(closure: &Closure) -> Toolchain {
    let mut lines: Vec<String> =
        closure.packages.iter().map(|package| format!("{} {}\n", package.nevra, package.checksum)).collect();
    lines.sort();
    let named = |name: &&str| {
        let is_named = |nevra: &&Nevra| nevra.name == *name;
        let nevra = closure.packages.iter().map(|package| &package.nevra).find(is_named)?;
        Some(format!("{} {}", nevra.name, nevra.evr.version))
    };
    let named: Vec<String> = NAMED.iter().filter_map(named).collect();
    Toolchain {
        digest: Sha256Digest::of(format!("drivetrain root {LAYOUT}\n{}", lines.concat()).as_bytes()),
        description: format!("the train's {}", named.join(", ")),
        kernel_module_package: closure
            .packages
            .iter()
            .any(|package| package.nevra.name == "kernel-rpm-macros"),
    }
}

fn input(config: &Config, package: &Needed) -> Result<LockedInput, Refusal> {
    let id = &package.repository;
    let base = config.repositories().find(|(other, _)| other == id).map(|(_, repository)| &repository.url);
    let Some(base) = base else {
        return Err(Refusal::new(format!("{} is of no repository", package.nevra), "tell the developers"));
    };
    let url = url_of(&package.nevra, &package.location, base, id.as_str())
        .map_err(|problem| Refusal::all(vec![problem]))?;
    Ok(LockedInput {
        role: InputRole::BuildRoot,
        nevra: package.nevra.clone(),
        repository: Some(id.clone()),
        url,
        size: package.size,
        checksum: package.checksum.clone(),
    })
}
