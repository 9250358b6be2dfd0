//! Signatures of modules: made on this host, after the build and before the proof, whatever host builds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_build::digest_of;
use drivetrain_config::{Config, ModuleHash, ModuleSigner, SignBy};
use drivetrain_model::{ExitCode, Sha256Digest};
use drivetrain_modsign::{
    Certificate, HashKind, KeyFile, ModuleDigest, RawSignature, Request, RequestedModule, SignatureStore,
    SignaturesFor, Signer, Token, content_of, sign_package,
};
use drivetrain_prove::{Limits, ModuleFile, read_modules};
use fs_err as fs;
use jiff::{Timestamp, ToSpan as _};
use rayon::prelude::*;
use serde::Serialize;
use tempfile::TempDir;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::stage::build::Built;
use crate::stage::plan::Planned;
use crate::stage::{blocking, read_small, unchanged, utf8};
use crate::state::StateDirectory;

/// Keys and certificates are a few kilobytes.
const MAX_FILE: u64 = 64 << 10;
/// How long a command may take for one signature: somebody may have to press a button.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// A certificate that ends within this many days is told of.
pub const SOON: i64 = 60;

/// The certificates that modules are signed for, each with who signs.
pub struct ModuleSigning(Vec<Configured>);

struct Configured {
    certificate: Certificate,
    hash: HashKind,
    /// Absent where another host signs.
    signer: Option<Box<dyn Signer>>,
}

/// Reads certificates and keys, and tries whether they belong together; nothing where modules are not signed.
pub fn read(config: &Config) -> Result<Option<ModuleSigning>> {
    let signers = &config.driver.module_signing;
    if signers.is_empty() {
        return Ok(None);
    }
    let configured: Vec<Configured> = signers.iter().map(configured).collect::<Result<_>>()?;
    for (position, one) in configured.iter().enumerate() {
        if configured.iter().take(position).any(|other| other.certificate == one.certificate) {
            let message = format!("driver.module_signing has the certificate {} twice", one.certificate);
            return Err(Failure::new(ExitCode::Usage, message));
        }
    }
    Ok(Some(ModuleSigning(configured)))
}

fn configured(signer: &ModuleSigner) -> Result<Configured> {
    let certificate = read_certificate(&signer.certificate)?;
    certificate.check(Timestamp::now()).map_err(|error| {
        let message = format!("the certificate {} cannot be signed for", signer.certificate);
        Failure::because(ExitCode::Usage, message, &error)
            .next("name another in driver.module_signing, or make one with `drivetrain sign --new-key`")
    })?;
    let hash = match signer.hash {
        ModuleHash::Sha256 => HashKind::Sha256,
        ModuleHash::Sha512 => HashKind::Sha512,
    };
    let by: Option<Box<dyn Signer>> = match &signer.by {
        SignBy::Key { file, passphrase } => {
            let passphrase = passphrase.as_ref().map(|passphrase| passphrase.expose());
            Some(Box::new(read_key(file, passphrase, &certificate)?))
        }
        SignBy::Pkcs11 { module, token, label, pin } => {
            let token = Token::open(module, token, label, pin.expose()).map_err(|error| {
                Failure::because(ExitCode::Usage, "the token of driver.module_signing cannot be used", &error)
            })?;
            // What a token has by the name of a key may be another key.
            probe(&token, &certificate, hash)?;
            Some(Box::new(token))
        }
        SignBy::Command(words) => {
            let fingerprint = certificate.fingerprint().to_string();
            Some(Box::new(drivetrain_modsign::SigningCommand::new(words.clone(), fingerprint, COMMAND_LIMIT)))
        }
        SignBy::Exchange => None,
    };
    Ok(Configured { certificate, hash, signer: by })
}

/// A certificate that modules would be signed for, and whether that works.
pub struct TriedSigner {
    /// The certificate.
    pub certificate: Certificate,
    /// The hash of the signatures.
    pub hash: HashKind,
    /// That a signature was made and verified; absent where another host signs.
    pub signs: Option<bool>,
}

/// Has something signed that is no module, whoever signs.
pub fn try_out(signer: &ModuleSigner) -> Result<TriedSigner> {
    let Configured { certificate, hash, signer } = configured(signer)?;
    let signs = match signer {
        Some(signer) => Some(probe(signer.as_ref(), &certificate, hash).map(|()| true)?),
        None => None,
    };
    Ok(TriedSigner { certificate, hash, signs })
}

