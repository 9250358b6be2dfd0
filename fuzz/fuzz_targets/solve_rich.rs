//! Rich dependencies of any shape: what is understood is understood again from its own text.
#![no_main]

use drivetrain_model::Capability;
use drivetrain_solve::Dependency;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    drop(Dependency::of(&Capability::unversioned(text)));
    let Ok(dependency) = Dependency::parse(text) else { return };
    let names = dependency.capabilities().len();
    assert!(names > 0 && names <= text.len());
});
