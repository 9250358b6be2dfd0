use super::*;

/// A directory with files, and what is found there.
fn find(files: &[(&str, &str)], source: &CloudSource, variables: &[(&str, &str)]) -> (String, Result<Cloud>) {
    let directory = tempfile::tempdir().unwrap();
    let home = Utf8PathBuf::try_from(directory.path().to_owned()).unwrap();
    let config = home.join(".config/openstack");
    fs_err::create_dir_all(&config).unwrap();
    for (name, text) in files {
        fs_err::write(config.join(name), text).unwrap();
    }
    let env = |name: &str| {
        let given = variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        given.or_else(|| (name == "HOME").then(|| home.to_string()))
    };
    (config.to_string(), Cloud::find(source, &Outside { env: &env }))
}

fn named(name: &str) -> CloudSource {
    CloudSource { cloud: Some(name.to_owned()), file: None }
}

const CLOUDS: &str = "
clouds:
  builders:
    auth: {auth_url: 'https://keystone.example:5000', username: jo, project_name: builders, user_domain_name: Staff}
    region_name: R1
    interface: internal
    network_endpoint_override: https://neutron.example/v2.0
  robot:
    auth:
      auth_url: https://keystone.example/identity/v3/
      application_credential_id: 0123
      application_credential_secret: hunter2
";

#[test]
fn a_cloud_is_found_with_its_secret_in_another_file() {
    let secure = "clouds: {builders: {auth: {password: hunter2}}}";
    let (_, cloud) = find(&[("clouds.yaml", CLOUDS), ("secure.yaml", secure)], &named("builders"), &[]);
    let cloud = cloud.unwrap();
    assert_eq!(cloud.auth_url.as_str(), "https://keystone.example:5000/v3");
    assert_eq!((cloud.region.as_deref(), cloud.interface.as_str()), (Some("R1"), "internal"));
    assert_eq!(cloud.overrides[&Service::Network].as_str(), "https://neutron.example/v2.0");
    insta::assert_snapshot!(
        cloud.auth.request(),
        @r#"{"auth":{"identity":{"methods":["password"],"password":{"user":{"domain":{"name":"Staff"},"name":"jo","password":"hunter2"}}},"scope":{"project":{"domain":{"id":"default"},"name":"builders"}}}}"#
    );
    assert!(!format!("{cloud:?}").contains("hunter2"), "{cloud:?}");
}

#[test]
fn an_application_credential_needs_no_user_and_no_project() {
    let (_, cloud) = find(&[("clouds.yaml", CLOUDS)], &named("robot"), &[]);
    let cloud = cloud.unwrap();
    assert_eq!(cloud.auth_url.as_str(), "https://keystone.example/identity/v3");
    insta::assert_snapshot!(
        cloud.auth.request(),
        @r#"{"auth":{"identity":{"application_credential":{"id":"0123","secret":"hunter2"},"methods":["application_credential"]}}}"#
    );
    assert!(!format!("{cloud:?}").contains("hunter2"), "{cloud:?}");
}

#[test]
fn the_variables_of_an_openrc_file_are_a_cloud() {
    let variables = [
        ("OS_AUTH_URL", "http://keystone:5000/v2.0"),
        ("OS_USERNAME", "jo"),
        ("OS_PASSWORD", "hunter2"),
        ("OS_PROJECT_NAME", "builders"),
        ("OS_ENDPOINT_TYPE", "publicURL"),
        ("OS_REGION_NAME", ""),
    ];
    let (_, cloud) = find(&[], &CloudSource::default(), &variables);
    let cloud = cloud.unwrap();
    assert_eq!(cloud.auth_url.as_str(), "http://keystone:5000/v3");
    assert_eq!((cloud.region.as_deref(), cloud.interface.as_str()), (None, "public"));
    // A name that is given comes before the variables.
    let (_, cloud) = find(&[("clouds.yaml", CLOUDS)], &CloudSource::default(), &[("OS_CLOUD", "robot")]);
    assert!(cloud.unwrap().source.starts_with("cloud robot of "));
}

#[test]
fn what_is_missing_or_not_done_is_said() {
    let base = "auth_url: http://k, username: jo, project_name: p";
    let one = |settings: &str| format!("clouds: {{c: {settings}}}");
    let cases = [
        ("", one("{}")),
        ("other", one("{}")),
        ("c", one("{}")),
        ("c", one(&format!("{{auth: {{{base}}}}}"))),
        ("c", one(&format!("{{auth: {{{base}, password: x}}, verify: False}}"))),
        ("c", one(&format!("{{auth: {{{base}, password: x}}, auth_type: v3oidcpassword}}"))),
        ("c", "clouds: [".to_owned()),
    ];
    let mut said = String::new();
    for (name, text) in cases {
        let source = CloudSource { cloud: Some(name.to_owned()).filter(|name| !name.is_empty()), file: None };
        let (directory, cloud) = find(&[("clouds.yaml", &text)], &source, &[]);
        said.push_str(&cloud.unwrap_err().to_string().replace(&directory, "DIR"));
        said.push('\n');
    }
    insta::assert_snapshot!(said, @r#"
    OpenStack's cloud: no cloud is named, and OS_AUTH_URL is not set; name a cloud of clouds.yaml, or set OS_CLOUD or the OS_… variables of an openrc file
    OpenStack's cloud "other": DIR/clouds.yaml does not have it; there are the clouds c
    OpenStack's cloud c of DIR/clouds.yaml: it has no auth_url; give Keystone's address there, as an openrc file has it
    OpenStack's cloud c of DIR/clouds.yaml: it has no password; compare it with what `openstack --os-cloud … token issue` works with
    OpenStack's cloud c of DIR/clouds.yaml: it says not to verify the server, and drivetrain does not send secrets to just anybody; give the cloud's certificate authority as cacert
    OpenStack's cloud c of DIR/clouds.yaml: its auth_type is "v3oidcpassword", and drivetrain knows password, token and v3applicationcredential; compare it with what `openstack --os-cloud … token issue` works with
    DIR/clouds.yaml: it is not YAML: line 1: unclosed bracket '['; repair it
    "#);
}
