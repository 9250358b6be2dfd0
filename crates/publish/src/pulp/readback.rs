//! What consumers would get, read as they read it, and compared with what was built.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use drivetrain_model::{Package, Sha256Digest};
use drivetrain_pulp::{Content, Distribution, GuardAccess};
use drivetrain_repodata::{Limits, RecordKind, Repomd, check_href, open_record, parse_repomd, read_primary};
use drivetrain_rpmfile::header_bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::labels::Noted;
use super::target::PulpTarget;
use super::upload::Incoming;
use crate::{Check, Depth, PublishError, RepositoryPath, Result};

const MAX_REPOMD: u64 = 1 << 20;
/// A repository of one cell; the metadata of all of BaseOS are 30 MB.
const MAX_METADATA: u64 = 64 << 20;
/// All packages of a repository that are brought here: a kernel with its driver is a few hundred MB.
const MAX_PACKAGES: u64 = 16 << 30;

/// What a repository says of itself.
pub(super) struct Listing {
    pub(super) repomd: Sha256Digest,
    /// What that is the digest of.
    pub(super) bytes: Vec<u8>,
    pub(super) packages: Vec<Package>,
}

impl PulpTarget {
    /// Content behind a distribution, with what its guard wants.
    pub(super) async fn content(&self, distribution: &Distribution) -> Result<Content> {
        let access = match &distribution.content_guard {
            None => GuardAccess::Open,
            Some(_) => {
                // By name where it is the configured one; another guard is an administrator's.
                let guard = match &self.options.guard {
                    Some(name) => self.client.guard(name).await?,
                    None => None,
                };
                let guard =
                    guard.filter(|guard| Some(&guard.pulp_href) == distribution.content_guard.as_ref());
                self.client.access(guard.as_ref(), &distribution.base_url).await?
            }
        };
        Ok(Content::new(&self.client, &distribution.base_url, access)?)
    }

    /// Reads the metadata: every document, each with its checksum.
    pub(super) async fn listing(&self, content: &Content, path: &RepositoryPath) -> Result<Listing> {
        let wrong = |what: String| PublishError::ReadBack { path: path.clone(), what };
        let limits = Limits::default();
        let bytes = content.read("repodata/repomd.xml", MAX_REPOMD).await?;
        let repomd = parse_repomd(&bytes, &limits).map_err(|error| wrong(error.to_string()))?;
        let mut packages = Vec::new();
        for kind in [RecordKind::Primary, RecordKind::Filelists, RecordKind::Other] {
            let document = self.document(content, &repomd, &kind).await?.map_err(wrong)?;
            if kind == RecordKind::Primary {
                packages = listed(&repomd, &document, &limits).map_err(wrong)?;
            }
        }
        Ok(Listing { repomd: Sha256Digest::of(&bytes), bytes, packages })
    }

    /// That a publication is what was built: the packages that it lists, the size of each one's file, and the bytes of
    /// its header.
    pub(super) async fn read_back(
        &self,
        content: &Content,
        path: &RepositoryPath,
        expected: &[Incoming],
    ) -> Result<Listing> {
        let listing = self.listing(content, path).await?;
        compare(&listing.packages, expected)
            .map_err(|what| PublishError::ReadBack { path: path.clone(), what })?;
        let by_digest: BTreeMap<Sha256Digest, &Package> = listing
            .packages
            .iter()
            .filter_map(|package| Some((package.checksum.as_sha256()?, package)))
            .collect();
        futures_util::stream::iter(expected)
            .map(async |incoming| match by_digest.get(&incoming.sha256) {
                Some(package) => self.same_file(content, incoming, package).await,
                None => Ok(()),
            })
            .buffer_unordered(self.client.settings().connections.max(1))
            .try_collect::<()>()
            .await?;
        Ok(listing)
    }

    async fn same_file(&self, content: &Content, incoming: &Incoming, package: &Package) -> Result<()> {
        let ours = header_bytes(&incoming.path)?;
        let theirs = content.read_first(&package.location, ours.len() as u64).await?;
        let size = match theirs.size {
            Some(size) => size,
            None => content.digest(&package.location, incoming.size).await?.1,
        };
        // A file that was cut has the right header.
        if size != incoming.size {
            let what = format!("{} has {size} bytes, and not {}", package.location, incoming.size);
            return Err(self.damaged(what, Some(incoming.sha256)));
        }
        if ours == theirs.bytes {
            return Ok(());
        }
        let what = format!("the header of {} is not that of the package that was built", package.location);
        Err(self.damaged(what, Some(incoming.sha256)))
    }

    fn damaged(&self, what: String, package: Option<Sha256Digest>) -> PublishError {
        PublishError::Damaged { server: self.client.server(), what, package, removed: false }
    }

