//! Which source RPMs are components, and in which order they are built.

use std::collections::{BTreeMap, BTreeSet};

use drivetrain_config::Config;
use drivetrain_model::{Capability, ComponentName, Nevra, Problem, Sha256Digest, SkippedComponent};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::Refusal;
use crate::patches::ComponentPatch;
use crate::refusal::error;

/// The component that the vendor's others are built against.
const CORE: &str = "mlnx-ofa_kernel";

/// Components whose spec files do not say that they need [`CORE`], although their makefiles look for its headers
/// and symbol versions. From the `BuildRequires` of their specs in MLNX_OFED_SRC and from what the vendor's own
/// script builds first.
const NEED_CORE: &[&str] = &["iser", "isert", "srp", "mlnx-nfsrdma", "mlnx-nvme", "virtiofs", "fwctl"];

/// A source RPM, as far as the plan has to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePackage {
    /// Its full name.
    pub nevra: Nevra,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The binary packages that it may make.
    pub packages: Vec<String>,
    /// What it may need to be built.
    pub may_need: Vec<Capability>,
    /// Whether its spec file takes a kernel to build for (`KVERSION`): others make userspace.
    pub takes_kernel: bool,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a source RPM comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "from")]
pub enum Origin {
    /// The vendor's source archive.
    Vendor,
    /// `driver.extra` of the configuration.
    Extra {
        /// Its place.
        url: Url,
    },
}

/// The components of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Components {
    /// Those to build, each after all that it needs.
    pub ordered: Vec<OrderedComponent>,
    /// Those that are left out, by name.
    pub skipped: Vec<SkippedComponent>,
}

/// A component in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedComponent {
    /// Its name.
    pub name: ComponentName,
    /// Its source RPM.
    pub source: SourcePackage,
    /// What it is built against; all of it earlier in the list.
    pub needs: Vec<ComponentName>,
    /// The site's own patches of it, in order; those that the kernel does not take among them.
    pub patches: Vec<ComponentPatch>,
}

/// Takes the source RPMs apart: components in build order, and what is left out.
///
/// Refuses where a name stands twice, where the configuration names what is not there, where a component that
/// is built needs one that is left out, and where they need each other.
pub fn components(config: &Config, sources: &[SourcePackage]) -> Result<Components, Refusal> {
    let mut problems = Vec::new();
    let (taken, mut skipped) = sort_out(config, sources, &mut problems);
    problems.extend(unknown_names(config, sources));
    let needs = needs_of(config, &taken, &skipped, &mut problems);
    if problems.is_empty() && taken.is_empty() {
        problems.push(error(
            format!("nothing is left to build: {}", list(skipped.iter().map(|skipped| &skipped.name))),
            "look at driver.components, and at the reasons that `drivetrain plan` gives for what it leaves out",
        ));
    }
    if !problems.is_empty() {
        return Err(Refusal::all(problems));
    }
    skipped.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Components { ordered: order(&taken, &needs)?, skipped })
}

type Taken<'a> = BTreeMap<ComponentName, &'a SourcePackage>;
type Needs = BTreeMap<ComponentName, BTreeSet<ComponentName>>;

fn sort_out<'a>(
    config: &Config,
    sources: &'a [SourcePackage],
    problems: &mut Vec<Problem>,
) -> (Taken<'a>, Vec<SkippedComponent>) {
    let mut taken = Taken::new();
    let mut skipped = Vec::new();
    // The site's own first: they take the place of the vendor's.
    let mut sources: Vec<&SourcePackage> = sources.iter().collect();
    sources.sort_by_key(|source| source.origin == Origin::Vendor);
    for source in sources {
        let name = match ComponentName::parse(&source.nevra.name) {
            Ok(name) => name,
            Err(reason) => {
                problems.push(error(reason.to_string(), "exclude it, or ask the vendor"));
                continue;
            }
        };
        if let Some(why) = reason_to_skip(config, &name, source) {
            skipped.push(SkippedComponent { name, why });
            continue;
        }
        match taken.get(&name) {
            Some(first) if first.sha256 == source.sha256 => {}
            Some(first) if first.origin != Origin::Vendor && source.origin == Origin::Vendor => {
                let why = format!("{} of driver.extra takes the place of {}", first.nevra, source.nevra);
                skipped.push(SkippedComponent { name, why });
            }
            Some(first) => problems.push(error(
                format!("component {name} is there twice: {} and {}", first.nevra, source.nevra),
                "leave one of them out",
            )),
            None => drop(taken.insert(name, source)),
        }
    }
    (taken, skipped)
}

