//! What is not taken: keys, certificates, signatures, commands.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use drivetrain_modsign::{
    Endorsement, HashKind, KeyError, KeyFile, ModuleDigest, SignatureStore, Signer as _, SigningCommand,
    Subject, new_key, sign_module, verify_module,
};
use jiff::{Timestamp, ToSpan as _};
use tempfile::TempDir;

use crate::{certificate, directory, has, key, made, module, raw, run, signed};

#[test]
fn a_key_with_a_passphrase_is_opened_by_it_alone() {
    let subject = Subject { name: "locked".to_owned(), bits: 2048, days: 1, now: Timestamp::now() };
    let key = new_key(&subject, Some("open sesame")).unwrap();
    assert!(key.key_pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    key.key(Some("open sesame")).unwrap().require(&key.certificate).unwrap();
    assert_eq!(key.key(Some("open barley")).unwrap_err(), KeyError::Passphrase);
    assert_eq!(key.key(None).unwrap_err(), KeyError::Locked);
    if has("openssl") {
        let place = directory(&key);
        run(
            place.path(),
            &["openssl", "rsa", "-in", "key.pem", "-passin", "pass:open sesame", "-check", "-noout"],
        );
    }
}

#[test]
fn keys_that_openssl_writes_are_read_in_each_of_its_forms() {
    if !has("openssl") {
        return;
    }
    let place = directory(key());
    let place = place.path();
    run(place, &["openssl", "rsa", "-in", "key.pem", "-traditional", "-out", "pkcs1.pem"]);
    run(place, &["openssl", "pkcs8", "-topk8", "-in", "key.pem", "-passout", "pass:x", "-out", "locked.pem"]);
    run(
        place,
        &[
            "openssl",
            "pkcs8",
            "-topk8",
            "-scrypt",
            "-in",
            "key.pem",
            "-passout",
            "pass:x",
            "-out",
            "scrypt.pem",
        ],
    );
    run(
        place,
        &[
            "openssl",
            "rsa",
            "-in",
            "key.pem",
            "-traditional",
            "-aes128",
            "-passout",
            "pass:x",
            "-out",
            "old.pem",
        ],
    );
    let read = |name: &str, passphrase| KeyFile::read(&text(place, name), passphrase, name);
    for (name, passphrase) in [("pkcs1.pem", None), ("locked.pem", Some("x")), ("scrypt.pem", Some("x"))] {
        read(name, passphrase).unwrap().require(&key().certificate).unwrap();
    }
    assert_eq!(read("old.pem", Some("x")).unwrap_err(), KeyError::OldLock);
}

#[test]
fn keys_and_certificates_of_another_kind_are_named() {
    if !has("openssl") {
        return;
    }
    let place = TempDir::new().unwrap();
    let place = place.path();
    for (name, kind) in [
        ("ec", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..]),
        ("ed", &["-newkey", "ed25519"][..]),
    ] {
        let (key, cert) = (format!("{name}.key"), format!("{name}.pem"));
        let rest = ["-nodes", "-keyout", &key, "-out", &cert, "-days", "10", "-subj", "/CN=x"];
        run(place, &[&["openssl", "req", "-x509"], kind, &rest[..]].concat());
        let error = KeyFile::read(&text(place, &key), None, "x").unwrap_err().to_string();
        assert!(error.contains("kernels take module signatures of RSA keys"), "{error}");
        let error = certificate(place, &cert).unwrap_err().to_string();
        assert!(error.contains("kernels take module signatures of RSA keys"), "{error}");
    }
    run(place, &["openssl", "genrsa", "-out", "small.key", "1024"]);
    run(
        place,
        &[
            "openssl",
            "req",
            "-x509",
            "-key",
            "small.key",
            "-out",
            "small.pem",
            "-days",
            "10",
            "-subj",
            "/CN=x",
        ],
    );
    assert!(certificate(place, "small.pem").unwrap_err().to_string().contains("1024 bits"));
    for bytes in [&b""[..], b"-----BEGIN CERTIFICATE-----\n", b"nonsense", key().key_pem.as_bytes()] {
        assert!(drivetrain_modsign::Certificate::read(bytes).is_err());
    }
    let two = [key().certificate_pem.as_str(), key().certificate_pem.as_str()].concat();
    let error = drivetrain_modsign::Certificate::read(two.as_bytes()).unwrap_err().to_string();
    assert_eq!(error, "it holds 2 certificates, and one is needed");
    assert_eq!(KeyFile::read(&key().certificate_pem, None, "x").unwrap_err(), KeyError::None);
}

#[test]
fn a_certificate_says_when_it_is_over_and_what_it_is_for() {
    let now = Timestamp::now();
    let certificate = &key().certificate;
    certificate.check(now).unwrap();
    let after = certificate.check(now + 800.hours()).unwrap_err().to_string();
    assert!(after.starts_with("it expired at "), "{after}");
    let before = certificate.check(now - 10.hours()).unwrap_err().to_string();
    assert!(before.starts_with("it is not valid before "), "{before}");
    if has("openssl") {
        let place = directory(key());
        let wanted = [
            "openssl", "req", "-x509", "-key", "key.pem", "-days", "10", "-subj", "/CN=x", "-out", "web.pem",
        ];
        run(place.path(), &[&wanted[..], &["-addext", "extendedKeyUsage=serverAuth"]].concat());
        let error = crate::certificate(place.path(), "web.pem")
            .unwrap()
            .check(Timestamp::now())
            .unwrap_err()
            .to_string();
        assert!(error.contains("lacks codeSigning"), "{error}");
    }
}

