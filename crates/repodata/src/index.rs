//! The same package twice.

use std::collections::BTreeMap;
use std::fmt;

use drivetrain_model::{Checksum, Nevra, Package};

/// Packages by NEVRA, in order, each once.
#[derive(Debug, Clone, Default)]
pub struct RepositoryIndex {
    packages: BTreeMap<Nevra, Package>,
    duplicates: Vec<Nevra>,
}

/// One NEVRA for two different files: which of them is installed would depend on the reader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Conflict {
    /// The name that both have.
    pub nevra: Nevra,
    /// The location and checksum of the one that was there.
    pub first: (String, Checksum),
    /// The location and checksum of the other.
    pub second: (String, Checksum),
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "conflicting NEVRA: {} is both {} ({}) and {} ({})",
            self.nevra, self.first.0, self.first.1, self.second.0, self.second.1
        )
    }
}

impl RepositoryIndex {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a package; `false` where the very same file was there already.
    ///
    /// # Errors
    /// Where a different file has this NEVRA. The first stays.
    pub fn insert(&mut self, package: Package) -> Result<bool, Box<Conflict>> {
        let Some(first) = self.packages.get(&package.nevra) else {
            self.packages.insert(package.nevra.clone(), package);
            return Ok(true);
        };
        if first.checksum == package.checksum {
            self.duplicates.push(package.nevra);
            return Ok(false);
        }
        Err(Box::new(Conflict {
            nevra: package.nevra,
            first: (first.location.clone(), first.checksum.clone()),
            second: (package.location, package.checksum),
        }))
    }

    /// The package of a name.
    #[must_use]
    pub fn get(&self, nevra: &Nevra) -> Option<&Package> {
        self.packages.get(nevra)
    }

    /// The packages in order of their NEVRA.
    pub fn iter(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }

    /// The packages in order of their NEVRA, owned.
    pub fn into_packages(self) -> impl Iterator<Item = Package> {
        self.packages.into_values()
    }

    /// The NEVRAs that came more than once with the same checksum.
    #[must_use]
    pub fn duplicates(&self) -> &[Nevra] {
        &self.duplicates
    }

    /// How many packages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packages.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }
}
