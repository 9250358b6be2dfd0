//! `drivetrain check --signing`, with keys that are made on the spot: what they are, and what is wrong with them.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use std::process::Command;

use common::consumer::has;
use common::{Output, bare, finish};
use drivetrain_modsign::{NewKey, Subject, new_key};
use jiff::{Timestamp, ToSpan as _};
use tempfile::TempDir;

const PASSPHRASE: &str = "open sesame 42";

struct Keys(TempDir);

impl Keys {
    fn new() -> Self {
        Self(tempfile::Builder::new().prefix("drivetrain-keys-").tempdir().unwrap())
    }

    /// A certificate with its key, of a moment so many days ago.
    fn make(&self, name: &str, ago: i64, passphrase: Option<&str>) -> NewKey {
        let now = Timestamp::now() - (ago * 24).hours();
        let subject = Subject { name: name.to_owned(), bits: 2048, days: 400, now };
        let made = new_key(&subject, passphrase).unwrap();
        self.write(&format!("{name}.pem"), &made.certificate_pem);
        self.write(&format!("{name}.key"), &made.key_pem);
        made
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    /// A certificate of a kind of key that OpenSSL knows.
    fn openssl(&self, name: &str, kind: &[&str]) {
        let output = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-subj", "/CN=Other", "-days", "30", "-newkey"])
            .args(kind)
            .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")])
            .current_dir(self.0.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What is said of these signers, in the form that YAML has for a flow.
    fn check(&self, signers: &str, more: &str) -> Output {
        self.check_with(signers, more, &[])
    }

    fn check_with(&self, signers: &str, more: &str, arguments: &[&str]) -> Output {
        let signing =
            if signers.is_empty() { String::new() } else { format!("  module_signing: {signers}\n") };
        let at = self.0.path().display();
        let config = format!(
            "train:\n  name: site\n  arch: x86_64\n  repositories:\n    baseos: {{url: \"file://{at}/train\", verify: checksums-only}}\n\
             driver:\n  name: doca\n  version: 3.2.0\n  repository: {{url: \"file://{at}/vendor\", verify: \
             checksums-only}}\n{signing}publish:\n  directory: {{path: {at}/published}}\n{more}"
        );
        self.write("drivetrain.yaml", &config);
        let mut command = bare(self.0.path());
        command.env("PHRASE", PASSPHRASE).env("WRONG", "open barley");
        finish(command.args(["check", "--signing"]).args(arguments))
    }

    /// What was printed, and what was wrong, with words in place of what is another each time.
    fn shown(&self, output: &Output) -> String {
        let text = format!("{}{}", output.stdout, output.stderr);
        assert!(!text.contains(PASSPHRASE) && !text.contains("barley"), "{text}");
        let mut text = text.replace(&format!("{}/", self.0.path().display()), "");
        while let Some(at) = hexadecimal(&text) {
            text.replace_range(at, "FINGERPRINT");
        }
        let words: Vec<&str> = text.split(' ').collect();
        let dates = words.iter().map(|word| word.split([':', '\n', 'T']).next().unwrap_or_default());
        let dates: Vec<String> =
            dates.filter(|word| word.parse::<jiff::civil::Date>().is_ok()).map(str::to_owned).collect();
        for date in dates {
            let from = text.find(&date).unwrap_or_default();
            let rest = &text[from + date.len()..];
            // A moment of the day goes with it.
            let length = if rest.starts_with('T') { rest.find('Z').unwrap_or_default() + 1 } else { 0 };
            text.replace_range(from..from + date.len() + length, "DATE");
        }
        text
    }
}

/// Where the next run of twelve or more hexadecimal digits is.
fn hexadecimal(text: &str) -> Option<std::ops::Range<usize>> {
    let mut from = 0;
    for run in text.split(|c: char| !c.is_ascii_hexdigit()) {
        if run.len() >= 12 {
            return Some(from..from + run.len());
        }
        from += run.len() + 1;
    }
    None
}

#[test]
fn what_would_be_signed_with_is_shown_and_tried() {
    let keys = Keys::new();
    keys.make("now", 0, Some(PASSPHRASE));
    keys.make("soon", 360, None);
    let signers = "[{certificate: now.pem, key: now.key, passphrase: \"${PHRASE}\"}, {certificate: soon.pem, hash: \
                   sha512, exchange: true}]";
    let output = keys.check(signers, "").succeeds();
    insta::assert_snapshot!("keys", keys.shown(&output));
    let json = keys.check_with(signers, "", &["--json"]).succeeds().json();
    assert_eq!(json["modules"][0]["signs"], true);
    assert_eq!(json["modules"][1]["signs"], serde_json::Value::Null);
    assert_eq!(json["modules"][1]["ends_soon"], true);
    let output = keys.check("", "").succeeds();
    insta::assert_snapshot!(keys.shown(&output), @"Nothing is signed: neither driver.module_signing nor publish.sign is in the configuration.");
}

#[test]
fn a_key_for_packages_is_shown_and_tried() {
    if !has("gpg") {
        return;
    }
    let keys = Keys::new();
    let script = "mkdir -m 700 gpg; g='gpg --homedir gpg --batch --quiet --yes --pinentry-mode loopback --passphrase'\n\
                  $g '' --quick-generate-key drivers@example.com rsa3072 sign 40d\n\
                  $g '' --armor --export-secret-keys drivers@example.com > drivers.asc\n\
                  gpgconf --homedir gpg --kill all";
    let made = Command::new("sh").args(["-ec", script]).current_dir(keys.0.path()).status().unwrap();
    assert!(made.success());
    let output = keys.check("", "  sign: {key: drivers.asc}\n").succeeds();
    insta::assert_snapshot!("packages", keys.shown(&output));
}

#[test]
fn what_is_wrong_with_a_key_is_said_before_anything_needs_it() {
    if !has("openssl") {
        return;
    }
    let keys = Keys::new();
    keys.make("good", 0, None);
    keys.make("other", 0, None);
    keys.make("locked", 0, Some(PASSPHRASE));
    keys.make("old", 500, None);
    keys.openssl("curve", &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    keys.openssl("edwards", &["ed25519"]);
    let mut told = String::new();
    for (what, signer) in [
        ("a wrong passphrase", "{certificate: locked.pem, key: locked.key, passphrase: \"${WRONG}\"}"),
        ("no passphrase", "{certificate: locked.pem, key: locked.key}"),
        ("an expired certificate", "{certificate: old.pem, key: old.key}"),
        ("another certificate's key", "{certificate: good.pem, key: other.key}"),
        ("a certificate with a key on a curve", "{certificate: curve.pem, key: curve.key}"),
        ("a certificate with a key of Ed25519", "{certificate: edwards.pem, key: edwards.key}"),
        ("a key on a curve", "{certificate: good.pem, key: curve.key}"),
        ("a key of Ed25519", "{certificate: good.pem, key: edwards.key}"),
        ("no certificate", "{certificate: good.key, key: good.key}"),
        (
            "no library for a token",
            "{certificate: good.pem, pkcs11: {module: none.so, token: t, label: l, pin: \"${PHRASE}\"}}",
        ),
        ("a command that signs with something else", "{certificate: good.pem, command: [echo, signed]}"),
    ] {
        let output = keys.check(signer, "").ends_with(2);
        told.push_str(&format!("--- {what}\n{}\n", keys.shown(&output).trim_end()));
    }
    let several = "[{certificate: old.pem, key: old.key}, {certificate: other.pem, key: other.key}, {certificate: \
                   good.pem, key: none.key}]";
    let output = keys.check(several, "").ends_with(2);
    told.push_str(&format!("--- two of three\n{}\n", keys.shown(&output).trim_end()));
    insta::assert_snapshot!("wrong", told);
}
