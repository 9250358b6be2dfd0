//! What is published beside a repository, judged by gpg and by `drivetrain verify`; and what that finds.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::consumer::has;
use common::gpg::{Gpg, sign_with};
use common::repository::flip_a_byte;
use common::server::Server;
use common::{Output, Site, copy};
use drivetrain_model::Sha256Digest;
use serde_json::Value;

const KEY: &str = "drivers@example.com";

/// A signed repository that is served, and the public key of it.
fn signed() -> Option<(Site, Gpg, PathBuf)> {
    if !has("gpg") {
        return None;
    }
    let mut site = Site::built()?;
    let gpg = Gpg::new(&site);
    let key = gpg.key(&site, KEY);
    sign_with(&mut site, &key);
    site.run(&["run"]).succeeds();
    let public = gpg.public(&site, KEY);
    Some((site, gpg, public))
}

fn verify(site: &Site, repository: &Path, arguments: &[&str]) -> Output {
    let repository = repository.to_str().unwrap();
    site.run(&[&["verify", repository], arguments].concat())
}

/// A copy of what is served that may be changed.
fn copied(site: &Site, name: &str) -> PathBuf {
    let into = site.path("copies").join(name);
    copy("-aL", &site.repository(&site.lab.newer), &into);
    into.join("x86_64")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_published_repository_is_verified_from_end_to_end() {
    let Some((site, gpg, public)) = signed() else { return };
    let kernel = &site.lab.newer;
    let repository = site.repository(kernel);
    let public = public.to_str().unwrap();

    // By whoever has the key and nothing of the site's, over http.
    let top = repository.parent().unwrap();
    let server = Server::of(top);
    let url = format!("{}/x86_64/", server.url());
    let devel = kernel.devel.to_str().unwrap();
    let verified =
        site.run(&["verify", &url, "--key", public, "--kernel", &kernel.release, "--against", devel]);
    let said = verified.succeeds().stdout.clone();
    for what in [
        "ok      repomd.xml     signed with",
        "ok      statement      signed with",
        "ok      subjects       it names these packages and no others",
        "ok      signatures     of packages: ",
        "ok      evidence",
        "ok      materials      CycloneDX",
        "ok      lock",
        &format!("for {}", kernel.release),
        &format!("modules fit {}", kernel.release),
        "all is well",
    ] {
        assert!(said.contains(what), "{what:?} is not in\n{said}");
    }

    // The statement names what is served, and gpg agrees that the site signed it.
    let evidence = repository.join("evidence");
    let (statement, signature) = (evidence.join("provenance.json"), evidence.join("provenance.json.asc"));
    gpg.run(&["--verify", signature.to_str().unwrap(), statement.to_str().unwrap()]);
    let statement = json(&statement);
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    let subjects: BTreeMap<String, String> = statement["subject"]
        .as_array()
        .unwrap()
        .iter()
        .map(|subject| (text(&subject["name"]), text(&subject["digest"]["sha256"])))
        .collect();
    let served: BTreeMap<String, String> = site
        .served(kernel)
        .into_iter()
        .map(|file| {
            let bytes = std::fs::read(repository.join("Packages").join(&file)).unwrap();
            (file, Sha256Digest::of(&bytes).to_string())
        })
        .collect();
    assert_eq!(subjects, served);

    // Every input of the lock is in it, by its digest.
    let lock = json(&evidence.join("lock.json"));
    let dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"].to_string();
    for input in lock["inputs"].as_array().unwrap() {
        assert!(dependencies.contains(input["checksum"]["hex"].as_str().unwrap()), "{input}");
    }
    for component in lock["components"].as_array().unwrap() {
        assert!(dependencies.contains(component["sha256"].as_str().unwrap()), "{component}");
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn without_a_key_it_is_said_that_the_repository_vouches_for_itself() {
    let Some((site, gpg, _)) = signed() else { return };
    let repository = site.repository(&site.lab.newer);
    let said = verify(&site, &repository, &[]).succeeds().stdout.clone();
    assert!(said.contains("served by the repository itself"), "{said}");
    assert!(said.contains("all is well, with 1 note"), "{said}");

    // Somebody else's key does not vouch for it.
    gpg.key(&site, "other@example.com");
    let other = gpg.public(&site, "other@example.com");
    let refused = verify(&site, &repository, &["--key", other.to_str().unwrap()]).ends_with(4);
    assert!(refused.stdout.contains("which --key does not name"), "{}", refused.stdout);
    assert!(refused.stdout.contains("do not install from it"), "{}", refused.stdout);
}

#[test]
fn whatever_is_changed_in_a_repository_is_found() {
    let Some((site, _gpg, public)) = signed() else { return };
    let key = ["--key", public.to_str().unwrap()];

    let at = copied(&site, "package");
    let package = std::fs::read_dir(at.join("Packages")).unwrap().next().unwrap().unwrap().path();
    flip_a_byte(&package);
    // What an earlier look at the repository has in the store must not hide it.
    verify(&site, &at, &key).ends_with(4).says("checksum");

    let ends = |code: i32, name: &str, change: &dyn Fn(&Path), says: &str| {
        let at = copied(&site, name);
        change(&at);
        let output = verify(&site, &at, &key).ends_with(code);
        assert!(
            output.stdout.contains(says),
            "{name}: {says:?} is not in\n{}\n{}",
            output.stdout,
            output.stderr
        );
    };
    let found = |name: &str, change: &dyn Fn(&Path), says: &str| ends(4, name, change, says);
    let edit = |path: PathBuf, from: &str, to: &str| {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in {}", path.display());
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    };
    found(
        "metadata",
        &|at| edit(at.join("repodata/repomd.xml"), "<revision>", "<revision>1"),
        "BAD     repomd.xml     its signature is not good",
    );
    found(
        "signature",
        &|at| std::fs::remove_file(at.join("repodata/repomd.xml.asc")).unwrap(),
        "BAD     repomd.xml     not signed",
    );
    found(
        "statement",
        &|at| edit(at.join("evidence/provenance.json"), "\"driver\"", "\"Driver\""),
        "BAD     statement      its signature is not good",
    );
    found(
        "no statement",
        &|at| std::fs::remove_file(at.join("evidence/provenance.json")).unwrap(),
        "BAD     statement      none",
    );
    found(
        "lock",
        &|at| edit(at.join("evidence/lock.json"), "\"format\": 1", "\"format\": 2"),
        "lock.json is another file than the statement names",
    );
    found(
        "verdict",
        &|at| std::fs::remove_file(at.join("evidence/verdicts.json")).unwrap(),
        "verdicts.json is not there",
    );
    // A statement of another repository, whole and signed by the same site.
    let older = site.lab.older.clone();
    let pinned = format!("train.kernel={{exact: {}}}", older.release);
    site.run(&["run", "--set", &pinned]).succeeds();
    // Its modules are for another kernel than it says.
    ends(
        6,
        "another statement",
        &|at| {
            std::fs::remove_dir_all(at.join("evidence")).unwrap();
            copy("-aL", &site.repository(&older).join("evidence"), at);
        },
        "it is not about these packages",
    );
}

#[test]
fn an_unsigned_repository_and_one_for_another_kernel_are_told_apart() {
    let Some(site) = Site::built() else { return };
    site.run(&["run"]).succeeds();
    let (kernel, other) = (&site.lab.newer, &site.lab.older);
    let repository = site.repository(kernel);
    let said = verify(&site, &repository, &[]).ends_with(4).stdout.clone();
    assert!(said.contains("BAD     repomd.xml     not signed"), "{said}");

    let allow = ["--allow", "unsigned"];
    verify(&site, &repository, &allow).succeeds();
    let wrong = verify(&site, &repository, &[&allow[..], &["--kernel", &other.release]].concat());
    assert!(wrong.ends_with(6).stdout.contains(&format!("there are no modules for {}", other.release)));
    let devel = other.devel.to_str().unwrap();
    let wrong = verify(&site, &repository, &[&allow[..], &["--against", devel]].concat()).ends_with(6);
    assert!(wrong.stdout.contains("UNFIT   symbols"), "{}", wrong.stdout);

    // What a program reads says the same.
    let answer = verify(&site, &repository, &["--json"]).ends_with(4).json();
    assert_eq!(answer["cell"]["kernel"], kernel.release.as_str());
    assert!(answer["checks"].as_array().unwrap().iter().any(|check| check["result"] == "bad"), "{answer}");
}
