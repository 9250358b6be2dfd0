//! `Module.symvers`: what a kernel and its modules export.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{DecompressError, SymbolCrc, decompress};

/// Longest symbol, module path or namespace: `PATH_MAX` is the longest that any of them can be.
const MAX_NAME: usize = 4096;
/// No entry, in the table's links.
const NONE: u32 = u32::MAX;

/// How a symbol is exported: the fourth column. The last three went in Linux 5.12.
///
/// Source: `write_dump` and `export_str` in `scripts/mod/modpost.c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExportKind {
    /// To every module.
    #[serde(rename = "EXPORT_SYMBOL")]
    All,
    /// To modules whose licence is compatible with the GPL.
    #[serde(rename = "EXPORT_SYMBOL_GPL")]
    Gpl,
    /// To every module, and about to go.
    #[serde(rename = "EXPORT_UNUSED_SYMBOL")]
    Unused,
    /// To modules compatible with the GPL, and about to go.
    #[serde(rename = "EXPORT_UNUSED_SYMBOL_GPL")]
    UnusedGpl,
    /// To every module, and some day to those compatible with the GPL only.
    #[serde(rename = "EXPORT_SYMBOL_GPL_FUTURE")]
    GplFuture,
}

impl ExportKind {
    const ALL: [Self; 5] = [Self::All, Self::Gpl, Self::Unused, Self::UnusedGpl, Self::GplFuture];

    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "EXPORT_SYMBOL",
            Self::Gpl => "EXPORT_SYMBOL_GPL",
            Self::Unused => "EXPORT_UNUSED_SYMBOL",
            Self::UnusedGpl => "EXPORT_UNUSED_SYMBOL_GPL",
            Self::GplFuture => "EXPORT_SYMBOL_GPL_FUTURE",
        }
    }

    /// Whether a module needs a licence compatible with the GPL to use the symbol.
    #[must_use]
    pub fn is_gpl_only(self) -> bool {
        matches!(self, Self::Gpl | Self::UnusedGpl)
    }
}

impl fmt::Display for ExportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no `Module.symvers`.
#[derive(Debug, thiserror::Error)]
pub enum SymversError {
    /// A line that is not of the form.
    #[error("line {line}: {problem}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: SymversProblem,
    },
    /// Not UTF-8.
    #[error("not text: byte {0} is not UTF-8")]
    NotText(usize),
    /// Larger than any kernel's by orders of magnitude.
    #[error("larger than {0} bytes")]
    TooLarge(usize),
    /// It cannot be decompressed.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// The reader failed.
    #[error("reading")]
    Read(#[source] io::Error),
}

/// What is wrong with a line of `Module.symvers`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SymversProblem {
    /// Too few or too many.
    #[error("{0} columns between tabs, where 4 or 5 belong")]
    Columns(usize),
    /// The first column.
    #[error("{0:?} is no CRC")]
    Crc(String),
    /// The second, third or fifth column.
    #[error("{text:?} is no {what}")]
    Name {
        /// What the column should hold.
        what: &'static str,
        /// What it holds.
        text: String,
    },
    /// The fourth column.
    #[error("{0:?} is no way to export a symbol that is known")]
    Kind(String),
}

/// One exported symbol of a kernel, borrowed from its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelSymbol<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its CRC.
    pub crc: SymbolCrc,
    /// Who exports it, as the file has it: `vmlinux`, or a path such as `drivers/infiniband/core/ib_core`.
    pub module_path: &'a str,
    /// The same as the kernel names it: `ib_core`.
    pub module: &'a str,
    /// To whom.
    pub kind: ExportKind,
    /// The namespace that users must import; empty for most.
    pub namespace: &'a str,
    /// The number of the exporter in [`SymbolTable::modules`].
    pub module_index: usize,
}

/// Two lines that give one symbol different CRCs: whoever wrote this file merged what does not belong together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CrcConflict {
    /// The symbol.
    pub symbol: String,
    /// What the first line says.
    pub first: SymbolCrc,
    /// Who exports it by that line.
    pub first_module: String,
    /// What a later line says.
    pub second: SymbolCrc,
    /// Who exports it by that one.
    pub second_module: String,
}

impl fmt::Display for CrcConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { symbol, first, first_module, second, second_module } = self;
        write!(f, "symbol {symbol}: CRC {first} ({first_module}) and CRC {second} ({second_module})")
    }
}

