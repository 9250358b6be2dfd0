//! The answer: does a set of modules load on a kernel, and if not, why.

use std::fmt;

use drivetrain_model::KernelRelease;
use serde::{Deserialize, Serialize};

use crate::check::VermagicPolicy;
use crate::{Machine, SymbolCrc};

/// What a finding means for the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The kernel takes the module; somebody may want to know.
    Warning,
    /// The kernel takes the module, but a set that is published must not have it.
    Strict,
    /// The kernel refuses the module.
    Fatal,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Strict => "not publishable",
            Self::Fatal => "does not load",
        })
    }
}

/// Who exports a symbol.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// The kernel, or a module of its tree.
    Kernel {
        /// The kernel.
        release: KernelRelease,
        /// `vmlinux`, or the module's name.
        module: String,
    },
    /// Another module of the set.
    Set {
        /// Its name.
        module: String,
    },
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel { release, module } => write!(f, "kernel {release} ({module})"),
            Self::Set { module } => write!(f, "the set's {module}"),
        }
    }
}

/// What is wrong with one module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "kebab-case")]
pub enum Problem {
    /// Built for another kernel.
    Release {
        /// The release in its version magic.
        built_for: String,
        /// The one asked about.
        kernel: KernelRelease,
    },
    /// The flags of the version magic differ.
    Flags {
        /// The module's.
        module: String,
        /// The kernel's.
        kernel: String,
    },
    /// No version magic at all: only force loads it.
    NoVermagic,
    /// For another machine.
    Machine {
        /// The module's.
        module: Machine,
        /// The kernel's.
        kernel: Machine,
    },
    /// `struct module` has another size: the module was built for another configuration.
    StructSize {
        /// The module's.
        module: Option<u64>,
        /// The kernel's.
        kernel: u64,
    },
    /// No table of CRCs, where the kernel checks them: only force loads it.
    NoVersions,
    /// A symbol that nobody offers.
    Missing {
        /// The symbol.
        symbol: String,
        /// The kernel asked about.
        kernel: KernelRelease,
        /// An in-tree module did offer it, and the set replaces that module without offering it.
        replaced: Option<String>,
    },
    /// A symbol with another CRC.
    Crc {
        /// The symbol.
        symbol: String,
        /// What the module was built against.
        wanted: SymbolCrc,
        /// What there is.
        found: SymbolCrc,
        /// Who exports it.
        provider: Provider,
    },
    /// A symbol for which the module has no CRC, or its exporter none: the kernel only warns.
    Unversioned {
        /// The symbol.
        symbol: String,
        /// Who exports it.
        provider: Provider,
    },
    /// A symbol of a namespace that the module does not import.
    Namespace {
        /// The symbol.
        symbol: String,
        /// Its namespace.
        namespace: String,
        /// Who exports it.
        provider: Provider,
    },
    /// A GPL-only symbol used by a module that is not compatible with the GPL.
    GplOnly {
        /// The symbol.
        symbol: String,
        /// The module's licence.
        license: Option<String>,
        /// Who exports it.
        provider: Provider,
    },
    /// GPL-only symbols used beside those of a proprietary module, whose taint the module inherits.
    Proprietary {
        /// The proprietary module of the set.
        module: String,
    },
    /// Symbols that only a linker could place.
    Common {
        /// One of them.
        symbol: String,
    },
    /// Exports without a CRC, where the kernel checks them.
    ExportUnversioned {
        /// How many of its exports have none.
        without: usize,
        /// How many there are.
        of: usize,
    },
    /// It exports what the kernel or an in-tree module exports already.
    ExportClash {
        /// The symbol.
        symbol: String,
        /// Who exports it.
        provider: Provider,
    },
    /// It needs a module of the set that does not load itself.
    Dependency {
        /// That module.
        module: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release { built_for, kernel } => {
                write!(f, "built for kernel {built_for}, not for {kernel}")
            }
            Self::Flags { module, kernel } => {
                write!(f, "version magic: module has {module:?}, kernel has {kernel:?}")
            }
            Self::NoVermagic => f.write_str("no version magic"),
            Self::Machine { module, kernel } => write!(f, "built for {module}, kernel is {kernel}"),
            Self::StructSize { module: Some(module), kernel } => {
                write!(f, "struct module: module has {module} bytes, kernel has {kernel}")
            }
            Self::StructSize { module: None, kernel } => {
                write!(f, "struct module: module has none, kernel has {kernel} bytes")
            }
            Self::NoVersions => f.write_str("no symbol versions, and the kernel checks them"),
            Self::Missing { symbol, kernel, replaced: None } => {
                write!(f, "symbol {symbol}: neither kernel {kernel} nor the set has it")
            }
            Self::Missing { symbol, kernel, replaced: Some(module) } => write!(
                f,
                "symbol {symbol}: kernel {kernel} has it in {module}, which the set replaces by one without it"
            ),
            Self::Crc { symbol, wanted, found, provider: Provider::Kernel { release, module } } => write!(
                f,
                "symbol {symbol}: module wants CRC {wanted}, kernel {release} has {found} ({module})"
            ),
            Self::Crc { symbol, wanted, found, provider } => {
                write!(f, "symbol {symbol}: module wants CRC {wanted}, {provider} has {found}")
            }
            Self::Unversioned { symbol, provider } => {
                write!(f, "symbol {symbol}: no CRC to compare with {provider}")
            }
            Self::Namespace { symbol, namespace, provider } => write!(
                f,
                "symbol {symbol}: module does not import its namespace {namespace}, and {provider} demands it"
            ),
            Self::GplOnly { symbol, license, provider } => {
                write!(f, "symbol {symbol}: GPL-only in {provider}, and the module's licence is ")?;
                match license {
                    Some(license) => write!(f, "{license:?}"),
                    None => f.write_str("not stated"),
                }
            }
            Self::Proprietary { module } => {
                write!(f, "uses GPL-only symbols and symbols of {module}, which is proprietary")
            }
            Self::Common { symbol } => write!(f, "symbol {symbol}: common, build with -fno-common"),
            Self::ExportUnversioned { without, of } => {
                write!(f, "{without} of its {of} exported symbols have no CRC")
            }
            Self::ExportClash { symbol, provider } => {
                write!(f, "symbol {symbol}: exported by the module and by {provider}")
            }
            Self::Dependency { module } => write!(f, "needs {module} of the set, which does not load"),
        }
    }
}

