//! Values of a command line in place of the file's.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use camino::Utf8Path;
use drivetrain_config::{Config, ConfigError, parse, parse_with};
use drivetrain_model::{KernelPolicy, KernelRelease};

const FILE: &str = "train:
  name: rocky-9.4
  arch: x86_64
  kernel: latest
  keys: [keys/train]
  repositories:
    baseos: {url: \"https://ark.example.com/baseos\", username: svc, password: hunter2}
driver:
  name: doca-ofed
  version: 3.2.0
  repository: {url: \"https://vendor.example.com/{version}/{arch}/\", keys: [keys/vendor]}
publish:
  directory: {path: published}";

fn read(overrides: &[&str]) -> Result<Config, ConfigError> {
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    let env = |name: &str| (name == "ARK").then(|| "hunter2".to_owned());
    // The file has its password as it stands, which is refused: unless the command line says better.
    let file = FILE.replace("password: hunter2", "password: \"${ARK}\"");
    parse_with(&file, "drivetrain.yaml", &overrides, &env, Utf8Path::new("/site"))
}

/// The error, which shows no secret.
fn refused(overrides: &[&str]) -> String {
    let text = read(overrides).unwrap_err().to_string();
    assert!(!text.contains("hunter2"), "{text}");
    text
}

#[test]
fn a_value_takes_the_place_of_the_files_and_keeps_the_rest() {
    let config = read(&["driver.version=3.10", "train.kernel=newest-buildable", "builder.jobs=3"]).unwrap();
    assert_eq!(config.driver.version.as_str(), "3.10");
    assert_eq!(config.train.kernel, KernelPolicy::NewestBuildable);
    let url = config.driver.repository.url.to_string();
    assert!(url.contains("/3.10/x86_64"), "what is made of a value is made of the new one: {url}");
    assert_eq!(config.train.name.as_str(), "rocky-9.4");
    assert_eq!(read(&[]).unwrap(), read(&["driver.version=3.2.0"]).unwrap());
}

#[test]
fn a_value_may_be_yaml_in_one_line() {
    let release = "5.14.0-427.31.1.el9_4.x86_64";
    let config = read(&[&format!("train.kernel={{ceiling: {release}}}"), "train.keys=[a, b]"]).unwrap();
    assert_eq!(config.train.kernel, KernelPolicy::Ceiling(KernelRelease::parse(release).unwrap()));
    let config = read(&["driver.version=\"3.2.1\""]).unwrap();
    assert_eq!(config.driver.version.as_str(), "3.2.1");
}

#[test]
fn a_secret_of_the_file_is_hidden_although_another_takes_its_place() {
    let env = |_: &str| Some("x".to_owned());
    let file = FILE.replace("username: svc", "usrname: svc");
    let set = ["train.repositories.baseos.password=${ARK}".to_owned()];
    let error = parse_with(&file, "drivetrain.yaml", &set, &env, Utf8Path::new("/site")).unwrap_err();
    assert!(error.to_string().contains("usrname") && !error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn a_mistake_is_told_with_what_was_set() {
    insta::assert_snapshot!(refused(&[
        "driver.versoin=3.2.1",
        "train.kernel=newest-buildabel",
        "builder.kind=shh"
    ]));
    insta::assert_snapshot!(refused(&[
        "train.kernel={ceiling: \"a b\", cieling: 5}",
        "train.keys=[a, {b: c}]"
    ]));
}

#[test]
fn what_cannot_be_set_is_refused() {
    let long = format!("driver.version={}", "3".repeat(5000));
    insta::assert_snapshot!(refused(&[
        "driver.version",
        "driver..version=3",
        "driver version=3",
        "=3",
        "driver.name=",
        "driver.version.minor=3",
        "train.keys.0=a",
        "train.arch=x86_64",
        "train.arch=aarch64",
        "a.b.c.d.e.f.g.h.i=1",
        "train.kernel={exact: [}",
        "train.name=a\nb",
        "train.repositories.baseos.password=hunter2",
        &long,
    ]));
    let many = vec!["driver.version=3"; 70];
    assert!(refused(&many).contains("this is one of 70, and 64 are read"));
}

#[test]
fn without_any_a_mistake_is_told_as_ever() {
    let file = "train: {}\ndriver:";
    let parsed = |text: &str| parse(text, "f", &|_| None, Utf8Path::new("/site")).unwrap_err().to_string();
    assert!(parsed(file).starts_with("f:1:1: "), "{}", parsed(file));
    assert_eq!(parsed(file), parsed(&format!("{file}\n")));
}
