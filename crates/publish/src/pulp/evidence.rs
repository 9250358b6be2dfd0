//! Evidence beside a repository, by Pulp's plugin for files.
//!
//! ```text
//! repository      NAME-evidence        of files; one for each repository of packages
//!   R/lock.json, R/verdicts.json, …    what belongs to the version whose repomd.xml has the sha256 R
//!   keys/K.asc                         keys that packages are signed with; K is of their own checksum
//! distribution    BASE_PATH-evidence   of all that, for each distribution of packages
//! distribution    drivetrain-keys/NAME the same, whatever channel a publication is in: `config.repo` names keys here
//! ```
//!
//! All of it is there before a version is served, and is only added to: so that a distribution follows its repository,
//! and neither a promotion nor a way back has anything to move. What no version has any more is removed after that.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use drivetrain_model::Sha256Digest;
use drivetrain_pulp::{Content, Distribution, FileContent, FileRepository, Href, PulpError};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::json;

use super::ensure::is_taken;
use super::labels::{self, MARK};
use super::signing::keys_file;
use super::target::PulpTarget;
use super::transaction::{TRIES, is_cleaned_away};
use crate::{Address, Publication, PublishError, RepositoryPath, Result};

/// How long the content server may not know yet what was published just now.
const CACHED: Duration = Duration::from_secs(10);
const SUFFIX: &str = "-evidence";

/// Something that may not be had on a server: why not, in words.
type Had<T> = std::result::Result<T, String>;

/// A file to publish: where, and its bytes.
type File<'a> = (String, &'a [u8]);

impl PulpTarget {
    /// Publishes the evidence of a version; with why that was not possible, where it is no fault.
    pub(super) async fn publish_evidence(
        &self,
        publication: &Publication,
        repomd: Sha256Digest,
    ) -> Result<Option<String>> {
        if publication.evidence.is_empty() {
            return Ok(None);
        }
        let files = publication.evidence.iter();
        let files: Vec<File<'_>> =
            files.map(|(name, bytes)| (format!("{repomd}/{name}"), bytes.as_slice())).collect();
        let address = &publication.address;
        match self.files_beside(publication, &files, &beside(address)).await? {
            Ok(_) => Ok(None),
            Err(why) => Ok(Some(format!(
                "the evidence is not published beside {}, only its labels: {why}",
                address.path
            ))),
        }
    }

    /// What was served before there was a place for evidence gets its own.
    pub(super) async fn make_up_evidence(
        &self,
        publication: &Publication,
        repomd: Sha256Digest,
    ) -> Result<()> {
        if publication.evidence.is_empty() || !self.client.capabilities().await?.files {
            return Ok(());
        }
        let name = format!("{}{SUFFIX}", publication.address.repository);
        let there = match self.client.file_repository(&name).await? {
            Some(repository) => self.client.files_in(&repository.latest_version_href).await?,
            None => Vec::new(),
        };
        if there.iter().any(|file| version_of(file) == Some(repomd)) {
            return Ok(());
        }
        self.publish_evidence(publication, repomd).await.map(drop)
    }

    /// Publishes keys, in a place that is the same in all channels: their URL, where the server has room for files.
    pub(super) async fn publish_keys(&self, publication: &Publication, text: &str) -> Result<Option<String>> {
        let repository = &publication.address.repository;
        let name = format!("drivetrain-keys-{repository}");
        let place = (name, format!("drivetrain-keys/{repository}"));
        let file = keys_file(text);
        let published = self.files_beside(publication, &[(file.clone(), text.as_bytes())], &place).await?;
        Ok(published.ok().map(|distribution| format!("{}{file}", self.absolute(&distribution.base_url))))
    }

    /// Gives the evidence of what is promoted a place beside where it will be served.
    pub(super) async fn promote_evidence(&self, to: &Address, repository: &str) -> Result<()> {
        if !self.client.capabilities().await?.files {
            return Ok(());
        }
        let Some(repository) = self.client.file_repository(&format!("{repository}{SUFFIX}")).await? else {
            return Ok(());
        };
        match self.files_distribution(&repository, &beside(to)).await? {
            Ok(_) => {}
            Err(why) => self
                .client
                .settings()
                .notice
                .tell(&format!("the evidence is not published beside {}, only its labels: {why}", to.path)),
        }
        Ok(())
    }

