//! The userspace packages: what is wanted, and what it needs that the train lacks.

use std::collections::BTreeSet;

use drivetrain_config::{Config, Userspace};
use drivetrain_model::{
    InputRole, LockedInput, PlannedPackage, PlannedUserspace, Problem, RepositoryId, Severity,
};
use drivetrain_solve::{
    Closure, How, Needed, Options, Reason, RepositoryIndex, Shadow, UnknownWant, Unsolvable, Want, World,
    closure, paths_to_look_up,
};

use crate::refusal::{chain, error, url_of};
use crate::{Inventories, Refusal};

/// The set to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserspaceSet {
    /// The vendor's packages of it, as they go into the lock.
    pub inputs: Vec<LockedInput>,
    /// For the plan.
    pub planned: PlannedUserspace,
    /// The whole answer.
    pub closure: Closure,
    /// What a person should know.
    pub warnings: Vec<Problem>,
}

/// How closures are made for a configuration.
#[must_use]
pub fn options(userspace: Option<&Userspace>) -> Options {
    Options { weak: userspace.is_some_and(|userspace| userspace.weak_dependencies), ..Options::default() }
}

/// The wanted packages, each found in a world.
///
/// # Errors
/// With all that are not there, and the names that are.
pub fn wants(world: &World<'_>, wanted: &[String]) -> Result<Vec<Want>, Refusal> {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for text in wanted {
        match Want::find(world, text) {
            Ok(want) => found.push(want),
            Err(unknown) => problems.push(no_such_package(world, &unknown)),
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(Refusal::all(problems)) }
}

/// The files whose owners have to be known before a closure of what is wanted can be made: those that `primary.xml` does
/// not list. What is wanted and not there adds nothing: that is told by who makes the closure.
#[must_use]
pub fn files_to_look_up(
    config: &Config,
    inventories: &Inventories,
    own: &RepositoryIndex,
    wanted: &[String],
) -> BTreeSet<String> {
    let world = inventories.publisher(config, own);
    let found: Vec<Want> = wanted.iter().filter_map(|text| Want::find(&world, text).ok()).collect();
    let mut paths = paths_to_look_up(&world, &found, &options(config.driver.userspace.as_ref()));
    paths.extend(wanted.iter().filter(|text| text.starts_with('/')).cloned());
    paths
}

/// The set for what the configuration wants; `None` where it wants modules alone.
///
/// # Errors
/// Where a wanted package is not there, or something that it needs.
pub fn userspace(
    config: &Config,
    inventories: &Inventories,
    own: &RepositoryIndex,
) -> Result<Option<UserspaceSet>, Refusal> {
    let Some(settings) = &config.driver.userspace else { return Ok(None) };
    let world = inventories.publisher(config, own);
    let wants = wants(&world, &settings.packages)?;
    let closure = closure(&world, &wants, &options(Some(settings)))
        .map_err(|unsolvable| unsolvable_refusal(&settings.packages, &unsolvable))?;
    let vendor = &inventories.vendor.id;
    let needed: Vec<&Needed> =
        closure.packages.iter().filter(|package| package.repository == *vendor).collect();
    let inputs = needed.iter().map(|package| input(config, vendor, package)).collect::<Result<_, _>>()?;
    let planned = PlannedUserspace {
        wanted: settings.packages.clone(),
        packages: needed.iter().map(|package| planned(package)).collect(),
        from_train: closure.train.len(),
        shadows: closure.shadows.iter().map(shadow_words).collect(),
    };
    let warnings = nothing_to_publish(&planned).into_iter().collect();
    Ok(Some(UserspaceSet { inputs, planned, closure, warnings }))
}

fn nothing_to_publish(planned: &PlannedUserspace) -> Option<Problem> {
    planned.packages.is_empty().then(|| Problem {
        severity: Severity::Warning,
        what: format!("the train has all that driver.userspace wants: {}", planned.wanted.join(", ")),
        next: "leave driver.userspace out, or ask for a version that the vendor's repository has".to_owned(),
    })
}