/// Makes a signature, and verifies it.
fn probe(signer: &dyn Signer, certificate: &Certificate, hash: HashKind) -> Result<()> {
    let digest = ModuleDigest::of(hash, b"probe");
    let failed = |error: &(dyn std::error::Error + 'static)| {
        let message = format!("{} is not to be signed with for {certificate}", signer.describe());
        Failure::because(ExitCode::Usage, message, error)
    };
    let made = signer.sign(std::slice::from_ref(&digest)).map_err(|error| failed(&error))?;
    let signature = made.first().map(Vec::as_slice).unwrap_or_default();
    certificate.verify(&digest, signature).map_err(|error| failed(&error))
}

/// Reads a certificate from its file.
pub fn read_certificate(file: &Utf8Path) -> Result<Certificate> {
    let bytes = read_small(file, MAX_FILE).map_err(unread(file, "certificate"))?;
    Certificate::read(&bytes).map_err(|error| {
        Failure::because(ExitCode::Usage, format!("the certificate {file} cannot be used"), &error)
            .next("make one with `drivetrain sign --new-key`")
    })
}

/// Reads a key from its file, and requires that it is the certificate's.
pub fn read_key(file: &Utf8Path, passphrase: Option<&str>, certificate: &Certificate) -> Result<KeyFile> {
    let bytes = read_small(file, MAX_FILE).map_err(unread(file, "key"))?;
    let text = String::from_utf8_lossy(&bytes);
    let key = KeyFile::read(&text, passphrase, format!("the key {file}"));
    key.and_then(|key| key.require(certificate).map(|()| key)).map_err(|error| {
        let failure = Failure::because(ExitCode::Usage, format!("the key {file} cannot be used"), &error);
        match error {
            drivetrain_modsign::KeyError::Locked => {
                failure.next("name an environment variable that has its passphrase")
            }
            drivetrain_modsign::KeyError::Passphrase => {
                failure.next("see what is in the variable with its passphrase")
            }
            _ => failure,
        }
    })
}

fn unread(file: &Utf8Path, what: &str) -> impl Fn(io::Error) -> Failure {
    let message = format!("the {what} {file} cannot be read");
    move |error| Failure::because(ExitCode::Usage, message.clone(), &error)
}

impl ModuleSigning {
    /// For the lock and for people: name, fingerprint and hash of each.
    pub fn in_words(&self) -> String {
        let mut words = String::new();
        for one in &self.0 {
            let separator = if words.is_empty() { "" } else { "; " };
            let (certificate, hash) = (&one.certificate, one.hash);
            let _ =
                write!(words, "{separator}{} ({}, {hash})", certificate.name(), certificate.fingerprint());
        }
        words
    }

    /// What a person should know of the certificates.
    pub fn warnings(&self) -> Vec<String> {
        let soon = Timestamp::now() + (SOON * 24).hours();
        let ending = self.0.iter().filter(|one| one.certificate.not_after() < soon);
        ending
            .map(|one| {
                format!(
                    "the certificate {} that modules are signed for ends at {}: sign for the next one besides, so \
                     that machines can enrol it first",
                    one.certificate,
                    one.certificate.not_after()
                )
            })
            .collect()
    }

    /// The certificates.
    pub fn certificates(&self) -> Vec<Certificate> {
        self.0.iter().map(|one| one.certificate.clone()).collect()
    }

    /// The certificates as machines enrol them, by file name.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let file = |one: &Configured| {
            let short = one.certificate.fingerprint().short().to_string();
            (format!("module-signing-{short}.der"), one.certificate.der().to_vec())
        };
        self.0.iter().map(file).collect()
    }
}

/// Where signatures are kept.
pub fn store(state: &StateDirectory) -> SignatureStore {
    SignatureStore::new(state.signatures())
}

/// Where it is kept what is to be signed elsewhere.
pub fn request_file(state: &StateDirectory, certificate: &Certificate) -> Utf8PathBuf {
    state.signatures().join(format!("{}.request.json", certificate.fingerprint()))
}

/// What was signed, for the evidence.
#[derive(Debug, Serialize)]
pub struct SignedModule {
    /// The package.
    package: String,
    /// Where that installs it.
    module: String,
    /// What was signed, by certificate.
    signatures: Vec<SignedFor>,
}

