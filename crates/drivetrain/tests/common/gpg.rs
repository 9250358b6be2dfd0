//! Keys of GnuPG's, and a site that signs with them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Site;

/// What locks the keys.
pub const PASSPHRASE: &str = "open sesame 42";

/// A GnuPG home of its own; its agent goes with it.
pub struct Gpg(PathBuf);

impl Gpg {
    pub fn new(site: &Site) -> Self {
        let home = site.path("gpg");
        std::fs::create_dir_all(&home).unwrap();
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self(home)
    }

    pub fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("gpg")
            .arg("--homedir")
            .arg(&self.0)
            .args(["--batch", "--quiet", "--yes", "--pinentry-mode", "loopback", "--passphrase", PASSPHRASE])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The public key of a name, in a file.
    pub fn public(&self, site: &Site, name: &str) -> PathBuf {
        let file = site.path(&format!("{name}.pub.asc"));
        std::fs::write(&file, self.run(&["--armor", "--export", name])).unwrap();
        file
    }

    /// A new key that the passphrase locks, in a file.
    pub fn key(&self, site: &Site, name: &str) -> PathBuf {
        self.run(&["--quick-generate-key", name, "rsa3072", "sign", "never"]);
        let file = site.path(&format!("{name}.asc"));
        std::fs::write(&file, self.run(&["--armor", "--export-secret-keys", name])).unwrap();
        file
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        drop(Command::new("gpgconf").arg("--homedir").arg(&self.0).args(["--kill", "all"]).output());
    }
}

/// Signs with this key from now on.
pub fn sign_with(site: &mut Site, key: &Path) {
    site.environment = vec![("SIGNING_PASSPHRASE".to_owned(), PASSPHRASE.to_owned())];
    let sign = format!("{{key: {}, passphrase: \"${{SIGNING_PASSPHRASE}}\"}}", key.display());
    site.configure(|settings| settings.sign = Some(sign));
}
