//! Makes an index from packages.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use std::fmt;

use drivetrain_model::{Capability, Checksum, Evr, Nevra, Package};

use super::{CapabilityRow, EvrRow, Kind, RepositoryIndex, Row, Text, Texts};

/// One NEVRA for two different files: which of them is installed would depend on the reader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Duplicate {
    /// The name that both have.
    pub nevra: Nevra,
    /// Location and checksum of the first.
    pub first: (String, Checksum),
    /// Location and checksum of the second.
    pub second: (String, Checksum),
}

impl fmt::Display for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "conflicting NEVRA: {} is both {} ({}) and {} ({})",
            self.nevra, self.first.0, self.first.1, self.second.0, self.second.1
        )
    }
}

/// Takes packages one by one.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    texts: Interner,
    details: Texts,
    capabilities: HashMap<CapabilityRow, u32, RandomState>,
    rows: Vec<(Row, [Vec<u32>; 8])>,
    files: Vec<(Text, u32)>,
}

/// Gives every text a number, in the order of their coming.
#[derive(Debug, Default)]
struct Interner(HashMap<Box<str>, Text, RandomState>);

impl Interner {
    fn number(&mut self, text: &str) -> Text {
        if let Some(known) = self.0.get(text) {
            return *known;
        }
        let number = count(self.0.len());
        self.0.insert(text.into(), number);
        number
    }

    /// The texts in their order, and the number of each text in that order by the number that it had.
    fn sorted(self) -> (Texts, Vec<Text>) {
        let mut all: Vec<(Box<str>, Text)> = self.0.into_iter().collect();
        all.sort_unstable();
        let mut texts = Texts::default();
        let mut renumbered = vec![0; all.len()];
        for (text, number) in all {
            renumbered[number as usize] = texts.push(&text);
        }
        (texts, renumbered)
    }
}

impl Texts {
    fn push(&mut self, text: &str) -> Text {
        self.all.push_str(text);
        self.ends.push(count(self.all.len()));
        count(self.ends.len() - 1)
    }
}

