//! The ELF file around a module: sections, symbols, and what each of them means to the loader.

use object::read::elf::{FileHeader, SectionHeader, SectionTable, Sym, SymbolTable};
use object::{Endianness, elf};
use serde::{Deserialize, Serialize};

use crate::compress::Compression;
use crate::exports::{Export, Exports};
use crate::signature::SignatureError;
use crate::versions::Versions;

/// Longest symbol name, without its NUL: `KSYM_NAME_LEN` in `include/linux/kallsyms.h` is 512 since Linux 6.1
/// and was 128 before. It also keeps a file whose names all begin in one long text from costing the square of
/// its size.
const MAX_SYMBOL_NAME: usize = 511;
/// The longest of the prefixes that stand before an exported symbol's name.
const MAX_PREFIX: usize = "__kstrtabns_".len();
/// `MODULE_NAME_LEN` is 56 on machines of 64 bits.
pub(crate) const MAX_MODULE_NAME: usize = 55;
/// Longer section names mean nothing to the loader, and are not read to their end.
const MAX_SECTION_NAME: usize = 64;
/// More than any module has by far: whole kernels export about 25,000 symbols.
const MAX_SYMBOLS: usize = 65_536;

/// Why bytes are no module that can be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// Not ELF.
    #[error("not an ELF file")]
    NotElf,
    /// Decompress first.
    #[error("still compressed with {0}")]
    Compressed(Compression),
    /// The structure does not hold together.
    #[error("damaged ELF file: {0}")]
    Damaged(String),
    /// An executable, a shared library, a core dump.
    #[error("an ELF file of type {0}, where a module is relocatable (type 1)")]
    NotRelocatable(u16),
    /// An object file, but not one that the module loader takes; or the debug information of one.
    #[error("no .modinfo in it: an object file, but no kernel module")]
    NoModinfo,
    /// No kernel has room for such a name.
    #[error("its name is {0} bytes long, more than {MAX_MODULE_NAME}")]
    NameTooLong(usize),
    /// Without symbols nothing can be linked: the module was stripped too far.
    #[error("no symbol table in it: the module was stripped too far to be loaded")]
    NoSymbols,
    /// More symbols of one kind than any kernel has.
    #[error("more than {MAX_SYMBOLS} {0} symbols")]
    TooManySymbols(&'static str),
    /// A symbol without a usable name.
    #[error("symbol {index}: {reason}")]
    SymbolName {
        /// Its place in the symbol table.
        index: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// There is a table of exports, but nothing in the symbol table says what is in it.
    #[error("it exports symbols, but its symbol table no longer names them: it was stripped too far")]
    ExportsUnnamed,
    /// The table of CRCs is damaged.
    #[error("symbol versions: {0}")]
    Versions(&'static str),
    /// What follows the module is damaged.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl From<object::read::Error> for ModuleError {
    fn from(error: object::read::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// The machine that a module is for, by its ELF number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Machine(pub u16);

impl Machine {
    /// AMD and Intel, 64 bits.
    pub const X86_64: Self = Self(elf::EM_X86_64.0);
    /// ARM, 64 bits.
    pub const AARCH64: Self = Self(elf::EM_AARCH64.0);
    /// POWER, 64 bits, of either byte order.
    pub const PPC64: Self = Self(elf::EM_PPC64.0);
    /// IBM Z.
    pub const S390: Self = Self(elf::EM_S390.0);
    /// RISC-V, of either word size.
    pub const RISCV: Self = Self(elf::EM_RISCV.0);
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match elf::Machine(self.0) {
            elf::EM_X86_64 => f.write_str("x86_64"),
            elf::EM_AARCH64 => f.write_str("aarch64"),
            elf::EM_PPC64 => f.write_str("ppc64"),
            elf::EM_S390 => f.write_str("s390x"),
            elf::EM_RISCV => f.write_str("riscv"),
            _ => write!(f, "ELF machine {}", self.0),
        }
    }
}

/// A symbol that a module needs from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Undefined<'data> {
    /// Its name.
    pub name: &'data str,
    /// Whether the module does without it where nobody offers it.
    pub weak: bool,
}

/// What the loader takes from the ELF file.
#[derive(Debug, Clone)]
pub(crate) struct Elf<'data> {
    pub machine: Machine,
    pub modinfo: &'data [u8],
    pub versions: Versions<'data>,
    pub undefined: Vec<Undefined<'data>>,
    pub common: Vec<&'data str>,
    pub exports: Vec<Export<'data>>,
    pub struct_size: Option<u64>,
    pub build_id: Option<&'data [u8]>,
}

impl<'data> Elf<'data> {
    /// Reads an ELF file of either word size and byte order.
    pub fn parse(content: &'data [u8]) -> Result<Self, ModuleError> {
        if !content.starts_with(&elf::ELFMAG) {
            return Err(match Compression::detect(content) {
                Compression::None => ModuleError::NotElf,
                compression => ModuleError::Compressed(compression),
            });
        }
        match content.get(4).copied().map(elf::FileClass) {
            Some(elf::ELFCLASS32) => read::<elf::FileHeader32<Endianness>>(content),
            Some(elf::ELFCLASS64) => read::<elf::FileHeader64<Endianness>>(content),
            _ => Err(ModuleError::Damaged("neither 32 nor 64 bits wide".to_owned())),
        }
    }
}

/// The sections by the names that the loader knows.
#[derive(Default)]
struct Sections<'data> {
    modinfo: Option<&'data [u8]>,
    versions: Option<&'data [u8]>,
    version_ext_crcs: Option<&'data [u8]>,
    version_ext_names: Option<&'data [u8]>,
    struct_size: Option<u64>,
    build_id: Option<&'data [u8]>,
    /// Some table of exports has something in it.
    has_exports: bool,
    has_flags: bool,
    /// By section number: what a symbol in it may be.
    kinds: Vec<SectionKind>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SectionKind {
    Other,
    Exports { gpl_only: bool },
    ExportFlags,
}

impl SectionKind {
    fn of(name: &[u8]) -> Self {
        match name {
            // The unused and future kinds went in Linux 5.12; Enterprise Linux 8 still has them.
            b"__ksymtab" | b"__ksymtab_unused" => Self::Exports { gpl_only: false },
            b"__ksymtab_gpl" | b"__ksymtab_gpl_future" | b"__ksymtab_unused_gpl" => {
                Self::Exports { gpl_only: true }
            }
            b"__kflagstab" => Self::ExportFlags,
            _ => Self::Other,
        }
    }
}

impl<'data> Sections<'data> {
    fn find<E: FileHeader<Endian = Endianness>>(
        endian: Endianness,
        content: &'data [u8],
        table: &SectionTable<'data, E>,
        names: object::SectionIndex,
    ) -> Result<Self, ModuleError> {
        let mut found = Self { kinds: Vec::with_capacity(table.len()), ..Self::default() };
        let names = table.section(names)?.data(endian, content)?;
        for section in table.iter() {
            let name = names.get(section.sh_name(endian) as usize..).ok_or_else(|| {
                ModuleError::Damaged("a section's name lies outside of the file".to_owned())
            })?;
            let name = &name[..name.len().min(MAX_SECTION_NAME)];
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            // "Alloc bit cleared means ignore it": how `modprobe --force` hides the versions (`find_sec` in
            // kernel/module/main.c).
            let alloc = section.sh_flags(endian).contains(elf::SHF_ALLOC);
            let kind = if alloc { SectionKind::of(name) } else { SectionKind::Other };
            found.kinds.push(kind);
            let data = || section.data(endian, content);
            match name {
                b".modinfo" if found.modinfo.is_none() => found.modinfo = Some(data()?),
                b"__versions" if alloc && found.versions.is_none() => found.versions = Some(data()?),
                b"__version_ext_crcs" if alloc && found.version_ext_crcs.is_none() => {
                    found.version_ext_crcs = Some(data()?);
                }
                b"__version_ext_names" if alloc && found.version_ext_names.is_none() => {
                    found.version_ext_names = Some(data()?);
                }
                b".gnu.linkonce.this_module" if found.struct_size.is_none() => {
                    found.struct_size = Some(section.sh_size(endian).into());
                }
                b".note.gnu.build-id" if found.build_id.is_none() => {
                    found.build_id = build_id(endian, data()?);
                }
                _ => match kind {
                    SectionKind::Exports { .. } => found.has_exports |= !data()?.is_empty(),
                    SectionKind::ExportFlags => found.has_flags = true,
                    SectionKind::Other => {}
                },
            }
        }
        Ok(found)
    }
}

/// The description of the one note in `.note.gnu.build-id`: sizes of name and description, type 3, "GNU\0".
fn build_id(endian: Endianness, note: &[u8]) -> Option<&[u8]> {
    use object::Endian;
    let (header, rest) = note.split_first_chunk::<16>()?;
    let word = |at: usize| Some(endian.read_u32(*header.get(at..)?.first_chunk::<4>()?));
    if word(0)? != 4 || word(8)? != 3 || header.get(12..)? != b"GNU\0" {
        return None;
    }
    rest.get(..usize::try_from(word(4)?).ok()?)
}

fn read<'data, E: FileHeader<Endian = Endianness>>(content: &'data [u8]) -> Result<Elf<'data>, ModuleError> {
    let header = E::parse(content)?;
    let endian = header.endian()?;
    if header.e_type(endian) != elf::ET_REL {
        return Err(ModuleError::NotRelocatable(header.e_type(endian).0));
    }
    let table = header.sections(endian, content)?;
    let sections = Sections::find(endian, content, &table, header.section_strings_index(endian, content)?)?;
    // Debug files keep the section's header and drop its bytes.
    let modinfo = sections.modinfo.filter(|bytes| !bytes.is_empty()).ok_or(ModuleError::NoModinfo)?;
    let versions = Versions::parse(
        endian,
        header.is_type_64(),
        sections.versions,
        sections.version_ext_crcs,
        sections.version_ext_names,
    )?;
    let symbols = read_symbols(endian, content, &table, &sections)?;
    Ok(Elf {
        machine: Machine(header.e_machine(endian).0),
        modinfo,
        versions,
        undefined: symbols.undefined,
        common: symbols.common,
        exports: symbols.exports.finish(),
        struct_size: sections.struct_size,
        build_id: sections.build_id,
    })
}

