//! A kernel's configuration, as far as the loading of modules depends on it.

use std::collections::BTreeSet;

use crate::Machine;
use crate::reference::{KernelReference, ReferenceSource};

/// An architecture, as a kernel's configuration names it.
struct Port {
    /// The option that is set for it alone.
    option: &'static str,
    /// What its modules have in their ELF header.
    machine: Machine,
    /// Its word at the end of the version magic: `MODULE_ARCH_VERMAGIC` in `arch/*/include/asm/vermagic.h`.
    /// `None` where more than one option decides about it.
    word: Option<&'static str>,
}

const PORTS: &[Port] = &[
    Port { option: "X86_64", machine: Machine::X86_64, word: Some("") },
    Port { option: "ARM64", machine: Machine::AARCH64, word: Some("aarch64") },
    Port { option: "PPC64", machine: Machine::PPC64, word: None },
    Port { option: "S390", machine: Machine::S390, word: None },
    Port { option: "RISCV", machine: Machine::RISCV, word: None },
];

/// The options that are built in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelConfig {
    set: BTreeSet<String>,
}

impl KernelConfig {
    /// Reads a configuration in any of its forms: `CONFIG_SMP=y` of `.config` and `auto.conf`, and
    /// `#define CONFIG_SMP 1` of `autoconf.h`. Every other line is passed over.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let set = text.split(|&byte| byte == b'\n').filter_map(built_in).map(str::to_owned).collect();
        Self { set }
    }

    /// Whether an option, named without `CONFIG_`, is built in.
    #[must_use]
    pub fn is_set(&self, option: &str) -> bool {
        self.set.contains(option)
    }

    /// Whether a namespace that a module does not import is a warning: `CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS`
    /// of `kernel/module/Kconfig`.
    #[must_use]
    pub fn allows_missing_namespace_imports(&self) -> bool {
        self.is_set("MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS")
    }

    /// What the kernel wants of its modules, as far as that follows from its configuration; `None` where nothing
    /// does.
    #[must_use]
    pub fn reference(&self) -> Option<KernelReference> {
        let port = PORTS.iter().find(|port| self.is_set(port.option))?;
        Some(KernelReference {
            source: ReferenceSource::Configuration,
            flags: port.word.map(|word| self.flags(word)),
            has_unknown_seed: self.has_random_layout(),
            machine: Some(port.machine),
            module_struct_size: None,
        })
    }

    /// The words of `VERMAGIC_STRING` in `include/linux/vermagic.h` (5.14 to 6.18), in their order, but for the
    /// seed of a random layout, which is in no configuration.
    fn flags(&self, arch: &str) -> String {
        // `PREEMPT_BUILD` came with 5.16, and `PREEMPT` selects it, or `PREEMPT_DYNAMIC` does; before, it was
        // `PREEMPT` itself.
        let preempt =
            match (self.is_set("PREEMPT_BUILD") || self.is_set("PREEMPT"), self.is_set("PREEMPT_RT")) {
                (true, _) => "preempt",
                (false, true) => "preempt_rt",
                (false, false) => "",
            };
        let word = |option, word| if self.is_set(option) { word } else { "" };
        let words = [
            word("SMP", "SMP"),
            preempt,
            word("MODULE_UNLOAD", "mod_unload"),
            word("MODVERSIONS", "modversions"),
            arch,
        ];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// Whether the version magic ends with a `RANDSTRUCT_` word: `CONFIG_RANDSTRUCT` of
    /// `security/Kconfig.hardening` since 5.19, before it that of the compiler's plugin.
    fn has_random_layout(&self) -> bool {
        ["RANDSTRUCT", "GCC_PLUGIN_RANDSTRUCT"].iter().any(|option| self.is_set(option))
    }
}

