//! `repomd.xml` of any shape: an error or a table of contents, within bounds.
#![no_main]

use drivetrain_repodata::{Limits, check_href, parse_repomd};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Ok(repomd) = parse_repomd(text, &Limits::default()) {
        assert!(repomd.records.iter().all(|record| check_href(&record.location).is_ok()));
    }
});
