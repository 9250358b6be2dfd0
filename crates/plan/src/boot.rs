//! Whether a kernel is booted, and what is installed for it.

use drivetrain_config::{BootTest, Config};
use drivetrain_model::{
    BootAction, BootPolicy, InputRole, KernelRelease, LockedInput, Nevra, Plan, PlannedBoot,
};
use drivetrain_solve::{Closure, RepositoryIndex, Role, Want, World, closure};

use crate::refusal::{chain, url_of};
use crate::{Inventories, Refusal, options, wants};

/// What a boot is planned by, beside the plan itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootFacts {
    /// How many modules there are; absent where they are not built yet.
    pub modules: Option<usize>,
    /// What became of the boot of what is served: how many modules the kernel loaded, and how much was not well. Absent
    /// where there was none.
    pub served: Option<(usize, usize)>,
    /// The machine that it is booted on, in words; absent for this host.
    pub on: Option<String>,
    /// Why no kernel can be booted from here.
    pub impossible: Option<String>,
    /// Whether it is booted though it was before.
    pub anew: bool,
}

/// Says whether the kernel of a plan is booted; `None` where that is not asked for.
#[must_use]
pub fn planned_boot(how: BootTest, plan: &Plan, facts: BootFacts) -> Option<PlannedBoot> {
    let policy = match how {
        BootTest::Off => return None,
        BootTest::Warn => BootPolicy::Warn,
        BootTest::Require => BootPolicy::Require,
    };
    let BootFacts { modules, served, on, impossible, anew } = facts;
    let is_enough = |problems: usize| problems == 0 || policy == BootPolicy::Warn;
    let action = match (served.filter(|_| plan.is_done()), impossible) {
        (Some((loaded, problems)), _) if is_enough(problems) && !anew => {
            BootAction::Known { loaded, problems }
        }
        (_, Some(why)) => BootAction::Impossible { why, served: plan.is_done() },
        (served, None) if plan.is_done() => {
            BootAction::BootServed { problems: served.map(|(_, problems)| problems) }
        }
        (_, None) => BootAction::Boot,
    };
    Some(PlannedBoot { policy, kernel: plan.kernel.release.clone(), modules, on, action })
}

/// The packages of a system that is booted with what is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootSet {
    /// Those that are to be published.
    pub own: Vec<Nevra>,
    /// Those of the train.
    pub train: Vec<LockedInput>,
}

/// Finds the packages: what is installed together of what is to be published, with what that needs of the train; the
/// kernel's modules, since what the published ones need may be in any of its packages; and `also`, where it is to be had.
///
/// # Errors
/// Where what is to be published cannot be installed together.
pub fn boot_set(
    config: &Config,
    inventories: &Inventories,
    own: &RepositoryIndex,
    wanted: &[String],
    kernel: &KernelRelease,
    also: &[&str],
) -> Result<BootSet, Refusal> {
    let world = inventories.without_vendor(config, own);
    let wanted = wants(&world, wanted)?;
    let modules = ["kernel-modules-core", "kernel-modules"].map(|name| format!("{name}-uname-r = {kernel}"));
    let besides = modules.iter().map(String::as_str).chain(also.iter().copied());
    let besides: Vec<Want> = besides.filter_map(|text| Want::find(&world, text).ok()).collect();
    let all: Vec<Want> = wanted.iter().chain(&besides).cloned().collect();
    // What comes besides is left out where it does not go with the others.
    let closure = closure(&world, &all, &options(None)).or_else(|_| closure(&world, &wanted, &options(None)));
    let closure = closure.map_err(|unsolvable| {
        Refusal::new(
            format!("what was built cannot be installed to be booted:{}", chain(&unsolvable)),
            "add the repository that has what is missing to train.repositories",
        )
    })?;
    of_closure(config, &world, &closure)
}

fn of_closure(config: &Config, world: &World<'_>, closure: &Closure) -> Result<BootSet, Refusal> {
    let mut set = BootSet { own: Vec::new(), train: Vec::new() };
    for id in &closure.solution {
        let package = world.package(*id);
        if world.role(*id) != Role::Train {
            set.own.push(package.nevra);
            continue;
        }
        let repository = &world.repository(*id).id;
        let found = config.repositories().find(|(other, _)| other == repository);
        let Some((id, settings)) = found else {
            return Err(Refusal::new(
                format!("{} is of no repository", package.nevra),
                "tell the developers",
            ));
        };
        let url = url_of(&package.nevra, &package.location, &settings.url, id.as_str())
            .map_err(|problem| Refusal::all(vec![problem]))?;
        set.train.push(LockedInput {
            role: InputRole::BuildRoot,
            nevra: package.nevra,
            repository: Some(id),
            url,
            size: package.size,
            checksum: package.checksum,
        });
    }
    Ok(set)
}
