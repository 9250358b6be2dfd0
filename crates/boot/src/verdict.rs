//! What a boot test says.

use std::collections::BTreeMap;
use std::time::Duration;

use drivetrain_host::Acceleration;
use drivetrain_model::{KernelRelease, ModuleResult};
use serde::{Deserialize, Serialize};

use crate::image::GeneratedImage;
use crate::install::Installed;
use crate::protocol::Fact;
use crate::qemu::{How, Ran};
use crate::text::last_lines;

/// How many lines of the console stand in a verdict where a machine went down.
const CONSOLE_LINES: usize = 30;
/// How many lines of the kernel's words stand in one problem.
const WORDS: usize = 3;
/// `EEXIST`.
const EXISTS: &str = "(os error 17)";
/// What the kernel says where something is wrong, whatever became of the module.
const ALARMS: [&str; 9] = [
    "WARNING:",
    "BUG:",
    "Oops:",
    "UBSAN:",
    "general protection fault",
    "Kernel panic",
    "Out of memory",
    "INFO: task",
    "soft lockup",
];
/// What a kernel says that has not enough memory, with or without a first process.
const NO_MEMORY: [&str; 6] = [
    "Out of memory",
    "System is deadlocked on memory",
    "out of memory",
    "Cannot allocate memory",
    "write error",
    "rootfs image is not initramfs",
];

/// What became of a boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootVerdict {
    /// The kernel that was to be booted.
    pub kernel: KernelRelease,
    /// How the packages came into the tree that was booted.
    pub installed: Installed,
    /// What ran it.
    pub acceleration: Acceleration,
    /// The machine that QEMU ran on; absent where that was the host of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Memory, in MiB.
    pub memory: u32,
    /// How long the machine was up, in milliseconds.
    pub ms: u64,
    /// After how long the agent ran, by the guest's own clock; absent where it never did.
    pub booted_ms: Option<u64>,
    /// Whether the kernel loads signed modules alone; absent where it does not say.
    pub sig_enforce: Option<bool>,
    /// How the machine ended.
    pub ending: Ending,
    /// The kernel's taint at the end, as a number.
    pub tainted: Option<u64>,
    /// Every module that was to be loaded, in the order of loading.
    pub modules: Vec<BootedModule>,
    /// Whether they do what they are for; absent where nothing tries that.
    pub functional: Option<FunctionalCheck>,
    /// The initramfs that the installed system makes for itself; absent where it makes none.
    pub image: Option<GeneratedImage>,
    /// What is worth knowing and holds nothing up.
    pub warnings: Vec<String>,
    /// What is wrong. Nothing, where the boot was well.
    pub problems: Vec<String>,
}

/// How a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The agent did all that it was asked, and switched it off.
    Finished,
    /// It went down before.
    WentDown,
    /// It was killed at its deadline.
    TimedOut,
    /// It was killed because it filled its console.
    TooLoud,
}

/// A module in a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootedModule {
    /// The kernel's name for it.
    pub name: String,
    /// Whether it is one of those to publish, and not one that they need.
    pub ours: bool,
    /// The package to publish that it is in.
    pub package: Option<String>,
    /// The file that it was loaded from, below `/lib/modules/RELEASE`.
    pub path: String,
    /// What became of it.
    pub result: ModuleResult,
    /// How long that took, in milliseconds.
    pub ms: Option<u64>,
    /// The digest of its sources, as the file has it.
    pub srcversion: Option<String>,
    /// The same, as the kernel says of what it loaded.
    pub loaded_srcversion: Option<String>,
    /// What the linker called it, as the file has it.
    pub build_id: Option<String>,
    /// The same, as the kernel says of what it loaded.
    pub loaded_build_id: Option<String>,
    /// Who signed it, as it says; absent where nobody did.
    pub signer: Option<String>,
    /// What the kernel is tainted with by it: `OE` is out of tree and unsigned.
    pub taint: Option<String>,
    /// The kernel's own words while it was loaded.
    pub said: Vec<String>,
}

/// Whether the modules do what they are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionalCheck {
    /// What was tried.
    pub name: String,
    /// What was done, in this order.
    pub steps: Vec<Step>,
    /// What the device counted.
    pub counters: Vec<Counter>,
}

/// A step of a functional check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is meant to be.
    pub step: String,
    /// Whether it is.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// What was said.
    pub said: Vec<String>,
}

/// A counter before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// Its name.
    pub counter: String,
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

