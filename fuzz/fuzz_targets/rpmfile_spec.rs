//! Spec files of any text: no panic, and no name that is none.
#![no_main]

use drivetrain_rpmfile::{spec_build_requires, spec_packages};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for package in spec_packages(text, "name") {
        assert!(!package.contains('/') && !package.is_empty());
    }
    drop(spec_build_requires(text, "name"));
});
