//! What a person sees for every mistake: one snapshot for each.

use camino::Utf8Path;
use drivetrain_config::parse;

/// A configuration with a place for each test's change.
const GOOD: &str = r#"train:
  name: rocky-9.4
  arch: x86_64
  keys: [keys/train]
  repositories:
    baseos:
      url: https://ark.example.com/rocky/9.4/BaseOS/{arch}/os/{snapshot}/
      snapshot: 20240816T002610
      username: svc
      password: ${ARK_PASSWORD}
    appstream: {url: ../appstream}
driver:
  name: doca-ofed
  version: 3.2.0
  repository: {url: "https://vendor.example.com/{version}/{arch}/", keys: [keys/vendor]}
builder:
  kind: sandbox
publish:
  directory: {path: published}
"#;

fn environment(name: &str) -> Option<String> {
    match name {
        "ARK_PASSWORD" => Some("hunter2".to_owned()),
        "EMPTY" => Some(String::new()),
        "LINES" => Some("hunter2\nhunter2".to_owned()),
        _ => None,
    }
}

fn error_of(text: &str) -> String {
    match parse(text, "drivetrain.yaml", &environment, Utf8Path::new("/site")) {
        Ok(config) => panic!("accepted: {config:#?}"),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains("hunter2"), "a secret is shown:\n{text}");
            text
        }
    }
}

/// The error of the good configuration with one change.
fn changed(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "{from:?} must stand once in the good configuration");
    error_of(&GOOD.replace(from, to))
}

/// The error of the good configuration with another `publish` section.
fn published(publish: &str) -> String {
    changed("publish:\n  directory: {path: published}\n", &format!("publish:\n{publish}\n"))
}

macro_rules! mistakes {
    ($($name:ident: $from:expr => $to:expr;)*) => {
        $(
            #[test]
            fn $name() {
                insta::assert_snapshot!(stringify!($name), changed($from, $to));
            }
        )*
    };
}

