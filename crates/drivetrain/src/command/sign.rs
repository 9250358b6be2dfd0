//! `drivetrain sign`: keys for modules, and signing on a host that has no network.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_config::{ModuleHash, SignBy};
use drivetrain_model::ExitCode;
use drivetrain_modsign::{Certificate, Request, Response, Subject, new_key};
use fs_err as fs;
use jiff::Timestamp;

use crate::cli::{Global, SignArgs};
use crate::command::state_path;
use crate::context::load_cells;
use crate::failure::{Failure, Result};
use crate::stage::modsign::{read_certificate, read_key, request_file, store};
use crate::stage::read_small;
use crate::state::StateDirectory;
use crate::view;

/// What is exchanged has a line or a few for each module.
const MAX_FILE: u64 = 64 << 20;

/// Does the one of the four that was asked for.
pub fn run(args: &SignArgs, global: &Global) -> Result<ExitCode> {
    if let Some(directory) = &args.new_key {
        return make_key(args, directory);
    }
    if let Some(request) = &args.offline {
        return sign(args, request);
    }
    if let Some(file) = &args.export {
        return export(file, global);
    }
    match &args.import {
        Some(file) => import(file, global),
        None => Err(Failure::new(ExitCode::Usage, "nothing is asked for")),
    }
}

/// Makes a key, and the certificate that machines enrol.
fn make_key(args: &SignArgs, directory: &Utf8Path) -> Result<ExitCode> {
    let passphrase = passphrase(args)?;
    let name = args.name.clone().unwrap_or_default();
    let subject = Subject { name, bits: args.bits, days: args.days, now: Timestamp::now() };
    let [key, pem, der] =
        ["module-signing.key", "module-signing.pem", "module-signing.der"].map(|file| directory.join(file));
    if let Some(there) = [&key, &pem, &der].into_iter().find(|file| file.exists()) {
        return Err(Failure::new(ExitCode::Usage, format!("{there} is there already"))
            .next("give another directory: a key that machines trust is not to be lost"));
    }
    let made =
        new_key(&subject, passphrase.as_deref()).map_err(|error| Failure::of(ExitCode::Usage, &error))?;
    let written = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .and_then(|()| write_new(&key, made.key_pem.as_bytes(), 0o600))
        .and_then(|()| write_new(&pem, made.certificate_pem.as_bytes(), 0o644))
        .and_then(|()| write_new(&der, made.certificate.der(), 0o644));
    written.map_err(|error| {
        Failure::because(ExitCode::Failure, format!("the key cannot be written to {directory}"), &error)
    })?;
    let locked = if passphrase.is_some() { ", locked with the passphrase" } else { "" };
    view::print(&format!(
        "{key}: the private key{locked}\n{pem}: the certificate of {}, until {}\n{der}: the same for machines: mokutil \
         --import {der}\n\nfingerprint {}\nName both in driver.module_signing of the configuration.\n",
        made.certificate.name(),
        made.certificate.not_after().strftime("%Y-%m-%d"),
        made.certificate.fingerprint(),
    ));
    Ok(ExitCode::Success)
}

fn write_new(file: &Utf8Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?.write_all(bytes)
}

/// The passphrase, from the environment variable that was named.
fn passphrase(args: &SignArgs) -> Result<Option<String>> {
    let Some(variable) = &args.passphrase_from else { return Ok(None) };
    match std::env::var(variable) {
        Ok(value) if !value.is_empty() => Ok(Some(value)),
        _ => Err(Failure::new(
            ExitCode::Usage,
            format!("the environment variable {variable} is not set, or is empty"),
        )),
    }
}

/// Signs a request; needs nothing but the file, the certificate and the key.
fn sign(args: &SignArgs, file: &Utf8Path) -> Result<ExitCode> {
    let (Some(certificate), Some(key), Some(output)) = (&args.certificate, &args.key, &args.output) else {
        return Err(Failure::new(ExitCode::Usage, "--offline takes --certificate, --key and --output"));
    };
    let request = Request::read(&read(file)?).map_err(|error| unusable(file, &error))?;
    let certificate = read_certificate(certificate)?;
    certificate
        .check(Timestamp::now())
        .map_err(|error| Failure::because(ExitCode::Usage, "the certificate cannot be signed for", &error))?;
    let key = read_key(key, passphrase(args)?.as_deref(), &certificate)?;
    let response = request.sign(&certificate, &key).map_err(|error| unusable(file, &error))?;
    let text = response.write().map_err(|error| Failure::of(ExitCode::Internal, &error))?;
    fs::write(output, text).map_err(|error| Failure::of(ExitCode::Failure, &error))?;
    let mut said = format!("{}\n", request.purpose);
    for module in &request.modules {
        said.push_str(&format!("  {}  {}\n", module.package, module.module));
    }
    let count = response.signatures.len();
    view::print(&printable(&format!("{said}{output}: {count} signatures by {certificate}\n")));
    Ok(ExitCode::Success)
}

