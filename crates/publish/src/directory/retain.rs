//! How many versions stay.

use std::collections::BTreeSet;

use fs_err as fs;

use super::files::remove_tree;
use super::places::Places;
use crate::Result;

/// The versions that stay when `keep` are wanted: the newest, and whatever must not go.
pub(crate) fn kept(on_disk: &[u64], keep: u32, must_stay: &[u64]) -> BTreeSet<u64> {
    let mut kept: BTreeSet<u64> =
        on_disk.iter().copied().filter(|version| must_stay.contains(version)).collect();
    for version in on_disk.iter().rev() {
        if kept.len() >= keep as usize {
            break;
        }
        kept.insert(*version);
    }
    kept
}

/// Removes a version. It is gone from among the versions in one step, and then file by file.
pub(crate) fn discard(places: &Places, version: u64) -> Result<()> {
    remove_tree(&places.incoming())?;
    fs::rename(places.version(version), places.incoming())?;
    remove_tree(&places.incoming())
}

#[cfg(test)]
mod tests {
    use super::kept;

    #[test]
    fn the_newest_stay_and_what_must() {
        let all = [1, 2, 3, 4, 5];
        let list = |keep, must: &[u64]| kept(&all, keep, must).into_iter().collect::<Vec<_>>();
        assert_eq!(list(2, &[]), [4, 5]);
        assert_eq!(list(3, &[1]), [1, 4, 5]);
        assert_eq!(list(1, &[1, 2]), [1, 2]);
        assert_eq!(list(9, &[]), all);
    }
}
