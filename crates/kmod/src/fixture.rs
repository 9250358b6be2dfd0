//! Small kernel modules made on the spot, for tests, fuzzing and runs that only pretend to build.
//!
//! They have everything that the reader looks at and nothing that a processor could run: no kernel loads them.

/// Describes a module and writes it as ELF, without a compiler.
#[derive(Debug, Clone)]
pub struct ModuleBuilder {
    info: Vec<(String, String)>,
    versions: Vec<(String, u32)>,
    undefined: Vec<(String, bool)>,
    common: Vec<String>,
    exports: Vec<ExportSpec>,
    form: Form,
    struct_size: usize,
}

#[derive(Debug, Clone)]
struct ExportSpec {
    name: String,
    crc: Option<u32>,
    gpl_only: bool,
    namespace: String,
}

/// What differs between kernels in how the same facts are written down.
#[derive(Debug, Clone, Copy)]
struct Form {
    big_endian: bool,
    machine: u16,
    versions: bool,
    extended_versions: bool,
    absolute_crcs: bool,
    flags_table: bool,
}

const ALLOC: u64 = 2;
const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
const ABS: u16 = 0xfff1;
const COMMON: u16 = 0xfff2;
const GLOBAL: u8 = 1;
const WEAK: u8 = 2;

impl ModuleBuilder {
    /// A GPL module for x86_64, built for a release with the flags of an ordinary kernel.
    #[must_use]
    pub fn new(name: &str, release: &str) -> Self {
        let info = [
            ("license", "GPL"),
            ("name", name),
            ("vermagic", &format!("{release} SMP preempt mod_unload modversions ")),
        ];
        Self {
            info: info.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
            versions: Vec::new(),
            undefined: Vec::new(),
            common: Vec::new(),
            exports: Vec::new(),
            form: Form {
                big_endian: false,
                machine: 62,
                versions: true,
                extended_versions: false,
                absolute_crcs: false,
                flags_table: false,
            },
            struct_size: 896,
        }
    }

    /// Adds to `.modinfo`, or removes a key if the value is empty.
    #[must_use]
    pub fn info(mut self, key: &str, value: &str) -> Self {
        if value.is_empty() {
            self.info.retain(|(known, _)| known != key);
        } else {
            self.info.push((key.to_owned(), value.to_owned()));
        }
        self
    }

    /// Replaces a value in `.modinfo`.
    #[must_use]
    pub fn set(self, key: &str, value: &str) -> Self {
        self.info(key, "").info(key, value)
    }

    /// Needs a symbol, with the CRC that it was built against.
    #[must_use]
    pub fn import(self, symbol: &str, crc: u32) -> Self {
        self.import_unversioned(symbol).version(symbol, crc)
    }

    /// Needs a symbol and has no CRC for it.
    #[must_use]
    pub fn import_unversioned(mut self, symbol: &str) -> Self {
        self.undefined.push((symbol.to_owned(), false));
        self
    }

    /// Uses a symbol if there is one.
    #[must_use]
    pub fn import_weak(mut self, symbol: &str, crc: u32) -> Self {
        self.undefined.push((symbol.to_owned(), true));
        self.version(symbol, crc)
    }

    /// Has a CRC for a symbol, needed or not: `module_layout` for instance.
    #[must_use]
    pub fn version(mut self, symbol: &str, crc: u32) -> Self {
        self.versions.push((symbol.to_owned(), crc));
        self
    }

    /// Has a symbol that only a linker could place.
    #[must_use]
    pub fn common(mut self, symbol: &str) -> Self {
        self.common.push(symbol.to_owned());
        self
    }

    /// Offers a symbol to every module.
    #[must_use]
    pub fn export(self, symbol: &str, crc: u32) -> Self {
        self.export_with(symbol, Some(crc), false, "")
    }

    /// Offers a symbol to modules compatible with the GPL.
    #[must_use]
    pub fn export_gpl(self, symbol: &str, crc: u32) -> Self {
        self.export_with(symbol, Some(crc), true, "")
    }

    /// Offers a symbol with or without CRC, in a namespace unless that is empty.
    #[must_use]
    pub fn export_with(mut self, name: &str, crc: Option<u32>, gpl_only: bool, namespace: &str) -> Self {
        let (name, namespace) = (name.to_owned(), namespace.to_owned());
        self.exports.push(ExportSpec { name, crc, gpl_only, namespace });
        self
    }

