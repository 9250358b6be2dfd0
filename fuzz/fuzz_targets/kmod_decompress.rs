//! Any bytes as a compressed file: never more than the limit comes out.
#![no_main]

use drivetrain_kmod::decompress;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    const LIMIT: usize = 1 << 16;
    if let Ok(bytes) = decompress(data, LIMIT) {
        assert!(bytes.len() <= LIMIT);
    }
});
