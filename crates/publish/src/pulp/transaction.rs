//! From packages to what consumers see: everything before the last step is invisible to them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use drivetrain_model::Sha256Digest;
use drivetrain_pulp::{Distribution, Href, Package, PulpError, Repository};
use drivetrain_rpmfile::{header_bytes, signed_header};
use serde_json::{Value, json};

use super::ensure::Made;
use super::flip::Flip;
use super::labels::{self, Noted};
use super::readback::Listing;
use super::signing::Signatures;
use super::state::known_by;
use super::target::{PulpStep, PulpTarget};
use super::upload::{Incoming, look};
use crate::evidence::require_usable;
use crate::{
    Action, HistoryEntry, Outcome, Publication, PublishError, Published, Replaced, RepositoryPath, Result,
};

/// How often a change is sent again whose task was lost, or whose packages were cleaned away under it.
pub(super) const TRIES: u32 = 5;

/// How much longer the signatures of one package can be than those of another, in bytes.
const LARGEST_SIGNATURE: u64 = 64 << 10;

/// How many publications of a version are looked at, which are not signed as they should be, before another is made.
const UNSIGNED: usize = 3;

/// What the server has, before anything is changed.
struct Before {
    repository: Repository,
    distribution: Option<Distribution>,
    served: Option<Noted>,
    /// What the newest version holds.
    newest: Vec<Package>,
    /// Who signs what.
    signatures: Signatures,
}

impl PulpTarget {
    pub(super) async fn transact(&self, publication: &Publication) -> Result<Outcome> {
        match self.attempt(publication).await {
            // It is gone, and so it will be sent again.
            Err(PublishError::Damaged { removed: true, .. }) => self.attempt(publication).await,
            other => other,
        }
    }

    async fn attempt(&self, publication: &Publication) -> Result<Outcome> {
        self.tell(PulpStep::Look);
        require_usable(&publication.evidence)?;
        let incoming = look(publication)?;
        self.tell(PulpStep::Compare);
        let before = self.before(publication).await?;
        if let Some(served) = is_served(&before, publication, &incoming) {
            self.make_up_evidence(publication, served.repomd).await?;
            return Ok(Outcome::Unchanged { version: served.version });
        }
        self.refuse_replaced(publication, &before, &incoming).await?;
        let guard = self.guard().await?;
        // Made while packages are on their way: it is a task of its own.
        let (staging, there) = tokio::join!(self.stage(publication, guard.as_ref()), self.upload(&incoming));
        let result = match (staging, there) {
            (Ok(staging), Ok(there)) => {
                let packages: Vec<Href> = there.values().cloned().collect();
                let result = self.publish_staged(publication, &before, &incoming, there, &staging).await;
                match self.unstage(&staging, result).await {
                    Err(error) => Err(self.aftermath(error, &before, &incoming, &packages).await),
                    done => done,
                }
            }
            (Ok(staging), Err(error)) => self.unstage(&staging, Err(error)).await,
            (Err(error), _) => Err(error),
        };
        let (noted, mut warnings) = result?;
        self.tell(PulpStep::Retain);
        let (removed, url) =
            tokio::join!(self.retain(&before.repository.name), self.url_of(&publication.address.path));
        let removed = match removed {
            Ok(removed) => removed,
            Err(error) => {
                warnings.push(format!("versions that are no longer kept could not be removed: {error}"));
                Vec::new()
            }
        };
        if let Err(error) = self.retain_evidence(&before.repository.name).await {
            warnings.push(format!("evidence of versions that are gone could not be removed: {error}"));
        }
        warnings.extend(before.signatures.warning(publication));
        warnings.extend(self.clock_warning());
        Ok(Outcome::Published(Published {
            version: noted.version,
            previous: before.served.map(|served| served.version),
            repomd: noted.repomd,
            packages: incoming.len(),
            url: url?,
            removed,
            warnings,
        }))
    }

