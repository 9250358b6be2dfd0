//! One kernel module.

use std::borrow::Cow;

use drivetrain_model::Sha256Digest;
use serde::{Deserialize, Serialize};

use crate::elf::{Elf, MAX_MODULE_NAME, Machine, ModuleError, Undefined};
use crate::signature::SignatureSummary;
use crate::{Export, Modinfo, Signature, Vermagic, Versions, is_gpl_compatible};

/// A kernel module as the loader sees it, borrowed from the file's bytes.
///
/// Reading it costs one walk over the section headers and one over the symbol table; code and debug
/// information are never looked at.
#[derive(Debug, Clone)]
pub struct Module<'data> {
    content: &'data [u8],
    signature: Option<Signature<'data>>,
    modinfo: Modinfo<'data>,
    elf: Elf<'data>,
}

impl<'data> Module<'data> {
    /// Reads the bytes of an uncompressed `.ko` file (see [`crate::decompress`]), with or without a signature.
    pub fn parse(file: &'data [u8]) -> Result<Self, ModuleError> {
        let (content, signature) = Signature::split(file)?;
        let elf = Elf::parse(content)?;
        let module = Self { content, signature, modinfo: Modinfo::parse(elf.modinfo), elf };
        match module.name() {
            Some(name) if name.len() > MAX_MODULE_NAME => Err(ModuleError::NameTooLong(name.len())),
            _ => Ok(module),
        }
    }

    /// Everything in `.modinfo`.
    #[must_use]
    pub fn modinfo(&self) -> &Modinfo<'data> {
        &self.modinfo
    }

    /// The name under which the kernel knows the module. `.modinfo` has it since Linux 4.13; before, the
    /// file's name is all there is.
    #[must_use]
    pub fn name(&self) -> Option<Cow<'data, str>> {
        self.modinfo.get("name").filter(|name| !name.is_empty())
    }

    /// The version magic, whole.
    #[must_use]
    pub fn vermagic(&self) -> Option<Cow<'data, str>> {
        self.modinfo.get("vermagic")
    }

    /// The modules that it said it needs when it was built. Neither kernel nor modprobe looks at it: the
    /// kernel looks for symbols, and so does depmod.
    #[must_use]
    pub fn depends(&self) -> Vec<String> {
        let depends = self.modinfo.get("depends").unwrap_or_default();
        depends.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// Whether the module may use GPL-only symbols.
    #[must_use]
    pub fn is_gpl(&self) -> bool {
        self.modinfo.get("license").is_some_and(|license| is_gpl_compatible(&license))
    }

    /// The symbol namespaces that it imports.
    #[must_use]
    pub fn imported_namespaces(&self) -> Vec<Cow<'data, str>> {
        self.modinfo.all("import_ns").collect()
    }

    /// The machine that it is for.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.elf.machine
    }

    /// The CRCs that it was built against.
    #[must_use]
    pub fn versions(&self) -> &Versions<'data> {
        &self.elf.versions
    }

    /// What it needs from the kernel or other modules, sorted by name.
    #[must_use]
    pub fn undefined(&self) -> &[Undefined<'data>] {
        &self.elf.undefined
    }

    /// Symbols left to the linker (`-fcommon`), for which the kernel refuses the module.
    #[must_use]
    pub fn common(&self) -> &[&'data str] {
        &self.elf.common
    }

    /// What it offers to other modules, sorted by name.
    #[must_use]
    pub fn exports(&self) -> &[Export<'data>] {
        &self.elf.exports
    }

    /// `sizeof(struct module)` where it was built: the size of `.gnu.linkonce.this_module`. Kernels since 6.4
    /// refuse a module if theirs differs (`elf_validity_cache_index_mod` in `kernel/module/main.c`).
    #[must_use]
    pub fn module_struct_size(&self) -> Option<u64> {
        self.elf.struct_size
    }

    /// The build id that the linker gave it.
    #[must_use]
    pub fn build_id(&self) -> Option<&'data [u8]> {
        self.elf.build_id
    }

    /// The signature appended to it.
    #[must_use]
    pub fn signature(&self) -> Option<&Signature<'data>> {
        self.signature.as_ref()
    }

    /// The file without its signature: what a signature signs.
    #[must_use]
    pub fn content(&self) -> &'data [u8] {
        self.content
    }

    /// The digest of [`Self::content`]: the same before and after signing. Computed anew by each call.
    #[must_use]
    pub fn content_digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.content)
    }

    /// What is worth keeping of it when the bytes are gone.
    #[must_use]
    pub fn summary(&self) -> ModuleSummary {
        let get = |key| self.modinfo.get(key).map(Cow::into_owned);
        ModuleSummary {
            name: self.name().map(Cow::into_owned),
            release: self.vermagic().map(|magic| Vermagic::parse(&magic).release.to_owned()),
            vermagic: get("vermagic"),
            version: get("version"),
            srcversion: get("srcversion"),
            license: get("license"),
            machine: self.machine().to_string(),
            depends: self.depends(),
            import_ns: self.imported_namespaces().into_iter().map(Cow::into_owned).collect(),
            aliases: self.modinfo.count("alias"),
            undefined: self.undefined().len(),
            exports: self.exports().len(),
            build_id: self.build_id().map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect()),
            signature: self.signature().map(Signature::summary),
            content_sha256: self.content_digest(),
        }
    }
}

