//! A plan as text.

use std::fmt::Write as _;

use drivetrain_model::{
    ComponentAction, InputRole, KernelChoice, LockDifference, Plan, PlannedComponent, PlannedPatch,
    PlannedReuse, PublicationState, ReuseVerdict,
};

use drivetrain_report::planned_boot;

use super::sentence::held_back;
use super::words::{bytes, count, duration};

/// The plan for people: what would happen, and why.
pub fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail. What nodes have to go without is said first.
    for held in &plan.kernel.held_back {
        let _ = writeln!(text, "{}", held_back(held));
        if let Some(log) = &held.log {
            let _ = writeln!(text, "  log: {log}");
        }
    }
    let _ = write!(text, "{}", heading(plan));
    let _ = writeln!(text, "components");
    let width = plan.components.iter().map(|component| component.name.as_str().len()).max().unwrap_or(0);
    for component in &plan.components {
        let _ = writeln!(text, "  {}", component_line(component, width));
        for patch in &component.patches {
            let _ = writeln!(text, "            {}", patch_line(patch));
        }
    }
    for reuse in &plan.reuse {
        let _ = writeln!(text, "  {}", reuse_line(reuse));
    }
    for skipped in &plan.skipped {
        let _ = writeln!(text, "  leave out {}: {}", skipped.name, skipped.why);
    }
    text.push_str(&userspace(plan));
    for problem in &plan.problems {
        let _ = writeln!(text, "warning     {}\n            next: {}", problem.what, problem.next);
    }
    if let Some(boot) = &plan.boot {
        let _ = writeln!(text, "boot        {}", planned_boot(boot));
    }
    let _ = writeln!(text, "publish     {}", publication(plan));
    if let Some(lockstep) = &plan.publication.lockstep {
        let _ = writeln!(text, "lockstep    {lockstep}");
    }
    let _ = writeln!(text, "\n{}", summary(plan));
    text
}

fn heading(plan: &Plan) -> String {
    let mut text = String::new();
    let kernel = &plan.kernel;
    let chosen = kernel.considered.iter().find(|choice| choice.chosen);
    let why = chosen.map(|choice| format!(", {}", choice.why)).unwrap_or_default();
    let _ = writeln!(text, "cell        {}", plan.cell);
    let _ = writeln!(text, "kernel      {}{why}", kernel.release);
    for (role, nevra) in [(InputRole::Kernel, &kernel.package), (InputRole::KernelDevel, &kernel.devel)] {
        let from = plan.lock.input(role).and_then(|input| input.repository.as_ref());
        let from = from.map(|id| format!(" from {id}")).unwrap_or_default();
        let _ = writeln!(text, "            {nevra}{from}");
    }
    for other in kernel.considered.iter().filter(|choice| !choice.chosen).take(5) {
        let _ = writeln!(text, "            not {}", consideration(other));
    }
    if let Some(source) = plan.lock.input(InputRole::DriverSource) {
        let from = source.repository.as_ref().map(|id| format!(" from {id}")).unwrap_or_default();
        let _ = writeln!(text, "driver      {}{from}, {}", source.nevra, bytes(source.size));
    }
    for (position, line) in plan.builder.iter().enumerate() {
        let label = if position == 0 { "builder" } else { "" };
        let _ = writeln!(text, "{label:<11} {line}");
    }
    let _ = writeln!(text, "toolchain   {}", plan.lock.toolchain_description);
    if let Some(signers) = plan.lock.settings.get("driver.module_signing") {
        let _ = writeln!(text, "modules     signed by {signers}");
    }
    text
}

fn component_line(component: &PlannedComponent, width: usize) -> String {
    let action = match component.action {
        ComponentAction::Build => "build    ",
        ComponentAction::Reuse { .. } => "reuse    ",
        ComponentAction::Repackage { .. } => "repackage",
    };
    let after = if component.needs.is_empty() {
        String::new()
    } else {
        let names: Vec<&str> = component.needs.iter().map(|name| name.as_str()).collect();
        format!(", after {}", names.join(", "))
    };
    let estimate = match (&component.action, component.estimate_ms) {
        (ComponentAction::Build, Some(ms)) => format!(", last time {}", duration(ms)),
        (ComponentAction::Repackage { kernel, .. }, _) => format!(", built for {kernel}"),
        _ => String::new(),
    };
    let evr = &component.source.evr;
    format!("{action} {:width$} {evr}{after}{estimate}", component.name)
}