    async fn before(&self, publication: &Publication) -> Result<Before> {
        let address = &publication.address;
        let distribution = self.distribution(&address.path).await?;
        self.require_own(address, distribution.as_ref()).await?;
        let repository = self.ensure_repository(publication).await?;
        let served = distribution.as_ref().and_then(known_by);
        let newest = self.client.packages_in(&repository.latest_version_href).await?;
        let signatures = self.signatures(publication).await?;
        if let Some(service) = &signatures.service {
            self.assign(&repository, service).await?;
        }
        Ok(Before { repository, distribution, served, newest, signatures })
    }

    /// That no package takes the place of another of the same name, version and architecture, unless that is wanted:
    /// a node that has the other one is never told.
    async fn refuse_replaced(
        &self,
        publication: &Publication,
        before: &Before,
        incoming: &[Incoming],
    ) -> Result<()> {
        let Some(served) = before.served.as_ref().filter(|_| !publication.replace) else { return Ok(()) };
        let served = match self.client.publication(&served.publication).await? {
            Some(served) if served.repository_version == before.repository.latest_version_href => {
                before.newest.clone()
            }
            Some(served) => self.client.packages_in(&served.repository_version).await?,
            None => Vec::new(),
        };
        let served: BTreeMap<String, String> =
            served.into_iter().map(|package| (full_name(&package), package.pkg_id)).collect();
        let replaced: Vec<(&Incoming, &String)> = incoming
            .iter()
            .filter_map(|package| Some((package, served.get(&name_with_epoch(package))?)))
            .filter(|(package, other)| **other != package.sha256.to_string())
            .collect();
        let signed_anew = match &before.distribution {
            Some(distribution) if !replaced.is_empty() => {
                self.signed_anew(distribution, &publication.address.path, &replaced).await?
            }
            _ => BTreeSet::new(),
        };
        let replaced: Vec<Replaced> = replaced
            .into_iter()
            .filter(|(package, _)| !signed_anew.contains(&package.sha256))
            .map(|(package, other)| Replaced {
                nevra: package.nevra.clone(),
                served: other.clone(),
                new: package.sha256,
            })
            .collect();
        if replaced.is_empty() {
            return Ok(());
        }
        Err(PublishError::Replaced { path: publication.address.path.clone(), packages: replaced })
    }

    /// Those packages that differ from what is served by their signature alone: nodes that have the others lack nothing.
    async fn signed_anew(
        &self,
        distribution: &Distribution,
        path: &RepositoryPath,
        replaced: &[(&Incoming, &String)],
    ) -> Result<BTreeSet<Sha256Digest>> {
        let content = self.content(distribution).await?;
        let listing = self.listing(&content, path).await?;
        let mut same = BTreeSet::new();
        for (package, served) in replaced {
            let is_it = |listed: &&drivetrain_model::Package| {
                listed.checksum.as_sha256().is_some_and(|digest| digest.to_string() == **served)
            };
            let Some(listed) = listing.packages.iter().find(is_it) else { continue };
            let ours = header_bytes(&package.path)?;
            let theirs = content.read_first(&listed.location, ours.len() as u64 + LARGEST_SIGNATURE).await?;
            let header = |bytes: &[u8]| signed_header(bytes, &listed.location).ok();
            if header(&ours).is_some_and(|ours| header(&theirs.bytes) == Some(ours)) {
                same.insert(package.sha256);
            }
        }
        Ok(same)
    }

