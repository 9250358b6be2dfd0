//! `train.kayobe`: values that are read elsewhere, among those of the file.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use drivetrain_config::{
    Config, KayobeTrain, Secret, Secretive, SiteValue, SiteValues, VaultPassword, parse, parse_site,
};

const REST: &str = "
driver:
  name: doca-ofed
  repository: {keys: [vendor]}
publish: {directory: {path: published}}
";

fn value(key: &str, value: Secretive) -> SiteValue {
    SiteValue {
        key: key.to_owned(),
        value,
        variable: key.replace('.', "_"),
        place: "etc/kayobe/x.yml:7".to_owned(),
        chain: Vec::new(),
    }
}

/// What a site says, in small.
fn site(_: &KayobeTrain, given: &dyn Fn(&str) -> bool) -> Result<SiteValues, String> {
    let plain = |key, text: &str| value(key, Secretive::Plain(text.to_owned()));
    let mut values = vec![
        plain("train.name", "rocky-9.4"),
        plain("train.repositories.baseos.url", "https://ark.example.com/9.4/{snapshot}/"),
        plain("train.repositories.baseos.snapshot", "20240816T002610"),
        plain("train.repositories.baseos.username", "site"),
        value("train.repositories.baseos.password", Secretive::Secret(Secret::new("hunter2"))),
        plain("train.repositories.baseos.keys", "https://keys.example.com/a https://keys.example.com/b"),
        plain("driver.repository.url", "https://ark.example.com/doca/{version}/"),
        plain("the host image's version", "9.4-1"),
    ];
    if !given("driver.version") {
        values.push(plain("driver.version", "3.2.1"));
    }
    Ok(SiteValues { identity: "/site, at abc".to_owned(), values, ..SiteValues::default() })
}

fn read(train: &str, rest: &str) -> Result<Config, String> {
    let text = format!("train:\n  kayobe: {{path: ../kayobe-config, release: \"9\"{train}}}\n{rest}");
    let env = |name: &str| (name == "PASSWORD").then(|| "swordfish".to_owned());
    let mut cells = parse_site(&text, "drivetrain.yaml", &[], &env, "/site/trains".into(), &site)
        .map_err(|error| error.to_string())?;
    Ok(cells.remove(0).config)
}

