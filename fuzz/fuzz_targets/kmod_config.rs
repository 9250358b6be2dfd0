//! Any bytes as a kernel's configuration: whatever they say, no flag of the version magic comes out that the
//! kernel does not have.
#![no_main]

use drivetrain_kmod::KernelConfig;
use libfuzzer_sys::fuzz_target;

const WORDS: [&str; 6] = ["SMP", "preempt", "preempt_rt", "mod_unload", "modversions", "aarch64"];

fuzz_target!(|data: &[u8]| {
    let Some(reference) = KernelConfig::parse(data).reference() else { return };
    let flags = reference.flags.unwrap_or_default();
    assert!(flags.split(' ').filter(|word| !word.is_empty()).all(|word| WORDS.contains(&word)), "{flags}");
});
