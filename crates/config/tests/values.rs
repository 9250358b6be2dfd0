//! What a good file means, and that a bad one never does harm.

use camino::Utf8Path;
use drivetrain_config::{
    BuildRoot, BuilderKind, ChannelName, Config, ConfigError, ExtraSource, HeaderTest, HostConfigure, Jobs,
    KayobeGroup, Location, PublishPulp, PublishTarget, PulpCredentials, VaultPassword, VendorVisibility,
    Verify, parse, parse_cells,
};
use drivetrain_model::{ComponentName, KernelPolicy, KernelRelease};
use proptest::prelude::*;

fn environment(name: &str) -> Option<String> {
    (["ARK_", "PULP_", "KAYOBE_", "SIGNING_", "MODULE_"].iter().any(|known| name.starts_with(known)))
        .then(|| "hunter2".to_owned())
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
  patches:
    - {component: iser, path: fixes/a.patch, source: ">= 25.07, < 25.12", header: {file: linux/dpll.h, lacks: "a b"}}
    - {component: iser, path: /fixes/b.patch, header: {file: linux/dpll.h, exists: false}}
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
    let patches = &config.driver.patches;
    assert_eq!(
        (patches[0].path.as_str(), patches[1].path.as_str()),
        ("/site/trains/fixes/a.patch", "/fixes/b.patch")
    );
    assert_eq!(patches[0].source.as_ref().unwrap().to_string(), ">= 25.07, < 25.12");
    assert_eq!(patches[0].header.as_ref().unwrap().is, HeaderTest::Lacks("a b".to_owned()));
    assert_eq!(patches[1].header.as_ref().unwrap().is, HeaderTest::Missing);
    assert_eq!(config.driver.macros["_smp_build_ncpus"], "0x10");
    let knem = ComponentName::parse("knem").unwrap();
    assert!(config.driver.components.reason_to_skip(&knem).is_some());
    let builder = &config.builder;
    assert_eq!(builder.jobs, Jobs::Count(4.try_into().unwrap()));
    assert_eq!(builder.work.as_deref(), Some(Utf8Path::new("/site/work")));
    let PublishTarget::Directory(directory) = &config.publish.target else { panic!("{:?}", config.publish) };
    assert_eq!(directory.base_url.as_ref().unwrap().as_str(), "http://repo.example.com/x/");
    let cell = config.cell(KernelRelease::parse("5.14.0-1").unwrap());
    assert_eq!(config.publish.layout.path(&cell, &config.driver.name, None), "doca-ofed/5.14.0-1");
    assert_eq!((config.publish.keep, config.publish.channels.len()), (3, 0));
    assert_eq!(config.repositories().count(), 4);
    let userspace = config.driver.userspace.as_ref().unwrap();
    assert_eq!(userspace.packages, ["doca-ofed-userspace", "libibverbs >= 2510"]);
    assert!(userspace.weak_dependencies);
    assert_eq!(config.train.module_streams["nodejs"], "20");
    assert_eq!(config.consumers.vendor, VendorVisibility::Exposed);
    assert_eq!(config.consumers.exclude, ["knem-dkms"]);
    assert_eq!(config.consumers.priority, 9, "before the repository with priority 10");
}

const DIRECTORY: &str = r#"publish: {directory: {path: ./published, base_url: http://repo.example.com/x, layout: "{name}/{kernel}", keep: 3}}"#;

const PULP: &str = r#"publish:
  channels: [development, release]
  pulp:
    url: https://ark.example.org:8443/below
    profile: release
    profile_file: ../pulp/cli.toml
    credentials: {username: "${ARK_USER}", password: "${ARK_PASSWORD}"}
    ca: ark.pem
    api_root: /content/pulp/
    domain: drivers
    repository: "{name}-{kernel}"
    distribution: "{channel}-{name}-{kernel}"
    labels: {team: storage, train and arch: "{train} on {arch}", stage_1: "{channel}"}
    content_guard: nodes of the site
    signing_service: site's metadata
    connections: 32
    chunk_mib: 1
    adopt: true
    layout: drivers/{channel}/{kernel}
    keep: 2
"#;

