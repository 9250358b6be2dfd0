//! Name patterns of packages that are left out.

use std::collections::HashSet;

use crate::index::RepositoryIndex;

/// Patterns as DNF's `excludepkgs` has them: a name, `name.arch`, or a whole NEVRA, each with `*`, `?` and `[…]`.
pub(super) struct Patterns {
    /// Plain names: mostly it is nothing else.
    names: HashSet<String>,
    patterns: Vec<glob::Pattern>,
}

impl Patterns {
    pub(super) fn new(texts: &[String]) -> Self {
        let is_plain = |text: &&String| !text.contains(['*', '?', '[']);
        Self {
            names: texts.iter().filter(is_plain).cloned().collect(),
            patterns: texts
                .iter()
                .filter(|text| !is_plain(text))
                // What is no pattern matches nothing; the configuration refuses it.
                .filter_map(|text| glob::Pattern::new(text).ok())
                .collect(),
        }
    }

    pub(super) fn matches(&self, index: &RepositoryIndex, row: usize) -> bool {
        if self.names.is_empty() && self.patterns.is_empty() {
            return false;
        }
        let name = index.name(row);
        if self.names.contains(name) || self.patterns.iter().any(|pattern| pattern.matches(name)) {
            return true;
        }
        let with_arch = format!("{name}.{}", index.arch(row));
        let nevra = index.nevra(row).to_string();
        [with_arch, nevra].iter().any(|text| {
            self.names.contains(text) || self.patterns.iter().any(|pattern| pattern.matches(text))
        })
    }
}