#[test]
fn a_key_of_another_certificate_and_a_signature_of_something_else_are_refused() {
    let other = made("Another");
    let error = other.key(None).unwrap().require(&key().certificate).unwrap_err().to_string();
    assert!(error.contains("not the key of the certificate Site module signing"), "{error}");
    let theirs = raw(&module(), &other.key(None).unwrap(), HashKind::Sha256);
    let endorsement =
        Endorsement { certificate: &key().certificate, hash: HashKind::Sha256, signature: &theirs };
    assert!(sign_module(&module(), &[endorsement]).is_err());
    assert!(sign_module(&module(), &[]).is_err());
}

#[test]
fn no_change_of_a_signed_module_goes_unseen() {
    let good = signed(&module(), key(), HashKind::Sha256);
    verify_module(&good, &[&key().certificate]).unwrap();
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1;
        assert!(verify_module(&changed, &[&key().certificate]).is_err(), "byte {at} of {}", good.len());
    }
    for end in 0..good.len() {
        assert!(verify_module(&good[..end], &[&key().certificate]).is_err(), "cut at {end}");
    }
    assert!(verify_module(&module(), &[&key().certificate]).unwrap_err().to_string().contains("not signed"));
}

/// A signing command: a script.
fn script(place: &Path, text: &str) -> Vec<String> {
    let file = place.join("sign");
    std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    vec![file.to_str().unwrap().to_owned()]
}

#[test]
fn a_command_that_signs_is_as_good_as_the_key() {
    if !has("openssl") {
        return;
    }
    let place = directory(key());
    let sign = format!(
        "exec openssl pkeyutl -sign -inkey {} -pkeyopt digest:$DRIVETRAIN_HASH",
        place.path().join("key.pem").display()
    );
    let command = SigningCommand::new(script(place.path(), &sign), "f", Duration::from_secs(20));
    for hash in [HashKind::Sha256, HashKind::Sha512] {
        let made = command.sign(&[ModuleDigest::of(hash, &module())]).unwrap();
        assert_eq!(made[0], raw(&module(), &key().key(None).unwrap(), hash));
    }
}

#[test]
fn of_a_command_that_fails_hangs_or_gives_something_else_nothing_is_kept() {
    let place = TempDir::new().unwrap();
    let store = SignatureStore::new(Utf8PathBuf::from_path_buf(place.path().join("signatures")).unwrap());
    let digests = [ModuleDigest::of(HashKind::Sha256, b"a"), ModuleDigest::of(HashKind::Sha256, b"b")];
    let other = key().key(None).unwrap().sign(&[ModuleDigest::of(HashKind::Sha256, b"other")]).unwrap();
    std::fs::write(place.path().join("other"), &other[0]).unwrap();
    let good = key().key(None).unwrap().sign(&digests[..1]).unwrap();
    std::fs::write(place.path().join("good"), &good[0]).unwrap();
    let at = |name: &str| place.path().join(name).display().to_string();
    let cases = [
        ("echo the vault is sealed >&2; exit 3".to_owned(), "the vault is sealed"),
        ("cat; sleep 60".to_owned(), "did not end within"),
        ("sleep 60 & cat".to_owned(), "did not end within"),
        ("echo hello".to_owned(), "no signature of it by"),
        ("cat /dev/zero".to_owned(), "which is no signature"),
        (format!("cat {}", at("other")), "no signature of it by"),
        // Good for the first, and not for the second.
        (format!("cat {}", at("good")), "no signature of it by"),
    ];
    for (text, wanted) in cases {
        let started = Instant::now();
        let command = SigningCommand::new(script(place.path(), &text), "f", Duration::from_secs(2));
        let error = store.obtain(&key().certificate, &digests, &command).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
        assert!(started.elapsed() < Duration::from_secs(15), "{text}");
        assert!(!place.path().join("signatures").exists(), "{text}");
    }
    let missing = SigningCommand::new(vec!["/nowhere/sign".to_owned()], "f", Duration::from_secs(2));
    let error = store.obtain(&key().certificate, &digests, &missing).unwrap_err().to_string();
    assert!(error.contains("cannot be started"), "{error}");
}

/// Nobody to ask.
struct Nobody;

impl drivetrain_modsign::Signer for Nobody {
    fn describe(&self) -> String {
        "nobody".to_owned()
    }

    fn sign(&self, _: &[ModuleDigest]) -> Result<Vec<Vec<u8>>, drivetrain_modsign::SignError> {
        Ok(Vec::new())
    }
}

#[test]
fn what_was_signed_once_is_not_asked_for_again_unless_it_was_damaged() {
    let place = TempDir::new().unwrap();
    let place = Utf8PathBuf::from_path_buf(place.path().to_owned()).unwrap();
    let store = SignatureStore::new(&place);
    let digest = ModuleDigest::of(HashKind::Sha256, b"a");
    let digests = [digest.clone(), digest.clone()];
    let certificate = &key().certificate;
    let first = store.obtain(certificate, &digests, &key().key(None).unwrap()).unwrap();
    assert_eq!(store.obtain(certificate, &digests, &Nobody).unwrap(), first);
    let directory = place.join(certificate.fingerprint().to_string());
    let file = std::fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&file, b"damaged").unwrap();
    assert!(store.get(certificate, &digest).is_none());
    assert!(
        store.obtain(certificate, &digests, &Nobody).unwrap_err().to_string().contains("0 signatures for 1")
    );
    assert_eq!(store.obtain(certificate, &digests, &key().key(None).unwrap()).unwrap(), first);
}

fn text(place: &Path, name: &str) -> String {
    std::fs::read_to_string(place.join(name)).unwrap()
}
