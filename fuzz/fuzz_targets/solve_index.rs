//! Bytes of a cache that were changed, under a digest that fits them: nothing of the index that they make panics.
#![no_main]

use drivetrain_solve::RepositoryIndex;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

fuzz_target!(|content: &[u8]| {
    drop(RepositoryIndex::from_bytes(content));
    let mut bytes = b"drivetrain index 1\n".to_vec();
    bytes.extend_from_slice(&Sha256::digest(content));
    bytes.extend_from_slice(content);
    let Ok(index) = RepositoryIndex::from_bytes(&bytes) else { return };
    assert_eq!(index.packages().count(), index.len());
    for package in index.packages() {
        assert!(index.named(&package.nevra.name).any(|other| other.nevra == package.nevra));
    }
});
