//! Hosts that are made ready, by real dnf and rpm on a system of the train's packages: a container that ssh reaches.
//!
//! It takes root and `drivetrain-lab container`.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod common;

use std::process::Command;

use camino::Utf8PathBuf;
use common::repository::whole;
use common::server::Server;
use common::{MINI, Run, Site};
use drivetrain_lab::base64;
use drivetrain_lab::container::{self, Container};

/// What builds take, under the names of the lab's train.
const PACKAGES: &str = "bubblewrap, cpio, elfutils-libelf-devel, gcc, kmod, make, patch, perl-interpreter, \
                        redhat-rpm-config, rpm-build, util-linux";
/// Where everything of drivetrain's is there.
const PLACE: &str = "/var/lib/drivetrain-builder";

struct Prepared {
    // Ends before the site looks for processes that were left behind.
    container: Container,
    site: Site,
    _train: Server,
}

impl Prepared {
    fn new() -> Option<Self> {
        let root = container::of_tests()?;
        let mut site = Site::fetched()?;
        let directory = Utf8PathBuf::from_path_buf(site.path("container")).unwrap();
        std::fs::create_dir(&directory).unwrap();
        let container = Container::start(&root, &directory).unwrap();
        let www = site.lab.directory.join("www");
        let train = Server::of(&www);
        // It has this host's kernel, and its root file system is a directory of this host.
        let section = format!(
            "  kind: ssh\n  ssh: {{host: box, config: {}}}\n  machine: {{urls: {{\"file://{}\": \"{}\"}}}}\n  prepare: \
             {{grow: false, boot: false, exec: [/tmp], packages: [{PACKAGES}]}}",
            container.ssh_config("box").unwrap(),
            www.display(),
            train.url()
        );
        site.configure(|settings| settings.builder = Some(section));
        Some(Self { container, site, _train: train })
    }

    /// Installs packages that no repository has, each with these lines of a spec file.
    fn install(&self, packages: &[(&str, &str)]) {
        let top = self.site.path("rpmbuild");
        std::fs::create_dir_all(&top).unwrap();
        for (name, tags) in packages {
            let spec = top.join(format!("{name}.spec"));
            let text = format!(
                "Name: {name}\nVersion: 99\nRelease: 1\nSummary: {name}\nLicense: MIT\nBuildArch: noarch\n{tags}\n\
                 %description\n{name}\n%files\n"
            );
            std::fs::write(&spec, text).unwrap();
            let mut rpmbuild = Command::new("rpmbuild");
            rpmbuild.args(["-bb", "--quiet", "--define"]).arg(format!("_topdir {}", top.display())).arg(spec);
            assert!(rpmbuild.status().unwrap().success());
        }
        for (name, _) in packages {
            let package = std::fs::read(top.join(format!("RPMS/noarch/{name}-99-1.noarch.rpm"))).unwrap();
            let text = base64::encode(&package);
            let script =
                format!("echo {text} | base64 -d >/root/p.rpm && rpm -i /root/p.rpm && rm /root/p.rpm");
            self.container.ssh(&script).unwrap();
        }
    }
}

/// The steps of a run that changed something. Whether the train has newer packages than the container is the lab's matter.
fn changed(run: &Run) -> Vec<String> {
    let steps = run.of("machine-step");
    let changed = steps.iter().filter(|event| event["changed"] == true);
    let names = changed.map(|event| event["step"].as_str().unwrap().to_owned());
    names.filter(|step| !step.starts_with("bring all")).collect()
}

#[test]
fn a_host_is_brought_to_the_train_once_and_found_so_afterwards() {
    let Some(mut host) = Prepared::new() else { return };
    host.site.run(&["run"]).succeeds();
    let run = host.site.last_run();
    assert_eq!(
        changed(&run),
        ["use the train's repositories", "install what builds take", "let programs on /tmp be executed"]
    );
    assert_eq!(run.components("built"), MINI);
    assert_eq!(
        whole(&host.site.repository(&host.site.lab.newer)),
        Ok(Some(host.site.served(&host.site.lab.newer)))
    );
    let repositories =
        host.container.ssh("ls /etc/yum.repos.d; grep -c gpgcheck=1 /etc/yum.repos.d/*").unwrap();
    println!("{repositories}");

    // Another kernel, the same host.
    let older = host.site.lab.older.release.clone();
    host.site.configure(|settings| settings.kernel = format!("{{exact: {older}}}"));
    host.site.run(&["build"]).succeeds();
    assert_eq!(changed(&host.site.last_run()), [""; 0]);
}

#[test]
fn packages_that_do_not_go_with_the_trains_are_named_by_dnf_and_nothing_is_built() {
    let Some(host) = Prepared::new() else { return };
    // Newer than the train's, and another that insists on it.
    host.install(&[("bc", ""), ("site-agent", "Requires: bc >= 99")]);
    let output = host.site.run(&["run"]).ends_with(9);
    output.says("bring all packages to the train's").says("site-agent");
    let run = host.site.last_run();
    assert!(run.of("component-started").is_empty());
    let log = std::fs::read_to_string(run.directory.join("machine.log")).unwrap();
    assert!(log.contains("site-agent"), "{log}");
    // Nothing was changed half-way, and it goes on once that is out of the way.
    assert_eq!(host.container.ssh("rpm -q --qf '%{version}' bc").unwrap(), "99");
    host.container.ssh("rpm -e site-agent").unwrap();
    host.site.run(&["run"]).succeeds();
    assert_ne!(host.container.ssh("rpm -q --qf '%{version}' bc").unwrap(), "99");
}

#[test]
fn a_disk_that_is_full_there_is_told_as_that() {
    let Some(host) = Prepared::new() else { return };
    host.container.ssh(&format!("mkdir -p {PLACE}; mount -t tmpfs -o size=2m tmpfs {PLACE}")).unwrap();
    host.site.run(&["run"]).ends_with(9).says("No space left on device");
    // Room for the program and the inputs, and none for a build.
    host.container
        .ssh(&format!(
            "umount {PLACE}; mkdir -p {PLACE}/work; mount -t tmpfs -o size=128k tmpfs {PLACE}/work"
        ))
        .unwrap();
    let output = host.site.run(&["run"]);
    assert_ne!(output.code, Some(0));
    output.says("No space left on device");
    assert!(!host.site.repository(&host.site.lab.newer).exists());
    host.container.ssh(&format!("umount {PLACE}/work")).unwrap();
    host.site.run(&["run"]).succeeds();
}