/// Positions are 32 bits wide: metadata that is read within its limits has fewer.
fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl IndexBuilder {
    /// Adds a package. Source packages are passed over: they are not installed.
    pub fn push(&mut self, package: &Package) {
        if matches!(package.nevra.arch.as_str(), "src" | "nosrc") {
            return;
        }
        let nevra = &package.nevra;
        let own = Capability::versioned(&nevra.name, drivetrain_model::Comparison::Equal, nevra.evr.clone());
        let mut lists = [
            &package.provides,
            &package.requires,
            &package.conflicts,
            &package.obsoletes,
            &package.recommends,
            &package.supplements,
            &package.suggests,
            &package.enhances,
        ]
        .map(|list| list.iter().map(|capability| self.capability(capability)).collect::<Vec<_>>());
        // As libsolv does: a package provides itself, whether its metadata says so or not.
        let own = self.capability(&own);
        if !lists[Kind::Provides as usize].contains(&own) {
            lists[Kind::Provides as usize].push(own);
        }
        let number = count(self.rows.len());
        for path in &package.files {
            let path = self.texts.number(path);
            self.files.push((path, number));
        }
        let row = Row {
            name: self.texts.number(&nevra.name),
            evr: self.evr(&nevra.evr),
            arch: self.texts.number(nevra.arch.as_str()),
            algorithm: package.checksum.algorithm,
            checksum: self.details.push(&package.checksum.hex),
            size: package.size,
            location: self.details.push(&package.location),
            build_time: package.build_time,
            source_rpm: package.source_rpm.as_deref().map(|name| self.details.push(name)),
            ends: [0; 8],
        };
        self.rows.push((row, lists));
    }

    fn evr(&mut self, evr: &Evr) -> EvrRow {
        EvrRow {
            epoch: evr.epoch,
            version: self.texts.number(&evr.version),
            release: self.texts.number(&evr.release),
        }
    }

    fn capability(&mut self, capability: &Capability) -> u32 {
        let name = self.texts.number(&capability.name);
        let version = capability
            .constraint
            .as_ref()
            .map(|constraint| (constraint.comparison.into(), self.evr(&constraint.evr)));
        let next = count(self.capabilities.len());
        *self.capabilities.entry(CapabilityRow { name, version }).or_insert(next)
    }

    /// The index.
    ///
    /// # Errors
    /// Where two different files have one NEVRA. The same file twice is one.
    pub fn finish(self) -> Result<RepositoryIndex, Box<Duplicate>> {
        let (texts, renumbered) = self.texts.sorted();
        let text = |old: Text| renumbered[old as usize];
        let evr =
            |old: EvrRow| EvrRow { epoch: old.epoch, version: text(old.version), release: text(old.release) };
        let mut capabilities = vec![CapabilityRow { name: 0, version: None }; self.capabilities.len()];
        for (row, number) in self.capabilities {
            let version = row.version.map(|(sign, old)| (sign, evr(old)));
            capabilities[number as usize] = CapabilityRow { name: text(row.name), version };
        }
        let mut rows: Vec<(usize, Row, [Vec<u32>; 8])> = self
            .rows
            .into_iter()
            .enumerate()
            .map(|(number, (row, lists))| {
                let row = Row { name: text(row.name), evr: evr(row.evr), arch: text(row.arch), ..row };
                (number, row, lists)
            })
            .collect();
        let version =
            |row: &Row| Evr::new(row.evr.epoch, texts.get(row.evr.version), texts.get(row.evr.release));
        rows.sort_by(|(_, a, _), (_, b, _)| {
            (a.name, a.arch).cmp(&(b.name, b.arch)).then_with(|| version(a).cmp(&version(b)))
        });
        let mut index = RepositoryIndex {
            texts,
            details: self.details,
            capabilities,
            packages: Vec::new(),
            lists: Vec::new(),
            provided: Vec::new(),
            obsoleted: Vec::new(),
            files: Vec::new(),
        };
        let mut places = vec![0; rows.len()];
        for (number, row, lists) in rows {
            index.add(row, &lists)?;
            places[number] = count(index.packages.len() - 1);
        }
        index.files =
            self.files.into_iter().map(|(path, package)| (text(path), places[package as usize])).collect();
        for table in [&mut index.provided, &mut index.obsoleted] {
            table.sort_unstable();
            table.dedup();
        }
        index.files.sort_unstable();
        index.files.dedup();
        Ok(index)
    }
}

impl RepositoryIndex {
    /// Adds a package behind the others, unless it is the last one again.
    fn add(&mut self, row: Row, lists: &[Vec<u32>; 8]) -> Result<(), Box<Duplicate>> {
        if let Some(last) = self.packages.last()
            && (last.name, last.arch) == (row.name, row.arch)
            && self.evr_of(last.evr) == self.evr_of(row.evr)
        {
            return match self.describe(last) == self.describe(&row) {
                true => Ok(()),
                false => Err(Box::new(Duplicate {
                    nevra: self.nevra(self.packages.len() - 1),
                    first: self.describe(last),
                    second: self.describe(&row),
                })),
            };
        }
        let package = count(self.packages.len());
        let mut ends = [0; 8];
        for (kind, list) in lists.iter().enumerate() {
            self.lists.extend(list);
            ends[kind] = count(self.lists.len());
        }
        let mentions = |list: &[u32], capabilities: &[CapabilityRow]| -> Vec<(Text, u32, u32)> {
            list.iter().map(|number| (capabilities[*number as usize].name, package, *number)).collect()
        };
        self.provided.extend(mentions(&lists[Kind::Provides as usize], &self.capabilities));
        self.obsoleted.extend(mentions(&lists[Kind::Obsoletes as usize], &self.capabilities));
        self.packages.push(Row { ends, ..row });
        Ok(())
    }

    fn describe(&self, row: &Row) -> (String, Checksum) {
        let checksum = Checksum { algorithm: row.algorithm, hex: self.details.get(row.checksum).to_owned() };
        (self.details.get(row.location).to_owned(), checksum)
    }
}
