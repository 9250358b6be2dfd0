//! What is served, by the server's own account.

use std::collections::BTreeMap;

use drivetrain_model::Sha256Digest;
use drivetrain_pulp::{Distribution, Repository};

use super::labels::{self, MARK, Noted};
use super::signing::KEY;
use super::target::PulpTarget;
use crate::{
    HistoryEntry, Listed, PublishError, Record, RepositoryPath, Result, Served, VersionInfo, history,
};

impl PulpTarget {
    /// The distribution at a path, where there is one.
    pub(super) async fn distribution(&self, path: &RepositoryPath) -> Result<Option<Distribution>> {
        Ok(self.client.distribution(path.as_str()).await?)
    }

    /// The distribution at a path, which has to be there and drivetrain's.
    pub(super) async fn served_distribution(&self, path: &RepositoryPath) -> Result<(Distribution, Noted)> {
        let distribution =
            self.distribution(path).await?.ok_or_else(|| PublishError::NotServed(path.clone()))?;
        let noted = served_by(&distribution)?.ok_or_else(|| PublishError::NotServed(path.clone()))?;
        Ok((distribution, noted))
    }

    /// The repository that a distribution belongs to.
    pub(super) async fn repository_of(&self, distribution: &Distribution) -> Result<Option<Repository>> {
        match labels::repository(&distribution.pulp_labels) {
            Some(name) => Ok(self.client.repository(name).await?),
            None => Ok(None),
        }
    }

    pub(super) async fn state_of(&self, path: &RepositoryPath) -> Result<Option<Served>> {
        let Some(distribution) = self.distribution(path).await? else { return Ok(None) };
        if !distribution.pulp_labels.contains_key(MARK) {
            return Ok(None);
        }
        let repository = self.repository_of(&distribution).await?;
        let Listed { served, problem } = self.look(path, &distribution, repository.as_ref());
        match problem {
            // What somebody else pointed elsewhere is to be pointed back by the next run.
            Some(PublishError::Changed { .. }) | None => Ok(Some(served)),
            Some(problem) => Err(problem),
        }
    }

    pub(super) async fn all(&self) -> Result<Vec<Listed>> {
        let distributions = self.client.distributions_labelled(MARK).await?;
        let mut repositories: BTreeMap<String, Option<Repository>> = BTreeMap::new();
        for name in
            distributions.iter().filter_map(|distribution| labels::repository(&distribution.pulp_labels))
        {
            if !repositories.contains_key(name) {
                repositories.insert(name.to_owned(), self.client.repository(name).await?);
            }
        }
        let mut listed: Vec<Listed> = distributions
            .iter()
            .filter_map(|distribution| {
                let path = RepositoryPath::parse(&distribution.base_path).ok()?;
                let repository = labels::repository(&distribution.pulp_labels);
                let repository = repository.and_then(|name| repositories.get(name)?.as_ref());
                Some(self.look(&path, distribution, repository))
            })
            .collect();
        listed.sort_by(|a, b| a.served.path.cmp(&b.served.path));
        Ok(listed)
    }

    /// What can be told of a distribution, and why not more.
    fn look(
        &self,
        path: &RepositoryPath,
        distribution: &Distribution,
        repository: Option<&Repository>,
    ) -> Listed {
        let known =
            repository.map(|repository| labels::versions(&repository.pulp_labels)).unwrap_or_default();
        let (noted, problem) = match served_by(distribution) {
            Ok(noted) => (noted, None),
            Err(problem) => (None, Some(problem)),
        };
        let version = noted.as_ref().map(|noted| noted.version);
        let versions = known
            .values()
            .map(|known| VersionInfo {
                version: known.version,
                made: Some(known.record.made),
                served: Some(known.version) == version,
            })
            .collect();
        let since = labels::history(&distribution.pulp_labels).last().map(|entry| entry.at);
        let served = Served {
            path: path.clone(),
            version,
            since: since.filter(|_| version.is_some()),
            record: noted.map(|noted| self.with_keys(noted.record, &distribution.base_url)),
            versions,
            url: self.absolute(&distribution.base_url),
        };
        Listed { served, problem }
    }

    /// With the URLs of all keys that consumers need there.
    fn with_keys(&self, mut record: Record, base_url: &str) -> Record {
        if record.metadata_signed_by.is_some() {
            let key = format!("{}/{KEY}", self.absolute(base_url).trim_end_matches('/'));
            record.keys.get_or_insert_default().push(key);
        }
        record
    }

    pub(super) async fn changes(&self, path: &RepositoryPath) -> Result<Vec<HistoryEntry>> {
        let distribution = self.distribution(path).await?;
        Ok(distribution.map(|distribution| labels::history(&distribution.pulp_labels)).unwrap_or_default())
    }

    pub(super) async fn way_back(
        &self,
        path: &RepositoryPath,
        lock: Sha256Digest,
    ) -> Result<Option<HistoryEntry>> {
        let Some(distribution) = self.distribution(path).await? else { return Ok(None) };
        let entries = labels::history(&distribution.pulp_labels);
        if history::ways_back(&entries).next().is_none() {
            return Ok(None);
        }
        let Some(repository) = self.repository_of(&distribution).await? else { return Ok(None) };
        let versions = labels::versions(&repository.pulp_labels);
        let made_from_lock =
            |version: u64| versions.get(&version).is_some_and(|noted| noted.record.lock == lock);
        let found = history::ways_back(&entries).find(|entry| entry.from.is_some_and(made_from_lock));
        Ok(found.cloned())
    }

    pub(super) async fn url_of(&self, path: &RepositoryPath) -> Result<String> {
        if let Some(distribution) = self.distribution(path).await? {
            return Ok(self.absolute(&distribution.base_url));
        }
        let status = self.client.status().await?;
        let base = match status.content() {
            Some((origin, prefix)) => {
                format!("{}/{}", origin.unwrap_or_default().trim_end_matches('/'), prefix.trim_matches('/'))
            }
            None => "/pulp/content".to_owned(),
        };
        Ok(self.absolute(&format!("{base}/{path}/")))
    }

    /// A base URL with its origin: a server that was not told its own says the path only.
    pub(super) fn absolute(&self, base_url: &str) -> String {
        let joined = self.client.settings().server.join(base_url);
        joined.map_or_else(|_| base_url.to_owned(), String::from)
    }
}

/// What a distribution serves; an error where that is not what drivetrain noted.
pub(super) fn served_by(distribution: &Distribution) -> Result<Option<Noted>> {
    let changed =
        |what: &str| PublishError::Changed { distribution: distribution.name.clone(), what: what.to_owned() };
    if distribution.repository.is_some() {
        return Err(changed("follows its repository, and would serve what is not proven"));
    }
    match (&distribution.publication, labels::served(&distribution.pulp_labels)) {
        (None, _) => Ok(None),
        (Some(publication), Some(noted)) if *publication == noted.publication => Ok(Some(noted)),
        (Some(_), Some(_)) => Err(changed("serves another publication than drivetrain pointed it to")),
        (Some(_), None) => Err(changed("serves something, and drivetrain has not noted what")),
    }
}

/// What a distribution serves, where that is what drivetrain noted.
pub(super) fn known_by(distribution: &Distribution) -> Option<Noted> {
    served_by(distribution).ok().flatten()
}