    /// Removes evidence of versions that are gone.
    pub(super) async fn retain_evidence(&self, name: &str) -> Result<()> {
        if !self.client.capabilities().await?.files {
            return Ok(());
        }
        let Some(files) = self.client.file_repository(&format!("{name}{SUFFIX}")).await? else {
            return Ok(());
        };
        let there = self.client.files_in(&files.latest_version_href).await?;
        let Some(repository) = self.client.repository(name).await? else { return Ok(()) };
        let mut noted: Vec<_> = labels::versions(&repository.pulp_labels).into_values().collect();
        // A version that was published again is served elsewhere as it was.
        let all = self.client.distributions().await?;
        let of_it =
            all.iter().filter(|distribution| labels::repository(&distribution.pulp_labels) == Some(name));
        noted.extend(of_it.filter_map(|distribution| labels::served(&distribution.pulp_labels)));
        let versions: BTreeSet<Sha256Digest> = noted.iter().map(|noted| noted.repomd).collect();
        let keys: Vec<&String> =
            noted.iter().filter_map(|noted| noted.record.keys.as_ref()).flatten().collect();
        let gone = |file: &&FileContent| match version_of(file) {
            Some(version) => !versions.contains(&version),
            None => {
                file.relative_path.starts_with("keys/")
                    && !keys.iter().any(|url| url.ends_with(&file.relative_path))
            }
        };
        let gone: Vec<Href> = there.iter().filter(gone).map(|file| file.pulp_href.clone()).collect();
        if !gone.is_empty() {
            self.client.change_files(&files, &[], &gone).await?;
        }
        Ok(())
    }

