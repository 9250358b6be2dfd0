//! What differs between two builds of a module.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use drivetrain_model::Sha256Digest;
use object::{Object as _, ObjectSection as _};
use serde::{Deserialize, Serialize};

use crate::{Module, SymbolCrc};

/// What of a module is another in another build of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ModuleDifference {
    /// What it says of itself, by the key in `.modinfo`; where a key is there several times, all of them together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modinfo: Vec<Changed<String>>,
    /// The symbols that it needs, with the CRCs that it was built against.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Changed<Needed>>,
    /// The symbols that it offers, with their CRCs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<Changed<Needed>>,
    /// Other sections whose bytes differ, or which one of the two has not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<String>,
    /// Its signature, by the digest of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Changed<Sha256Digest>>,
}

/// A symbol's CRC: absent where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needed {
    /// The CRC.
    pub crc: Option<SymbolCrc>,
}

/// Something that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed<T> {
    /// What it is.
    pub what: String,
    /// In the first; absent where that has it not.
    pub before: Option<T>,
    /// In the second.
    pub after: Option<T>,
}

/// Where a linker puts the digest over all the rest, which differs with anything else; and where the kernel's build puts
/// its salt, which is the kernel's name for distributions (`include/linux/build-salt.h`).
const FOLLOWING: [&str; 2] = [".note.gnu.build-id", ".note.Linux"];
/// What is compared by its meaning.
const TOLD: [&str; 3] = [".modinfo", "__versions", "__version_ext_crcs"];
const TOLD_TOO: &str = "__version_ext_names";

impl ModuleDifference {
    /// Compares two modules.
    #[must_use]
    pub fn between(before: &Module<'_>, after: &Module<'_>) -> Self {
        let digest = |module: &Module<'_>| module.signature().map(|signature| signature.summary().sha256);
        let (was, is) = (digest(before), digest(after));
        let signature = (was != is).then(|| Changed { what: "signature".to_owned(), before: was, after: is });
        if before.content() == after.content() {
            return Self { signature, ..Self::default() };
        }
        Self {
            modinfo: changed(&modinfo(before), &modinfo(after)),
            needs: changed(&needs(before), &needs(after)),
            offers: changed(&offers(before), &offers(after)),
            sections: sections(before, after),
            signature,
        }
    }

    /// Whether nothing differs, a signature aside.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.modinfo.is_empty() && self.needs.is_empty() && self.offers.is_empty() && self.sections.is_empty()
    }

    /// Whether the two differ in the kernel that they say they are for, and in nothing that follows from anything else.
    #[must_use]
    pub fn is_only_vermagic(&self) -> bool {
        !self.modinfo.is_empty()
            && self.modinfo.iter().all(|changed| changed.what == "vermagic")
            && self.needs.is_empty()
            && self.offers.is_empty()
            && self.sections.is_empty()
    }
}

/// In a few words.
impl fmt::Display for ModuleDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str(if self.signature.is_some() { "only the signature" } else { "nothing" });
        }
        if self.is_only_vermagic() {
            return f.write_str("only vermagic");
        }
        let mut parts = Vec::new();
        if !self.needs.is_empty() {
            parts.push(format!("symbols that it needs: {}", names(&self.needs)));
        }
        if !self.offers.is_empty() {
            parts.push(format!("symbols that it offers: {}", names(&self.offers)));
        }
        if !self.modinfo.is_empty() {
            parts.push(format!("what it says of itself: {}", names(&self.modinfo)));
        }
        if !self.sections.is_empty() {
            parts.push(format!("sections {}", some(self.sections.iter().map(String::as_str))));
        }
        f.write_str(&parts.join("; "))
    }
}

fn names<T>(changed: &[Changed<T>]) -> String {
    some(changed.iter().map(|changed| changed.what.as_str()))
}

/// The first few, and how many more there are.
fn some<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 4;
    let all = names.len();
    let shown: Vec<&str> = names.take(SHOWN).collect();
    let more = if all > SHOWN { format!(" and {} more", all - SHOWN) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

fn changed<T: Clone + PartialEq>(
    before: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
) -> Vec<Changed<T>> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let pairs = names.into_iter().map(|name| (name, before.get(name), after.get(name)));
    pairs
        .filter(|(_, before, after)| before != after)
        .map(|(name, before, after)| Changed {
            what: name.clone(),
            before: before.cloned(),
            after: after.cloned(),
        })
        .collect()
}

