//! The kernel of a train, by policy.

use drivetrain_config::Config;
use drivetrain_model::{
    Architecture, Evr, HeldBack, KernelChoice, KernelPolicy, KernelRelease, Package, PlannedKernel,
};

use crate::Refusal;
use crate::metadata::{Found, RepositoryMetadata, visible};

/// The chosen kernel, with its two packages.
pub(crate) struct Chosen<'a> {
    pub(crate) planned: PlannedKernel,
    pub(crate) core: Found<'a>,
    pub(crate) devel: Found<'a>,
}

/// One kernel of the train.
struct Candidate<'a> {
    release: KernelRelease,
    core: Found<'a>,
    devel: Option<Found<'a>>,
}

/// Chooses by the configuration's policy. A kernel without kernel-devel is not passed over for an older one:
/// the nodes would boot it, and have no driver.
/// With [`KernelPolicy::NewestBuildable`] those are passed over that the driver is known not to build for, and those that
/// nothing can be built for.
pub(crate) fn choose<'a>(
    config: &Config,
    train: &'a [RepositoryMetadata],
    held_back: &[HeldBack],
) -> Result<Chosen<'a>, Refusal> {
    let policy = &config.train.kernel;
    let arch = &config.train.arch;
    let devels = released(train, "kernel-devel", "kernel-devel-uname-r", arch);
    let candidates: Vec<Candidate<'a>> = released(train, "kernel-core", "kernel-uname-r", arch)
        .into_iter()
        .rev()
        .map(|(release, core)| {
            let devel = devels.iter().find(|(other, _)| *other == release).map(|(_, found)| *found);
            Candidate { release, core, devel }
        })
        .collect();
    if candidates.is_empty() {
        return Err(no_kernel(train, arch));
    }
    let chosen = candidates.iter().position(|candidate| fits(policy, candidate, held_back));
    let considered = consider(&candidates, policy, chosen, held_back);
    let Some(candidate) = chosen.map(|position| &candidates[position]) else {
        return Err(nothing_fits(policy, &candidates).considering(considered));
    };
    let Some(devel) = candidate.devel else {
        return Err(no_devel(candidate, &devels, &candidates, train).considering(considered));
    };
    let planned = PlannedKernel {
        policy: policy.clone(),
        release: candidate.release.clone(),
        package: candidate.core.1.nevra.clone(),
        devel: devel.1.nevra.clone(),
        considered,
        held_back: held_back.to_vec(),
    };
    Ok(Chosen { planned, core: candidate.core, devel })
}

/// All kernels of the train, newest first.
///
/// Refuses a train without any.
pub fn kernels(config: &Config, train: &[RepositoryMetadata]) -> Result<Vec<KernelRelease>, Refusal> {
    let arch = &config.train.arch;
    let all = released(train, "kernel-core", "kernel-uname-r", arch);
    if all.is_empty() {
        return Err(no_kernel(train, arch));
    }
    Ok(all.into_iter().rev().map(|(release, _)| release).collect())
}