/// The symbols of a kernel and of the modules in its tree, by name.
///
/// A line of the file is CRC, symbol, module, way of export and namespace between tabs; the namespace came with
/// Linux 5.4. Source: `write_dump` and `read_dump` in `scripts/mod/modpost.c`.
///
/// The text is kept as it is, and entries point into it: 25,000 lines are read in a few milliseconds.
#[derive(Clone)]
pub struct SymbolTable {
    text: String,
    entries: Vec<Entry>,
    modules: Vec<ModuleEntry>,
    slots: Vec<u32>,
    /// The first entries of names that have more than one.
    repeated: Vec<u32>,
    /// Randomly keyed: a file made for it cannot turn look-ups into searches.
    hasher: RandomState,
    has_crcs: bool,
}

#[derive(Clone)]
struct Entry {
    name: Range<u32>,
    namespace: Range<u32>,
    module: u32,
    crc: u32,
    kind: ExportKind,
    /// The next entry of the same name: all but the first are out of `slots`.
    next: u32,
}

#[derive(Clone)]
struct ModuleEntry {
    path: Range<u32>,
    name: String,
}

/// What the files of modules end with, as `depmod` and the kernel's build name them.
const ENDINGS: [&str; 4] = [".ko.gz", ".ko.xz", ".ko.zst", ".ko"];

/// Whether a path is that of a module, as `depmod` and the kernel's build name them.
#[must_use]
pub fn is_module_path(path: &str) -> bool {
    ENDINGS.iter().any(|ending| path.ends_with(ending))
}

/// The kernel's name for a module by its path: `drivers/net/foo-bar.ko` is `foo_bar`.
#[must_use]
pub fn module_name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = ENDINGS.iter().find_map(|ending| file.strip_suffix(ending));
    stem.unwrap_or(file).replace('-', "_")
}

impl SymbolTable {
    /// The most bytes that are taken as a `Module.symvers`; a kernel's has one to three million.
    pub const MAX_SIZE: usize = 256 << 20;

    /// Reads the text of a `Module.symvers`.
    pub fn parse(text: impl Into<String>) -> Result<Self, SymversError> {
        let text = text.into();
        if text.len() > Self::MAX_SIZE {
            return Err(SymversError::TooLarge(Self::MAX_SIZE));
        }
        let expected = count_lines(&text);
        let mut table = Self {
            entries: Vec::with_capacity(expected),
            modules: Vec::new(),
            // At most half full, so that searches stay short.
            slots: vec![NONE; (expected * 2).next_power_of_two().max(8)],
            repeated: Vec::new(),
            hasher: RandomState::new(),
            has_crcs: false,
            text: String::new(),
        };
        let mut modules = Modules { known: HashMap::new(), last: ("", NONE), text_is_clean: is_clean(&text) };
        let whole = text.strip_suffix('\n').unwrap_or(&text);
        let lines = Split { rest: (!text.is_empty()).then_some(whole), by: b'\n' };
        for (at, line) in lines.enumerate() {
            table
                .take_line(&text, line, &mut modules)
                .map_err(|problem| SymversError::Line { line: at + 1, problem })?;
        }
        table.text = text;
        Ok(table)
    }

