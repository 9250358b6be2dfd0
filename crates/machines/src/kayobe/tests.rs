//! What can be known without kayobe; `crates/drivetrain/tests/kayobe.rs` runs it.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        site.write("etc/kayobe/environments/lab/inventory/groups", "[seed]\n");
        site.write("etc/kayobe/environments/aio/seed.yml", "a: 1\n");
        site.write("etc/kayobe/ansible/grow.yml", "- hosts: seed\n");
        site.write("bin/kayobe", "#!/bin/sh\n");
        site
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.0.path().join(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn options(&self) -> KayobeOptions {
        KayobeOptions {
            configuration: self.path(""),
            environment: Some("lab".to_owned()),
            program: Some(self.path("bin/kayobe")),
            host: "builder".to_owned(),
            groups: vec!["seed".to_owned()],
            host_configure: Some(KayobeCommand { of: "seed", tags: Vec::new(), skip_tags: Vec::new() }),
            playbooks: vec!["etc/kayobe/ansible/grow.yml".into()],
            variables: BTreeMap::new(),
            vault: None,
            deadline: Duration::from_secs(60),
        }
    }
}

#[test]
fn what_is_run_is_told_as_a_person_would_type_it() {
    let site = Site::new();
    let mut options = site.options();
    assert_eq!(
        options.commands(),
        ["kayobe seed host configure", "kayobe playbook run etc/kayobe/ansible/grow.yml"]
    );
    options.host_configure = Some(KayobeCommand {
        of: "infra vm",
        tags: vec!["dnf".into(), "lvm".into()],
        skip_tags: vec!["docker".into()],
    });
    let words = options.steps()[0].arguments.join(" ");
    assert_eq!(words, "infra vm host configure --tags dnf,lvm --skip-tags ssh-known-host,docker");
}

#[test]
fn a_changed_configuration_is_another_plan() {
    let site = Site::new();
    let options = site.options();
    let before = digest(&options).unwrap();
    // What is not read does not count.
    site.write(".git/HEAD", "ref: refs/heads/main\n");
    site.write("etc/kayobe/ansible/__pycache__/a.pyc", "x");
    site.write("venv/pyvenv.cfg", "home = /usr/bin\n");
    assert_eq!(digest(&options).unwrap(), before);
    site.write("etc/kayobe/ansible/grow.yml", "- hosts: all\n");
    let changed = digest(&options).unwrap();
    assert_ne!(changed, before);
    let mut others = vec![before, changed];
    let mut differs = |options: &KayobeOptions| {
        let digest = digest(options).unwrap();
        assert!(!others.contains(&digest), "{options:?}");
        others.push(digest);
    };
    differs(&KayobeOptions { environment: Some("aio".to_owned()), ..options.clone() });
    differs(&KayobeOptions { playbooks: Vec::new(), ..options.clone() });
    differs(&KayobeOptions { groups: vec!["overcloud".to_owned()], ..options.clone() });
    let variables = BTreeMap::from([("grow_group".to_owned(), "builder".to_owned())]);
    differs(&KayobeOptions { variables, ..options.clone() });
    // A password opens the same configuration.
    let vault = Some(VaultSource::Given(Secret::new("geheim")));
    assert_eq!(digest(&KayobeOptions { vault, ..options.clone() }).unwrap(), others[1]);
}

