//! Signatures, judged by the tools that others use: `openssl`, `modinfo`, and the kernel's own `sign-file`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod exchange;
mod faults;
mod judges;
mod token;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use drivetrain_kmod::fixture::ModuleBuilder;
use drivetrain_modsign::{Certificate, HashKind, KeyFile, ModuleDigest, NewKey, Signer, Subject, new_key};
use jiff::Timestamp;
use tempfile::TempDir;

/// A module of some size.
pub fn module() -> Vec<u8> {
    ModuleBuilder::new("hello", "6.1.0").import("printk", 1).build()
}

/// A key that is made once for all tests of a process.
pub fn key() -> &'static NewKey {
    static KEY: OnceLock<NewKey> = OnceLock::new();
    KEY.get_or_init(|| made("Site module signing"))
}

/// A new key.
pub fn made(name: &str) -> NewKey {
    new_key(&Subject { name: name.to_owned(), bits: 2048, days: 30, now: Timestamp::now() }, None).unwrap()
}

/// A module that a key has signed.
pub fn signed(module: &[u8], key: &NewKey, hash: HashKind) -> Vec<u8> {
    drivetrain_modsign::sign_module(
        module,
        &[drivetrain_modsign::Endorsement {
            certificate: &key.certificate,
            hash,
            signature: &raw(module, &key.key(None).unwrap(), hash),
        }],
    )
    .unwrap()
}

/// The raw signature of a module.
pub fn raw(module: &[u8], key: &KeyFile, hash: HashKind) -> Vec<u8> {
    key.sign(&[ModuleDigest::of(hash, module)]).unwrap().remove(0)
}

/// A directory with a key and its certificate: `key.pem`, `cert.pem`, `cert.der`.
pub fn directory(key: &NewKey) -> TempDir {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("key.pem"), &key.key_pem).unwrap();
    std::fs::write(directory.path().join("cert.pem"), &key.certificate_pem).unwrap();
    std::fs::write(directory.path().join("cert.der"), key.certificate.der()).unwrap();
    directory
}

/// Runs a command in a directory, which has to succeed; what it says.
pub fn run(directory: &Path, command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).current_dir(directory).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// Whether a program is here; said where it is not.
pub fn has(program: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
    if !found {
        println!("left out: there is no {program}");
    }
    found
}

/// The `sign-file` of the lab's newest kernel.
pub fn sign_file() -> Option<PathBuf> {
    let lab = PathBuf::from(std::env::var_os("DRIVETRAIN_LAB")?);
    let mut kernels: Vec<PathBuf> =
        std::fs::read_dir(lab.join("kernels")).ok()?.flatten().map(|entry| entry.path()).collect();
    kernels.sort();
    let file = kernels.pop()?.join("scripts/sign-file");
    file.exists().then_some(file)
}

/// A certificate, read from what `openssl` or a test wrote.
pub fn certificate(
    directory: &Path,
    name: &str,
) -> Result<Certificate, drivetrain_modsign::CertificateError> {
    Certificate::read(&std::fs::read(directory.join(name)).unwrap())
}
