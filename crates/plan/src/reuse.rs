//! What was built for another kernel and may be taken for this one in place of a build.
//!
//! Components that are built against one another are taken together or not at all: then nothing is built against what was
//! not built for its kernel, and the key of every component still says what it was made from.

use std::collections::{BTreeMap, BTreeSet};

use drivetrain_build::{CachedComponent, repackaged_key};
use drivetrain_model::{ComponentAction, ComponentName, KernelRelease, Plan, Sha256Digest};

/// More kernels than this are not looked at: each takes a look at every module.
const MOST_KERNELS: usize = 4;

/// Components that could be taken from another kernel, all or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReuseCandidate {
    /// The kernel that they were built for.
    pub kernel: KernelRelease,
    /// The components.
    pub components: Vec<ReusedComponent>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReusedComponent {
    /// Its name.
    pub name: ComponentName,
    /// The key of the build for the other kernel.
    pub built: Sha256Digest,
    /// The key that it goes by for this kernel.
    pub key: Sha256Digest,
}

/// For each group of components that are built against one another and are all to be built: from which kernels they
/// could be taken instead, those built last first. `finished` is in the order in which it was made.
#[must_use]
pub fn reuse_candidates(
    plan: &Plan,
    families: &BTreeMap<ComponentName, Sha256Digest>,
    finished: &[CachedComponent],
) -> Vec<Vec<ReuseCandidate>> {
    let groups = groups(plan).into_iter().filter(|group| {
        let of_group = plan.components.iter().filter(|component| group.contains(&component.name));
        let mut actions = of_group.map(|component| &component.action);
        actions.all(|action| *action == ComponentAction::Build)
    });
    groups
        .map(|group| candidates(plan, &group, families, finished))
        .filter(|candidates| !candidates.is_empty())
        .collect()
}

fn candidates(
    plan: &Plan,
    group: &BTreeSet<ComponentName>,
    families: &BTreeMap<ComponentName, Sha256Digest>,
    finished: &[CachedComponent],
) -> Vec<ReuseCandidate> {
    let mut kernels: Vec<&KernelRelease> = Vec::new();
    for entry in finished.iter().rev().filter(|entry| group.contains(&entry.component)) {
        if entry.kernel != plan.kernel.release && !kernels.contains(&&entry.kernel) {
            kernels.push(&entry.kernel);
        }
    }
    let of_kernel = |kernel: &&KernelRelease| {
        let components = plan.lock.components.iter().filter(|locked| group.contains(&locked.name));
        let components: Option<Vec<ReusedComponent>> = components
            .map(|locked| {
                let family = families.get(&locked.name)?;
                let of_family = |entry: &&CachedComponent| {
                    entry.kernel == **kernel
                        && entry.component == locked.name
                        && entry.family == Some(*family)
                };
                let built = finished.iter().rev().find(of_family)?.key;
                Some(ReusedComponent {
                    name: locked.name.clone(),
                    built,
                    key: repackaged_key(&locked.key, &built),
                })
            })
            .collect();
        Some(ReuseCandidate { kernel: (*kernel).clone(), components: components? })
    };
    kernels.iter().filter_map(of_kernel).take(MOST_KERNELS).collect()
}

/// The components, parted where nothing is built against anything on the other side.
fn groups(plan: &Plan) -> Vec<BTreeSet<ComponentName>> {
    let mut groups: Vec<BTreeSet<ComponentName>> = Vec::new();
    for component in &plan.components {
        let mut joined: BTreeSet<ComponentName> = component.needs.iter().cloned().collect();
        joined.insert(component.name.clone());
        let (of_it, others): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| !group.is_disjoint(&joined));
        joined.extend(of_it.into_iter().flatten());
        groups = others;
        groups.push(joined);
    }
    groups
}

/// Says in a plan that a candidate is taken.
pub fn reuse(plan: &mut Plan, candidate: &ReuseCandidate) {
    for component in &mut plan.components {
        if let Some(reused) = candidate.components.iter().find(|reused| reused.name == component.name) {
            component.action = ComponentAction::Repackage {
                key: reused.key,
                kernel: candidate.kernel.clone(),
                built: reused.built,
            };
        }
    }
}
