//! A signing service of a server, with a key made for it: what `pulpcore-manager add-signing-service` wants, and what
//! can go wrong with one.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::server::Server;
use crate::cmd::{command, run, run_with_input};

/// An OpenPGP key that is used for nothing else.
#[derive(Debug, Clone)]
pub struct ThrowawayKey {
    /// Its key ring.
    home: Utf8PathBuf,
    /// Its fingerprint, in lower-case hexadecimal.
    pub fingerprint: String,
    /// The secret key, armored and not locked.
    pub secret: String,
    /// The public key, armored.
    pub public: String,
}

impl ThrowawayKey {
    /// Makes one with a key ring in a directory, whose path has to be short for the agent's socket.
    pub fn make(directory: &Utf8Path, name: &str) -> Result<Self> {
        let home = directory.join("gnupg");
        fs::create_dir_all(&home)?;
        fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700))?;
        let gpg = || {
            let mut gpg = command("gpg");
            gpg.env("GNUPGHOME", &home).args(["--batch", "--no-tty", "--yes", "--quiet"]);
            gpg
        };
        let wanted = format!(
            "%no-protection\nKey-Type: RSA\nKey-Length: 3072\nKey-Usage: sign\nName-Real: {name}\n\
             Name-Email: {name}@lab.invalid\nExpire-Date: 0\n%commit\n"
        );
        run_with_input(gpg().arg("--generate-key"), wanted.as_bytes())?;
        let listed = run(gpg().args(["--with-colons", "--fingerprint", "--list-keys"]))?;
        let fingerprint = listed
            .lines()
            .find_map(|line| line.strip_prefix("fpr:")?.split(':').find(|field| !field.is_empty()))
            .context("gpg lists no key")?
            .to_ascii_lowercase();
        let secret = run(gpg().args(["--armor", "--export-secret-keys"]))?;
        let public = run(gpg().args(["--armor", "--export"]))?;
        // It leaves an agent behind.
        run(command("gpgconf").env("GNUPGHOME", &home).args(["--kill", "gpg-agent"]))?;
        Ok(Self { home, fingerprint, secret, public })
    }
}

/// How a signing service's program behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It signs what it is given.
    Sign,
    /// It signs something else.
    SignSomethingElse,
    /// It says why not, and fails.
    Fail,
    /// It does not end.
    Hang,
}

/// A signing service that was added to a server.
#[derive(Debug)]
pub struct SigningService {
    /// Its key.
    pub key: ThrowawayKey,
    directory: Utf8PathBuf,
}

impl SigningService {
    /// Behaves in another way from now on.
    pub fn behave(&self, how: Behaviour) -> Result<()> {
        let word = match how {
            Behaviour::Sign => "sign",
            Behaviour::SignSomethingElse => "else",
            Behaviour::Fail => "fail",
            Behaviour::Hang => "hang",
        };
        Ok(fs::write(self.directory.join("behaviour"), word)?)
    }
}

impl Server {
    /// Adds a signing service for metadata, with a new key, as an administrator does it.
    pub fn add_signing_service(&self, name: &str) -> Result<SigningService> {
        let directory = self.directory().join("signing").join(name);
        let key = ThrowawayKey::make(&directory, name)?;
        let service = SigningService { key, directory };
        service.behave(Behaviour::Sign)?;
        let program = service.directory.join("sign.sh");
        fs::write(&program, script(&service))?;
        fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        let SigningService { key, .. } = &service;
        self.manage(&[
            "add-signing-service",
            name,
            program.as_str(),
            &key.fingerprint.to_ascii_uppercase(),
            "--gnupghome",
            key.home.as_str(),
        ])?;
        Ok(service)
    }
}

fn script(service: &SigningService) -> String {
    format!(
        r#"#!/bin/sh
set -e
export GNUPGHOME='{home}'
sign() {{
    gpg --batch --yes --no-tty --quiet --local-user "$PULP_SIGNING_KEY_FINGERPRINT" --digest-algo sha256 \
        --armor --detach-sign --output "$1.asc" "$2"
}}
case "$(cat '{directory}/behaviour')" in
    fail) echo 'the token is locked' >&2; exit 1 ;;
    hang) exec sleep 3600 ;;
    else) echo other > '{directory}/other'; sign "$1" '{directory}/other' ;;
    *) sign "$1" "$1" ;;
esac
printf '{{"file": "%s", "signature": "%s.asc"}}\n' "$1" "$1"
"#,
        home = service.key.home,
        directory = service.directory,
    )
}
