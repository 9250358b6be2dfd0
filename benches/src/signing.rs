//! Modules signed in their packages, and the packages signed, against the kernel's `sign-file` and `rpmsign`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use drivetrain_modsign::{
    Certificate, HashKind, KeyFile, ModuleDigest, SignaturesFor, Signer as _, Subject, content_of, new_key,
    sign_package,
};
use drivetrain_prove::{Limits, read_modules};
use drivetrain_rpmfile::PackageKey;
use fs_err as fs;
use jiff::Timestamp;
use rayon::prelude::*;
use rpm::{BuildConfig, CompressionWithLevel, FileOptions, PackageBuilder};

use crate::Setting;
use crate::measure::{Taken, median, time};
use crate::run::{NEW, released};

/// The name on the key that packages are signed with.
const USER: &str = "drivers@example.com";

/// The side of drivetrain's: what a run does between the build and the proof, and before it publishes.
#[derive(Debug, Args)]
pub struct Job {
    /// The packages.
    packages: Utf8PathBuf,
    /// The certificate, its key, and the OpenPGP key.
    keys: Utf8PathBuf,
    /// Where the signed packages go.
    to: Utf8PathBuf,
}

pub fn bench(setting: &Setting, pairs: usize, modules: usize) -> Result<()> {
    let work = tempfile::tempdir()?;
    let work = Utf8Path::from_path(work.path()).context("a path that is no text")?;
    let files = kernel_modules(setting, &work.join("kernel"), modules)?;
    let (bare, packages, keys) = (work.join("modules"), work.join("packages"), work.join("keys"));
    for directory in [&bare, &packages, &keys] {
        fs::create_dir_all(directory)?;
    }
    let mut bytes = 0;
    for (number, file) in files.iter().enumerate() {
        let module = fs::read(file)?;
        let module = content_of(&module).with_context(|| file.to_string())?;
        bytes += module.len();
        let copy = bare.join(format!("{number}.ko"));
        fs::write(&copy, module)?;
        package(&packages, number, file.file_name().unwrap_or("module.ko"), &copy)?;
    }
    let gpg = Gpg::new(&keys)?;
    make_keys(&keys, &gpg)?;
    let sign_file = setting.lab.join("kernels").join(released(setting, NEW)?).join("scripts/sign-file");
    ensure!(sign_file.exists(), "{sign_file} is not there");
    let own = std::env::current_exe()?;
    let (mut ours, mut theirs): (Vec<Taken>, Vec<(Taken, Taken)>) = Default::default();
    for pair in 0..pairs {
        let to = work.join(format!("ours-{pair}"));
        ours.push(time(Command::new(&own).args(["signed", packages.as_str(), keys.as_str(), to.as_str()]))?);
        gpg.verify(&to)?;
        let by_hand = work.join(format!("theirs-{pair}"));
        let copy = format!("mkdir {by_hand} && cp {bare}/*.ko {packages}/*.rpm {by_hand}/");
        time(Command::new("sh").args(["-ec", &copy]))?;
        theirs.push((gpg.sign_modules(&sign_file, &keys, &by_hand)?, gpg.sign_packages(&by_hand)?));
    }
    report(&ours, &theirs, files.len(), bytes);
    Ok(())
}

fn report(ours: &[Taken], theirs: &[(Taken, Taken)], modules: usize, bytes: usize) {
    let wall = |taken: &Taken| taken.wall.as_secs_f64();
    let ratios: Vec<f64> = (ours.iter().zip(theirs))
        .map(|(ours, (modules, packages))| wall(ours) / (wall(modules) + wall(packages)))
        .collect();
    let of = |values: Vec<f64>| median(&values);
    println!(
        "signing, {modules} modules of the kernel's own in as many RPMs, {} MB of modules, median of {} pairs",
        bytes / 1_000_000,
        ours.len()
    );
    println!(
        "  drivetrain: modules signed, packages written anew, packages signed  {:6.2} s   goal: below 5 s",
        of(ours.iter().map(wall).collect())
    );
    println!(
        "  sign-file, for each module                                          {:6.2} s",
        of(theirs.iter().map(|(modules, _)| wall(modules)).collect())
    );
    println!(
        "  rpmsign --addsign, all packages (the modules do not get into them)  {:6.2} s",
        of(theirs.iter().map(|(_, packages)| wall(packages)).collect())
    );
    println!("  ratio                                                               {:6.3}", of(ratios));
}

/// Signs as a run does.
pub fn sign(job: &Job) -> Result<()> {
    let text = |name: &str| fs::read_to_string(job.keys.join(name));
    let certificate = Certificate::read(text("module.pem")?.as_bytes())?;
    let key = KeyFile::read(&text("module.key")?, None, "the key")?;
    let now = u64::try_from(Timestamp::now().as_second())?;
    let package_key = PackageKey::read(&text("packages.asc")?, None, now)?;
    let mut packages: Vec<Utf8PathBuf> =
        job.packages.read_dir_utf8()?.map(|entry| Ok(entry?.into_path())).collect::<Result<_>>()?;
    packages.sort();
    let found = read_modules(&packages, &Limits::default())?;
    let digests: Vec<ModuleDigest> = (found.modules.iter())
        .map(|module| Ok(ModuleDigest::of(HashKind::Sha256, content_of(&module.bytes)?)))
        .collect::<Result<_>>()?;
    let made = key.sign(&digests)?;
    let signatures: BTreeMap<_, _> = digests.into_iter().zip(made).collect();
    let signers =
        [SignaturesFor { certificate: &certificate, hash: HashKind::Sha256, signatures: &signatures }];
    let beside = job.to.join("with-signed-modules");
    fs::create_dir_all(&beside)?;
    packages.par_iter().try_for_each(|package| -> Result<()> {
        let name = package.file_name().unwrap_or_default();
        Ok(sign_package(package.as_std_path(), beside.join(name).as_std_path(), &signers)?)
    })?;
    packages.par_iter().try_for_each(|package| -> Result<()> {
        let name = package.file_name().unwrap_or_default();
        package_key.sign(beside.join(name).as_std_path(), job.to.join(name).as_std_path())?;
        Ok(())
    })?;
    Ok(fs::remove_dir_all(&beside)?)
}

