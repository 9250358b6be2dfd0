//! Writing a repository's metadata. The one part of this crate that touches files.
//!
//! `rpmrepo_metadata` makes the XML (its filters of requirements follow `createrepo_c`); names, compression,
//! `repomd.xml`'s times and the order are ours, since its `RepositoryWriter` takes the times from the files,
//! names them without their checksums, and writes packages as they come. The same packages and options give
//! the same bytes.
//!
//! gzip is the default: whatever reads repositories reads it, and for a driver repository's hundred packages zstd
//! would save some kilobytes. The tests let dnf 4.14 read both.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use drivetrain_model::{Package, Sha256Digest};
use drivetrain_rpmfile::RpmFile;
use fs_err as fs;
use rpmrepo_metadata::utils::create_xml_writer;
use rpmrepo_metadata::{
    Checksum as MetadataChecksum, FilelistsXml, MetadataError, OtherXml, PackageOptions, PackageSource,
    PrimaryXml, RepomdData, RepomdRecord, RepomdXml,
};
use sha2::{Digest, Sha256};

use crate::{Conflict, HrefError, Limits, RepositoryIndex, check_href, read_primary};

/// A package to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// Where its file is now.
    pub path: PathBuf,
    /// Where it will be, relative to the repository's base URL.
    pub location: String,
}

/// What the metadata says besides the packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// `revision`: what this state of the repository is called. One text without control characters.
    pub revision: String,
    /// The time that stands wherever the format asks for one, in seconds since 1970: `SOURCE_DATE_EPOCH`, the
    /// run's start; not the clock.
    pub timestamp: u64,
    /// How the files are compressed.
    pub compression: WriteCompression,
}

/// How metadata files are compressed when they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WriteCompression {
    /// gzip.
    #[default]
    Gzip,
    /// Zstandard: smaller, and not read by older tools.
    Zstd,
}

impl WriteCompression {
    fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }

    fn compress(self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Gzip => {
                // Neither a name nor a time: the bytes depend on nothing but the content.
                let level = flate2::Compression::best();
                let mut encoder = flate2::GzBuilder::new().write(Vec::new(), level);
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Zstd => zstd::stream::encode_all(bytes, 19),
        }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The digest of `repomd.xml`, which stands for all of it.
    pub repomd: Sha256Digest,
    /// The files, relative to the repository, `repodata/repomd.xml` last.
    pub files: Vec<String>,
    /// The packages as a reader of the metadata sees them, in the metadata's order.
    pub packages: Vec<Package>,
}