/// The packages of a name with the kernel release of each, oldest first.
fn released<'a>(
    train: &'a [RepositoryMetadata],
    name: &str,
    capability: &str,
    arch: &Architecture,
) -> Vec<(KernelRelease, Found<'a>)> {
    let mut releases: Vec<(KernelRelease, Found<'a>)> = Vec::new();
    for found in visible(train, name, arch) {
        let Some(release) = release_of(found.1, capability) else { continue };
        if !releases.iter().any(|(known, _)| *known == release) {
            releases.push((release, found));
        }
    }
    releases
}

/// The release that a package provides (`kernel-uname-r = 5.14.0-427.el9_4.x86_64`). A package that does not
/// say has the release that RHEL's kernels have: `version-release.arch`.
fn release_of(package: &Package, capability: &str) -> Option<KernelRelease> {
    let said = package.provided(capability).and_then(|provided| provided.constraint.as_ref());
    let text = match said {
        Some(constraint) => constraint.evr.to_string(),
        None => {
            format!("{}-{}.{}", package.nevra.evr.version, package.nevra.evr.release, package.nevra.arch)
        }
    };
    KernelRelease::parse(&text).ok()
}

fn fits(policy: &KernelPolicy, candidate: &Candidate<'_>, held_back: &[HeldBack]) -> bool {
    let release = &candidate.release;
    match policy {
        KernelPolicy::NewestBuildable => {
            candidate.devel.is_some() && !held_back.iter().any(|held| held.release == *release)
        }
        KernelPolicy::Latest | KernelPolicy::AllInTrain => true,
        KernelPolicy::Exact(wanted) => wanted == release,
        KernelPolicy::Ceiling(ceiling) => version_of(release) <= version_of(ceiling),
    }
}

/// A release's version and release, in RPM's order. The architecture at its end is no part of either.
fn version_of(release: &KernelRelease) -> Evr {
    let text = release.as_str();
    let text = match text.rsplit_once('.') {
        Some((rest, arch)) if arch.starts_with("x86_64") || arch.starts_with("aarch64") => rest,
        _ => text,
    };
    // Split at the first dash: a release's own dashes (`6.1.0-56-cloud-amd64`) belong to what follows.
    let (version, release) = text.split_once('-').unwrap_or((text, ""));
    Evr::new(0, version, release.replace('-', "."))
}

fn consider(
    candidates: &[Candidate<'_>],
    policy: &KernelPolicy,
    chosen: Option<usize>,
    held_back: &[HeldBack],
) -> Vec<KernelChoice> {
    candidates
        .iter()
        .enumerate()
        .map(|(position, candidate)| KernelChoice {
            release: candidate.release.clone(),
            package: candidate.core.1.nevra.clone(),
            repository: candidate.core.0.id.clone(),
            devel: candidate
                .devel
                .map(|(repository, package)| (package.nevra.clone(), repository.id.clone())),
            chosen: chosen == Some(position),
            why: why(candidate, policy, chosen == Some(position), held_back),
        })
        .collect()
}

fn why(candidate: &Candidate<'_>, policy: &KernelPolicy, chosen: bool, held_back: &[HeldBack]) -> String {
    let held = held_back.iter().find(|held| held.release == candidate.release);
    if let (KernelPolicy::NewestBuildable, Some(held)) = (policy, held) {
        return format!("{} does not build for it", held.component);
    }
    let text = match policy {
        KernelPolicy::NewestBuildable if chosen && held_back.is_empty() => "the newest of the train",
        KernelPolicy::NewestBuildable if chosen => "the newest that is not known to fail",
        KernelPolicy::NewestBuildable if candidate.devel.is_none() => "nothing can be built for it",
        KernelPolicy::NewestBuildable => "older than the newest that is not known to fail",
        _ if chosen && candidate.devel.is_none() => "meant, but it has no kernel-devel",
        KernelPolicy::Latest | KernelPolicy::AllInTrain if chosen => "the newest of the train",
        KernelPolicy::Latest | KernelPolicy::AllInTrain => "older than the newest",
        KernelPolicy::Exact(_) if chosen => "the one that train.kernel names",
        KernelPolicy::Exact(_) => "not the one that train.kernel names",
        KernelPolicy::Ceiling(_) if chosen => "the newest that train.kernel allows",
        KernelPolicy::Ceiling(_) if fits(policy, candidate, held_back) => {
            "older than the newest that is allowed"
        }
        KernelPolicy::Ceiling(_) => "above the ceiling that train.kernel sets",
    };
    text.to_owned()
}

fn no_kernel(train: &[RepositoryMetadata], arch: &Architecture) -> Refusal {
    let places: Vec<String> = train.iter().map(RepositoryMetadata::shown).collect();
    Refusal::new(
        format!("the train has no kernel-core for {arch}: looked in {}", places.join(", ")),
        "add the repository that has it (BaseOS) to train.repositories; look at its snapshot and `exclude`",
    )
}

fn nothing_fits(policy: &KernelPolicy, candidates: &[Candidate<'_>]) -> Refusal {
    let releases: Vec<&str> = candidates.iter().map(|candidate| candidate.release.as_str()).collect();
    let shown = releases.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    let more = releases.len().saturating_sub(5);
    let more = if more > 0 { format!(" and {more} older") } else { String::new() };
    let nearest = match policy {
        KernelPolicy::Exact(wanted) => releases
            .iter()
            // They are newest first, and the first of equals is taken.
            .min_by_key(|release| strsim::damerau_levenshtein(release, wanted.as_str()))
            .map(|release| format!("; the nearest is {release}"))
            .unwrap_or_default(),
        _ => String::new(),
    };
    Refusal::new(
        format!("train.kernel asks for {policy}, and the train has {shown}{more}"),
        format!("change train.kernel, or the snapshots of the train{nearest}"),
    )
}

/// A kernel without kernel-devel: usually two repositories whose snapshots are of different days.
fn no_devel(
    candidate: &Candidate<'_>,
    devels: &[(KernelRelease, Found<'_>)],
    candidates: &[Candidate<'_>],
    train: &[RepositoryMetadata],
) -> Refusal {
    let (repository, core) = candidate.core;
    let what =
        format!("{} ({} in {}) has no kernel-devel", candidate.release, core.nevra, repository.shown());
    let Some((newest, (devel_repository, _))) = devels.last() else {
        let places: Vec<String> = train.iter().map(RepositoryMetadata::shown).collect();
        return Refusal::new(
            format!("{what}: no repository of the train has any; looked in {}", places.join(", ")),
            "add the repository that has it (AppStream) to train.repositories",
        );
    };
    let what = format!("{what}: the newest is for {newest}, in {}", devel_repository.shown());
    let move_on = if devel_repository.id == repository.id {
        format!("choose another snapshot of {}", repository.id)
    } else {
        format!(
            "the snapshots of {} and {} are of different states: move {} on to one that has kernel-devel for \
             this kernel",
            repository.id, devel_repository.id, devel_repository.id
        )
    };
    // The way out until then: the newest kernel that can be built for.
    let fallback = candidates.iter().find(|candidate| candidate.devel.is_some());
    let next = match fallback {
        Some(fallback) => format!(
            "{move_on}; until then build for the kernel before it, with `kernel: {{ceiling: {}}}` under `train`, \
             and keep the nodes from booting the newer one",
            fallback.release
        ),
        None => move_on,
    };
    Refusal::new(what, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(a: &str, b: &str) -> std::cmp::Ordering {
        let parse = |text| version_of(&KernelRelease::parse(text).unwrap());
        parse(a).cmp(&parse(b))
    }

    #[test]
    fn releases_are_ordered_as_their_packages_are() {
        use std::cmp::Ordering::{Equal, Greater, Less};
        assert_eq!(order("5.14.0-427.9.1.el9_4.x86_64", "5.14.0-427.31.1.el9_4.x86_64"), Less);
        assert_eq!(order("5.14.0-503.el9_5.x86_64", "5.14.0-427.31.1.el9_4.x86_64"), Greater);
        assert_eq!(order("5.14.0-427.el9_4.x86_64", "5.14.0-427.el9_4.aarch64"), Equal);
        assert_eq!(order("6.1.0-56-cloud-amd64", "6.1.0-55-cloud-amd64"), Greater);
        assert_eq!(order("6.1.0-9-cloud-amd64", "6.1.0-10-cloud-amd64"), Less);
    }
}
