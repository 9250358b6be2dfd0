//! The identity of a component's build: the digest over everything that decides what comes out.

use drivetrain_model::{Architecture, Checksum, ComponentName, KernelRelease, Sha256Digest};
use sha2::{Digest, Sha256};

use crate::{Debuginfo, Recipe};

/// Raised whenever drivetrain itself changes what it makes of the same inputs.
const FORMAT: u32 = 1;
/// Raised whenever drivetrain itself changes how it repackages.
const REPACKAGING: u32 = 1;

/// Everything that decides what a component's build yields.
#[derive(Debug, Clone, Copy)]
pub struct KeyInputs<'a> {
    /// The component's name.
    pub component: &'a ComponentName,
    /// The SHA-256 of its source RPM.
    pub source: Sha256Digest,
    /// The kernel's release.
    pub kernel: &'a KernelRelease,
    /// The builder's architecture.
    pub arch: &'a Architecture,
    /// The checksum of the kernel-devel RPM.
    pub kernel_devel: &'a Checksum,
    /// The toolchain's digest.
    pub toolchain: Sha256Digest,
    /// How it is built.
    pub recipe: &'a Recipe,
    /// The vendor's tool, where that builds it.
    pub vendor_tool: Option<ToolInputs<'a>>,
    /// What it is built against, with the keys of those; in any order.
    pub needs: &'a [(ComponentName, Sha256Digest)],
}

/// What of the vendor's tool decides what it builds.
#[derive(Debug, Clone, Copy)]
pub struct ToolInputs<'a> {
    /// The checksums of the packages that have the tool and the source archive.
    pub packages: [&'a Checksum; 2],
    /// The arguments that the configuration gives it.
    pub arguments: &'a [String],
}

/// The key of a component. Equal keys mean equal RPMs, byte for byte (but for times and names of hosts
/// that the vendor's tool leaves in them); a component whose key is in the cache of
/// finished components need not be built.
#[must_use]
pub fn component_key(inputs: &KeyInputs<'_>) -> Sha256Digest {
    let mut text = KeyText(Sha256::new());
    text.field("drivetrain component key", &FORMAT.to_string());
    text.field("component", inputs.component.as_str());
    text.field("source", &inputs.source.to_string());
    text.field("kernel", inputs.kernel.as_str());
    text.field("arch", inputs.arch.as_str());
    text.field("kernel-devel", &inputs.kernel_devel.to_string());
    text.field("toolchain", &inputs.toolchain.to_string());
    for (name, value) in inputs.recipe.macros_for(inputs.kernel) {
        text.field("macro", &name);
        text.field("is", &value);
    }
    text.common(inputs);
    text.finish()
}

/// The key of a component whatever the kernel: builds of one family differ by their kernels alone. The keys of `needs`
/// are those of families as well; kernel and kernel-devel are not looked at.
#[must_use]
pub fn family_key(inputs: &KeyInputs<'_>) -> Sha256Digest {
    let recipe = inputs.recipe;
    let mut text = KeyText(Sha256::new());
    text.field("drivetrain component family", &FORMAT.to_string());
    text.field("component", inputs.component.as_str());
    text.field("source", &inputs.source.to_string());
    text.field("arch", inputs.arch.as_str());
    text.field("toolchain", &inputs.toolchain.to_string());
    text.field("payload", &recipe.payload);
    text.field("kernel module packages", if recipe.kernel_module_packages { "yes" } else { "no" });
    for (name, value) in &recipe.macros {
        text.field("macro", name);
        text.field("is", value);
    }
    text.common(inputs);
    text.finish()
}

/// The key of a component that was made of what was built for another kernel, in place of a build.
#[must_use]
pub fn repackaged_key(key: &Sha256Digest, built: &Sha256Digest) -> Sha256Digest {
    let mut text = KeyText(Sha256::new());
    text.field("drivetrain repackaged component", &REPACKAGING.to_string());
    text.field("in place of", &key.to_string());
    text.field("from", &built.to_string());
    text.finish()
}

/// Hashes fields with their lengths, so that no two lists of fields run into the same bytes.
struct KeyText(Sha256);

