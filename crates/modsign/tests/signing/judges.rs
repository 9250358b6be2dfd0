//! What others say of our signatures.

use std::path::Path;

use drivetrain_modsign::{
    Compression, Endorsement, HashKind, compress_as, sign_module, signers_of, unpack, verify_module,
};

use crate::{certificate, directory, has, key, made, module, raw, run, sign_file, signed};

#[test]
fn a_signature_is_byte_for_byte_that_of_the_kernels_own_program() {
    let Some(sign_file) = sign_file() else { return println!("left out: there is no lab") };
    let directory = directory(key());
    for hash in [HashKind::Sha256, HashKind::Sha512] {
        let file = directory.path().join("theirs.ko");
        std::fs::write(&file, module()).unwrap();
        let program = sign_file.to_str().unwrap();
        run(directory.path(), &[program, hash.as_str(), "key.pem", "cert.pem", "theirs.ko"]);
        assert!(std::fs::read(&file).unwrap() == signed(&module(), key(), hash), "{hash}");
    }
}

#[test]
fn openssl_verifies_a_signature_and_refuses_that_of_other_bytes() {
    if !has("openssl") {
        return;
    }
    let directory = directory(key());
    let module = module();
    let signed = signed(&module, key(), HashKind::Sha256);
    let der = &signed[module.len()..signed.len() - 40];
    let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes).unwrap();
    write("module", &module);
    write("signature", der);
    let verify = [
        "openssl",
        "cms",
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-in",
        "signature",
        "-content",
        "module",
        "-certfile",
        "cert.pem",
        "-CAfile",
        "cert.pem",
        "-purpose",
        "any",
        "-out",
        "/dev/null",
    ];
    run(directory.path(), &verify);
    let mut other = module.clone();
    other[20] ^= 1;
    write("module", &other);
    let status =
        std::process::Command::new(verify[0]).args(&verify[1..]).current_dir(directory.path()).output();
    assert!(!status.unwrap().status.success());
}

#[test]
fn modinfo_says_signer_key_and_hash() {
    if !has("modinfo") {
        return;
    }
    let directory = directory(key());
    std::fs::write(directory.path().join("hello.ko"), signed(&module(), key(), HashKind::Sha256)).unwrap();
    let said = modinfo(directory.path());
    assert!(said.contains("Site module signing"), "{said}");
    assert!(said.contains(&key().certificate.serial()), "{said}");
    assert!(said.contains("sha256") && said.contains("PKCS#7"), "{said}");
    let signers = signers_of(&signed(&module(), key(), HashKind::Sha256)).unwrap();
    assert_eq!(signers[0].name, "Site module signing");
    assert_eq!(signers[0].serial, key().certificate.serial());
}

fn modinfo(directory: &Path) -> String {
    run(directory, &["modinfo", "./hello.ko"])
}

#[test]
fn openssl_reads_the_key_and_the_certificate_that_were_made() {
    if !has("openssl") {
        return;
    }
    let directory = directory(key());
    let said =
        run(directory.path(), &["openssl", "x509", "-in", "cert.der", "-inform", "DER", "-noout", "-text"]);
    for wanted in [
        "Digital Signature",
        "Code Signing",
        "CA:FALSE",
        "Subject Key Identifier",
        "CN = Site module signing",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
    run(directory.path(), &["openssl", "rsa", "-in", "key.pem", "-check", "-noout"]);
    // And the other way round.
    run(
        directory.path(),
        &[
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "theirs.key",
            "-out",
            "theirs.pem",
            "-days",
            "10",
            "-subj",
            "/O=Site/CN=theirs",
        ],
    );
    assert_eq!(certificate(directory.path(), "theirs.pem").unwrap().name(), "theirs");
}

#[test]
fn two_keys_sign_one_module_and_both_are_verified() {
    let (old, new) = (key(), made("Next module signing"));
    let module = module();
    let [first, second] = [old, &new].map(|key| raw(&module, &key.key(None).unwrap(), HashKind::Sha256));
    let both = sign_module(
        &module,
        &[
            Endorsement { certificate: &old.certificate, hash: HashKind::Sha256, signature: &first },
            Endorsement { certificate: &new.certificate, hash: HashKind::Sha256, signature: &second },
        ],
    )
    .unwrap();
    verify_module(&both, &[&old.certificate, &new.certificate]).unwrap();
    verify_module(&both, &[&new.certificate, &old.certificate]).unwrap();
    let one = verify_module(&both, &[&old.certificate]).unwrap_err();
    assert!(one.to_string().contains("others have signed it besides"), "{one}");
    assert_eq!(signers_of(&both).unwrap().len(), 2);
}

#[test]
fn a_signature_takes_the_place_of_one_that_is_there() {
    let other = made("Somebody else");
    let module = module();
    let theirs = signed(&module, &other, HashKind::Sha512);
    let raw = raw(&module, &key().key(None).unwrap(), HashKind::Sha256);
    let endorsement =
        Endorsement { certificate: &key().certificate, hash: HashKind::Sha256, signature: &raw };
    assert_eq!(sign_module(&theirs, &[endorsement]).unwrap(), signed(&module, key(), HashKind::Sha256));
}

#[test]
fn a_compressed_module_is_signed_beneath_its_compression() {
    for compression in [Compression::Gzip, Compression::Xz, Compression::Zstd] {
        let signed = signed(&module(), key(), HashKind::Sha256);
        let packed = compress_as(compression, signed.clone()).unwrap();
        assert_eq!(unpack(&packed, 1 << 20).unwrap(), signed);
    }
}
