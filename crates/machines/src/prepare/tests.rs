//! The scripts, on directories in place of a machine and on stand-ins for commands that are not here.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::Ending;
use fs_err as fs;
use proptest::prelude::*;

use super::step::{BOOT, EXEC, REPOSITORIES, Said, State, Step};
use super::*;

/// A root directory, and commands that go before the system's.
struct Root {
    _directory: tempfile::TempDir,
    path: Utf8PathBuf,
}

impl Root {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(directory.path().to_owned()).unwrap();
        fs::create_dir(path.join("bin")).unwrap();
        let root = Self { _directory: directory, path };
        for (name, content) in files {
            root.write(name, content);
        }
        root
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn command(&self, name: &str, script: &str) {
        let path = self.path.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).unwrap()
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = self.path.join(directory).read_dir_utf8().unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_owned()).collect();
        names.sort();
        names
    }

    fn run(&self, step: &Step, function: &str) -> State {
        let script = step.script(function);
        let output = Command::new("sh")
            .args(["-euc", &script.text])
            .envs(&script.environment)
            .env("ROOT", &self.path)
            .env("PATH", format!("{}/bin:/usr/sbin:/usr/bin:/sbin:/bin", self.path))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let mut said = Said::default();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).lines().for_each(|line| said.take(line));
        said.state(Ending::Exited(output.status.code().unwrap()), function)
    }

    /// Checks, applies, checks: what was to do.
    fn take(&self, step: &Step) -> String {
        let State::ToDo(why) = self.run(step, "check") else { panic!("there is nothing to do") };
        let applied = self.run(step, "apply");
        assert!(matches!(applied, State::Done(_)), "{applied:?}");
        let after = self.run(step, "check");
        assert!(matches!(after, State::Done(_)), "{after:?}");
        why
    }
}

fn exec(point: &str) -> Step {
    Step::new("exec", EXEC, [("MOUNT_POINT", point.to_owned())])
}

#[test]
fn noexec_is_taken_away_wherever_it_stands_and_nothing_else_is() {
    let cases = [
        ("rw,noexec,nosuid,nodev", "rw,nosuid,nodev"),
        ("noexec,rw", "rw"),
        ("rw,nodev,noexec", "rw,nodev"),
        ("noexec", "defaults"),
        ("rw,x-noexec,noexec,comment=noexec", "rw,x-noexec,comment=noexec"),
    ];
    for (before, after) in cases {
        let fstab = |options: &str| {
            format!(
                "# /tmp noexec\nUUID=1 / ext4 defaults,noexec 0 1\n\n  /dev/vg/tmp\t/tmp  xfs   {options}\t0 0\n\
                 tmpfs /var/tmp tmpfs noexec,nodev 0 0\n#x /tmp xfs noexec 0 0"
            )
        };
        let root = Root::new(&[("etc/fstab", &fstab(before))]);
        assert_eq!(root.take(&exec("/tmp")), "/tmp is noexec in fstab");
        assert_eq!(root.read("etc/fstab").trim_end(), fstab(after).trim_end(), "{before}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn options_other_than_noexec_stay_in_their_order(
        options in prop::collection::vec("noexec|exec|rw|nodev|mode=[0-7]{3}|size=[0-9]{1,3}%", 1..6)
    ) {
        let root = Root::new(&[("etc/fstab", &format!("a /tmp tmpfs {} 0 0\n", options.join(",")))]);
        let applied = root.run(&exec("/tmp"), "apply");
        prop_assert!(matches!(applied, State::Done(_)), "{:?}", applied);
        let mut kept: Vec<_> = options.into_iter().filter(|option| option != "noexec").collect();
        if kept.is_empty() {
            kept.push("defaults".to_owned());
        }
        prop_assert_eq!(root.read("etc/fstab"), format!("a /tmp tmpfs {} 0 0\n", kept.join(",")));
    }
}

const MINE: &str = "11111111111111111111111111111111";
const OTHER: &str = "22222222222222222222222222222222";
const NEW: &str = "5.14.0-570.12.1.el9_6.x86_64";
const OLD: &str = "5.14.0-427.el9_4.x86_64";

fn boot() -> Step {
    Step::new("boot", BOOT, [("KERNEL", NEW.to_owned()), ("KERNEL_PACKAGE", String::new())])
}

/// An image's entries under the id of the machine that made it; the new kernel's under this one's.
fn entries(more: &[(&str, &str)]) -> Root {
    let entry = |id: &str, kernel: &str| format!("boot/loader/entries/{id}-{kernel}.conf");
    let (image, mine) = (entry(OTHER, OLD), entry(MINE, NEW));
    let mut files =
        vec![("etc/machine-id", MINE), (image.as_str(), "title old\n"), (mine.as_str(), "title new\n")];
    files.extend(more);
    Root::new(&files)
}

/// As grubby keeps its default: in a file of its own.
fn grubby(root: &Root) {
    root.command(
        "grubby",
        r#"file=$(dirname "$0")/default
case $1 in
--default-kernel) cat "$file" ;;
--set-default) echo "$2" >"$file" ;;
esac"#,
    );
    root.write("bin/default", &format!("/boot/vmlinuz-{OLD}\n"));
}

