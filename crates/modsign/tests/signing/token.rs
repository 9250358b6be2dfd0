//! A key in a token: SoftHSM's, which is configured by the environment, and so in a process of its own.

use std::path::Path;
use std::process::Command;

use camino::Utf8PathBuf;
use drivetrain_modsign::{HashKind, ModuleDigest, Signer as _, Token};

use crate::{directory, has, key, module, raw, run};

const MODULES: [&str; 2] = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"];

#[test]
fn a_token_signs_as_the_key_does_and_says_what_is_wrong() {
    let Some(library) = MODULES.into_iter().find(|file| Path::new(file).exists()) else {
        return println!("left out: there is no SoftHSM");
    };
    if !has("softhsm2-util") {
        return;
    }
    let place = directory(key());
    std::fs::create_dir(place.path().join("tokens")).unwrap();
    let configuration = place.path().join("softhsm2.conf");
    let text =
        format!("directories.tokendir = {}\nlog.level = ERROR\n", place.path().join("tokens").display());
    std::fs::write(&configuration, text).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "token::in_a_process_of_its_own", "--ignored", "--nocapture"])
        .env("SOFTHSM2_CONF", &configuration)
        .env("TOKEN_TEST_LIBRARY", library)
        .env("TOKEN_TEST_KEY", place.path().join("key.pem"))
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "a process that another test starts"]
fn in_a_process_of_its_own() {
    let Ok(library) = std::env::var("TOKEN_TEST_LIBRARY") else { return };
    let pem = std::env::var("TOKEN_TEST_KEY").unwrap();
    let here = Path::new("/");
    run(
        here,
        &["softhsm2-util", "--init-token", "--free", "--label", "site", "--so-pin", "5678", "--pin", "1234"],
    );
    run(
        here,
        &[
            "softhsm2-util",
            "--import",
            &pem,
            "--token",
            "site",
            "--label",
            "modules",
            "--id",
            "01",
            "--pin",
            "1234",
        ],
    );
    let library = Utf8PathBuf::from(library);
    let open = |token: &str, label: &str, pin: &str| Token::open(&library, token, label, pin);
    let key =
        drivetrain_modsign::KeyFile::read(&std::fs::read_to_string(&pem).unwrap(), None, "key").unwrap();
    let error = open("elsewhere", "modules", "1234").unwrap_err().to_string();
    assert!(error.contains("there is no token \"elsewhere\"") && error.contains("\"site\""), "{error}");
    let error = open("site", "modules", "4321").unwrap_err().to_string();
    assert!(error.contains("the PIN does not open the token"), "{error}");
    let error = open("site", "others", "1234").unwrap_err().to_string();
    assert!(error.contains("has 0 private RSA keys with the label \"others\""), "{error}");
    let error =
        Token::open(&Utf8PathBuf::from("/nowhere.so"), "site", "modules", "1234").unwrap_err().to_string();
    assert!(error.contains("cannot be loaded"), "{error}");
    let token = open("site", "modules", "1234").unwrap();
    for hash in [HashKind::Sha256, HashKind::Sha512] {
        let digests = [ModuleDigest::of(hash, &module()), ModuleDigest::of(hash, b"another")];
        let made = token.sign(&digests).unwrap();
        assert_eq!(made[0], raw(&module(), &key, hash));
        assert_eq!(made[1], raw(b"another", &key, hash));
    }
}