/// A module in a few lines, owned and serialisable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleSummary {
    /// The kernel's name for it.
    pub name: Option<String>,
    /// The kernel release that it was built for.
    pub release: Option<String>,
    /// The version magic, whole.
    pub vermagic: Option<String>,
    /// What `MODULE_VERSION` says.
    pub version: Option<String>,
    /// The digest that modpost takes of the module's sources.
    pub srcversion: Option<String>,
    /// What `MODULE_LICENSE` says.
    pub license: Option<String>,
    /// The machine that it is for.
    pub machine: String,
    /// The modules that it said it needs.
    pub depends: Vec<String>,
    /// The symbol namespaces that it imports.
    pub import_ns: Vec<String>,
    /// How many device aliases it has.
    pub aliases: usize,
    /// How many symbols it needs.
    pub undefined: usize,
    /// How many symbols it offers.
    pub exports: usize,
    /// Its build id in hexadecimal.
    pub build_id: Option<String>,
    /// Its signature.
    pub signature: Option<SignatureSummary>,
    /// The digest of the file without its signature.
    pub content_sha256: Sha256Digest,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SymbolCrc;
    use crate::fixture::{ModuleBuilder, sign};

    fn rich() -> ModuleBuilder {
        ModuleBuilder::new("ib_core", "6.1.0-56-cloud-amd64")
            .info("alias", "net-pf-16")
            .info("alias", "rdma-netlink")
            .info("import_ns", "DMA_BUF")
            .info("depends", "a,b")
            .version("module_layout", 7)
            .import("kfree", 1)
            .import_weak("maybe", 2)
            .import_unversioned("_GLOBAL_OFFSET_TABLE_")
            .export("ib_a", 0x1234_abcd)
            .export_with("ib_b", Some(4), true, "IB")
            .export_with("ib_c", None, false, "")
    }

    fn facts(bytes: &[u8]) -> (Vec<Undefined<'_>>, Vec<Export<'_>>, Vec<(&str, SymbolCrc)>) {
        let module = Module::parse(bytes).unwrap();
        let versions = module.versions().iter().collect();
        (module.undefined().to_vec(), module.exports().to_vec(), versions)
    }

    #[test]
    fn everything_that_was_written_is_read() {
        let bytes = rich().build();
        let module = Module::parse(&bytes).unwrap();
        assert_eq!(module.name().unwrap(), "ib_core");
        assert_eq!(module.depends(), ["a", "b"]);
        assert_eq!(module.imported_namespaces(), ["DMA_BUF"]);
        assert!(module.is_gpl() && module.signature().is_none());
        assert_eq!((module.machine(), module.module_struct_size()), (Machine::X86_64, Some(896)));
        let (undefined, exports, versions) = facts(&bytes);
        assert_eq!(
            undefined,
            [Undefined { name: "kfree", weak: false }, Undefined { name: "maybe", weak: true }]
        );
        let export = |name, crc: Option<u32>, gpl_only, namespace| Export {
            name,
            crc: crc.map(SymbolCrc),
            gpl_only,
            namespace,
        };
        let expected = [
            export("ib_a", Some(0x1234_abcd), false, None),
            export("ib_b", Some(4), true, Some("IB")),
            export("ib_c", None, false, None),
        ];
        assert_eq!(exports, expected);
        assert_eq!(versions.len(), 3);
        assert_eq!(module.summary().aliases, 2);
    }

    #[test]
    fn every_form_of_the_same_module_says_the_same() {
        let plain = rich().build();
        for other in [
            rich().big_endian().build(),
            rich().extended_versions().build(),
            rich().absolute_crcs().build(),
            rich().flags_table().build(),
            sign(&rich().build(), b"signature"),
            [b"x", rich().build().as_slice()].concat().split_off(1),
        ] {
            assert_eq!(facts(&plain), facts(&other));
        }
    }

    #[test]
    fn bytes_may_begin_at_any_address() {
        let mut bytes = vec![0];
        bytes.extend(rich().build());
        assert!(Module::parse(&bytes[1..]).is_ok());
    }

    #[test]
    fn a_signature_does_not_change_the_digest() {
        let plain = rich().build();
        let signed = sign(&plain, b"signature");
        let (plain, signed) = (Module::parse(&plain).unwrap(), Module::parse(&signed).unwrap());
        assert_eq!(plain.content_digest(), signed.content_digest());
        assert_eq!(signed.signature().unwrap().bytes, b"signature");
        assert_eq!(signed.summary().signature.unwrap().length, 9);
    }

    #[test]
    fn what_is_no_module_says_why() {
        let error = |bytes: &[u8]| Module::parse(bytes).unwrap_err().to_string();
        assert_eq!(error(b""), "not an ELF file");
        assert_eq!(error(b"\xfd7zXZ\0\0"), "still compressed with xz");
        assert_eq!(error(b"\x7fELF\x07"), "damaged ELF file: neither 32 nor 64 bits wide");
        let mut bytes = rich().build();
        bytes[16] = 2;
        assert_eq!(error(&bytes), "an ELF file of type 2, where a module is relocatable (type 1)");
        let empty = ModuleBuilder::new("", "").info("name", "").info("license", "").info("vermagic", "");
        assert_eq!(error(&empty.build()), "no .modinfo in it: an object file, but no kernel module");
    }

    #[test]
    fn a_symbol_name_without_end_is_refused_before_it_costs_anything() {
        let long = "x".repeat(5000);
        let bytes = ModuleBuilder::new("a", "6.1").import_unversioned(&long).build();
        assert!(matches!(Module::parse(&bytes), Err(ModuleError::SymbolName { index: 1, .. })));
    }

    #[test]
    fn a_module_whose_name_fits_no_kernel_is_refused() {
        assert!(Module::parse(&ModuleBuilder::new(&"x".repeat(55), "6.1").import("a", 1).build()).is_ok());
        let bytes = ModuleBuilder::new(&"x".repeat(56), "6.1").import("a", 1).build();
        assert_eq!(Module::parse(&bytes).unwrap_err(), ModuleError::NameTooLong(56));
    }

    #[test]
    fn a_module_with_a_flood_of_symbols_is_refused() {
        let mut module = ModuleBuilder::new("a", "6.1");
        for n in 0..70_000 {
            module = module.import_unversioned(&n.to_string());
        }
        assert_eq!(Module::parse(&module.build()).unwrap_err(), ModuleError::TooManySymbols("undefined"));
    }

    /// Everything that a reader of the module can ask, so that nothing lazy hides a panic.
    fn ask_everything(bytes: &[u8]) {
        if let Ok(module) = Module::parse(bytes) {
            assert!(module.summary().undefined <= bytes.len());
            assert!(module.modinfo().iter().count() <= bytes.len());
            assert!(module.versions().iter().len() <= bytes.len());
        }
    }

    #[test]
    fn no_truncation_makes_the_reader_panic() {
        for bytes in
            [rich().build(), rich().big_endian().extended_versions().build(), sign(&rich().build(), b"s")]
        {
            for end in 0..bytes.len() {
                ask_everything(&bytes[..end]);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_mutation_makes_the_reader_panic(
            form in 0..4_usize,
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        ) {
            let module = rich();
            let mut bytes = match form {
                0 => module.build(),
                1 => module.big_endian().extended_versions().build(),
                2 => module.absolute_crcs().flags_table().build(),
                _ => sign(&module.build(), b"signature"),
            };
            for (at, value) in edits {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            ask_everything(&bytes);
        }
    }
}
