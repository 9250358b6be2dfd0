//! A whole repository in memory: sixty thousand packages in some ten megabytes, to be looked things up in.
//!
//! Every text is held once and stands for itself by a number; the numbers are in the order of the texts, so that a
//! binary search finds one. The same goes for capabilities, of which a distribution has ten times as many mentions
//! as it has different ones. The whole can be written to bytes and read back ([`RepositoryIndex::to_bytes`]), which is
//! many times faster than reading the XML again.

mod build;
mod bytes;

pub use build::{Duplicate, IndexBuilder};
pub use bytes::IndexError;

use drivetrain_model::{
    Architecture, Capability, Checksum, ChecksumAlgorithm, Comparison, Evr, Nevra, Package,
};
use serde::{Deserialize, Serialize};

/// The dependencies of a package, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What it offers; its own name and version among it.
    Provides,
    /// What it needs.
    Requires,
    /// What it must not be installed with.
    Conflicts,
    /// What it replaces.
    Obsoletes,
    /// What should come with it.
    Recommends,
    /// What it should come with.
    Supplements,
    /// What goes well with it.
    Suggests,
    /// What it goes well with.
    Enhances,
}

impl Kind {
    /// All kinds, in the order in which an index holds them.
    pub const ALL: [Self; 8] = [
        Self::Provides,
        Self::Requires,
        Self::Conflicts,
        Self::Obsoletes,
        Self::Recommends,
        Self::Supplements,
        Self::Suggests,
        Self::Enhances,
    ];

    /// The tag of a spec file.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::Provides => "Provides",
            Self::Requires => "Requires",
            Self::Conflicts => "Conflicts",
            Self::Obsoletes => "Obsoletes",
            Self::Recommends => "Recommends",
            Self::Supplements => "Supplements",
            Self::Suggests => "Suggests",
            Self::Enhances => "Enhances",
        }
    }
}

/// The number of a text.
type Text = u32;

/// A repository's packages. Sorted by name, then architecture, then version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryIndex {
    texts: Texts,
    /// What is never looked for: checksums, locations, source RPMs. Not sorted.
    details: Texts,
    capabilities: Vec<CapabilityRow>,
    packages: Vec<Row>,
    /// The capabilities of all packages, one after another; [`Row::ends`] says where each list ends.
    lists: Vec<u32>,
    /// Who provides what: name, package, capability; sorted by name, then package.
    provided: Vec<(Text, u32, u32)>,
    /// Who obsoletes what: name, package, capability; sorted likewise.
    obsoleted: Vec<(Text, u32, u32)>,
    /// Who has which of the files that `primary.xml` lists: path, package; sorted.
    files: Vec<(Text, u32)>,
}

/// Texts behind each other. Where they are sorted, each stands once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Texts {
    all: String,
    ends: Vec<u32>,
}

impl Texts {
    fn get(&self, text: Text) -> &str {
        let index = text as usize;
        let begin = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.all[begin..self.ends[index] as usize]
    }

