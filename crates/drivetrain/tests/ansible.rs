//! The playbooks that sites copy into their Kayobe configuration, run by a real ansible-playbook over a real sshd, and by a
//! real Kayobe.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::sshd::Sshd;
use common::{BINARY, MINI, Output, Site, copy, finish, names};
use drivetrain_lab::kayobe::{Installation, installed};
use serde_json::Value;

const SECRET: &str = "right-horse";
/// Opens the vault of the configuration that tests have.
const PASSWORD: &str = "opens-the-lab";

fn contrib() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/ansible")
}

/// A host that has nothing of drivetrain's yet, and a control host that knows it.
struct Control {
    // Ended before the site looks for processes that were left behind.
    _host: Sshd,
    site: Site,
    ansible: Installation,
}

impl Control {
    fn new(site: Option<Site>) -> Option<Self> {
        let ansible = installed()?;
        let site = site?;
        let host = Sshd::start(&site.path(""))?;
        copy("-a", &contrib(), &site.path(""));
        fs::create_dir(site.path("there")).unwrap();
        let control = Self { _host: host, site, ansible };
        // Another build of it must not take its place between two plays.
        copy("-a", Path::new(BINARY), &control.site.path("release"));
        control.write("ansible.cfg", "[defaults]\n");
        control.write("inventory", "[builders]\nbuilder-3 ansible_python_interpreter=/usr/bin/python3\n");
        // What was done, for the test to read.
        let told = control.site.path("result").display().to_string();
        let keep = format!(
            "- name: Keep the result\n  hosts: builders\n  gather_facts: false\n  tasks:\n    - name: Write it\n      \
             ansible.builtin.copy:\n        content: \"{{{{ drivetrain_result | default({{}}) | to_json }}}}\"\n        dest: {told}\n        \
             mode: \"0644\"\n      changed_when: false\n      check_mode: false\n"
        );
        for playbook in ["build", "push", "promote", "rollback"] {
            let import = format!("- import_playbook: {playbook}-ofed.yml\n");
            control.write(&format!("ansible/{playbook}.yml"), &format!("{import}{keep}"));
        }
        Some(control)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.site.path(name), text).unwrap();
    }

    /// The variables of a site: its configuration as it stands now, and a secret.
    fn variables(&self) -> String {
        let config = fs::read_to_string(self.site.config()).unwrap();
        let config: String = config.lines().map(|line| format!("  {line}\n")).collect();
        let there = self.site.path("there").display().to_string();
        let release = self.site.path("release").display().to_string();
        format!(
            "drivetrain_host: builders\ndrivetrain_program: {there}/drivetrain\ndrivetrain_program_source: {release}/drivetrain\n\
             drivetrain_config_path: {there}/etc/site.yaml\ndrivetrain_state: {}\ndrivetrain_become: false\n\
             drivetrain_environment: {{LAB_PASSWORD: {SECRET}}}\ndrivetrain_config:\n{config}",
            self.site.state().display()
        )
    }

    /// Runs a playbook. Nothing of what it says or leaves has the secret in it, however much it says.
    fn play(&self, playbook: &str, arguments: &[&str]) -> Play {
        self.write("variables.yml", &self.variables());
        drop(fs::remove_file(self.site.path("result")));
        let mut command = Command::new(self.ansible.program("ansible-playbook"));
        command
            .args(["-i", "../inventory", "-e", "@../variables.yml", "-vvv"])
            .args(arguments)
            .arg(format!("{playbook}.yml"))
            .current_dir(self.site.path("ansible"));
        self.surround(&mut command);
        let output = finish(&mut command);
        fs::remove_file(self.site.path("variables.yml")).unwrap();
        assert!(!output.stdout.contains(SECRET) && !output.stderr.contains(SECRET), "{}", output.stdout);
        let found = Command::new("grep").args(["-rla", SECRET]).arg(self.site.path("")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "");
        let result = fs::read(self.site.path("result")).ok();
        let result = result.map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
        Play { output, result }
    }

    fn surround(&self, command: &mut Command) {
        let temporary = self.site.path("ansible-temporary");
        let ssh = self.site.path("sshd/ssh_config");
        command
            .stdin(Stdio::null())
            .env("ANSIBLE_CONFIG", self.site.path("ansible.cfg"))
            .env("ANSIBLE_HOME", &temporary)
            .env("ANSIBLE_LOCAL_TEMP", &temporary)
            .env("ANSIBLE_REMOTE_TEMP", &temporary)
            .env("ANSIBLE_NOCOLOR", "1")
            // A connection for each task instead of five.
            .env("ANSIBLE_PIPELINING", "1")
            .env("ANSIBLE_SSH_ARGS", format!("-F {} -o ControlMaster=no", ssh.display()));
    }
}

