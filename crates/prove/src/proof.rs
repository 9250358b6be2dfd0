//! Modules beside a kernel.

use std::collections::BTreeMap;
use std::fmt;

use drivetrain_kmod::{
    KernelReference, KernelSymbols, Module, ModuleVerdict, NamedModule, SetVerdict, VermagicPolicy, check_set,
};
use drivetrain_model::{KernelRelease, Sha256Digest};
use serde::{Deserialize, Serialize};

use crate::{ModuleFile, ProveError, parallel};

/// The answer for a set of modules, and what exactly it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The answer.
    pub verdict: SetVerdict,
    /// The modules, in the order of [`SetVerdict::modules`].
    pub modules: Vec<ProvenModule>,
    /// How many symbols that modules need were looked up, weak ones included.
    pub symbols: usize,
    /// What the modules were compared with beside the kernel's symbols: flags of the version magic, machine, size
    /// of `struct module`. What is not known of these was only compared within the set.
    pub reference: Option<KernelReference>,
    /// Whether the kernel's release is only what whoever asked says of the table of symbols.
    #[serde(default)]
    pub release_is_claimed: bool,
}

/// A module that was judged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProvenModule {
    /// The kernel's name for it.
    pub name: String,
    /// The RPM that it is in, as [`ModuleFile::package`].
    pub package: Option<String>,
    /// Where the RPM installs it, or the path of its file.
    pub path: String,
    /// The digest of its content, without a signature.
    pub digest: Sha256Digest,
}

impl ProvenModule {
    /// What is known of a module without a verdict.
    ///
    /// # Errors
    /// Where it is none.
    pub fn of(file: &ModuleFile) -> Result<Self, ProveError> {
        Parsed::of(file).map(|parsed| parsed.proven)
    }
}

impl Proof {
    /// Every module with the answer for it, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&ProvenModule, &ModuleVerdict)> {
        self.modules.iter().zip(&self.verdict.modules)
    }

    /// Says which packages, by their files' names, have modules of another kernel's build: these are as good where the
    /// kernel overlooks for which one they were built.
    pub fn allow_repackaged(&mut self, packages: &BTreeMap<String, KernelRelease>) {
        let modules = &self.modules;
        let built_for = |at: usize| packages.get(modules.get(at)?.package.as_ref()?).cloned();
        self.verdict.allow_built_for(built_for);
    }

    /// What the kernel's loader compares and nothing at hand told of the kernel, in words; `None` where it was
    /// told.
    #[must_use]
    pub fn untold(&self) -> Option<&'static str> {
        let known = |fact: fn(&KernelReference) -> bool| self.reference.as_ref().is_some_and(fact);
        match (known(|kernel| kernel.flags.is_some()), known(|kernel| kernel.machine.is_some())) {
            (true, true) => None,
            (true, false) => Some("the machine"),
            (false, true) => Some("the flags of the version magic"),
            (false, false) => Some("the flags of the version magic and the machine"),
        }
    }
}

/// The verdict: a line for the set and one for each finding, with both CRCs where two differ. The alternate form
/// (`{:#}`) has a line for each module that loads as well.
impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verdict)?;
        if f.alternate() {
            for (_, module) in self.iter().filter(|(_, module)| module.loads) {
                write!(f, "\n  {}: loads, symbols found: {}", module.name, module.symbols)?;
            }
        }
        Ok(())
    }
}

/// Judges modules by a kernel. The answer may well be that they do not load.
///
/// # Errors
/// Where there is no module, or one cannot be read: nothing is said about a set of which a part is unknown.
pub fn prove(
    modules: &[ModuleFile],
    kernel: &KernelSymbols,
    policy: VermagicPolicy,
) -> Result<Proof, ProveError> {
    if modules.is_empty() {
        return Err(ProveError::NothingToJudge { looked_at: vec!["an empty list".to_owned()] });
    }
    let mut parsed = parallel::map(modules.iter().collect(), usize::MAX, Parsed::of)?;
    // As the verdict has them, whose files are these labels.
    parsed.sort_by(|a, b| {
        (&a.proven.name, &a.label, a.module.content()).cmp(&(&b.proven.name, &b.label, b.module.content()))
    });
    let named: Vec<NamedModule<'_>> = parsed.iter().map(Parsed::named).collect();
    let verdict = check_set(&named, kernel, policy);
    Ok(Proof {
        verdict,
        symbols: parsed.iter().map(|parsed| parsed.module.undefined().len()).sum(),
        modules: parsed.into_iter().map(|parsed| parsed.proven).collect(),
        reference: kernel.reference.clone(),
        release_is_claimed: kernel.release_is_claimed,
    })
}

/// A module, read.
struct Parsed<'a> {
    label: String,
    module: Module<'a>,
    proven: ProvenModule,
}

impl<'a> Parsed<'a> {
    fn of(file: &'a ModuleFile) -> Result<Self, ProveError> {
        let label = file.to_string();
        let module = match Module::parse(&file.bytes) {
            Ok(module) => module,
            Err(source) => return Err(ProveError::Module { file: label, source }),
        };
        let proven = ProvenModule {
            name: NamedModule { file: &label, module: &module }.name().into_owned(),
            package: file.package.clone(),
            path: file.path.clone(),
            digest: module.content_digest(),
        };
        Ok(Self { label, module, proven })
    }

    fn named(&self) -> NamedModule<'_> {
        NamedModule { file: &self.label, module: &self.module }
    }
}
