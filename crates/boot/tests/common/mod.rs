//! A tree with the lab's kernel and modules that are compiled for it, and a place to boot it from.
//!
//! Without a lab, QEMU, or what compiles modules, the tests say so and pass.

#![allow(clippy::unwrap_used, clippy::print_stdout, dead_code, reason = "a test ends where something fails")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_boot::{
    BootError, BootOptions, BootRequest, BootVerdict, Installed, InstalledTree, WantedModule, boot,
};
use drivetrain_host::{CancellationToken, LocalSandbox, SandboxOptions};
use drivetrain_model::KernelRelease;
use drivetrain_rpmfile::{PayloadLimits, extract};
use fs_err as fs;

pub struct Bench {
    _directory: tempfile::TempDir,
    pub path: Utf8PathBuf,
    pub lab: Utf8PathBuf,
    /// The newer kernel, and the number in its packages' names.
    pub release: KernelRelease,
    pub tree: InstalledTree,
    pub host: LocalSandbox,
    pub options: BootOptions,
}

/// The lab, and its kernels' releases, the newest last.
pub fn lab() -> Option<(Utf8PathBuf, Vec<String>)> {
    let lab = std::env::var("DRIVETRAIN_LAB")
        .map_or_else(|_| Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.lab"), Utf8PathBuf::from);
    let mut kernels: Vec<String> = lab
        .join("kernels")
        .read_dir_utf8()
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().to_owned())
        .filter(|name| lab.join("kernels").join(name).join("Makefile").is_file())
        .collect();
    kernels.sort();
    if kernels.len() < 2 {
        println!("skipped: there is no lab in {lab}");
        return None;
    }
    Some((lab.canonicalize_utf8().unwrap(), kernels))
}

/// The packages of a lab's directory that are called so.
pub fn packages(lab: &Utf8Path, directory: &str, names: &[&str]) -> Vec<(String, Utf8PathBuf)> {
    let entries = lab.join("rpms").join(directory).read_dir_utf8().unwrap();
    let mut found: Vec<(String, Utf8PathBuf)> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().ends_with(".rpm"))
        .filter(|entry| {
            let is = |name: &&str| {
                let rest = entry.file_name().strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
                rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            };
            names.is_empty() || names.iter().any(is)
        })
        .map(|entry| (entry.file_name().to_owned(), entry.path().to_owned()))
        .collect();
    found.sort();
    found
}

/// `6.1.0-56-cloud-amd64` as `kernel-56`.
pub fn directory_of(release: &str) -> String {
    format!("kernel-{}", release.split('-').nth(1).unwrap())
}

impl Bench {
    pub async fn new() -> Option<Self> {
        let (lab, kernels) = lab()?;
        for tool in ["qemu-system-x86_64", "gcc-12", "make", "bwrap"] {
            if Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_err() {
                println!("skipped: there is no {tool}");
                return None;
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(directory.path().to_owned()).unwrap();
        let release = KernelRelease::parse(kernels.last().unwrap()).unwrap();
        let root = path.join("root");
        fs::create_dir(&root).unwrap();
        let names = ["kernel-core", "kernel-modules-core", "kernel-modules"];
        for (_, package) in packages(&lab, &directory_of(release.as_str()), &names) {
            extract(package.as_std_path(), root.as_std_path(), &PayloadLimits::default(), |_| true).unwrap();
        }
        let host = LocalSandbox::new(SandboxOptions::new(path.join("sandbox"))).await.unwrap();
        let mut options = BootOptions::new(env!("CARGO_BIN_EXE_drivetrain-boot-guest"))
            .with_timeout(Duration::from_secs(90));
        options.memory = 512;
        let tree = InstalledTree { root, how: Installed::Unpacked };
        Some(Self { _directory: directory, path, lab, release, tree, host, options })
    }

    /// Compiles the modules of `tests/modules` for a kernel of the lab's; where they are.
    pub fn compile(&self, release: &str) -> Utf8PathBuf {
        let to = self.path.join("modules").join(release);
        fs::create_dir_all(&to).unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/modules");
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name().to_str().unwrap())).unwrap();
        }
        let output = Command::new("make")
            .args(["-s", "-j2", "CC=gcc-12", "-C", self.lab.join("kernels").join(release).as_str()])
            .args([&format!("M={to}"), "modules"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        to
    }

    /// Installs compiled modules.
    pub fn put(&self, modules: &Utf8Path, names: &[&str]) {
        for name in names {
            let target = self.path_of(name);
            fs::create_dir_all(self.tree.root.join("lib/modules").join(self.release.as_str()).join("extra"))
                .unwrap();
            fs::copy(modules.join(format!("{name}.ko")), self.tree.root.join(&target[1..])).unwrap();
        }
    }

    pub fn path_of(&self, name: &str) -> String {
        format!("/lib/modules/{}/extra/{name}.ko", self.release)
    }

    pub fn request(&self, names: &[&str]) -> BootRequest {
        let modules = names.iter().map(|name| WantedModule {
            name: (*name).to_owned(),
            path: self.path_of(name),
            package: Some("kmod-dt".to_owned()),
        });
        BootRequest { kernel: self.release.clone(), modules: modules.collect(), functional: true }
    }

    pub async fn try_boot(&self, request: &BootRequest) -> Result<BootVerdict, BootError> {
        let scratch = self.path.join("scratch");
        let never = CancellationToken::new();
        boot(&self.host, &self.tree, request, &self.options, &self.path, &scratch, &never).await
    }

    #[track_caller]
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path.join("boot-console.log")).unwrap()).into_owned()
    }

    pub async fn boot(&self, names: &[&str]) -> BootVerdict {
        let verdict = self.try_boot(&self.request(names)).await.unwrap();
        println!("{}", serde_json::to_string_pretty(&verdict).unwrap());
        verdict
    }
}

/// The results of some modules, in this order.
pub fn results(verdict: &BootVerdict, names: &[&str]) -> Vec<String> {
    let result = |name: &&str| {
        let module = verdict.modules.iter().find(|module| module.name == **name);
        module.map_or_else(|| format!("{name} is not there"), |module| module.result.in_words())
    };
    names.iter().map(result).collect()
}