/// The full file with another `publish` section.
fn published(publish: &str) -> Config {
    assert!(FULL.contains(DIRECTORY));
    read(&FULL.replace(DIRECTORY, publish)).unwrap_or_else(|error| panic!("{error}"))
}

fn pulp(config: &Config) -> &PublishPulp {
    let PublishTarget::Pulp(pulp) = &config.publish.target else { panic!("{:?}", config.publish) };
    pulp
}

#[test]
fn pulp_is_read_as_it_is_meant() {
    let config = published(PULP);
    let pulp = pulp(&config);
    assert_eq!(pulp.url.as_ref().unwrap().as_str(), "https://ark.example.org:8443/below/");
    assert_eq!(pulp.profile.as_deref(), Some("release"));
    assert_eq!(pulp.profile_file.as_deref(), Some(Utf8Path::new("/site/pulp/cli.toml")));
    assert!(
        matches!(&pulp.credentials, Some(PulpCredentials::Given(login)) if login.password.expose() == "hunter2")
    );
    assert_eq!(pulp.ca.as_deref(), Some(Utf8Path::new("/site/trains/ark.pem")));
    assert_eq!((pulp.api_root.as_str(), pulp.domain.as_deref()), ("/content/pulp/", Some("drivers")));
    assert_eq!(pulp.content_guard.as_deref(), Some("nodes of the site"));
    assert_eq!(pulp.signing_service.as_deref(), Some("site's metadata"));
    assert_eq!((pulp.connections, pulp.chunk_mib, pulp.adopt), (32, 1, true));
    assert_eq!(config.publish.keep, 2);
}

#[test]
fn what_is_named_for_a_cell_is_filled_in_for_each_channel() {
    let config = published(PULP);
    let pulp = pulp(&config);
    let cell = config.cell(KernelRelease::parse("5.14.0-1").unwrap());
    let channels: Vec<&str> = config.publish.channels.iter().map(ChannelName::as_str).collect();
    assert_eq!(channels, ["development", "release"], "in the order of the file");
    let (name, release) = (&config.driver.name, config.publish.channels.last());
    assert_eq!(config.publish.layout.path(&cell, name, release), "drivers/release/5.14.0-1");
    assert_eq!(pulp.repository.text(&cell, name, release), "doca-ofed-5.14.0-1");
    assert_eq!(pulp.distribution.text(&cell, name, release), "release-doca-ofed-5.14.0-1");
    assert_eq!(pulp.labels["train and arch"].text(&cell, name, release), "1.10 on aarch64");
    let per_channel: Vec<bool> = pulp.labels.values().map(|label| label.has_channel()).collect();
    assert_eq!(per_channel, [true, false, false]);
}

#[test]
fn pulp_needs_no_more_than_a_profile() {
    let config = published("publish: {pulp: {profile: default}}");
    let pulp = pulp(&config);
    assert_eq!((&pulp.url, &pulp.credentials, &pulp.profile_file), (&None, &None, &None));
    assert_eq!((&pulp.ca, &pulp.domain), (&None, &None));
    assert_eq!((&pulp.content_guard, &pulp.signing_service), (&None, &None));
    assert_eq!((pulp.api_root.as_str(), pulp.connections, pulp.chunk_mib), ("/pulp/", 6, 32));
    assert!(!pulp.adopt && pulp.labels.is_empty());
    assert_eq!(pulp.repository.to_string(), "{name}-{train}-{driver}-{kernel}-{arch}");
    assert_eq!(pulp.distribution, pulp.repository);
    assert_eq!(config.publish.layout.to_string(), "{train}/{driver}/{kernel}/{arch}");
    assert_eq!(config.publish.keep, 5);
}

