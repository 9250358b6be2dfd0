//! `modules.yaml` of any shape: within its limits, and what is hidden is among the packages that were asked about.
#![no_main]

use std::collections::BTreeMap;

use drivetrain_repodata::{Limits, read_modules};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_modules_bytes: 1 << 16, ..Limits::default() };
    let Ok(modules) = read_modules(bytes, &limits) else { return };
    let packages: Vec<_> = modules.builds.iter().flat_map(|build| build.artifacts.clone()).collect();
    let hidden = modules.hidden(&BTreeMap::new(), packages.iter());
    assert!(hidden.iter().all(|nevra| packages.contains(nevra)));
});
