//! Signatures of our own, judged by `rpmkeys -K` and `gpg --verify`, with keys that `gpg` made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

mod support;

use std::fs;

use drivetrain_model::Sha256Digest;
use drivetrain_rpmfile::{
    Keyring, PackageKey, PackageKeyError, Problem, is_signed, package_digests, signed_header, verify,
};
use rpm::CompressionType;
use support::{Gpg, small, write};

/// This moment, in seconds since 1970.
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn what_is_signed_here_is_good_to_rpmkeys_and_the_same_every_time() {
    let gpg = Gpg::new();
    for (name, algorithm) in [("rsa@example.com", "rsa4096"), ("ed@example.com", "ed25519")] {
        gpg.key(name, algorithm, "never", None);
        let key = PackageKey::read(&gpg.secret(name, ""), None, now()).unwrap();
        assert_eq!(key.user(), name);
        let (directory, path) = write(&small(CompressionType::Zstd));
        let [signed, again] = ["signed.rpm", "again.rpm"].map(|file| directory.path().join(file));
        let before = fs::read(&path).unwrap();
        let signer = key.sign(&path, &signed).unwrap();
        assert_eq!(signer.fingerprint, key.fingerprint());
        assert!(!is_signed(&path).unwrap() && is_signed(&signed).unwrap());
        assert!(fs::read(&path).unwrap() == before, "the package itself is as it was");
        // What was built is not changed by a signature on it.
        let built = |file| {
            let bytes = fs::read(file).unwrap();
            bytes[rpm::PackageMetadata::open(file).unwrap().get_package_segment_offsets().header as usize..]
                .to_vec()
        };
        assert!(built(&path) == built(&signed));
        let [unsigned, with] = [&path, &signed].map(|file| package_digests(file).unwrap());
        assert_eq!(unsigned.content, with.content);
        assert_eq!(unsigned.content, Sha256Digest::of(&built(&path)));
        assert_eq!(unsigned.file, Sha256Digest::of(&before));
        assert_ne!(unsigned.file, with.file);
        let header = |file| signed_header(&fs::read(file).unwrap(), "a.rpm").unwrap();
        assert!(header(&path) == header(&signed) && built(&path).starts_with(&header(&path)));
        assert!(
            signed_header(&before[..before.len().min(200)], "a.rpm").is_err(),
            "cut off within the header"
        );
        assert_eq!(fs::metadata(&path).unwrap().len(), fs::metadata(&signed).unwrap().len());

        let theirs = gpg.public(name);
        assert!(gpg.rpmkeys(&signed, std::slice::from_ref(&theirs), false), "{algorithm}: rpmkeys");
        assert!(
            gpg.rpmkeys(&signed, &[key.public().into()], false),
            "{algorithm}: with the key that is served"
        );
        verify(&signed, &Keyring::from_armored(&[theirs]).unwrap()).unwrap();
        key.sign(&path, &again).unwrap();
        assert!(fs::read(&signed).unwrap() == fs::read(&again).unwrap());

        // One byte changed afterwards.
        let mut bytes = fs::read(&signed).unwrap();
        let last = bytes.len() - 8;
        bytes[last] ^= 1;
        fs::write(&signed, bytes).unwrap();
        assert!(!gpg.rpmkeys(&signed, &[key.public().into()], false));
    }
}

#[test]
fn metadata_get_a_signature_that_gpg_verifies() {
    let gpg = Gpg::new();
    gpg.key("a@example.com", "ed25519", "never", None);
    let key = PackageKey::read(&gpg.secret("a@example.com", ""), None, now()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let [file, signature] = ["repomd.xml", "repomd.xml.asc"].map(|name| directory.path().join(name));
    fs::write(&file, "<repomd/>").unwrap();
    fs::write(&signature, key.sign_bytes(b"<repomd/>", now()).unwrap()).unwrap();
    assert!(gpg.verifies(&signature, &file));
    fs::write(&file, "<repomd />").unwrap();
    assert!(!gpg.verifies(&signature, &file));
}

#[test]
fn a_key_that_cannot_be_used_is_refused_before_anything_is_signed() {
    let gpg = Gpg::new();
    gpg.locked_key("locked@example.com", "open sesame");
    let locked = gpg.secret("locked@example.com", "open sesame");
    let refused =
        |text: &str, passphrase: Option<&str>| PackageKey::read(text, passphrase, now()).unwrap_err();
    assert!(matches!(refused(&locked, None), PackageKeyError::Locked));
    let error = refused(&locked, Some("open barley"));
    assert!(
        matches!(error, PackageKeyError::Passphrase) && !format!("{error:?}").contains("barley"),
        "{error:?}"
    );
    let key = PackageKey::read(&locked, Some("open sesame"), now()).unwrap();
    assert!(!format!("{key:?}").contains("sesame"), "{key:?}");

    gpg.key("old@example.com", "ed25519", "1d", Some("20200101T000000"));
    let error = refused(&gpg.secret("old@example.com", ""), None);
    assert!(matches!(error, PackageKeyError::Over(Problem::ExpiredKey { .. })), "{error:?}");
    gpg.key("gone@example.com", "ed25519", "never", None);
    gpg.revoke("gone@example.com");
    let error = refused(&gpg.secret("gone@example.com", ""), None);
    assert!(matches!(error, PackageKeyError::Over(Problem::RevokedKey { .. })), "{error:?}");

    let public = String::from_utf8(gpg.public("gone@example.com")).unwrap();
    assert!(matches!(refused(&public, None), PackageKeyError::NoKey(_) | PackageKeyError::Several(0)));
    assert!(matches!(refused("no key", None), PackageKeyError::NoKey(_) | PackageKeyError::Several(0)));
    let two = gpg.secret("old@example.com", "") + &gpg.secret("gone@example.com", "");
    let error = refused(&two, None);
    assert!(matches!(error, PackageKeyError::Several(2) | PackageKeyError::Over(_)), "{error:?}");
}
