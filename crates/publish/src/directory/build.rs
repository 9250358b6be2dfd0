//! Makes a version's directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use drivetrain_model::Sha256Digest;
use drivetrain_repodata::check_href;
use drivetrain_repodata::write::{PackageFile, WriteCompression, WriteOptions, write_repository};
use drivetrain_rpmfile::RpmFile;
use fs_err as fs;

use super::files::{digest, make_directory, place, readable, sync, write_file};
use crate::evidence::require_usable;
use crate::{
    Manifest, ManifestFile, ManifestPackage, ManifestSignature, Publication, PublishError, Record, Result,
    Signing, repofile,
};

/// A package to publish, looked at.
pub(crate) struct Incoming {
    pub(crate) path: PathBuf,
    pub(crate) file_name: String,
    pub(crate) sha256: Sha256Digest,
    pub(crate) size: u64,
}

/// Looks at the packages; the same file twice is one.
pub(crate) fn look(publication: &Publication) -> Result<Vec<Incoming>> {
    let mut found: Vec<Incoming> = Vec::new();
    let mut seen = BTreeSet::new();
    for path in &publication.rpms {
        let facts = RpmFile::open(path)?;
        let (sha256, size) = digest(path)?;
        if seen.insert(sha256) {
            found.push(Incoming { path: path.clone(), file_name: facts.nevra.file_name(), sha256, size });
        }
    }
    if found.is_empty() {
        return Err(PublishError::Empty(publication.address.path.clone()));
    }
    found.sort_by(|a, b| (&a.file_name, a.sha256).cmp(&(&b.file_name, b.sha256)));
    Ok(found)
}

/// Whether a version lists just these packages.
pub(crate) fn same_packages(manifest: &Manifest, incoming: &[Incoming]) -> bool {
    let there: BTreeSet<Sha256Digest> = manifest.packages.iter().map(|package| package.file.sha256).collect();
    there == incoming.iter().map(|package| package.sha256).collect()
}

/// A version that stays, whose files the new one carries.
pub(crate) struct Kept {
    pub(crate) directory: PathBuf,
    pub(crate) manifest: Manifest,
}

/// Where each package goes. A name that a kept version has for other bytes is not used again.
fn locations(incoming: &[Incoming], kept: &[Kept]) -> Vec<String> {
    let taken: BTreeMap<&str, Sha256Digest> = kept
        .iter()
        .flat_map(|version| version.manifest.carried())
        .map(|file| (file.location.as_str(), file.sha256))
        .collect();
    incoming
        .iter()
        .map(|package| {
            let plain = format!("Packages/{}", package.file_name);
            match taken.get(plain.as_str()) {
                Some(other) if *other != package.sha256 => {
                    format!("Packages/{}/{}", package.sha256.short(), package.file_name)
                }
                _ => plain,
            }
        })
        .collect()
}

/// How a version is made.
pub(crate) struct How<'a> {
    /// The URL that consumers find it at.
    pub(crate) url: &'a str,
    /// Whether to make hard links where they can be had.
    pub(crate) links: bool,
    /// Signs its metadata.
    pub(crate) signing: Option<&'a Signing>,
}

/// Makes a version in `directory`, which is not there yet.
pub(crate) fn build(
    directory: &Path,
    version: u64,
    publication: &Publication,
    incoming: &[Incoming],
    kept: &[Kept],
    how: &How<'_>,
) -> Result<Manifest> {
    let links = how.links;
    make_directory(directory)?;
    make_directory(&directory.join("Packages"))?;
    // Before the metadata are written into it: an umask must not decide about it.
    make_directory(&directory.join("repodata"))?;
    let stock: BTreeMap<Sha256Digest, PathBuf> = kept
        .iter()
        .flat_map(|version| {
            version
                .manifest
                .packages
                .iter()
                .map(|package| (package.file.sha256, version.directory.join(&package.file.location)))
        })
        .collect();
    let mut packages = Vec::new();
    for (package, location) in incoming.iter().zip(locations(incoming, kept)) {
        let to = directory.join(&location);
        make_parent(directory, &location)?;
        match stock.get(&package.sha256) {
            // Another name of a file that is served already: nothing to write, and nothing to share with
            // whoever built the package.
            Some(stored) if place(stored, &to, links).is_ok() => {}
            _ => place(&package.path, &to, links)?,
        }
        packages.push(PackageFile { path: to, location });
    }

    let timestamp = u64::try_from(publication.change.at.as_second()).unwrap_or(0);
    let options =
        WriteOptions { revision: timestamp.to_string(), timestamp, compression: WriteCompression::Gzip };
    let written = write_repository(directory, &packages, &options)?;
    let mut metadata = Vec::new();
    for location in &written.files {
        let path = directory.join(location);
        readable(&path)?;
        // The one name that means something else in every version.
        if location != "repodata/repomd.xml" {
            let (sha256, size) = digest(&path)?;
            metadata.push(ManifestFile { location: location.clone(), sha256, size });
        }
    }

    let signed = how.signing.map(|signing| sign(directory, publication, signing, timestamp)).transpose()?;
    let evidence = evidence(directory, publication)?;
    let manifest = Manifest {
        format: Manifest::FORMAT,
        path: publication.address.path.clone(),
        version,
        driver_name: publication.driver_name.clone(),
        cell: publication.cell.clone(),
        lock: publication.lock,
        run: publication.run.clone(),
        made: publication.change.at,
        verdicts: publication.verdicts,
        lockstep: publication.lockstep.clone(),
        repomd: written.repomd,
        signed,
        packages: written
            .packages
            .iter()
            .map(|package| {
                let by_location =
                    packages.iter().zip(incoming).find(|(file, _)| file.location == package.location);
                // The digest is the one that was taken before anything was copied.
                let (sha256, size) = by_location
                    .map_or((Sha256Digest::of(b""), 0), |(_, incoming)| (incoming.sha256, incoming.size));
                let file = ManifestFile { location: package.location.clone(), sha256, size };
                ManifestPackage { nevra: package.nevra.clone(), file }
            })
            .collect(),
        metadata,
        evidence,
    };
    let repo_file = repofile::repo_file(&Record::from(&manifest), &publication.consumers, how.url);
    write_file(&directory.join(repofile::FILE), repo_file.as_bytes())?;
    let mut text = serde_json::to_vec_pretty(&manifest).map_err(std::io::Error::other)?;
    text.push(b'\n');
    write_file(&directory.join(Manifest::FILE), &text)?;
    Ok(manifest)
}

