//! An RPM of any bytes: its header, its payload as a source RPM's is read, and a source archive.
#![no_main]

use std::io::Read;
use std::ops::ControlFlow;

use drivetrain_rpmfile::{DriverSources, RpmFile, SourceLimits, SourceRpm};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = RpmFile::from_reader(bytes, "fuzz") {
        drop(file.uname_r());
    }
    if let Ok(source) = SourceRpm::from_reader(bytes, "fuzz") {
        drop((source.packages(), source.may_need()));
    }
    let limits = SourceLimits { max_total: 1 << 20, ..SourceLimits::default() };
    drop(DriverSources::read("fuzz", bytes, &limits, |entry, content| {
        assert!(!entry.file_name.contains('/'));
        std::io::copy(&mut content.take(1 << 20), &mut std::io::sink())?;
        Ok(ControlFlow::Continue(()))
    }));
});
