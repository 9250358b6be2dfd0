//! A machine as it is leased (known by one key, reached with another, and with nothing of the user's configuration)
//! configured by a real Kayobe. It is a container of the lab.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{CancellationToken, SshMachine, SshOptions};
use drivetrain_lab::container::{self, Container};
use drivetrain_lab::kayobe::{Installation, installed};
use drivetrain_machines::kayobe::{Configuring, KayobeOptions, configure, digest};
use drivetrain_machines::{MachineError, Progress};
use drivetrain_model::Sha256Digest;

const TOUCH: &str = "- hosts: builders\n  gather_facts: false\n  tasks:\n    - name: Touch a file\n      ansible.builtin.copy: {content: \"{{ words }}\", dest: /root/touched}\n";
const SLOW: &str = "- hosts: builders\n  gather_facts: false\n  tasks:\n    - name: Wait\n      ansible.builtin.command: sleep 1000\n";

struct Site {
    container: Container,
    kayobe: Installation,
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Option<Self> {
        let (kayobe, root) = (installed()?, container::of_tests()?);
        let directory = tempfile::Builder::new().prefix("drivetrain-kayobe-test-").tempdir().unwrap();
        let path = Utf8Path::from_path(directory.path()).unwrap();
        for name in ["container", "config/etc/kayobe/ansible", "config/etc/kayobe/inventory"] {
            fs::create_dir_all(path.join(name)).unwrap();
        }
        let etc = path.join("config/etc/kayobe");
        fs::write(etc.join("inventory/groups"), "[builders:children]\nseed\n[seed]\n").unwrap();
        fs::write(etc.join("python.yml"), "ansible_python_interpreter: /usr/bin/python3\n").unwrap();
        fs::write(etc.join("ansible/touch.yml"), TOUCH).unwrap();
        fs::write(etc.join("ansible/slow.yml"), SLOW).unwrap();
        fs::write(path.join("ssh_config"), "").unwrap();
        let container = Container::start(&root, &path.join("container")).unwrap();
        Some(Self { container, kayobe, directory })
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.directory.path()).unwrap().join(name)
    }

    fn options(&self, playbook: &str) -> KayobeOptions {
        KayobeOptions {
            configuration: self.path("config"),
            environment: None,
            program: Some(self.kayobe.program("kayobe")),
            host: "drivetrain-builder".to_owned(),
            groups: vec!["seed".to_owned()],
            host_configure: None,
            playbooks: vec![playbook.into()],
            variables: BTreeMap::from([("words".to_owned(), "two words".to_owned())]),
            vault: None,
            deadline: Duration::from_secs(120),
        }
    }

    /// With the public key of one of the container's two pairs as the machine's.
    fn ssh(&self, key: &str) -> SshOptions {
        let key = fs::read_to_string(self.path("container").join(key)).unwrap();
        SshOptions {
            port: Some(self.container.port()),
            user: Some("root".to_owned()),
            identity: Some(self.container.key()),
            host_key: Some(key.split_whitespace().take(2).collect::<Vec<_>>().join(" ")),
            config: Some(self.path("ssh_config")),
            ..SshOptions::new("127.0.0.1")
        }
    }

    async fn configure(
        &self,
        options: &KayobeOptions,
        ssh: &SshOptions,
        planned: &Sha256Digest,
    ) -> Result<Vec<Progress>, MachineError> {
        let machine = SshMachine::new(self.ssh("host.pub")).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let told = Mutex::new(Vec::new());
        let tell = |progress| told.lock().unwrap().push(progress);
        let log = self.path("kayobe.log");
        let work = Configuring {
            machine: &machine,
            ssh,
            planned,
            scratch: Utf8Path::from_path(scratch.path()).unwrap(),
            log: &log,
            tell: &tell,
            cancel: &CancellationToken::new(),
        };
        configure(options, &work).await?;
        Ok(told.into_inner().unwrap())
    }
}

#[tokio::test]
async fn a_leased_machine_is_configured_within_its_time_and_as_it_was_planned() {
    let Some(site) = Site::new() else { return };
    let options = site.options("etc/kayobe/ansible/touch.yml");
    let planned = digest(&options).unwrap();
    let told = site.configure(&options, &site.ssh("host.pub"), &planned).await.unwrap();
    assert_eq!(site.container.ssh("cat /root/touched").unwrap(), "two words");
    let Some(Progress::Done { step, because, changed: true, .. }) = told.last() else { panic!("{told:?}") };
    assert_eq!(
        (step.as_str(), because.as_str()),
        ("kayobe playbook run etc/kayobe/ansible/touch.yml", "1 task, 1 changed something")
    );

    // Another key than the lease's is not the machine.
    let error = site.configure(&options, &site.ssh("login.pub"), &planned).await.unwrap_err();
    assert!(error.to_string().contains("Host key verification failed"), "{error}");

    // A plan is for the configuration that it was made with.
    fs::write(site.path("config/etc/kayobe/words.yml"), "words: others\n").unwrap();
    let error = site.configure(&options, &site.ssh("host.pub"), &planned).await.unwrap_err();
    assert!(error.to_string().contains("it has changed since the plan was made"), "{error}");

    // One that takes too long is ended.
    let slow =
        KayobeOptions { deadline: Duration::from_secs(8), ..site.options("etc/kayobe/ansible/slow.yml") };
    let error = site.configure(&slow, &site.ssh("host.pub"), &digest(&slow).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("it took longer than 1 min, and was ended in: "), "{error}");
    assert!(matches!(error, MachineError::Preparation { .. }), "{error:?}");
}