    /// One document of the metadata, as it is stored. What is wrong with it is said in words.
    async fn document(
        &self,
        content: &Content,
        repomd: &Repomd,
        kind: &RecordKind,
    ) -> Result<std::result::Result<Vec<u8>, String>> {
        let Some(record) = repomd.record(kind) else {
            return Ok(Err(format!("repomd.xml does not name {}", kind.name())));
        };
        if let Err(error) = check_href(&record.location) {
            return Ok(Err(error.to_string()));
        }
        let limit = record.size.filter(|size| *size <= MAX_METADATA).unwrap_or(MAX_METADATA);
        let bytes = content.read(&record.location, limit).await?;
        if record.checksum.as_sha256() == Some(Sha256Digest::of(&bytes)) {
            return Ok(Ok(bytes));
        }
        Err(self.damaged(format!("{} is not what repomd.xml says", record.location), None))
    }

    /// Brings the packages that are served at a path into a directory, each verified by the checksum of the metadata.
    pub(super) async fn bring(&self, path: &RepositoryPath, into: &Path) -> Result<Vec<PathBuf>> {
        let (distribution, noted) = self.served_distribution(path).await?;
        let content = self.content(&distribution).await?;
        let listing = self.listing(&content, path).await?;
        require_noted(path, &listing, &noted)?;
        let total: u64 = listing.packages.iter().map(|package| package.size).sum();
        if total > MAX_PACKAGES {
            let what = format!("it lists {total} bytes of packages, more than {MAX_PACKAGES}");
            return Err(PublishError::ReadBack { path: path.clone(), what });
        }
        let mut files = Vec::new();
        for package in &listing.packages {
            let bytes = content.read(&package.location, package.size).await?;
            let digest = Sha256Digest::of(&bytes);
            if package.checksum.as_sha256() != Some(digest) {
                let what = format!("{} is not what the metadata say", package.location);
                return Err(PublishError::ReadBack { path: path.clone(), what });
            }
            let file = into.join(format!("{digest}.rpm"));
            fs_err::write(&file, bytes)?;
            files.push(file);
        }
        Ok(files)
    }

    /// Reads back what is served at a path, and compares it with what was noted when it was published.
    pub(super) async fn check_served(&self, path: &RepositoryPath, depth: Depth) -> Result<Check> {
        let (distribution, noted) = self.served_distribution(path).await?;
        let content = self.content(&distribution).await?;
        let listing = self.listing(&content, path).await?;
        require_noted(path, &listing, &noted)?;
        if let Some(key) = &noted.record.metadata_signed_by {
            self.require_signed(&content, path, &listing.bytes, key).await?;
        }
        let mut bytes = 0;
        if depth == Depth::Packages {
            for package in &listing.packages {
                let (found, size) = content.digest(&package.location, package.size).await?;
                if package.checksum.as_sha256() != Some(found) || package.size != size {
                    let what = format!("{} is not what the metadata say", package.location);
                    return Err(PublishError::ReadBack { path: path.clone(), what });
                }
                bytes += size;
            }
        }
        Ok(Check { version: noted.version, packages: listing.packages.len(), bytes })
    }
}

fn require_noted(path: &RepositoryPath, listing: &Listing, noted: &Noted) -> Result<()> {
    let what = if listing.repomd != noted.repomd {
        format!("repomd.xml is not that of version {}", noted.version)
    } else if listing.packages.len() != noted.record.packages {
        format!(
            "{} packages are listed, and {} were published",
            listing.packages.len(),
            noted.record.packages
        )
    } else {
        return Ok(());
    };
    Err(PublishError::ReadBack { path: path.clone(), what })
}

fn listed(repomd: &Repomd, primary: &[u8], limits: &Limits) -> std::result::Result<Vec<Package>, String> {
    let record = repomd.record(&RecordKind::Primary).ok_or("repomd.xml does not name primary")?;
    let mut packages = Vec::new();
    let mut open = open_record(record, primary, limits).map_err(|error| error.to_string())?;
    let keep = |package| {
        packages.push(package);
        ControlFlow::Continue(())
    };
    read_primary(&mut open, limits, |_, _| true, keep).map_err(|error| error.to_string())?;
    open.finish().map_err(|error| error.to_string())?;
    match packages.iter().find_map(|package| check_href(&package.location).err()) {
        Some(error) => Err(error.to_string()),
        None => Ok(packages),
    }
}

/// That the same packages are listed as were built, by name, checksum and size.
fn compare(listed: &[Package], expected: &[Incoming]) -> std::result::Result<(), String> {
    let listed: BTreeMap<Option<Sha256Digest>, (String, u64)> = listed
        .iter()
        .map(|package| (package.checksum.as_sha256(), (package.nevra.to_string(), package.size)))
        .collect();
    let expected: BTreeMap<Option<Sha256Digest>, (String, u64)> = expected
        .iter()
        .map(|package| (Some(package.sha256), (package.nevra.to_string(), package.size)))
        .collect();
    let lacking = expected.iter().find(|(digest, facts)| listed.get(*digest) != Some(*facts));
    if let Some((_, (nevra, _))) = lacking {
        return Err(format!("{nevra} is not listed as it was built"));
    }
    match listed.iter().find(|(digest, _)| !expected.contains_key(*digest)) {
        Some((_, (nevra, _))) => Err(format!("{nevra} is listed and was not built")),
        None => Ok(()),
    }
}