fn no_such_package(world: &World<'_>, unknown: &UnknownWant) -> Problem {
    if !unknown.left_out.is_empty() {
        return error(
            format!("{} is wanted, and left out: {}", unknown.text, unknown.left_out.join("; ")),
            "want something else, or look at `exclude`, consumers.exclude and train.module_streams",
        );
    }
    let repositories: Vec<String> =
        world.repositories().iter().map(|repository| repository.id.to_string()).collect();
    let next = match unknown.suggestions.as_slice() {
        [] => {
            "compare driver.userspace.packages with what the vendor's repository has, and look at `exclude`"
                .to_owned()
        }
        versions if unknown.text.contains(' ') => format!("ask for what there is: {}", versions.join(", ")),
        names => format!("did you mean {}?", names.join(" or ")),
    };
    error(
        format!("{} is wanted, and there is no such package in {}", unknown.text, repositories.join(", ")),
        next,
    )
}

/// A want that cannot be met, with the chain that leads to what is missing.
fn unsolvable_refusal(wanted: &[String], unsolvable: &Unsolvable) -> Refusal {
    Refusal::new(
        format!("{} cannot be installed:{}", wanted.join(", "), chain(unsolvable)),
        "add the repository that has what is missing (often CRB) to train.repositories, look at `exclude`, \
         consumers.exclude and train.module_streams, or want less",
    )
}

fn input(config: &Config, vendor: &RepositoryId, package: &Needed) -> Result<LockedInput, Refusal> {
    let base = &config.driver.repository.url;
    let url = url_of(&package.nevra, &package.location, base, vendor.as_str())
        .map_err(|problem| Refusal::all(vec![problem]))?;
    Ok(LockedInput {
        role: InputRole::Userspace,
        nevra: package.nevra.clone(),
        repository: Some(vendor.clone()),
        url,
        size: package.size,
        checksum: package.checksum.clone(),
    })
}

fn planned(package: &Needed) -> PlannedPackage {
    PlannedPackage {
        nevra: package.nevra.clone(),
        size: package.size,
        why: reasons_in_words(&package.reasons),
    }
}

/// Reasons in words, to stand behind a package's name: those by one package together, since a library is needed for a
/// dozen of its symbol versions at once.
#[must_use]
pub fn reasons_in_words(reasons: &[Reason]) -> Vec<String> {
    let mut together: Vec<(&Reason, usize)> = Vec::new();
    for reason in reasons {
        match together.iter_mut().find(|(first, _)| by_the_same(first, reason)) {
            Some((_, more)) => *more += 1,
            None => together.push((reason, 0)),
        }
    }
    together.into_iter().map(|(reason, more)| reason_words(reason, more)).collect()
}

fn by_the_same(one: &Reason, other: &Reason) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
        && one.by().is_some()
        && one.by() == other.by()
}

fn reason_words(reason: &Reason, more: usize) -> String {
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    match reason {
        Reason::Wanted { text } => format!("wanted as {text}"),
        Reason::Needed { by, capability } => format!("needed by {by} for {capability}{more}"),
        Reason::Recommended { by, capability } => format!("recommended by {by} for {capability}{more}"),
        Reason::Reconciles { by, capability } => {
            format!("there since {by} would not go with the others: it conflicts with {capability}{more}")
        }
        Reason::Supplements { capability } => format!("there since it supplements {capability}"),
    }
}

/// A shadow in words.
#[must_use]
pub fn shadow_words(shadow: &Shadow) -> String {
    let Shadow { package, shadowed, repository, how } = shadow;
    match how {
        How::Newer => format!("{package} takes the place of {shadowed} of {repository}: it is newer"),
        How::NotNewer => format!(
            "{package} takes the place of {shadowed} of {repository}, and is not newer: by the priority alone"
        ),
        How::Obsoletes { capability } => {
            format!("{package} takes the place of {shadowed} of {repository}: it obsoletes {capability}")
        }
    }
}