fn modinfo(module: &Module<'_>) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in module.modinfo().iter() {
        let text = all.entry(key.into_owned()).or_default();
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&value);
    }
    all
}

fn needs(module: &Module<'_>) -> BTreeMap<String, Needed> {
    let undefined = module.undefined().iter().map(|symbol| symbol.name);
    // `module_layout` is needed by every module and called by none.
    let versions = module.versions().iter().map(|(name, _)| name);
    undefined
        .chain(versions)
        .map(|name| (name.to_owned(), Needed { crc: module.versions().get(name) }))
        .collect()
}

fn offers(module: &Module<'_>) -> BTreeMap<String, Needed> {
    let exports = module.exports().iter();
    exports.map(|export| (export.name.to_owned(), Needed { crc: export.crc })).collect()
}

/// The sections that differ beside those whose meaning is compared, debugging information among them.
fn sections(before: &Module<'_>, after: &Module<'_>) -> Vec<String> {
    let (before, after) = (bytes_of(before), bytes_of(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differing
        .filter(|name| {
            let name = name.as_str();
            !FOLLOWING.contains(&name) && name != TOLD_TOO && !TOLD.contains(&name)
        })
        .cloned()
        .collect()
}

/// The bytes of each section; of those of one name, one after the other.
fn bytes_of<'data>(module: &Module<'data>) -> BTreeMap<String, Vec<&'data [u8]>> {
    let mut all: BTreeMap<String, Vec<&'data [u8]>> = BTreeMap::new();
    // It was parsed before: what cannot be read now is of no module.
    let Ok(file) = object::File::parse(module.content()) else { return all };
    for section in file.sections() {
        if let (Ok(name), Ok(bytes)) = (section.name(), section.data()) {
            all.entry(name.to_owned()).or_default().push(bytes);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{ModuleBuilder, sign};

    const RELEASE: &str = "5.14.0-427.el9.x86_64";
    const NEXT: &str = "5.14.0-503.el9.x86_64";

    fn module(release: &str) -> ModuleBuilder {
        ModuleBuilder::new("ib_core", release)
            .version("module_layout", 7)
            .import("kfree", 1)
            .export("ib_register_device", 0x11)
    }

    fn between(before: &[u8], after: &[u8]) -> ModuleDifference {
        ModuleDifference::between(&Module::parse(before).unwrap(), &Module::parse(after).unwrap())
    }

    #[test]
    fn the_same_module_signed_anew_differs_in_its_signature_alone() {
        let content = module(RELEASE).build();
        let found = between(&content, &sign(&content, b"ours"));
        assert!(found.is_none() && !found.is_only_vermagic());
        assert_eq!(found.to_string(), "only the signature");
        assert_eq!(between(&content, &content), ModuleDifference::default());
    }

    #[test]
    fn a_build_for_the_next_kernel_differs_in_vermagic_alone() {
        let found = between(&module(RELEASE).build(), &module(NEXT).build());
        assert!(found.is_only_vermagic(), "{found:?}");
        assert_eq!(found.to_string(), "only vermagic");
        let [vermagic] = found.modinfo.as_slice() else { panic!("{found:?}") };
        assert!(vermagic.before.as_ref().unwrap().starts_with(RELEASE));
        assert!(vermagic.after.as_ref().unwrap().starts_with(NEXT));
    }

    #[test]
    fn symbols_are_named_with_both_crcs() {
        let before = module(RELEASE).import("memcpy", 2).build();
        let after = ModuleBuilder::new("ib_core", NEXT)
            .version("module_layout", 8)
            .import("kfree", 1)
            .import("kvfree", 3)
            .export("ib_register_device", 0x12)
            .build();
        let found = between(&before, &after);
        let names: Vec<&str> = found.needs.iter().map(|changed| changed.what.as_str()).collect();
        assert_eq!(names, ["kvfree", "memcpy", "module_layout"]);
        assert_eq!(found.needs[2].before.unwrap().crc.unwrap().to_string(), "0x00000007");
        assert_eq!(found.needs[2].after.unwrap().crc.unwrap().to_string(), "0x00000008");
        assert_eq!(found.needs[0].before, None);
        assert_eq!(found.offers[0].what, "ib_register_device");
        assert!(!found.is_only_vermagic());
        assert!(
            found.to_string().starts_with(
                "symbols that it needs: kvfree, memcpy, module_layout; symbols that it offers: \
                 ib_register_device; what it says of itself: vermagic"
            ),
            "{found}"
        );
    }
}