mistakes! {
    unknown_key_with_suggestion: "      snapshot: 20240816T002610" => "      snapshoot: 20240816T002610";
    unknown_key_without_suggestion: "  arch: x86_64" => "  arch: x86_64\n  colour: blue";
    several_unknown_keys: "builder:\n  kind: sandbox" => "bilder:\n  kind: sandbox\nextra: 1\n";
    missing_key: "  version: 3.2.0\n" => "";
    missing_section: "publish:\n  directory: {path: published}\n" => "";
    duplicate_key: "  arch: x86_64" => "  arch: x86_64\n  name: rocky-9.5";
    duplicate_repository: "    appstream: {" => "    baseos: {";
    wrong_type_mapping: "  repository: {url: \"https://vendor.example.com/{version}/{arch}/\", keys: [keys/vendor]}" => "  repository: https://vendor.example.com/";
    wrong_type_list: "keys: [keys/train]" => "keys: keys/train";
    wrong_type_text: "  version: 3.2.0" => "  version: [3.2.0]";
    empty_value: "  version: 3.2.0" => "  version:";
    empty_section: "builder:\n  kind: sandbox" => "builder:";
    wrong_word: "kind: sandbox" => "kind: sandbux";
    wrong_word_not_near: "kind: sandbox" => "kind: openstack";
    wrong_architecture: "arch: x86_64" => "arch: x86-64";
    wrong_boolean: "kind: sandbox" => "ccache: yes";
    wrong_number: "{path: published}" => "{path: published, keep: 1}";
    wrong_jobs: "kind: sandbox" => "jobs: many";
    wrong_kernel_policy: "  arch: x86_64" => "  arch: x86_64\n  kernel: newest";
    wrong_kernel_release: "  arch: x86_64" => "  arch: x86_64\n  kernel: {exact: ../5.14.0}";
    two_kernel_policies: "  arch: x86_64" => "  arch: x86_64\n  kernel: {exact: 5.14.0-1, ceiling: 5.14.0-2}";
    name_leaves_path: "name: rocky-9.4" => "name: ../rocky";
    driver_named_as_repository: "name: doca-ofed" => "name: baseos";
    repository_id: "    appstream:" => "    app stream:";
    no_repositories: "name: rocky-9.4\n  arch: x86_64\n  keys: [keys/train]\n  repositories:\n    baseos:\n      url: https://ark.example.com/rocky/9.4/BaseOS/{arch}/os/{snapshot}/\n      snapshot: 20240816T002610\n      username: svc\n      password: ${ARK_PASSWORD}\n    appstream: {url: ../appstream}" => "name: rocky-9.4\n  arch: x86_64\n  repositories: {}";
    vendor_tool_on_this_host: "  version: 3.2.0" => "  version: 3.2.0\n  build: vendor-tool";
    vendor_tool_that_does_not_build: "  version: 3.2.0" => "  version: 3.2.0\n  vendor_tool: {package: doca-extra}";
    vendor_tool_arguments: "  version: 3.2.0" => "  version: 3.2.0\n  build: vendor-tool\n  vendor_tool: {arguments: [--kernel=5, -k5, -v, -v]}";
    no_keys: "  keys: [keys/train]\n" => "";
    unknown_placeholder: "{arch}/os/{snapshot}/" => "{releasever}/os/{snapshot}/";
    placeholder_without_value: "      snapshot: 20240816T002610\n" => "";
    placeholder_unclosed: "{arch}/os/{snapshot}/" => "{arch/os/";
    snapshot_unused: "{arch}/os/{snapshot}/" => "{arch}/os/";
    dnf_variable: "{arch}/os/{snapshot}/" => "$basearch/os/{snapshot}/";
    url_with_login: "https://ark.example.com" => "https://svc:hunter2@ark.example.com";
    url_scheme: "https://ark.example.com" => "ftp://ark.example.com";
    url_broken: "https://ark.example.com" => "https://ark.exa mple.com:x";
    login_over_http: "https://ark.example.com" => "http://ark.example.com";
    key_over_http: "keys/train" => "http://keys.example.com/train";
    password_in_file: "${ARK_PASSWORD}" => "hunter2";
    password_in_file_flow: "    appstream: {url: ../appstream}" => "    appstream: {url: ../appstream, password: \"hunter2\", snapshoot: 1}";
    password_in_part: "${ARK_PASSWORD}" => "hunter2${ARK_PASSWORD}";
    password_in_broken_yaml: "password: ${ARK_PASSWORD}" => "password: hunter2: [";
    password_as_list: "password: ${ARK_PASSWORD}" => "password: [hunter2]";
    password_twice: "      username: svc" => "      password: hunter2";
    password_without_user: "      username: svc\n" => "";
    variable_unset: "${ARK_PASSWORD}" => "${ARK_PASSWORT}";
    variable_empty: "${ARK_PASSWORD}" => "${EMPTY}";
    variable_with_lines: "${ARK_PASSWORD}" => "${LINES}";
    variable_elsewhere: "name: rocky-9.4" => "name: ${TRAIN}";
    layout_without_kernel: "{path: published}" => "{path: published, layout: \"{train}/{arch}\"}";
    layout_unknown_placeholder: "{path: published}" => "{path: published, layout: \"{kernel}/{os}\"}";
    layout_leaves_directory: "{path: published}" => "{path: published, layout: \"../{kernel}\"}";
    base_url_without_scheme: "{path: published}" => "{path: published, base_url: repo.example.com}";
    publish_to_url: "{path: published}" => "{path: \"https://repo.example.com\"}";
    patch_without_component: "  version: 3.2.0" => "  version: 3.2.0\n  patches: [{path: a.patch}]";
    patch_from_a_server: "  version: 3.2.0" => "  version: 3.2.0\n  patches: [{component: iser, path: https://example.com/a.patch}]";
    patch_bad_range: "  version: 3.2.0" => "  version: 3.2.0\n  patches: [{component: iser, path: a, source: 25.07 to 25.10}]";
    patch_header_outside: "  version: 3.2.0" => "  version: 3.2.0\n  patches: [{component: iser, path: a, header: {file: ../../etc/passwd.h}}]";
    patch_two_conditions: "  version: 3.2.0" => "  version: 3.2.0\n  patches: [{component: iser, path: a, header: {file: linux/dpll.h, contains: a, lacks: b}}]";
    patches_with_the_vendor_tool: "  version: 3.2.0" => "  version: 3.2.0\n  build: vendor-tool\n  patches: [{component: iser, path: a}]";
    extra_url_without_checksum: "  version: 3.2.0" => "  version: 3.2.0\n  extra: [{url: https://example.com/x.src.rpm}]";
    extra_bad_checksum: "  version: 3.2.0" => "  version: 3.2.0\n  extra: [{url: https://example.com/x.src.rpm, sha256: abc}]";
    extra_path_and_url: "  version: 3.2.0" => "  version: 3.2.0\n  extra: [{url: https://example.com/x.src.rpm, path: a}]";
    extra_path_with_checksum: "  version: 3.2.0" => "  version: 3.2.0\n  extra: [{path: a, sha256: abc}]";
    needs_in_a_circle: "  version: 3.2.0" => "  version: 3.2.0\n  needs: {iser: [isert], isert: [srp], srp: [iser]}";
    component_in_and_out: "  version: 3.2.0" => "  version: 3.2.0\n  components: {include: [iser, srp], exclude: [iser]}";
    component_twice: "  version: 3.2.0" => "  version: 3.2.0\n  components: {exclude: [iser, iser]}";
    nothing_included: "  version: 3.2.0" => "  version: 3.2.0\n  components: {include: []}";
    macro_name: "  version: 3.2.0" => "  version: 3.2.0\n  macros: {\"%dist\": .el9}";
    condition_both_ways: "  version: 3.2.0" => "  version: 3.2.0\n  with: [a]\n  without: [a]";
    nothing_wanted: "  version: 3.2.0" => "  version: 3.2.0\n  userspace: {packages: []}";
    want_that_is_none: "  version: 3.2.0" => "  version: 3.2.0\n  userspace: {packages: [\"libibverbs => 2510\", \"lib*\"]}";
    module_stream_without_stream: "  arch: x86_64" => "  arch: x86_64\n  module_streams: [nodejs]";
    two_streams_of_a_module: "  arch: x86_64" => "  arch: x86_64\n  module_streams: [nodejs:18, nodejs:20]";
    vendor_neither_seen_nor_not: "builder:\n" => "consumers: {vendor: visible, priority: 0}\nbuilder:\n";
    boot_neither_off_nor_on: "builder:\n" => "prove: {boot: required, memory: 2GB, timeout: 90}\nbuilder:\n";
    boot_with_too_little: "builder:\n" => "prove: {memory: 64MiB, timeout: 3h, where: host}\nbuilder:\n";
    boot_on_a_machine_that_is_none: "builder:\n" => "prove: {boot: require, on: machine}\nbuilder:\n";
    tab: "  arch: x86_64" => "\tarch: x86_64";
    not_yaml: "  arch: x86_64" => "  arch: [x86_64";
    tag: "  arch: x86_64" => "  arch: !!str x86_64";
    merge_key: "    appstream: {" => "    appstream: {<<: *b, ";
    alias_unknown: "  arch: x86_64" => "  arch: *nothing";
    alias_of_itself: "keys: [keys/train]" => "keys: &a [*a]";
    second_document: "builder:\n" => "---\nbuilder:\n";
    directive: "train:\n  name" => "%YAML 1.1\n---\ntrain:\n  name";
    control_characters: "arch: x86_64" => "arch: \"x86\u{7f}_64\"\n  \"\u{7f}\": 1";
}