/// A line on a functional check: `RDMA over Ethernet in software: 13 steps, sent_pkts 0 to 2069`.
#[must_use]
pub fn summary_of_check(check: &FunctionalCheck) -> String {
    let counters: Vec<String> = check
        .counters
        .iter()
        .map(|counter| format!("{} from {} to {}", counter.counter, counter.before, counter.after))
        .collect();
    let steps = check.steps.len();
    let what = if counters.is_empty() { String::new() } else { format!("; {}", counters.join(", ")) };
    format!("{}: {} of {steps} steps{what}", check.name, check.steps.iter().filter(|step| step.ok).count())
}

impl BootVerdict {
    /// What ran it, in words: `KVM on builder-3`.
    #[must_use]
    pub fn by(&self) -> String {
        match &self.on {
            Some(machine) => format!("{} on {machine}", self.acceleration),
            None => self.acceleration.to_string(),
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    /// The modules to publish.
    pub fn ours(&self) -> impl Iterator<Item = &BootedModule> {
        self.modules.iter().filter(|module| module.ours)
    }
}

/// What is known before the boot.
#[derive(Debug)]
pub(crate) struct Before {
    pub kernel: KernelRelease,
    pub installed: Installed,
    pub memory: u32,
    pub timeout: Duration,
    pub step_timeout: Duration,
    /// As they are to be loaded; their results are filled in.
    pub modules: Vec<BootedModule>,
    /// Whether the functional check was asked of the guest.
    pub checks: bool,
    pub image: Option<GeneratedImage>,
    pub warnings: Vec<String>,
    pub problems: Vec<String>,
}

impl BootedModule {
    /// One that nothing is known of yet, but where it is.
    pub(crate) fn untold(name: &str, path: &str) -> Self {
        Self {
            name: name.to_owned(),
            ours: false,
            package: None,
            path: path.to_owned(),
            result: ModuleResult::NotTried { why: "the machine never came to it".to_owned() },
            ms: None,
            srcversion: None,
            loaded_srcversion: None,
            build_id: None,
            loaded_build_id: None,
            signer: None,
            taint: None,
            said: Vec::new(),
        }
    }
}

/// The name of the one check that there is.
const CHECK: &str = "RDMA over Ethernet in software";

/// Judges what a guest said, and what it did not.
pub(crate) fn judge(before: Before, ran: &Ran, facts: Vec<Fact>, console: &[u8]) -> BootVerdict {
    let functional =
        before.checks.then(|| FunctionalCheck { name: CHECK.to_owned(), steps: vec![], counters: vec![] });
    let mut judge = Judge {
        verdict: BootVerdict {
            kernel: before.kernel,
            installed: before.installed,
            acceleration: ran.acceleration,
            on: ran.on.clone(),
            memory: before.memory,
            ms: u64::try_from(ran.elapsed.as_millis()).unwrap_or(u64::MAX),
            booted_ms: None,
            sig_enforce: None,
            ending: match ran.how {
                How::Off => Ending::WentDown,
                How::Deadline => Ending::TimedOut,
                How::TooLoud => Ending::TooLoud,
            },
            tainted: None,
            modules: before.modules,
            functional,
            image: before.image,
            warnings: before.warnings,
            problems: before.problems,
        },
        positions: BTreeMap::new(),
        open: None,
        console,
        timeout: before.timeout,
        step_timeout: before.step_timeout,
    };
    judge.positions =
        judge.verdict.modules.iter().enumerate().map(|(at, module)| (module.name.clone(), at)).collect();
    for fact in facts {
        judge.take(fact);
    }
    judge.finish()
}

struct Judge<'c> {
    verdict: BootVerdict,
    /// Where each module is.
    positions: BTreeMap<String, usize>,
    /// The module that is being loaded.
    open: Option<String>,
    console: &'c [u8],
    timeout: Duration,
    step_timeout: Duration,
}

impl Judge<'_> {
    fn take(&mut self, fact: Fact) {
        match fact {
            Fact::Booted { release, uptime_ms, sig_enforce, .. } => {
                self.verdict.booted_ms = Some(uptime_ms);
                self.verdict.sig_enforce = sig_enforce;
                if release != self.verdict.kernel.as_str() {
                    let wanted = &self.verdict.kernel;
                    self.problem(format!("the kernel that booted is {release}, and not {wanted}"));
                }
            }
            Fact::Unable { why } => self.problem(format!("the guest cannot do what it was asked: {why}")),
            Fact::Loading { module } => self.open = Some(module),
            Fact::Loaded { module, ms, srcversion, build_id, taint, said } => {
                self.set(&module, ModuleResult::Loaded, Some(ms), said);
                if let Some(module) = self.module(&module) {
                    module.loaded_srcversion = srcversion;
                    module.loaded_build_id = build_id;
                    module.taint = taint.filter(|taint| !taint.is_empty());
                }
            }
            Fact::Refused { module, ms, error, said } => {
                let ours = self.module(&module).is_some_and(|module| module.ours);
                let is_there = error.ends_with(EXISTS) && !ours;
                let result =
                    if is_there { ModuleResult::AlreadyThere } else { ModuleResult::Refused { error } };
                self.set(&module, result, Some(ms), said);
            }
            Fact::Died { module, ms, how, said } => {
                let how = format!("the process that loads it {how}");
                self.set(&module, ModuleResult::Died { how }, Some(ms), said);
            }
            Fact::Hangs { module, ms, stack, mut said } => {
                said.extend(stack.into_iter().map(|line| format!("it is at {line}")));
                self.set(&module, ModuleResult::Hangs, Some(ms), said);
            }
            Fact::NotTried { module, why } => {
                self.set(&module, ModuleResult::NotTried { why }, None, Vec::new());
            }
            Fact::Step { step, ok, ms, said } => {
                if let Some(check) = &mut self.verdict.functional {
                    check.steps.push(Step { step, ok, ms, said });
                }
            }
            Fact::Counter { counter, before, after } => {
                if let Some(check) = &mut self.verdict.functional {
                    check.counters.push(Counter { counter, before, after });
                }
            }
            Fact::Finished { tainted, said, .. } => {
                self.verdict.tainted = Some(tainted);
                if self.verdict.ending == Ending::WentDown {
                    self.verdict.ending = Ending::Finished;
                }
                self.alarms("after the modules were loaded", &said);
            }
        }
    }

