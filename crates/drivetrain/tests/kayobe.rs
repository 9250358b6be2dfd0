//! Machines that the site's own Kayobe configuration is applied to: by a real Kayobe and a real Ansible, over a real sshd.
//!
//! Where the machine is this host, the playbooks of the configuration write below the test's own directory, and what of
//! `kayobe seed host configure` changes a system is left out by its tags; it is read, and gone through, as a whole. Where
//! it is a container of the lab, kayobe's own plays configure it.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use common::server::Server;
use common::sshd::Sshd;
use common::{MINI, Output, Site, copy, names};
use drivetrain_lab::container::{self, Container};
use drivetrain_lab::kayobe::{Installation, installed};
use rustix::process::Signal;

const PASSWORD: &str = "opens-the-lab";

/// A site whose builder is a host that Kayobe configures.
struct Configured {
    // Ended before the site looks for processes that were left behind.
    server: Sshd,
    site: Site,
    section: String,
    kayobe: Installation,
}

impl Configured {
    fn new(site: Option<Site>) -> Option<Self> {
        let kayobe = installed()?;
        let mut site = site?;
        let server = Sshd::start(&site.path(""))?;
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kayobe-config");
        copy("-a", &fixture, &site.path(""));
        fs::create_dir(site.path("there")).unwrap();
        let section = server.section(&site.path("builder"));
        site.environment.push(("LAB_VAULT".to_owned(), PASSWORD.to_owned()));
        Some(Self { server, site, section, kayobe })
    }

    /// Sets what is prepared: keys of `kayobe`, as YAML in one line.
    fn prepares(&mut self, keys: &str) {
        let program = self.kayobe.program("kayobe");
        let section = format!(
            "{}\n  prepare:\n    boot: false\n    packages: []\n    kayobe: {{configuration: kayobe-config, program: {program}, \
             variables: {{lab_place: {}}}, {keys}}}",
            self.section,
            self.there().display()
        );
        self.site.configure(|settings| settings.builder = Some(section));
    }

    /// Where the playbooks write.
    fn there(&self) -> PathBuf {
        self.site.path("there")
    }

    fn written(&self, name: &str) -> String {
        fs::read_to_string(self.there().join(name)).unwrap()
    }

    fn config(&self, name: &str) -> PathBuf {
        self.site.path("kayobe-config/etc/kayobe").join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.site.last_run().directory.join("kayobe.log")).unwrap()
    }

    fn fails(&self, code: i32) -> Output {
        let output = self.site.run(&["build"]).ends_with(code);
        assert!(!output.stderr.contains(PASSWORD) && !output.stdout.contains(PASSWORD));
        self.left_nothing();
        output
    }

    /// Nothing of Kayobe's is left: no process, no copy, no socket.
    fn left_nothing(&self) {
        assert_eq!(processes_of(&self.site), Vec::<String>::new());
        assert_eq!(names(&self.site.state().join("tmp")), Vec::<String>::new());
    }
}

/// The command lines of processes that work with a site's copy of the configuration, or are on its machine for it.
fn processes_of(site: &Site) -> Vec<String> {
    let (copy, there) = (site.state().join("tmp"), site.path("there"));
    let marks = [copy.display().to_string(), there.display().to_string()];
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            let text = String::from_utf8_lossy(&line).replace('\0', " ");
            let environment = String::from_utf8_lossy(&environment).into_owned();
            let is_one = marks.iter().any(|mark| text.contains(mark) || environment.contains(mark));
            is_one.then_some(text)
        })
        .collect()
}

/// All files below a directory, with what is in them.
fn tree(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for name in names(&directory) {
            let path = directory.join(name);
            if path.is_dir() {
                pending.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                found.push((path, bytes));
            }
        }
    }
    found.sort();
    found
}

/// What the user's ssh knows.
fn known_hosts() -> Option<Vec<u8>> {
    fs::read(Path::new(&std::env::var_os("HOME")?).join(".ssh/known_hosts")).ok()
}

