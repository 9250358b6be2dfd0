//! Signing on a host that has nothing but the file.

use drivetrain_modsign::{HashKind, ModuleDigest, Request, RequestedModule, Response};

use crate::{key, made, module};

fn request() -> Request {
    let module = |name: &str, bytes: &[u8]| RequestedModule {
        package: "kmod-hello.rpm".to_owned(),
        module: format!("/lib/modules/6.1/extra/{name}.ko"),
        digest: ModuleDigest::of(HashKind::Sha256, bytes),
    };
    let modules = vec![module("b", b"b"), module("a", &crate::module()), module("c", b"b")];
    Request::new(&key().certificate, HashKind::Sha256, "train, driver, kernel".to_owned(), modules)
}

#[test]
fn a_request_comes_back_as_good_signatures() {
    let text = request().write().unwrap();
    let read = Request::read(&text).unwrap();
    assert_eq!(read, request());
    let response = read.sign(&key().certificate, &key().key(None).unwrap()).unwrap();
    let response = Response::read(&response.write().unwrap()).unwrap();
    let signatures = response.verified(&key().certificate).unwrap();
    assert_eq!(signatures.len(), 2);
    let digest = ModuleDigest::of(HashKind::Sha256, &module());
    key().certificate.verify(&digest, &signatures[&digest]).unwrap();
}

#[test]
fn a_response_that_was_tampered_with_is_not_taken_at_all() {
    let response = request().sign(&key().certificate, &key().key(None).unwrap()).unwrap();
    let mut swapped = response.clone();
    let (first, second) = (swapped.signatures[0].signature.clone(), swapped.signatures[1].signature.clone());
    swapped.signatures[0].signature = second;
    swapped.signatures[1].signature = first;
    let mut cut = response.clone();
    cut.signatures[1].signature.truncate(100);
    let mut no_hex = response.clone();
    no_hex.signatures[0].signature.replace_range(0..1, "g");
    for bad in [swapped, cut, no_hex] {
        let error = bad.verified(&key().certificate).unwrap_err().to_string();
        assert!(error.contains("is not a good one"), "{error}");
    }
    let other = made("Another");
    let error = response.verified(&other.certificate).unwrap_err().to_string();
    assert!(error.contains("it is for the certificate"), "{error}");
}

#[test]
fn the_other_file_another_format_and_nonsense_are_told_apart() {
    let request = request();
    let response = request.sign(&key().certificate, &key().key(None).unwrap()).unwrap();
    let error = Request::read(&response.write().unwrap()).unwrap_err().to_string();
    assert_eq!(error, "it is the other file: a request is needed here");
    let mut newer = request.clone();
    newer.format = 2;
    let error = Request::read(&newer.write().unwrap()).unwrap_err().to_string();
    assert!(error.contains("format 2"), "{error}");
    assert!(Request::read(b"{}").unwrap_err().to_string().contains("no request"));
    let mut mixed = request;
    mixed.hash = HashKind::Sha512;
    assert!(Request::read(&mixed.write().unwrap()).unwrap_err().to_string().contains("not of the hash"));
}
