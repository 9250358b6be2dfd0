//! Opening compressed metadata: every format, bombs, damage, and the checksums.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

use std::io::{Read, Write};

use drivetrain_model::Sha256Digest;
use drivetrain_repodata::{
    Compression, Error, Limits, Record, RecordKind, VerifyingReader, decompress, open_record,
};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

fn read(compressed: &[u8], open_size: Option<u64>, limits: &Limits) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    decompress("primary", compressed, open_size, limits)
        .map_err(std::io::Error::other)?
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn every_format_is_told_by_its_first_bytes() {
    let text = b"<metadata/>".repeat(1000);
    let limits = Limits::default();
    for (compressed, compression) in [
        (text.clone(), Compression::None),
        (gzip(&text), Compression::Gzip),
        (xz(&text), Compression::Xz),
        (zstd(&text), Compression::Zstd),
        ([gzip(&text[..500]), gzip(&text[500..])].concat(), Compression::Gzip),
        ([zstd(&text[..500]), zstd(&text[500..])].concat(), Compression::Zstd),
        ([xz(&text[..500]), xz(&text[500..])].concat(), Compression::Xz),
    ] {
        assert_eq!(
            decompress("primary", compressed.as_slice(), None, &limits).unwrap().compression(),
            compression
        );
        assert_eq!(read(&compressed, Some(text.len() as u64), &limits).unwrap(), text, "{compression:?}");
    }
}

/// A socket may give one byte at a time.
#[test]
fn the_first_bytes_may_come_one_by_one() {
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = buffer.len().min(1);
            self.0.read(&mut buffer[..count])
        }
    }
    let text = b"<metadata/>".repeat(10);
    for compressed in [text.clone(), gzip(&text), xz(&text), zstd(&text), b"<".to_vec(), Vec::new()] {
        let mut bytes = Vec::new();
        let mut reader = decompress("primary", Slow(&compressed), None, &Limits::default()).unwrap();
        reader.read_to_end(&mut bytes).unwrap();
        assert!(bytes == text || bytes == compressed);
        assert!(compressed.len() < 2 || bytes == text);
    }
}

#[test]
fn what_is_not_supported_says_so() {
    for (head, name) in [(&b"BZh91AY"[..], "bzip2"), (&b"\0ZCK1xx"[..], "zchunk")] {
        let error = decompress("primary", head, None, &Limits::default()).err().unwrap();
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// A megabyte of zeros is a kilobyte of gzip: the bound holds for what comes out.
#[test]
fn a_bomb_is_stopped_at_the_bound_that_it_broke() {
    let zeros = vec![0; 1 << 20];
    for compressed in [gzip(&zeros), xz(&zeros), zstd(&zeros), zeros.clone()] {
        let stated = read(&compressed, Some(1000), &Limits::default()).unwrap_err().to_string();
        assert_eq!(
            stated,
            "primary: the decompressed file exceeds the limit of 1000 (the open-size that repomd.xml states)"
        );
        let limits = Limits { max_open_bytes: 4096, ..Limits::default() };
        let absolute = read(&compressed, Some(1 << 20), &limits).unwrap_err().to_string();
        assert_eq!(absolute, "primary: the decompressed file exceeds the limit of 4096 (max_open_bytes)");
        assert_eq!(read(&compressed, Some(1 << 20), &Limits::default()).unwrap().len(), 1 << 20);
    }
}

#[test]
fn truncated_streams_are_errors() {
    let text: Vec<u8> =
        (0..100_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
    for compressed in [gzip(&text), xz(&text), zstd(&text)] {
        assert!(read(&compressed[..compressed.len() / 2], None, &Limits::default()).is_err());
    }
}

#[test]
fn a_checksum_holds_for_all_of_a_file_though_the_parse_stopped_early() {
    let text = b"some metadata".repeat(50_000);
    let reader = |expected: &[u8], size| {
        VerifyingReader::new("primary", text.as_slice(), Sha256Digest::of(expected).into(), size)
    };
    let mut early = reader(&text, Some(text.len() as u64));
    early.read_exact(&mut [0; 10]).unwrap();
    early.finish().unwrap();
    let wrong = reader(b"other", None).finish().unwrap_err();
    assert!(matches!(wrong, Error::WrongChecksum { .. }), "{wrong}");
    for size in [1, text.len() as u64 - 1, text.len() as u64 + 1] {
        let error = reader(&text, Some(size)).finish().unwrap_err();
        assert!(matches!(error, Error::WrongSize { .. }), "{size}: {error}");
    }
}

#[test]
fn a_record_opens_held_to_what_repomd_states() {
    let text = b"<metadata packages=\"0\"/>";
    let record = Record {
        kind: RecordKind::Primary,
        location: "repodata/primary.xml.gz".into(),
        checksum: Sha256Digest::of(&gzip(text)).into(),
        open_checksum: Some(Sha256Digest::of(text).into()),
        size: None,
        open_size: Some(text.len() as u64),
        timestamp: 0,
    };
    let compressed = gzip(text);
    open_record(&record, compressed.as_slice(), &Limits::default()).unwrap().finish().unwrap();
    let other = gzip(b"<metadata packages=\"1\"/>");
    let reader = open_record(&record, other.as_slice(), &Limits::default()).unwrap();
    assert!(matches!(reader.finish(), Err(Error::WrongChecksum { .. })));
}
