//! Signed repositories, judged by a node's dnf with the `.repo` file that is served, and by rpmkeys.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::Site;
use common::consumer::{Node, has};
use common::gpg::{Gpg, PASSPHRASE, sign_with};
use common::repository::flip_a_byte;
use drivetrain_model::Capability;
use drivetrain_rpmfile::{Changes, PayloadLimits, rewrite};

/// A site with the smallest stack and its userspace packages, which the vendor has signed.
fn site() -> Option<(Site, Gpg)> {
    if !has("gpg") || !has("dnf") {
        return None;
    }
    let mut site = Site::built()?;
    site.configure(|settings| settings.userspace = vec!["doca-ofed-userspace".to_owned()]);
    let gpg = Gpg::new(&site);
    Some((site, gpg))
}

/// What `rpmkeys -K` says of a package, with the keys of a file and no others.
fn rpmkeys(site: &Site, keys: &Path, package: &Path) -> bool {
    let database = tempfile::tempdir_in(site.path("")).unwrap();
    let rpmkeys = || {
        let mut command = Command::new("rpmkeys");
        command.arg("--dbpath").arg(database.path()).args(["--define", "_pkgverify_level all"]);
        command
    };
    assert!(rpmkeys().arg("--import").arg(keys).status().unwrap().success());
    rpmkeys().arg("-K").arg(package).output().unwrap().status.success()
}

/// The package of a name that is served.
fn package(site: &Site, name: &str) -> PathBuf {
    let all = site.served(&site.lab.newer);
    let file = all.iter().find(|file| file.starts_with(name)).unwrap();
    site.repository(&site.lab.newer).join("Packages").join(file)
}

#[test]
fn a_node_verifies_packages_and_metadata_with_what_is_served_beside_them() {
    let Some((mut site, gpg)) = site() else { return };
    let key = gpg.key(&site, "drivers@example.com");
    sign_with(&mut site, &key);
    site.run(&["run"]).succeeds();
    let repository = site.repository(&site.lab.newer);
    let keys = repository.join("RPM-GPG-KEY-drivetrain");
    for file in site.served(&site.lab.newer) {
        assert!(rpmkeys(&site, &keys, &repository.join("Packages").join(&file)), "{file}");
    }
    // What the vendor has signed is the vendor's still.
    let vendors = site.lab.directory.join("www/keys/RPM-GPG-KEY-vendor");
    assert!(rpmkeys(&site, &vendors, &package(&site, "hello-tools")));
    assert!(!rpmkeys(&site, &vendors, &package(&site, "kmod-hello-1")));
    let file = std::fs::read_to_string(repository.join("drivetrain.repo")).unwrap();
    assert!(file.contains("gpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file://"), "{file}");
    site.run(&["status", "--verify"]).succeeds().says("signed   by the key ");
    site.run(&["run"]).succeeds().says("Nothing to do");

    let node = Node::new(&site, "node", &[&site.lab.newer]).with_train();
    node.dnf(&["install", "kmod-hello", "doca-ofed-userspace"]);
    assert!(node.installed().contains(&"kmod-hello".to_owned()));

    // The passphrase is nowhere, and neither is the key.
    let secret = std::fs::read_to_string(&key).unwrap();
    let public = std::fs::read_to_string(&keys).unwrap();
    let own: Vec<&str> = secret
        .lines()
        .filter(|line| line.len() == 64 && !public.lines().any(|known| known == *line))
        .collect();
    let line = own[own.len() / 2];
    for text in [PASSPHRASE, line] {
        let found =
            Command::new("grep").arg("-rlF").arg(text).arg(site.state()).arg(&site.settings.publish).output();
        assert_eq!(String::from_utf8(found.unwrap().stdout).unwrap(), "");
    }
}

