//! Packages that are signed here, and metadata that a signing service of the server signs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use camino::Utf8Path;
use drivetrain_lab::pulp::{Behaviour, Options, Release, ThrowawayKey};
use drivetrain_publish::{
    ConsumerSettings, Depth, Outcome, Promotion, PublishError, PulpOptions, PulpTarget, RepositoryPath,
    Signing, Target as _, repo_file,
};
use drivetrain_pulp::{Notice, Settings};
use drivetrain_rpmfile::PackageKey;
use serde_json::json;

use crate::bed::{Bed, fetch, publication, publication_at, published, whole};
use crate::support::{change, path};

const RELEASE: &str = "release/lab-9.4/x86_64";

/// A target whose metadata this service signs, and its packages this key.
fn target(bed: &Bed, service: Option<&str>, key: Option<&ThrowawayKey>) -> PulpTarget {
    target_with(bed, bed.settings(), service, key)
}

fn target_with(
    bed: &Bed,
    settings: Settings,
    service: Option<&str>,
    key: Option<&ThrowawayKey>,
) -> PulpTarget {
    let options = PulpOptions { signing_service: service.map(str::to_owned), ..PulpOptions::default() };
    let target = bed.target_with(settings, options);
    if let Some(key) = key {
        target.packages_are_signed(Signing::new(&*key.fingerprint, &*key.public, |_, _| {
            Err("metadata are not signed here".to_owned())
        }));
    }
    target
}