    async fn publish_staged(
        &self,
        publication: &Publication,
        before: &Before,
        incoming: &[Incoming],
        there: BTreeMap<Sha256Digest, Href>,
        staging: &Distribution,
    ) -> Result<(Noted, Vec<String>)> {
        self.tell(PulpStep::Version);
        let version = self.version(before, incoming, there).await?;
        let (published, listing) =
            self.publish_proven(publication, before, incoming, staging, &version).await?;
        let record = self.record_of(publication, &before.signatures);
        let noted = Noted {
            version: self.client.version(&version).await?.number,
            publication: published,
            repomd: listing.repomd,
            record: crate::Record { packages: incoming.len(), ..record },
        };
        // Before it is served: whoever goes back to it later finds it by this.
        self.client.label_repository(&before.repository, &[noted.label()].into()).await?;
        let mut warnings: Vec<String> =
            self.publish_evidence(publication, noted.repomd).await?.into_iter().collect();
        self.tell(PulpStep::Flip);
        let flip = self.flip_to(publication, before, noted.clone());
        self.flip(&flip).await?;
        warnings.extend(self.require_seen(&flip).await);
        Ok((noted, warnings))
    }

    /// After an error: what it is of, and that what is damaged is not there for the next run.
    async fn aftermath(
        &self,
        error: PublishError,
        before: &Before,
        incoming: &[Incoming],
        packages: &[Href],
    ) -> PublishError {
        match error {
            PublishError::Pulp(error) => self.explained(error, 0).await,
            signing @ PublishError::SigningService { .. } => match self.require_room(0).await {
                Err(full @ PublishError::ServerFull { .. }) => full,
                _ => signing,
            },
            PublishError::Damaged { server, what, package, .. } => {
                let discarded = self.discard(&before.repository, incoming, packages, package).await;
                let removed = match (discarded, package) {
                    (Ok(()), Some(package)) => {
                        self.client.packages(&[package]).await.is_ok_and(|left| left.is_empty())
                    }
                    _ => false,
                };
                PublishError::Damaged { server, what, package, removed }
            }
            other => other,
        }
    }

    /// Removes the versions with what is damaged, and packages where nothing else has them: sent again while they are
    /// there, the server would keep the files that it has. It does not remove versions that are served.
    async fn discard(
        &self,
        repository: &Repository,
        incoming: &[Incoming],
        packages: &[Href],
        damaged: Option<Sha256Digest>,
    ) -> Result<()> {
        let damaged = damaged.map(|digest| digest.to_string());
        for version in self.client.versions(&repository.pulp_href).await? {
            let there = self.client.packages_in(&version.pulp_href).await?;
            let is_damaged = match &damaged {
                Some(digest) => there.iter().any(|package| package.pkg_id == *digest),
                None => same_packages(&there, incoming),
            };
            if is_damaged {
                self.client.delete_version(&version.pulp_href).await?;
            }
        }
        Ok(self.client.clean_away(packages).await?)
    }

    fn flip_to(&self, publication: &Publication, before: &Before, noted: Noted) -> Flip {
        Flip {
            address: publication.address.clone(),
            distribution: before.distribution.clone(),
            repository: before.repository.name.clone(),
            change: HistoryEntry::new(
                Action::Publish,
                &publication.change,
                noted.version,
                before.served.as_ref().map(|served| served.version),
                &noted.record.run,
            ),
            noted,
        }
    }

