//! A train that is read from a site's Kayobe configuration.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::consumer::has;
use common::repository::whole;
use common::{NEW, Site};

/// Encrypted by ansible-vault with the password `wrk-pass`: hunter2.
const SEALED: &str = include_str!("../../kayobe/tests/sealed.yml.in");

/// A site whose configuration is Kayobe's, as far as that goes.
struct KayobeSite {
    site: Site,
}

impl KayobeSite {
    fn new(site: Site) -> Self {
        let site = Self { site };
        let www = site.site.lab.directory.join("www");
        site.variables("globals.yml", "---\nnothing: here\n");
        site.variables(
            "pulp.yml",
            &format!(
                "---
stackhpc_release_pulp_url: https://ark.example.com
stackhpc_release_pulp_content_url: \"{{{{ stackhpc_release_pulp_url }}}}/pulp/content\"
stackhpc_release_pulp_username: publisher
stackhpc_release_pulp_password: {SEALED}stackhpc_pulp_repo_rocky_9_minor_version: 4
stackhpc_pulp_repo_rocky_9_baseos_version: \"{{{{ lookup('vars', 'stackhpc_pulp_repo_rocky_9_%s_baseos_version' % stackhpc_pulp_repo_rocky_9_minor_version) }}}}\"
stackhpc_pulp_rpm_repos:
  - name: DOCA for RHEL 9
    url: \"file://{www}/doca-mini/3.2.0/rhel9/x86_64\"
    base_path: doca/3.2.0/rhel9/x86_64/
",
                www = www.display()
            ),
        );
        site.variables(
            "pulp-repo-versions.yml",
            &format!("---\nstackhpc_pulp_repo_rocky_9_4_baseos_version: {NEW}\n"),
        );
        site.variables(
            "dnf.yml",
            "---
dnf_custom_repos_rocky_9:
  baseos:
    baseurl: \"{{ stackhpc_repo_rocky_9_baseos_url }}\"
  appstream:
    baseurl: \"{{ stackhpc_repo_rocky_9_baseos_url | replace('BaseOS', 'AppStream') }}\"
stackhpc_repo_rocky_9_baseos_url: \"{{ mirror }}/BaseOS/x86_64/os/{{ stackhpc_pulp_repo_rocky_9_baseos_version }}\"
mirror: https://nowhere.example.com
",
        );
        site.variables(
            "ofed.yml",
            "---
stackhpc_pulp_doca_version: '3.2.0'
stackhpc_pulp_repo_doca_ofed_rhel9:
  name: DOCA OFED
  url: \"{{ stackhpc_release_pulp_content_url }}/doca_ofed/{{ stackhpc_pulp_doca_version }}/rhel9\"
  base_path: \"doca_ofed/{{ stackhpc_pulp_doca_version }}/rhel9\"
  distribution_name: \"doca-ofed-\"
",
        );
        site.variables(
            "environments/lab/site.yml",
            &format!("---\nmirror: file://{}/train\n", www.display()),
        );
        site.write_config("lab", "directory: {path: published}", "");
        site
    }

    fn checkout(&self) -> PathBuf {
        self.site.path("kayobe-config")
    }