#[test]
fn a_copy_has_the_digest_of_its_original_and_is_for_this_user_alone() {
    let site = Site::new();
    site.write("other/file", "text");
    let checkout = site.path("etc");
    symlink("../other/file", checkout.join("out")).unwrap();
    symlink("kayobe/environments", checkout.join("in")).unwrap();
    std::fs::set_permissions(
        checkout.join("kayobe/ansible/grow.yml"),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let copy = site.path("copies/there");
    std::fs::create_dir(site.path("copies")).unwrap();
    configuration::private_directory(&copy).unwrap();
    let copied = configuration::copy(&checkout, &copy).unwrap();
    assert_eq!(copied, configuration::digest(&checkout).unwrap());
    // A link that leaves the checkout leads to the same file, and one that does not leads to the copy's.
    assert_eq!(std::fs::read_to_string(copy.join("out")).unwrap(), "text");
    assert_eq!(
        copy.join("in").canonicalize_utf8().unwrap(),
        copy.canonicalize_utf8().unwrap().join("kayobe/environments")
    );
    let mode = |name: &str| std::fs::metadata(copy.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("kayobe"), mode("kayobe/ansible/grow.yml")), (0o700, 0o700));
    assert_eq!(mode("kayobe/environments/aio/seed.yml"), 0o600);
}

#[test]
fn what_is_missing_is_told_before_a_machine_is_made() {
    let site = Site::new();
    let why = |change: &dyn Fn(&mut KayobeOptions)| {
        let mut options = site.options();
        change(&mut options);
        digest(&options).unwrap_err().to_string().replace(site.path("").as_str(), "/site/")
    };
    assert_eq!(
        why(&|options| options.environment = Some("labb".to_owned())),
        "builder.prepare.kayobe.environment: there is no /site/etc/kayobe/environments/labb; the environments there are \
         aio, lab"
    );
    assert_eq!(
        why(&|options| options.configuration.push("etc/kayobe")),
        "builder.prepare.kayobe.configuration: there is no /site/etc/kayobe/etc/kayobe; name the checkout of \
         kayobe-config, which has etc/kayobe in it"
    );
    assert_eq!(
        why(&|options| options.program = Some("/site/kayobe".into())),
        "builder.prepare.kayobe.program: there is no file /site/kayobe; name the bin/kayobe of kayobe's virtual \
         environment"
    );
    assert!(
        why(&|options| options.playbooks.push("grow.yml".into())).contains("there is no file /site/grow.yml")
    );
    assert!(
        why(&|options| options.vault = Some(VaultSource::File("/nonexistent".into())))
            .contains("/nonexistent")
    );
}

#[test]
fn the_inventory_says_how_the_machine_is_reached_and_known() {
    let ssh = SshOptions {
        port: Some(2222),
        identity: Some("/lease/my key".into()),
        config: Some("/lease/ssh_config".into()),
        ..SshOptions::new("10.0.2.15")
    };
    let groups = ["seed".to_owned(), "container-engine".to_owned()];
    let inventory = inventory::Inventory {
        host: "builder",
        groups: &groups,
        ssh: &ssh,
        user: "cloud-user",
        known_hosts: Some(Utf8Path::new("/run/known hosts")),
        sockets: Utf8Path::new("/tmp/s"),
        mark: ("LC_MARK", "0123"),
    };
    let value: serde_json::Value = serde_json::from_str(&inventory.text()).unwrap();
    let host = &value["all"]["hosts"]["builder"];
    assert_eq!(
        (host["ansible_host"].as_str(), host["ansible_port"].as_u64()),
        (Some("10.0.2.15"), Some(2222))
    );
    assert_eq!(
        (host["ansible_user"].as_str(), host["bootstrap_user"].as_str()),
        (Some("cloud-user"), Some("cloud-user"))
    );
    assert!(
        value["seed"]["hosts"]["builder"].is_object()
            && value["container-engine"]["hosts"]["builder"].is_object()
    );
    let arguments = host["ansible_ssh_args"].as_str().unwrap();
    assert!(arguments.starts_with("-o BatchMode=yes -o StrictHostKeyChecking=yes"), "{arguments}");
    assert!(arguments.contains("-o 'UserKnownHostsFile=\"/run/known hosts\"'"), "{arguments}");
    assert!(arguments.contains("-o SetEnv=LC_MARK=0123"), "{arguments}");
    assert!(arguments.ends_with("-o IdentitiesOnly=yes -F /lease/ssh_config"), "{arguments}");
}
