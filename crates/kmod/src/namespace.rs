//! Symbol namespaces (`EXPORT_SYMBOL_NS`).

/// Whether a namespace of the form `module:kvm-*,vfio` names a module, which then need not import it. Patterns
/// end in `*` or are whole names, and `-` equals `_`.
///
/// Such a namespace is open to modules of the kernel's own tree only: the first kernels that had it let others
/// in as well, later ones do not, so whoever asks should ask for in-tree modules alone.
///
/// Source: `verify_module_namespace` in `kernel/module/main.c`.
#[must_use]
pub fn namespace_names_module(namespace: &str, module: &str) -> bool {
    let Some(patterns) = namespace.strip_prefix("module:") else { return false };
    let same = |a: u8, b: u8| a == b || (matches!(a, b'-' | b'_') && matches!(b, b'-' | b'_'));
    patterns.split(',').filter(|pattern| !pattern.is_empty()).any(|pattern| {
        let (stem, glob) = match pattern.strip_suffix('*') {
            Some(stem) => (stem, true),
            None => (pattern, false),
        };
        (if glob { module.len() >= stem.len() } else { module.len() == stem.len() })
            && stem.bytes().zip(module.bytes()).all(|(a, b)| same(a, b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_namespace_names_its_users() {
        let space = "module:kvm-*,vfio";
        for (module, named) in [("kvm_intel", true), ("vfio", true), ("kvm", false), ("vfio_pci", false)] {
            assert_eq!(namespace_names_module(space, module), named, "{module}");
        }
        assert!(!namespace_names_module("DMA_BUF", "DMA_BUF"));
        assert!(!namespace_names_module("module:", ""));
    }
}