/// What was found of another kernel's build.
fn reuse_line(reuse: &PlannedReuse) -> String {
    let names: Vec<&str> = reuse.components.iter().map(|name| name.as_str()).collect();
    let (names, kernel) = (names.join(", "), &reuse.kernel);
    match &reuse.found {
        ReuseVerdict::Identical { modules, symbols } => format!(
            "{names} as built for {kernel}: {} ask for {}, all the same on this kernel",
            count(*modules, "module"),
            count(*symbols, "symbol")
        ),
        ReuseVerdict::Taken => format!("{names} as built for {kernel}: packaged for this kernel before"),
        ReuseVerdict::Differs { modules, of, first } if *of > 0 => {
            format!(
                "{names} not as built for {kernel}: {modules} of {} differ; {first}",
                count(*of, "module")
            )
        }
        ReuseVerdict::Differs { first, .. } => format!("{names} not as built for {kernel}: {first}"),
    }
}

fn patch_line(patch: &PlannedPatch) -> String {
    let verb = if patch.applied { "with" } else { "without" };
    let why = if patch.why.is_empty() { String::new() } else { format!(": {}", patch.why) };
    format!("{verb} {}{why}", patch.file)
}

/// The packages with their sizes, each with its first reason: the others are in the JSON, and `drivetrain closure` tells.
fn userspace(plan: &Plan) -> String {
    let Some(userspace) = &plan.userspace else { return String::new() };
    let mut text = String::new();
    let size = userspace.packages.iter().map(|package| package.size).sum();
    let _ = writeln!(
        text,
        "userspace   {}, {}; {} of the train come with them",
        count(userspace.packages.len(), "package"),
        bytes(size),
        userspace.from_train
    );
    let names: Vec<String> = userspace.packages.iter().map(|package| package.nevra.to_string()).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    for (name, package) in names.iter().zip(&userspace.packages) {
        let why = package.why.first().map_or("", String::as_str);
        let more = match package.why.len() {
            0 | 1 => String::new(),
            many => format!(", and {} more", count(many - 1, "reason")),
        };
        let _ = writeln!(text, "  {name:width$} {:>8}  {why}{more}", bytes(package.size));
    }
    for shadow in &userspace.shadows {
        let _ = writeln!(text, "  {shadow}");
    }
    text
}

fn consideration(choice: &KernelChoice) -> String {
    let devel = match &choice.devel {
        Some((_, id)) => format!("kernel-devel in {id}"),
        None => "no kernel-devel".to_owned(),
    };
    format!("{}: {} (in {}, {devel})", choice.release, choice.why, choice.repository)
}

fn publication(plan: &Plan) -> String {
    let publication = &plan.publication;
    let state = match publication.state {
        PublicationState::Absent => "nothing there yet".to_owned(),
        PublicationState::Current { version } => format!("version {version} there has these very inputs"),
        PublicationState::Outdated { version } => format!("version {version} there has other inputs"),
    };
    format!("{}\n            {} ({state})", publication.target, publication.path)
}

/// What would be done, in a sentence.
pub fn summary(plan: &Plan) -> String {
    if plan.boots_served() {
        return "To do: boot the kernel with what is served, and note what becomes of it.".to_owned();
    }
    if plan.is_done() {
        return "Nothing to do: what is served was built from these inputs.".to_owned();
    }
    let build = plan.components.iter().filter(|component| component.action == ComponentAction::Build).count();
    let repackage = plan
        .components
        .iter()
        .filter(|component| matches!(component.action, ComponentAction::Repackage { .. }))
        .count();
    let repackaged = if repackage > 0 { format!("repackage {repackage}, ") } else { String::new() };
    let reuse = plan.components.len() - build - repackage;
    let known: Option<u64> = plan
        .components
        .iter()
        .filter(|component| component.action == ComponentAction::Build)
        .map(|component| component.estimate_ms)
        .sum();
    let estimate = match known {
        Some(ms) if ms > 0 => format!(" (one after another {})", duration(ms)),
        _ => String::new(),
    };
    let fetch = match &plan.userspace {
        Some(userspace) if !userspace.packages.is_empty() => {
            format!("take {}, ", count(userspace.packages.len(), "userspace package"))
        }
        _ => String::new(),
    };
    format!(
        "To do: build {}{estimate}, {repackaged}reuse {reuse}, {fetch}prove every module, publish a new version.",
        count(build, "component")
    )
}

/// The kernels that were considered, without the last newline.
pub fn considered(kernels: &[KernelChoice]) -> String {
    let lines = kernels.iter().take(10).map(|choice| format!("\n  {}", consideration(choice)));
    if kernels.is_empty() {
        String::new()
    } else {
        format!("kernels of the train, newest first{}", lines.collect::<String>())
    }
}

/// In what a lock no longer fits.
pub fn differences(differences: &[LockDifference]) -> Vec<String> {
    differences.iter().map(LockDifference::to_string).collect()
}
