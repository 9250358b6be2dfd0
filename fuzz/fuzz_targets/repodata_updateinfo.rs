//! `updateinfo.xml` of any shape: within its limits, and with advisories of the packages that were asked for alone.
#![no_main]

use drivetrain_repodata::{Limits, read_advisories};
use libfuzzer_sys::fuzz_target;

const NAMES: &[&str] = &["kernel", "kernel-core"];

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_updateinfo_bytes: 1 << 16, ..Limits::default() };
    let Ok(advisories) = read_advisories(bytes, &limits, NAMES) else { return };
    for (_, packages) in advisories {
        assert!(!packages.is_empty());
        assert!(packages.iter().all(|package| NAMES.contains(&package.name.as_str())));
    }
});
