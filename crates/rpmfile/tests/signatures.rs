//! Digests and signatures, judged against `rpmkeys -K` with a database of its own, over packages that `rpmsign`
//! signed with keys that `gpg` made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

mod support;

use std::fs;
use std::path::Path;

use drivetrain_rpmfile::{Keyring, KeyringError, Problem, verify, verify_digests};
use rpm::CompressionType;
use support::{Gpg, small, write};

#[track_caller]
fn problem(path: &Path, keyring: &Keyring) -> Problem {
    *verify(path, keyring).expect_err("it was accepted").problem
}

/// Where the header and the payload begin.
fn segments(path: &Path) -> (usize, usize) {
    let offsets = rpm::PackageMetadata::open(path).unwrap().get_package_segment_offsets();
    (offsets.header as usize, offsets.payload as usize)
}

#[test]
fn good_signatures_are_accepted_as_rpmkeys_accepts_them() {
    let gpg = Gpg::new();
    for (name, algorithm) in [("rsa@example.com", "rsa4096"), ("ed@example.com", "ed25519")] {
        gpg.key(name, algorithm, "never", None);
        let (_directory, path) = write(&small(CompressionType::Zstd));
        gpg.sign(&path, name);
        let key = gpg.public(name);
        assert!(gpg.rpmkeys(&path, std::slice::from_ref(&key), false), "{algorithm}: rpmkeys");
        let keyring = Keyring::from_armored(&[key]).unwrap();
        let signer = verify(&path, &keyring).unwrap();
        assert_eq!(signer.user_ids, [name]);
        assert_eq!(vec![signer.fingerprint.clone()], keyring.fingerprints());
        assert!(signer.fingerprint.ends_with(&signer.key_id), "{signer:?}");
        assert!(signer.signed.is_some());
    }
}

#[test]
fn an_unsigned_package_has_good_digests_and_no_signer() {
    let gpg = Gpg::new();
    gpg.key("a@example.com", "ed25519", "never", None);
    let key = gpg.public("a@example.com");
    let (_directory, path) = write(&small(CompressionType::Gzip));
    verify_digests(&path).unwrap();
    assert!(gpg.rpmkeys(&path, &[], true) && !gpg.rpmkeys(&path, std::slice::from_ref(&key), false));
    let keyring = Keyring::from_armored(&[key]).unwrap();
    assert!(matches!(problem(&path, &keyring), Problem::Unsigned));
}

/// One byte anywhere in header or payload, or the end missing: both refuse.
#[test]
fn damage_is_found_where_rpmkeys_finds_it() {
    let gpg = Gpg::new();
    gpg.key("a@example.com", "ed25519", "never", None);
    let key = gpg.public("a@example.com");
    let keyring = Keyring::from_armored(std::slice::from_ref(&key)).unwrap();
    let (_directory, path) = write(&small(CompressionType::Zstd));
    gpg.sign(&path, "a@example.com");
    let good = fs::read(&path).unwrap();
    let (header, payload) = segments(&path);
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a byte of the header's data", flipped(payload - 40), "header"),
        ("a byte in the middle of the header", flipped((header + payload) / 2), "header"),
        ("the first byte of the payload", flipped(payload), "payload"),
        ("the last byte of the payload", flipped(good.len() - 1), "payload"),
        ("a payload without its last byte", good[..good.len() - 1].to_vec(), "payload"),
        ("no payload", good[..payload].to_vec(), "payload"),
        ("a byte too many", [good.clone(), vec![0]].concat(), "payload"),
    ];
    for (case, bytes, part) in cases {
        fs::write(&path, &bytes).unwrap();
        assert!(!gpg.rpmkeys(&path, &[], true), "{case}: rpmkeys accepts it");
        let error = verify_digests(&path).expect_err(case);
        match (&*error.problem, part) {
            (Problem::Digest { what }, _) => assert_eq!(*what, part, "{case}"),
            (Problem::Truncated(what), _) => {
                assert_eq!(*what, part, "{case}");
                assert!(bytes.len() < good.len(), "{case}");
            }
            // Some bytes of a header are structure.
            (Problem::Header { .. }, "header") => {}
            (other, _) => panic!("{case}: {other}"),
        }
        assert!(verify(&path, &keyring).is_err(), "{case}");
    }
    fs::write(&path, &good[..payload - 10]).unwrap();
    assert!(matches!(*verify_digests(&path).unwrap_err().problem, Problem::Truncated("header")));
}

/// By the length that packages of rpm 6 say in their header.
#[test]
fn a_payload_that_lacks_its_end_is_truncated_and_not_merely_damaged() {
    let (_directory, path) = write(&small(CompressionType::Zstd));
    let good = fs::read(&path).unwrap();
    for length in [good.len() - 1, segments(&path).1] {
        fs::write(&path, &good[..length]).unwrap();
        let error = verify_digests(&path).unwrap_err();
        assert!(matches!(*error.problem, Problem::Truncated("payload")), "{error}");
    }
}