#[test]
fn what_the_site_says_is_as_if_it_stood_in_the_file() {
    let config = read("", REST).unwrap();
    assert_eq!((config.train.name.as_str(), config.driver.version.as_str()), ("rocky-9.4", "3.2.1"));
    let (_, baseos) = config.train.repositories.iter().next().unwrap();
    assert_eq!(baseos.url.as_str(), "https://ark.example.com/9.4/20240816T002610/");
    assert_eq!(baseos.credentials.as_ref().unwrap().password.expose(), "hunter2");
    assert_eq!(baseos.keys.len(), 2);
    assert_eq!(config.driver.repository.url.as_str(), "https://ark.example.com/doca/3.2.1/");
    let origin = config.train.kayobe.as_ref().unwrap();
    assert_eq!(
        (origin.source.path.as_str(), origin.identity.as_str()),
        ("/site/kayobe-config", "/site, at abc")
    );
    let evidence = serde_json::to_string(&config.effective()).unwrap();
    assert!(evidence.contains("etc/kayobe/x.yml:7") && evidence.contains("9.4-1"), "{evidence}");
    assert!(!evidence.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
}

#[test]
fn what_the_file_says_itself_wins_and_is_told() {
    let rest = "  name: mine
  repositories:
    baseos: {priority: 10}
    more: {url: \"https://more.example.com/\", verify: checksums-only}
driver:
  name: doca-ofed
  version: 3.2.0
  repository: {keys: [vendor]}
publish: {directory: {path: published}}
";
    let config = read(", username: me, password: \"${PASSWORD}\"", rest).unwrap();
    assert_eq!((config.train.name.as_str(), config.driver.version.as_str()), ("mine", "3.2.0"));
    let repositories: Vec<_> = config.train.repositories.values().collect();
    assert_eq!((repositories.len(), repositories[0].priority), (2, 10));
    assert_eq!(repositories[0].url.as_str(), "https://ark.example.com/9.4/20240816T002610/");
    let notes = config.train.kayobe.as_ref().unwrap().notes.join("\n");
    assert!(notes.contains("train.name is what this configuration says itself in line 3"), "{notes}");
    assert!(notes.contains("driver.version is what this configuration says itself in line 9"), "{notes}");
}

#[test]
fn a_login_of_the_file_takes_the_place_of_the_sites() {
    let without = |source: &KayobeTrain, given: &dyn Fn(&str) -> bool| {
        let mut values = site(source, given)?;
        assert!(source.has_login);
        values.values.retain(|value| !value.key.ends_with("name") || value.key == "train.name");
        values.values.retain(|value| !value.key.ends_with(".password"));
        Ok(values)
    };
    let text = format!(
        "train: {{kayobe: {{path: x, release: \"9\", username: me, password: \"${{PASSWORD}}\"}}}}\n{REST}"
    );
    let env = |name: &str| (name == "PASSWORD").then(|| "swordfish".to_owned());
    let cells = parse_site(&text, "drivetrain.yaml", &[], &env, "/site".into(), &without).unwrap();
    let credentials =
        cells[0].config.train.repositories.values().next().unwrap().credentials.clone().unwrap();
    assert_eq!((credentials.username.expose(), credentials.password.expose()), ("me", "swordfish"));
}

#[test]
fn the_vaults_password_comes_from_a_file_or_the_environment() {
    let password =
        |more: &str| read(more, REST).map(|config| config.train.kayobe.unwrap().source.vault_password);
    assert_eq!(
        password(", vault_password: {file: ../password}").unwrap(),
        Some(VaultPassword::File("/site/password".into()))
    );
    let Some(VaultPassword::Given(secret)) = password(", vault_password: {env: PASSWORD}").unwrap() else {
        panic!("no password")
    };
    assert_eq!((secret.expose(), secret.variable()), ("swordfish", Some("PASSWORD")));
    for more in [
        ", vault_password: {env: NOWHERE}",
        ", vault_password: {}",
        ", vault_password: {env: PASSWORD, file: x}",
        ", vault_password: swordfish",
    ] {
        assert!(password(more).is_err(), "{more}");
    }
    assert!(!password(", vault_password: swordfish").unwrap_err().contains("swordfish"));
}

#[test]
fn what_is_wrong_is_told_in_the_line_of_the_section() {
    let broken =
        |_: &KayobeTrain, _: &dyn Fn(&str) -> bool| Err("etc/kayobe/x.yml:3: this is not YAML".to_owned());
    let text = format!("train:\n  kayobe: {{path: x, release: \"9\"}}\n{REST}");
    let env = |_: &str| None;
    let why = |text: &str| {
        parse_site(text, "drivetrain.yaml", &[], &env, "/site".into(), &broken).unwrap_err().to_string()
    };
    assert!(
        why(&text)
            .starts_with("drivetrain.yaml:2:3: the train cannot be read from /site/x: etc/kayobe/x.yml:3")
    );
    assert!(why(&text.replace("\"9\"", "9.4")).contains("a major release is a number such as 9"));
    assert!(why(&text.replace("path", "paht")).contains("did you mean \"path\""));
    assert!(why(&text.replace(", release: \"9\"", "")).contains("lacks the key \"release\""));
    let absent = |_: &KayobeTrain, _: &dyn Fn(&str) -> bool| {
        let absent = vec![("driver.version".to_owned(), vec!["doca_version".to_owned()])];
        Ok(SiteValues { identity: "/site".to_owned(), absent, ..SiteValues::default() })
    };
    let error =
        parse_site(&text, "drivetrain.yaml", &[], &env, "/site".into(), &absent).unwrap_err().to_string();
    assert!(
        error.contains("driver.version is not in the configuration of /site: none of doca_version is there")
    );
    // Who reads nothing says so.
    let error = parse(&text, "drivetrain.yaml", &env, "/site".into()).unwrap_err().to_string();
    assert!(error.contains("nothing here reads a site's configuration"), "{error}");
}
