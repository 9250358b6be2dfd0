//! The one step, for one distribution or for several together.
//!
//! One distribution changes by one PATCH. Several cannot change at one moment, so each is told first that it is about
//! to (`drivetrain_pending`, with all that the change takes), then they change, and after an error all are changed
//! back. Whoever comes after a client that was killed in between finds the notes: where all of a group have them, or
//! have changed already, the rest is done; where some were never told, none has changed, and the notes are removed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use drivetrain_model::Sha256Digest;
use drivetrain_pulp::{Distribution, Href, Labels};
use jiff::Timestamp;
use serde_json::json;

use super::labels::{self, FLIP, Noted, PENDING};
use super::state::known_by;
use super::target::{PulpStep, PulpTarget};
use crate::{
    Action, Address, Change, HistoryEntry, Promoted, Promotion, PublishError, RepositoryPath, Result,
    RolledBack,
};

/// How long the content server may answer with what it had before.
const CACHED: Duration = Duration::from_secs(10);
/// After how long somebody else's notes are taken for left behind, in seconds.
const ABANDONED: i64 = 600;

/// What a distribution serves from now on.
#[derive(Debug, Clone)]
pub(super) struct Flip {
    pub(super) address: Address,
    /// As it was; `None` where it is to be made.
    pub(super) distribution: Option<Distribution>,
    pub(super) repository: String,
    pub(super) noted: Noted,
    pub(super) change: HistoryEntry,
}

impl Flip {
    fn labels(&self) -> Labels {
        let before = self.distribution.as_ref().map(|distribution| distribution.pulp_labels.clone());
        let (address, noted) = (&self.address, &self.noted);
        labels::of_distribution(&before.unwrap_or_default(), address, &self.repository, noted, &self.change)
    }
}

impl PulpTarget {
    /// Makes the step. It has been made when this returns well; after an error it may have been, and the next run
    /// finds out.
    pub(super) async fn flip(&self, flip: &Flip) -> Result<()> {
        let guard = self.guard().await?;
        let mut change = json!({
            "publication": flip.noted.publication,
            "repository": null,
            "pulp_labels": flip.labels(),
            "generate_repo_config": true,
        });
        if let Some(guard) = guard {
            change["content_guard"] = guard.to_string().into();
        }
        if let Some(distribution) = &flip.distribution {
            return self.change(&distribution.pulp_href, change).await;
        }
        let Address { distribution, path, .. } = &flip.address;
        let made = self.make_distribution(distribution, path.as_str(), &change).await?;
        if made.anew { Ok(()) } else { self.change(&made.href, change).await }
    }