/// The largest modules of the lab's kernel, unpacked: those of network cards are large too.
fn kernel_modules(setting: &Setting, to: &Utf8Path, count: usize) -> Result<Vec<Utf8PathBuf>> {
    fs::create_dir_all(to)?;
    let script = format!(
        "cd {to}; d=$(ls -d {}/rpms/kernel-* | sort -V | tail -1)\n\
         for p in $d/kernel-modules-[0-9]*.rpm $d/kernel-modules-core-*.rpm; do rpm2cpio $p | cpio -idm --quiet; done\n\
         find $PWD -name '*.ko' -printf '%s %p\\n' | sort -rn | head -{count} | cut -d' ' -f2",
        setting.lab
    );
    let output = Command::new("sh").args(["-ec", &script]).output()?;
    let files: Vec<Utf8PathBuf> = String::from_utf8(output.stdout)?.lines().map(Utf8PathBuf::from).collect();
    ensure!(files.len() == count, "the lab's kernel has {} modules, and {count} are wanted", files.len());
    Ok(files)
}

fn package(to: &Utf8Path, number: usize, name: &str, module: &Utf8Path) -> Result<()> {
    let mut builder =
        PackageBuilder::new(&format!("kmod-{number}"), "1", "GPL-2.0-only", "x86_64", "A module");
    builder
        .using_config(BuildConfig::v4().compression(CompressionWithLevel::Zstd(19)))
        .release("1")
        .with_file(module.as_std_path(), FileOptions::new(format!("/lib/modules/6.1.0/extra/{name}")))?;
    builder.build()?.write_file(to.join(format!("kmod-{number}.rpm")))?;
    Ok(())
}

fn make_keys(to: &Utf8Path, gpg: &Gpg) -> Result<()> {
    // As `drivetrain sign --new-key` makes it.
    let subject =
        Subject { name: "Bench module signing".to_owned(), bits: 4096, days: 30, now: Timestamp::now() };
    let key = new_key(&subject, None)?;
    fs::write(to.join("module.pem"), &key.certificate_pem)?;
    fs::write(to.join("module.key"), key.key_pem.as_bytes())?;
    fs::write(to.join("packages.asc"), gpg.run(&["--armor", "--export-secret-keys", USER])?)?;
    fs::write(to.join("packages.pub"), gpg.run(&["--armor", "--export", USER])?)?;
    Ok(())
}

/// A GnuPG home of its own; its agent goes with it.
struct Gpg {
    home: Utf8PathBuf,
    public: Utf8PathBuf,
}

impl Gpg {
    fn new(keys: &Utf8Path) -> Result<Self> {
        let gpg = Self { home: keys.join("gpg"), public: keys.join("packages.pub") };
        fs::create_dir_all(&gpg.home)?;
        fs::set_permissions(&gpg.home, std::fs::Permissions::from_mode(0o700))?;
        gpg.run(&["--quick-generate-key", USER, "rsa4096", "sign", "never"])?;
        Ok(gpg)
    }

    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let output = Command::new("gpg")
            .args(["--homedir", self.home.as_str(), "--batch", "--quiet", "--yes"])
            .args(["--pinentry-mode", "loopback", "--passphrase", ""])
            .args(arguments)
            .output()?;
        ensure!(output.status.success(), "gpg: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    }

    fn sign_modules(&self, sign_file: &Utf8Path, keys: &Utf8Path, place: &Utf8Path) -> Result<Taken> {
        let script = format!(
            "for module in {place}/*.ko; do {sign_file} sha256 {keys}/module.key {keys}/module.pem $module; done"
        );
        time(Command::new("sh").args(["-ec", &script]))
    }

    fn sign_packages(&self, place: &Utf8Path) -> Result<Taken> {
        let script = format!(
            "rpmsign --define \"__gpg $(command -v gpg)\" --define '_gpg_name {USER}' --define '_gpg_path {}' --addsign {place}/*.rpm",
            self.home
        );
        time(Command::new("sh").args(["-ec", &script]).env("GNUPGHOME", &self.home))
    }

    /// That what was timed is what it should be: rpm verifies every package.
    fn verify(&self, place: &Utf8Path) -> Result<()> {
        let script = format!(
            "rpmkeys --dbpath {place}/db --import {}; rpmkeys --dbpath {place}/db --define '_pkgverify_level all' -K \
             {place}/*.rpm",
            self.public
        );
        time(Command::new("sh").args(["-ec", &script])).map(drop)
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        drop(Command::new("gpgconf").args(["--homedir", self.home.as_str(), "--kill", "all"]).output());
    }
}