#[test]
fn entries_of_another_machine_become_this_ones_and_grubby_is_told() {
    let root = entries(&[]);
    grubby(&root);
    root.command("grub2-editenv", &format!("echo saved_entry={MINE}-{NEW}"));
    assert_eq!(root.take(&boot()), format!("entries of another machine: {OTHER}-{OLD}.conf "));
    assert_eq!(
        root.names("boot/loader/entries"),
        [format!("{MINE}-{OLD}.conf"), format!("{MINE}-{NEW}.conf")]
    );
    assert_eq!(root.read("bin/default"), format!("/boot/vmlinuz-{NEW}\n"));
    // Somebody chose the other by hand.
    root.write("bin/default", &format!("/boot/vmlinuz-{OLD}\n"));
    assert_eq!(root.take(&boot()), format!("what boots next is {OLD}"));
    // GRUB goes by what is saved, whatever grubby says.
    root.command("grub2-editenv", &format!("echo saved_entry={MINE}-{OLD}"));
    assert_eq!(root.run(&boot(), "check"), State::ToDo("GRUB's saved_entry is another".to_owned()));
}

#[test]
fn an_entry_that_there_is_twice_stays_once() {
    let foreign = format!("boot/loader/entries/{OTHER}-{NEW}.conf");
    let root = entries(&[(&foreign, "title image\n")]);
    grubby(&root);
    root.take(&boot());
    assert_eq!(root.names("boot/loader/entries").len(), 2);
    assert_eq!(root.read(&format!("boot/loader/entries/{MINE}-{NEW}.conf")), "title new\n");
}

#[test]
fn systemd_boot_is_told_by_its_configuration() {
    let root = entries(&[("boot/loader/loader.conf", "timeout 0\ndefault 2222*\n")]);
    root.take(&boot());
    assert_eq!(root.read("boot/loader/loader.conf"), format!("timeout 0\ndefault {MINE}-{NEW}.conf\n"));
}

#[test]
fn a_kernel_without_an_entry_is_told() {
    let root = Root::new(&[("etc/machine-id", MINE), ("boot/loader/loader.conf", "")]);
    fs::create_dir(root.path.join("boot/loader/entries")).unwrap();
    let State::Failed(why) = root.run(&boot(), "apply") else { panic!("it was done") };
    assert!(why.starts_with(&format!("there is no boot loader entry of {NEW}")), "{why}");
}

fn definition(id: &str, url: &str) -> RepositoryDefinition {
    RepositoryDefinition {
        id: drivetrain_model::RepositoryId::parse(id).unwrap(),
        url: url.parse().unwrap(),
        priority: 90,
        signed: true,
        exclude: vec!["kernel-rt*".to_owned()],
        module_hotfixes: false,
    }
}

#[test]
fn the_trains_repositories_are_the_only_ones() {
    let definitions = [definition("baseos", "https://ark.example.com/baseos/20261101T000000/")];
    let file = repository_file(&definitions, true);
    insta::assert_snapshot!(file, @r"
    # Written by drivetrain: the release train, at its snapshots.

    [baseos]
    name=baseos of the release train
    baseurl=https://ark.example.com/baseos/20261101T000000/
    enabled=1
    priority=90
    gpgcheck=1
    skip_if_unavailable=0
    gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-drivetrain
    excludepkgs=kernel-rt*
    ");
    let root = Root::new(&[("etc/yum.repos.d/rocky.repo", "[rocky]\n")]);
    let variables = [("REPO_FILE", file.trim_end().to_owned()), ("KEYS", "KEY".to_owned())];
    let step = Step::new("repositories", REPOSITORIES, variables);
    assert_eq!(root.take(&step), "dnf does not know the train");
    assert_eq!(root.names("etc/yum.repos.d"), ["drivetrain.repo", "rocky.repo.not-for-drivetrain"]);
    assert_eq!(root.read("etc/yum.repos.d/drivetrain.repo"), file);
    root.write("etc/yum.repos.d/epel.repo", "[epel]\n");
    assert!(root.take(&step).starts_with("dnf knows others beside the train"));
}

#[test]
fn the_scripts_are_what_a_plain_sh_reads() {
    for entry in
        Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("src/prepare/scripts").read_dir_utf8().unwrap()
    {
        let path = entry.unwrap().into_path();
        assert!(Command::new("sh").args(["-n", path.as_str()]).status().unwrap().success(), "{path}");
    }
}