/// The option that a line sets.
fn built_in(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    match line.strip_prefix("#define ") {
        Some(define) => define.strip_prefix("CONFIG_")?.strip_suffix(" 1"),
        None => line.strip_prefix("CONFIG_")?.strip_suffix("=y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vermagic;

    fn flags(options: &str) -> Option<String> {
        let text: String = options.split(' ').map(|option| format!("CONFIG_{option}=y\n")).collect();
        KernelConfig::parse(text.as_bytes()).reference()?.flags
    }

    #[test]
    fn the_version_magic_follows_from_the_configuration() {
        for (options, expected) in [
            ("X86_64 SMP PREEMPT_BUILD MODULE_UNLOAD MODVERSIONS", "SMP preempt mod_unload modversions"),
            // 5.14, before PREEMPT_BUILD.
            ("X86_64 SMP PREEMPT MODULE_UNLOAD MODVERSIONS", "SMP preempt mod_unload modversions"),
            ("X86_64 SMP PREEMPT_VOLUNTARY MODULE_UNLOAD MODVERSIONS", "SMP mod_unload modversions"),
            ("X86_64 SMP PREEMPT_RT MODULE_UNLOAD MODVERSIONS", "SMP preempt_rt mod_unload modversions"),
            // 6.13, where a real-time kernel may be built with either.
            ("X86_64 SMP PREEMPT_RT PREEMPT_BUILD MODULE_UNLOAD", "SMP preempt mod_unload"),
            (
                "ARM64 SMP PREEMPT_BUILD MODULE_UNLOAD MODVERSIONS",
                "SMP preempt mod_unload modversions aarch64",
            ),
            ("X86_64", ""),
        ] {
            assert_eq!(flags(options).as_deref(), Some(expected), "{options}");
        }
        // Powerpc's words depend on how ftrace is built; what is not known is not made up.
        assert_eq!(flags("PPC64 SMP"), None);
    }

    #[test]
    fn every_form_of_a_configuration_says_the_same() {
        let dot = b"# CONFIG_PREEMPT_RT is not set\nCONFIG_X86_64=y\nCONFIG_SMP=y\r\nCONFIG_E1000=m\nCONFIG_HZ=250\n";
        let header = b"#define CONFIG_X86_64 1\n#define CONFIG_SMP 1\n#define CONFIG_E1000_MODULE 1\n#define CONFIG_HZ 250\n";
        let dot = KernelConfig::parse(dot);
        assert_eq!(dot.reference(), KernelConfig::parse(header).reference());
        assert!(dot.is_set("SMP") && !dot.is_set("E1000") && !dot.is_set("PREEMPT_RT"));
        assert_eq!(dot.reference().unwrap().machine, Some(Machine::X86_64));
        assert_eq!(KernelConfig::parse(b"hello\n\xff\nCONFIG_SMP=y\n").reference(), None);
    }

    #[test]
    fn the_seed_of_a_random_layout_is_left_out_of_the_comparison() {
        let magic = Vermagic::parse("6.1 SMP mod_unload RANDSTRUCT_5e5ee5");
        let joined = Vermagic::parse("6.1 SMP mod_unload aarch64RANDSTRUCT_PLUGIN_5e5ee5");
        let reference = |text: &[u8]| KernelConfig::parse(text).reference().unwrap();
        let random =
            reference(b"CONFIG_X86_64=y\nCONFIG_SMP=y\nCONFIG_MODULE_UNLOAD=y\nCONFIG_RANDSTRUCT=y\n");
        assert!(random.has_flags_of(&magic));
        assert!(!random.has_flags_of(&joined));
        let plain =
            reference(b"CONFIG_X86_64=y\nCONFIG_SMP=y\nCONFIG_MODULE_UNLOAD=y\nCONFIG_RANDSTRUCT_NONE=y\n");
        assert!(!plain.has_flags_of(&magic));
        let arm = reference(
            b"CONFIG_ARM64=y\nCONFIG_SMP=y\nCONFIG_MODULE_UNLOAD=y\nCONFIG_GCC_PLUGIN_RANDSTRUCT=y\n",
        );
        assert!(arm.has_flags_of(&joined));
    }
}
