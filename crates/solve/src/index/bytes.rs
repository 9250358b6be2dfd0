//! An index as bytes, for a cache.

use drivetrain_model::Architecture;
use sha2::{Digest, Sha256};

use super::{CapabilityRow, EvrRow, RepositoryIndex, Text, Texts};

/// What an index begins with. Changed when its form changes.
const MAGIC: &[u8] = b"drivetrain index 1\n";
/// The digest that follows.
const DIGEST: usize = 32;

/// Why bytes are no index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// They were not written as one, or by another version.
    #[error("not an index of this version")]
    Form,
    /// They were changed since.
    #[error("the index was damaged")]
    Damaged,
}

impl RepositoryIndex {
    /// The index as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Plain data, whose length is known: writing it to memory cannot fail.
        let content = postcard::to_allocvec(self).unwrap_or_default();
        let mut bytes = Vec::with_capacity(MAGIC.len() + DIGEST + content.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&Sha256::digest(&content));
        bytes.extend_from_slice(&content);
        bytes
    }

    /// Reads what [`RepositoryIndex::to_bytes`] wrote.
    ///
    /// # Errors
    /// Where the bytes are anything else. No bytes make it panic, or the index that it returns.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IndexError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(IndexError::Form)?;
        let (digest, content) = rest.split_at_checked(DIGEST).ok_or(IndexError::Damaged)?;
        if Sha256::digest(content).as_slice() != digest {
            return Err(IndexError::Damaged);
        }
        let index: Self = postcard::from_bytes(content).map_err(|_| IndexError::Damaged)?;
        if index.is_sound() { Ok(index) } else { Err(IndexError::Damaged) }
    }

    /// Whether every number leads to something. The digest says that the bytes are those that were written; this
    /// says that they were written by us.
    fn is_sound(&self) -> bool {
        let packages = self.packages.len();
        let text = |number: Text| (number as usize) < self.texts.ends.len();
        let detail = |number: Text| (number as usize) < self.details.ends.len();
        let evr = |evr: &EvrRow| text(evr.version) && text(evr.release);
        let capability = |number: u32| (number as usize) < self.capabilities.len();
        let mention = |&(name, package, number): &(Text, u32, u32)| {
            text(name) && (package as usize) < packages && capability(number)
        };
        let mut last = 0;
        let mut rises = |end: u32| {
            let rises = end >= last && end as usize <= self.lists.len();
            last = end;
            rises
        };
        self.texts.is_sound()
            && self.details.is_sound()
            && self.capabilities.iter().all(|CapabilityRow { name, version }| {
                text(*name) && version.as_ref().is_none_or(|(_, version)| evr(version))
            })
            && self.packages.iter().all(|row| {
                text(row.name)
                    && evr(&row.evr)
                    && text(row.arch)
                    && Architecture::parse(self.texts.get(row.arch)).is_ok()
                    && detail(row.checksum)
                    && detail(row.location)
                    && row.source_rpm.is_none_or(detail)
                    && row.ends.iter().all(|end| rises(*end))
            })
            && self.lists.iter().all(|number| capability(*number))
            && self.provided.iter().all(mention)
            && self.obsoleted.iter().all(mention)
            && self.files.iter().all(|&(path, package)| text(path) && (package as usize) < packages)
    }
}

impl Texts {
    fn is_sound(&self) -> bool {
        let mut last = 0;
        self.ends.iter().all(|end| {
            let begin = std::mem::replace(&mut last, *end as usize);
            begin <= last && self.all.is_char_boundary(last)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::repository;

    #[test]
    fn an_index_survives_bytes() {
        let index = repository("a-1-1.x86_64\n  requires: b >= 2\nb-2-1.noarch\n  file: /usr/bin/b\n");
        let bytes = index.to_bytes();
        assert_eq!(RepositoryIndex::from_bytes(&bytes).unwrap(), index);
    }

    #[test]
    fn what_is_no_index_is_refused() {
        let bytes = repository("a-1-1.x86_64\n").to_bytes();
        assert_eq!(RepositoryIndex::from_bytes(b""), Err(IndexError::Form));
        assert_eq!(RepositoryIndex::from_bytes(b"drivetrain index 0\n"), Err(IndexError::Form));
        for length in 0..bytes.len() {
            assert!(RepositoryIndex::from_bytes(&bytes[..length]).is_err());
        }
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(RepositoryIndex::from_bytes(&changed), Err(IndexError::Damaged));
    }

    #[test]
    fn numbers_that_lead_nowhere_are_found() {
        let index = repository("a-1-1.x86_64\n  requires: b\n");
        let spoilt: [fn(&mut RepositoryIndex); 5] = [
            |index| index.packages[0].name = 99,
            |index| index.lists[0] = 99,
            |index| index.packages[0].ends[0] = 99,
            |index| index.texts.ends[0] = 99,
            |index| index.provided[0].1 = 99,
        ];
        for spoil in spoilt {
            let mut index = index.clone();
            spoil(&mut index);
            assert_eq!(RepositoryIndex::from_bytes(&index.to_bytes()), Err(IndexError::Damaged));
        }
    }
}
