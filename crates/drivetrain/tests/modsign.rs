//! Modules signed on the control host, judged by modinfo, rpm, and dnf.

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

/// Makes a key with the program; its directory.
fn new_key(site: &Site, name: &str) -> PathBuf {
    let directory = site.path(name);
    let at = directory.to_str().unwrap().to_owned();
    site.run(&["sign", "--new-key", &at, "--name", name, "--bits", "2048"])
        .succeeds()
        .says("mokutil --import");
    directory
}

/// `--set` for one certificate.
fn signing(directory: &Path, by: &str) -> String {
    let at = directory.display();
    format!("driver.module_signing={{certificate: {at}/module-signing.pem, {by}}}")
}

fn with_key(directory: &Path) -> String {
    signing(directory, &format!("key: {}/module-signing.key", directory.display()))
}

/// What modinfo says of the module of a package that is served.
fn modinfo(site: &Site) -> String {
    let package = package(site);
    let place = tempfile::tempdir_in(site.path("")).unwrap();
    let unpack =
        format!("rpm2cpio {} | cpio -idm --quiet && modinfo $(find . -name '*.ko*')", package.display());
    let output = Command::new("sh").args(["-c", &unpack]).current_dir(place.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn package(site: &Site) -> PathBuf {
    let all = site.served(&site.lab.newer);
    let file = all.iter().find(|file| file.starts_with("kmod-hello-1")).unwrap();
    site.repository(&site.lab.newer).join("Packages").join(file)
}

#[test]
fn modules_are_signed_on_this_host_without_a_build_and_a_node_installs_them() {
    let Some(site) = Site::built() else { return };
    if !has("modinfo") || !has("dnf") {
        return;
    }
    let key = new_key(&site, "Site module signing");
    site.run(&["run", "--set", &with_key(&key)]).succeeds().says("signed by Site module signing");
    assert!(site.last_run().components("built").is_empty(), "a signature builds nothing");
    let said = modinfo(&site);
    assert!(said.contains("Site module signing") && said.contains("sha256"), "{said}");
    let checked = Command::new("rpm").args(["-K", "--nosignature"]).arg(package(&site)).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    site.run(&["run", "--set", &with_key(&key)]).succeeds().says("Nothing to do");
    let node = Node::new(&site, "node", &[&site.lab.newer]).with_train();
    node.dnf(&["install", "kmod-hello"]);
    assert!(node.installed().contains(&"kmod-hello".to_owned()));

    // Another certificate is another version, and two of them sign together.
    let next = new_key(&site, "Next");
    let entry = |directory: &Path| {
        let at = directory.display();
        format!("{{certificate: {at}/module-signing.pem, key: {at}/module-signing.key}}")
    };
    let both = format!("driver.module_signing=[{}, {}]", entry(&key), entry(&next));
    site.run(&["run", "--set", &both]).succeeds().says("Served: version 2");
    assert!(site.last_run().components("built").is_empty());
}

#[test]
fn what_another_host_signs_goes_there_and_comes_back() {
    let Some(site) = Site::built() else { return };
    let key = new_key(&site, "Far away");
    let set = signing(&key, "exchange: true");
    let file = |name: &str| site.path(name).to_str().unwrap().to_owned();
    let (request, response) = (file("request.json"), file("response.json"));
    site.run(&["sign", "--export", &request, "--set", &set]).ends_with(2).says("nothing waits");
    site.run(&["run", "--set", &set]).ends_with(7).says("no signature by Far away").says("--export");
    site.run(&["sign", "--export", &request, "--set", &set]).succeeds();
    let at = |name: &str| key.join(name).to_str().unwrap().to_owned();
    let (pem, secret) = (at("module-signing.pem"), at("module-signing.key"));
    site.run(&["sign", "--offline", &request, "--certificate", &pem, "--key", &secret, "-o", &response])
        .succeeds();
    let good = std::fs::read_to_string(&response).unwrap();
    let place = good.find("\"signature\": \"").unwrap() + 20;
    let mut bad = good.clone();
    let other = if bad.as_bytes()[place] == b'0' { "1" } else { "0" };
    bad.replace_range(place..=place, other);
    std::fs::write(&response, bad).unwrap();
    site.run(&["sign", "--import", &response, "--set", &set]).ends_with(4).says("is not a good one");
    site.run(&["run", "--set", &set]).ends_with(7);
    std::fs::write(&response, good).unwrap();
    site.run(&["sign", "--import", &response, "--set", &set]).succeeds().says("taken in");
    site.run(&["run", "--set", &set]).succeeds().says("Served: version 1");
}

#[test]
fn a_key_that_cannot_sign_is_told_with_the_plan_and_a_command_that_fails_publishes_nothing() {
    let Some(site) = Site::built() else { return };
    let (key, other) = (new_key(&site, "One"), new_key(&site, "Other"));
    let plan = |set: &str| site.run(&["plan", "--no-lock", "--set", set]);
    plan(&signing(&key, &format!("key: {}/module-signing.key", other.display())))
        .ends_with(2)
        .says("it is not the key of the certificate One");
    plan(&signing(&key, "key: none.key")).ends_with(2).says("cannot be read");
    plan(&signing(&key, "command: []")).ends_with(2).says("names no program");
    plan(&signing(&key, "exchange: true, key: x")).ends_with(2).says("must have one of");
    let failing = signing(&key, "command: [sh, -c, echo the vault is sealed >&2; exit 3]");
    site.run(&["run", "--set", &failing]).ends_with(7).says("the vault is sealed");
    assert!(!site.repository(&site.lab.newer).exists());
}

/// Builds the smallest stack with its modules compressed, and signs them.
fn compressed(ending: &str, command: &str) -> Option<(Site, PathBuf)> {
    let mut site = Site::fetched()?;
    site.configure(|settings| {
        // Where RHEL's rpm compresses modules, at the end of the installation; it is called with xz by default.
        let compress = format!("\"find %{{buildroot}} -name '*.ko' -exec {command} {{}} +\"");
        settings.macros.push(("__os_install_post".to_owned(), compress));
    });
    let key = new_key(&site, "Site module signing");
    site.run(&["run", "--set", &with_key(&key)]).succeeds().says("signed by Site module signing");
    let place = site.path("unpacked");
    std::fs::create_dir(&place).unwrap();
    let script = format!("rpm2cpio {} | cpio -idm --quiet; find . -name '*.ko*'", package(&site).display());
    let output = Command::new("sh").args(["-ec", &script]).current_dir(&place).output().unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    let module = place.join(found.lines().next().unwrap());
    assert!(module.to_str().unwrap().ends_with(ending), "{found}");
    Some((site, module))
}

/// That what is served is read again as it was proven, and with the signature.
fn good_when_read_again(site: &Site) {
    let said = modinfo(site);
    assert!(said.contains("Site module signing") && said.contains("sha256"), "{said}");
    let (packages, devel) = (site.repository(&site.lab.newer).join("Packages"), site.lab.newer.devel.clone());
    site.run(&["check", packages.to_str().unwrap(), "--kernel", devel.to_str().unwrap()])
        .succeeds()
        .says("loads: 2 modules");
    let node = Node::new(site, "node", &[&site.lab.newer]).with_train();
    node.dnf(&["install", "kmod-hello"]);
}

#[test]
fn modules_that_are_compressed_with_xz_are_signed_and_compressed_as_kernels_unpack_them() {
    if !has("modinfo") || !has("dnf") || !has("xz") {
        return;
    }
    // As nobody should: with a check that kernels do not know, a filter that they may lack, and a large dictionary.
    let Some((site, module)) = compressed(".ko.xz", "xz --check=sha256 --x86 --lzma2=dict=64MiB") else {
        return;
    };
    good_when_read_again(&site);
    let output = Command::new("xz").args(["--robot", "--list", "-vv"]).arg(&module).output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let block = listed.lines().find(|line| line.starts_with("block")).unwrap();
    assert!(block.contains("\tCRC32\t") && block.ends_with("--lzma2=dict=2MiB"), "{listed}");
}

#[test]
fn modules_that_are_compressed_with_zstd_are_signed_beneath_that() {
    if !has("modinfo") || !has("dnf") || !has("zstd") {
        return;
    }
    let Some((site, module)) = compressed(".ko.zst", "zstd --rm -q -19") else { return };
    good_when_read_again(&site);
    let tested = Command::new("zstd").arg("-qt").arg(&module).status().unwrap();
    assert!(tested.success());
}
