//! Reads a version back, as a consumer would and with no help from what wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use drivetrain_model::{Package, Sha256Digest};
use drivetrain_repodata::{Limits, RecordKind, check_href, open_record, parse_repomd, read_primary};
use fs_err as fs;

use super::files::digest;
use crate::{Check, Manifest, PublishError, Result};

/// Checks a version's directory against its metadata, and the metadata against the manifest; with what is listed.
pub(crate) fn check(directory: &Path, manifest: &Manifest) -> Result<(Check, Vec<Package>)> {
    let wrong = |what: String| PublishError::Verification {
        path: manifest.path.clone(),
        version: manifest.version,
        what,
    };
    let limits = Limits::default();
    let repomd_bytes = fs::read(directory.join("repodata/repomd.xml"))?;
    if Sha256Digest::of(&repomd_bytes) != manifest.repomd {
        return Err(wrong("repomd.xml is not the one that was written".to_owned()));
    }
    let repomd = parse_repomd(&repomd_bytes, &limits).map_err(|error| wrong(error.to_string()))?;
    for kind in [RecordKind::Primary, RecordKind::Filelists, RecordKind::Other] {
        if repomd.record(&kind).is_none() {
            return Err(wrong(format!("repomd.xml does not name {}", kind.name())));
        }
    }
    let mut listed: Vec<Package> = Vec::new();
    for record in &repomd.records {
        let path = directory.join(&record.location);
        let (found, size) = digest(&path)?;
        if record.checksum.as_sha256() != Some(found) || record.size != Some(size) {
            return Err(wrong(format!("{} is not what repomd.xml says", record.location)));
        }
        let mut open =
            open_record(record, fs::File::open(&path)?, &limits).map_err(|error| wrong(error.to_string()))?;
        if record.kind == RecordKind::Primary {
            read_primary(
                &mut open,
                &limits,
                |_, _| true,
                |package| {
                    listed.push(package);
                    ControlFlow::Continue(())
                },
            )
            .map_err(|error| wrong(error.to_string()))?;
        }
        open.finish().map_err(|error| wrong(error.to_string()))?;
    }

    let mut bytes = 0;
    for package in &listed {
        check_href(&package.location).map_err(|error| wrong(error.to_string()))?;
        let (found, size) = digest(&directory.join(&package.location))?;
        if package.checksum.as_sha256() != Some(found) || package.size != size {
            return Err(wrong(format!("{} is not what the metadata say", package.location)));
        }
        bytes += size;
    }
    let listed_files: BTreeMap<&str, (Option<Sha256Digest>, u64)> = listed
        .iter()
        .map(|package| (package.location.as_str(), (package.checksum.as_sha256(), package.size)))
        .collect();
    let noted: BTreeMap<&str, (Option<Sha256Digest>, u64)> = manifest
        .packages
        .iter()
        .map(|package| (package.file.location.as_str(), (Some(package.file.sha256), package.file.size)))
        .collect();
    if listed_files != noted {
        let (listed, noted): (BTreeSet<_>, BTreeSet<_>) =
            (listed_files.keys().collect(), noted.keys().collect());
        let first = listed.symmetric_difference(&noted).next().map_or("a checksum", |name| **name);
        return Err(wrong(format!("the metadata and the manifest differ: {first}")));
    }
    let signed = manifest.signed.iter().flat_map(|signed| &signed.files);
    for file in manifest.evidence.iter().chain(signed) {
        check_href(&file.location).map_err(|error| wrong(error.to_string()))?;
        if digest(&directory.join(&file.location))? != (file.sha256, file.size) {
            return Err(wrong(format!("{} is not what was written", file.location)));
        }
    }
    Ok((Check { version: manifest.version, packages: listed.len(), bytes }, listed))
}