#[test]
fn the_defaults_say_the_channel_where_there_is_one() {
    for channels in ["[development]", "[development, release]"] {
        let config = published(&format!("publish: {{pulp: {{profile: default}}, channels: {channels}}}"));
        let pulp = pulp(&config);
        assert_eq!(pulp.repository.to_string(), "{name}-{train}-{driver}-{kernel}-{arch}");
        assert_eq!(pulp.distribution.to_string(), "{name}-{channel}-{train}-{driver}-{kernel}-{arch}");
        assert_eq!(config.publish.layout.to_string(), "{channel}/{train}/{driver}/{kernel}/{arch}");
    }
    let config = published("publish: {directory: {path: a}, channels: [a, b]}");
    assert!(config.publish.layout.has_channel());
    let config = published("publish: {directory: {path: a, layout: \"{kernel}\"}, channels: [a]}");
    assert!(!config.publish.layout.has_channel(), "one channel need not be said");
    assert!(published("publish: {directory: {path: a}, channels: []}").publish.channels.is_empty());
}

#[test]
fn the_password_for_pulp_may_stand_in_a_file() {
    let config = published(
        "publish: {pulp: {url: \"https://ark.example.org\", credentials: {username: svc, password_file: keys/ark}}}",
    );
    let expected =
        PulpCredentials::File { username: "svc".to_owned(), password_file: "/site/trains/keys/ark".into() };
    assert_eq!(pulp(&config).credentials.as_ref(), Some(&expected));
    let config = published(
        "publish: {pulp: {url: \"http://localhost:8080\", credentials: {username: svc, password_file: a}}}",
    );
    assert!(pulp(&config).url.is_some(), "nobody is on the way to this host");
}

