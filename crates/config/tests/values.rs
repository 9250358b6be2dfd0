//! What a good file means, and that a bad one never does harm.

use camino::Utf8Path;
use drivetrain_config::{
    Builder, Config, ConfigError, ExtraSource, Jobs, Location, Publish, VendorVisibility, Verify, parse,
};
use drivetrain_model::{ComponentName, KernelPolicy, KernelRelease};
use proptest::prelude::*;

fn environment(name: &str) -> Option<String> {
    name.starts_with("ARK_").then(|| "hunter2".to_owned())
}

fn read(text: &str) -> Result<Config, ConfigError> {
    parse(text, "drivetrain.yaml", &environment, Utf8Path::new("/site/trains"))
}

const FULL: &str = r#"
train:
  name: "1.10"
  arch: aarch64
  kernel: {ceiling: 5.14.0-427.31.1.el9_4.aarch64}
  keys: [https://example.com/KEY, keys/extra, file:///etc/pki/key]
  repositories:
    baseos: &repository
      url: https://ark.example.com/BaseOS/{arch}/os/{snapshot}
      snapshot: 20240816T002610
      username: ${ARK_USER}
      password: "${ARK_PASSWORD}"
      priority: 10
      exclude: ["kernel-rt*"]
    again: *repository
    lab: {url: ../www/lab, verify: checksums-only, keys: []}
  module_streams: [nodejs:20, "perl-DBI:1.641"]
driver:
  name: doca-ofed
  version: 1.10
  repository: {url: "https://vendor.example.com/{version}/{arch}", keys: [vendor.pub]}
  source: other-source
  components: {exclude: [knem]}
  needs: {iser: [mlnx-ofa_kernel]}
  extra: [{path: ./srpms}, {url: "https://example.com/x.src.rpm", sha256: "0000000000000000000000000000000000000000000000000000000000000000"}]
  macros: {dist: .el9, _smp_build_ncpus: 0x10}
  with: [a]
  without: [b]
  userspace: {packages: [doca-ofed-userspace, "libibverbs >= 2510"], weak_dependencies: true}
builder: {kind: sandbox, jobs: 4, provides: [gcc, /usr/bin/perl], debuginfo: keep, ccache: false, work: ../work}
publish: {directory: {path: ./published, base_url: http://repo.example.com/x, layout: "{name}/{kernel}", keep: 3}}
consumers: {vendor: exposed, exclude: [knem-dkms]}
"#;

#[test]
fn a_full_file_is_read_as_it_is_meant() {
    let config = read(FULL).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.train.name.as_str(), "1.10");
    assert_eq!(config.driver.version.as_str(), "1.10", "a version is no number");
    assert!(
        matches!(&config.train.kernel, KernelPolicy::Ceiling(release) if release.as_str().ends_with("aarch64"))
    );
    let [again, baseos, lab] =
        ["again", "baseos", "lab"].map(|id| &config.train.repositories[&id.parse().unwrap()]);
    assert_eq!(baseos.url.as_str(), "https://ark.example.com/BaseOS/aarch64/os/20240816T002610/");
    assert_eq!(again, baseos);
    assert_eq!(baseos.keys.len(), 3);
    assert_eq!(baseos.keys[1], Location::Path("/site/trains/keys/extra".into()));
    assert_eq!(baseos.keys[2], Location::Path("/etc/pki/key".into()));
    assert_eq!(baseos.credentials.as_ref().unwrap().password.expose(), "hunter2");
    assert_eq!((baseos.priority, baseos.verify), (10, Verify::Signatures));
    assert_eq!((lab.priority, lab.verify, lab.keys.len()), (99, Verify::ChecksumsOnly, 0));
    assert_eq!(lab.url.as_str(), "file:///site/www/lab/");
    assert_eq!(config.driver.repository.url.as_str(), "https://vendor.example.com/1.10/aarch64/");
    assert!(matches!(&config.driver.extra[0], ExtraSource::Path(path) if path == "/site/trains/srpms"));
    assert_eq!(config.driver.macros["_smp_build_ncpus"], "0x10");
    let knem = ComponentName::parse("knem").unwrap();
    assert!(config.driver.components.reason_to_skip(&knem).is_some());
    let Builder::Sandbox(sandbox) = &config.builder;
    assert_eq!(sandbox.jobs, Jobs::Count(4.try_into().unwrap()));
    assert_eq!(sandbox.work.as_deref(), Some(Utf8Path::new("/site/work")));
    let Publish::Directory(directory) = &config.publish;
    assert_eq!(directory.base_url.as_ref().unwrap().as_str(), "http://repo.example.com/x/");
    let cell = config.cell(KernelRelease::parse("5.14.0-1").unwrap());
    assert_eq!(directory.layout.path(&cell, &config.driver.name), "doca-ofed/5.14.0-1");
    assert_eq!(config.repositories().count(), 4);
    let userspace = config.driver.userspace.as_ref().unwrap();
    assert_eq!(userspace.packages, ["doca-ofed-userspace", "libibverbs >= 2510"]);
    assert!(userspace.weak_dependencies);
    assert_eq!(config.train.module_streams["nodejs"], "20");
    assert_eq!(config.consumers.vendor, VendorVisibility::Exposed);
    assert_eq!(config.consumers.exclude, ["knem-dkms"]);
    assert_eq!(config.consumers.priority, 9, "before the repository with priority 10");
}

#[test]
fn the_evidence_holds_everything_but_secrets() {
    let config = read(FULL).unwrap();
    let text = serde_json::to_string_pretty(&config.effective()).unwrap();
    assert!(!text.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
    insta::assert_snapshot!("effective", text);
}

#[test]
fn the_template_is_a_configuration_with_every_key() {
    let template = drivetrain_config::config_template();
    let config = read(template).unwrap_or_else(|error| panic!("{error}"));
    // What is commented out is right too: taking the comment sign away leaves a file that parses.
    let uncommented: String = template
        .lines()
        .map(|line| {
            let code = line.trim_start().strip_prefix("# ").filter(|rest| {
                rest.split_once(':').is_some_and(|(key, value)| {
                    !key.contains(' ')
                        && key != "RELEASE"
                        && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                        && !value.starts_with("//")
                        && (value.starts_with(" [") || !value.contains(", "))
                        && !["signatures", "sandbox", "drop", "keep", "latest"].contains(&key)
                })
            });
            code.map_or(line.to_owned(), |code| {
                format!("{}{code}", &line[..line.len() - line.trim_start().len()])
            }) + "\n"
        })
        .collect();
    let uncommented = uncommented.replace("9.6/BaseOS/{arch}/os/", "9.6/BaseOS/{arch}/os/{snapshot}/");
    let full = read(&uncommented).unwrap_or_else(|error| panic!("{uncommented}\n{error}"));
    assert_ne!(config, full);
    for key in [
        "snapshot",
        "username",
        "password",
        "keys",
        "verify",
        "priority",
        "exclude",
        "include",
        "needs",
        "extra",
        "macros",
        "with",
        "without",
        "kind",
        "jobs",
        "provides",
        "debuginfo",
        "ccache",
        "work",
        "base_url",
        "layout",
        "keep",
        "source",
        "ceiling",
        "exact",
        "sha256",
        "userspace",
        "packages",
        "weak_dependencies",
        "module_streams",
        "consumers",
        "vendor",
    ] {
        assert!(template.contains(&format!("{key}:")), "the template does not show {key}");
    }
}

#[test]
fn all_examples_are_read() {
    let examples = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut count = 0;
    for directory in examples.read_dir_utf8().unwrap() {
        let directory = directory.unwrap();
        if !directory.file_type().unwrap().is_dir() {
            continue;
        }
        for file in directory.path().read_dir_utf8().unwrap() {
            let path = file.unwrap().into_path();
            if path.extension() != Some("yaml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            parse(&text, path.as_str(), &environment, path.parent().unwrap())
                .unwrap_or_else(|error| panic!("{error}"));
            count += 1;
        }
    }
    assert!(count >= 3, "only {count} examples were found");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_mutated_file_never_panics(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..6, "\\PC{0,6}|[-:{}\\[\\]&*!|>'\"%@`#, \n\t?]{1,4}"), 1..12)
    ) {
        let mut text: Vec<char> = FULL.chars().collect();
        for (at, removed, inserted) in edits {
            let start = at.index(text.len());
            let end = (start + removed).min(text.len());
            text.splice(start..end, inserted.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = read(&text) {
            prop_assert!(!error.problems().is_empty());
            prop_assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn any_text_never_panics(text in "\\PC{0,200}|[a-c:{}\\[\\]&*!|>'\"%@`#, \r\n\t?-]{0,200}") {
        if let Err(error) = read(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