    /// The version that holds just these packages: the newest, where it does, or a new one.
    async fn version(
        &self,
        before: &Before,
        incoming: &[Incoming],
        mut there: BTreeMap<Sha256Digest, Href>,
    ) -> Result<Href> {
        let repository = &before.repository;
        if same_packages(&before.newest, incoming) {
            return Ok(repository.latest_version_href.clone());
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let packages: Vec<Href> = there.values().cloned().collect();
            match self.client.replace_content(repository, &packages).await {
                Ok(Some(version)) => return Ok(version),
                Ok(None) => return self.newest_with(repository, incoming).await,
                Err(PulpError::TaskLost { .. }) if tries < TRIES => {
                    pause().await;
                }
                // What is in no repository is cleaned away after a while, or when an administrator wants it so.
                Err(error) if tries < TRIES && is_cleaned_away(&error) => {
                    there = self.upload(incoming).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// No version was made: the newest holds these packages, be it by another client.
    async fn newest_with(&self, repository: &Repository, incoming: &[Incoming]) -> Result<Href> {
        let newest = self.client.repository_at(&repository.pulp_href).await?.latest_version_href;
        if same_packages(&self.client.packages_in(&newest).await?, incoming) {
            return Ok(newest);
        }
        Err(PublishError::Changed {
            distribution: repository.name.clone(),
            what: "was changed by somebody else at the same time".to_owned(),
        })
    }

    /// The publication of a version that is as it should be: one that is there, or a new one.
    async fn publish_proven(
        &self,
        publication: &Publication,
        before: &Before,
        incoming: &[Incoming],
        staging: &Distribution,
        version: &Href,
    ) -> Result<(Href, Listing)> {
        let mut unsigned = Vec::new();
        loop {
            self.tell(PulpStep::Publish);
            let published = self.publication_of(version, publication, &before.signatures, &unsigned).await?;
            self.tell(PulpStep::ReadBack);
            let listing = self.prove_staged(publication, before, incoming, staging, &published.href).await;
            match listing {
                // Of another service, or of a time when it signed wrongly.
                Err(PublishError::NotSigned { .. }) if !published.anew => unsigned.push(published.href),
                other => return other.map(|listing| (published.href, listing)),
            }
        }
    }

    /// The publication of a version, made where there is none like it: each request makes another.
    async fn publication_of(
        &self,
        version: &Href,
        publication: &Publication,
        signatures: &Signatures,
        not: &[Href],
    ) -> Result<Made> {
        let known = self.client.capabilities().await?.repo_config;
        let config = known.then(|| signatures.repo_config(publication));
        let mut persistence = self.persistence();
        loop {
            // Those that are of no use are many only where somebody does something wrong again and again.
            let there =
                if not.len() < UNSIGNED { self.client.publications(version).await? } else { Vec::new() };
            for there in there.into_iter().filter(|there| !not.contains(&there.pulp_href)) {
                let same = match (&config, &there.repo_config) {
                    (Some(Value::Object(wanted)), Some(there)) => wanted == there,
                    (None, _) => true,
                    _ => false,
                };
                if same {
                    return Ok(Made { href: there.pulp_href, anew: false });
                }
            }
            match self.client.publish(version, config.as_ref()).await {
                Ok(href) => return Ok(Made { href, anew: true }),
                Err(error) if persistence.allows(&error).await => {}
                Err(error) => return Err(not_published(error, publication, signatures)),
            }
        }
    }

    /// Reads a publication back through the content server, and has it judged as consumers see it.
    async fn prove_staged(
        &self,
        publication: &Publication,
        before: &Before,
        incoming: &[Incoming],
        staging: &Distribution,
        published: &Href,
    ) -> Result<Listing> {
        self.change(&staging.pulp_href, json!({ "publication": published, "repository": null })).await?;
        let content = self.content(staging).await?;
        let path = &publication.address.path;
        let listing = self.read_back(&content, path, incoming).await?;
        if let Some(key) = before.signatures.metadata() {
            self.require_signed(&content, path, &listing.bytes, &key).await?;
        }
        publication
            .accept
            .judge(&listing.packages)
            .map_err(|what| PublishError::ReadBack { path: path.clone(), what })?;
        Ok(listing)
    }

    /// Changes a distribution, again where its task was lost: the same twice is the same.
    pub(super) async fn change(&self, distribution: &Href, change: Value) -> Result<()> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.client.change_distribution(distribution, change.clone()).await {
                Err(PulpError::TaskLost { .. }) if tries < TRIES => pause().await,
                other => return Ok(other?),
            }
        }
    }

    /// Removes what was for staging, whatever came of it; that this fails too is not worth hiding the error for.
    async fn unstage<T>(&self, staging: &Distribution, result: Result<T>) -> Result<T> {
        let removed = self.client.delete_distribution(&staging.pulp_href).await;
        match (&result, removed) {
            (Ok(_), Err(error)) if !error.is_transient() => Err(error.into()),
            _ => result,
        }
    }

    /// Of a clock that is off: nothing depends on it, but the record says when things happened.
    fn clock_warning(&self) -> Option<String> {
        const MUCH: i64 = 60;
        let ahead = self.client.seconds_ahead()?;
        (ahead.abs() > MUCH).then(|| {
            let direction = if ahead > 0 { "ahead of" } else { "behind" };
            let duration = jiff::SignedDuration::from_secs(ahead.abs());
            format!("the clock here is {duration:#} {direction} the server's: the times that are noted are not right")
        })
    }
}

/// For how long something is looked for and tried again that may have been done though the answer was lost: the
/// server may be slow to do it, and whatever breaks the connections may break every second one.
pub(super) struct Persistence {
    started: Instant,
    most: Duration,
    tries: u32,
}

impl Persistence {
    /// Whether to look and try once more after this error; then a moment has passed.
    pub(super) async fn allows(&mut self, error: &PulpError) -> bool {
        self.tries += 1;
        let again = match error {
            PulpError::Unreachable { .. } => self.started.elapsed() < self.most,
            _ => error.is_transient() && self.tries < TRIES,
        };
        if again {
            pause().await;
        }
        again
    }
}

impl PulpTarget {
    pub(super) fn persistence(&self) -> Persistence {
        Persistence { started: Instant::now(), most: self.client.settings().patience, tries: 0 }
    }
}

/// A moment before something is sent again.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// What is served already, where it is the same packages from the same lock, signed by the same keys.
fn is_served<'b>(before: &'b Before, publication: &Publication, incoming: &[Incoming]) -> Option<&'b Noted> {
    let served = before.served.as_ref()?;
    let (record, signatures) = (&served.record, &before.signatures);
    let same_keys =
        record.signed_by == signatures.packages && record.metadata_signed_by == signatures.metadata();
    // What is served is not the newest version after a way back; its own packages are not asked for then.
    let same = same_keys && record.lock == publication.lock && same_packages(&before.newest, incoming);
    let newest = labels::versions(&before.repository.pulp_labels).into_keys().next_back();
    // A boot that was made later is noted in the labels, which change in one step with the publication.
    let told = publication.verdicts.is_some_and(|new| new.tell_more_than(record.verdicts.as_ref()));
    (same && !told && newest == Some(served.version)).then_some(served)
}