    /// Files in the repository beside that of a publication, and seen at a place.
    async fn files_beside(
        &self,
        publication: &Publication,
        files: &[File<'_>],
        place: &(String, String),
    ) -> Result<Had<Distribution>> {
        let repository = match self.files_repository(publication).await? {
            Ok(repository) => repository,
            Err(why) => return Ok(Err(why)),
        };
        if let Err(why) = had(self.put(&repository, files).await)? {
            return Ok(Err(why));
        }
        let distribution = match self.files_distribution(&repository, place).await? {
            Ok(distribution) => distribution,
            Err(why) => return Ok(Err(why)),
        };
        let content = self.content(&distribution).await?;
        futures_util::stream::iter(files)
            .map(|file| self.require_file(&content, &publication.address.path, file))
            .buffer_unordered(self.client.settings().connections.max(1))
            .try_collect::<()>()
            .await?;
        Ok(Ok(distribution))
    }

    /// The repository of files beside that of a publication, made where it is not there.
    async fn files_repository(&self, publication: &Publication) -> Result<Had<FileRepository>> {
        if !self.client.capabilities().await?.files {
            return Ok(Err(format!("{} has no plugin for files (pulp_file)", self.client.server())));
        }
        let name = format!("{}{SUFFIX}", publication.address.repository);
        let mut persistence = self.persistence();
        loop {
            if let Some(repository) = self.client.file_repository(&name).await? {
                self.require_own_files(&repository)?;
                return Ok(Ok(repository));
            }
            let description =
                format!("What {} was made from, and how it was proven", publication.address.repository);
            let labels = [(MARK.to_owned(), "1".to_owned())].into();
            match had(self
                .client
                .create_file_repository(&name, &labels, &description)
                .await
                .map_err(Into::into))
            {
                Ok(made) => return Ok(made),
                Err(PublishError::Pulp(error)) if is_taken(&error) => {
                    if self.client.file_repository(&name).await?.is_none() {
                        return Err(self.hidden(&format!("a repository {name}"), "file.view_filerepository"));
                    }
                }
                Err(PublishError::Pulp(error)) if persistence.allows(&error).await => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn require_own_files(&self, repository: &FileRepository) -> Result<()> {
        let what = if !repository.autopublish {
            "one without autopublish, so that nothing of it would be seen. Turn that on for it"
        } else if repository.pulp_labels.contains_key(MARK) || self.options.adopt {
            return Ok(());
        } else {
            "one that drivetrain did not make. Choose another publish.pulp.repository, or take it over with \
             publish.pulp.adopt"
        };
        Err(PublishError::InTheWay {
            path: format!("the repository of files {} of {}", repository.name, self.client.server()),
            what: what.to_owned(),
        })
    }

    /// Adds files to the repository, those that it lacks; another of the same path goes.
    async fn put(&self, repository: &FileRepository, files: &[File<'_>]) -> Result<()> {
        let there = self.client.files_in(&repository.latest_version_href).await?;
        let same = |path: &str, bytes: &[u8]| {
            let sha256 = Sha256Digest::of(bytes).to_string();
            there.iter().any(|file| file.relative_path == path && file.sha256 == sha256)
        };
        let missing: Vec<&File<'_>> = files.iter().filter(|(path, bytes)| !same(path, bytes)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let is_replaced = |file: &&FileContent| missing.iter().any(|(path, _)| *path == file.relative_path);
        let replaced: Vec<Href> =
            there.iter().filter(is_replaced).map(|file| file.pulp_href.clone()).collect();
        let mut tries = 0;
        loop {
            tries += 1;
            let uploaded: Vec<Href> = futures_util::stream::iter(&missing)
                .map(|(path, bytes)| self.client.upload_file(path, bytes))
                .buffer_unordered(self.client.settings().connections.max(1))
                .try_collect()
                .await?;
            match self.client.change_files(repository, &uploaded, &replaced).await {
                Err(PulpError::TaskLost { .. }) if tries < TRIES => {}
                // What is in no repository is cleaned away after a while, or when an administrator wants it so.
                Err(error) if tries < TRIES && is_cleaned_away(&error) => {}
                other => return Ok(other?),
            }
        }
    }

    /// The distribution that serves a repository of files at a place (name and path), made or put right.
    async fn files_distribution(
        &self,
        repository: &FileRepository,
        (name, path): &(String, String),
    ) -> Result<Had<Distribution>> {
        let guard = self.guard().await?;
        let wanted = json!({ "repository": repository.pulp_href, "content_guard": guard });
        let mut persistence = self.persistence();
        loop {
            let error = match self.client.file_distribution(path).await? {
                Some(there)
                    if there.repository.as_ref() == Some(&repository.pulp_href)
                        && there.content_guard == guard =>
                {
                    return Ok(Ok(there));
                }
                Some(there) => {
                    self.require_own_place(&there)?;
                    self.client.change_file_distribution(&there.pulp_href, wanted.clone()).await
                }
                None => {
                    let mut more = wanted.clone();
                    more["pulp_labels"] = json!({ MARK: "1" });
                    self.client.create_file_distribution(name, path, &more).await
                }
            };
            match error {
                Ok(()) => {}
                Err(error) if is_taken(&error) => {
                    if self.client.file_distribution(path).await?.is_none() {
                        let what = format!("a distribution {name} or at {path}");
                        return Err(self.hidden(&what, "file.view_filedistribution"));
                    }
                }
                Err(error) if persistence.allows(&error).await => {}
                Err(error) => return had(Err(error.into())),
            }
        }
    }

    fn require_own_place(&self, there: &Distribution) -> Result<()> {
        if there.pulp_labels.contains_key(MARK) || self.options.adopt {
            return Ok(());
        }
        Err(PublishError::InTheWay {
            path: format!(
                "the distribution {} of {} at {}",
                there.name,
                self.client.server(),
                there.base_path
            ),
            what:
                "one that drivetrain did not make. Choose another publish.pulp.layout, or take it over with \
                   publish.pulp.adopt"
                    .to_owned(),
        })
    }

    /// That a file is served as it was sent.
    async fn require_file(
        &self,
        content: &Content,
        path: &RepositoryPath,
        (file, bytes): &File<'_>,
    ) -> Result<()> {
        let started = Instant::now();
        loop {
            let what = match content.read(file, bytes.len() as u64).await {
                Ok(read) if read == *bytes => return Ok(()),
                Ok(_) => format!("{file} of its evidence is not what was sent"),
                Err(PulpError::NotFound { .. }) => format!("{file} of its evidence is not there"),
                Err(error) => return Err(error.into()),
            };
            if started.elapsed() > CACHED {
                return Err(PublishError::ReadBack { path: path.clone(), what });
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Name and path of the distribution of evidence beside that of an address.
fn beside(address: &Address) -> (String, String) {
    (format!("{}{SUFFIX}", address.distribution), format!("{}{SUFFIX}", address.path))
}

/// Whose evidence a file is: the digest of the version's `repomd.xml`.
fn version_of(file: &FileContent) -> Option<Sha256Digest> {
    Sha256Digest::parse(file.relative_path.split_once('/')?.0).ok()
}

/// Takes what this user may not do for what the server cannot: those who could publish before there was evidence still
/// can.
fn had<T>(done: Result<T>) -> Result<Had<T>> {
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(PublishError::Pulp(error @ PulpError::Forbidden { .. })) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}