/// Packages, signed.
fn signed(bed: &Bed, key: &ThrowawayKey, set: &str, count: usize) -> Vec<PathBuf> {
    let key = PackageKey::read(&key.secret, None, now()).unwrap();
    let sign = |rpm: PathBuf| {
        let to = rpm.with_extension("signed.rpm");
        key.sign(&rpm, &to).unwrap();
        to
    };
    bed.rpms(set, count).into_iter().map(sign).collect()
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A consumer's root, which has a `.repo` file and nothing else.
struct Consumer(tempfile::TempDir);

impl Consumer {
    fn new(repo: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        // dnf does not make them, and ends where they are not there.
        for directory in ["repos", "cache", "log", "persist", "root"] {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        std::fs::write(root.path().join("repos/drivers.repo"), repo).unwrap();
        std::fs::write(root.path().join("dnf.conf"), "[main]\n").unwrap();
        Self(root)
    }

    /// With what Pulp says at a repository.
    fn of(url: &str) -> Self {
        let (status, text) = fetch(&format!("{url}config.repo"));
        assert_eq!(status, 200);
        Self::new(std::str::from_utf8(&text).unwrap())
    }

    /// What real dnf says to an installation: all that it printed, as an error where it refused.
    fn install(&self, package: &str) -> Result<String, String> {
        let root: &Path = self.0.path();
        let output = Command::new("dnf")
            .arg(format!("--config={}/dnf.conf", root.display()))
            .args(["-y", "--noplugins", "--releasever=9", "--refresh", "--setopt=retries=1"])
            .args(["--forcearch=x86_64"])
            .arg(format!("--setopt=reposdir={}/repos", root.display()))
            .arg(format!("--setopt=cachedir={}/cache", root.display()))
            .arg(format!("--setopt=logdir={}/log", root.display()))
            .arg(format!("--setopt=persistdir={}/persist", root.display()))
            .arg(format!("--installroot={}/root", root.display()))
            .args(["install", package])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(said) } else { Err(said) }
    }
}

/// What `rpmkeys -K` says of a package, where this public key is known and no other.
fn rpmkeys(package: &Path, key: &ThrowawayKey) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let public = scratch.path().join("key.asc");
    std::fs::write(&public, &key.public).unwrap();
    let rpmkeys = |arguments: &[&str], file: &Path| {
        let output = Command::new("rpmkeys")
            .arg(format!("--dbpath={}", scratch.path().join("db").display()))
            .args(arguments)
            .arg(file)
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    rpmkeys(&["--import"], &public);
    rpmkeys(&["-K"], package)
}

/// The lines of a `config.repo` that are about signatures.
fn about_signatures(bed: &Bed, url: &str) -> String {
    let (status, text) = fetch(&format!("{url}config.repo"));
    assert_eq!(status, 200);
    let text = String::from_utf8(text).unwrap().replace(&bed.server.content_url(), "http://CONTENT");
    let mut lines: Vec<&str> = text.lines().filter(|line| line.contains("gpg")).collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn throwaway(bed: &Bed, name: &str) -> ThrowawayKey {
    let directory = Utf8Path::from_path(bed.files.path()).unwrap().join(name);
    ThrowawayKey::make(&directory, name).unwrap()
}

/// Changes one byte of the file that the server has of something that it serves.
fn change_byte(bed: &Bed, bytes: &[u8]) {
    let digest = drivetrain_model::Sha256Digest::of(bytes).to_string();
    let file = bed.server.directory().join("data/media/artifact").join(&digest[..2]).join(&digest[2..]);
    let mut changed = bytes.to_vec();
    let at = changed.len() / 2;
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    std::fs::write(file, changed).unwrap();
}

#[test]
fn what_is_signed_by_one_key_is_installed_with_both_checks_in_every_channel() {
    one_key_for_all(Release::Current);
}

#[test]
fn an_old_server_signs_metadata_as_well() {
    one_key_for_all(Release::Lts);
}

fn one_key_for_all(release: Release) {
    let Some(bed) = Bed::new(release) else { return };
    let service = bed.server.add_signing_service("site").unwrap();
    let target = target(&bed, Some("site"), Some(&service.key));
    let rpms = signed(&bed, &service.key, "a", 2);
    target.ensure(&path().into()).unwrap();
    let one = published(target.publish(&publication(&rpms, "one")).unwrap());
    assert_eq!(one.warnings, Vec::<String>::new(), "{release}");
    insta::allow_duplicates! {
        insta::assert_snapshot!(about_signatures(&bed, &one.url), @r"
        gpgcheck=1
        gpgkey=http://CONTENT/pulp/content/lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64/repodata/repomd.xml.key
        repo_gpgcheck=1
        ");
    }
    Consumer::of(&one.url).install("kmod-a-0").unwrap();
    assert_eq!(target.check(&path(), Depth::Packages).unwrap().packages, 2);
    let record = target.state(&path()).unwrap().unwrap().record.unwrap();
    assert_eq!(record.signed_by.as_ref(), Some(&service.key.fingerprint));
    assert_eq!(record.metadata_signed_by, record.signed_by);
    assert_eq!(target.publish(&publication(&rpms, "one")).unwrap(), Outcome::Unchanged { version: 1 });

    // In another channel, after another version, and after a way back.
    let promotion = Promotion {
        from: path(),
        to: RepositoryPath::parse(RELEASE).unwrap().into(),
        consumers: ConsumerSettings { priority: 50, vendor: None },
    };
    let promoted = target.promote(&[promotion], &change("anna@lab")).unwrap().remove(0);
    let consumer = Consumer::of(&promoted.url);
    consumer.install("kmod-a-0").unwrap();
    let two = target.publish(&publication(&signed(&bed, &service.key, "b", 1), "two")).unwrap();
    Consumer::of(&published(two).url).install("kmod-b-0").unwrap();
    target.rollback(&path(), None, &change("anna@lab")).unwrap();
    Consumer::of(&one.url).install("kmod-a-1").unwrap();

    // rpm knows the packages, and does not know them by another key.
    let served = target.packages(&path(), bed.files.path()).unwrap();
    assert!(rpmkeys(&served[0], &service.key).contains("digests signatures OK"), "{release}");
    let stranger = throwaway(&bed, "stranger");
    assert!(rpmkeys(&served[0], &stranger).contains("SIGNATURES NOT OK"), "{release}");

    // One byte of the metadata: nobody takes them any more.
    let (_, repomd) = fetch(&format!("{}repodata/repomd.xml", one.url));
    change_byte(&bed, &repomd);
    let refused = consumer.install("kmod-a-1").unwrap_err();
    assert!(refused.contains("repomd.xml GPG signature verification error"), "{refused}");
    assert!(target.check(&path(), Depth::Metadata).is_err());
}

#[test]
fn a_signature_that_was_changed_is_seen() {
    let Some(bed) = Bed::new(Release::Current) else { return };
    let service = bed.server.add_signing_service("site").unwrap();
    let target = target(&bed, Some("site"), Some(&service.key));
    let rpms = signed(&bed, &service.key, "a", 1);
    let done = published(target.publish(&publication(&rpms, "one")).unwrap());
    let (_, signature) = fetch(&format!("{}repodata/repomd.xml.asc", done.url));
    change_byte(&bed, &signature);
    let error = target.check(&path(), Depth::Metadata).unwrap_err();
    assert!(matches!(error, PublishError::NotSigned { .. }), "{error:?}");
    let refused = Consumer::of(&done.url).install("kmod-a-0").unwrap_err();
    assert!(refused.contains("GPG signature verification error"), "{refused}");

    // A package with one byte changed is none that dnf installs.
    let package = std::fs::read(&rpms[0]).unwrap();
    change_byte(&bed, &package);
    assert!(target.check(&path(), Depth::Packages).is_err());
}

#[test]
fn a_service_that_fails_hangs_or_signs_something_else_leaves_what_was_served() {
    let fast = Options { fast_auth: true, ..Options::default() };
    let Some(bed) = Bed::with(Release::Current, fast) else { return };
    let service = bed.server.add_signing_service("site").unwrap();
    let mut settings = bed.settings();
    settings.task_patience = Duration::from_secs(15);
    let target = target_with(&bed, settings, Some("site"), Some(&service.key));
    let old = published(target.publish(&publication(&signed(&bed, &service.key, "old", 1), "old")).unwrap());
    let new = publication(&signed(&bed, &service.key, "new", 1), "new");
    let refused = |how: Behaviour| {
        service.behave(how).unwrap();
        let error = target.publish(&new).unwrap_err();
        let state = target.state(&path()).unwrap().unwrap();
        assert_eq!(state.version, Some(old.version), "{how:?}");
        target.check(&path(), Depth::Packages).unwrap();
        Consumer::of(&old.url).install("kmod-old-0").unwrap();
        (whole(&error).replace(&service.key.fingerprint, "FINGERPRINT"), error)
    };
    let (said, error) = refused(Behaviour::Fail);
    assert!(matches!(error, PublishError::SigningService { .. }), "{error:?}");
    assert!(said.contains("the signing service site signs"), "{said}");
    println!("{said}");
    let (said, error) = refused(Behaviour::SignSomethingElse);
    assert!(matches!(error, PublishError::NotSigned { .. }), "{error:?}");
    println!("{said}");
    assert!(said.contains("are not signed by the key FINGERPRINT: repodata/repomd.xml.asc: "), "{said}");
    let (said, error) = refused(Behaviour::Hang);
    println!("{said}");
    assert!(matches!(error, PublishError::SigningService { .. }), "{error:?}");

    // And as soon as it signs again, the next run goes on.
    service.behave(Behaviour::Sign).unwrap();
    let done = published(target.publish(&new).unwrap());
    assert_eq!((done.version, done.warnings), (2, Vec::new()));
    Consumer::of(&done.url).install("kmod-new-0").unwrap();
}

#[test]
fn a_service_that_is_not_there_is_said_before_a_build_and_one_that_was_taken_away_is_put_back() {
    let Some(bed) = Bed::new(Release::Current) else { return };
    let early = |name: &str| {
        let error = target(&bed, Some(name), None).ensure(&path().into()).unwrap_err();
        whole(&error).replace(&bed.server.api_url(), "http://SERVER")
    };
    insta::assert_snapshot!(early("our site"), @"publish.pulp.signing_service our site is in the way: not on http://SERVER: there is none that this user may see. Its administrator adds it there with `pulpcore-manager add-signing-service 'our site' PROGRAM FINGERPRINT --gnupghome DIRECTORY`");
    let service = bed.server.add_signing_service("site").unwrap();
    bed.server.add_signing_service("other").unwrap();
    let said = early("sites");
    assert!(said.contains("there are ") && said.contains("site") && said.contains("other"), "{said}");

    let told = Arc::new(Mutex::new(Vec::new()));
    let mut settings = bed.settings();
    let tell = told.clone();
    settings.notice = Notice::new(move |what| tell.lock().unwrap().push(what.to_owned()));
    let target = target_with(&bed, settings, Some("site"), None);
    let rpms = bed.rpms("a", 1);
    let one = published(target.publish(&publication(&rpms, "one")).unwrap());
    assert_eq!(*told.lock().unwrap(), Vec::<String>::new(), "a new repository had none");
    insta::assert_snapshot!(about_signatures(&bed, &one.url), @r"
    gpgcheck=0
    gpgkey=http://CONTENT/pulp/content/lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64/repodata/repomd.xml.key
    repo_gpgcheck=1
    ");
    Consumer::of(&one.url).install("kmod-a-0").unwrap();

    let (_, list) = bed.server.request("GET", "/pulp/api/v3/repositories/rpm/rpm/", None).unwrap();
    let repository = list["results"][0]["pulp_href"].as_str().unwrap().to_owned();
    let (_, services) = bed.server.request("GET", "/pulp/api/v3/signing-services/?name=other", None).unwrap();
    for other in [json!(null), services["results"][0]["pulp_href"].clone()] {
        let taken = json!({ "metadata_signing_service": other });
        let (status, answer) = bed.server.request("PATCH", &repository, Some(&taken)).unwrap();
        assert!(matches!(status, 200 | 202), "{answer}");
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(target.publish(&publication(&rpms, "one")).unwrap(), Outcome::Unchanged { version: 1 });
        let (_, now) = bed.server.request("GET", &repository, None).unwrap();
        assert!(now["metadata_signing_service"].is_string());
    }
    let told = told.lock().unwrap().join("\n").replace(&bed.server.api_url(), "http://SERVER");
    assert!(
        told.contains("of http://SERVER had no signing service for its metadata: it has site now"),
        "{told}"
    );
    assert!(told.contains("had the signing service /pulp/api/v3/signing-services/"), "{told}");

    // Another service: another publication, of the same packages.
    let other = self::target(&bed, Some("other"), None);
    let two = published(other.publish(&publication(&rpms, "one")).unwrap());
    let record = other.state(&path()).unwrap().unwrap().record.unwrap();
    assert_ne!(record.metadata_signed_by, Some(service.key.fingerprint));
    Consumer::of(&two.url).install("kmod-a-0").unwrap();
}

#[test]
fn two_keys_are_both_told_where_that_can_be_said() {
    let Some(bed) = Bed::new(Release::Current) else { return };
    let service = bed.server.add_signing_service("site").unwrap();
    let ours = throwaway(&bed, "ours");
    let target = target(&bed, Some("site"), Some(&ours));
    let rpms = signed(&bed, &ours, "a", 2);
    let done = published(target.publish(&publication(&rpms, "one")).unwrap());
    insta::assert_snapshot!(done.warnings.join("\n"), @"packages are signed with other keys than the one of the signing service site, and Pulp names that one alone in config.repo: it says gpgcheck=0 and repo_gpgcheck=1, so that nodes verify packages by the checksums in the signed metadata; what `drivetrain status --repo-file` prints names all keys");
    insta::assert_snapshot!(about_signatures(&bed, &done.url), @r"
    gpgcheck=0
    gpgkey=http://CONTENT/pulp/content/lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64/repodata/repomd.xml.key
    repo_gpgcheck=1
    ");
    Consumer::of(&done.url).install("kmod-a-0").unwrap();

    let served = target.state(&path()).unwrap().unwrap();
    let consumers = ConsumerSettings { priority: 50, vendor: None };
    let text = repo_file(&served.record.unwrap(), &consumers, &served.url);
    assert!(text.contains("gpgcheck=1\nrepo_gpgcheck=1\n"), "{text}");
    assert!(text.contains(&ours.fingerprint) && text.contains(&service.key.fingerprint), "{text}");
    Consumer::new(&text).install("kmod-a-0").unwrap();
    // It is asked for: without our key dnf refuses the package.
    let without: String =
        text.lines().filter(|line| !line.contains("drivetrain-keys")).fold(String::new(), |text, line| {
            text + line
                .trim_start()
                .replace("http", "gpgkey=http")
                .replace("baseurl=gpgkey=", "baseurl=")
                .as_str()
                + "\n"
        });
    let refused = Consumer::new(&without).install("kmod-a-0").unwrap_err();
    assert!(refused.contains("GPG check FAILED") || refused.contains("is not installed"), "{refused}");
}

#[test]
fn packages_alone_can_be_signed_and_their_keys_are_served_to_all_channels() {
    packages_alone(Release::Current);
}

#[test]
fn an_old_server_serves_the_keys_of_packages_as_well() {
    packages_alone(Release::Lts);
}

fn packages_alone(release: Release) {
    let Some(bed) = Bed::new(release) else { return };
    let (ours, vendors) = (throwaway(&bed, "ours"), throwaway(&bed, "vendor"));
    let target = target(&bed, None, Some(&ours));
    let mut rpms = signed(&bed, &ours, "a", 1);
    rpms.extend(signed(&bed, &vendors, "vendor", 1));
    let mut one = publication_at("development/lab-9.4/x86_64", &rpms, "one");
    one.keys = vendors.public.clone();
    let done = published(target.publish(&one).unwrap());
    let warning = done.warnings.join("\n").replace(&ours.fingerprint, "FINGERPRINT");
    insta::allow_duplicates! {
        insta::assert_snapshot!(warning, @"the packages are signed with the key FINGERPRINT and the metadata are not, since no publish.pulp.signing_service is named: config.repo says gpgcheck=1 and repo_gpgcheck=0");
    }
    let promotion = Promotion {
        from: one.address.path.clone(),
        to: RepositoryPath::parse(RELEASE).unwrap().into(),
        consumers: ConsumerSettings { priority: 50, vendor: None },
    };
    let promoted = target.promote(&[promotion], &change("anna@lab")).unwrap().remove(0);
    for url in [&done.url, &promoted.url] {
        let said = about_signatures(&bed, url);
        assert!(said.contains("gpgcheck=1\n") && said.contains("repo_gpgcheck=0"), "{said}");
        assert!(said.contains("/drivetrain-keys/"), "{said}");
        let consumer = Consumer::of(url);
        consumer.install("kmod-a-0").unwrap();
        consumer.install("kmod-vendor-0").unwrap();
    }
    let served = target.state(&RepositoryPath::parse(RELEASE).unwrap()).unwrap().unwrap();
    let consumers = ConsumerSettings { priority: 50, vendor: None };
    let text = repo_file(&served.record.unwrap(), &consumers, &served.url);
    Consumer::new(&text).install("kmod-a-0").unwrap();

    // A package that nobody has signed is refused by nodes.
    let mut two = publication_at("development/lab-9.4/x86_64", &bed.rpms("bare", 1), "two");
    two.replace = true;
    let two = published(target.publish(&two).unwrap());
    assert!(Consumer::of(&two.url).install("kmod-bare-0").unwrap_err().contains("is not signed"));
}

#[test]
fn the_same_packages_signed_anew_take_the_place_of_those_that_are_served() {
    let Some(bed) = Bed::new(Release::Current) else { return };
    let one = published(bed.target().publish(&publication(&bed.rpms("a", 3), "one")).unwrap());
    let ours = throwaway(&bed, "ours");
    let target = target(&bed, None, Some(&ours));
    let two = published(target.publish(&publication(&signed(&bed, &ours, "a", 3), "two")).unwrap());
    assert_eq!((one.version, two.version), (1, 2));
    Consumer::of(&two.url).install("kmod-a-0").unwrap();
}
