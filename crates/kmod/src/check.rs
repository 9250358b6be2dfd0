//! Puts a set of modules beside a kernel, and asks of every module what the kernel's loader asks.
//!
//! Source of the rules: `load_module` in `kernel/module/main.c` and what it calls (`simplify_symbols`,
//! `resolve_symbol`, `verify_exported_symbols`, `check_modinfo`), and `kernel/module/version.c`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use drivetrain_model::KernelRelease;
use serde::{Deserialize, Serialize};

use crate::order;
use crate::reference::KernelReference;
use crate::symvers::{KernelSymbol, SymbolTable};
use crate::verdict::{
    Finding, ModuleVerdict, Problem, Provider, SetFinding, SetProblem, SetVerdict, Severity,
};
use crate::{
    Export, Machine, Module, SymbolCrc, Undefined, Vermagic, module_name_of, namespace_names_module,
};

/// The symbol whose CRC stands for `struct module` and others that the loader itself shares with a module.
const MODULE_LAYOUT: &str = "module_layout";
/// What `Module.symvers` calls the kernel proper.
const VMLINUX: &str = "vmlinux";

/// How strictly a set is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VermagicPolicy {
    /// Fit to be published for a kernel: built for exactly its release, every symbol with a CRC.
    Exact,
    /// As the kernel decides: with `CONFIG_MODVERSIONS` it overlooks the release and goes by CRCs.
    AsKernel,
}

/// A module and the name of its file.
#[derive(Debug, Clone, Copy)]
pub struct NamedModule<'a> {
    /// The file's name or path: shown to people, and the module's name if it does not say one itself.
    pub file: &'a str,
    /// The module.
    pub module: &'a Module<'a>,
}

impl NamedModule<'_> {
    /// The name under which the kernel will know it.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        self.module.name().unwrap_or_else(|| Cow::Owned(module_name_of(self.file)))
    }
}

/// A kernel, as modules see it.
#[derive(Debug, Clone)]
pub struct KernelSymbols {
    /// Its release.
    pub release: KernelRelease,
    /// Whether only whoever asks says that it is this release: nothing of the kernel's files does.
    pub release_is_claimed: bool,
    /// Its `Module.symvers`, with the modules of its tree.
    pub symbols: SymbolTable,
    /// What a module of its tree tells, or its configuration; what neither tells (flags, machine, the size of
    /// `struct module`) is only compared within the set.
    pub reference: Option<KernelReference>,
    /// Its `CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS`: a namespace that is not imported is a warning.
    pub allow_missing_namespace_imports: bool,
}

impl KernelSymbols {
    /// A kernel of which the release and the symbols are known.
    #[must_use]
    pub fn new(release: KernelRelease, symbols: SymbolTable) -> Self {
        Self {
            release,
            release_is_claimed: false,
            symbols,
            reference: None,
            allow_missing_namespace_imports: false,
        }
    }

    /// Adds what a module of its tree or its configuration tells.
    #[must_use]
    pub fn with_reference(self, reference: KernelReference) -> Self {
        Self { reference: Some(reference), ..self }
    }
}

