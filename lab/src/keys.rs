//! The keys of the lab's two upstreams, and one that belongs to neither.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::cache::{Cache, Key};
use crate::cmd::{command, run, run_with_input};

/// Who signs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signer {
    /// The release train.
    Train,
    /// The vendor of the driver stack.
    Vendor,
    /// Nobody that anyone trusts: for tests of refusal.
    Wrong,
}

impl Signer {
    const ALL: [Signer; 3] = [Signer::Train, Signer::Vendor, Signer::Wrong];

    /// The name in file names and key identities.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Signer::Train => "train",
            Signer::Vendor => "vendor",
            Signer::Wrong => "wrong",
        }
    }

    fn identity(self) -> String {
        format!("{}@lab.invalid", self.name())
    }
}

/// Longest path of a key ring for which gpg-agent's sockets still fit the 108 bytes of a socket address.
const LONGEST_HOME: usize = 80;

/// The key ring with all three, usable by gpg and rpmsign.
pub(crate) struct Keyring {
    home: Utf8PathBuf,
    // A short way to a home whose own path is too long for the agent's sockets.
    _shortcut: Option<tempfile::TempDir>,
}

impl Keyring {
    /// Opens the ring in `keys`, making keys and their public files the first time.
    pub(crate) fn open(cache: &Cache, keys: &Utf8Path, www: &Utf8Path) -> Result<Self> {
        cache.ensure("keys", keys, &Key::new().with("rsa3072"), |space| {
            let ring = Keyring::at(&space.out.join("gnupg"))?;
            for signer in Signer::ALL {
                ring.generate(signer)?;
                fs::write(space.out.join(public_file(signer)), ring.export(signer)?)?;
            }
            Ok(())
        })?;
        // Consumers fetch the public keys from beside the repositories.
        let published = www.join("keys");
        fs::create_dir_all(&published)?;
        for signer in Signer::ALL {
            fs::copy(keys.join(public_file(signer)), published.join(public_file(signer)))?;
        }
        Keyring::at(&keys.join("gnupg"))
    }

    /// Opens the ring of the lab in `dir`, which has to be up.
    pub(crate) fn of_lab(dir: &Utf8Path) -> Result<Self> {
        let home = dir.canonicalize_utf8()?.join("keys/gnupg");
        anyhow::ensure!(home.exists(), "there are no keys in {dir}: run `drivetrain-lab up`");
        Keyring::at(&home)
    }

    fn at(home: &Utf8Path) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        fs::create_dir_all(home)?;
        fs::set_permissions(home, std::fs::Permissions::from_mode(0o700))?;
        if home.as_str().len() <= LONGEST_HOME {
            return Ok(Keyring { home: home.to_owned(), _shortcut: None });
        }
        let shortcut = tempfile::Builder::new().prefix("lab").tempdir()?;
        let link = Utf8Path::from_path(shortcut.path()).context("path is not UTF-8")?.join("k");
        fs::os::unix::fs::symlink(home, &link)?;
        Ok(Keyring { home: link, _shortcut: Some(shortcut) })
    }

    fn gpg(&self) -> std::process::Command {
        let mut gpg = command("gpg");
        gpg.env("GNUPGHOME", &self.home).args(["--batch", "--no-tty", "--yes", "--quiet"]);
        gpg
    }

    fn generate(&self, signer: Signer) -> Result<()> {
        let wanted = format!(
            "%no-protection\nKey-Type: RSA\nKey-Length: 3072\nKey-Usage: sign\nName-Real: drivetrain lab {}\nName-Email: {}\nExpire-Date: 0\n%commit\n",
            signer.name(),
            signer.identity()
        );
        run_with_input(self.gpg().arg("--generate-key"), wanted.as_bytes())?;
        Ok(())
    }

    fn export(&self, signer: Signer) -> Result<String> {
        run(self.gpg().args(["--armor", "--export"]).arg(signer.identity()))
    }

    /// Signs packages, in place.
    pub(crate) fn sign_packages(&self, signer: Signer, packages: &[Utf8PathBuf]) -> Result<()> {
        if packages.is_empty() {
            return Ok(());
        }
        run(command("rpmsign")
            .env("GNUPGHOME", &self.home)
            .args(["--define", &format!("_gpg_name {}", signer.identity())])
            .args(["--define", "__gpg /usr/bin/gpg", "--define", "_gpg_digest_algo sha256"])
            .args(["--define", &format!("_gpg_path {}", self.home)])
            .arg("--addsign")
            .args(packages))?;
        Ok(())
    }

    /// Writes an armoured detached signature of `file` beside it, with `.asc` appended.
    pub(crate) fn sign_file(&self, signer: Signer, file: &Utf8Path) -> Result<()> {
        let mut gpg = self.gpg();
        gpg.args(["--local-user", &signer.identity(), "--digest-algo", "sha256", "--armor", "--detach-sign"]);
        run(gpg.arg("--output").arg(format!("{file}.asc")).arg(file))?;
        Ok(())
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        // gpg leaves an agent behind that would outlive the lab; it may well have gone by itself.
        let _gone = run(command("gpgconf").env("GNUPGHOME", &self.home).args(["--kill", "gpg-agent"]));
    }
}

/// The name of the armoured public key.
pub(crate) fn public_file(signer: Signer) -> String {
    format!("RPM-GPG-KEY-{}", signer.name())
}