/// Why a version could not be published: what fails in the task may be the program that signs.
fn not_published(error: PulpError, publication: &Publication, signatures: &Signatures) -> PublishError {
    let by_task =
        matches!(error, PulpError::Task { .. } | PulpError::TaskSlow { .. } | PulpError::TaskLost { .. });
    match &signatures.service {
        Some(service) if by_task => PublishError::SigningService {
            path: publication.address.path.clone(),
            service: service.name.clone(),
            source: Box::new(error),
        },
        _ => error.into(),
    }
}

fn same_packages(there: &[Package], incoming: &[Incoming]) -> bool {
    let there: BTreeSet<&str> = there.iter().map(|package| package.pkg_id.as_str()).collect();
    let incoming: BTreeSet<String> = incoming.iter().map(|package| package.sha256.to_string()).collect();
    there.len() == incoming.len() && incoming.iter().all(|digest| there.contains(digest.as_str()))
}

/// As the server names a package, with its epoch.
fn full_name(package: &Package) -> String {
    let epoch = if package.epoch.is_empty() { "0" } else { &package.epoch };
    format!("{}-{epoch}:{}-{}.{}", package.name, package.version, package.release, package.arch)
}

fn name_with_epoch(package: &Incoming) -> String {
    let evr = &package.nevra.evr;
    format!("{}-{}:{}-{}.{}", package.nevra.name, evr.epoch, evr.version, evr.release, package.nevra.arch)
}

pub(super) fn is_cleaned_away(error: &PulpError) -> bool {
    error.refusal().is_some_and(|said| said.contains("Could not find the following content units"))
}
