//! `primary.xml` and `filelists.xml` of any shape, compressed or not. What is passed over is not less checked in
//! its outline than what is read.
#![no_main]

use std::ops::ControlFlow;

use drivetrain_repodata::{Limits, PathPattern, check_href, decompress, read_filelists, read_primary, who_owns};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_open_bytes: 1 << 20, max_package_bytes: 1 << 16, ..Limits::default() };
    let open = || decompress("primary", bytes, None, &limits);
    let mut read = 0;
    let all = open().and_then(|reader| {
        read_primary(reader, &limits, |_, _| true, |package| {
            assert!(check_href(&package.location).is_ok());
            read += 1;
            ControlFlow::Continue(())
        })
    });
    if let Ok(summary) = all {
        assert_eq!(summary.taken, read);
        let passed = open().and_then(|reader| read_primary(reader, &limits, |_, _| false, |_| ControlFlow::Break(())));
        assert_eq!(passed.map(|passed| passed.packages).ok(), Some(summary.packages));
    }
    drop(open().and_then(|reader| read_filelists(reader, &limits, |_, _| true, |_| ControlFlow::Continue(()))));
    drop(open().and_then(|reader| who_owns(reader, &limits, &[PathPattern::new("/*a*"), PathPattern::new("x&y")])));
});