/// Would a kernel load these modules, whatever kernel they were built for?
#[must_use]
pub fn would_load(modules: &[NamedModule<'_>], kernel: &KernelSymbols) -> SetVerdict {
    check_set(modules, kernel, VermagicPolicy::AsKernel)
}

/// Judges a set of modules that is to be installed on a kernel together. The order in which they are handed
/// in does not matter; everything that is wrong is found, not the first thing only.
#[must_use]
pub fn check_set(modules: &[NamedModule<'_>], kernel: &KernelSymbols, policy: VermagicPolicy) -> SetVerdict {
    let set = Set::new(modules, kernel);
    let mut judged: Vec<Judged> = (0..set.modules.len()).map(|at| set.judge(at)).collect();
    let needs: Vec<BTreeSet<usize>> = judged.iter().map(|module| module.needs_set.clone()).collect();
    let sorted = order::sort(&needs);

    let in_tree_needed: BTreeSet<usize> =
        judged.iter().flat_map(|module| module.needs_in_tree.iter().copied()).collect();
    set.judge_clashes(&mut judged, &in_tree_needed);
    set.inherit(&mut judged, &sorted);

    let mut findings = set.judge_whole();
    findings.extend(sorted.cycles.iter().map(|cycle| SetFinding {
        severity: Severity::Fatal,
        problem: SetProblem::Cycle { modules: cycle.iter().map(|&at| set.name(at)).collect() },
    }));
    findings.sort();

    let mut verdicts: Vec<ModuleVerdict> =
        judged.into_iter().enumerate().map(|(at, module)| set.verdict(at, module)).collect();
    verdicts.sort();
    SetVerdict {
        kernel: kernel.release.clone(),
        policy,
        modules: verdicts,
        findings,
        load_order: sorted.order.iter().map(|&at| set.name(at)).collect(),
        in_tree_needed: set.in_tree_names(&in_tree_needed),
        shadows: set.in_tree_names(&(0..set.shadowed.len()).filter(|&at| set.shadowed[at]).collect()),
    }
}

/// A set and a kernel, with the indexes that judging takes.
struct Set<'a> {
    kernel: &'a KernelSymbols,
    /// Sorted by name, file and content, so that no answer depends on the order of the caller's list.
    modules: Vec<(Cow<'a, str>, &'a NamedModule<'a>)>,
    /// Who of the set exports a symbol: the first by name, should there be several.
    exporters: HashMap<&'a str, (usize, &'a Export<'a>)>,
    /// Symbols that modules of different names export.
    duplicates: BTreeMap<&'a str, BTreeSet<usize>>,
    /// By the kernel's numbering of its modules: those that the set replaces.
    shadowed: Vec<bool>,
    /// Whether the kernel compares CRCs.
    has_crcs: bool,
}

/// What a module says of itself, looked up once: a module may use thousands of symbols.
struct Facts<'a> {
    is_gpl: bool,
    /// The licence as people see it.
    license: Option<String>,
    in_tree: bool,
    imports: HashSet<Cow<'a, str>>,
}

impl<'a> Facts<'a> {
    fn of(module: &Module<'a>) -> Self {
        let license = module.modinfo().get("license");
        Self {
            is_gpl: module.is_gpl(),
            // It stands in every finding about it: a made-up one of a megabyte must not.
            license: license.map(|license| license.chars().take(80).collect()),
            in_tree: module.modinfo().get("intree").is_some(),
            imports: module.imported_namespaces().into_iter().collect(),
        }
    }

    fn may_use(&self, namespace: &str, module: &str) -> bool {
        namespace.is_empty()
            || self.imports.contains(namespace)
            || self.in_tree && namespace_names_module(namespace, module)
    }
}

/// What is known of a module while the set is being judged.
#[derive(Default)]
struct Judged {
    findings: Vec<Finding>,
    needs_set: BTreeSet<usize>,
    needs_in_tree: BTreeSet<usize>,
    symbols: usize,
    uses_gpl_only: bool,
    loads: bool,
}

impl Judged {
    fn add(&mut self, severity: Severity, problem: Problem) {
        self.findings.push(Finding { severity, problem });
    }
}

/// An exported symbol, whoever exports it.
struct Found<'a> {
    crc: Option<SymbolCrc>,
    gpl_only: bool,
    namespace: &'a str,
    by: FoundBy,
}

#[derive(Clone, Copy)]
enum FoundBy {
    Set(usize),
    Kernel(usize),
}

