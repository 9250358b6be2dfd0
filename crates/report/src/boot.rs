//! The boot of a kernel with what was built, as it is told.

use drivetrain_model::{BootAction, BootPolicy, Event, PlannedBoot, Stamped};
use serde::{Deserialize, Serialize};

use crate::record::{self, Functional, Image};
use crate::text::cut;
use crate::words::count;

/// More modules than a driver and what it needs have.
const MAX_MODULES: usize = 2000;
/// More than anybody reads of what a kernel said of one module.
const MAX_LINES: usize = 40;
/// More than anybody reads of one line, in characters.
const MAX_TEXT: usize = 1000;
/// More problems or warnings than anybody reads.
const MAX_PROBLEMS: usize = 200;
/// More steps than a check has.
const MAX_STEPS: usize = 100;
/// What the kernel said, beside the report.
const CONSOLE: &str = "boot-console.log";

/// A boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// The kernel.
    pub kernel: String,
    /// What ran it: `KVM`, `emulation`.
    pub by: String,
    /// Its memory, in MiB; zero where that is not known.
    pub memory: u32,
    /// How long the machine was up, in milliseconds.
    pub ms: u64,
    /// How many modules there were to load, without those that they need.
    pub modules: usize,
    /// How many of them were loaded.
    pub loaded: usize,
    /// What becomes of one that is not well; absent where there is no plan that says so.
    pub policy: Option<BootPolicy>,
    /// Every module in the order of loading; empty where the record of the boot cannot be read.
    pub each: Vec<BootedModule>,
    /// Whether they do what they are for; absent where nothing tried that.
    pub check: Option<Check>,
    /// The initramfs that a host makes; absent where none was looked at.
    pub initramfs: Option<Initramfs>,
    /// What is wrong; nothing where it was well.
    pub problems: Vec<String>,
    /// What is worth knowing.
    pub warnings: Vec<String>,
    /// What the kernel said, in a file beside the report.
    pub console: Option<String>,
}

/// A module that was to be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootedModule {
    /// Its name.
    pub name: String,
    /// Whether it is to be published, and not one that such a one needs.
    pub ours: bool,
    /// The package that it is in.
    pub package: Option<String>,
    /// The file, below the kernel's directory.
    pub path: String,
    /// Whether it is in the kernel.
    pub loaded: bool,
    /// What became of it, in words.
    pub result: String,
    /// How long it took, in milliseconds.
    pub ms: Option<u64>,
    /// The digest of its sources.
    pub srcversion: Option<String>,
    /// Who signed it, as it says.
    pub signer: Option<String>,
    /// What the kernel is tainted with by it.
    pub taint: Option<String>,
    /// The kernel's words while it was loaded.
    pub said: Vec<String>,
}

/// A functional check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was tried.
    pub name: String,
    /// What was done, in this order.
    pub steps: Vec<CheckStep>,
    /// What was counted: `sent_pkts from 0 to 2069`.
    pub counters: Vec<String>,
}

/// A step of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStep {
    /// What is meant to be.
    pub step: String,
    /// Whether it is.
    pub ok: bool,
    /// What was said.
    pub said: Vec<String>,
}

/// The initramfs that the installed system makes for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Initramfs {
    /// How many modules it has.
    pub modules: usize,
    /// Those of them that are to be published.
    pub ours: Vec<String>,
    /// Why it could not be made, where it could not.
    pub not_made: Option<String>,
}

/// The last boot that a journal tells of, with its record.
pub(crate) fn boot(
    events: &[Stamped],
    record: Option<&serde_json::Value>,
    policy: Option<BootPolicy>,
    files: &[String],
) -> Option<Boot> {
    events.iter().rev().find_map(|stamped| match &stamped.event {
        Event::Booted { kernel, modules, loaded, by, problems, ms, .. } => {
            let record: record::Boot = record::read(record);
            Some(Boot {
                kernel: kernel.to_string(),
                by: by.clone(),
                memory: record.memory,
                ms: *ms,
                modules: *modules,
                loaded: *loaded,
                policy,
                each: record.modules.into_iter().take(MAX_MODULES).map(module).collect(),
                check: record.functional.map(check),
                initramfs: record.image.map(initramfs),
                problems: bounded(problems.clone(), MAX_PROBLEMS),
                warnings: bounded(record.warnings, MAX_PROBLEMS),
                console: files.iter().find(|file| *file == CONSOLE).cloned(),
            })
        }
        _ => None,
    })
}

fn module(record: record::Booted) -> BootedModule {
    BootedModule {
        loaded: record.result.is_good(),
        result: cut(&record.result.in_words(), MAX_TEXT),
        name: record.name,
        ours: record.ours,
        package: record.package,
        path: record.path,
        ms: record.ms,
        srcversion: record.srcversion,
        signer: record.signer,
        taint: record.taint,
        said: bounded(record.said, MAX_LINES),
    }
}