    /// That consumers see it; a warning where they do not for a while.
    pub(super) async fn require_seen(&self, flip: &Flip) -> Option<String> {
        let started = Instant::now();
        let (path, version) = (&flip.address.path, flip.noted.version);
        let why = loop {
            match self.seen(path).await {
                Ok((_, seen)) if seen == flip.noted.repomd => return None,
                Ok((served, _)) if served.as_ref() != Some(&flip.noted.publication) => {
                    return Some(format!(
                        "somebody else changed {path} right after version {version} was served"
                    ));
                }
                Ok(_) if started.elapsed() < CACHED => tokio::time::sleep(Duration::from_millis(200)).await,
                Ok(_) => break "the content server still answers with what it had before".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        Some(format!(
            "the distribution at {path} points to version {version}, and consumers may not see that yet: {why}"
        ))
    }

    /// What a distribution points to, and what consumers see there.
    async fn seen(&self, path: &RepositoryPath) -> Result<(Option<Href>, Sha256Digest)> {
        let distribution =
            self.distribution(path).await?.ok_or_else(|| PublishError::NotServed(path.clone()))?;
        let content = self.content(&distribution).await?;
        let repomd = Sha256Digest::of(&content.read("repodata/repomd.xml", 1 << 20).await?);
        Ok((distribution.publication, repomd))
    }

    pub(super) async fn go_back(
        &self,
        path: &RepositoryPath,
        to: Option<u64>,
        change: &Change,
    ) -> Result<RolledBack> {
        self.settle_all(path).await?;
        let (distribution, served) = self.served_distribution(path).await?;
        let repository = self.repository_of(&distribution).await?;
        let repository = repository.ok_or_else(|| PublishError::NotServed(path.clone()))?;
        let known = labels::versions(&repository.pulp_labels);
        let history = labels::history(&distribution.pulp_labels);
        let to = match to {
            Some(version) => known.get(&version).ok_or_else(|| PublishError::NoSuchVersion {
                path: path.clone(),
                version,
                there: known.keys().copied().collect(),
            })?,
            None => before(&history, &known, served.version)
                .ok_or_else(|| PublishError::NothingBefore { path: path.clone(), version: served.version })?,
        };
        if to.version == served.version {
            return Ok(RolledBack { from: served.version, to: to.version });
        }
        if self.client.publication(&to.publication).await?.is_none() {
            return Err(PublishError::Gone { path: path.clone(), version: to.version });
        }
        let mut address = Address::from(path.clone());
        address.distribution = distribution.name.clone();
        let flip = Flip {
            address,
            repository: repository.name,
            noted: to.clone(),
            change: HistoryEntry::new(
                Action::Rollback,
                change,
                to.version,
                Some(served.version),
                &to.record.run,
            ),
            distribution: Some(distribution),
        };
        self.tell(PulpStep::Flip);
        self.flip(&flip).await?;
        Ok(RolledBack { from: served.version, to: flip.noted.version })
    }

    pub(super) async fn promote_all(
        &self,
        promotions: &[Promotion],
        change: &Change,
    ) -> Result<Vec<Promoted>> {
        self.finish_abandoned().await?;
        let mut done = Vec::new();
        let mut flips = Vec::new();
        for promotion in promotions {
            let flip = self.promotion(promotion, change).await?;
            let served = flip.distribution.as_ref().and_then(known_by);
            let unchanged = served.as_ref() == Some(&flip.noted);
            done.push(Promoted {
                path: promotion.to.path.clone(),
                previous: served.map(|served| served.version),
                version: flip.noted.version,
                unchanged,
                url: String::new(),
            });
            if !unchanged {
                flips.push(flip);
            }
        }
        for flip in &flips {
            self.promote_evidence(&flip.address, &flip.repository).await?;
        }
        self.tell(PulpStep::Flip);
        match flips.as_slice() {
            [] => {}
            [one] => self.flip(one).await?,
            several => self.flip_together(several, change).await?,
        }
        for promoted in &mut done {
            promoted.url = self.url_of(&promoted.path).await?;
        }
        Ok(done)
    }

    async fn promotion(&self, promotion: &Promotion, change: &Change) -> Result<Flip> {
        let (source, noted) = self.served_distribution(&promotion.from).await?;
        let repository = labels::repository(&source.pulp_labels).unwrap_or_default().to_owned();
        let distribution = self.distribution(&promotion.to.path).await?;
        self.require_own(&promotion.to, distribution.as_ref()).await?;
        let served = distribution.as_ref().and_then(known_by);
        let from = served.map(|served| served.version);
        let change = HistoryEntry::new(Action::Promote, change, noted.version, from, &noted.record.run);
        Ok(Flip { address: promotion.to.clone(), distribution, repository, noted, change })
    }

    /// Several distributions change, or none of them does.
    async fn flip_together(&self, flips: &[Flip], change: &Change) -> Result<()> {
        let group = format!("{}-{}", self.client.settings().correlation, Timestamp::now().as_microsecond());
        let mut told = Vec::new();
        for flip in flips {
            match self.tell_pending(flip, &group, flips.len(), change).await {
                Ok(flip) => told.push(flip),
                Err(error) => return Err(self.restored(flips, &told, error).await),
            }
        }
        for flip in &told {
            if let Err(error) = self.flip_of(flip, &group).await {
                return Err(self.restored(flips, &told, error).await);
            }
        }
        Ok(())
    }

    /// The flip, with the group's name beside it, so that those who were to change with it are found.
    async fn flip_of(&self, flip: &Flip, group: &str) -> Result<()> {
        let mut marked = flip.clone();
        marked.address.labels.insert(FLIP.to_owned(), group.to_owned());
        self.flip(&marked).await
    }

    /// Notes on a distribution what is about to be done; one that is not there is made, of nothing.
    async fn tell_pending(&self, flip: &Flip, group: &str, of: usize, change: &Change) -> Result<Flip> {
        let pending = labels::encode(&[
            ("group", group.to_owned()),
            ("of", of.to_string()),
            ("by", self.options.client_name.clone()),
            ("since", Timestamp::now().as_second().to_string()),
            ("repository", flip.repository.clone()),
            ("record", flip.noted.encode()),
            ("change", labels::encode_change(&HistoryEntry { at: change.at, ..flip.change.clone() })),
        ]);
        let mut labels = match &flip.distribution {
            Some(distribution) => distribution.pulp_labels.clone(),
            None => flip.address.labels.clone(),
        };
        labels.insert(PENDING.to_owned(), pending);
        let distribution = match &flip.distribution {
            Some(distribution) => {
                self.change(&distribution.pulp_href, json!({ "pulp_labels": labels })).await?;
                distribution.pulp_href.clone()
            }
            None => {
                let change = json!({ "pulp_labels": labels });
                let Address { distribution, path, .. } = &flip.address;
                let made = self.make_distribution(distribution, path.as_str(), &change).await?;
                if !made.anew {
                    self.change(&made.href, change).await?;
                }
                made.href
            }
        };
        Ok(Flip { distribution: Some(self.client.distribution_at(&distribution).await?), ..flip.clone() })
    }

    /// After an error: what was, everywhere.
    async fn restored(&self, before: &[Flip], told: &[Flip], error: PublishError) -> PublishError {
        let mut not_restored = Vec::new();
        for (before, told) in before.iter().zip(told) {
            let Some(there) = &told.distribution else { continue };
            let undone = match &before.distribution {
                None => self.client.delete_distribution(&there.pulp_href).await.map_err(PublishError::from),
                Some(was) => {
                    let change = json!({
                        "publication": was.publication,
                        "repository": was.repository,
                        "pulp_labels": was.pulp_labels,
                        "content_guard": was.content_guard,
                    });
                    self.change(&there.pulp_href, change).await
                }
            };
            if let Err(error) = undone {
                not_restored.push(format!("{}: {error}", told.address.path));
            }
        }
        PublishError::Together { source: Box::new(error), not_restored }
    }

    /// What somebody who was killed left half-done.
    pub(super) async fn finish_abandoned(&self) -> Result<()> {
        let mut groups: BTreeMap<String, Vec<(Distribution, Pending)>> = BTreeMap::new();
        for distribution in self.client.distributions_labelled(PENDING).await? {
            let pending = distribution.pulp_labels.get(PENDING).and_then(|text| Pending::decode(text));
            if let Some(pending) = pending.filter(|pending| pending.is_abandoned(&self.options.client_name)) {
                groups.entry(pending.group.clone()).or_default().push((distribution, pending));
            }
        }
        for (group, waiting) in groups {
            let changed = self.client.distributions_labelled(&format!("{FLIP}={group}")).await?.len();
            let of = waiting.first().map_or(0, |(_, pending)| pending.of);
            let complete = changed + waiting.len() >= of;
            for (distribution, pending) in waiting {
                if complete {
                    self.flip_of(&pending.flip(distribution)?, &group).await?;
                } else {
                    self.forget_pending(&distribution).await?;
                }
            }
        }
        Ok(())
    }

    async fn forget_pending(&self, distribution: &Distribution) -> Result<()> {
        if distribution.publication.is_none() {
            return Ok(self.client.delete_distribution(&distribution.pulp_href).await?);
        }
        let mut labels = distribution.pulp_labels.clone();
        labels.remove(PENDING);
        self.change(&distribution.pulp_href, json!({ "pulp_labels": labels })).await
    }

    /// What a killed process left of a path's repository, and of changes that were to be made together.
    pub(super) async fn settle_all(&self, path: &RepositoryPath) -> Result<()> {
        self.finish_abandoned().await?;
        let Some(distribution) = self.distribution(path).await? else { return Ok(()) };
        match labels::repository(&distribution.pulp_labels) {
            Some(repository) => self.sweep(repository).await,
            None => Ok(()),
        }
    }
}

/// What is noted on a distribution that is about to change together with others.
struct Pending {
    group: String,
    of: usize,
    by: String,
    since: i64,
    repository: String,
    noted: Noted,
    change: HistoryEntry,
}

impl Pending {
    fn decode(text: &str) -> Option<Self> {
        let parts = labels::decode(text);
        let part = |key: &str| parts.get(key).map(String::as_str);
        Some(Self {
            group: part("group")?.to_owned(),
            of: part("of")?.parse().ok()?,
            by: part("by")?.to_owned(),
            since: part("since")?.parse().ok()?,
            repository: part("repository")?.to_owned(),
            noted: Noted::decode(part("record")?)?,
            change: labels::decode_change(part("change")?)?,
        })
    }

    fn is_abandoned(&self, client_name: &str) -> bool {
        self.by == client_name || Timestamp::now().as_second() - self.since > ABANDONED
    }

    fn flip(self, distribution: Distribution) -> Result<Flip> {
        let mut address = Address::from(RepositoryPath::parse(&distribution.base_path)?);
        address.distribution = distribution.name.clone();
        Ok(Flip {
            address,
            distribution: Some(distribution),
            repository: self.repository,
            noted: self.noted,
            change: self.change,
        })
    }
}

/// The version that was served before this one, and is still there.
fn before<'n>(history: &[HistoryEntry], known: &'n BTreeMap<u64, Noted>, served: u64) -> Option<&'n Noted> {
    let noted = history.iter().rev().map(|entry| entry.version).filter(|version| *version < served);
    noted.filter_map(|version| known.get(&version)).next()
}