    fn variables(&self, name: &str, text: &str) {
        let path = self.checkout().join("etc/kayobe").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn write_config(&self, environment: &str, publish: &str, more: &str) {
        let settings = &self.site.settings;
        let text = format!(
            "train:
  kayobe: {{path: kayobe-config, environment: {environment}, release: \"9\"{more}}}
  kernel: latest
  keys: [{}]

driver:
  name: doca-mini
  repository:
    keys: [{}]
  macros:
    KMP: 1

publish:
  {publish}
",
            settings.train_key.display(),
            settings.vendor_key.display()
        );
        std::fs::write(self.site.config(), text).unwrap();
    }

    /// The line that the error is about, and what is said of it.
    fn refused(&self) -> String {
        let output = self.site.run(&["plan", "--explain"]).ends_with(2);
        self.site.nothing_happened();
        output.error().to_owned()
    }
}

fn git(directory: &Path, arguments: &[&str]) {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(["-c", "user.name=A", "-c", "user.email=a@example.com"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_run_takes_train_driver_and_version_from_the_sites_configuration() {
    let Some(site) = Site::built() else { return };
    let site = KayobeSite::new(site);
    if has("git") {
        git(&site.checkout(), &["init", "--quiet"]);
        git(&site.checkout(), &["add", "--all"]);
        git(&site.checkout(), &["commit", "--quiet", "--message", "A site"]);
        git(&site.checkout(), &["tag", "release-7"]);
        site.site.run(&["plan"]).succeeds().says("kayobe-config, at release-7, environment lab\n");
        site.variables("environments/lab/site.yml~", "");
        site.variables("globals.yml", "---\nnothing: here\n# changed\n");
        site.site.run(&["plan"]).succeeds().says(", at release-7-dirty, environment lab\n");
    }
    let explained = site.site.run(&["plan", "--explain"]).succeeds();
    for line in [
        "  train.name = rocky-9.4\n      stackhpc_pulp_repo_rocky_9_minor_version (etc/kayobe/pulp.yml:12)\n",
        "      dnf_custom_repos_rocky_9.baseos.baseurl (etc/kayobe/dnf.yml:4)\n        \
         stackhpc_repo_rocky_9_baseos_url (etc/kayobe/dnf.yml:7)\n        mirror (etc/kayobe/environments/lab/site.yml:2)\n",
        "  driver.version = 3.2.0\n      stackhpc_pulp_doca_version (etc/kayobe/ofed.yml:2)\n",
        "  note: train.keys is what this configuration says itself in line 4\n",
    ] {
        assert!(explained.stdout.contains(line), "{line:?} is not in:\n{}", explained.stdout);
    }
    let json = site.site.run(&["plan", "--explain", "--json"]).succeeds().json();
    assert_eq!(json["train_from"]["environment"], "lab");
    assert_eq!(json["train_from"]["values"][0]["value"], "rocky-9.4");
    assert_eq!(json["cell"]["train"], "rocky-9.4");

    site.site.run(&["run"]).succeeds().says("Served: version 1 at file://");
    let evidence = std::fs::read_to_string(site.site.last_run().directory.join("train.json")).unwrap();
    assert!(evidence.contains("etc/kayobe/dnf.yml:4") && evidence.contains("environment lab"), "{evidence}");
    let kernel = &site.site.lab.newer;
    let published = site.site.path("published").join(format!("rocky-9.4/3.2.0/{}/x86_64", kernel.release));
    assert!(matches!(whole(&published), Ok(Some(names)) if !names.is_empty()));
}

#[test]
fn what_is_published_to_pulp_goes_where_the_site_says_and_no_secret_is_shown() {
    let Some(site) = Site::new() else { return };
    let mut site = KayobeSite::new(site);
    site.site.environment.push(("VAULT".to_owned(), "wrk-pass".to_owned()));
    site.write_config("lab", "pulp: {}", ", vault_password: {env: VAULT}");
    // No such server is there; what is told before is what counts.
    let output = site.site.run(&["plan", "--explain"]);
    for line in [
        "  publish.pulp.url = https://ark.example.com\n",
        "  publish.pulp.credentials.password = ${stackhpc_release_pulp_password}\n",
        "  publish.pulp.layout = doca_ofed/3.2.0/rhel9/{kernel}\n",
        "  publish.pulp.distribution = doca-ofed-{kernel}\n",
    ] {
        assert!(output.stdout.contains(line), "{line:?} is not in:\n{}{}", output.stdout, output.stderr);
    }
    assert!(!output.stdout.contains("hunter2") && !output.stderr.contains("hunter2"));
}

#[test]
fn a_site_that_cannot_be_read_is_refused_with_the_reason_before_anything_happens() {
    let Some(site) = Site::new() else { return };
    let mut site = KayobeSite::new(site);
    let says = |site: &KayobeSite, parts: &[&str]| {
        let error = site.refused();
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in:\n{error}");
        }
    };
    site.write_config("labb", "directory: {path: published}", "");
    says(&site, &["drivetrain.yaml:2:3", "there is no environment \"labb\"", "there is lab"]);

    site.write_config("lab", "pulp: {}", "");
    says(&site, &["etc/kayobe/pulp.yml:5: stackhpc_release_pulp_password is encrypted", "vault_password"]);
    site.site.environment.push(("VAULT".to_owned(), "wrong".to_owned()));
    site.write_config("lab", "pulp: {}", ", vault_password: {env: VAULT}");
    says(&site, &["the password is wrong"]);
    site.write_config("lab", "pulp: {}", ", vault_password: {env: NOWHERE}");
    says(&site, &["NOWHERE", "is not set"]);

    site.write_config("lab", "directory: {path: published}", "");
    let ofed = std::fs::read_to_string(site.checkout().join("etc/kayobe/ofed.yml")).unwrap();
    site.variables("ofed.yml", "---\nnothing: here\n");
    says(
        &site,
        &[
            "driver.version is not in the configuration of",
            "stackhpc_pulp_doca_version",
            "help: write driver.version",
        ],
    );
    site.variables("ofed.yml", &ofed.replace("'3.2.0'", "\"{{ lookup('pipe', 'cat version') }}\""));
    says(
        &site,
        &["stackhpc_pulp_doca_version (etc/kayobe/ofed.yml:2) cannot be evaluated", "lookup(\"pipe\")"],
    );
    site.variables("ofed.yml", &ofed.replace("'3.2.0'", "\"{{ stackhpc_pulp_doca_version }}\""));
    says(&site, &["in a circle: stackhpc_pulp_doca_version (etc/kayobe/ofed.yml:2)"]);
    site.variables("ofed.yml", &ofed.replace("base_path: \"doca_ofed", "base_path: \"mlnx_ofed"));
    site.write_config("lab", "pulp: {credentials: {username: a, password: \"${VAULT}\"}}", "");
    says(&site, &["disagrees about where drivers are", "etc/kayobe/ofed.yml:5", "etc/kayobe/ofed.yml:6"]);
}