#[test]
fn a_host_is_configured_as_the_site_says_and_then_built_on() {
    let Some(mut site) = Configured::new(Site::fetched()) else { return };
    site.prepares(
        "environment: lab, groups: [lab], host_configure: {tags: [kayobe-ansible-user, lab]}, vault_password: \"${LAB_VAULT}\", \
         playbooks: [etc/kayobe/ansible/secret.yml]",
    );
    let (before, known) = (tree(&site.site.path("kayobe-config")), known_hosts());
    let output = site.site.run(&["run"]).succeeds();
    output.says("configured by kayobe seed host configure, kayobe playbook run etc/kayobe/ansible/secret.yml (environment lab)");
    assert_eq!(site.site.last_run().components("built"), MINI);

    // The environment's variable, in a group of its inventory; and what only the password opens.
    assert_eq!(site.written("hook"), "drivetrain-builder of seed: the environment's\n");
    assert_eq!(site.written("secret"), "what the vault had in it\n");
    let steps = site.site.last_run().of("machine-step");
    let done: Vec<(&str, &str)> = steps
        .iter()
        .map(|step| (step["step"].as_str().unwrap(), step["because"].as_str().unwrap()))
        .collect();
    assert_eq!(done[0].0, "kayobe seed host configure");
    assert!(done[0].1.ends_with(" tasks, 1 changed something"), "{done:?}");
    assert_eq!(
        done[1],
        ("kayobe playbook run etc/kayobe/ansible/secret.yml", "3 tasks, 1 changed something")
    );

    // All of kayobe's own playbook was gone through, and the site's own seed was not.
    let log = site.log();
    assert!(log.contains("PLAY [Verify that the Kayobe Ansible user account is accessible]"), "{log}");
    assert!(log.contains("PLAY [Ensure a local Docker registry is deployed]"), "{log}");
    assert!(
        !log.contains("seed-0") && !log.contains("PLAY [Ensure known hosts are configured]\n\nTASK"),
        "{log}"
    );
    assert!(log.contains("the password is [hidden]"), "{log}");
    for (path, bytes) in tree(&site.site.last_run().directory) {
        assert!(!String::from_utf8_lossy(&bytes).contains(PASSWORD), "{} has it", path.display());
    }
    // Nothing is left, and nothing was written where it does not belong.
    site.left_nothing();
    assert_eq!(tree(&site.site.path("kayobe-config")), before);
    assert_eq!(known_hosts(), known);

    // What is finished needs no machine, and so no Kayobe; a changed configuration is another plan.
    let again = site.site.run(&["run"]).succeeds();
    assert!(!again.stderr.contains("kayobe seed host configure: "), "{}", again.stderr);
    fs::write(site.config("lab.yml"), "---\nlab_words: others\n").unwrap();
    site.site.run(&["plan"]).succeeds().says("configured by kayobe").says("build 2 components");
}

#[test]
fn a_system_of_the_train_gets_its_repositories_from_kayobe_and_is_built_on() {
    let (Some(kayobe), Some(root)) = (installed(), container::of_tests()) else { return };
    let Some(mut site) = Site::fetched() else { return };
    let directory = Utf8PathBuf::from_path_buf(site.path("container")).unwrap();
    fs::create_dir(&directory).unwrap();
    let container = Container::start(&root, &directory).unwrap();
    // The lab calls itself by its own name, and Ansible looks for one that it knows.
    container.ssh("echo 'Rocky Linux release 9.4 (Blue Onyx)' >/etc/redhat-release").unwrap();
    assert_eq!(container.ssh("ls /etc/yum.repos.d; rpm -qa ccache").unwrap(), "");
    let train = Server::of(&site.lab.directory.join("www"));
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kayobe-config");
    copy("-a", &fixture, &site.path(""));
    site.environment.push(("LAB_VAULT".to_owned(), PASSWORD.to_owned()));
    let section = format!(
        "  kind: ssh\n  ssh: {{host: box, config: {}}}\n  prepare:\n    boot: false\n    packages: [ccache]\n    kayobe:\n      \
         configuration: kayobe-config\n      program: {}\n      vault_password: \"${{LAB_VAULT}}\"\n      host_configure: \
         {{tags: [ensure-python, proxy, dnf, pip, users]}}\n      variables: {{lab_train: {}/train, ansible_become: \
         \"false\"}}",
        container.ssh_config("box").unwrap(),
        kayobe.program("kayobe"),
        train.url()
    );
    site.configure(|settings| settings.builder = Some(section));
    site.run(&["run"]).succeeds();
    let run = site.last_run();
    assert_eq!(run.components("built"), MINI);
    assert_eq!(run.published(), Some((1, false)));
    let steps = run.of("machine-step");
    let changed = |name: &str| steps.iter().find(|step| step["step"] == name).unwrap()["changed"].clone();
    assert_eq!(changed("kayobe seed host configure"), true);
    assert_eq!(changed("install what builds take"), true);
    let files = container.ssh("cat /etc/yum.repos.d/train.repo; rpm -q ccache").unwrap();
    assert!(
        files.contains("[appstream]") && files.contains(&train.url()) && files.contains("ccache-4.8"),
        "{files}"
    );

    // Told again, it finds all as it should be.
    fs::remove_dir_all(site.state().join("components")).unwrap();
    fs::create_dir(site.state().join("components")).unwrap();
    site.run(&["build"]).succeeds();
    let steps = site.last_run().of("machine-step");
    assert!(steps.iter().all(|step| step["changed"] == false), "{steps:?}");
    drop(container);
}