#[test]
fn a_node_refuses_what_was_changed_after_it_was_signed() {
    let Some((mut site, gpg)) = site() else { return };
    let key = gpg.key(&site, "drivers@example.com");
    sign_with(&mut site, &key);
    site.run(&["run"]).succeeds();
    flip_a_byte(&package(&site, "kmod-hello-1"));
    let node = Node::new(&site, "changed-package", &[&site.lab.newer]).with_train();
    let (installed, said) = node.try_dnf(&["install", "kmod-hello"]);
    assert!(!installed, "{said}");

    let repomd = site.repository(&site.lab.newer).join("repodata/repomd.xml");
    let text = std::fs::read_to_string(&repomd).unwrap().replace("<revision>", "<revision>1");
    std::fs::write(&repomd, text).unwrap();
    let node = Node::new(&site, "changed-metadata", &[&site.lab.newer]).with_train();
    let (installed, said) = node.try_dnf(&["install", "kmod-hello"]);
    assert!(!installed && said.contains("signature"), "{said}");
    site.run(&["status", "--verify"]).ends_with(7);
}

#[test]
fn a_new_key_is_a_new_version_and_a_channel_is_signed_anew() {
    let Some((mut site, gpg)) = site() else { return };
    let first = gpg.key(&site, "first@example.com");
    sign_with(&mut site, &first);
    site.configure(|settings| settings.channels = vec!["development".to_owned(), "release".to_owned()]);
    site.run(&["run"]).succeeds().says("Served: version 1");
    site.run(&["promote"]).succeeds();
    let released =
        site.settings.publish.join(format!("release/lab-9.4/3.2.0/{}/x86_64", site.lab.newer.release));
    assert!(
        released.join("repodata/repomd.xml.asc").exists() && released.join("RPM-GPG-KEY-drivetrain").exists()
    );

    let second = gpg.key(&site, "second@example.com");
    sign_with(&mut site, &second);
    site.run(&["run"]).succeeds().says("Served: version 2");
    assert!(site.last_run().components("built").is_empty(), "a signature builds nothing");
    // Without the key what is signed is not served with metadata that are not.
    site.configure(|settings| settings.sign = None);
    site.run(&["promote"]).ends_with(7).says("there is none here: name it in publish.sign");
}

#[test]
fn cells_with_keys_of_their_own_are_planned_with_these() {
    let Some((mut site, gpg)) = site() else { return };
    let keys =
        ["first@example.com", "second@example.com"].map(|name| gpg.key(&site, name).display().to_string());
    sign_with(&mut site, Path::new(&keys[0]));
    let [first, second] = &keys;
    let matrix = format!(
        "  train.name: [lab-9.4, lab-9.5]\n  publish.sign.key: [{first}, {second}]\n  exclude:\n    \
         - {{train.name: lab-9.4, publish.sign.key: {second}}}\n    \
         - {{train.name: lab-9.5, publish.sign.key: {first}}}"
    );
    site.configure(|settings| settings.matrix = Some(matrix));
    let plans = site.run(&["plan", "--json", "--no-lock"]).succeeds().json();
    let key =
        |position: usize| plans[position]["plan"]["lock"]["settings"]["publish.sign"].as_str().unwrap().len();
    assert_eq!((key(0), key(1)), (40, 40));
    assert_ne!(
        plans[0]["plan"]["lock"]["settings"]["publish.sign"],
        plans[1]["plan"]["lock"]["settings"]["publish.sign"]
    );
}

#[test]
fn a_key_that_cannot_sign_is_told_before_anything_is_built() {
    let Some((mut site, gpg)) = site() else { return };
    let key = gpg.key(&site, "drivers@example.com");
    sign_with(&mut site, &key);
    site.environment = vec![("SIGNING_PASSPHRASE".to_owned(), "open barley".to_owned())];
    let output = site.run(&["run"]).ends_with(2).says("the passphrase does not open it");
    assert!(!output.stderr.contains("barley"), "{}", output.stderr);
    site.configure(|settings| settings.sign = Some(format!("{{key: {}}}", key.display())));
    site.run(&["plan", "--no-lock"]).ends_with(2).says("it is locked, and there is no passphrase");
    site.configure(|settings| settings.sign = Some("{key: none.asc}".to_owned()));
    site.run(&["plan", "--no-lock"]).ends_with(2).says("none.asc of publish.sign cannot be read");
    assert!(site.runs().iter().all(|run| run.of("component-started").is_empty()));
}