impl KeyText {
    /// What decides whatever the kernel is.
    fn common(&mut self, inputs: &KeyInputs<'_>) {
        for name in &inputs.recipe.with {
            self.field("with", name);
        }
        for name in &inputs.recipe.without {
            self.field("without", name);
        }
        for patch in &inputs.recipe.patches {
            self.field("patch", &patch.sha256.to_string());
        }
        self.field(
            "debuginfo",
            match inputs.recipe.debuginfo {
                Debuginfo::Drop => "drop",
                Debuginfo::Keep => "keep",
            },
        );
        if let Some(tool) = &inputs.vendor_tool {
            for package in tool.packages {
                self.field("vendor's tool", &package.to_string());
            }
            for argument in tool.arguments {
                self.field("with argument", argument);
            }
        }
        let mut needs: Vec<_> = inputs.needs.iter().collect();
        needs.sort();
        for (name, key) in needs {
            self.field("needs", name.as_str());
            self.field("with key", &key.to_string());
        }
    }

    fn finish(self) -> Sha256Digest {
        Sha256Digest::from_bytes(self.0.finalize().into())
    }

    fn field(&mut self, name: &str, value: &str) {
        for part in [name, value] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Patch;

    fn key(change: impl FnOnce(&mut Recipe), kernel: &str, needs: &[(&str, &[u8])]) -> Sha256Digest {
        let mut recipe = Recipe::default();
        change(&mut recipe);
        let needs: Vec<_> = needs
            .iter()
            .map(|(name, key)| (ComponentName::parse(name).unwrap(), Sha256Digest::of(key)))
            .collect();
        component_key(&KeyInputs {
            component: &ComponentName::parse("iser").unwrap(),
            source: Sha256Digest::of(b"srpm"),
            kernel: &KernelRelease::parse(kernel).unwrap(),
            arch: &Architecture::parse("x86_64").unwrap(),
            kernel_devel: &Sha256Digest::of(b"devel").into(),
            toolchain: Sha256Digest::of(b"gcc"),
            recipe: &recipe,
            vendor_tool: None,
            needs: &needs,
        })
    }

    #[test]
    fn every_input_changes_the_key_and_nothing_else_does() {
        let plain = key(|_| {}, "5.14.0-1.x86_64", &[]);
        assert_eq!(plain, key(|_| {}, "5.14.0-1.x86_64", &[]));
        let patch = |path: &str| Patch {
            name: path.to_owned(),
            path: path.into(),
            sha256: Sha256Digest::of(b"patch"),
        };
        let others = [
            key(|_| {}, "5.14.0-2.x86_64", &[]),
            key(|r| r.debuginfo = Debuginfo::Keep, "5.14.0-1.x86_64", &[]),
            key(|r| r.payload = "w19.zstdio".into(), "5.14.0-1.x86_64", &[]),
            key(|r| drop(r.macros.insert("rhel".into(), "10".into())), "5.14.0-1.x86_64", &[]),
            key(|r| r.with = ["gds".to_owned()].into(), "5.14.0-1.x86_64", &[]),
            key(|r| r.without = ["gds".to_owned()].into(), "5.14.0-1.x86_64", &[]),
            key(|r| r.patches.push(patch("a")), "5.14.0-1.x86_64", &[]),
            key(|_| {}, "5.14.0-1.x86_64", &[("ofa", b"1")]),
            key(|_| {}, "5.14.0-1.x86_64", &[("ofa", b"2")]),
        ];
        for (position, other) in others.iter().enumerate() {
            assert_ne!(*other, plain, "{position}");
            assert!(!others[position + 1..].contains(other), "{position}");
        }
        assert_eq!(
            key(|r| r.patches.push(patch("a")), "5.14.0-1.x86_64", &[]),
            key(|r| r.patches.push(patch("elsewhere/b")), "5.14.0-1.x86_64", &[]),
        );
        assert_eq!(
            key(|_| {}, "5.14.0-1.x86_64", &[("a", b"1"), ("b", b"2")]),
            key(|_| {}, "5.14.0-1.x86_64", &[("b", b"2"), ("a", b"1")]),
        );
    }
}