    /// Reads bytes that may be compressed, as `symvers.gz` beside an Enterprise Linux kernel is.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SymversError> {
        let bytes = decompress(bytes, Self::MAX_SIZE)?.into_owned();
        Self::parse(
            String::from_utf8(bytes)
                .map_err(|error| SymversError::NotText(error.utf8_error().valid_up_to()))?,
        )
    }

    /// Reads everything that a reader has; it may be compressed.
    pub fn read(reader: impl Read) -> Result<Self, SymversError> {
        let mut bytes = Vec::new();
        reader.take(Self::MAX_SIZE as u64 + 1).read_to_end(&mut bytes).map_err(SymversError::Read)?;
        Self::from_bytes(&bytes)
    }

    fn take_line<'t>(
        &mut self,
        text: &'t str,
        line: &'t str,
        modules: &mut Modules<'t>,
    ) -> Result<(), SymversProblem> {
        let mut columns = Split { rest: Some(line), by: b'\t' };
        let (Some(crc), Some(name), Some(module), Some(kind)) =
            (columns.next(), columns.next(), columns.next(), columns.next())
        else {
            return Err(SymversProblem::Columns(line.split('\t').count()));
        };
        let namespace = columns.next().unwrap_or(&line[line.len()..]);
        if columns.next().is_some() {
            return Err(SymversProblem::Columns(line.split('\t').count()));
        }
        let crc = SymbolCrc::parse(crc).ok_or_else(|| SymversProblem::Crc(shorten(crc)))?;
        for (what, text, may_be_empty) in
            [("symbol", name, false), ("module", module, false), ("namespace", namespace, true)]
        {
            let is_name = modules.text_is_clean || is_clean(text);
            if !is_name || text.len() > MAX_NAME || text.is_empty() && !may_be_empty {
                return Err(SymversProblem::Name { what, text: shorten(text) });
            }
        }
        let kind = *ExportKind::ALL
            .iter()
            .find(|known| known.as_str() == kind)
            .ok_or_else(|| SymversProblem::Kind(shorten(kind)))?;
        let module = self.module_number(text, module, modules);
        self.has_crcs |= crc.0 != 0;
        self.insert(
            text,
            Entry {
                name: span(text, name),
                namespace: span(text, namespace),
                module,
                crc: crc.0,
                kind,
                next: NONE,
            },
        );
        Ok(())
    }

    fn module_number<'t>(&mut self, text: &str, path: &'t str, modules: &mut Modules<'t>) -> u32 {
        // Most lines are vmlinux's, one after the other.
        if modules.last.0 != path {
            let number = *modules.known.entry(path).or_insert_with(|| {
                self.modules.push(ModuleEntry { path: span(text, path), name: module_name_of(path) });
                self.modules.len() as u32 - 1
            });
            modules.last = (path, number);
        }
        modules.last.1
    }

    fn insert(&mut self, text: &str, entry: Entry) {
        let new = self.entries.len() as u32;
        let name = slice(text, &entry.name);
        let mut slot = self.slot_of(name);
        while let Some(&taken) = self.slots.get(slot) {
            let Some(other) = self.entries.get_mut(taken as usize) else {
                self.slots[slot] = new;
                break;
            };
            if slice(text, &other.name) == name {
                // After the first, before the others: the first is what a look-up answers, and a thousand
                // equal lines still cost a thousand steps.
                let next = std::mem::replace(&mut other.next, new);
                if next == NONE {
                    self.repeated.push(taken);
                }
                self.entries.push(Entry { next, ..entry });
                return;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        self.entries.push(entry);
    }

    fn slot_of(&self, name: &str) -> usize {
        (self.hasher.hash_one(name) as usize) & (self.slots.len() - 1)
    }

    fn symbol<'a>(&'a self, entry: &Entry) -> KernelSymbol<'a> {
        let module = &self.modules[entry.module as usize];
        KernelSymbol {
            name: slice(&self.text, &entry.name),
            crc: SymbolCrc(entry.crc),
            module_path: slice(&self.text, &module.path),
            module: &module.name,
            kind: entry.kind,
            namespace: slice(&self.text, &entry.namespace),
            module_index: entry.module as usize,
        }
    }

    /// The symbol of a name: the first line's, should there be more.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<KernelSymbol<'_>> {
        self.all(name).next()
    }

    /// Every line of a name, the first line first.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = KernelSymbol<'a>> + use<'a> {
        let mut slot = self.slot_of(name);
        let first = loop {
            let taken = self.slots.get(slot).copied().unwrap_or(NONE);
            match self.entries.get(taken as usize) {
                Some(entry) if slice(&self.text, &entry.name) != name => {
                    slot = (slot + 1) & (self.slots.len() - 1);
                }
                found => break found,
            }
        };
        std::iter::successors(first, |entry| self.entries.get(entry.next as usize))
            .map(|entry| self.symbol(entry))
    }

    /// Every line, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = KernelSymbol<'_>> {
        self.entries.iter().map(|entry| self.symbol(entry))
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Who exports anything, by the kernel's names, in the order of first appearance.
    pub fn modules(&self) -> impl ExactSizeIterator<Item = &str> {
        self.modules.iter().map(|module| module.name.as_str())
    }

    /// The name of a module by its number.
    pub(crate) fn module_name(&self, index: usize) -> Option<&str> {
        self.modules.get(index).map(|module| module.name.as_str())
    }

    /// Whether the kernel was built with `CONFIG_MODVERSIONS`: without it, every CRC of the file is zero.
    #[must_use]
    pub fn has_crcs(&self) -> bool {
        self.has_crcs
    }

    /// Symbols that two lines give different CRCs.
    #[must_use]
    pub fn conflicts(&self) -> Vec<CrcConflict> {
        let mut conflicts = Vec::new();
        for &first in &self.repeated {
            let name = slice(&self.text, &self.entries[first as usize].name);
            let mut all = self.all(name);
            let Some(first) = all.next() else { continue };
            conflicts.extend(all.filter(|other| other.crc != first.crc).map(|other| CrcConflict {
                symbol: name.to_owned(),
                first: first.crc,
                first_module: first.module_path.to_owned(),
                second: other.crc,
                second_module: other.module_path.to_owned(),
            }));
        }
        conflicts.sort();
        conflicts
    }
}