/// Why metadata could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A package's file is no RPM that can be listed.
    #[error(transparent)]
    Package(#[from] drivetrain_rpmfile::Error),
    /// A package's location leads out of the repository.
    #[error("{path}: {source}")]
    Location {
        /// The package's file.
        path: String,
        /// What is wrong.
        source: HrefError,
    },
    /// Two different files with one name, version and architecture.
    #[error(transparent)]
    Conflict(#[from] Box<Conflict>),
    /// A package's header holds what metadata cannot say.
    #[error("{path} cannot be described in repository metadata")]
    Metadata {
        /// The package's file.
        path: String,
        /// What the writer said.
        source: MetadataError,
    },
    /// The metadata as a whole cannot be made.
    #[error("the metadata cannot be made")]
    Format(#[source] MetadataError),
    /// What was made does not read back.
    #[error("the metadata that was made does not read back")]
    ReadBack(#[source] crate::Error),
    /// A file cannot be read or written; the error names it.
    #[error(transparent)]
    File(#[from] std::io::Error),
}

/// Writes `repodata/` below `directory`: the three documents, each under a name with its checksum, then
/// `repomd.xml`, by a rename. Files of an earlier state are left, for readers that hold the earlier
/// `repomd.xml`.
///
/// Packages are listed by NEVRA; the same file twice is listed once.
///
/// # Errors
/// With the first package that cannot be listed; nothing is written then.
pub fn write_repository(
    directory: &Path,
    packages: &[PackageFile],
    options: &WriteOptions,
) -> Result<Written, WriteError> {
    let listed = list(packages, options.timestamp)?;
    let documents =
        [("primary", primary(&listed)), ("filelists", filelists(&listed)), ("other", other(&listed))];
    let repodata = directory.join("repodata");
    let mut repomd = RepomdData::default();
    repomd.set_revision(&options.revision);
    let mut files = Vec::new();
    let mut prepared = Vec::new();
    let mut read_back = Vec::new();
    for (kind, document) in documents {
        let open = document.map_err(WriteError::Format)?;
        if kind == "primary" {
            read_back = read(&open).map_err(WriteError::ReadBack)?;
        }
        let compressed = options.compression.compress(&open)?;
        let digest = Sha256Digest::of(&compressed);
        let name = format!("{digest}-{kind}.xml.{}", options.compression.suffix());
        let location = format!("repodata/{name}");
        let mut record = RepomdRecord::default();
        record.metadata_name = kind.to_owned();
        record.location_href = PathBuf::from(&location);
        record.timestamp = i64::try_from(options.timestamp).unwrap_or(i64::MAX);
        record.size = Some(compressed.len() as u64);
        record.checksum = MetadataChecksum::Sha256(digest.to_string());
        record.open_size = Some(open.len() as u64);
        record.open_checksum = Some(MetadataChecksum::Sha256(Sha256Digest::of(&open).to_string()));
        repomd.add_record(record);
        prepared.push((name, compressed));
        files.push(location);
    }
    let mut repomd_bytes = Vec::new();
    RepomdXml::write_data(&repomd, &mut create_xml_writer(&mut repomd_bytes)).map_err(WriteError::Format)?;
    files.push("repodata/repomd.xml".to_owned());

    fs::create_dir_all(&repodata)?;
    for (name, bytes) in &prepared {
        write_file(&repodata, name, bytes)?;
    }
    write_file(&repodata, "repomd.xml", &repomd_bytes)?;
    Ok(Written { repomd: Sha256Digest::of(&repomd_bytes), files, packages: read_back })
}

type Listed = Vec<rpmrepo_metadata::Package>;

/// Describes the packages, in the order in which they are listed.
fn list(packages: &[PackageFile], timestamp: u64) -> Result<Listed, WriteError> {
    let mut described = Vec::new();
    let mut index = RepositoryIndex::new();
    for package in packages {
        let path = package.path.display().to_string();
        check_href(&package.location)
            .map_err(|source| WriteError::Location { path: path.clone(), source })?;
        let header = drivetrain_rpmfile::header_bytes(&package.path)?;
        let facts = RpmFile::from_reader(header.as_slice(), &path)?;
        let (digest, size) = digest_of(&package.path)?;
        let named = Package::bare(facts.nevra.clone(), digest.into(), size, package.location.clone());
        let is_new = index.insert(named)?;
        if !is_new {
            continue;
        }
        let source = PackageSource {
            checksum: Some(MetadataChecksum::Sha256(digest.to_string())),
            size_package: Some(size),
            time_file: timestamp,
            location_href: package.location.clone(),
            location_base: None,
        };
        let listed = rpmrepo_metadata::Package::from_buffer(&header, source, PackageOptions::default())
            .map_err(|source| WriteError::Metadata { path, source })?;
        described.push((facts.nevra, package.location.clone(), listed));
    }
    described.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    Ok(described.into_iter().map(|(_, _, listed)| listed).collect())
}

macro_rules! document {
    ($name:ident, $kind:ident) => {
        fn $name(packages: &Listed) -> Result<Vec<u8>, MetadataError> {
            let mut bytes = Vec::new();
            let mut writer = $kind::new_writer(create_xml_writer(&mut bytes));
            writer.write_header(packages.len())?;
            for package in packages {
                writer.write_package(package)?;
            }
            writer.finish()?;
            drop(writer);
            Ok(bytes)
        }
    };
}

document!(primary, PrimaryXml);
document!(filelists, FilelistsXml);
document!(other, OtherXml);

fn read(primary: &[u8]) -> crate::Result<Vec<Package>> {
    let mut packages = Vec::new();
    read_primary(
        primary,
        &Limits::default(),
        |_, _| true,
        |package| {
            packages.push(package);
            std::ops::ControlFlow::Continue(())
        },
    )?;
    Ok(packages)
}

fn digest_of(path: &Path) -> std::io::Result<(Sha256Digest, u64)> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((Sha256Digest::from_bytes(hasher.finalize().into()), size));
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
}

/// Whole or not at all: a reader never sees half a file under its name.
fn write_file(directory: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let unfinished = directory.join(format!(".{name}.new"));
    let mut file = fs::File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, directory.join(name))
}
