//! The plan and its lock, from what was selected and what exists.

use std::collections::{BTreeMap, BTreeSet};

use drivetrain_build::{KeyInputs, ToolInputs, component_key, family_key};
use drivetrain_config::{Config, Debuginfo, PublishTarget, Reuse, VendorVisibility};
use drivetrain_model::{
    ComponentAction, ComponentName, InputRole, Lock, LockedComponent, LockedInput, Plan, PlannedComponent,
    PlannedPublication, Problem, PublicationState, Severity, Sha256Digest,
};

use crate::components::OrderedComponent;
use crate::{Components, Origin, Selection, UserspaceSet, recipe, recipe_of};

/// What compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// The toolchain's digest.
    pub digest: Sha256Digest,
    /// The toolchain in words.
    pub description: String,
    /// Whether RPM has the macro `%kernel_module_package` there.
    pub kernel_module_package: bool,
    /// Where that is, a line each; empty for this host.
    pub builder: Vec<String>,
    /// The packages that they come from, where they are installed for the build.
    pub packages: Vec<LockedInput>,
    /// The fingerprint of the key that what is built is signed with.
    pub signed_by: Option<String>,
    /// The certificates that modules are signed for, in words.
    pub modules_signed_by: Option<String>,
}

/// What exists already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Existing {
    /// The keys of finished components.
    pub finished: BTreeSet<Sha256Digest>,
    /// Milliseconds that a component's last build took, for whichever kernel.
    pub estimates: BTreeMap<ComponentName, u64>,
    /// What is published at the cell's path.
    pub served: Option<ServedLock>,
    /// The publication target, in words.
    pub target: String,
    /// The cell's path below it.
    pub path: String,
}

/// A published version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServedLock {
    /// Its number.
    pub version: u64,
    /// The digest of the lock that it was built from; absent where it cannot be read.
    pub lock: Option<Sha256Digest>,
}

/// Makes the plan.
#[must_use]
pub fn plan(
    config: &Config,
    selection: &Selection,
    components: &Components,
    userspace: Option<&UserspaceSet>,
    tools: &Tools,
    existing: &Existing,
) -> Plan {
    let lock = lock(config, selection, components, userspace, tools);
    let planned = components
        .ordered
        .iter()
        .zip(&lock.components)
        .map(|(component, locked)| PlannedComponent {
            name: component.name.clone(),
            source: component.source.nevra.clone(),
            needs: component.needs.clone(),
            patches: component.patches.iter().map(|patch| patch.planned.clone()).collect(),
            action: if existing.finished.contains(&locked.key) {
                ComponentAction::Reuse { key: locked.key }
            } else {
                ComponentAction::Build
            },
            estimate_ms: existing.estimates.get(&component.name).copied(),
        })
        .collect();
    Plan {
        cell: lock.cell.clone(),
        kernel: selection.kernel.clone(),
        components: planned,
        reuse: Vec::new(),
        skipped: components.skipped.clone(),
        userspace: userspace.map(|set| set.planned.clone()),
        builder: builder_lines(tools, selection),
        boot: None,
        publication: PlannedPublication {
            target: existing.target.clone(),
            path: existing.path.clone(),
            state: state(existing, lock.digest()),
            lockstep: None,
        },
        problems: module_packages(config, tools)
            .into_iter()
            .chain(other_version(config, selection))
            .chain(userspace.into_iter().flat_map(|set| set.warnings.clone()))
            .collect(),
        lock,
    }
}

fn builder_lines(tools: &Tools, selection: &Selection) -> Vec<String> {
    let tool = selection
        .tool
        .as_ref()
        .map(|tool| format!("the vendor's own tool builds, from {}", tool.input.nevra));
    tools.builder.iter().cloned().chain(tool).collect()
}

/// The macro by which the vendor's spec files set what their packages are called.
const KMP: &str = "KMP";

/// That packages will not be called what they are called on Enterprise Linux, unless that is what the configuration
/// says.
fn module_packages(config: &Config, tools: &Tools) -> Option<Problem> {
    // The vendor's tool says itself what they are called.
    let said = config.driver.macros.contains_key(KMP) || config.driver.vendor_tool.is_some();
    if tools.kernel_module_package || said {
        return None;
    }
    Some(Problem {
        severity: Severity::Warning,
        what: "the builder's RPM has no %kernel_module_package: the spec files will make COMPONENT-modules packages \
               instead of kmod-COMPONENT"
            .to_owned(),
        next: "build on Enterprise Linux with kernel-rpm-macros installed to have kmod packages, or say \
               `macros: {KMP: 0}` under `driver` if these are what you want"
            .to_owned(),
    })
}

fn state(existing: &Existing, lock: Sha256Digest) -> PublicationState {
    match &existing.served {
        None => PublicationState::Absent,
        Some(served) if served.lock == Some(lock) => PublicationState::Current { version: served.version },
        Some(served) => PublicationState::Outdated { version: served.version },
    }
}

