//! Configurations as sites have them, and as they have them by mistake.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_kayobe::{KayobeError, Layers, Password, Request, Site, Variables, derive, given};
use tempfile::TempDir;

/// Encrypted by ansible-vault with the password `wrk-pass`: hunter2.
const SEALED: &str = include_str!("sealed.yml.in");
/// A whole file, as `ansible-vault encrypt` leaves it: `a: secret-value`, and `b`, a template with it.
const SEALED_FILE: &str = "$ANSIBLE_VAULT;1.1;AES256
64663535396538363363373765326665343663623465343833666338326333343539653735636238
3830396338313934333835636238646536656333346438640a353831336465303638646262613665
37666266343761303063613631303561313538626636336139306264376130383461633230356366
6663376235363336650a353435666339376331323766323762666133393537386463623736396132
38356165316661393339323362363461376165666365666638666463313939383830
";

const PULP: &str = "---
stackhpc_release_pulp_url: https://ark.example.com
stackhpc_release_pulp_content_url: \"{{ stackhpc_release_pulp_url }}/pulp/content\"
stackhpc_release_pulp_username: publisher
stackhpc_release_pulp_password: \"{{ secrets_password }}\"
stackhpc_pulp_repo_rocky_9_minor_version: 4
stackhpc_pulp_repo_rocky_9_baseos_version: \"{{ lookup('vars', 'stackhpc_pulp_repo_rocky_9_%s_baseos_version' % stackhpc_pulp_repo_rocky_9_minor_version) }}\"
";
const DNF: &str = "---
dnf_custom_repos_rocky_9:
  baseos:
    baseurl: \"{{ stackhpc_release_pulp_content_url }}/rocky/9.{{ stackhpc_pulp_repo_rocky_9_minor_version }}/BaseOS/x86_64/os/{{ stackhpc_pulp_repo_rocky_9_baseos_version }}\"
    gpgkey: https://keys.example.com/rocky
    username: \"{{ mirror_username | default(omit, true) }}\"
    password: \"{{ mirror_password | default(omit, true) }}\"
  security:
    baseurl: \"{{ what_is_not_needed }}\"
    includepkgs: \"openssh*\"
  testing:
    baseurl: \"{{ what_is_not_needed }}\"
    enabled: \"{{ dnf_enable_testing | bool }}\"
dnf_enable_testing: no
mirror_username:
";
const OFED: &str = "---
stackhpc_pulp_doca_ofed_version: '3.2.1'
stackhpc_pulp_repo_doca_ofed_rhel9:
  name: DOCA OFED
  url: \"{{ stackhpc_release_pulp_content_url }}/doca_ofed/{{ stackhpc_pulp_doca_ofed_version }}/rhel9\"
  base_path: \"doca_ofed/{{ stackhpc_pulp_doca_ofed_version }}/rhel9\"
  distribution_name: \"doca-ofed-{{ stackhpc_pulp_doca_ofed_version }}-\"
";

struct Checkout {
    directory: TempDir,
}

impl Checkout {
    /// What a site has: the files of a release, in small.
    fn site() -> Self {
        Self::of(&[
            ("globals.yml", "nothing: here\n"),
            ("pulp.yml", PULP),
            ("dnf.yml", DNF),
            ("ofed.yml", OFED),
            ("pulp-repo-versions.yml", "stackhpc_pulp_repo_rocky_9_4_baseos_version: 20240816T002610\n"),
            ("secrets.yml", &format!("secrets_password: {SEALED}")),
        ])
    }

    fn of(files: &[(&str, &str)]) -> Self {
        let checkout = Self { directory: TempDir::new().unwrap() };
        for (name, text) in files {
            checkout.write(name, text);
        }
        checkout
    }

