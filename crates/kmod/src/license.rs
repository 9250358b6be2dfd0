//! Which licences may use GPL-only symbols.

/// Whether the kernel takes a module's licence as compatible with the GPL. Any other text, and none at all,
/// taints the kernel and closes `EXPORT_SYMBOL_GPL` to the module.
///
/// Source: `license_is_gpl_compatible` in `include/linux/license.h`.
#[must_use]
pub fn is_gpl_compatible(license: &str) -> bool {
    matches!(
        license,
        "GPL" | "GPL v2" | "GPL and additional rights" | "Dual BSD/GPL" | "Dual MIT/GPL" | "Dual MPL/GPL"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_compares_the_whole_text() {
        assert!(is_gpl_compatible("Dual BSD/GPL"));
        for license in ["", "Proprietary", "GPLv2", "gpl", "GPL ", "MIT"] {
            assert!(!is_gpl_compatible(license), "{license}");
        }
    }
}