    fn module(&mut self, name: &str) -> Option<&mut BootedModule> {
        self.verdict.modules.get_mut(*self.positions.get(name)?)
    }

    fn set(&mut self, name: &str, result: ModuleResult, ms: Option<u64>, said: Vec<String>) {
        if self.open.as_deref() == Some(name) {
            self.open = None;
        }
        if let Some(module) = self.module(name) {
            module.result = result;
            module.ms = ms;
            module.said = said;
        }
    }

    fn problem(&mut self, problem: String) {
        self.verdict.problems.push(problem);
    }

    fn alarms(&mut self, when: &str, said: &[String]) {
        if let Some(line) = said.iter().find(|line| ALARMS.iter().any(|alarm| line.contains(alarm))) {
            self.verdict.warnings.push(format!("{when} the kernel says: {line}"));
        }
    }

    fn finish(mut self) -> BootVerdict {
        if self.verdict.booted_ms.is_none() {
            self.never_booted();
            return self.verdict;
        }
        if let Some(name) = self.open.take() {
            self.went_down_with(&name);
        }
        self.judge_modules();
        self.judge_end();
        self.judge_check();
        self.verdict
    }

    /// The module that was being loaded when the machine ended.
    fn went_down_with(&mut self, name: &str) {
        let mark = format!("drivetrain: loading {name}");
        let text = String::from_utf8_lossy(self.console).into_owned();
        let behind = text.rfind(&mark).map_or("", |at| &text[at + mark.len()..]);
        // The first words of a kernel that goes down say why; the last are registers.
        let said: Vec<String> = behind
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .take(CONSOLE_LINES)
            .map(|line| crate::text::printable(without_time(line)))
            .collect();
        let result = match self.verdict.ending {
            Ending::TimedOut => ModuleResult::Hangs,
            _ => ModuleResult::Died { how: "the whole machine went down".to_owned() },
        };
        self.set(name, result, None, said);
    }

    fn judge_modules(&mut self) {
        for at in 0..self.verdict.modules.len() {
            let module = self.verdict.modules[at].clone();
            let name = &module.name;
            let whose = if module.ours { String::new() } else { ", which is needed".to_owned() };
            match &module.result {
                ModuleResult::Loaded => {
                    self.judge_identity(&module);
                    self.alarms(&format!("while {name} was loaded"), &module.said);
                }
                ModuleResult::AlreadyThere => {}
                ModuleResult::Refused { error } => {
                    let words = words(&module.said);
                    self.problem(format!("{name}{whose}: the kernel refuses it: {error}{words}"));
                }
                ModuleResult::Died { how } => {
                    let words = words(&module.said);
                    self.problem(format!("{name}{whose}: it breaks the kernel, {how}{words}"));
                }
                ModuleResult::Hangs => {
                    let limit = if module.ms.is_some() { self.step_timeout } else { self.timeout };
                    let words = words(&module.said);
                    let seconds = limit.as_secs();
                    self.problem(format!("{name}{whose}: it hangs: not loaded after {seconds} s{words}"));
                }
                ModuleResult::NotTried { why } => self.problem(format!("{name}{whose}: not tried: {why}")),
            }
        }
    }