    fn root(&self) -> &Utf8Path {
        Utf8Path::from_path(self.directory.path()).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        let path: Utf8PathBuf = self.root().join("etc/kayobe").join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn with(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self
    }

    fn variables<T>(
        &self,
        environment: Option<&str>,
        then: impl FnOnce(&Variables<'_>) -> Result<T, KayobeError>,
    ) -> Result<T, KayobeError> {
        let layers = Layers::find(self.root(), environment)?;
        let env = |name: &str| (name == "SITE_TOKEN").then(|| "from-the-environment".to_owned());
        let known = given(&layers, "9", "x86_64");
        then(&Variables::read(&layers, Password::new("wrk-pass"), &env, known)?)
    }

    /// What one variable comes to.
    fn value(&self, environment: Option<&str>, path: &str) -> Result<Option<String>, KayobeError> {
        self.variables(environment, |variables| {
            let path: Vec<&str> = path.split('.').collect();
            Ok(variables.resolve(&path)?.map(|resolved| {
                let value = resolved.value;
                value.text().unwrap_or_else(|| format!("({})", value.kind()))
            }))
        })
    }

    fn derived(&self, given: &[&str]) -> Result<Site, KayobeError> {
        self.variables(None, |variables| {
            let given = |key: &str| given.contains(&key);
            derive(variables, &Request { release: "9", arch: "x86_64", repositories: None, given: &given })
        })
    }

    fn refusal(&self, given: &[&str]) -> String {
        self.derived(given).unwrap_err().to_string()
    }
}

fn shown(site: &Site) -> String {
    let mut text = String::new();
    for value in &site.values {
        writeln!(text, "{} = {}\n    {}", value.key, value.value.shown(), value.origin).unwrap();
        for step in &value.chain {
            writeln!(text, "      {step}").unwrap();
        }
    }
    for note in &site.notes {
        writeln!(text, "note: {note}").unwrap();
    }
    for absent in &site.absent {
        writeln!(text, "absent: {} ({})", absent.key, absent.looked_for.join(", ")).unwrap();
    }
    text
}

#[test]
fn each_value_is_derived_with_the_lines_that_it_comes_from() {
    insta::assert_snapshot!("derived", shown(&Checkout::site().derived(&["publish.pulp"]).unwrap()));
}

#[test]
fn what_drivetrain_is_told_is_not_looked_for() {
    // The password cannot be evaluated: nobody asks for it.
    let checkout = Checkout::site().with("secrets.yml", "secrets_password: \"{{ missing }}\"\n");
    let site = checkout
        .derived(&[
            "driver.version",
            "train.repositories.baseos.url",
            "publish.pulp",
            "publish.pulp.credentials",
        ])
        .unwrap();
    let keys: Vec<&str> = site.values.iter().map(|value| value.key.as_str()).collect();
    assert_eq!(keys, ["train.name", "publish.pulp.url", "publish.pulp.layout", "publish.pulp.distribution"]);
}

#[test]
fn a_secret_is_neither_shown_nor_written() {
    let site = Checkout::site().derived(&["publish.pulp"]).unwrap();
    let password = site.values.iter().find(|value| value.key == "publish.pulp.credentials.password").unwrap();
    assert_eq!(password.value.expose(), "hunter2");
    assert!(!serde_json::to_string(&site).unwrap().contains("hunter2"));
    assert!(!format!("{site:?}").contains("hunter2"));
}

#[test]
fn environments_have_the_last_word_in_the_order_of_their_dependencies() {
    let checkout = Checkout::of(&[
        ("globals.yml", "a: base\nb: base\nc: base\nd: base\n"),
        ("z.yml", "b: z\n"),
        ("inventory/group_vars/all/first", "a: group\ne: group\n"),
        ("environments/common/x.yml", "c: common\nd: common\n"),
        ("environments/prod/.kayobe-environment", "dependencies:\n  - common\n"),
        ("environments/prod/x.yml", "d: prod\n"),
        ("environments/prod/inventory/group_vars/all.yml", "e: group of prod\nf: group of prod\n"),
        ("environments/other/x.yml", "a: other\n"),
    ]);
    let value = |environment, name| checkout.value(environment, name).unwrap().unwrap();
    assert_eq!(
        ["a", "b", "c", "d", "e"].map(|name| value(Some("prod"), name)),
        ["base", "z", "common", "prod", "group of prod"]
    );
    assert_eq!(["c", "e"].map(|name| value(None, name)), ["base", "group"]);
    assert_eq!(checkout.value(None, "f").unwrap(), None);
}

#[test]
fn the_checkout_and_its_configuration_are_the_same() {
    let checkout = Checkout::site();
    let whole = Layers::find(checkout.root(), None).unwrap();
    assert_eq!(Layers::find(&checkout.root().join("etc/kayobe"), None).unwrap(), whole);
    let why = Layers::find(&checkout.root().join("etc"), None).unwrap_err().to_string();
    assert!(why.contains("is no Kayobe configuration"), "{why}");
}

#[test]
fn an_environment_that_is_missing_or_goes_in_a_circle_is_told() {
    let checkout = Checkout::of(&[
        ("globals.yml", "nothing: here\n"),
        ("environments/a/.kayobe-environment", "dependencies: [b]\n"),
        ("environments/b/.kayobe-environment", "dependencies: [a]\n"),
        ("environments/c/.kayobe-environment", "dependencies: b\n"),
    ]);
    let why = |name| Layers::find(checkout.root(), Some(name)).unwrap_err().to_string();
    assert!(why("x").contains("there is a, b, c"), "{}", why("x"));
    assert!(why("../a").contains("there is no environment"), "{}", why("../a"));
    assert!(why("a").contains("a, b depend on each other in a circle"), "{}", why("a"));
    assert!(
        why("c").contains("environments/c/.kayobe-environment:1: `dependencies` is a list"),
        "{}",
        why("c")
    );
}

#[test]
fn a_whole_file_that_is_encrypted_is_read() {
    let checkout = Checkout::of(&[("globals.yml", "c: \"{{ b }}\"\n"), ("secrets.yml", SEALED_FILE)]);
    assert_eq!(checkout.value(None, "c").unwrap().unwrap(), "secret-value-2");
    let secret =
        checkout.variables(None, |variables| Ok(variables.resolve(&["c"])?.unwrap().secret)).unwrap();
    assert!(secret);
}

#[test]
fn a_vault_without_its_password_is_told_where_it_is_needed_and_not_before() {
    let checkout = Checkout::of(&[("globals.yml", &format!("a: 1\nb: {SEALED}c: \"{{{{ b }}}}\"\n"))]);
    let layers = Layers::find(checkout.root(), None).unwrap();
    let env = |_: &str| None;
    let variables = |password| Variables::read(&layers, password, &env, given(&layers, "9", "x86_64"));
    let without = variables(None).unwrap();
    assert!(without.resolve(&["a"]).is_ok());
    let why = without.resolve(&["c"]).unwrap_err().to_string();
    assert!(why.starts_with("etc/kayobe/globals.yml:2: b is encrypted"), "{why}");
    let wrong = variables(Password::new("wrong")).unwrap();
    let why = wrong.resolve(&["c"]).unwrap_err().to_string();
    assert!(why.contains("globals.yml:2: b cannot be decrypted: the password is wrong"), "{why}");
    // Of a whole file nobody knows what it would say.
    checkout.write("secrets.yml", SEALED_FILE);
    let why = variables(None).unwrap_err().to_string();
    assert!(why.starts_with("etc/kayobe/secrets.yml:1: the file is encrypted"), "{why}");
}

#[test]
fn what_cannot_be_evaluated_is_named_with_its_line_and_who_asked() {
    let checkout = Checkout::of(&[(
        "globals.yml",
        "pipe: \"{{ lookup('pipe', 'id') }}\"
outer: \"a {{ pipe }}\"
undefined: \"{{ outer2 }}/x\"
outer2: \"{{ nowhere | lower }}\"
filter: \"{{ 'a' | to_nice_yaml }}\"
hosts: \"{{ groups.seed }}\"
one: \"{{ two }}\"
two: \"{{ three ~ '' }}\"
three: \"{{ one }}\"
broken: \"{{ a b }}\"
block: \"{% for x in [1] %}{{ x }}{% endfor %}\"
element: \"{{ {'a': 1}.b }}\"
self: \"{{ self }}\"
",
    )]);
    let names = ["outer", "undefined", "filter", "hosts", "one", "broken", "block", "element", "self"];
    let mut text = String::new();
    for name in names {
        writeln!(text, "{}\n", checkout.value(None, name).unwrap_err()).unwrap();
    }
    insta::assert_snapshot!("not_evaluated", text);
}

#[test]
fn what_a_default_may_stand_in_for_is_what_is_not_defined() {
    let checkout = Checkout::of(&[(
        "globals.yml",
        "a: \"{{ nowhere | default('x') }}\"
b: \"{{ c | default('y') }}\"
c: \"{{ nowhere }}\"
d: \"{{ (nowhere | lower) | default('z') }}\"
e: \"{{ none_ | default('f', true) }}\"
none_:
g: \"{{ nowhere.deep.er | default('g') }}\"
h: \"{{ 'yes' if nowhere is defined else 'no' }}\"
i: \"{{ pipe | default('i') }}\"
pipe: \"{{ lookup('pipe', 'id') }}\"
",
    )]);
    let value = |name| checkout.value(None, name).unwrap().unwrap();
    assert_eq!(["a", "b", "e", "g", "h"].map(value), ["x", "y", "f", "g", "no"]);
    assert!(matches!(checkout.value(None, "d"), Err(KayobeError::Undefined { .. })));
    assert!(matches!(checkout.value(None, "i"), Err(KayobeError::Evaluate { .. })));
}

#[test]
fn a_value_of_the_environment_is_a_secret() {
    let checkout = Checkout::of(&[("globals.yml", "a: \"{{ lookup('env', 'SITE_TOKEN') }}\"\n")]);
    let (text, secret) = checkout
        .variables(None, |variables| {
            let resolved = variables.resolve(&["a"])?.unwrap();
            Ok((resolved.value.text(), resolved.secret))
        })
        .unwrap();
    assert_eq!((text.as_deref(), secret), (Some("from-the-environment"), true));
}

#[test]
fn a_url_that_points_elsewhere_than_the_base_path_is_refused_with_both_lines() {
    let ofed = OFED.replace("base_path: \"doca_ofed/", "base_path: \"mlnx_ofed/");
    let checkout = Checkout::site().with("ofed.yml", &ofed);
    insta::assert_snapshot!("disagreement", checkout.refusal(&["publish.pulp"]));
    // Who says where to publish decides it, and who does not publish to Pulp has no part in it.
    assert!(checkout.derived(&["publish.pulp", "publish.pulp.layout"]).is_ok());
    assert!(checkout.derived(&[]).is_ok());
}

#[test]
fn later_releases_are_found_by_what_is_there() {
    let later = "---
stackhpc_pulp_doca_version: '3.2.2'
ofed_version: \"{{ lookup('vars', 'stackhpc_pulp_repo_doca_%s_rhel%s_%s_modules_version' % (stackhpc_pulp_doca_version | replace('.', '_'), 9, stackhpc_pulp_repo_rocky_9_minor_version)) }}\"
stackhpc_pulp_repo_doca_3_2_2_rhel9_4_modules_version: 5.14.0-427.31.1.el9_4.x86_64
stackhpc_pulp_rpm_repos:
  - name: Something else
    base_path: \"{{ lookup('pipe', 'true') }}\"
  - name: DOCA for RHEL 9
    url: \"{{ stackhpc_release_pulp_content_url }}/doca/{{ stackhpc_pulp_doca_version }}/rhel9/x86_64/20260520T124124\"
    base_path: \"doca/{{ stackhpc_pulp_doca_version }}/rhel9/x86_64/\"
  - name: DOCA OFED modules for RHEL 9
    url: \"{{ stackhpc_release_pulp_content_url }}/doca-modules/{{ stackhpc_pulp_doca_version }}/rhel9.4/x86_64/{{ ofed_version }}\"
    base_path: \"doca-modules/{{ stackhpc_pulp_doca_version }}/rhel9.4/x86_64/\"
    distribution_name: \"doca-modules-rhel9-\"
  - name: DOCA OFED modules for RHEL 9 on Arm
    base_path: \"doca-modules/{{ stackhpc_pulp_doca_version }}/rhel9.4/aarch64/\"
  - name: DOCA OFED modules for RHEL 10
    base_path: \"doca-modules/{{ stackhpc_pulp_doca_version }}/rhel10.2/x86_64/\"
";
    let checkout = Checkout::site().with("ofed.yml", later);
    let site = checkout.derived(&["publish.pulp", "train.repositories.baseos.url"]).unwrap();
    insta::assert_snapshot!("later", shown(&site));
}

#[test]
fn a_version_that_only_names_of_variables_have_is_found_there() {
    let versions = "---
stackhpc_pulp_repo_rocky_9_4_baseos_version: 20240816T002610
stackhpc_pulp_repo_doca_2_9_1_rhel9_4_modules_version: 20241213T112245
stackhpc_pulp_repo_doca_2_9_1_rhel9_4_version: 20241211T153620
stackhpc_pulp_repo_doca_3_2_2_rhel9_4_modules_aarch64_version: 20260615T122946
stackhpc_pulp_repo_doca_3_2_3_rhel9_8_modules_version: 20260720T160316
";
    let checkout =
        Checkout::site().with("ofed.yml", "nothing: here\n").with("pulp-repo-versions.yml", versions);
    let site = checkout.derived(&[]).unwrap();
    let version = site.values.iter().find(|value| value.key == "driver.version").unwrap();
    assert_eq!((version.value.shown(), version.origin.place.line), ("2.9.1", 3));
    let twice = format!("{versions}stackhpc_pulp_repo_doca_2_9_3_rhel9_4_modules_version: 20250714T141841\n");
    let site = checkout.with("pulp-repo-versions.yml", &twice).derived(&[]).unwrap();
    assert!(site.absent[0].looked_for[3].starts_with("exactly one of"), "{:?}", site.absent);
}

#[test]
fn a_release_without_drivers_says_so() {
    let checkout = Checkout::site().with("ofed.yml", "nothing: here\n");
    let site = checkout.derived(&["publish.pulp"]).unwrap();
    let absent: Vec<&str> = site.absent.iter().map(|absent| absent.key.as_str()).collect();
    assert_eq!(absent, ["driver.version", "driver.repository", "publish.pulp.layout"]);
}

#[test]
fn files_that_are_missing_or_half_edited_are_told() {
    let snapshots = Checkout::site().with("pulp-repo-versions.yml", "nothing: here\n");
    let why = snapshots.refusal(&[]);
    assert!(
        why.contains("etc/kayobe/pulp.yml:7")
            && why.contains("needs stackhpc_pulp_repo_rocky_9_4_baseos_version, which is not defined"),
        "{why}"
    );
    let merge = Checkout::site().with("dnf.yml", "a: 1\n<<<<<<< HEAD\nb: 2\n=======\n");
    assert!(merge.refusal(&[]).starts_with("etc/kayobe/dnf.yml:"), "{}", merge.refusal(&[]));
    for cut in ["", "---\n", "# all of it is a comment\n"] {
        let why = Checkout::site().with("dnf.yml", cut).refusal(&[]);
        assert!(
            why.starts_with("etc/kayobe/dnf.yml:1: the file defines nothing, and Ansible refuses"),
            "{why}"
        );
    }
    let gone = Checkout::site().with("dnf.yml", "nothing: here\n");
    let site = gone.derived(&["driver.version"]).unwrap();
    assert_eq!(site.absent[0].key, "train.repositories");
    let list = Checkout::site().with("ofed.yml", "stackhpc_pulp_doca_ofed_version: [3, 2]\n");
    let why = list.refusal(&[]);
    assert!(why.contains("stackhpc_pulp_doca_ofed_version (etc/kayobe/ofed.yml:1) must be a text"), "{why}");
}

#[test]
fn a_version_that_is_a_number_to_yaml_is_noted() {
    let checkout = Checkout::site().with("ofed.yml", "stackhpc_pulp_doca_ofed_version: 24.10\n");
    let site = checkout.derived(&[]).unwrap();
    let version = site.values.iter().find(|value| value.key == "driver.version").unwrap();
    assert_eq!(version.value.shown(), "24.1");
    assert!(
        site.notes.iter().any(|note| note.contains("written as 24.10 and is the number 24.1")),
        "{:?}",
        site.notes
    );
}

#[test]
fn another_architecture_is_refused() {
    let checkout = Checkout::site().with("dnf.yml", &DNF.replace("x86_64", "aarch64"));
    let why = checkout.refusal(&[]);
    assert!(why.contains("one of aarch64"), "{why}");
}

#[test]
fn too_much_of_anything_ends() {
    let mut chain = String::new();
    for index in 0..2000 {
        writeln!(chain, "v{index}: \"{{{{ v{} }}}}\"", index + 1).unwrap();
    }
    let checkout = Checkout::of(&[("globals.yml", &chain)]);
    assert!(checkout.value(None, "v0").unwrap_err().to_string().contains("too many variables"));
    let deep = format!("a: \"{{{{ {}1{} }}}}\"\n", "(".repeat(5000), ")".repeat(5000));
    assert!(Checkout::of(&[("globals.yml", &deep)]).value(None, "a").is_err());
    let doubled = "a0: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".to_owned()
        + &(1..40).map(|n| format!("a{n}: \"{{{{ a{m} ~ a{m} }}}}\"\n", m = n - 1)).collect::<String>();
    assert!(Checkout::of(&[("globals.yml", &doubled)]).value(None, "a39").is_err());
}

proptest::proptest! {
    #[test]
    fn any_file_is_read_or_refused_and_any_variable_evaluated_or_refused(
        text in "([a-d]: |\\{\\{ ?| ?\\}\\}|\\{% if | %\\}|\n|\"|'|\\| ?(default|bool|join|first|string|length)|lookup\\('vars', '[a-d]'\\)|[a-d0-9~+*%().,\\[\\]!&* -]){0,60}"
    ) {
        let env = |_: &str| None;
        let mut variables = Variables::empty(Password::new("x"), &env, std::collections::BTreeMap::new());
        if variables.add("site.yml".into(), &text).is_ok() {
            let names: Vec<String> = variables.names().map(str::to_owned).collect();
            for name in names {
                if let Err(error) = variables.resolve(&[&name]) {
                    let said = error.to_string();
                    proptest::prop_assert!(said.contains("site.yml"), "{}", said);
                }
            }
        }
    }

    #[test]
    fn any_text_behind_a_vaults_header_is_refused(text in "[0-9a-f\n]{0,200}") {
        let vault = format!("$ANSIBLE_VAULT;1.1;AES256\n{text}");
        proptest::prop_assert!(drivetrain_kayobe::vault::open(&vault, &Password::new("x").unwrap()).is_err());
    }
}