    /// Big-endian, for s390x.
    #[must_use]
    pub fn big_endian(mut self) -> Self {
        self.form.big_endian = true;
        self.machine(22)
    }

    /// For another machine, by its ELF number.
    #[must_use]
    pub fn machine(mut self, machine: u16) -> Self {
        self.form.machine = machine;
        self
    }

    /// Without any table of CRCs.
    #[must_use]
    pub fn without_versions(mut self) -> Self {
        self.form.versions = false;
        self
    }

    /// With the extended tables of Linux 6.14 in place of the basic one.
    #[must_use]
    pub fn extended_versions(mut self) -> Self {
        self.form.extended_versions = true;
        self
    }

    /// With CRCs as absolute symbols, as before Linux 5.19.
    #[must_use]
    pub fn absolute_crcs(mut self) -> Self {
        self.form.absolute_crcs = true;
        self
    }

    /// With one table of exports and `__kflagstab`, as in the newest kernels.
    #[must_use]
    pub fn flags_table(mut self) -> Self {
        self.form.flags_table = true;
        self
    }

    /// With another `sizeof(struct module)`.
    #[must_use]
    pub fn struct_size(mut self, size: usize) -> Self {
        self.struct_size = size;
        self
    }

    /// The file.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut out = Writer::new(self.form);
        let info: Vec<u8> =
            self.info.iter().flat_map(|(key, value)| format!("{key}={value}\0").into_bytes()).collect();
        out.section(".modinfo", PROGBITS, ALLOC, info);
        out.section(".gnu.linkonce.this_module", PROGBITS, 3, vec![0; self.struct_size]);
        self.write_versions(&mut out);
        self.write_exports(&mut out);
        for (name, weak) in &self.undefined {
            out.symbol(name, if *weak { WEAK } else { GLOBAL }, 0, 0);
        }
        for name in &self.common {
            out.symbol(name, GLOBAL, COMMON, 8);
        }
        out.finish()
    }

    fn write_versions(&self, out: &mut Writer) {
        if !self.form.versions {
            return;
        }
        if self.form.extended_versions {
            let crcs = self.versions.iter().flat_map(|&(_, crc)| out.u32(crc)).collect();
            let names = self.versions.iter().flat_map(|(name, _)| format!("{name}\0").into_bytes()).collect();
            out.section("__version_ext_crcs", PROGBITS, ALLOC, crcs);
            out.section("__version_ext_names", PROGBITS, ALLOC, names);
        } else {
            let mut table = Vec::new();
            for (name, crc) in &self.versions {
                let end = table.len() + 64;
                table.extend(out.u64(u64::from(*crc)));
                table.extend(name.bytes().take(56));
                table.resize(end, 0);
            }
            out.section("__versions", PROGBITS, ALLOC, table);
        }
    }

    fn write_exports(&self, out: &mut Writer) {
        if self.exports.is_empty() {
            return;
        }
        let mut strings = Vec::new();
        let mut crcs = Vec::new();
        let mut namespaces = Vec::new();
        for export in &self.exports {
            namespaces.push(strings.len());
            strings.extend(format!("{}\0", export.namespace).into_bytes());
            crcs.extend(out.u32(export.crc.unwrap_or_default()));
        }
        // One entry of 12 bytes each, in either table; what stands in them is the linker's business.
        let table = vec![0; 12 * self.exports.len()];
        let all = out.section("__ksymtab", PROGBITS, ALLOC, table.clone());
        let gpl =
            if self.form.flags_table { all } else { out.section("__ksymtab_gpl", PROGBITS, ALLOC, table) };
        let crcs = out.section("__kcrctab", PROGBITS, ALLOC, crcs);
        let strings = out.section("__ksymtab_strings", PROGBITS, ALLOC, strings);
        let flags = self.form.flags_table.then(|| {
            let flags = self.exports.iter().map(|export| u8::from(export.gpl_only)).collect();
            out.section("__kflagstab", PROGBITS, ALLOC, flags)
        });
        for (at, (export, namespace)) in self.exports.iter().zip(namespaces).enumerate() {
            let name = &export.name;
            let section = if export.gpl_only { gpl } else { all };
            out.symbol(&format!("__ksymtab_{name}"), 0, section, 12 * at as u64);
            out.symbol(&format!("__kstrtabns_{name}"), 0, strings, namespace as u64);
            match export.crc {
                Some(crc) if self.form.absolute_crcs => {
                    out.symbol(&format!("__crc_{name}"), GLOBAL, ABS, u64::from(crc));
                }
                Some(_) => out.symbol(&format!("__crc_{name}"), 0, crcs, 4 * at as u64),
                None => {}
            }
            if let Some(flags) = flags {
                out.symbol(&format!("__flags_{name}"), 0, flags, at as u64);
            }
        }
    }
}