#[derive(Default)]
struct Symbols<'data> {
    undefined: Vec<Undefined<'data>>,
    common: Vec<&'data str>,
    exports: Exports<'data>,
}

fn read_symbols<'data, E: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    content: &'data [u8],
    table: &SectionTable<'data, E>,
    sections: &Sections<'data>,
) -> Result<Symbols<'data>, ModuleError> {
    let symtab = table.symbols(endian, content, elf::SHT_SYMTAB)?;
    if symtab.is_empty() {
        return Err(ModuleError::NoSymbols);
    }
    let strings = table.section(symtab.string_section())?.data(endian, content)?;
    let reader = Reader { endian, content, table, sections, strings };
    let mut found = Symbols::default();
    // The first symbol is the null symbol by definition.
    for (index, symbol) in symtab.enumerate().skip(1) {
        reader.take(&symtab, index.0, symbol, &mut found)?;
    }
    if sections.has_exports && found.exports.is_empty() {
        return Err(ModuleError::ExportsUnnamed);
    }
    // A relocatable file has each name once. One that a linker did not write may not: needed is needed.
    found.undefined.sort_unstable();
    found.undefined.dedup_by_key(|undefined| undefined.name);
    found.common.sort_unstable();
    found.common.dedup();
    Ok(found)
}

