//! What a kernel wants of its modules beside its symbols.

use serde::{Deserialize, Serialize};

use crate::{Machine, Module, Vermagic};

/// From what the facts about a kernel were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReferenceSource {
    /// A module of its own tree.
    Module,
    /// Its configuration.
    Configuration,
}

/// What `Module.symvers` does not tell of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelReference {
    /// From what it was taken.
    pub source: ReferenceSource,
    /// The version magic after the release; `None` where it is not known.
    pub flags: Option<String>,
    /// Whether the version magic ends with the seed of a random layout (`RANDSTRUCT_…`) that [`Self::flags`] do
    /// not have.
    pub has_unknown_seed: bool,
    /// The machine; `None` where it is not known.
    pub machine: Option<Machine>,
    /// `sizeof(struct module)`; `None` where it is not known.
    pub module_struct_size: Option<u64>,
}

impl KernelReference {
    /// Takes it from any module of the kernel's own tree.
    #[must_use]
    pub fn of(module: &Module<'_>) -> Self {
        Self {
            source: ReferenceSource::Module,
            flags: module.vermagic().map(|magic| Vermagic::parse(&magic).flags.to_owned()),
            has_unknown_seed: false,
            machine: Some(module.machine()),
            module_struct_size: module.module_struct_size(),
        }
    }

    /// Whether a module's version magic is the kernel's, as far as that is known. What is not known is no
    /// difference.
    pub(crate) fn has_flags_of(&self, magic: &Vermagic<'_>) -> bool {
        let seen = if self.has_unknown_seed { magic.flags_without_seed() } else { magic.flags };
        self.flags.as_ref().is_none_or(|flags| flags == seen)
    }
}