    /// That what the kernel says of a module is what its file says.
    fn judge_identity(&mut self, module: &BootedModule) {
        let facts = [
            ("srcversion", &module.srcversion, &module.loaded_srcversion),
            ("build id", &module.build_id, &module.loaded_build_id),
        ];
        for (what, file, kernel) in facts {
            if let (Some(file), Some(kernel)) = (file, kernel)
                && file != kernel
            {
                let (name, path) = (&module.name, &module.path);
                self.problem(format!(
                    "{name}: what the kernel loaded has the {what} {kernel}, and {path} has {file}"
                ));
            }
        }
    }

    fn judge_end(&mut self) {
        let seconds = self.timeout.as_secs();
        match self.verdict.ending {
            Ending::Finished => {}
            Ending::WentDown => self.problem(format!("the machine went down: {}", self.last_words())),
            Ending::TimedOut => self.problem(format!(
                "the machine was not done within {seconds} s, and was killed: raise prove.timeout where it is only slow"
            )),
            Ending::TooLoud => self.problem("the machine filled its console, and was killed".to_owned()),
        }
        if self.verdict.problems.is_empty() {
            return;
        }
        self.judge_memory();
    }

    /// Where a kernel complains of memory, that is what to change.
    fn judge_memory(&mut self) {
        let text = String::from_utf8_lossy(self.console);
        if let Some(line) = text.lines().find(|line| NO_MEMORY.iter().any(|word| line.contains(word))) {
            let line = crate::text::printable(without_time(line.trim()));
            let memory = self.verdict.memory;
            self.problem(format!("{memory} MiB of memory are too little ({line}): raise prove.memory"));
        }
    }

    fn judge_check(&mut self) {
        let Some(check) = self.verdict.functional.clone() else { return };
        let failed = check.steps.iter().find(|step| !step.ok);
        if let Some(step) = failed {
            let kernel = check.steps.iter().filter(|other| !other.ok).skip(1).flat_map(|other| &other.said);
            let said: Vec<String> = step.said.iter().chain(kernel).cloned().collect();
            self.problem(format!("{}: not so: {}{}", check.name, step.step, words(&said)));
        } else if check.steps.is_empty() {
            if self.verdict.problems.is_empty() {
                self.problem(format!("{}: it was not tried", check.name));
            }
        } else if let Some(still) = check.counters.iter().find(|counter| counter.after <= counter.before) {
            let problem = format!("{}: messages went, and {} counted nothing", check.name, still.counter);
            self.problem(problem);
        }
    }

    fn never_booted(&mut self) {
        let kernel = self.verdict.kernel.clone();
        let seconds = self.timeout.as_secs();
        let how = match self.verdict.ending {
            Ending::TimedOut => format!("did not come up within {seconds} s"),
            Ending::TooLoud => "filled its console before it came up".to_owned(),
            Ending::Finished | Ending::WentDown => "went down before it came up".to_owned(),
        };
        self.problem(format!("the kernel {kernel} {how}: {}", self.last_words()));
        if self.console.is_empty() && self.verdict.ending == Ending::WentDown {
            let memory = self.verdict.memory;
            self.problem(format!(
                "{memory} MiB of memory are too little to unpack the kernel, or its image is damaged: raise prove.memory"
            ));
        }
        self.judge_memory();
    }

    /// Why the kernel went down, or what it said last.
    fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(self.console);
        let panic = text.lines().find(|line| line.contains("Kernel panic"));
        let words = panic.map(|line| crate::text::printable(without_time(line.trim())));
        let words = words.or_else(|| last_lines(self.console, 1).pop());
        words.map_or_else(
            || "it said nothing on its console".to_owned(),
            |line| format!("its console says {:?}", without_time(&line)),
        )
    }
}

/// The first lines of what the kernel said, those that tell most before the others.
fn words(said: &[String]) -> String {
    let is_telling = |line: &&String| {
        let telling =
            ["disagrees", "Unknown symbol", "magic", "rejected", "BUG", "Oops", "Key", "panic", "it is at"];
        telling.iter().any(|word| line.contains(word))
    };
    // Every module that is out of tree is told of so.
    let said =
        || said.iter().filter(|line| !line.contains("taints kernel") && !line.contains("tainting kernel"));
    let telling = said().filter(is_telling);
    let others = said().filter(|line| !is_telling(line));
    let lines: Vec<&str> = telling.chain(others).take(WORDS).map(String::as_str).collect();
    if lines.is_empty() { String::new() } else { format!(" ({})", lines.join("; ")) }
}

/// A line of the console without the time that it begins with.
fn without_time(line: &str) -> &str {
    line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(line, |(_, rest)| rest)
}

#[cfg(test)]
mod tests;