/// Writes the signature over the metadata, and the keys that consumers verify with.
fn sign(
    directory: &Path,
    publication: &Publication,
    signing: &Signing,
    moment: u64,
) -> Result<ManifestSignature> {
    let repomd = fs::read(directory.join("repodata/repomd.xml"))?;
    let signature = signing.sign(&repomd, moment).map_err(PublishError::Signature)?;
    let mut keys = signing.public.clone();
    if !publication.keys.is_empty() {
        keys = format!("{}\n{}", keys.trim_end(), publication.keys);
    }
    let files = [("repodata/repomd.xml.asc", signature), (repofile::KEYS, keys)];
    let files = files.map(|(location, text)| -> Result<ManifestFile> {
        write_file(&directory.join(location), text.as_bytes())?;
        let (sha256, size) = (Sha256Digest::of(text.as_bytes()), text.len() as u64);
        Ok(ManifestFile { location: location.to_owned(), sha256, size })
    });
    let files = files.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(ManifestSignature { by: signing.fingerprint.clone(), files })
}

fn evidence(directory: &Path, publication: &Publication) -> Result<Vec<ManifestFile>> {
    let mut files = Vec::new();
    if publication.evidence.is_empty() {
        return Ok(files);
    }
    require_usable(&publication.evidence)?;
    make_directory(&directory.join("evidence"))?;
    for (name, bytes) in &publication.evidence {
        let location = format!("evidence/{name}");
        write_file(&directory.join(&location), bytes)?;
        files.push(ManifestFile { location, sha256: Sha256Digest::of(bytes), size: bytes.len() as u64 });
    }
    Ok(files)
}

/// Adds the files of other versions to a version's directory, for consumers that still have their metadata.
/// They are names that the version does not have, so nothing of it changes. Returns the number of files.
pub(crate) fn carry(directory: &Path, manifest: &Manifest, others: &[Kept], links: bool) -> Result<usize> {
    let own: BTreeSet<&str> = manifest.carried().map(|file| file.location.as_str()).collect();
    let mut carried = 0;
    for other in others {
        for file in other.manifest.carried() {
            // What a manifest says was written by us; a path is checked all the same.
            if own.contains(file.location.as_str()) || check_href(&file.location).is_err() {
                continue;
            }
            let to = directory.join(&file.location);
            let from = other.directory.join(&file.location);
            if !from.exists() {
                continue;
            }
            // It may be there from an earlier time, carried for a version that is gone and had other bytes
            // under the name: then the version that is still there counts.
            if to.exists() && digest(&to)? == (file.sha256, file.size) {
                continue;
            }
            make_parent(directory, &file.location)?;
            // Under another name first: half a copy must not be served, where the directory is served already.
            let unfinished = directory.join(".carried");
            match fs_err::remove_file(&unfinished) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            place(&from, &unfinished, links)?;
            fs_err::rename(&unfinished, &to)?;
            carried += 1;
        }
    }
    Ok(carried)
}

fn make_parent(directory: &Path, location: &str) -> Result<()> {
    let mut parent = directory.to_owned();
    let parts: Vec<&str> = location.split('/').collect();
    for part in &parts[..parts.len().saturating_sub(1)] {
        parent.push(part);
        make_directory(&parent)?;
    }
    Ok(())
}

/// Waits until all directories of a version are on disk; its files are already.
pub(crate) fn sync_directories(directory: &Path) -> Result<()> {
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_directories(&entry.path())?;
        }
    }
    sync(directory)
}