    fn find(&self, wanted: &str) -> Option<Text> {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let text = u32::try_from(middle).ok()?;
            match self.get(text).cmp(wanted) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(text),
            }
        }
        None
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct CapabilityRow {
    name: Text,
    /// Absent where any version is meant.
    version: Option<(Sign, EvrRow)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct EvrRow {
    epoch: u32,
    version: Text,
    release: Text,
}

/// [`Comparison`], with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
enum Sign {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

impl From<Comparison> for Sign {
    fn from(comparison: Comparison) -> Self {
        match comparison {
            Comparison::Less => Self::Less,
            Comparison::LessOrEqual => Self::LessOrEqual,
            Comparison::Equal => Self::Equal,
            Comparison::GreaterOrEqual => Self::GreaterOrEqual,
            Comparison::Greater => Self::Greater,
        }
    }
}

impl From<Sign> for Comparison {
    fn from(sign: Sign) -> Self {
        match sign {
            Sign::Less => Self::Less,
            Sign::LessOrEqual => Self::LessOrEqual,
            Sign::Equal => Self::Equal,
            Sign::GreaterOrEqual => Self::GreaterOrEqual,
            Sign::Greater => Self::Greater,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    name: Text,
    evr: EvrRow,
    arch: Text,
    algorithm: ChecksumAlgorithm,
    checksum: Text,
    size: u64,
    location: Text,
    build_time: u64,
    source_rpm: Option<Text>,
    /// Where the lists end, by [`Kind`]; the first begins where the package before ends.
    ends: [u32; 8],
}

impl RepositoryIndex {
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

    /// The packages of a name, with all that the metadata says of them.
    pub fn named(&self, name: &str) -> impl Iterator<Item = Package> {
        self.rows_named(name).map(|row| self.package(row))
    }

    /// All packages.
    pub fn packages(&self) -> impl Iterator<Item = Package> {
        (0..self.packages.len()).map(|index| self.package(index))
    }

    /// The full names of all packages.
    pub fn nevras(&self) -> impl Iterator<Item = Nevra> {
        (0..self.packages.len()).map(|index| self.nevra(index))
    }

    pub(crate) fn rows_named(&self, name: &str) -> std::ops::Range<usize> {
        let Some(text) = self.texts.find(name) else { return 0..0 };
        let begin = self.packages.partition_point(|row| row.name < text);
        let end = self.packages.partition_point(|row| row.name <= text);
        begin..end
    }

    /// The names of all packages, sorted, each once.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let mut last = None;
        self.packages.iter().filter_map(move |row| {
            let is_new = last.replace(row.name) != Some(row.name);
            is_new.then(|| self.texts.get(row.name))
        })
    }

    /// The names that are provided, sorted, each once.
    pub(crate) fn provided_names(&self) -> impl Iterator<Item = &str> {
        let mut last = None;
        self.provided.iter().filter_map(move |&(name, ..)| {
            let is_new = last.replace(name) != Some(name);
            is_new.then(|| self.texts.get(name))
        })
    }

    pub(crate) fn name(&self, row: usize) -> &str {
        self.texts.get(self.packages[row].name)
    }

    pub(crate) fn arch(&self, row: usize) -> &str {
        self.texts.get(self.packages[row].arch)
    }

    pub(crate) fn evr(&self, row: usize) -> Evr {
        self.evr_of(self.packages[row].evr)
    }

    fn evr_of(&self, evr: EvrRow) -> Evr {
        Evr::new(evr.epoch, self.texts.get(evr.version), self.texts.get(evr.release))
    }

    pub(crate) fn nevra(&self, row: usize) -> Nevra {
        Nevra::new(self.name(row), self.evr(row), architecture(self.arch(row)))
    }

    /// The capabilities of a package, as numbers.
    pub(crate) fn list(&self, row: usize, kind: Kind) -> &[u32] {
        let kind = kind as usize;
        let begin = match (kind, row) {
            (0, 0) => 0,
            (0, _) => self.packages[row - 1].ends[7],
            _ => self.packages[row].ends[kind - 1],
        };
        &self.lists[begin as usize..self.packages[row].ends[kind] as usize]
    }

    pub(crate) fn capability(&self, number: u32) -> Capability {
        let row = self.capabilities[number as usize];
        let name = self.texts.get(row.name);
        match row.version {
            None => Capability::unversioned(name),
            Some((sign, evr)) => Capability::versioned(name, sign.into(), self.evr_of(evr)),
        }
    }

    /// Who provides a name: package and capability, by package.
    pub(crate) fn providers(&self, name: &str) -> impl Iterator<Item = (usize, u32)> {
        self.found(&self.provided, name)
    }

    /// Who obsoletes a name: package and capability, by package.
    pub(crate) fn obsoleters(&self, name: &str) -> impl Iterator<Item = (usize, u32)> {
        self.found(&self.obsoleted, name)
    }

    fn found<'i>(
        &'i self,
        table: &'i [(Text, u32, u32)],
        name: &str,
    ) -> impl Iterator<Item = (usize, u32)> + 'i {
        let range = match self.texts.find(name) {
            None => 0..0,
            Some(text) => {
                let begin = table.partition_point(|(name, ..)| *name < text);
                begin..begin + table[begin..].partition_point(|(name, ..)| *name == text)
            }
        };
        table[range].iter().map(|&(_, package, capability)| (package as usize, capability))
    }

    /// Which packages have a file, of those that `primary.xml` lists.
    pub(crate) fn owners(&self, path: &str) -> impl Iterator<Item = usize> {
        let range = match self.texts.find(path) {
            None => 0..0,
            Some(text) => {
                let begin = self.files.partition_point(|(path, _)| *path < text);
                begin..begin + self.files[begin..].partition_point(|(path, _)| *path == text)
            }
        };
        self.files[range].iter().map(|&(_, package)| package as usize)
    }

    /// Everything that is known of a package. Its files are not among it: they are only to be asked for by path.
    pub(crate) fn package(&self, row: usize) -> Package {
        let facts = &self.packages[row];
        let checksum =
            Checksum { algorithm: facts.algorithm, hex: self.details.get(facts.checksum).to_owned() };
        let list = |kind| self.list(row, kind).iter().map(|number| self.capability(*number)).collect();
        Package {
            build_time: facts.build_time,
            source_rpm: facts.source_rpm.map(|text| self.details.get(text).to_owned()),
            provides: list(Kind::Provides),
            requires: list(Kind::Requires),
            conflicts: list(Kind::Conflicts),
            obsoletes: list(Kind::Obsoletes),
            recommends: list(Kind::Recommends),
            supplements: list(Kind::Supplements),
            suggests: list(Kind::Suggests),
            enhances: list(Kind::Enhances),
            ..Package::bare(self.nevra(row), checksum, facts.size, self.details.get(facts.location))
        }
    }
}

/// An architecture that was one when the index was made.
fn architecture(text: &str) -> Architecture {
    Architecture::parse(text)
        .unwrap_or_else(|error| unreachable!("an index is checked when it is read: {error}"))
}