/// As the file had it, always with the fifth column.
impl fmt::Display for SymbolTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|symbol| {
            let KernelSymbol { crc, name, module_path, kind, namespace, .. } = symbol;
            writeln!(f, "{crc}\t{name}\t{module_path}\t{kind}\t{namespace}")
        })
    }
}

impl fmt::Debug for SymbolTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SymbolTable({} symbols of {} modules)", self.entries.len(), self.modules.len())
    }
}

/// What is only needed while a table is read.
struct Modules<'t> {
    known: HashMap<&'t str, u32>,
    last: (&'t str, u32),
    /// No line of the text has characters that no name may have.
    text_is_clean: bool,
}

/// `str::split` by one ASCII byte. Columns are short, and the general searcher took a third of all time.
struct Split<'t> {
    rest: Option<&'t str>,
    by: u8,
}

impl<'t> Iterator for Split<'t> {
    type Item = &'t str;
    fn next(&mut self) -> Option<&'t str> {
        let rest = self.rest?;
        let at = rest.bytes().position(|byte| byte == self.by);
        self.rest = at.and_then(|at| rest.get(at + 1..));
        at.map_or(Some(rest), |at| rest.get(..at))
    }
}

/// Whether no character but tab and newline is a blank or a control character. Without branches, so that a
/// megabyte costs little; the columns have no tabs and newlines left in them.
fn is_clean(text: &str) -> bool {
    !text
        .bytes()
        .fold(false, |bad, byte| bad | (byte <= b' ' && byte != b'\t' && byte != b'\n') | (byte == 0x7f))
}

fn count_lines(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'\n').count() + 1
}

/// Where a part of the text stands in it.
fn span(text: &str, part: &str) -> Range<u32> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    // The text's size is limited far below.
    start as u32..(start + part.len()) as u32
}

