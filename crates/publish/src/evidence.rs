//! What goes out beside a repository as evidence.

use std::collections::BTreeMap;

use crate::{PublishError, Result};

/// So many files at most.
const MAX_FILES: usize = 64;
/// So many bytes at most, all of them together: they are held in memory.
const MAX_BYTES: usize = 64 << 20;
/// The longest name of a file.
const MAX_NAME: usize = 128;

/// That evidence can go out: its names lead nowhere else, and it is not more than evidence is.
pub(crate) fn require_usable(evidence: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    for name in evidence.keys() {
        if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') || !name.chars().all(allowed) {
            return Err(PublishError::EvidenceName(name.chars().take(MAX_NAME).collect()));
        }
    }
    let bytes: usize = evidence.values().map(Vec::len).sum();
    if evidence.len() > MAX_FILES || bytes > MAX_BYTES {
        return Err(PublishError::EvidenceSize { files: evidence.len(), bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_that_is_none_is_refused() {
        let one = |name: &str, size: usize| BTreeMap::from([(name.to_owned(), vec![0; size])]);
        assert!(require_usable(&one("provenance.json.asc", 10)).is_ok());
        for name in ["", ".hidden", "../lock.json", "a/b", "a b", &"a".repeat(129)] {
            assert!(require_usable(&one(name, 1)).is_err(), "{name:?}");
        }
        assert!(require_usable(&one("lock.json", MAX_BYTES + 1)).is_err());
        let many = (0..=MAX_FILES).map(|number| (number.to_string(), Vec::new())).collect();
        let error = require_usable(&many).unwrap_err();
        insta::assert_snapshot!(error, @"65 files of evidence with 0 bytes are more than the 64 files and 64 MiB that are published");
    }
}