struct Reader<'data, 'a, E: FileHeader<Endian = Endianness>> {
    endian: Endianness,
    content: &'data [u8],
    table: &'a SectionTable<'data, E>,
    sections: &'a Sections<'data>,
    strings: &'data [u8],
}

impl<'data, E: FileHeader<Endian = Endianness>> Reader<'data, '_, E> {
    fn take(
        &self,
        symtab: &SymbolTable<'data, E>,
        index: usize,
        symbol: &'data E::Sym,
        found: &mut Symbols<'data>,
    ) -> Result<(), ModuleError> {
        let start = symbol.st_name(self.endian) as usize;
        let tail = self
            .strings
            .get(start..)
            .ok_or(ModuleError::SymbolName { index, reason: "its name lies outside of the string table" })?;
        let name = || symbol_name(tail, index);
        match symbol.st_shndx(self.endian) {
            elf::SHN_UNDEF => {
                let name = name()?;
                // Old assemblers leave this one behind; nothing refers to it (`ignore_undef_symbol` in
                // kernel/module/main.c).
                if name == "_GLOBAL_OFFSET_TABLE_" {
                    return Ok(());
                }
                found.undefined.push(Undefined { name, weak: symbol.st_bind() == elf::STB_WEAK });
                limit(found.undefined.len(), "undefined")
            }
            elf::SHN_COMMON => {
                // Left by link-time optimisation; the loader passes it over.
                if !tail.starts_with(b"__gnu_lto") {
                    found.common.push(name()?);
                }
                limit(found.common.len(), "common")
            }
            // Nearly every symbol of a module is its own business, and is not even read to its end.
            _ if !tail.starts_with(b"__") => Ok(()),
            elf::SHN_ABS if tail.starts_with(b"__crc_") => {
                // Before Linux 5.19, the linker made the CRC the symbol's value.
                if let Ok(crc) = u32::try_from(symbol.st_value(self.endian).into()) {
                    found.exports.crc(&name()?["__crc_".len()..], crc);
                }
                limit(found.exports.len(), "exported")
            }
            _ => {
                let Some(section) = symtab.symbol_section(self.endian, symbol, object::SymbolIndex(index))?
                else {
                    return Ok(());
                };
                self.take_export(section, symbol.st_value(self.endian).into(), tail, index, found)
            }
        }
    }

    fn take_export(
        &self,
        section: object::SectionIndex,
        value: u64,
        tail: &'data [u8],
        index: usize,
        found: &mut Symbols<'data>,
    ) -> Result<(), ModuleError> {
        let kind = *self.sections.kinds.get(section.0).unwrap_or(&SectionKind::Other);
        let name = |prefix: &str| symbol_name(tail, index).map(|name| &name[prefix.len()..]);
        // The bytes at a symbol: where it stands in its section.
        let bytes = || -> Option<&'data [u8]> {
            let data = self.table.section(section).ok()?.data(self.endian, self.content).ok()?;
            data.get(usize::try_from(value).ok()?..)
        };
        if tail.starts_with(b"__ksymtab_") {
            if let SectionKind::Exports { gpl_only } = kind {
                found.exports.export(name("__ksymtab_")?, gpl_only);
            }
        } else if tail.starts_with(b"__crc_") {
            // Since Linux 5.19, and on some machines before, the CRC is what stands at the symbol.
            if let Some(crc) = bytes().and_then(<[u8]>::first_chunk::<4>) {
                let crc = object::Endian::read_u32(self.endian, *crc);
                found.exports.crc(name("__crc_")?, crc);
            }
        } else if tail.starts_with(b"__kstrtabns_") {
            if let Some(namespace) = bytes().filter(|bytes| bytes.first() != Some(&0)) {
                found.exports.namespace(name("__kstrtabns_")?, symbol_name(namespace, index)?);
            }
        } else if tail.starts_with(b"__flags_")
            && kind == SectionKind::ExportFlags
            && let Some(flags) = bytes().and_then(<[u8]>::first)
        {
            found.exports.flags(name("__flags_")?, *flags);
        }
        limit(found.exports.len(), "exported")
    }
}

fn limit(count: usize, kind: &'static str) -> Result<(), ModuleError> {
    if count > MAX_SYMBOLS { Err(ModuleError::TooManySymbols(kind)) } else { Ok(()) }
}

/// The text up to the next NUL.
fn symbol_name(tail: &[u8], index: usize) -> Result<&str, ModuleError> {
    let error = |reason| ModuleError::SymbolName { index, reason };
    let window = &tail[..tail.len().min(MAX_SYMBOL_NAME + MAX_PREFIX + 1)];
    let end = window.iter().position(|&byte| byte == 0);
    let name = &window[..end.ok_or(error("its name has no end, or is longer than kernels allow"))?];
    std::str::from_utf8(name).map_err(|_| error("its name is not text"))
}
