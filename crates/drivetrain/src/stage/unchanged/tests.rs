use drivetrain_model::{Capability, Checksum, Evr};
use drivetrain_rpmfile::{Changes, MetaPackage, PayloadLimits, RpmFile, rewrite};
use tempfile::TempDir;

use super::*;

/// A package in this directory.
fn package(place: &Path, name: &str) -> PathBuf {
    let path = place.join(format!("{name}.rpm"));
    let meta = MetaPackage {
        name: name.to_owned(),
        evr: Evr::parse("1-1"),
        summary: "A package".to_owned(),
        description: "A package.".to_owned(),
        build_time: 1_700_000_000,
        requires: Vec::new(),
        conflicts: Vec::new(),
        obsoletes: Vec::new(),
    };
    meta.write(&path).unwrap();
    path
}

/// The same package, as whole as before, but for what it offers.
fn change(package: &Path, to: &Path) {
    struct Offers;
    impl Changes for Offers {
        fn provides(&self) -> Vec<Capability> {
            vec![Capability::unversioned("something-else")]
        }
    }
    rewrite(package, to, &PayloadLimits::default(), &mut Offers).unwrap();
}

fn taken(packages: &[PathBuf]) -> AsProven {
    let digests = packages.iter().map(|path| (path.clone(), package_digests(path).unwrap()));
    AsProven(digests.collect::<BTreeMap<_, _>>())
}

/// The failure, with names in place of the directory and the digests.
fn told(place: &Path, failure: &Failure) -> String {
    let mut text = format!("{} ({})", failure.one_line(), u8::from(failure.code));
    text = text.replace(&format!("{}/", place.display()), "");
    let mut known: Vec<String> = Vec::new();
    while let Some(at) = text.find("sha256 ") {
        let digits = text[at + 7..at + 71].to_owned();
        let number = known.iter().position(|one| *one == digits).unwrap_or(known.len());
        known.push(digits.clone());
        text = text.replace(&format!("sha256 {digits}"), &format!("digest {number}"));
    }
    text
}

#[test]
fn a_package_that_was_changed_after_the_proof_is_not_handed_over() {
    let place = TempDir::new().unwrap();
    let packages = vec![package(place.path(), "one"), package(place.path(), "two")];
    let proven = taken(&packages);
    assert_eq!(proven.compare(&packages, &packages).unwrap().len(), 2);
    let changed = place.path().join("changed.rpm");
    change(&packages[1], &changed);
    std::fs::rename(changed, &packages[1]).unwrap();
    let failure = proven.compare(&packages, &packages).unwrap_err();
    insta::assert_snapshot!(told(place.path(), &failure), @"two.rpm was changed by somebody after it was proven; nothing was published: digest 0 was proven: digest 1 is to be published (7)");
    // And what is built is held to what the build said.
    let made = package_digests(&packages[0]).unwrap().file;
    require_made(&packages[0], made).unwrap();
    let failure = require_made(&packages[1], made).unwrap_err();
    insta::assert_snapshot!(told(place.path(), &failure), @"two.rpm was changed by somebody after it was made; nothing was published: digest 0 was made: digest 1 is there (6)");
}

#[test]
fn a_copy_may_differ_in_its_signature_and_in_nothing_else() {
    let place = TempDir::new().unwrap();
    let one = package(place.path(), "one");
    let proven = taken(std::slice::from_ref(&one));
    // What is before the header is where signatures are.
    let copy = place.path().join("copy.rpm");
    let mut bytes = std::fs::read(&one).unwrap();
    bytes[10] = b'x';
    std::fs::write(&copy, &bytes).unwrap();
    let expected = proven.compare(std::slice::from_ref(&one), std::slice::from_ref(&copy)).unwrap();
    assert_eq!(expected, BTreeSet::from([Sha256Digest::of(&bytes)]));
    let changed = place.path().join("changed.rpm");
    change(&one, &changed);
    let failure = proven.compare(std::slice::from_ref(&one), &[changed]).unwrap_err();
    assert!(failure.message.contains("one.rpm was changed"), "{failure:?}");
    assert_eq!(failure.code, ExitCode::Publish);
    assert_eq!(proven.compare(&[one], &[]).unwrap_err().code, ExitCode::Internal);
}

#[test]
fn a_repository_lists_what_was_handed_over_and_nothing_else() {
    let place = TempDir::new().unwrap();
    let one = package(place.path(), "one");
    let listed = |path: &Path, bytes: &[u8]| {
        let file = RpmFile::open(path).unwrap();
        file.into_package(Checksum::from(Sha256Digest::of(bytes)), 0, "one.rpm".to_owned())
    };
    let bytes = std::fs::read(&one).unwrap();
    let judge = listing(BTreeSet::from([Sha256Digest::of(&bytes)]));
    assert_eq!(judge(&[listed(&one, &bytes)]), Ok(()));
    assert_eq!(judge(&[]), Err("1 packages were proven, and it lists 0".to_owned()));
    let told = judge(&[listed(&one, b"other")]).unwrap_err();
    assert!(told.starts_with("one-1-1.noarch is listed with sha256:"), "{told}");
}