#[derive(Debug, Serialize)]
struct SignedFor {
    certificate: String,
    fingerprint: Sha256Digest,
    serial: String,
    digest: ModuleDigest,
}

/// What became of the packages.
pub struct Signed {
    /// What was signed.
    pub modules: Vec<SignedModule>,
    /// Where the packages are, for as long as this lives.
    _directory: TempDir,
}

/// Signs the modules of what was built: the packages are written anew, with nothing else changed in them.
pub async fn make(context: &Context, planned: &Planned, mut built: Built) -> Result<(Built, Option<Signed>)> {
    let Some(signing) = planned.module_signing.clone() else { return Ok((built, None)) };
    for warning in signing.warnings() {
        context.reporter.warn(warning);
    }
    let directory =
        context.state.scratch_directory().map_err(|error| Failure::of(ExitCode::Failure, &error))?;
    let packages: Vec<(Utf8PathBuf, Sha256Digest)> =
        built.packages().map(|package| (package.path.clone(), package.sha256)).collect();
    let (place, state) = (directory.path().to_owned(), context.state.clone());
    let purpose = planned.plan.cell.to_string();
    let (written, modules) =
        blocking(move || sign_all(&signing, &state, &packages, &place, purpose)).await??;
    for component in &mut built.report.components {
        for package in &mut component.packages {
            if let Some(signed) = written.get(&package.path) {
                package.path.clone_from(&signed.path);
                (package.size, package.sha256) = (signed.size, signed.sha256);
            }
        }
    }
    Ok((built, Some(Signed { modules, _directory: directory })))
}

/// A package with signed modules.
struct Written {
    path: Utf8PathBuf,
    size: u64,
    sha256: Sha256Digest,
}

type Signatures = BTreeMap<ModuleDigest, RawSignature>;