fn check(record: Functional) -> Check {
    let steps = record.steps.into_iter().take(MAX_STEPS);
    let counters = record.counters.into_iter().take(MAX_STEPS);
    Check {
        name: record.name,
        steps: steps
            .map(|tried| CheckStep { step: tried.step, ok: tried.ok, said: bounded(tried.said, MAX_LINES) })
            .collect(),
        counters: counters
            .map(|counted| format!("{} from {} to {}", counted.counter, counted.before, counted.after))
            .collect(),
    }
}

fn initramfs(record: Image) -> Initramfs {
    let not_made = record.not_made.map(|why| cut(&why, MAX_TEXT));
    Initramfs { modules: record.modules, ours: bounded(record.ours, MAX_MODULES), not_made }
}

fn bounded(mut lines: Vec<String>, most: usize) -> Vec<String> {
    lines.truncate(most);
    lines.iter().map(|line| cut(line, MAX_TEXT)).collect()
}

impl Boot {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }
}

impl Initramfs {
    /// What was found, in a sentence without a full stop.
    pub(crate) fn in_words(&self) -> String {
        match (&self.not_made, self.ours.as_slice()) {
            (Some(why), _) => format!("The initramfs that a host makes was not looked at: {why}"),
            (None, []) => "The initramfs that a host makes has none of these modules in it".to_owned(),
            (None, ours) => format!("The initramfs that a host makes has in it {}", ours.join(", ")),
        }
    }
}

/// What a plan says of the boot, in a line without a full stop.
#[must_use]
pub fn planned_boot(boot: &PlannedBoot) -> String {
    let with = match boot.modules {
        Some(modules) => count(modules, "module"),
        None => "every module that is built".to_owned(),
    };
    let on = boot.on.as_ref().map(|machine| format!(" on {machine}")).unwrap_or_default();
    let what = format!("kernel {} with {with}{on}", boot.kernel);
    let policy = match boot.policy {
        BootPolicy::Warn => "what is not well is told",
        BootPolicy::Require => "what is not well is not published",
    };
    match &boot.action {
        BootAction::Boot => format!("{what}, before they are published; {policy}"),
        BootAction::BootServed { problems: None } => {
            format!("{what}, as they are served: they were published without it")
        }
        BootAction::BootServed { problems: Some(0) } => format!("{what}, as they are served, once more"),
        BootAction::BootServed { problems: Some(problems) } => {
            format!("{what}, as they are served: the last time there were {}", count(*problems, "problem"))
        }
        BootAction::Known { loaded, problems: 0 } => {
            format!(
                "kernel {} was booted with what is served; {} loaded",
                boot.kernel,
                count(*loaded, "module")
            )
        }
        BootAction::Known { loaded, problems } => format!(
            "kernel {} was booted with what is served; {} loaded, and there were {}",
            boot.kernel,
            count(*loaded, "module"),
            count(*problems, "problem")
        ),
        BootAction::Impossible { why, served: false } => format!("not from here: {why}"),
        BootAction::Impossible { why, served: true } => {
            format!("what is served was published without one, and from here it cannot be made: {why}")
        }
    }
}

#[cfg(test)]
mod tests {
    use drivetrain_model::KernelRelease;

    use super::*;

    #[test]
    fn a_plan_says_whether_the_kernel_is_booted_and_why_not() {
        let kernel = KernelRelease::parse("5.14.0-427.el9.x86_64").unwrap();
        let lines = [
            (BootPolicy::Require, None, None, BootAction::Boot),
            (BootPolicy::Warn, Some(1), Some("builder-3"), BootAction::Boot),
            (BootPolicy::Warn, Some(18), None, BootAction::BootServed { problems: None }),
            (BootPolicy::Require, Some(18), None, BootAction::BootServed { problems: Some(2) }),
            (BootPolicy::Require, Some(18), None, BootAction::Known { loaded: 18, problems: 0 }),
            (BootPolicy::Warn, None, None, BootAction::Known { loaded: 17, problems: 1 }),
            (
                BootPolicy::Require,
                None,
                None,
                BootAction::Impossible { why: "qemu is not installed".to_owned(), served: false },
            ),
        ]
        .map(|(policy, modules, on, action)| {
            let on = on.map(str::to_owned);
            planned_boot(&PlannedBoot { policy, kernel: kernel.clone(), modules, on, action })
        });
        insta::assert_snapshot!(lines.join("\n"), @r"
        kernel 5.14.0-427.el9.x86_64 with every module that is built, before they are published; what is not well is not published
        kernel 5.14.0-427.el9.x86_64 with 1 module on builder-3, before they are published; what is not well is told
        kernel 5.14.0-427.el9.x86_64 with 18 modules, as they are served: they were published without it
        kernel 5.14.0-427.el9.x86_64 with 18 modules, as they are served: the last time there were 2 problems
        kernel 5.14.0-427.el9.x86_64 was booted with what is served; 18 modules loaded
        kernel 5.14.0-427.el9.x86_64 was booted with what is served; 17 modules loaded, and there were 1 problem
        not from here: qemu is not installed
        ");
    }
}