fn reason_to_skip(config: &Config, name: &ComponentName, source: &SourcePackage) -> Option<String> {
    let components = &config.driver.components;
    // What the site adds by name is meant, unless it is excluded.
    if source.origin != Origin::Vendor {
        return components.exclude.contains(name).then(|| "excluded by driver.components.exclude".to_owned());
    }
    let named = components.include.as_ref().is_some_and(|include| include.contains(name));
    match components.reason_to_skip(name) {
        Some(reason) => Some(reason.to_owned()),
        None if !source.takes_kernel && !named => {
            Some("makes no kernel modules: its spec file does not take a kernel (KVERSION)".to_owned())
        }
        None => None,
    }
}

/// Names in the configuration that no source RPM has: a misspelt `exclude` would build what it should not.
fn unknown_names(config: &Config, sources: &[SourcePackage]) -> Vec<Problem> {
    let known: BTreeSet<&str> = sources.iter().map(|source| source.nevra.name.as_str()).collect();
    let driver = &config.driver;
    let include = driver.components.include.iter().flatten().map(|name| ("driver.components.include", name));
    let exclude = driver.components.exclude.iter().map(|name| ("driver.components.exclude", name));
    let needs = driver
        .needs
        .iter()
        .flat_map(|(name, needs)| std::iter::once(name).chain(needs))
        .map(|name| ("driver.needs", name));
    let mut problems: Vec<Problem> = include
        .chain(exclude)
        .chain(needs)
        .filter(|(_, name)| !known.contains(name.as_str()))
        .map(|(place, name)| {
            let nearest = known
                .iter()
                .map(|known| (strsim::damerau_levenshtein(known, name.as_str()), known))
                .min()
                .filter(|(distance, _)| *distance <= 3)
                .map(|(_, known)| format!("did you mean {known}? "))
                .unwrap_or_default();
            error(
                format!("{place} names {name}, and there is no source RPM of that name"),
                format!("{nearest}There are: {}", list(known.iter())),
            )
        })
        .collect();
    problems.dedup();
    problems
}

/// What each needs: by its spec file, by the configuration, and by what is known of the vendor's stack.
fn needs_of(
    config: &Config,
    taken: &Taken<'_>,
    skipped: &[SkippedComponent],
    problems: &mut Vec<Problem>,
) -> Needs {
    let mut all = Needs::new();
    for (name, source) in taken {
        let mut needs: BTreeSet<ComponentName> = taken
            .iter()
            .filter(|(other, _)| *other != name)
            .filter(|(other, provider)| {
                let known = other.as_str() == CORE && NEED_CORE.contains(&name.as_str());
                known || source.may_need.iter().any(|need| provider.packages.contains(&need.name))
            })
            .map(|(other, _)| other.clone())
            .collect();
        for need in config.driver.needs.get(name).into_iter().flatten() {
            match skipped.iter().find(|skipped| skipped.name == *need) {
                Some(left_out) if !taken.contains_key(need) => problems.push(error(
                    format!(
                        "driver.needs says that {name} needs {need}, which is left out: {}",
                        left_out.why
                    ),
                    format!("leave {name} out as well, or build {need}"),
                )),
                _ => drop(needs.insert(need.clone())),
            }
        }
        all.insert(name.clone(), needs);
    }
    all
}

/// Each after all that it needs; of those that could come next the one that most wait for, so that little is
/// left to wait for it at the end, then by name.
fn order(taken: &Taken<'_>, needs: &Needs) -> Result<Vec<OrderedComponent>, Refusal> {
    let waiting_for = |name: &ComponentName| needs.values().filter(|needs| needs.contains(name)).count();
    let mut left: BTreeSet<&ComponentName> = taken.keys().collect();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let next = left
            .iter()
            .filter(|name| needs[**name].iter().all(|need| !left.contains(need)))
            .max_by_key(|name| (waiting_for(name), std::cmp::Reverse(**name)))
            .copied();
        let Some(name) = next else { return Err(circle(&left, needs)) };
        left.remove(name);
        ordered.push(OrderedComponent {
            name: name.clone(),
            source: taken[name].clone(),
            needs: needs[name].iter().cloned().collect(),
            patches: Vec::new(),
        });
    }
    Ok(ordered)
}

fn circle(left: &BTreeSet<&ComponentName>, needs: &Needs) -> Refusal {
    let said = left.iter().map(|name| {
        let needs = needs[*name].iter().filter(|need| left.contains(need));
        format!("{name} needs {}", list(needs))
    });
    Refusal::new(
        format!("components need each other in a circle: {}", said.collect::<Vec<_>>().join("; ")),
        "take one of these out of driver.needs, or leave a component out",
    )
}

fn list(names: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let names: Vec<String> = names.map(|name| name.to_string()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