/// Appends a signature as `scripts/sign-file` does: the bytes, the trailer of PKCS#7, the marker.
#[must_use]
pub fn sign(content: &[u8], signature: &[u8]) -> Vec<u8> {
    let length = u32::try_from(signature.len()).unwrap_or(u32::MAX).to_be_bytes();
    [content, signature, &[0, 0, 2, 0, 0, 0, 0, 0], &length, b"~Module signature appended~\n"].concat()
}

/// An ELF file of 64 bits in the making: header, sections in their order, section headers.
struct Writer {
    form: Form,
    body: Vec<u8>,
    headers: Vec<u8>,
    count: u16,
    names: Vec<u8>,
    symbols: Vec<u8>,
    strings: Vec<u8>,
}

impl Writer {
    fn new(form: Form) -> Self {
        // The null section header and the null symbol come first in every file.
        let (headers, symbols) = (vec![0; 64], vec![0; 24]);
        Self { form, body: Vec::new(), headers, count: 1, names: vec![0], symbols, strings: vec![0] }
    }

    fn u16(&self, value: u16) -> [u8; 2] {
        if self.form.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u32(&self, value: u32) -> [u8; 4] {
        if self.form.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u64(&self, value: u64) -> [u8; 8] {
        if self.form.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    /// Adds a section and says its number.
    fn section(&mut self, name: &str, kind: u32, flags: u64, data: Vec<u8>) -> u16 {
        let link = if kind == SYMTAB { u32::from(self.count) + 1 } else { 0 };
        let entry = if kind == SYMTAB { 24 } else { 0 };
        let offset = 64 + self.body.len() as u64;
        let header = [
            self.u32(self.names.len() as u32).as_slice(),
            &self.u32(kind),
            &self.u64(flags),
            &self.u64(0),
            &self.u64(offset),
            &self.u64(data.len() as u64),
            &self.u32(link),
            &self.u32(0),
            &self.u64(1),
            &self.u64(entry),
        ]
        .concat();
        self.headers.extend(header);
        self.names.extend(name.bytes());
        self.names.push(0);
        self.body.extend(data);
        self.count += 1;
        self.count - 1
    }

    fn symbol(&mut self, name: &str, binding: u8, section: u16, value: u64) {
        let symbol = [
            self.u32(self.strings.len() as u32).as_slice(),
            &[binding << 4, 0],
            &self.u16(section),
            &self.u64(value),
            &self.u64(0),
        ]
        .concat();
        self.symbols.extend(symbol);
        self.strings.extend(name.bytes());
        self.strings.push(0);
    }

    fn finish(mut self) -> Vec<u8> {
        let (symbols, strings) = (std::mem::take(&mut self.symbols), std::mem::take(&mut self.strings));
        self.section(".symtab", SYMTAB, 0, symbols);
        self.section(".strtab", STRTAB, 0, strings);
        // Its own name must be in it before it is written.
        let mut names = self.names.clone();
        names.extend(b".shstrtab\0");
        let own = self.section(".shstrtab", STRTAB, 0, names);
        let order = if self.form.big_endian { 2 } else { 1 };
        let mut out = vec![0x7f, b'E', b'L', b'F', 2, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        out.extend(self.u16(1));
        out.extend(self.u16(self.form.machine));
        out.extend(self.u32(1));
        out.extend(self.u64(0));
        out.extend(self.u64(0));
        out.extend(self.u64(64 + self.body.len() as u64));
        out.extend(self.u32(0));
        for value in [64, 0, 0, 64, self.count, own] {
            out.extend(self.u16(value));
        }
        [out, self.body, self.headers].concat()
    }
}