#[test]
fn kernels_beside_their_modules_are_verified_with_the_trains_key() {
    let Some((mut site, gpg)) = site() else { return };
    let key = gpg.key(&site, "drivers@example.com");
    sign_with(&mut site, &key);
    site.configure(|settings| settings.lockstep = Some("{name: drivers, path: \"all/{train}\"}".to_owned()));
    site.run(&["run"]).succeeds();
    site.run(&["run"]).succeeds().says("Nothing to do");
    let together = site.settings.publish.join("all/lab-9.4");
    let file = std::fs::read_to_string(together.join("drivetrain.repo")).unwrap();
    assert!(file.contains("gpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file://"), "{file}");
    // Nothing but the train's older snapshot beside it: the kernel is from there.
    let node = Node::bare(&site, "node").with_train_at(common::OLD);
    node.write_repository_file("drivers.repo", &file);
    node.dnf(&["install", "drivers", "kernel", "doca-ofed-userspace"]);
    assert_eq!(common::consumer::modules(&node.root(), &site.lab.newer.release).len(), 2);
    let packages = together.join("Packages");
    let module = common::names(&packages).into_iter().find(|name| name.starts_with("kmod-hello-6")).unwrap();
    flip_a_byte(&packages.join(module));
    let node = Node::bare(&site, "changed").with_train_at(common::OLD);
    node.write_repository_file("drivers.repo", &file);
    let (installed, said) = node.try_dnf(&["install", "drivers", "kernel"]);
    assert!(!installed, "{said}");
}

/// Starts a run, has something done between the proof and what comes after it, and lets the run go on to its end.
fn changed_meanwhile(site: &Site, change: impl FnOnce()) -> common::Output {
    let before = site.runs().len();
    let mut running = site.start(&["run"]);
    assert!(running.reaches(|_| true));
    let runs = site.runs();
    assert_eq!(runs.len(), before + 1);
    // What was found is kept in a file, which here is a pipe that nobody reads yet.
    let pipe = runs[before].directory.join("installation.json");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(running.reaches(|event| event["event"] == "installable"));
    change();
    let found = std::fs::read(&pipe).unwrap();
    std::fs::remove_file(&pipe).unwrap();
    std::fs::write(&pipe, found).unwrap();
    running.end()
}

/// Puts a package in the place of this one that offers something else besides, and is as whole.
fn put_another_there(package: &Path) {
    struct Offers;
    impl Changes for Offers {
        fn provides(&self) -> Vec<Capability> {
            vec![Capability::unversioned("something-else")]
        }
    }
    let changed = package.with_extension("changed");
    rewrite(package, &changed, &PayloadLimits::default(), &mut Offers).unwrap();
    std::fs::rename(changed, package).unwrap();
}

/// What is built, or what a run has made of it, by the beginning of its name.
fn below(directory: &Path, name: &str) -> PathBuf {
    let output =
        Command::new("find").arg(directory).args(["-name", &format!("{name}*.rpm")]).output().unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    PathBuf::from(found.lines().next().unwrap_or_else(|| panic!("no {name} below {}", directory.display())))
}

#[test]
fn a_package_that_changes_between_the_proof_and_publishing_is_not_published() {
    let Some((mut site, gpg)) = site() else { return };
    let components = site.state().join("components");
    let change = || put_another_there(&below(&components, "kmod-hello-1"));
    let output = changed_meanwhile(&site, change).ends_with(7);
    output
        .says("was changed by somebody after it was proven; nothing was published")
        .says("is to be published");
    assert!(!site.repository(&site.lab.newer).exists());

    // The same with a key: what is signed is what was proven, and not what has come into its place.
    let key = gpg.key(&site, "drivers@example.com");
    sign_with(&mut site, &key);
    let output = changed_meanwhile(&site, change).ends_with(7);
    output.says("was changed by somebody after it was proven; nothing was published");
    assert!(!site.repository(&site.lab.newer).exists());
    site.run(&["run"]).succeeds();
}