#[test]
fn the_evidence_of_pulp_holds_everything_but_secrets() {
    let config = published(PULP);
    let text = serde_json::to_string_pretty(&config.effective()).unwrap();
    assert!(!text.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
    let text = text.split_once("\"publish\"").unwrap().1;
    insta::assert_snapshot!("effective_pulp", text.split_once("\"consumers\"").unwrap().0);
}

#[test]
fn the_evidence_holds_everything_but_secrets() {
    let config = read(FULL).unwrap();
    let text = serde_json::to_string_pretty(&config.effective()).unwrap();
    assert!(!text.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
    insta::assert_snapshot!("effective", text);
}

/// What is commented out is right too: taking the comment sign away leaves a file that parses.
fn uncommented(template: &str) -> String {
    let text: String = template
        .lines()
        .map(|line| {
            let code = line.trim_start().strip_prefix("# ").filter(|rest| {
                rest.split_once(':').is_some_and(|(key, value)| {
                    !key.contains(' ')
                        && key != "RELEASE"
                        && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                        && !value.starts_with("//")
                        && (value.starts_with(" [") || value.starts_with(" {") || !value.contains(", "))
                        && !["signatures", "sandbox", "drop", "keep", "latest", "pulp", "matrix"]
                            .contains(&key)
                })
            });
            code.map_or(line.to_owned(), |code| {
                format!("{}{code}", &line[..line.len() - line.trim_start().len()])
            }) + "\n"
        })
        .collect();
    text.replace("9.6/BaseOS/{arch}/os/", "9.6/BaseOS/{arch}/os/{snapshot}/")
}

/// A file that shows Pulp as a comment, with Pulp in place of the directory.
fn with_pulp(text: &str) -> Option<String> {
    let (before, rest) = text.split_once("  directory:\n")?;
    // Signatures are a directory's.
    let before: String = before.split_inclusive('\n').filter(|line| !line.contains(" sign: {key:")).collect();
    let (_, rest) = rest.split_once("  # pulp:\n")?;
    let (block, after) = rest.split_once("\n\n")?;
    let block: Vec<String> = block.lines().map(|line| line.replacen("# ", "", 1)).collect();
    Some(format!("{before}  pulp:\n{}\n\n{after}", block.join("\n")))
}

#[test]
fn the_example_is_right_for_pulp_too() {
    let example = Utf8Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/rocky9-doca/drivetrain-snapshots.yaml");
    let text = with_pulp(&std::fs::read_to_string(example).unwrap()).unwrap();
    let config = read(&text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    assert!(matches!(pulp(&config).credentials, Some(PulpCredentials::Given(_))));
    assert_eq!(config.publish.channels.len(), 2);
}

#[test]
fn the_template_is_right_for_pulp_too() {
    let text = with_pulp(drivetrain_config::config_template()).unwrap();
    let config = read(&text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    let text = uncommented(&text);
    let full = read(&text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    let (pulp, full) = (pulp(&config), pulp(&full));
    assert!(pulp.url.is_some() && pulp.profile.is_none());
    for (key, is_shown) in [
        ("profile", full.profile.is_some()),
        ("profile_file", full.profile_file.is_some()),
        ("credentials", full.credentials.is_some()),
        ("ca", full.ca.is_some()),
        ("domain", full.domain.is_some()),
        ("labels", !full.labels.is_empty()),
        ("content_guard", full.content_guard.is_some()),
        ("signing_service", full.signing_service.is_some()),
    ] {
        assert!(is_shown, "the template does not show {key}");
    }
    let defaults = published("publish: {pulp: {profile: default}}");
    let defaults = self::pulp(&defaults);
    assert_eq!(full.api_root, defaults.api_root);
    assert_eq!((&full.repository, &full.distribution), (&defaults.repository, &defaults.distribution));
    assert_eq!((full.connections, full.chunk_mib), (defaults.connections, defaults.chunk_mib));
    for key in
        ["api_root", "repository", "distribution", "connections", "chunk_mib", "adopt", "layout", "keep"]
    {
        assert!(text.contains(&format!("\n    {key}:")), "the template does not show {key}");
    }
}

#[test]
fn the_template_is_a_configuration_with_every_key() {
    let template = drivetrain_config::config_template();
    let config = read(template).unwrap_or_else(|error| panic!("{error}"));
    let uncommented = uncommented(template);
    let full = read(&uncommented).unwrap_or_else(|error| panic!("{uncommented}\n{error}"));
    assert_ne!(config, full);
    // A configuration of several cells is another test's.
    let with_matrix =
        template.split("\n# matrix:\n").nth(1).unwrap().replace("\n#", "\n").replacen('#', "", 1);
    let several = format!("{template}matrix:\n{with_matrix}");
    let several = parse_cells(&several, "t.yaml", &[], &environment, Utf8Path::new("/site")).unwrap();
    let names: Vec<&str> = several.iter().map(|cell| cell.name.as_str()).collect();
    assert_eq!(
        names,
        ["rocky-9.5/3.2.1/latest/x86_64", "rocky-9.6/3.2.1/latest/x86_64", "rocky-9.6/3.2.3/latest/x86_64"]
    );
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
        "patches",
        "header",
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
        "directory",
        "pulp",
        "channels",
        "prove",
        "boot",
        "module_signing",
        "reuse",
        "timeout",
    ] {
        assert!(template.contains(&format!("{key}:")), "the template does not show {key}");
    }
}

/// The builder of a configuration with this `builder` section.
fn builder(text: &str) -> BuilderKind {
    let example = include_str!("../../../examples/builders/ssh.yaml");
    let parts = example.split_once("builder:\n").zip(example.split_once("\npublish:"));
    let Some(((before, _), (_, after))) = parts else { panic!("the example has other sections") };
    let text = format!("{before}builder:\n{text}\npublish:{after}");
    read(&text).unwrap_or_else(|error| panic!("{text}\n{error}")).builder.kind
}

#[test]
fn a_machine_is_made_ready_and_a_host_that_is_there_is_not() {
    let kind = builder("  kind: ssh\n  ssh: {host: builder-3, identity: keys/id}\n");
    let BuilderKind::Ssh { ssh, machine } = kind else { panic!("{kind:?}") };
    assert_eq!(ssh.identity.as_deref(), Some(Utf8Path::new("/site/trains/keys/id")));
    assert_eq!((machine.prepare, machine.lease), (None, 6));
    assert_eq!(machine.directory, "/var/lib/drivetrain-builder");

    let kind =
        builder("  kind: qemu\n  qemu: {image: a.qcow2, disk: 40}\n  prepare: {exec: [/tmp], boot: false}\n");
    let BuilderKind::Qemu { qemu, machine } = kind else { panic!("{kind:?}") };
    assert_eq!((qemu.image.as_str(), qemu.disk, qemu.memory), ("/site/trains/a.qcow2", Some(40), 4096));
    let prepare = machine.prepare.unwrap();
    assert!(prepare.sync && prepare.grow && !prepare.boot);
    assert_eq!(prepare.exec, ["/tmp"]);
    assert!(prepare.packages.contains(&"kernel-rpm-macros".to_owned()));

    let kind = builder(
        "  kind: openstack\n  openstack: {image: rocky, flavor: m1, network: ci, security_groups: [ssh]}\n",
    );
    let BuilderKind::OpenStack { openstack, machine } = kind else { panic!("{kind:?}") };
    assert_eq!((openstack.cloud.as_deref(), openstack.user.as_str()), (None, "root"));
    assert!(openstack.config_drive && machine.prepare.is_some());
}

#[test]
fn a_root_of_the_trains_packages_has_what_builds_take() {
    let text = FULL.replace("builder: {kind: sandbox,", "builder: {kind: sandbox, root: train,");
    let root = read(&text).unwrap().builder.root;
    let BuildRoot::Train { packages } = root else { panic!("{root:?}") };
    assert!(packages.contains(&"kernel-rpm-macros".to_owned()));
    let text = FULL.replace("builder: {kind: sandbox,", "builder: {root: train, packages: [gcc, make],");
    assert_eq!(
        read(&text).unwrap().builder.root,
        BuildRoot::Train { packages: vec!["gcc".to_owned(), "make".to_owned()] }
    );
}

#[test]
fn where_kayobe_configures_a_machine_drivetrain_leaves_that_alone() {
    let kind =
        builder("  kind: qemu\n  qemu: {image: a}\n  prepare: {kayobe: {configuration: kayobe-config}}\n");
    let BuilderKind::Qemu { machine, .. } = kind else { panic!("{kind:?}") };
    let prepare = machine.prepare.unwrap();
    assert!(!prepare.grow && !prepare.repositories && !prepare.sync && prepare.boot);
    assert!(prepare.packages.contains(&"rpm-build".to_owned()));
    let kayobe = prepare.kayobe.unwrap();
    assert_eq!(kayobe.configuration, "/site/trains/kayobe-config");
    assert_eq!(
        (kayobe.group, kayobe.host.as_str(), kayobe.deadline),
        (KayobeGroup::Seed, "drivetrain-builder", 120)
    );
    assert_eq!(kayobe.host_configure, Some(HostConfigure::default()));
    assert_eq!((kayobe.program, kayobe.vault_password), (None, None));

    let kind = builder(
        "  kind: ssh\n  ssh: {host: b}\n  prepare:\n    sync: true\n    kayobe:\n      configuration: /site/kayobe-config\n      \
         environment: ci-builder\n      program: /opt/kayobe/bin/kayobe\n      group: infra-vms\n      groups: [builders]\n      \
         host_configure: {skip_tags: [docker, network]}\n      playbooks: [./etc/kayobe/ansible/growroot.yml]\n      \
         variables: {growroot_group: drivetrain-builder}\n      vault_password: \"${ARK_PASSWORD}\"\n      deadline: 30\n",
    );
    let BuilderKind::Ssh { machine, .. } = kind else { panic!("{kind:?}") };
    let prepare = machine.prepare.unwrap();
    assert!(prepare.sync && !prepare.repositories);
    let kayobe = prepare.kayobe.unwrap();
    assert_eq!((kayobe.group, kayobe.groups), (KayobeGroup::InfraVms, vec!["builders".to_owned()]));
    assert_eq!(kayobe.host_configure.unwrap().skip_tags, ["docker", "network"]);
    assert_eq!(kayobe.playbooks, ["etc/kayobe/ansible/growroot.yml"]);
    assert_eq!(kayobe.variables["growroot_group"], "drivetrain-builder");
    assert!(matches!(kayobe.vault_password, Some(VaultPassword::Given(_))));
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
        to_pulp in prop::bool::ANY,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..6, "\\PC{0,6}|[-:{}\\[\\]&*!|>'\"%@`#, \n\t?]{1,4}"), 1..12)
    ) {
        let text = if to_pulp { FULL.replace(DIRECTORY, PULP) } else { FULL.to_owned() };
        let mut text: Vec<char> = text.chars().collect();
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