/// What came of a playbook.
struct Play {
    output: Output,
    result: Value,
}

impl Play {
    /// It went well, and so many tasks changed something.
    #[track_caller]
    fn changes(self, count: usize) -> Self {
        assert_eq!(self.output.code, Some(0), "{}\n{}", self.output.stdout, self.output.stderr);
        let recap = self.output.stdout.rsplit("PLAY RECAP").next().unwrap();
        assert!(recap.contains(&format!(" changed={count} ")), "{}", self.output.stdout);
        self
    }

    #[track_caller]
    fn fails(self) -> String {
        assert_eq!(self.output.code, Some(2), "{}\n{}", self.output.stdout, self.output.stderr);
        format!("{}{}", self.output.stdout, self.output.stderr)
    }

    #[track_caller]
    fn shows(self, text: &str) -> Self {
        assert!(self.output.stdout.contains(text), "{text:?} is not in\n{}", self.output.stdout);
        self
    }
}

#[test]
fn playbooks_build_and_publish_once_and_say_before_what_they_would_do() {
    let Some(control) = Control::new(Site::fetched()) else { return };
    let site = &control.site;
    let kernel = &site.lab.newer;

    // Nothing is there yet, and nothing comes there: the program, its directory, its file, and what it would do.
    control
        .play("build", &["--check", "--diff"])
        .changes(3)
        .shows("The configuration would be written first");
    assert_eq!(names(&site.path("there")), Vec::<String>::new());
    control.play("build", &["-e", "drivetrain_command=none"]).changes(3);
    assert_eq!(names(&site.path("there")), ["drivetrain", "etc"]);

    let would = control.play("build", &["--check", "--diff"]).changes(1);
    let would = would.shows(&format!("+build hello-kmod for {}", kernel.release));
    assert_eq!(would.result["build"].as_array().unwrap().len(), 2);
    site.nothing_happened();

    let built = control.play("build", &[]).changes(1);
    assert_eq!(built.result["cell"], format!("lab-9.4/3.2.0/{}/x86_64", kernel.release));
    assert_eq!(site.last_run().components("built"), MINI);
    assert!(!site.repository(kernel).exists());
    control.play("build", &[]).changes(0);

    control.play("push", &["--check", "--diff"]).changes(1).shows("x86_64 serves a new version");
    assert!(!site.repository(kernel).exists());
    let pushed = control.play("push", &["-e", "drivetrain_why='a new kernel'"]).changes(1);
    assert_eq!(pushed.result["version"], 1);
    assert_eq!(pushed.result["url"], format!("file://{}/", site.repository(kernel).display()));
    assert!(site.history(kernel).contains("a new kernel"));

    // All is as it should be: whoever asks again changes nothing.
    for playbook in ["build", "push"] {
        let again = control.play(playbook, &[]).changes(0);
        assert_eq!(again.result["version"], 1, "{playbook}");
        control.play(playbook, &["--check", "--diff"]).changes(0);
    }
    assert_eq!(site.last_run().published(), Some((1, true)));

    // Another kernel by a variable alone.
    let older = serde_json::json!({"drivetrain_set": {"train.kernel": {"exact": site.lab.older.release}}});
    let would = control.play("build", &["--check", "-e", &older.to_string()]).changes(1);
    assert_eq!(would.result["kernel"], site.lab.older.release.as_str());
}