/// Whoever changes the header and its digests as well is caught by the signature alone.
#[test]
fn a_header_with_fitting_digests_and_another_signature_is_a_bad_signature() {
    let gpg = Gpg::new();
    gpg.key("a@example.com", "ed25519", "never", None);
    let key = gpg.public("a@example.com");
    let keyring = Keyring::from_armored(std::slice::from_ref(&key)).unwrap();
    let (_first, signed) = write(&small(CompressionType::Zstd));
    gpg.sign(&signed, "a@example.com");
    let signature = rpm::Package::open(&signed).unwrap().raw_signatures().unwrap()[0].to_vec();
    // Another package, sound in itself, with that signature.
    let mut other = small(CompressionType::Gzip);
    other.apply_signature(signature).unwrap();
    let (_second, path) = write(&other);
    verify_digests(&path).unwrap();
    assert!(!gpg.rpmkeys(&path, &[key], false));
    match problem(&path, &keyring) {
        Problem::BadSignature { key_id, .. } => assert!(keyring.fingerprints()[0].ends_with(&key_id)),
        other => panic!("{other}"),
    }
}

#[test]
fn an_unknown_key_is_named() {
    let gpg = Gpg::new();
    gpg.key("a@example.com", "ed25519", "never", None);
    gpg.key("b@example.com", "rsa3072", "never", None);
    let (_directory, path) = write(&small(CompressionType::Zstd));
    gpg.sign(&path, "a@example.com");
    let (known, other) = (gpg.public("a@example.com"), gpg.public("b@example.com"));
    assert!(!gpg.rpmkeys(&path, std::slice::from_ref(&other), false));
    let a = Keyring::from_armored(&[&known]).unwrap();
    match problem(&path, &Keyring::from_armored(&[&other]).unwrap()) {
        Problem::UnknownKey { key_id } => {
            assert_eq!(key_id.len(), 16);
            assert!(a.fingerprints()[0].ends_with(&key_id));
        }
        other => panic!("{other}"),
    }
    // Of several keys, and of several in one block, the right one is found.
    verify(&path, &Keyring::from_armored(&[&other, &known]).unwrap()).unwrap();
    verify(&path, &Keyring::from_armored(&[[other, known].concat()]).unwrap()).unwrap();
}

/// The key ran from 2020-01-01 for a year, and signed within it. `rpmkeys` 4.18 as Debian builds it accepts the
/// signature today, as we do unless we are told to judge by today.
#[test]
fn an_expired_key_is_named_with_its_date() {
    let gpg = Gpg::new();
    gpg.key("old@example.com", "ed25519", "20210101T000000", Some("20200101T000000"));
    let keyring = Keyring::from_armored(&[gpg.public("old@example.com")]).unwrap();
    let (_directory, path) = write(&small(CompressionType::Zstd));
    gpg.sign_at(&path, "old@example.com", Some("20200601T000000"));
    // Signed in its time: good, unless today is what counts.
    assert!(gpg.rpmkeys(&path, &[gpg.public("old@example.com")], false));
    let signer = verify(&path, &keyring).unwrap();
    assert_eq!(signer.signed, Some(1_590_969_600));
    verify(&path, &keyring.clone().judged_at(1_600_000_000)).unwrap();
    match problem(&path, &keyring.clone().judged_at(1_700_000_000)) {
        Problem::ExpiredKey { expired, .. } => {
            assert!((1_609_459_000..1_609_560_000).contains(&expired), "{expired}")
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_revoked_key_is_refused() {
    let gpg = Gpg::new();
    gpg.key("gone@example.com", "ed25519", "never", None);
    let (_directory, path) = write(&small(CompressionType::Zstd));
    gpg.sign(&path, "gone@example.com");
    gpg.revoke("gone@example.com");
    // rpm 4.18 as Debian builds it does not look.
    assert!(gpg.rpmkeys(&path, &[gpg.public("gone@example.com")], false));
    let keyring = Keyring::from_armored(&[gpg.public("gone@example.com")]).unwrap();
    assert!(matches!(problem(&path, &keyring), Problem::RevokedKey { .. }));
}

#[test]
fn what_is_no_key_is_refused_by_its_number() {
    let gpg = Gpg::new();
    gpg.key("a@example.com", "ed25519", "never", None);
    let error = Keyring::from_armored(&[gpg.public("a@example.com"), b"no key".to_vec()]).unwrap_err();
    assert_eq!(error.to_string(), "key file 2 holds no usable OpenPGP public key");
    assert!(matches!(Keyring::from_armored::<&[u8]>(&[]), Err(KeyringError::Empty)));
}
