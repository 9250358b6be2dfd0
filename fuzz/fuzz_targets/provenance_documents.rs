//! Any bytes as a statement of provenance and as a bill of materials: read or refused, and what is read can be asked.
#![no_main]

use std::collections::BTreeMap;

use drivetrain_provenance::{compare_bill, compare_subjects, read_bill, read_statement};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(statement) = read_statement(data) {
        drop(compare_subjects(&statement, &[]));
        drop(statement.built_for(&BTreeMap::new()));
        let names: Vec<&str> = statement.evidence_names().collect();
        for name in names {
            std::hint::black_box(statement.evidence(name));
        }
    }
    if let Ok(bill) = read_bill(data) {
        drop(compare_bill(&bill, &[]));
    }
});
