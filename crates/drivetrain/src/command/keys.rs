//! `drivetrain check --signing`: what modules and packages would be signed with, and whether that signs.

use drivetrain_config::{Config, ModuleSigner, PublishSign, SignBy};
use drivetrain_model::ExitCode;
use drivetrain_rpmfile::PackageKey;
use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;

use crate::cli::Global;
use crate::context::load_cells;
use crate::failure::{Failure, Result};
use crate::stage::modsign::{self, SOON, TriedSigner};
use crate::stage::sign;
use crate::view;

/// What is configured to sign with.
#[derive(Debug, Default, Serialize)]
pub struct Keys {
    /// For modules.
    pub modules: Vec<ModuleKey>,
    /// For packages, and the metadata of a directory.
    pub packages: Vec<PackageKeyFound>,
}

/// A certificate that modules are signed for.
#[derive(Debug, Serialize)]
pub struct ModuleKey {
    /// Whose it is: the whole name on it.
    pub subject: String,
    /// The SHA-256 of its DER.
    pub fingerprint: String,
    /// The size of its key, in bits.
    pub bits: usize,
    /// The hash of the signatures.
    pub hash: String,
    /// The last moment at which it is valid.
    pub not_after: Timestamp,
    /// Whether that is soon.
    pub ends_soon: bool,
    /// Who signs, in words.
    pub signer: String,
    /// Whether a signature of it was made and verified; absent where another host signs.
    pub signs: Option<bool>,
}

/// A key that packages are signed with.
#[derive(Debug, Serialize)]
pub struct PackageKeyFound {
    /// The first name on it.
    pub user: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Where it is, and what opens it.
    pub signer: String,
    /// Whether it signs no more in a while.
    pub ends_soon: bool,
}

/// Tries every key that the configuration names: each once, whatever number of cells has it.
pub fn run(global: &Global) -> Result<ExitCode> {
    let (mut keys, mut failures) = (Keys::default(), Vec::new());
    let (mut modules, mut packages): (Vec<ModuleSigner>, Vec<PublishSign>) = Default::default();
    for cell in load_cells(global)? {
        let Config { driver, publish, .. } = cell.config;
        modules.extend(driver.module_signing);
        packages.extend(publish.sign);
    }
    for signer in once(modules) {
        take(module_key(&signer), &mut keys.modules, &mut failures);
    }
    for key in once(packages) {
        take(package_key(&key), &mut keys.packages, &mut failures);
    }
    if global.json {
        view::print_json(&keys);
    } else {
        view::print(&view::keys::keys(&keys, failures.is_empty()));
    }
    match failures.len() {
        0 => Ok(ExitCode::Success),
        1 => Err(failures.remove(0)),
        several => {
            let mut failure = Failure::new(ExitCode::Usage, format!("{several} keys cannot be signed with"));
            failure.causes = failures.iter().map(Failure::one_line).collect();
            Err(failure)
        }
    }
}

fn once<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut different: Vec<T> = Vec::new();
    for one in all {
        if !different.contains(&one) {
            different.push(one);
        }
    }
    different
}

fn take<T>(found: Result<T>, all: &mut Vec<T>, failures: &mut Vec<Failure>) {
    match found {
        Ok(found) => all.push(found),
        Err(failure) => failures.push(failure),
    }
}

fn module_key(signer: &ModuleSigner) -> Result<ModuleKey> {
    let TriedSigner { certificate, hash, signs } = modsign::try_out(signer)?;
    let soon = Timestamp::now() + (SOON * 24).hours();
    Ok(ModuleKey {
        subject: certificate.subject(),
        fingerprint: certificate.fingerprint().to_string(),
        bits: certificate.bits(),
        hash: hash.to_string(),
        not_after: certificate.not_after(),
        ends_soon: certificate.not_after() < soon,
        signer: in_words(&signer.by),
        signs,
    })
}

/// Who signs. Passphrases and PINs are told by the variables that they come from.
fn in_words(by: &SignBy) -> String {
    match by {
        SignBy::Key { file, passphrase: None } => format!("the key {file}, which is not locked"),
        SignBy::Key { file, passphrase: Some(passphrase) } => {
            format!("the key {file}, opened by {}", passphrase.redacted())
        }
        SignBy::Pkcs11 { module, token, label, pin } => {
            format!("the key {label:?} of the token {token:?} by {module}, opened by {}", pin.redacted())
        }
        SignBy::Command(words) => format!("the command {}", words.first().map_or("", String::as_str)),
        SignBy::Exchange => {
            "another host, by `drivetrain sign --export` and `drivetrain sign --import`".to_owned()
        }
    }
}

fn package_key(sign: &PublishSign) -> Result<PackageKeyFound> {
    let key: PackageKey = sign::read(sign)?;
    let lock = match &sign.passphrase {
        None => "which is not locked".to_owned(),
        Some(passphrase) => format!("opened by {}", passphrase.redacted()),
    };
    // A key does not say when it ends, but what it is worth at a moment.
    let then = Timestamp::now() + (SOON * 24).hours();
    let ends_soon = sign::read_at(sign, then).is_err();
    Ok(PackageKeyFound {
        user: key.user().to_owned(),
        fingerprint: key.fingerprint().to_owned(),
        signer: format!("the key {}, {lock}", sign.key),
        ends_soon,
    })
}