#[test]
fn a_build_that_fails_fails_with_its_first_error() {
    let Some(mut control) = Control::new(Site::fetched()) else { return };
    let trap = control.site.trap("broken-kmod");
    control.site.configure(|settings| settings.extra = vec![trap]);
    let said = control.play("build", &[]).fails();
    assert!(said.contains("broken-kmod"), "{said}");
    assert!(said.contains("\"exit\": 5") && said.contains("\"components\": {"), "{said}");
    assert!(said.contains(".c:"), "the first error has its file and line: {said}");

    // What is wrong before it comes to that.
    let said = control.play("build", &["-e", "{\"drivetrain_set\": {\"driver.versoin\": \"3\"}}"]).fails();
    assert!(said.contains("did you mean \\\"version\\\"?"), "{said}");
    let wrong = format!("drivetrain_program_sha256={}", "0".repeat(64));
    assert!(control.play("build", &["-e", &wrong]).fails().contains("not the file whose SHA-256 is 0000"));
    let url = "drivetrain_program_source=https://192.0.2.1/drivetrain";
    assert!(control.play("build", &["-e", url]).fails().contains("drivetrain_program_sha256 has to be"));
    assert!(control.play("build", &["-e", "drivetrain_command=biuld"]).fails().contains("must be one of"));
}

#[test]
fn what_is_published_is_promoted_once_and_rolled_back_once() {
    let Some(mut control) = Control::new(Site::built()) else { return };
    control
        .site
        .configure(|settings| settings.channels = vec!["development".to_owned(), "release".to_owned()]);
    control.play("push", &[]).changes(4);
    control.play("promote", &["--check", "--diff"]).changes(1).shows("-release/lab-9.4/");
    assert_eq!(control.play("promote", &[]).changes(1).result["to"], 1);
    control.play("promote", &[]).changes(0);

    // Another version, of other inputs; and back.
    control.site.configure(|settings| settings.macros.push(("lab_other".to_owned(), "1".to_owned())));
    control.play("build", &[]);
    let second = control.play("push", &[]).changes(1);
    assert_eq!(second.result["version"], 2);
    let back = ["-e", "drivetrain_to_channel=development", "-e", "drivetrain_to_version=1"];
    control.play("rollback", &[&back[..], &["--check"]].concat()).changes(1);
    assert_eq!(control.play("rollback", &back).changes(1).result["to"], 1);
    control.play("rollback", &back).changes(0);
    // What somebody went back from does not come again by itself.
    assert!(control.play("push", &[]).fails().contains("was rolled back"));
}

#[test]
fn kayobe_runs_the_playbooks_with_what_its_vault_has() {
    let Some(control) = Control::new(Site::fetched()) else { return };
    let site = &control.site;
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kayobe-config");
    copy("-a", &fixture, &site.path(""));
    let etc = site.path("kayobe-config/etc/kayobe");
    for name in names(&contrib()) {
        copy("-a", &contrib().join(name), &etc.join("ansible"));
    }
    // On the control host, as the playbooks are by default.
    let variables = control.variables().replace("drivetrain_host: builders\n", "");
    let secret = format!("{{LAB_PASSWORD: {SECRET}}}");
    let variables = variables.replace(&secret, "{LAB_PASSWORD: \"{{ lab_secret }}\"}");
    fs::write(etc.join("drivetrain.yml"), format!("---\n{variables}")).unwrap();
    // Kayobe looks for ansible-playbook.
    let path =
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", control.ansible.program("kayobe").parent().unwrap());
    let play = |playbook: &str, arguments: &[&str]| {
        let mut command = Command::new(control.ansible.program("kayobe"));
        command
            .args(["playbook", "run"])
            .arg(etc.join(format!("ansible/{playbook}-ofed.yml")))
            .args(arguments)
            .current_dir(site.path("kayobe-config"));
        control.surround(&mut command);
        command
            .env_remove("ANSIBLE_CONFIG")
            .env("PATH", &path)
            .env("ANSIBLE_STDOUT_CALLBACK", "ansible.builtin.default")
            .env("KAYOBE_CONFIG_PATH", &etc)
            .env("KAYOBE_VAULT_PASSWORD", PASSWORD);
        let output = finish(&mut command);
        assert!(!output.stdout.contains("what the vault had in it"), "{}", output.stdout);
        Play { output, result: Value::Null }
    };
    play("build", &[]).changes(4);
    assert_eq!(site.last_run().components("built"), MINI);
    play("build", &[]).changes(0);
    play("push", &["--check"]).changes(1);
    play("push", &[]).changes(1);
    play("push", &[]).changes(0);
    assert_eq!(site.last_run().published(), Some((1, true)));
}
