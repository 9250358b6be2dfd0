//! Modules, kernels and packages for the tests.
#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::error::Error;
use std::io::Write;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_kmod::fixture::ModuleBuilder;
use drivetrain_prove::{Limits, ModuleFile, Modules, ProveError, read_modules};
use fs_err as fs;
use rpm::{BuildConfig, CompressionType, FileOptions, IndexTag, Package, PackageBuilder};
use sha2::{Digest, Sha256, Sha512};
use tempfile::TempDir;

pub const RELEASE: &str = "5.14.0-427.31.1.el9_4.x86_64";
pub const EXTRA: &str = "/lib/modules/5.14.0-427.31.1.el9_4.x86_64/extra";
pub const SOURCES: &str = "/usr/src/kernels/5.14.0-427.31.1.el9_4.x86_64";
pub const MODULES: &str = "/lib/modules/5.14.0-427.31.1.el9_4.x86_64";

/// A directory of a test's own.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).unwrap().to_owned()
    }

    /// Writes a file, and the directories that it takes.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Utf8PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// An error and all its causes, without the place's path.
    pub fn text(&self, error: &dyn Error) -> String {
        chain(error).replace(self.path().as_str(), "PLACE")
    }

    pub fn error(&self, files: &[Utf8PathBuf]) -> String {
        self.text(&read_modules(files, &Limits::default()).unwrap_err())
    }
}

pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// A module that fits [`symvers`].
pub fn module(name: &str) -> ModuleBuilder {
    ModuleBuilder::new(name, RELEASE).version("module_layout", 0x11).import("_printk", 0x22)
}

/// What the kernel of the tests exports.
pub fn symvers() -> String {
    "0x00000011\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n\
     0x00000022\t_printk\tvmlinux\tEXPORT_SYMBOL\t\n\
     0x00000033\tib_register_client\tdrivers/infiniband/core/ib_core\tEXPORT_SYMBOL\t\n"
        .to_owned()
}

pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(content, 3).unwrap()
}

/// An RPM with some files.
pub fn package(files: &[(&str, &[u8])], compression: CompressionType) -> Vec<u8> {
    let mut builder = PackageBuilder::new("kmod-x", "1.0", "GPL-2.0-only", "x86_64", "A driver");
    builder.using_config(BuildConfig::default().compression(compression).source_date(1_700_000_000));
    for (path, content) in files {
        builder.with_file_contents(content.to_vec(), FileOptions::new(*path)).unwrap();
    }
    let mut bytes = Vec::new();
    builder.build().unwrap().write(&mut bytes).unwrap();
    bytes
}

pub fn zstd_package(files: &[(&str, &[u8])]) -> Vec<u8> {
    package(files, CompressionType::Zstd)
}

/// Puts other bytes in the place of some, wherever they are. They must be there.
pub fn patch(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let found: Vec<usize> =
        (0..=bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    assert!(!found.is_empty());
    for at in found {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

/// An RPM that was patched, with digests that fit again: whoever makes a hostile one makes them fit too.
pub fn sealed(bytes: Vec<u8>) -> Vec<u8> {
    let mut package = Package::parse(&mut bytes.as_slice()).unwrap();
    let payload = package.payload.clone();
    let stated = |tag| package.metadata.header.get_entry_data_as_string(tag).ok().map(str::to_owned);
    let digests = [
        (stated(IndexTag::RPMTAG_PAYLOADSHA256), hex::encode(Sha256::digest(&payload))),
        (stated(IndexTag::RPMTAG_PAYLOAD_SHA512), hex::encode(Sha512::digest(&payload))),
    ];
    let mut bytes = bytes;
    for (stated, now) in digests {
        bytes = stated.map_or(bytes.clone(), |stated| patch(bytes, stated.as_bytes(), now.as_bytes()));
    }
    package = Package::parse(&mut bytes.as_slice()).unwrap();
    package.clear_signatures().unwrap();
    let mut sealed = Vec::new();
    package.write(&mut sealed).unwrap();
    sealed
}

pub fn read(files: &[Utf8PathBuf]) -> Result<Modules, ProveError> {
    read_modules(files, &Limits::default())
}

pub fn names(modules: &[ModuleFile], place: &Place) -> Vec<String> {
    modules.iter().map(|module| module.to_string().replace(place.path().as_str(), "PLACE")).collect()
}

/// Real kernels and RPMs: `.lab` in the workspace, or `DRIVETRAIN_LAB`.
pub fn lab() -> Option<Utf8PathBuf> {
    let lab = std::env::var("DRIVETRAIN_LAB")
        .map_or_else(|_| Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.lab"), Utf8PathBuf::from);
    let found = lab.join("rpms/stack").is_dir() && lab.join("kernels").is_dir();
    if !found {
        println!("skipped: no lab in {lab}");
    }
    found.then_some(lab)
}
