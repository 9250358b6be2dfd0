//! The CRCs that a module was built against.

use object::{Endian, Endianness};

use crate::SymbolCrc;
use crate::elf::ModuleError;

/// The name's field is `MODULE_NAME_LEN` long, `64 - sizeof(unsigned long)`: with its CRC, an entry fills 64
/// bytes whatever the size of a word.
const ENTRY: usize = 64;

/// The CRC of every symbol that a module was built against, sorted by name.
///
/// Two formats, and the kernel takes the second where a module has both:
/// * `__versions`: entries of 64 bytes, an `unsigned long` CRC and the name, filled up with NULs. Source:
///   `struct modversion_info` in `include/linux/module.h`.
/// * `__version_ext_crcs` and `__version_ext_names` (Linux 6.14, `CONFIG_EXTENDED_MODVERSIONS`, for names that
///   do not fit in 56 bytes, as Rust's do not): an array of 32-bit CRCs, and as many texts that end in NUL.
///   Source: `add_extended_versions` in `scripts/mod/modpost.c`, `elf_validity_cache_index_versions` in
///   `kernel/module/main.c`, `check_version` in `kernel/module/version.c`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions<'data> {
    entries: Vec<(&'data str, SymbolCrc)>,
    basic: bool,
    extended: bool,
}

impl<'data> Versions<'data> {
    pub(crate) fn parse(
        endian: Endianness,
        is_64: bool,
        basic: Option<&'data [u8]>,
        extended_crcs: Option<&'data [u8]>,
        extended_names: Option<&'data [u8]>,
    ) -> Result<Self, ModuleError> {
        let mut entries = match (extended_crcs, extended_names) {
            (Some(crcs), Some(names)) => read_extended(endian, crcs, names)?,
            (None, None) => read_basic(endian, is_64, basic.unwrap_or_default())?,
            _ => return Err(ModuleError::Versions("one extended table stands without the other")),
        };
        // Of two entries for one symbol the kernel looks at the first: the sort is stable, and so is dedup.
        entries.sort_by_key(|&(name, _)| name);
        entries.dedup_by_key(|&mut (name, _)| name);
        Ok(Self { entries, basic: basic.is_some(), extended: extended_crcs.is_some() })
    }

    /// The CRC that the module wants a symbol to have.
    #[must_use]
    pub fn get(&self, symbol: &str) -> Option<SymbolCrc> {
        let at = self.entries.binary_search_by_key(&symbol, |&(name, _)| name).ok()?;
        self.entries.get(at).map(|&(_, crc)| crc)
    }

    /// Every symbol and its CRC, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'data str, SymbolCrc)> + '_ {
        self.entries.iter().copied()
    }

    /// How many symbols have one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the module has either table, however empty. Without one, a kernel with `CONFIG_MODVERSIONS`
    /// takes the module only by force.
    #[must_use]
    pub fn are_present(&self) -> bool {
        self.basic || self.extended
    }

    /// Whether the module has `__versions` itself: what makes the kernel overlook the release in `vermagic`
    /// (`same_magic` is asked with `info->index.vers`, not with the extended table).
    #[must_use]
    pub fn has_basic(&self) -> bool {
        self.basic
    }

    /// Whether the module has the extended tables.
    #[must_use]
    pub fn has_extended(&self) -> bool {
        self.extended
    }
}

fn read_basic(
    endian: Endianness,
    is_64: bool,
    section: &[u8],
) -> Result<Vec<(&str, SymbolCrc)>, ModuleError> {
    // What is left over after the last whole entry is ignored, as the kernel does.
    let (entries, _) = section.as_chunks::<ENTRY>();
    entries
        .iter()
        .map(|entry| {
            let (crc, name) = if is_64 {
                let (crc, name) = entry.split_first_chunk::<8>().ok_or(CUT)?;
                let crc = u32::try_from(endian.read_u64(*crc))
                    .map_err(|_| ModuleError::Versions("a CRC has more than 32 bits"))?;
                (crc, name)
            } else {
                let (crc, name) = entry.split_first_chunk::<4>().ok_or(CUT)?;
                (endian.read_u32(*crc), name)
            };
            let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
            Ok((text(&name[..end])?, SymbolCrc(crc)))
        })
        .collect()
}

fn read_extended<'data>(
    endian: Endianness,
    crcs: &'data [u8],
    mut names: &'data [u8],
) -> Result<Vec<(&'data str, SymbolCrc)>, ModuleError> {
    let (crcs, _) = crcs.as_chunks::<4>();
    crcs.iter()
        .map(|crc| {
            let end = names
                .iter()
                .position(|&byte| byte == 0)
                .ok_or(ModuleError::Versions("there are more extended CRCs than names"))?;
            let name = text(&names[..end])?;
            names = &names[end + 1..];
            Ok((name, SymbolCrc(endian.read_u32(*crc))))
        })
        .collect()
}

const CUT: ModuleError = ModuleError::Versions("an entry is cut short");

fn text(bytes: &[u8]) -> Result<&str, ModuleError> {
    std::str::from_utf8(bytes).map_err(|_| ModuleError::Versions("a symbol's name is not text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(crc: u64, name: &[u8]) -> Vec<u8> {
        let mut bytes = crc.to_le_bytes().to_vec();
        bytes.extend_from_slice(name);
        bytes.resize(ENTRY, 0);
        bytes
    }

    fn basic(section: &[u8]) -> Result<Versions<'_>, ModuleError> {
        Versions::parse(Endianness::Little, true, Some(section), None, None)
    }

    #[test]
    fn a_name_may_fill_its_field_and_the_first_entry_wins() {
        let long = [b'x'; 56];
        let section = [entry(7, &long), entry(1, b"kfree"), entry(2, b"kfree"), vec![1; 63]].concat();
        let versions = basic(&section).unwrap();
        assert_eq!(versions.len(), 2);
        assert_eq!(versions.get("kfree"), Some(SymbolCrc(1)));
        assert_eq!(versions.get(&"x".repeat(56)), Some(SymbolCrc(7)));
        assert_eq!(versions.get("kfre"), None);
    }

    #[test]
    fn word_size_and_byte_order_decide_how_an_entry_is_read() {
        let mut section = vec![0x12, 0x34, 0x56, 0x78];
        section.extend_from_slice(b"kfree");
        section.resize(ENTRY, 0);
        let versions = Versions::parse(Endianness::Big, false, Some(&section), None, None).unwrap();
        assert_eq!(versions.get("kfree"), Some(SymbolCrc(0x1234_5678)));
    }

    #[test]
    fn the_extended_tables_win_even_when_empty() {
        let section = entry(1, b"kfree");
        let extended = |crcs, names| Versions::parse(Endianness::Little, true, Some(&section), crcs, names);
        let versions = extended(Some(&[9, 0, 0, 0]), Some(b"kfree\0")).unwrap();
        assert_eq!(versions.get("kfree"), Some(SymbolCrc(9)));
        let versions = extended(Some(&[]), Some(b"")).unwrap();
        assert!(versions.are_present() && versions.is_empty());
        assert!(extended(Some(&[9, 0, 0, 0]), None).is_err());
        assert!(extended(Some(&[9, 0, 0, 0, 8, 0, 0, 0]), Some(b"kfree\0kmalloc")).is_err());
    }

    #[test]
    fn a_crc_that_no_symbol_can_have_is_refused() {
        assert!(basic(&entry(1 << 32, b"kfree")).is_err());
        assert!(basic(&entry(1, b"k\xff")).is_err());
    }
}