impl<'a> Set<'a> {
    fn new(modules: &'a [NamedModule<'a>], kernel: &'a KernelSymbols) -> Self {
        let mut modules: Vec<_> = modules.iter().map(|module| (module.name(), module)).collect();
        modules.sort_by(|(name_a, a), (name_b, b)| {
            (name_a, a.file, a.module.content()).cmp(&(name_b, b.file, b.module.content()))
        });
        let names: BTreeSet<&str> = modules.iter().map(|(name, _)| name.as_ref()).collect();
        let shadowed = kernel.symbols.modules().map(|name| name != VMLINUX && names.contains(name)).collect();
        let (exporters, duplicates) = index_exports(&modules);
        let has_crcs = kernel.symbols.has_crcs();
        Self { kernel, exporters, duplicates, shadowed, has_crcs, modules }
    }

    fn name(&self, at: usize) -> String {
        self.modules[at].0.clone().into_owned()
    }

    fn module(&self, at: usize) -> &'a Module<'a> {
        self.modules[at].1.module
    }

    fn in_tree_name(&self, at: usize) -> &'a str {
        self.kernel.symbols.module_name(at).unwrap_or(VMLINUX)
    }

    fn in_tree_names(&self, modules: &BTreeSet<usize>) -> Vec<String> {
        let names: BTreeSet<&str> = modules.iter().map(|&at| self.in_tree_name(at)).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    fn provider(&self, by: FoundBy) -> Provider {
        match by {
            FoundBy::Set(at) => Provider::Set { module: self.name(at) },
            FoundBy::Kernel(at) => Provider::Kernel {
                release: self.kernel.release.clone(),
                module: self.in_tree_name(at).to_owned(),
            },
        }
    }

    /// The kernel's own symbol of a name, from what the set leaves of it.
    fn in_kernel(&self, symbol: &str) -> Option<KernelSymbol<'a>> {
        self.kernel.symbols.all(symbol).find(|found| !self.shadowed[found.module_index])
    }

    /// Who offers a symbol to a module: another module of the set before the kernel's tree.
    fn find(&self, symbol: &str, user: usize) -> Option<Found<'a>> {
        if let Some(&(at, export)) = self.exporters.get(symbol).filter(|&&(at, _)| at != user) {
            let (crc, gpl_only, namespace) =
                (export.crc, export.gpl_only, export.namespace.unwrap_or_default());
            return Some(Found { crc, gpl_only, namespace, by: FoundBy::Set(at) });
        }
        self.in_kernel(symbol).map(|found| Found {
            crc: Some(found.crc),
            gpl_only: found.kind.is_gpl_only(),
            namespace: found.namespace,
            by: FoundBy::Kernel(found.module_index),
        })
    }

    /// Everything about a module that does not depend on how others fare.
    fn judge(&self, at: usize) -> Judged {
        let mut judged = Judged::default();
        self.judge_vermagic(at, &mut judged);
        self.judge_build(at, &mut judged);
        let facts = Facts::of(self.module(at));
        for undefined in self.module(at).undefined() {
            self.judge_symbol(at, undefined, &facts, &mut judged);
        }
        judged
    }

    fn judge_vermagic(&self, at: usize, judged: &mut Judged) {
        let module = self.module(at);
        let Some(text) = module.vermagic() else {
            judged.add(Severity::Fatal, Problem::NoVermagic);
            return;
        };
        let magic = Vermagic::parse(&text);
        if magic.release != self.kernel.release.as_str() {
            // `same_magic` overlooks the release if the kernel compares CRCs and the module has `__versions`.
            let overlooked = self.has_crcs && module.versions().has_basic();
            let problem =
                Problem::Release { built_for: magic.release.to_owned(), kernel: self.kernel.release.clone() };
            judged.add(if overlooked { Severity::Strict } else { Severity::Fatal }, problem);
        }
        let reference = self.kernel.reference.as_ref().filter(|reference| !reference.has_flags_of(&magic));
        if let Some(kernel) = reference.and_then(|reference| reference.flags.clone()) {
            judged.add(Severity::Fatal, Problem::Flags { module: magic.flags.to_owned(), kernel });
        }
    }

    /// How the module was built: machine, configuration, tables of CRCs.
    fn judge_build(&self, at: usize, judged: &mut Judged) {
        let module = self.module(at);
        if let Some(reference) = &self.kernel.reference {
            if let Some(kernel) = reference.machine.filter(|machine| *machine != module.machine()) {
                judged.add(Severity::Fatal, Problem::Machine { module: module.machine(), kernel });
            }
            let size = module.module_struct_size();
            if let Some(kernel) =
                reference.module_struct_size.filter(|_| reference.module_struct_size != size)
            {
                judged.add(Severity::Fatal, Problem::StructSize { module: size, kernel });
            }
        }
        for symbol in module.common() {
            judged.add(Severity::Fatal, Problem::Common { symbol: (*symbol).to_owned() });
        }
        if !self.has_crcs {
            return;
        }
        if !module.versions().are_present() {
            judged.add(Severity::Fatal, Problem::NoVersions);
        } else if let Some(layout) = self.in_kernel(MODULE_LAYOUT) {
            // `check_modstruct_version`: asked of every module before anything else.
            self.judge_crc(at, MODULE_LAYOUT, Some(layout.crc), FoundBy::Kernel(layout.module_index), judged);
        }
        let of = module.exports().len();
        let without = module.exports().iter().filter(|export| export.crc.is_none()).count();
        if without > 0 {
            // `check_export_symbol_versions` refuses a module without `__kcrctab`; with a gap in it, users of
            // that symbol go unchecked.
            let severity = if without == of { Severity::Fatal } else { Severity::Strict };
            judged.add(severity, Problem::ExportUnversioned { without, of });
        }
    }

    fn judge_symbol(&self, at: usize, undefined: &Undefined<'_>, facts: &Facts<'_>, judged: &mut Judged) {
        let module = self.module(at);
        let symbol = undefined.name;
        let Some(found) = self.find(symbol, at) else {
            if !undefined.weak {
                judged.symbols += 1;
                // Nobody is left who exports it, so whoever did is replaced.
                let replaced = self.kernel.symbols.get(symbol).map(|found| found.module.to_owned());
                let kernel = self.kernel.release.clone();
                judged.add(Severity::Fatal, Problem::Missing { symbol: symbol.to_owned(), kernel, replaced });
            }
            return;
        };
        judged.symbols += 1;
        match found.by {
            FoundBy::Set(other) => _ = judged.needs_set.insert(other),
            FoundBy::Kernel(other) if self.in_tree_name(other) == VMLINUX => {}
            FoundBy::Kernel(other) => _ = judged.needs_in_tree.insert(other),
        }
        judged.uses_gpl_only |= found.gpl_only;
        if self.has_crcs && module.versions().are_present() {
            self.judge_crc(at, symbol, found.crc, found.by, judged);
        }
        if found.gpl_only && !facts.is_gpl {
            let problem = Problem::GplOnly {
                symbol: symbol.to_owned(),
                license: facts.license.clone(),
                provider: self.provider(found.by),
            };
            judged.add(Severity::Fatal, problem);
        }
        // `verify_namespace_is_imported`.
        if !facts.may_use(found.namespace, &self.modules[at].0) {
            let problem = Problem::Namespace {
                symbol: symbol.to_owned(),
                namespace: found.namespace.to_owned(),
                provider: self.provider(found.by),
            };
            let allowed = self.kernel.allow_missing_namespace_imports;
            judged.add(if allowed { Severity::Warning } else { Severity::Fatal }, problem);
        }
    }

    /// `check_version`: a CRC that differs is refused, one that is missing is let through with a warning.
    fn judge_crc(&self, at: usize, symbol: &str, found: Option<SymbolCrc>, by: FoundBy, judged: &mut Judged) {
        let wanted = self.module(at).versions().get(symbol);
        match (wanted, found) {
            (Some(wanted), Some(found)) if wanted == found => {}
            (Some(wanted), Some(found)) => {
                let (symbol, provider) = (symbol.to_owned(), self.provider(by));
                judged.add(Severity::Fatal, Problem::Crc { symbol, wanted, found, provider });
            }
            _ => {
                let (symbol, provider) = (symbol.to_owned(), self.provider(by));
                judged.add(Severity::Strict, Problem::Unversioned { symbol, provider });
            }
        }
    }

    /// `verify_exported_symbols`: a symbol is exported once. What vmlinux exports is always there; an in-tree
    /// module is only in the way once it is loaded, which is certain if the set needs it.
    fn judge_clashes(&self, judged: &mut [Judged], in_tree_needed: &BTreeSet<usize>) {
        for (at, judged) in judged.iter_mut().enumerate() {
            for export in self.module(at).exports() {
                let Some(found) = self.in_kernel(export.name) else { continue };
                let certain = found.module == VMLINUX || in_tree_needed.contains(&found.module_index);
                let problem = Problem::ExportClash {
                    symbol: export.name.to_owned(),
                    provider: self.provider(FoundBy::Kernel(found.module_index)),
                };
                judged.add(if certain { Severity::Fatal } else { Severity::Strict }, problem);
            }
        }
    }

    /// What a module takes over from those that it needs: their failure, and their taint (`inherit_taint`).
    fn inherit(&self, judged: &mut [Judged], sorted: &order::Order) {
        let mut tainted: Vec<bool> = (0..judged.len()).map(|at| !self.module(at).is_gpl()).collect();
        for &at in &sorted.order {
            let needs: Vec<usize> = judged[at].needs_set.iter().copied().collect();
            for other in needs {
                if tainted[other] {
                    tainted[at] = true;
                    // A module that says itself that it is proprietary has its own finding for each symbol.
                    if judged[at].uses_gpl_only && self.module(at).is_gpl() {
                        judged[at].add(Severity::Fatal, Problem::Proprietary { module: self.name(other) });
                    }
                }
                if !judged[other].loads {
                    judged[at].add(Severity::Fatal, Problem::Dependency { module: self.name(other) });
                }
            }
            judged[at].loads = judged[at].findings.iter().all(|finding| finding.severity < Severity::Fatal);
        }
        // Not in the order: part of a cycle, which the set's findings name, or in need of one.
        let cyclic: BTreeSet<usize> = sorted.cycles.iter().flatten().copied().collect();
        let ordered: BTreeSet<usize> = sorted.order.iter().copied().collect();
        for at in (0..judged.len()).filter(|at| !ordered.contains(at) && !cyclic.contains(at)) {
            let needs: Vec<usize> =
                judged[at].needs_set.iter().copied().filter(|other| !ordered.contains(other)).collect();
            for other in needs {
                judged[at].add(Severity::Fatal, Problem::Dependency { module: self.name(other) });
            }
        }
    }

    /// What is wrong with the set as such, but for cycles.
    fn judge_whole(&self) -> Vec<SetFinding> {
        let mut problems = Vec::new();
        for same in self.modules.chunk_by(|(a, _), (b, _)| a == b).filter(|same| same.len() > 1) {
            problems.push(SetProblem::DuplicateModule {
                module: same[0].0.clone().into_owned(),
                files: same.iter().map(|(_, module)| module.file.to_owned()).collect(),
            });
        }
        problems.extend(self.duplicates.iter().map(|(symbol, modules)| {
            let modules: BTreeSet<String> = modules.iter().map(|&at| self.name(at)).collect();
            SetProblem::DuplicateExport {
                symbol: (*symbol).to_owned(),
                modules: modules.into_iter().collect(),
            }
        }));
        let flags: BTreeSet<String> = (0..self.modules.len())
            .filter_map(|at| self.module(at).vermagic())
            .map(|magic| Vermagic::parse(&magic).flags.to_owned())
            .collect();
        if flags.len() > 1 {
            problems.push(SetProblem::MixedFlags { flags: flags.into_iter().collect() });
        }
        let machines: BTreeSet<Machine> =
            (0..self.modules.len()).map(|at| self.module(at).machine()).collect();
        if machines.len() > 1 {
            problems.push(SetProblem::MixedMachines { machines: machines.into_iter().collect() });
        }
        let fatal = problems.into_iter().map(|problem| SetFinding { severity: Severity::Fatal, problem });
        // The kernel is what it is; only what is known of it is in doubt.
        let conflicts = self.kernel.symbols.conflicts().into_iter().map(|conflict| SetFinding {
            severity: Severity::Strict,
            problem: SetProblem::KernelConflict { conflict },
        });
        fatal.chain(conflicts).collect()
    }

    fn verdict(&self, at: usize, mut judged: Judged) -> ModuleVerdict {
        let (_, named) = &self.modules[at];
        let release = named.module.vermagic().map(|magic| Vermagic::parse(&magic).release.to_owned());
        let in_set = judged.needs_set.iter().map(|&other| self.name(other));
        let in_tree = self.in_tree_names(&judged.needs_in_tree);
        let needs: BTreeSet<String> = in_set.chain(in_tree).collect();
        judged.findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.problem.cmp(&b.problem)));
        ModuleVerdict {
            name: self.name(at),
            file: named.file.to_owned(),
            built_for: release.as_deref() == Some(self.kernel.release.as_str()),
            release,
            loads: judged.loads,
            symbols: judged.symbols,
            needs: needs.into_iter().collect(),
            findings: judged.findings,
        }
    }
}

type Exporters<'a> = HashMap<&'a str, (usize, &'a Export<'a>)>;
type Duplicates<'a> = BTreeMap<&'a str, BTreeSet<usize>>;

fn index_exports<'a>(modules: &[(Cow<'a, str>, &'a NamedModule<'a>)]) -> (Exporters<'a>, Duplicates<'a>) {
    let count = modules.iter().map(|(_, module)| module.module.exports().len()).sum();
    let mut exporters = HashMap::with_capacity(count);
    let mut duplicates: Duplicates<'a> = BTreeMap::new();
    for (at, (name, module)) in modules.iter().enumerate() {
        for export in module.module.exports() {
            let &mut (first, _) = exporters.entry(export.name).or_insert((at, export));
            // Two modules of one name are one finding, not one for each symbol.
            if first != at && modules[first].0 != *name {
                duplicates.entry(export.name).or_insert_with(|| BTreeSet::from([first])).insert(at);
            }
        }
    }
    (exporters, duplicates)
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
