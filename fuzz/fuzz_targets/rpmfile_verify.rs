//! Digests, signatures and unpacking of an RPM of any bytes. The key is one that nobody has the secret of: what is
//! verified by it would be a forgery, but for the seed that it signed.
#![no_main]

use std::cell::LazyCell;

use drivetrain_rpmfile::{Keyring, PayloadLimits, extract, verify};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static KEYRING: LazyCell<Keyring> = LazyCell::new(|| {
        Keyring::from_armored(&[include_bytes!("rpmfile_key.asc")]).expect("the key is good")
    });
    static DIRECTORY: LazyCell<tempfile::TempDir> = LazyCell::new(|| tempfile::tempdir().expect("a directory"));
}

fuzz_target!(|bytes: &[u8]| {
    let directory = DIRECTORY.with(|directory| directory.path().to_owned());
    let path = directory.join("package.rpm");
    std::fs::write(&path, bytes).expect("it can be written");
    drop(KEYRING.with(|keyring| verify(&path, keyring)));
    let to = directory.join("to");
    drop(std::fs::create_dir(&to));
    let limits = PayloadLimits { max_total: 1 << 20, max_file: 1 << 20, max_files: 100 };
    drop(extract(&path, &to, &limits, |_| true));
    drop(std::fs::remove_dir_all(&to));
    let count = std::fs::read_dir(&directory).expect("it can be listed").count();
    assert_eq!(count, 1, "something was written beside the destination");
});