/// A problem and what it means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// What it means.
    pub severity: Severity,
    /// What it is.
    #[serde(flatten)]
    pub problem: Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.problem)
    }
}

/// What is wrong with the set as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "kebab-case")]
pub enum SetProblem {
    /// Two files are the same module to the kernel.
    DuplicateModule {
        /// The module.
        module: String,
        /// The files.
        files: Vec<String>,
    },
    /// Two modules export the same symbol: whichever comes second is refused.
    DuplicateExport {
        /// The symbol.
        symbol: String,
        /// The modules.
        modules: Vec<String>,
    },
    /// Modules that need each other: none can be first.
    Cycle {
        /// The modules.
        modules: Vec<String>,
    },
    /// Modules of one set with different version magic: no kernel has both.
    MixedFlags {
        /// The flags.
        flags: Vec<String>,
    },
    /// Modules of one set for different machines.
    MixedMachines {
        /// The machines.
        machines: Vec<Machine>,
    },
    /// The kernel's own table says two things of a symbol: it is not of one kernel.
    KernelConflict {
        /// The conflict.
        #[serde(flatten)]
        conflict: crate::CrcConflict,
    },
}

impl fmt::Display for SetProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateModule { module, files } => {
                write!(f, "module {module} is in the set {} times: {}", files.len(), files.join(", "))
            }
            Self::DuplicateExport { symbol, modules } => {
                write!(f, "symbol {symbol}: exported by {}", modules.join(" and "))
            }
            Self::Cycle { modules } => write!(f, "modules need each other: {}", modules.join(", ")),
            Self::MixedFlags { flags } => {
                write!(f, "modules of different version magic: ")?;
                separated(f, flags.iter().map(|flags| format!("{flags:?}")))
            }
            Self::MixedMachines { machines } => {
                write!(f, "modules for different machines: ")?;
                separated(f, machines.iter())
            }
            Self::KernelConflict { conflict } => write!(f, "kernel's table: {conflict}"),
        }
    }
}

fn separated<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = T>) -> fmt::Result {
    for (at, item) in items.enumerate() {
        write!(f, "{}{item}", if at == 0 { "" } else { ", " })?;
    }
    Ok(())
}

/// A problem of the set and what it means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetFinding {
    /// What it means.
    pub severity: Severity,
    /// What it is.
    #[serde(flatten)]
    pub problem: SetProblem,
}