fn lock(
    config: &Config,
    selection: &Selection,
    components: &Components,
    userspace: Option<&UserspaceSet>,
    tools: &Tools,
) -> Lock {
    let mut inputs =
        vec![selection.core.input.clone(), selection.devel.input.clone(), selection.source.input.clone()];
    inputs.extend(components.ordered.iter().filter_map(extra_input));
    inputs.extend(userspace.into_iter().flat_map(|set| set.inputs.iter().cloned()));
    inputs.extend(selection.tool.iter().map(|tool| tool.input.clone()));
    inputs.extend(tools.packages.iter().cloned());
    inputs.sort_by(|a, b| (a.role, &a.nevra).cmp(&(b.role, &b.nevra)));
    let keys = keys(config, selection, components, tools, component_key);
    let locked = components.ordered.iter().filter_map(|component| {
        let patches = component.patches.iter().filter(|patch| patch.planned.applied);
        Some(LockedComponent {
            name: component.name.clone(),
            source: component.source.nevra.clone(),
            sha256: component.source.sha256,
            needs: component.needs.clone(),
            patches: patches.map(|patch| (patch.planned.file.clone(), patch.planned.sha256)).collect(),
            key: *keys.get(&component.name)?,
        })
    });
    let locked = locked.collect();
    Lock {
        format: Lock::FORMAT,
        cell: config.cell(selection.kernel.release.clone()),
        repositories: selection.repositories.clone(),
        inputs,
        components: locked,
        settings: settings(config, tools),
        toolchain: tools.digest,
        toolchain_description: tools.description.clone(),
    }
}

/// The key of each component whatever the kernel: what finished components of other kernels are found by.
#[must_use]
pub fn families(
    config: &Config,
    selection: &Selection,
    components: &Components,
    tools: &Tools,
) -> BTreeMap<ComponentName, Sha256Digest> {
    keys(config, selection, components, tools, family_key)
}

/// The keys of all components, each with those of what it is built against in it.
fn keys(
    config: &Config,
    selection: &Selection,
    components: &Components,
    tools: &Tools,
    key_of: impl Fn(&KeyInputs<'_>) -> Sha256Digest,
) -> BTreeMap<ComponentName, Sha256Digest> {
    let recipe = recipe(config, tools.kernel_module_package);
    let vendor_tool = selection.tool.as_ref().map(|tool| ToolInputs {
        packages: [&tool.input.checksum, &selection.source.input.checksum],
        arguments: config.driver.vendor_tool.as_ref().map_or(&[], |tool| tool.arguments.as_slice()),
    });
    let mut keys: BTreeMap<ComponentName, Sha256Digest> = BTreeMap::new();
    for component in &components.ordered {
        let needs: Vec<_> =
            component.needs.iter().filter_map(|need| Some((need.clone(), *keys.get(need)?))).collect();
        let key = key_of(&KeyInputs {
            component: &component.name,
            source: component.source.sha256,
            kernel: &selection.kernel.release,
            arch: &config.train.arch,
            kernel_devel: &selection.devel.input.checksum,
            toolchain: tools.digest,
            recipe: &recipe_of(component, &recipe),
            vendor_tool,
            needs: &needs,
        });
        keys.insert(component.name.clone(), key);
    }
    keys
}

/// What decides the result beside the inputs, by the configuration's keys. What is as it is by default is left out.
fn settings(config: &Config, tools: &Tools) -> BTreeMap<String, String> {
    let driver = &config.driver;
    let builder = &config.builder;
    let macros: Vec<String> = driver.macros.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let debuginfo = match builder.debuginfo {
        Debuginfo::Drop => "",
        Debuginfo::Keep => "keep",
    };
    let reuse = match driver.reuse {
        Reuse::Never => "",
        Reuse::WhenIdentical => "when-identical",
    };
    let consumers = &config.consumers;
    let visibility = match consumers.vendor {
        VendorVisibility::Hidden => "hidden",
        VendorVisibility::Exposed => "exposed",
    };
    // Pulp says itself under which URL it serves a distribution: no part of what is published.
    let base_url = match &config.publish.target {
        PublishTarget::Directory(directory) => directory.base_url.as_ref().map(ToString::to_string),
        PublishTarget::Pulp(_) => None,
    };
    let (build, arguments) = match &driver.vendor_tool {
        Some(tool) => ("vendor-tool", tool.arguments.join(" ")),
        None => ("", String::new()),
    };
    [
        ("driver.build", build.to_owned()),
        ("driver.vendor_tool.arguments", arguments),
        ("driver.macros", macros.join(" ")),
        ("driver.with", driver.with.join(" ")),
        ("driver.without", driver.without.join(" ")),
        ("driver.reuse", reuse.to_owned()),
        ("builder.debuginfo", debuginfo.to_owned()),
        ("consumers.priority", consumers.priority.to_string()),
        ("consumers.vendor", visibility.to_owned()),
        ("consumers.exclude", consumers.exclude.join(" ")),
        ("publish.directory.base_url", base_url.unwrap_or_default()),
        ("publish.sign", tools.signed_by.clone().unwrap_or_default()),
        ("driver.module_signing", tools.modules_signed_by.clone().unwrap_or_default()),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// The vendor's repository is of another version than the configuration says that the driver is.
fn other_version(config: &Config, selection: &Selection) -> Option<Problem> {
    let (version, source) = (config.driver.version.as_str(), &selection.source.package.nevra);
    let has = source.evr.version.as_str();
    // `3.2.0` is what `3.2.0_OFED.25.10` and `3.2.0.125000` are of.
    let fits = has
        .strip_prefix(version)
        .is_some_and(|rest| rest.is_empty() || !rest.starts_with(|c: char| c.is_ascii_alphanumeric()));
    if fits {
        return None;
    }
    Some(Problem {
        severity: Severity::Warning,
        what: format!(
            "driver.version is {version}, and the source package that was found is {source}: what is published would \
             be called {version}"
        ),
        next: "correct driver.version, or driver.repository.url".to_owned(),
    })
}

fn extra_input(component: &OrderedComponent) -> Option<LockedInput> {
    let Origin::Extra { url } = &component.source.origin else { return None };
    Some(LockedInput {
        role: InputRole::ExtraSource,
        nevra: component.source.nevra.clone(),
        repository: None,
        url: url.clone(),
        size: component.source.size,
        checksum: component.source.sha256.into(),
    })
}