fn slice<'a>(text: &'a str, range: &Range<u32>) -> &'a str {
    text.get(range.start as usize..range.end as usize).unwrap_or_default()
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "0x12345678\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n\
        0x0000abcd\tib_register_device\tdrivers/infiniband/core/ib_core\tEXPORT_SYMBOL\t\n\
        0x00000000\tcrypto_x\tcrypto/foo-bar\tEXPORT_SYMBOL_GPL\tCRYPTO_INTERNAL\n";

    #[test]
    fn every_column_is_read() {
        let table = SymbolTable::parse(TEXT).unwrap();
        let symbol = table.get("crypto_x").unwrap();
        assert_eq!(
            (symbol.crc, symbol.module, symbol.namespace),
            (SymbolCrc(0), "foo_bar", "CRYPTO_INTERNAL")
        );
        assert!(symbol.kind.is_gpl_only());
        assert_eq!(table.get("kfree").unwrap().module, "vmlinux");
        assert_eq!(table.get("ib_register_device").unwrap().module_path, "drivers/infiniband/core/ib_core");
        assert!(table.get("kfre").is_none());
        assert_eq!(table.modules().collect::<Vec<_>>(), ["vmlinux", "ib_core", "foo_bar"]);
        assert!(table.has_crcs());
        assert_eq!(table.to_string(), TEXT);
    }

    #[test]
    fn the_older_form_without_namespace_is_read_too() {
        let table = SymbolTable::parse("0x1\tkfree\tvmlinux\tEXPORT_SYMBOL").unwrap();
        assert_eq!(table.get("kfree").unwrap().namespace, "");
        assert!(SymbolTable::parse("").unwrap().is_empty());
    }

    #[test]
    fn a_malformed_line_is_named_by_its_number() {
        for (line, text) in [
            ("", "1 columns between tabs, where 4 or 5 belong"),
            ("0x1\tkfree\tvmlinux", "3 columns between tabs, where 4 or 5 belong"),
            ("0x1\tkfree\tvmlinux\tEXPORT_SYMBOL\t\t", "6 columns between tabs, where 4 or 5 belong"),
            ("1\tkfree\tvmlinux\tEXPORT_SYMBOL\t", "\"1\" is no CRC"),
            ("0x1\t\tvmlinux\tEXPORT_SYMBOL\t", "\"\" is no symbol"),
            ("0x1\tkfree\tvm linux\tEXPORT_SYMBOL\t", "\"vm linux\" is no module"),
            ("0x1\tkfree\tvmlinux\tEXPORT_SYMBOL\t\r", "\"\\r\" is no namespace"),
            (
                &format!("0x1\t{}\tvmlinux\tEXPORT_SYMBOL", "x".repeat(4097)),
                &format!("\"{}\" is no symbol", "x".repeat(80)),
            ),
            ("0x1\tkfree\tvmlinux\texport\t", "\"export\" is no way to export a symbol that is known"),
        ] {
            let error = SymbolTable::parse(format!("{TEXT}{line}\n{TEXT}")).unwrap_err();
            assert_eq!(error.to_string(), format!("line 4: {text}"));
        }
    }

    #[test]
    fn two_crcs_for_one_symbol_are_a_conflict_and_two_equal_lines_are_not() {
        let line = |crc, module: &str| format!("0x{crc:08x}\tkfree\t{module}\tEXPORT_SYMBOL\t\n");
        let text = [line(1, "a"), line(1, "b"), line(2, "c"), line(3, "d")].concat();
        let table = SymbolTable::parse(text).unwrap();
        let texts: Vec<_> = table.conflicts().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "symbol kfree: CRC 0x00000001 (a) and CRC 0x00000002 (c)",
                "symbol kfree: CRC 0x00000001 (a) and CRC 0x00000003 (d)"
            ]
        );
        assert_eq!(table.get("kfree").unwrap().module, "a");
        assert_eq!(table.all("kfree").count(), 4);
    }

    #[test]
    fn compressed_tables_are_read() {
        let packed = zstd::stream::encode_all(TEXT.as_bytes(), 3).unwrap();
        assert_eq!(SymbolTable::read(packed.as_slice()).unwrap().len(), 3);
        assert!(matches!(SymbolTable::from_bytes(b"\xff"), Err(SymversError::NotText(0))));
    }

    #[test]
    fn names_are_those_of_the_kernel() {
        for (path, name) in
            [("vmlinux", "vmlinux"), ("a/b/ib-core.ko.xz", "ib_core"), ("/x/mlx5_core.ko", "mlx5_core")]
        {
            assert_eq!(module_name_of(path), name);
        }
    }

    proptest! {
        #[test]
        fn printing_gives_back_what_was_read(
            lines in prop::collection::vec(
                (any::<u32>(), "[a-z_]{1,3}", "[a-z/-]{1,8}", 0..5_usize, "[A-Z_]{0,8}"), 0..60)
        ) {
            let text: String = lines
                .iter()
                .map(|(crc, name, module, kind, namespace)| {
                    format!("0x{crc:08x}\t{name}\t{module}\t{}\t{namespace}\n", ExportKind::ALL[*kind])
                })
                .collect();
            let table = SymbolTable::parse(text.clone()).unwrap();
            prop_assert_eq!(table.to_string(), text);
            // Every line is found under its name, and the first line is the answer.
            for (_, name, ..) in &lines {
                let same: Vec<_> = lines.iter().filter(|line| line.1 == *name).collect();
                prop_assert_eq!(table.all(name).count(), same.len());
                prop_assert_eq!(table.get(name).unwrap().crc.0, same[0].0);
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(?s).{0,200}") {
            if let Ok(table) = SymbolTable::parse(text.clone()) {
                prop_assert_eq!(SymbolTable::parse(table.to_string()).unwrap().len(), table.len());
            }
        }
    }
}