#[test]
fn what_fails_on_the_way_is_told_with_the_task_and_its_file() {
    let Some(mut site) = Configured::new(Site::fetched()) else { return };
    // A task: the one that was ignored before it is not the cause.
    site.prepares("host_configure: false, playbooks: [etc/kayobe/ansible/break.yml]");
    let output = site.fails(9);
    let playbook = site.config("ansible/break.yml");
    let error = output.error();
    assert!(error.contains("kayobe playbook run etc/kayobe/ansible/break.yml: the task \"Make a directory where there can be none\""), "{error}");
    assert!(error.contains(&format!("({}:10) failed: non-zero return code", playbook.display())), "{error}");
    assert!(error.contains("mkdir: cannot create directory") && error.contains("kayobe.log"), "{error}");

    // The vault: another password, and none.
    let secret = "host_configure: false, groups: [lab], playbooks: [etc/kayobe/ansible/secret.yml]";
    fs::write(site.site.path("password"), "another-one\n").unwrap();
    site.prepares(&format!("{secret}, vault_password_file: password"));
    let output = site.fails(9);
    assert!(output.error().contains("the vault's password is another than"), "{}", output.error());
    site.prepares(secret);
    let output = site.fails(9);
    assert!(output.error().contains("say builder.prepare.kayobe.vault_password"), "{}", output.error());
    fs::write(site.site.path("password"), format!("{PASSWORD}\n")).unwrap();

    // The machine answers drivetrain, and not this login.
    site.prepares("host_configure: false, playbooks: [etc/kayobe/ansible/break.yml]");
    let section = site.site.settings.builder.clone().unwrap();
    let section = section.replace("variables: {", "variables: {ansible_user: nobody-of-this-name, ");
    site.site.configure(|settings| settings.builder = Some(section));
    let output = site.fails(9);
    assert!(output.error().contains("did not reach the machine: "), "{}", output.error());

    // Its key is not the one that is known, of which the site's ansible.cfg says that it does not matter.
    site.server.write_known(&site.server.other_key());
    fs::rename(site.site.path("sshd/known"), site.there().join("impostor")).unwrap();
    site.server.write_known(&site.server.host_key());
    let playbooks = "etc/kayobe/ansible/impostor.yml, etc/kayobe/ansible/break.yml";
    site.prepares(&format!("host_configure: false, playbooks: [{playbooks}]"));
    let output = site.fails(9);
    assert!(output.error().contains("Host key verification failed"), "{}", output.error());
    assert_eq!(site.site.last_run().of("machine-step").len(), 1);
    site.server.write_known(&site.server.host_key());

    // Kayobe's own roles are not there.
    fs::remove_dir_all(site.config("ansible/roles/giovtorres.tuned")).unwrap();
    site.prepares("host_configure: {tags: [lab]}, vault_password_file: password");
    let output = site.fails(9);
    assert!(output.error().contains("the role 'giovtorres.tuned' was not found"), "{}", output.error());
    assert!(output.error().contains("kayobe control host bootstrap"), "{}", output.error());
    site.site.nothing_happened();
}

#[test]
fn what_is_missing_is_told_by_the_plan() {
    let Some(mut site) = Configured::new(Site::new()) else { return };
    let refused = |site: &Configured, says: &str| {
        let output = site.site.run(&["plan"]).ends_with(2);
        assert!(output.error().contains(says), "{}", output.error());
    };
    site.prepares("environment: labb");
    refused(&site, "environments/labb; the environments there are lab");
    site.prepares("playbooks: [ansible/secret.yml]");
    refused(&site, "kayobe-config/ansible/secret.yml; name it as it is found from `configuration`");
    let section = site.site.settings.builder.clone().unwrap();
    let elsewhere = section.replace("configuration: kayobe-config", "configuration: kayobe-config/etc");
    site.site.configure(|settings| settings.builder = Some(elsewhere));
    refused(&site, "kayobe-config/etc/etc/kayobe; name the checkout of kayobe-config");
    let program = section.replace("bin/kayobe", "bin/kayobbe");
    site.site.configure(|settings| settings.builder = Some(program));
    refused(&site, "bin/kayobbe; name the bin/kayobe of kayobe's virtual environment");
}

#[test]
fn an_end_in_its_midst_ends_kayobe_here_and_its_task_there() {
    let Some(mut site) = Configured::new(Site::fetched()) else { return };
    fs::write(site.there().join("never"), "").unwrap();
    site.prepares(
        "host_configure: false, vault_password: \"${LAB_VAULT}\", playbooks: [etc/kayobe/ansible/slow.yml]",
    );
    let task = format!("tail -n 0 -f {}/never", site.there().display());
    let begins = |site: &Configured| {
        let until = Instant::now() + Duration::from_secs(120);
        while !processes_of(&site.site).iter().any(|line| line.trim_end() == task) {
            assert!(Instant::now() < until, "the task never began: {:?}", processes_of(&site.site));
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let running = site.site.start(&["build"]);
    begins(&site);
    running.signal(Signal::INT);
    running.end().ends_with(130);
    site.left_nothing();

    // Killed, drivetrain cannot end anything: kayobe notices by itself, and then nothing goes on from here.
    let running = site.site.start(&["build"]);
    begins(&site);
    running.kill();
    let until = Instant::now() + Duration::from_secs(60);
    while processes_of(&site.site)
        .iter()
        .any(|line| line.contains("kayobe") || line.contains("ansible-playbook"))
    {
        assert!(Instant::now() < until, "{:?}", processes_of(&site.site));
        std::thread::sleep(Duration::from_millis(50));
    }
    common::processes::end_survivors(&site.site.path(""));
    site.site.nothing_happened();
}