/// Names in a request come from whoever made it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// The certificates that another host signs for.
fn exchanged(global: &Global) -> Result<Vec<(Certificate, ModuleHash)>> {
    let mut found: Vec<(Certificate, ModuleHash)> = Vec::new();
    for cell in load_cells(global)? {
        for signer in &cell.config.driver.module_signing {
            let certificate = read_certificate(&signer.certificate)?;
            if signer.by == SignBy::Exchange && !found.iter().any(|(known, _)| *known == certificate) {
                found.push((certificate, signer.hash));
            }
        }
    }
    if found.is_empty() {
        return Err(Failure::new(
            ExitCode::Usage,
            "the configuration has no certificate that another host signs for",
        )
        .next("say `exchange: true` in driver.module_signing"));
    }
    Ok(found)
}

/// Writes what is to be signed elsewhere.
fn export(file: &Utf8Path, global: &Global) -> Result<ExitCode> {
    let state = StateDirectory::open(state_path(global))?;
    let mut requests = Vec::new();
    for (certificate, _) in exchanged(global)? {
        let kept = request_file(&state, &certificate);
        if !kept.exists() {
            continue;
        }
        let mut request = Request::read(&read(&kept)?).map_err(|error| unusable(&kept, &error))?;
        let store = store(&state);
        request.modules.retain(|module| store.get(&certificate, &module.digest).is_none());
        if !request.modules.is_empty() {
            requests.push((certificate, request));
        }
    }
    if requests.is_empty() {
        return Err(Failure::new(ExitCode::Usage, "nothing waits for a signature")
            .next("build first, with `drivetrain build` or `drivetrain run`: it says what is missing"));
    }
    let several = requests.len() > 1;
    for (certificate, request) in requests {
        // Each goes to whoever has its key.
        let file = if several { beside(file, &certificate) } else { file.to_owned() };
        let text = request.write().map_err(|error| Failure::of(ExitCode::Internal, &error))?;
        fs::write(&file, text).map_err(|error| Failure::of(ExitCode::Failure, &error))?;
        let count = request.modules.len();
        view::print(&format!("{file}: {count} modules to sign for {certificate}\n"));
    }
    Ok(ExitCode::Success)
}

fn beside(file: &Utf8Path, certificate: &Certificate) -> Utf8PathBuf {
    let short = certificate.fingerprint().short().to_string();
    let stem = file.file_stem().unwrap_or("request");
    file.with_file_name(format!("{stem}-{short}.json"))
}

/// Takes in what was signed elsewhere: all of it, or nothing.
fn import(file: &Utf8Path, global: &Global) -> Result<ExitCode> {
    let response = Response::read(&read(file)?).map_err(|error| unusable(file, &error))?;
    let certificates = exchanged(global)?;
    let known = certificates.iter().find(|(known, _)| known.fingerprint() == response.certificate);
    let Some((certificate, _)) = known.or(certificates.first()) else { return Ok(ExitCode::Success) };
    let signatures = response.verified(certificate).map_err(|error| unusable(file, &error))?;
    let store = store(&StateDirectory::open(state_path(global))?);
    for (digest, signature) in &signatures {
        store.put(certificate, digest, signature).map_err(|error| Failure::of(ExitCode::Failure, &error))?;
    }
    view::print(&format!("{} signatures by {certificate} taken in\n", signatures.len()));
    Ok(ExitCode::Success)
}

fn read(file: &Utf8Path) -> Result<Vec<u8>> {
    read_small(file, MAX_FILE).map_err(|error| Failure::of(ExitCode::Usage, &error))
}

fn unusable(file: &Utf8Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::because(ExitCode::Input, format!("{file} cannot be used"), error)
}
