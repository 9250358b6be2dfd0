//! The symbols that a module offers to others.

use crate::SymbolCrc;

/// A symbol that a module exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Export<'data> {
    /// Its name.
    pub name: &'data str,
    /// Its CRC, if the module was built with `CONFIG_MODVERSIONS` and has one for it.
    pub crc: Option<SymbolCrc>,
    /// Whether only modules with a licence compatible with the GPL may use it.
    pub gpl_only: bool,
    /// The namespace that users must import, if it is in one.
    pub namespace: Option<&'data str>,
}

/// `KSYM_FLAG_GPL_ONLY` in `include/linux/module_symbol.h`: newest kernels keep one `__ksymtab`, and a byte of
/// flags for each symbol in `__kflagstab`.
const GPL_ONLY: u8 = 1;

/// Collects exports from the symbols that modpost writes for each:
///
/// * `__ksymtab_<name>`, its entry in `__ksymtab` or `__ksymtab_gpl`;
/// * `__crc_<name>`, an absolute symbol whose value is the CRC, or the place where the CRC stands;
/// * `__kstrtabns_<name>`, the place of its namespace in `__ksymtab_strings`;
/// * `__flags_<name>`, the place of its flags.
///
/// Source: `include/linux/export-internal.h` (5.19 and later), `include/linux/export.h` (before).
#[derive(Default)]
pub(crate) struct Exports<'data> {
    exports: Vec<(&'data str, bool)>,
    crcs: Vec<(&'data str, u32)>,
    namespaces: Vec<(&'data str, &'data str)>,
    flags: Vec<(&'data str, u8)>,
}

impl<'data> Exports<'data> {
    pub fn export(&mut self, name: &'data str, gpl_only: bool) {
        self.exports.push((name, gpl_only));
    }

    pub fn crc(&mut self, name: &'data str, crc: u32) {
        self.crcs.push((name, crc));
    }

    pub fn namespace(&mut self, name: &'data str, namespace: &'data str) {
        self.namespaces.push((name, namespace));
    }

    pub fn flags(&mut self, name: &'data str, flags: u8) {
        self.flags.push((name, flags));
    }

    pub fn is_empty(&self) -> bool {
        self.exports.is_empty()
    }

    /// How many were taken in of the kind that has most.
    pub fn len(&self) -> usize {
        self.exports.len().max(self.crcs.len()).max(self.namespaces.len()).max(self.flags.len())
    }

    /// Puts together what belongs to each name; sorted by name, each name once.
    pub fn finish(mut self) -> Vec<Export<'data>> {
        fn find<'data, T: Copy + Ord>(sorted: &[(&'data str, T)], name: &'data str) -> Option<T> {
            let at = sorted.partition_point(|&(other, _)| other < name);
            sorted.get(at).filter(|&&(other, _)| other == name).map(|&(_, value)| value)
        }
        self.exports.sort_unstable();
        // Should a name stand in both tables, the one without conditions comes first, as in `find_symbol`.
        self.exports.dedup_by_key(|&mut (name, _)| name);
        self.crcs.sort_unstable();
        self.namespaces.sort_unstable();
        self.flags.sort_unstable();
        self.exports
            .iter()
            .map(|&(name, gpl_only)| Export {
                name,
                crc: find(&self.crcs, name).map(SymbolCrc),
                gpl_only: gpl_only || find(&self.flags, name).is_some_and(|flags| flags & GPL_ONLY != 0),
                namespace: find(&self.namespaces, name),
            })
            .collect()
    }
}