macro_rules! publishing {
    ($($name:ident: $publish:expr;)*) => {
        $(
            #[test]
            fn $name() {
                insta::assert_snapshot!(stringify!($name), published($publish));
            }
        )*
    };
}

publishing! {
    sign_without_key: "  directory: {path: p}\n  sign: {passphrase: \"${ARK_PASSWORD}\"}";
    sign_key_from_a_server: "  directory: {path: p}\n  sign: {key: https://example.com/key.asc}";
    sign_passphrase_in_the_file: "  directory: {path: p}\n  sign: {key: key.asc, passphrase: hunter2}";
    lockstep_with_kernel: "  directory: {path: published}\n  lockstep: {path: \"{train}/{kernel}\"}";
    lockstep_above_the_kernels: "  directory: {path: published}\n  lockstep: {path: \"{train}/{driver}\"}";
    lockstep_without_channel: "  directory: {path: published}\n  channels: [a, b]\n  lockstep: {path: \"{train}/{arch}\"}";
    lockstep_name: "  directory: {path: published}\n  lockstep: {name: \"a b\"}";
    lockstep_misspelt: "  directory: {path: published}\n  lockstep: {pat: \"{train}\", keep: 0}";
    both_targets: "  directory: {path: published}\n  pulp: {profile: default}";
    neither_target: "  channels: [release]";
    target_misspelt: "  pullp: {profile: default}";
    channel_name: "  directory: {path: published}\n  channels: [development, ../release]";
    channel_twice: "  directory: {path: published}\n  channels: [release, release]";
    channel_alone: "  directory: {path: published}\n  channels: release";
    channels_misspelt: "  directory: {path: published, layout: \"{channel}/{kernel}\"}\n  chanels: [release]";
    channels_beside_path: "  directory: {path: published, channels: [release]}";
    layout_with_channel_and_no_channels: "  directory: {path: published, layout: \"{channel}/{kernel}\"}";
    layout_without_channel: "  directory: {path: published, layout: \"{train}/{kernel}\"}\n  channels: [development, release]";
    layout_placeholder_misspelt: "  directory: {path: published, layout: \"{chanel}/{kernel}\"}";
    pulp_nowhere: "  pulp: {ca: ark.pem}";
    pulp_profile_file_alone: "  pulp:\n    url: https://ark.example.com\n    profile_file: cli.toml";
    pulp_profile_of_lines: "  pulp: {profile: \"a\\nb\"}";
    pulp_unknown_keys: "  pulp:\n    urll: https://ark.example.com\n    chunk: 4";
    pulp_as_url: "  pulp: https://svc:hunter2@ark.example.com";
    pulp_url_with_login: "  pulp: {url: \"https://svc:hunter2@ark.example.com\"}";
    pulp_url_without_scheme: "  pulp: {url: ark.example.com}";
    pulp_url_of_file: "  pulp: {url: \"file:///srv/pulp\"}";
    pulp_url_with_query: "  pulp: {url: \"https://ark.example.com/?a=b\"}";
    pulp_login_over_http: "  pulp:\n    url: http://ark.example.com\n    credentials: {username: svc, password: \"${ARK_PASSWORD}\"}";
    pulp_variables_without_quotes: "  pulp:\n    profile: release\n    credentials: {username: ${ARK_USER}, password: ${ARK_PASSWORD}}";
    pulp_password_in_file: "  pulp:\n    profile: release\n    credentials: {username: svc, password: hunter2}";
    pulp_password_unset: "  pulp:\n    profile: release\n    credentials: {username: svc, password: \"${ARK_PASSWORT}\"}";
    pulp_login_as_text: "  pulp:\n    profile: release\n    credentials: svc:hunter2";
    pulp_login_without_password: "  pulp:\n    profile: release\n    credentials: {username: svc}";
    pulp_login_without_user: "  pulp:\n    profile: release\n    credentials: {password: \"${ARK_PASSWORD}\"}";
    pulp_two_passwords: "  pulp:\n    profile: release\n    credentials: {username: svc, password: \"${ARK_PASSWORD}\", password_file: ark}";
    pulp_password_misspelt: "  pulp:\n    profile: release\n    credentials: {username: svc, pasword: hunter2}";
    pulp_user_variable_beside_file: "  pulp:\n    profile: release\n    credentials: {username: \"${ARK_USER}\", password_file: ark}";
    pulp_password_file_on_a_server: "  pulp:\n    profile: release\n    credentials: {username: svc, password_file: \"https://ark.example.com\"}";
    pulp_ca_at_home: "  pulp: {profile: release, ca: ~/ark.pem}";
    pulp_api_root: "  pulp: {profile: release, api_root: pulp}";
    pulp_domain: "  pulp: {profile: release, domain: a/b}";
    pulp_repository_without_kernel: "  pulp: {profile: release, repository: \"{name}-{arch}\"}";
    pulp_repository_with_channel: "  pulp:\n    profile: release\n    repository: \"{channel}-{kernel}\"\n  channels: [development, release]";
    pulp_repository_is_no_path: "  pulp: {profile: release, repository: \"{name}/{kernel}\"}";
    pulp_distribution_without_kernel: "  pulp: {profile: release, distribution: drivers}";
    pulp_distribution_without_channel: "  pulp:\n    profile: release\n    distribution: \"{kernel}\"\n  channels: [development, release]";
    pulp_distribution_with_channel_and_no_channels: "  pulp: {profile: release, distribution: \"{channel}-{kernel}\"}";
    pulp_layout_without_channel: "  pulp:\n    profile: release\n    layout: \"{kernel}\"\n  channels: [development, release]";
    pulp_label_key: "  pulp: {profile: release, labels: {team/a: b}}";
    pulp_label_reserved: "  pulp: {profile: release, labels: {drivetrain_cell: b}}";
    pulp_label_refused: "  pulp: {profile: release, labels: {team: \"storage (a)\"}}";
    pulp_label_characters: "  pulp: {profile: release, labels: {team: \" storage\"}}";
    pulp_label_placeholder: "  pulp: {profile: release, labels: {team: \"{os}\"}}";
    pulp_label_with_channel_and_no_channels: "  pulp: {profile: release, labels: {stage: \"{channel}\"}}";
    pulp_labels_as_list: "  pulp: {profile: release, labels: [a]}";
    pulp_numbers: "  pulp:\n    profile: release\n    connections: 33\n    chunk_mib: 0\n    keep: 1";
    pulp_adopt: "  pulp: {profile: release, adopt: always}";
    pulp_content_guard: "  pulp: {profile: release, content_guard: \"a\\tb\"}";
    pulp_signing_service: "  pulp: {profile: release, signing_service: \"a\\tb\"}";
}

