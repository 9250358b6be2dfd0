//! What holds for any input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

mod support;

use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use drivetrain_rpmfile::{
    DriverSources, PayloadLimits, Problem, RpmFile, SourceLimits, SourceRpm, extract, for_each_file,
    spec_build_requires, spec_packages, verify_digests,
};
use proptest::prelude::*;
use rpm::CompressionType;
use support::small;

static PACKAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    small(CompressionType::None).write(&mut bytes).unwrap();
    bytes
});

/// Reads a package in every way that there is.
fn read_all_of(bytes: &[u8]) -> Option<()> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("package.rpm");
    std::fs::write(&path, bytes).unwrap();
    let whole = verify_digests(&path).is_ok();
    drop(SourceRpm::open(&path));
    let limits = PayloadLimits { max_total: 1 << 20, ..PayloadLimits::default() };
    let walked = for_each_file(&path, &limits, |_, content| {
        content.read_to_end(&mut Vec::new())?;
        Ok(ControlFlow::Continue(()))
    });
    std::fs::create_dir(directory.path().join("to")).unwrap();
    drop(extract(&path, &directory.path().join("to"), &limits, |_| true));
    // Nothing was written beside the destination.
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    (whole && walked.is_ok()).then_some(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_damaged_package_never_panics_and_never_passes(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = PACKAGE.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        // The lead is read by nobody, and the signature header holds more than is used.
        let header = rpm::PackageMetadata::parse(&mut PACKAGE.as_slice()).unwrap().get_package_segment_offsets().header;
        let passes = read_all_of(&bytes).is_some();
        prop_assert!(!passes || bytes[header as usize..] == PACKAGE[header as usize..]);
    }

    /// Counts, offsets and types are where a header lies.
    #[test]
    fn a_damaged_index_never_panics(
        changes in prop::collection::vec((0_usize..1200, prop::sample::select(vec![0_u32, 1, 6, 8, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX])), 1..4),
        signature in any::<bool>(),
    ) {
        let mut bytes = PACKAGE.clone();
        let offsets = rpm::PackageMetadata::parse(&mut PACKAGE.as_slice()).unwrap().get_package_segment_offsets();
        let start = if signature { offsets.signature_header } else { offsets.header } as usize;
        for (word, value) in changes {
            let at = start + (word % if signature { 60 } else { 1200 }) * 4;
            bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
        read_all_of(&bytes);
    }

    #[test]
    fn a_truncated_package_never_passes(at in any::<prop::sample::Index>()) {
        prop_assert!(read_all_of(&PACKAGE[..at.index(PACKAGE.len())]).is_none());
    }

    #[test]
    fn arbitrary_specs_never_panic(text in "(%(package|if|else|endif|global|define|files|elif|undefine)? ?|[-a-z{}?!:%()\"= \\\\\n]|é){0,120}") {
        drop(spec_packages(&text, "name"));
        drop(spec_build_requires(&text, "name"));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        drop(RpmFile::from_reader(Cursor::new(&bytes), "bytes"));
        drop(DriverSources::read("bytes", bytes.as_slice(), &SourceLimits::default(), |_, _| Ok(ControlFlow::Continue(()))));
    }
}

fn head_with(entries: u32, data: u32, index: &[[u32; 4]]) -> Vec<u8> {
    let mut bytes = PACKAGE[..96].to_vec();
    bytes.extend([0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0]);
    bytes.extend(entries.to_be_bytes());
    bytes.extend(data.to_be_bytes());
    for word in index.iter().flatten() {
        bytes.extend(word.to_be_bytes());
    }
    bytes
}

/// Counts that are only claimed cost nothing, and entries that share their data are refused: 65,535 of them over a
/// store of 64 MiB would be 4 TiB.
#[test]
fn headers_that_lie_about_their_size_are_refused() {
    let problem = |bytes: &[u8]| RpmFile::from_reader(Cursor::new(bytes), "x").unwrap_err().to_string();
    assert!(problem(&head_with(u32::MAX, 16, &[])).contains("claims 4294967295 entries"));
    assert!(problem(&head_with(1, u32::MAX, &[])).contains("claims 4294967295 bytes"));
    assert!(
        problem(&head_with(0xffff, 64 << 20, &[]))
            .ends_with("is truncated: it ends within the signature header")
    );
    let with_data = |index: &[[u32; 4]]| {
        let mut bytes = head_with(index.len() as u32, 16, index);
        bytes.extend([0; 16]);
        problem(&bytes)
    };
    assert!(with_data(&[[1000, 7, 0, 16], [1001, 7, 0, 16]]).contains("its entries overlap (at tag 1001)"));
    assert!(with_data(&[[1000, 7, 16, 1]]).contains("tag 1000 points outside it"));
    assert!(with_data(&[[1000, 7, u32::MAX, 1]]).contains("tag 1000 points outside it"));
    assert!(with_data(&[[1000, 5, 0, 0x2000_0000]]).contains("tag 1000 goes on outside it"));
    assert!(with_data(&[[1000, 8, 0, 17]]).contains("has a string without an end"));
    assert!(with_data(&[[1000, 8, 0, 0x7fff_ffff]]).contains("has 2147483647 strings"));
    assert!(with_data(&[[1000, 10, 0, 1]]).contains("has unknown type 10"));
    assert!(with_data(&[[1000, 7, 0, 0]]).contains("has no data"));
}

#[test]
fn what_is_no_rpm_says_so() {
    let error = RpmFile::from_reader(Cursor::new(vec![b'<'; 500]), "page.html").unwrap_err();
    assert_eq!(error.to_string(), "page.html: is no RPM file");
    let error = RpmFile::from_reader(Cursor::new(b"short"), "x").unwrap_err();
    assert!(matches!(*error.problem, Problem::Truncated("lead")));
    let error = RpmFile::open(std::path::Path::new("/nonexistent/x.rpm")).unwrap_err();
    assert_eq!(error.to_string(), "/nonexistent/x.rpm: cannot be read");
}
