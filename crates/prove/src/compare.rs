//! What differs between two sets of modules: those of two cells, or of two versions of one.

use std::collections::{BTreeMap, BTreeSet};

use drivetrain_kmod::{Module, ModuleDifference, NamedModule};
use serde::{Deserialize, Serialize};

use crate::{ModuleFile, ProveError};

/// What differs between two sets of modules.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SetDifference {
    /// How many modules are the same byte for byte, a signature aside.
    pub same: usize,
    /// The modules that are not, by name.
    pub modules: Vec<DifferingModule>,
    /// Modules of the first set alone.
    pub only_before: Vec<String>,
    /// Modules of the second set alone.
    pub only_after: Vec<String>,
}

/// A module that both sets have, and that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferingModule {
    /// The kernel's name for it.
    pub name: String,
    /// What differs.
    #[serde(flatten)]
    pub difference: ModuleDifference,
}

impl SetDifference {
    /// Whether the two sets are the same, signatures aside.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.modules.iter().all(|module| module.difference.is_none())
            && self.only_before.is_empty()
            && self.only_after.is_empty()
    }

    /// How many modules differ in the kernel that they say they are for, and in nothing else.
    #[must_use]
    pub fn only_vermagic(&self) -> usize {
        self.modules.iter().filter(|module| module.difference.is_only_vermagic()).count()
    }
}

/// Compares two sets of modules by the kernel's names for them. Of modules of one name in one set the last by package and
/// path counts: a set that is published has none.
///
/// # Errors
/// Where one of them is no module.
pub fn compare(before: &[ModuleFile], after: &[ModuleFile]) -> Result<SetDifference, ProveError> {
    let (before, after) = (by_name(before)?, by_name(after)?);
    let mut difference = SetDifference::default();
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        match (before.get(name), after.get(name)) {
            (Some(one), Some(other)) => {
                let found = ModuleDifference::between(one, other);
                if found.is_none() && found.signature.is_none() {
                    difference.same += 1;
                } else {
                    difference.modules.push(DifferingModule { name: name.clone(), difference: found });
                }
            }
            (Some(_), None) => difference.only_before.push(name.clone()),
            (None, _) => difference.only_after.push(name.clone()),
        }
    }
    Ok(difference)
}

fn by_name(files: &[ModuleFile]) -> Result<BTreeMap<String, Module<'_>>, ProveError> {
    let mut all = BTreeMap::new();
    for file in files {
        let label = file.to_string();
        match Module::parse(&file.bytes) {
            Ok(module) => {
                let name = NamedModule { file: &label, module: &module }.name().into_owned();
                all.insert(name, module);
            }
            Err(source) => return Err(ProveError::Module { file: label, source }),
        }
    }
    Ok(all)
}