macro_rules! building {
    ($($name:ident: $builder:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let error = changed("builder:\n  kind: sandbox\n", &format!("builder:\n{}\n", $builder));
                insta::assert_snapshot!(stringify!($name), error);
            }
        )*
    };
}

building! {
    builder_kind_misspelt: "  kind: opnstack";
    builder_without_its_section: "  kind: ssh";
    builder_with_anothers_section: "  kind: qemu\n  qemu: {image: a.qcow2}\n  ssh: {host: b}\n  work: /var/tmp";
    builder_machine_on_this_host: "  kind: sandbox\n  machine: {lease: 2}";
    builder_host_as_option: "  kind: ssh\n  ssh: {host: -oProxyCommand=id}";
    builder_host_with_login: "  kind: ssh\n  ssh: {host: \"root@builder\", port: 70000}";
    builder_openstack_incomplete: "  kind: openstack\n  openstack: {cloud: site, image: rocky, flaver: big}";
    builder_directory_for_a_shell: "  kind: ssh\n  ssh: {host: b}\n  machine: {directory: \"/var/$(id)\"}";
    builder_numbers: "  kind: qemu\n  qemu: {image: a, memory: 4, cpus: 0}\n  machine: {lease: 1000}";
    builder_prepare: "  kind: qemu\n  qemu: {image: a}\n  prepare: {exec: [tmp], packages: [--all], reboot: true}";
    builder_root_of_a_machine: "  kind: qemu\n  qemu: {image: a}\n  root: train\n  packages: [gcc]";
    builder_packages_of_this_host: "  kind: sandbox\n  packages: [gcc]";
    builder_root_misspelt: "  root: trian\n  packages: [--all]";
    builder_kayobe: "  kind: qemu
  qemu: {image: a}
  prepare:
    kayobe:
      enviroment: lab
      group: sed
      host_configure: {tags: [\"a,b\"], skip: [b]}
      playbooks: [../grow.yml, /etc/kayobe/grow.yml]
      variables: {ansible_host: a, grow-group: b}
      vault_password: opens-the-vault
      deadline: 0";
    builder_kayobe_with_two_passwords: "  kind: ssh
  ssh: {host: b}
  prepare:
    kayobe: {configuration: a, vault_password: \"${ARK_PASSWORD}\", vault_password_file: b}";
    builder_kayobe_with_nothing_to_do: "  kind: ssh
  ssh: {host: b}
  prepare: {kayobe: {configuration: a, host_configure: false}}";
    builder_image_on_a_server: "  kind: qemu\n  qemu: {image: \"https://example.com/rocky.qcow2\"}";
}

#[test]
fn vendor_tool_on_a_host() {
    let good = GOOD.replace("  version: 3.2.0", "  version: 3.2.0\n  build: vendor-tool");
    let on = |rest: &str| {
        let builder = format!("builder:\n  kind: ssh\n  ssh: {{host: b}}\n{rest}");
        good.replace("builder:\n  kind: sandbox\n", &builder)
    };
    insta::assert_snapshot!("vendor_tool_on_a_host_as_it_is", error_of(&on("")));
    let hidden = on("  machine: {directory: /tmp/x}\n  prepare: {}\n");
    insta::assert_snapshot!("vendor_tool_below_tmp", error_of(&hidden));
    parse(&on("  prepare: {}\n"), "drivetrain.yaml", &environment, Utf8Path::new("/site")).unwrap();
}

#[test]
fn empty_file() {
    insta::assert_snapshot!("empty_file", error_of("# nothing but a comment\n"));
}

#[test]
fn root_is_no_mapping() {
    insta::assert_snapshot!("root_is_no_mapping", error_of("- train\n- driver\n"));
}

#[test]
fn many_mistakes_at_once() {
    let mut text =
        GOOD.replace("x86_64", "sparc").replace("3.2.0", "3 2").replace("keys/vendor", "ftp://a/b");
    text.push_str("  directry: {}\nunknown: 1\n");
    insta::assert_snapshot!("many_mistakes_at_once", error_of(&text));
}

#[test]
fn more_mistakes_than_are_shown() {
    let mut text = GOOD.to_owned();
    for number in 0..40 {
        text.push_str(&format!("key{number}: 1\n"));
    }
    let error = error_of(&text);
    assert_eq!(error.matches("unknown key").count(), 25);
    assert!(error.ends_with("and 15 more mistakes"), "{error}");
}

#[test]
fn huge_file() {
    insta::assert_snapshot!("huge_file", error_of(&" ".repeat(1024 * 1024 + 1)));
}

#[test]
fn alias_bomb() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", ")));
    }
    let started = std::time::Instant::now();
    insta::assert_snapshot!("alias_bomb", error_of(&text));
    assert!(started.elapsed().as_secs() < 2);
}

#[test]
fn deep_nesting() {
    for text in
        [format!("a: {}", "[".repeat(100_000)), "- ".repeat(100_000), format!("a: {}", "{b: ".repeat(50_000))]
    {
        assert!(error_of(&text).contains("drivetrain.yaml:1:"));
    }
}
