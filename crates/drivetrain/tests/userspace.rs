//! The userspace packages beside the modules: which they are, that nodes install them, and keep what they have.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::consumer::{Node, has};
use common::repository::{flip_a_byte, mirror, whole};
use common::server::Server;
use common::{Site, names, text};
use serde_json::Value;

/// A site that wants the smallest stack's userspace packages.
fn wanting(site: Option<Site>) -> Option<Site> {
    let mut site = site?;
    site.configure(|settings| settings.userspace = vec!["doca-ofed-userspace".to_owned()]);
    Some(site)
}

/// A site with the whole stack of the lab.
fn whole_stack() -> Option<Site> {
    let mut site = wanting(Site::new())?;
    site.configure(|settings| {
        settings.stack = "doca".to_owned();
        settings.userspace = vec!["doca-ofed-userspace".to_owned()];
    });
    Some(site)
}

#[test]
fn userspace_packages_are_planned_locked_published_and_installed_beside_the_modules() {
    let Some(site) = wanting(Site::built()) else { return };
    let kernel = &site.lab.newer;
    let plan = site.run(&["plan"]).succeeds();
    let shown = text::stable(&site, &plan.stdout);
    let (begin, end) = (shown.find("userspace ").unwrap(), shown.find("publish ").unwrap());
    insta::assert_snapshot!(&shown[begin..end], @r"
    userspace   2 packages, SIZE; 7 of the train come with them
      doca-ofed-userspace-3.2.0-1.el9.noarch   SIZE  wanted as doca-ofed-userspace
      hello-tools-1.0-1.el9.noarch             SIZE  needed by doca-ofed-userspace-3.2.0-1.el9.noarch for hello-tools
    ");
    let lock: Value = serde_json::from_slice(&std::fs::read(site.path("drivetrain.lock")).unwrap()).unwrap();
    let inputs = lock["inputs"].as_array().unwrap();
    let locked: Vec<&str> = inputs
        .iter()
        .filter(|input| input["role"] == "userspace")
        .map(|input| input["nevra"].as_str().unwrap())
        .collect();
    assert_eq!(locked, ["doca-ofed-userspace-3.2.0-1.el9.noarch", "hello-tools-1.0-1.el9.noarch"]);

    site.run(&["run"])
        .succeeds()
        .says("can be installed with")
        .says("Served: version 1")
        .says("dnf install kmod-hello kmod-hello-user doca-ofed-userspace");
    site.run(&["show", "latest"]).succeeds().says("hello-tools-1.0-1.el9.noarch").says("install     ");
    let served = site.served(kernel);
    assert_eq!(whole(&site.repository(kernel)), Ok(Some(served.clone())));
    assert!(served.contains(&"hello-tools-1.0-1.el9.noarch.rpm".to_owned()), "{served:?}");
    assert!(!served.iter().any(|name| name.contains("libibverbs") || name.contains("dkms")), "{served:?}");
    let run = site.last_run();
    assert_eq!(run.of("installable").len(), 1);
    let evidence = run.directory.join("installation.json");
    let proof: Value = serde_json::from_slice(&std::fs::read(evidence).unwrap()).unwrap();
    assert_eq!(proof["takeovers"], serde_json::json!([]));
    assert!(!proof["installation"]["together"]["satisfied"].as_array().unwrap().is_empty());
    site.run(&["run"]).succeeds().says("Nothing to do: version 1 is served.");

    if has("dnf") {
        let node = Node::new(&site, "node", &[kernel]).with_train();
        node.dnf(&["install", "doca-ofed-userspace", "kmod-hello", "kmod-hello-user"]);
        let installed = node.installed();
        for package in ["doca-ofed-userspace", "hello-tools", "kmod-hello", "kmod-hello-user", "libibverbs"] {
            assert!(installed.iter().any(|name| name == package), "{package} in {installed:?}");
        }
        assert!(!installed.iter().any(|name| name.contains("dkms")), "{installed:?}");
    }
}

#[test]
fn the_set_is_what_dnf_needs_beside_the_train_and_no_more() {
    let Some(site) = whole_stack() else { return };
    let closure = site.run(&["closure", "--json"]).succeeds().json();
    let packages: Vec<String> = closure["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| package["location"].as_str().unwrap().to_owned())
        .collect();
    assert!(packages.len() > 5, "{packages:?}");
    if !has("dnf") || !has("createrepo_c") {
        return;
    }
    let set = site.path("set");
    std::fs::create_dir_all(&set).unwrap();
    for location in &packages {
        let from = site.lab.directory.join("www/doca/3.2.0/rhel9/x86_64").join(location);
        common::copy("-a", &from, &set);
    }
    createrepo(&set);
    let node = Node::bare(&site, "node").with_train().with_repository("set", &set);
    node.dnf(&["install", "doca-ofed-userspace"]);
    // All of it is installed: nothing was taken along that is not needed.
    let mut needed = names(&set);
    needed.retain(|name| Path::new(name).extension().is_some_and(|ending| ending == "rpm"));
    let mut installed = node.installed_from("set");
    installed.sort();
    assert_eq!(installed, needed);
    // And without any one of it nothing is.
    let extra = set.join(names(&set).iter().find(|name| name.starts_with("libibverbs-utils")).unwrap());
    std::fs::remove_file(extra).unwrap();
    createrepo(&set);
    let node = Node::bare(&site, "less").with_train().with_repository("set", &set);
    assert!(!node.try_dnf(&["install", "doca-ofed-userspace"]).0);
}

fn createrepo(directory: &Path) {
    let output = Command::new("createrepo_c").arg("--quiet").arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn closure_says_what_is_needed_what_the_train_has_and_why() {
    let Some(mut site) = whole_stack() else { return };
    let told = site.run(&["closure", "perftest", "--quiet"]).succeeds();
    insta::assert_snapshot!("closure", text::stable(&site, &told.stdout));
    let tree = site.run(&["closure", "perftest", "--tree", "--quiet"]).succeeds();
    insta::assert_snapshot!("tree", text::stable(&site, &tree.stdout));
    let why = site.run(&["closure", "perftest", "--why", "libibumad", "--quiet"]).succeeds();
    insta::assert_snapshot!("why", text::stable(&site, &why.stdout));
    let chains = site.run(&["closure", "perftest", "--why", "libibumad", "--json"]).succeeds().json();
    assert_eq!(chains.as_array().unwrap().len(), 1, "{chains}");
    let none = site.run(&["closure", "perftest", "--why", "mlnx-tools", "--quiet"]).ends_with(3);
    none.says("mlnx-tools is not needed for perftest");
    site.configure(|settings| settings.userspace.clear());
    site.run(&["closure"]).ends_with(2).says("drivetrain closure doca-ofed-userspace");
    site.nothing_happened();
}

#[test]
fn what_cannot_be_had_is_refused_with_the_chain_and_with_names_that_look_alike() {
    let Some(mut site) = whole_stack() else { return };
    let mut refused = |wanted: &[&str]| {
        let wanted = wanted.iter().map(|name| (*name).to_owned()).collect();
        site.configure(|settings| settings.userspace = wanted);
        let output = site.run(&["run", "--quiet"]).ends_with(3);
        site.nothing_happened();
        text::stable(&site, output.error())
    };
    insta::assert_snapshot!("unknown", refused(&["doca-ofed-userspce", "mlnx-tool", "unheard-of"]));
    insta::assert_snapshot!("dkms", refused(&["doca-ofed"]));
    insta::assert_snapshot!("excluded", refused(&["iser-dkms"]));
    insta::assert_snapshot!("too_new", refused(&["\"libibverbs >= 9999\""]));
}

#[test]
fn packages_that_the_train_has_are_not_taken_from_the_vendor() {
    let Some(mut site) = whole_stack() else { return };
    site.configure(|settings| settings.userspace = vec!["infiniband-diags".to_owned()]);
    let closure = site.run(&["closure", "--json"]).succeeds().json();
    let names: Vec<&str> = closure["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| package["nevra"].as_str().unwrap())
        .collect();
    // The vendor has a libibumad as well; the train's will do.
    assert_eq!(names, ["infiniband-diags-2510.0.11-1.el9.x86_64"]);
}

#[test]
fn a_package_with_other_bytes_than_the_metadata_say_is_refused_and_the_next_run_takes_the_right_one() {
    let Some(mut site) = wanting(Site::built()) else { return };
    let mirror = mirror(&site);
    mirror.used_by(&mut site);
    let package = mirror.vendor().own_newest_package("hello-tools");
    let right = std::fs::read(&package).unwrap();
    flip_a_byte(&package);
    site.run(&["run"]).ends_with(4).says("hello-tools").says("sha256");
    assert!(!site.repository(&site.lab.newer).exists(), "nothing is published");
    std::fs::write(&package, right).unwrap();
    site.run(&["run"]).succeeds().says("Served: version 1");
}

#[test]
fn a_package_signed_with_another_key_than_the_others_is_refused() {
    let Some(mut site) = wanting(Site::built()) else { return };
    if !has("rpmsign") || !has("createrepo_c") {
        return;
    }
    let mirror = mirror(&site);
    mirror.used_by(&mut site);
    let package = mirror.vendor().own_newest_package("hello-tools");
    let keys = site.lab.directory.join("keys/gnupg");
    let signed = Command::new("rpmsign")
        .args(["--resign", "--define", "_gpg_name drivetrain lab wrong", "--define", "__gpg /usr/bin/gpg"])
        .arg("--define")
        .arg(format!("_gpg_path {}", keys.display()))
        .arg(&package)
        .env("GNUPGHOME", &keys)
        .output()
        .unwrap();
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    createrepo(&mirror.vendor().0);
    let refused = site.run(&["run"]).ends_with(4);
    refused.says("hello-tools").says("is not to be trusted");
    assert!(!site.repository(&site.lab.newer).exists(), "nothing is published");
}

/// Makes a package with these lines of a spec file, without a signature; where it is.
fn make_package(site: &Site, name: &str, tags: &str, content: &str) -> PathBuf {
    let install =
        format!("mkdir -p %{{buildroot}}/usr/bin\necho {content} >%{{buildroot}}/usr/bin/lab-hello");
    make_package_of(site, name, tags, &install, "/usr/bin/lab-hello")
}

fn make_package_of(site: &Site, name: &str, tags: &str, install: &str, file: &str) -> PathBuf {
    let top = site.path("rpmbuild");
    std::fs::create_dir_all(&top).unwrap();
    let spec = top.join(format!("{name}.spec"));
    let text = format!(
        "Name: {name}\nVersion: 9.0\nRelease: 1\nSummary: {name}\nLicense: MIT\nBuildArch: noarch\n{tags}\n\
         %description\n{name}\n%install\n{install}\n%files\n{file}\n"
    );
    std::fs::write(&spec, text).unwrap();
    let output = Command::new("rpmbuild")
        .args(["-bb", "--quiet", "--define"])
        .arg(format!("_topdir {}", top.display()))
        .arg(&spec)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    top.join(format!("RPMS/noarch/{name}-9.0-1.noarch.rpm"))
}

#[test]
fn two_packages_that_want_to_own_a_file_are_not_published() {
    let Some(mut site) = wanting(Site::built()) else { return };
    if !has("rpmbuild") || !has("createrepo_c") {
        return;
    }
    let mirror = mirror(&site);
    mirror.used_by(&mut site);
    let other = make_package(&site, "other-tools", "", "other");
    common::copy("-a", &other, &mirror.vendor().0.join("Packages/h"));
    createrepo(&mirror.vendor().0);
    site.configure(|settings| {
        settings.unsigned = true;
        settings.userspace.push("other-tools".to_owned());
    });
    let refused = site.run(&["run", "--quiet"]).ends_with(6);
    refused.says(
        "/usr/bin/lab-hello is in hello-tools-1.0-1.el9.noarch and, with another content, in \
         other-tools-9.0-1.noarch",
    );
    assert!(!site.repository(&site.lab.newer).exists(), "nothing is published");
}

#[test]
fn a_file_where_the_train_has_a_directory_is_not_published() {
    let Some(mut site) = wanting(Site::built()) else { return };
    if !has("rpmbuild") || !has("createrepo_c") {
        return;
    }
    let mirror = mirror(&site);
    mirror.used_by(&mut site);
    // The file system of the lab has the directory.
    let package = make_package_of(
        &site,
        "dirclash",
        "",
        "mkdir -p %{buildroot}/usr\necho x >%{buildroot}/usr/bin",
        "/usr/bin",
    );
    common::copy("-a", &package, &mirror.vendor().0.join("Packages/h"));
    createrepo(&mirror.vendor().0);
    site.configure(|settings| {
        settings.unsigned = true;
        settings.userspace = vec!["dirclash".to_owned()];
    });
    site.run(&["run", "--quiet"]).ends_with(6).says("/usr/bin is in ");
    assert!(!site.repository(&site.lab.newer).exists(), "nothing is published");
}

/// Lets the vendor's repository have a package that obsoletes the kmods, whatever their version, as newer ones of the
/// vendor's do.
fn with_a_greedy_dkms_package(site: &mut Site) {
    let mirror = mirror(site);
    mirror.used_by(site);
    let greedy = "Provides: kmod-hello = 9.0\nObsoletes: kmod-hello < 9.0";
    let package = make_package(site, "hello-kmod-dkms", greedy, "dkms");
    common::copy("-a", &package, &mirror.vendor().0.join("Packages/h"));
    createrepo(&mirror.vendor().0);
    site.configure(|settings| settings.unsigned = true);
}

#[test]
fn what_nodes_would_not_keep_is_not_published() {
    let Some(mut site) = Site::built() else { return };
    if !has("rpmbuild") || !has("createrepo_c") {
        return;
    }
    with_a_greedy_dkms_package(&mut site);
    site.configure(|settings| {
        settings.consumers = Some("{vendor: exposed, exclude: [], priority: 99}".to_owned());
    });
    let refused = site.run(&["run", "--quiet"]).ends_with(6);
    insta::assert_snapshot!("takeover", text::stable(&site, refused.error()));
    assert!(!site.repository(&site.lab.newer).exists(), "nothing is published");
    // Either of the two defences is enough.
    for consumers in ["{vendor: exposed, exclude: []}", "{vendor: exposed, priority: 99}"] {
        site.configure(|settings| settings.consumers = Some(consumers.to_owned()));
        site.run(&["run"]).succeeds();
    }
}

#[test]
fn nodes_that_see_the_vendors_repository_keep_the_modules_with_the_repo_file_and_lose_them_without() {
    let Some(mut site) = Site::built() else { return };
    if !["dnf", "rpmbuild", "createrepo_c"].iter().all(|tool| has(tool)) {
        return;
    }
    with_a_greedy_dkms_package(&mut site);
    site.configure(|settings| settings.consumers = Some("{vendor: exposed}".to_owned()));
    site.run(&["run"]).succeeds();
    let kernel = site.lab.newer.clone();
    let file = std::fs::read_to_string(site.repository(&kernel).join("drivetrain.repo")).unwrap();
    assert!(file.contains("excludepkgs=*-dkms\n") && file.contains("priority=50\n"), "{file}");

    let node = Node::new(&site, "node", &[&kernel]).with_train();
    node.dnf(&["install", "kmod-hello"]);
    node.dnf(&["upgrade"]);
    let installed = node.installed();
    assert!(installed.iter().any(|name| name == "kmod-hello"), "{installed:?}");
    assert!(!installed.iter().any(|name| name.contains("dkms")), "{installed:?}");

    // The same node without what the file says: dnf does what the guard is for.
    let careless: String = file
        .lines()
        .filter(|line| !line.starts_with("excludepkgs=") && !line.starts_with("priority="))
        .map(|line| format!("{line}\n"))
        .collect();
    node.write_repository_file(&format!("{}.repo", kernel.release), &careless);
    node.dnf(&["upgrade"]);
    let installed = node.installed();
    assert!(installed.iter().any(|name| name == "hello-kmod-dkms"), "{installed:?}");
    assert!(!installed.iter().any(|name| name == "kmod-hello"), "{installed:?}");
}

#[test]
fn packages_are_fetched_once_for_all_cells_and_what_is_known_of_a_repository_is_not_read_again() {
    let Some(mut site) = wanting(Site::built()) else { return };
    let mirror = mirror(&site);
    let server = Server::of(&mirror.www);
    mirror.served_from(&mut site, &server.url());
    site.run(&["run"]).succeeds();
    let asked = |name: &str| server.requests().iter().filter(|request| request.path.contains(name)).count();
    assert_eq!(asked("hello-tools"), 1);
    let before = server.requests().len();
    // Another cell, with the same packages.
    site.configure(|settings| settings.macros.push(("packager".to_owned(), "second".to_owned())));
    site.run(&["run"]).succeeds();
    assert_eq!(asked("hello-tools"), 1, "never a byte twice");
    let since: Vec<String> = server.requests()[before..].iter().map(|request| request.path.clone()).collect();
    assert!(since.iter().all(|path| path.contains("repomd.xml")), "{since:?}");
}
