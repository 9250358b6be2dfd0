//! A node: dnf with the train's repositories and the published ones, and an empty root to install into.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Kernel, Site};

/// A node that knows the train and what is published for some kernels.
pub struct Node<'a> {
    site: &'a Site,
    directory: PathBuf,
}

impl<'a> Node<'a> {
    /// Takes the `.repo` files that are served, as they are.
    pub fn new(site: &'a Site, name: &str, kernels: &[&Kernel]) -> Self {
        let node = Self::bare(site, name);
        for kernel in kernels {
            let file = std::fs::read_to_string(site.repository(kernel).join("drivetrain.repo")).unwrap();
            node.write_repository_file(&format!("{}.repo", kernel.release), &file);
        }
        node
    }

    /// Knows no repository.
    pub fn bare(site: &'a Site, name: &str) -> Self {
        let directory = site.path(name);
        std::fs::create_dir_all(directory.join("repos")).unwrap();
        std::fs::create_dir_all(directory.join("log")).unwrap();
        // Nothing of the host's own configuration or plugins: some add repositories.
        std::fs::write(directory.join("dnf.conf"), "[main]\n").unwrap();
        Self { site, directory }
    }

    /// Has this `dnf.conf`.
    pub fn with_configuration(self, text: &str) -> Self {
        std::fs::write(self.directory.join("dnf.conf"), text).unwrap();
        self
    }

    /// Adds the train's repositories, signatures and all.
    pub fn with_train(self) -> Self {
        let settings = &self.site.settings;
        self.with_train_of(&settings.baseos, &settings.appstream)
    }

    /// Adds them at a snapshot, in place of another one.
    pub fn with_train_at(self, snapshot: &str) -> Self {
        self.with_train_of(snapshot, snapshot)
    }

    fn with_train_of(self, baseos: &str, appstream: &str) -> Self {
        let lab = &self.site.lab.directory;
        let mut text = String::new();
        for (id, name, snapshot) in [("baseos", "BaseOS", baseos), ("appstream", "AppStream", appstream)] {
            text.push_str(&format!(
                "[{id}]\nname={id}\nbaseurl=file://{}/www/train/{name}/x86_64/os/{snapshot}/\ngpgcheck=1\n\
                 gpgkey=file://{}/www/keys/RPM-GPG-KEY-train\n",
                lab.display(),
                lab.display()
            ));
        }
        std::fs::write(self.directory.join("repos/train.repo"), text).unwrap();
        self
    }

    /// Adds a repository, without signatures.
    pub fn with_repository(self, id: &str, directory: &Path) -> Self {
        let text = format!("[{id}]\nname={id}\nbaseurl=file://{}/\ngpgcheck=0\n", directory.display());
        self.write_repository_file(&format!("{id}.repo"), &text);
        self
    }

    /// Writes one of the files in `/etc/yum.repos.d`.
    pub fn write_repository_file(&self, name: &str, text: &str) {
        std::fs::write(self.directory.join("repos").join(name), text).unwrap();
    }

    /// Removes one of them.
    pub fn remove_repository_file(&self, name: &str) {
        std::fs::remove_file(self.directory.join("repos").join(name)).unwrap();
    }

    pub fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// Runs dnf; what it printed.
    #[track_caller]
    pub fn dnf(&self, arguments: &[&str]) -> String {
        let (succeeded, text) = self.try_dnf(arguments);
        assert!(succeeded, "{text}");
        text
    }

    /// Runs dnf; whether it succeeded, and what it printed.
    pub fn try_dnf(&self, arguments: &[&str]) -> (bool, String) {
        let path = |name: &str| self.directory.join(name).display().to_string();
        let output = Command::new("dnf")
            .arg(format!("--config={}", path("dnf.conf")))
            .args([
                "-q",
                "-y",
                "--noplugins",
                "--releasever=9",
                "--refresh",
                "--setopt=install_weak_deps=False",
            ])
            .arg(format!("--setopt=reposdir={}", path("repos")))
            .arg(format!("--setopt=cachedir={}", path("cache")))
            .arg(format!("--setopt=logdir={}", path("log")))
            .arg(format!("--installroot={}", path("root")))
            .args(arguments)
            .output()
            .unwrap();
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            text.push_str(&String::from_utf8_lossy(&output.stderr));
        }
        (output.status.success(), text)
    }

    /// The names of the packages that are installed.
    #[track_caller]
    pub fn installed(&self) -> Vec<String> {
        let names = self.dnf(&["repoquery", "--installed", "--qf", "%{name}"]);
        names.lines().map(str::to_owned).collect()
    }

    /// The files of the packages that were installed from a repository.
    #[track_caller]
    pub fn installed_from(&self, repository: &str) -> Vec<String> {
        let all = self.dnf(&[
            "repoquery",
            "--installed",
            "--qf",
            "%{from_repo} %{name}-%{version}-%{release}.%{arch}.rpm",
        ]);
        let from = format!("{repository} ");
        all.lines().filter_map(|line| line.strip_prefix(&from)).map(str::to_owned).collect()
    }

    /// The packages that the repositories offer, without the train's.
    #[track_caller]
    pub fn offered(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .dnf(&["repoquery", "--qf", "%{name}-%{version}-%{release}"])
            .lines()
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }
}

/// The kernel modules below a root, as paths from there.
pub fn modules(root: &Path, release: &str) -> Vec<String> {
    let top = root.join("lib/modules").join(release).join("extra");
    let mut found = Vec::new();
    let mut open = vec![top];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "ko") {
                found.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// Whether a tool is there; says so where it is not.
pub fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    if !found {
        println!("skipped: no {tool}");
    }
    found
}
