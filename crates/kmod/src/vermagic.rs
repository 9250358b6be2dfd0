//! The version magic of a module.

/// The two halves of `vermagic`: `6.1.0-56-cloud-amd64 SMP preempt mod_unload modversions `.
///
/// Source: `VERMAGIC_STRING` in `include/linux/vermagic.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vermagic<'a> {
    /// The kernel that the module was built for, as `uname -r` says it.
    pub release: &'a str,
    /// The configuration that changes how modules are laid out, separated by spaces.
    pub flags: &'a str,
}

impl<'a> Vermagic<'a> {
    /// Splits at the first space, as the kernel does. The space that every kernel leaves at the end is no
    /// part of the flags.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        let (release, flags) = text.split_once(' ').unwrap_or((text, ""));
        Self { release, flags: flags.trim_matches(' ') }
    }

    /// The flags without the seed of a random layout (`RANDSTRUCT_…`, `RANDSTRUCT_PLUGIN_…` before 5.19), which
    /// stands last, and is joined to the word before it where that has no space after it (`aarch64`).
    #[must_use]
    pub fn flags_without_seed(&self) -> &'a str {
        self.flags.split_once("RANDSTRUCT_").map_or(self.flags, |(flags, _)| flags.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_ends_at_the_first_space() {
        let magic = Vermagic::parse("5.14.0-427.el9.aarch64 SMP preempt mod_unload modversions aarch64 ");
        assert_eq!(magic.release, "5.14.0-427.el9.aarch64");
        assert_eq!(magic.flags, "SMP preempt mod_unload modversions aarch64");
        assert_eq!(Vermagic::parse("6.1"), Vermagic { release: "6.1", flags: "" });
    }
}