impl fmt::Display for SetFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.problem)
    }
}

/// The answer for one module of the set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModuleVerdict {
    /// The kernel's name for it.
    pub name: String,
    /// The file, as the caller names it.
    pub file: String,
    /// The release in its version magic.
    pub release: Option<String>,
    /// Whether that is the kernel asked about.
    pub built_for: bool,
    /// Whether the kernel takes it, and everything of the set that it needs.
    pub loads: bool,
    /// How many symbols it needs; weak ones that nobody offers are not among them.
    pub symbols: usize,
    /// The modules that it takes symbols from, of the set and of the kernel's tree.
    pub needs: Vec<String>,
    /// Everything that is wrong with it.
    pub findings: Vec<Finding>,
}

/// The answer for a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetVerdict {
    /// The kernel asked about.
    pub kernel: KernelRelease,
    /// What was asked: to publish, or to load.
    pub policy: VermagicPolicy,
    /// Every module, by name.
    pub modules: Vec<ModuleVerdict>,
    /// Everything that is wrong with the set as such.
    pub findings: Vec<SetFinding>,
    /// The modules of the set, each after those that it needs; of several that could be next, the first by
    /// name. Modules that need each other, and what needs them, are not in it.
    pub load_order: Vec<String>,
    /// The modules of the kernel's tree that modules of the set take symbols from. What those need in turn is
    /// not in `Module.symvers`, so not here.
    pub in_tree_needed: Vec<String>,
    /// The modules of the kernel's tree that the set replaces, of those that export symbols.
    pub shadows: Vec<String>,
}

impl SetVerdict {
    /// Whether the set is what the policy asks for: nothing fatal, and under [`VermagicPolicy::Exact`] nothing
    /// that a published set must not have.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let bad = match self.policy {
            VermagicPolicy::Exact => Severity::Strict,
            VermagicPolicy::AsKernel => Severity::Fatal,
        };
        self.severities().all(|severity| severity < bad)
    }

    /// Says that modules may have been built for another kernel than the one asked about, where that kernel overlooks it:
    /// what is left of them is told and does no harm. `allowed` is asked for the kernel that a module, by its place in
    /// [`SetVerdict::modules`], may have been built for.
    pub fn allow_built_for(&mut self, allowed: impl Fn(usize) -> Option<KernelRelease>) {
        for (at, module) in self.modules.iter_mut().enumerate() {
            let Some(kernel) = allowed(at) else { continue };
            for finding in &mut module.findings {
                let is_it = matches!(&finding.problem, Problem::Release { built_for, .. } if built_for == kernel.as_str());
                if is_it && finding.severity == Severity::Strict {
                    finding.severity = Severity::Warning;
                }
            }
        }
    }

    /// Whether the kernel takes every module of the set, whatever the policy.
    #[must_use]
    pub fn loads(&self) -> bool {
        self.severities().all(|severity| severity < Severity::Fatal)
    }

    /// Whether every module was built for the kernel asked about.
    #[must_use]
    pub fn built_for(&self) -> bool {
        self.modules.iter().all(|module| module.built_for)
    }

    /// The modules that the kernel does not take.
    pub fn refused(&self) -> impl Iterator<Item = &ModuleVerdict> {
        self.modules.iter().filter(|module| !module.loads)
    }

    fn severities(&self) -> impl Iterator<Item = Severity> + '_ {
        let modules = self.modules.iter().flat_map(|module| module.findings.iter());
        modules.map(|finding| finding.severity).chain(self.findings.iter().map(|finding| finding.severity))
    }
}

/// One line for the set and one for each finding.
impl fmt::Display for SetVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, kernel) = (self.modules.len(), &self.kernel);
        let refused = self.refused().count();
        match (refused, self.is_good()) {
            (0, true) => write!(f, "all {count} modules load on kernel {kernel}")?,
            (0, false) if self.loads() => {
                write!(
                    f,
                    "all {count} modules load on kernel {kernel}, but are not fit to be published for it"
                )?;
            }
            (0, false) => write!(f, "the {count} modules do not load together on kernel {kernel}")?,
            _ => write!(f, "{refused} of {count} modules do not load on kernel {kernel}")?,
        }
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        for module in &self.modules {
            for finding in &module.findings {
                write!(f, "\n  {}: {finding}", module.name)?;
            }
        }
        Ok(())
    }
}