fn sign_all(
    signing: &ModuleSigning,
    state: &StateDirectory,
    packages: &[(Utf8PathBuf, Sha256Digest)],
    place: &Path,
    purpose: String,
) -> Result<(BTreeMap<Utf8PathBuf, Written>, Vec<SignedModule>)> {
    let of = |error: &(dyn std::error::Error + 'static)| Failure::of(ExitCode::Proof, error);
    let files: Vec<Utf8PathBuf> = packages.iter().map(|(path, _)| path.clone()).collect();
    let found = read_modules(&files, &Limits::default()).map_err(|error| of(&error))?;
    let (mut signatures, mut digests) = (Vec::new(), Vec::new());
    for one in &signing.0 {
        let of_all: Vec<ModuleDigest> =
            found.modules.iter().map(|module| digest_of_module(one.hash, module)).collect::<Result<_>>()?;
        signatures.push(obtain(one, state, &found.modules, &of_all, &purpose)?);
        digests.push(of_all);
    }
    let signers: Vec<SignaturesFor<'_>> = (signing.0.iter().zip(&signatures))
        .map(|(one, signatures)| SignaturesFor { certificate: &one.certificate, hash: one.hash, signatures })
        .collect();
    let write = |position: usize, package: &Utf8PathBuf, made: Sha256Digest| {
        let to = place.join(position.to_string());
        fs::create_dir(&to).map_err(|error| of(&error))?;
        let to = to.join(package.file_name().unwrap_or("package.rpm"));
        sign_package(package.as_std_path(), &to, &signers).map_err(|error| {
            Failure::because(ExitCode::Proof, format!("the modules of {package} cannot be signed"), &error)
        })?;
        // Somebody may have been asked for signatures meanwhile, for as long as that takes.
        unchanged::require_made(package.as_std_path(), made)?;
        let path = utf8(&to)?;
        let (size, sha256) = digest_of(&path).map_err(|error| of(&error))?;
        Ok((package.clone(), Written { path, size, sha256 }))
    };
    let written: Vec<Result<(Utf8PathBuf, Written)>> = (packages.par_iter().enumerate())
        .filter(|(_, (package, _))| !found.without.contains(package))
        .map(|(position, (package, made))| write(position, package, *made))
        .collect();
    let written = written.into_iter().collect::<Result<_>>()?;
    Ok((written, signed_modules(signing, &found.modules, &digests)))
}

fn obtain(
    one: &Configured,
    state: &StateDirectory,
    modules: &[ModuleFile],
    digests: &[ModuleDigest],
    purpose: &str,
) -> Result<Signatures> {
    let store = store(state);
    let Some(signer) = &one.signer else { return exchanged(one, state, modules, digests, purpose) };
    let made = store.obtain(&one.certificate, digests, signer.as_ref()).map_err(|error| {
        Failure::because(ExitCode::Publish, "the modules cannot be signed; nothing was published", &error)
            .next("run again when whatever signs is well: what is built is kept, and so are good signatures")
    })?;
    Ok(digests.iter().cloned().zip(made).collect())
}

/// The signatures that came back from another host; or what is to be taken there.
fn exchanged(
    one: &Configured,
    state: &StateDirectory,
    modules: &[ModuleFile],
    digests: &[ModuleDigest],
    purpose: &str,
) -> Result<Signatures> {
    let store = store(state);
    let mut signatures = Signatures::new();
    let mut missing = Vec::new();
    for (module, digest) in modules.iter().zip(digests) {
        match store.get(&one.certificate, digest) {
            Some(signature) => drop(signatures.insert(digest.clone(), signature)),
            None => missing.push(RequestedModule {
                package: module.package.clone().unwrap_or_default(),
                module: module.path.clone(),
                digest: digest.clone(),
            }),
        }
    }
    if missing.is_empty() {
        return Ok(signatures);
    }
    let count = missing.len();
    let file = request_file(state, &one.certificate);
    // What other cells wait for stays in it.
    if let Ok(bytes) = fs::read(&file)
        && let Ok(before) = Request::read(&bytes)
    {
        let waits = |module: &RequestedModule| store.get(&one.certificate, &module.digest).is_none();
        missing.extend(
            before.modules.into_iter().filter(waits).filter(|module| module.digest.hash() == one.hash),
        );
    }
    let request = Request::new(&one.certificate, one.hash, purpose.to_owned(), missing);
    let kept = |error: &(dyn std::error::Error + 'static)| {
        Failure::because(ExitCode::Failure, format!("what is to be signed cannot be kept in {file}"), error)
    };
    let text = request.write().map_err(|error| kept(&error))?;
    fs::create_dir_all(state.signatures())
        .and_then(|()| fs::write(&file, text))
        .map_err(|error| kept(&error))?;
    let (noun, verb) = if count == 1 { ("module", "has") } else { ("modules", "have") };
    Err(Failure::new(
        ExitCode::Publish,
        format!("{count} {noun} {verb} no signature by {} yet; nothing was published", one.certificate),
    )
    .next(
        "write what is to be signed with `drivetrain sign --export FILE`, sign it where the key is with `drivetrain \
         sign --offline FILE`, take the answer in with `drivetrain sign --import FILE`, and run again: what is built \
         is kept",
    ))
}

fn digest_of_module(hash: HashKind, module: &ModuleFile) -> Result<ModuleDigest> {
    let content = content_of(&module.bytes)
        .map_err(|error| Failure::because(ExitCode::Proof, format!("{module} cannot be signed"), &error))?;
    Ok(ModuleDigest::of(hash, content))
}

/// What was signed, with the digests of all modules for each of the certificates.
fn signed_modules(
    signing: &ModuleSigning,
    modules: &[ModuleFile],
    digests: &[Vec<ModuleDigest>],
) -> Vec<SignedModule> {
    let signed = |(position, module): (usize, &ModuleFile)| SignedModule {
        package: module.package.clone().unwrap_or_default(),
        module: module.path.clone(),
        signatures: (signing.0.iter().zip(digests))
            .filter_map(|(one, digests)| {
                Some(SignedFor {
                    certificate: one.certificate.name(),
                    fingerprint: one.certificate.fingerprint(),
                    serial: one.certificate.serial(),
                    digest: digests.get(position)?.clone(),
                })
            })
            .collect(),
    };
    modules.iter().enumerate().map(signed).collect()
}

/// The modules that do not carry good signatures of all these certificates, a line each.
pub fn unsigned(modules: &[ModuleFile], certificates: &[Certificate]) -> Vec<String> {
    let certificates: Vec<&Certificate> = certificates.iter().collect();
    let wrong = modules.iter().filter_map(|module| {
        let error = drivetrain_modsign::verify_module(&module.bytes, &certificates).err()?;
        Some(format!("{module}: {}", Failure::of(ExitCode::Proof, &error).one_line()))
    });
    wrong.collect()
}
