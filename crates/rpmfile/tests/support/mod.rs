//! Packages and keys for the tests, made by the real tools.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]
#![allow(dead_code, reason = "each test uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rpm::{BuildConfig, CompressionType, Dependency, FileOptions, PackageBuilder};
use tempfile::TempDir;

/// Runs a tool that the tests need.
pub fn try_run(command: &mut Command) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"))
}

/// Runs a tool, which must succeed.
pub fn run(command: &mut Command) -> String {
    let output = try_run(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A small package of every kind of file.
pub fn small(compression: CompressionType) -> rpm::Package {
    let mut builder = PackageBuilder::new("kmod-iser", "25.10", "GPL-2.0-only", "x86_64", "A driver");
    builder
        .using_config(BuildConfig::default().compression(compression).source_date(1_700_000_000))
        .epoch(1)
        .release("1.el9")
        .requires(Dependency::eq("kernel-uname-r", "5.14.0-427.31.1.el9_4.x86_64"))
        .requires(Dependency::rpmlib("CompressedFileNames", "3.0.4-1"))
        .provides(Dependency::eq("kernel-uname-r", "6.1.0-56-cloud-amd64"))
        .conflicts(Dependency::less("old", "2:3"))
        .obsoletes(Dependency::less_eq("older", "4-1"))
        .with_file_contents(
            vec![7; 5000],
            FileOptions::new("/lib/modules/x/extra/ib_iser.ko").mode(0o100_644),
        )
        .unwrap()
        .with_file_contents(b"#!/bin/sh\n".to_vec(), FileOptions::new("/usr/bin/tool").mode(0o104_777))
        .unwrap()
        .with_dir_entry(FileOptions::dir("/usr/share/x").mode(0o040_700))
        .unwrap()
        .with_symlink(FileOptions::symlink("/usr/share/x/inside", "../y"))
        .unwrap()
        .with_symlink(FileOptions::symlink("/usr/share/x/outside", "../../../../etc"))
        .unwrap()
        .with_symlink(FileOptions::symlink("/usr/share/x/absolute", "/etc/passwd"))
        .unwrap()
        .with_ghost(FileOptions::ghost("/var/lib/ghost"))
        .unwrap();
    builder.build().unwrap()
}

/// Writes a package where a test can have it.
pub fn write(package: &rpm::Package) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("package.rpm");
    package.write_file(&path).unwrap();
    (directory, path)
}

/// A GnuPG home of its own, and an RPM database.
pub struct Gpg {
    pub home: TempDir,
}

impl Gpg {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self { home }
    }

    fn gpg(&self) -> Command {
        self.gpg_with("")
    }

    fn gpg_with(&self, passphrase: &str) -> Command {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.home.path()).args([
            "--batch",
            "--quiet",
            "--yes",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            passphrase,
        ]);
        command
    }

    /// Makes a key that a passphrase locks.
    pub fn locked_key(&self, name: &str, passphrase: &str) {
        run(self.gpg_with(passphrase).args(["--quick-generate-key", name, "rsa3072", "sign", "never"]));
    }

    pub fn secret(&self, name: &str, passphrase: &str) -> String {
        run(self.gpg_with(passphrase).args(["--armor", "--export-secret-keys", name]))
    }

    /// Whether gpg takes a detached signature of a file.
    pub fn verifies(&self, signature: &Path, file: &Path) -> bool {
        try_run(self.gpg().arg("--verify").arg(signature).arg(file)).status.success()
    }

    /// Makes a key: `rsa4096`, `ed25519`; `expire` is `never`, `1d`, …; `at` is a faked time, or now.
    pub fn key(&self, name: &str, algorithm: &str, expire: &str, at: Option<&str>) {
        let mut command = self.gpg();
        if let Some(at) = at {
            command.args(["--faked-system-time", at]);
        }
        run(command.args(["--quick-generate-key", name, algorithm, "sign", expire]));
    }

    pub fn public(&self, name: &str) -> Vec<u8> {
        run(self.gpg().args(["--armor", "--export", name])).into_bytes()
    }

    pub fn revoke(&self, name: &str) {
        let listing = run(self.gpg().args(["--with-colons", "--list-keys", name]));
        let fingerprint = listing
            .lines()
            .find(|line| line.starts_with("fpr"))
            .unwrap()
            .split(':')
            .nth(9)
            .unwrap()
            .to_owned();
        let path = self.home.path().join(format!("openpgp-revocs.d/{fingerprint}.rev"));
        // gpg puts a colon before the block, so that nobody imports it by mistake.
        let certificate = fs::read_to_string(&path).unwrap().replace(":-----BEGIN", "-----BEGIN");
        fs::write(&path, certificate).unwrap();
        run(self.gpg().arg("--import").arg(&path));
    }

    /// Signs a file in place with `rpmsign`.
    pub fn sign(&self, path: &Path, name: &str) {
        self.sign_at(path, name, None);
    }

    pub fn sign_at(&self, path: &Path, name: &str, at: Option<&str>) {
        let faked = at.map(|at| format!("--faked-system-time {at}!")).unwrap_or_default();
        let extra = format!("--batch --pinentry-mode loopback --passphrase '' {faked}");
        // rpmsign does not look for gpg in PATH.
        let gpg = run(Command::new("sh").args(["-c", "command -v gpg"]));
        run(Command::new("rpmsign")
            .args(["--define", &format!("__gpg {}", gpg.trim())])
            .env("GNUPGHOME", self.home.path())
            .args([
                "--define",
                &format!("_gpg_name {name}"),
                "--define",
                &format!("_gpg_path {}", self.home.path().display()),
            ])
            .args(["--define", &format!("_gpg_sign_cmd_extra_args {extra}")])
            .arg("--addsign")
            .arg(path));
    }

    /// What `rpmkeys -K` says, with these keys imported into a database of their own.
    pub fn rpmkeys(&self, path: &Path, keys: &[Vec<u8>], nosignature: bool) -> bool {
        let database = tempfile::tempdir().unwrap();
        let rpmkeys = || {
            let mut command = Command::new("rpmkeys");
            command.arg("--dbpath").arg(database.path());
            command
        };
        for (index, key) in keys.iter().enumerate() {
            let file = database.path().join(format!("{index}.asc"));
            fs::write(&file, key).unwrap();
            run(rpmkeys().arg("--import").arg(&file));
        }
        let mut command = rpmkeys();
        if nosignature {
            command.arg("--nosignature");
        } else {
            // By default an unsigned package passes.
            command.args(["--define", "_pkgverify_level all"]);
        }
        try_run(command.arg("-K").arg(path)).status.success()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // The agent that gpg started for this home.
        drop(Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).output());
    }
}
