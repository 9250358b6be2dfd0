//! Repositories, versions, publications, distributions, packages and guards.

use std::collections::BTreeMap;
use std::fmt;

use drivetrain_model::Sha256Digest;
use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use crate::{Client, Doing, Finished, PulpError, Repeat, Result};

/// As many checksums as fit a query: gunicorn takes request lines of 4094 bytes, a checksum and its comma are 65.
const CHECKSUMS_IN_A_QUERY: usize = 50;
const PAGE: usize = 1000;

/// An object's address: an absolute path below the server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Href(String);

impl Href {
    /// Checks an address, which goes into requests as it is.
    ///
    /// # Errors
    /// In words, where it is none.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/-_.~:".contains(c);
        let good = text.starts_with('/')
            && !text.starts_with("//")
            && text.len() <= 512
            && text.chars().all(allowed)
            && !text.split('/').any(|part| part == "..");
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{:?} is no address of an object", text.chars().take(100).collect::<String>()))
        }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What kind of object it is, as the address says: `repositories/file/file`.
    #[must_use]
    pub fn kind(&self) -> &str {
        let start = self.0.find("/api/v3/").map_or(0, |at| at + "/api/v3/".len());
        let rest = self.0[start..].trim_end_matches('/');
        rest.rsplit_once('/').map_or(rest, |(kind, _)| kind)
    }
}

impl fmt::Display for Href {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Href {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Labels: keys of letters, digits, `_` and spaces; values without `,`, `(` and `)`.
pub type Labels = BTreeMap<String, String>;

pub(crate) fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Labels, D::Error> {
    let map: Option<BTreeMap<String, Option<String>>> = Option::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// A repository of the RPM plugin.
#[derive(Debug, Clone, Deserialize)]
pub struct Repository {
    /// Its address.
    pub pulp_href: Href,
    /// Its name.
    pub name: String,
    /// Its newest version.
    pub latest_version_href: Href,
    /// Its labels.
    #[serde(default, deserialize_with = "labels")]
    pub pulp_labels: Labels,
    /// Whether every new version is published at once.
    #[serde(default)]
    pub autopublish: bool,
    /// How many versions the server keeps by itself.
    #[serde(default)]
    pub retain_repo_versions: Option<u64>,
    /// The service that signs packages again, which changes their bytes.
    #[serde(default)]
    pub package_signing_service: Option<Href>,
    /// The service that signs the metadata of publications.
    #[serde(default)]
    pub metadata_signing_service: Option<Href>,
}

/// A version of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Version {
    /// Its address.
    pub pulp_href: Href,
    /// Its number; 0 is the empty one that every repository begins with.
    pub number: u64,
}

/// A publication: a version with its metadata.
#[derive(Debug, Clone, Deserialize)]
pub struct Publication {
    /// Its address.
    pub pulp_href: Href,
    /// The version that it publishes.
    pub repository_version: Href,
    /// What `config.repo` says.
    #[serde(default)]
    pub repo_config: Option<Map<String, Value>>,
}

/// A distribution: what is served under a base path.
#[derive(Debug, Clone, Deserialize)]
pub struct Distribution {
    /// Its address.
    pub pulp_href: Href,
    /// Its name.
    pub name: String,
    /// The path that it serves.
    pub base_path: String,
    /// The URL that consumers use.
    pub base_url: String,
    /// The publication that it serves.
    #[serde(default)]
    pub publication: Option<Href>,
    /// The repository whose newest publication it serves, where it is not tied to one.
    #[serde(default)]
    pub repository: Option<Href>,
    /// Who may read it.
    #[serde(default)]
    pub content_guard: Option<Href>,
    /// Its labels.
    #[serde(default, deserialize_with = "labels")]
    pub pulp_labels: Labels,
}

/// A package that the server has.
#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    /// Its address.
    pub pulp_href: Href,
    /// Its sha256.
    #[serde(rename = "pkgId")]
    pub pkg_id: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its epoch.
    #[serde(default)]
    pub epoch: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// Its release.
    #[serde(default)]
    pub release: String,
    /// Its architecture.
    #[serde(default)]
    pub arch: String,
}

/// A content guard.
#[derive(Debug, Clone, Deserialize)]
pub struct Guard {
    /// Its address, whose kind says what it wants to see.
    pub pulp_href: Href,
    /// Its name.
    pub name: String,
}

/// What a header guard wants to see.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct HeaderGuard {
    pub(crate) header_name: String,
    pub(crate) header_value: String,
}

#[derive(Debug, Deserialize)]
struct Page<T> {
    count: u64,
    results: Vec<T>,
}

impl Client {
    /// All of a list, page by page.
    pub(crate) async fn list<T: serde::de::DeserializeOwned>(
        &self,
        doing: &Doing,
        endpoint: &str,
        query: &[(&str, &str)],
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        loop {
            let (limit, offset) = (PAGE.to_string(), all.len().to_string());
            let mut query = query.to_vec();
            query.extend([("limit", limit.as_str()), ("offset", offset.as_str())]);
            let page: Page<T> = self.get(doing, self.api(endpoint, &query)).await?;
            let done = page.results.is_empty();
            all.extend(page.results);
            if done || all.len() as u64 >= page.count {
                return Ok(all);
            }
        }
    }

    /// The repository of a name, where there is one and this user may see it.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn repository(&self, name: &str) -> Result<Option<Repository>> {
        let doing = Doing::new(format!("look for the repository {name}"));
        Ok(self.list(&doing, "repositories/rpm/rpm/", &[("name", name)]).await?.pop())
    }

    /// A repository by its address.
    ///
    /// # Errors
    /// Where it is not there, or the server cannot be asked.
    pub async fn repository_at(&self, href: &Href) -> Result<Repository> {
        self.get(&Doing::new(format!("read the repository {href}")), href.to_string()).await
    }

    /// The kind of a repository of a name, whatever it is: `repositories/file/file`.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn repository_kind(&self, name: &str) -> Result<Option<String>> {
        #[derive(Deserialize)]
        struct Any {
            pulp_href: Href,
        }
        let doing = Doing::new(format!("look for any repository called {name}"));
        let found: Vec<Any> = self.list(&doing, "repositories/", &[("name", name)]).await?;
        Ok(found.first().map(|any| any.pulp_href.kind().to_owned()))
    }

    /// Makes a repository.
    ///
    /// # Errors
    /// Where that is not allowed, or the name is taken.
    pub async fn create_repository(
        &self,
        name: &str,
        labels: &Labels,
        description: &str,
    ) -> Result<Repository> {
        let doing = Doing::new(format!("create the repository {name}"))
            .needs("rpm.add_rpmrepository", "rpm.rpmrepository_creator");
        // Versions are removed by drivetrain, which knows what a way back may need: not by number alone.
        let body =
            json!({ "name": name, "pulp_labels": labels, "description": description, "autopublish": false });
        let path = self.api("repositories/rpm/rpm/", &[]);
        self.send(&doing, Method::POST, path, body, Repeat::Once).await
    }

    /// Sets labels of a repository, one by one; others stay.
    ///
    /// # Errors
    /// Where that is not allowed.
    pub async fn label_repository(&self, repository: &Repository, labels: &Labels) -> Result<()> {
        let doing = Doing::new(format!("label the repository {}", repository.name))
            .needs("rpm.change_rpmrepository", "rpm.rpmrepository_owner");
        for (key, value) in
            labels.iter().filter(|(key, value)| repository.pulp_labels.get(*key) != Some(*value))
        {
            let path = format!("{}set_label/", repository.pulp_href);
            let body = json!({ "key": key, "value": value });
            let _done: Value = self.send(&doing, Method::POST, path, body, Repeat::Safe).await?;
        }
        Ok(())
    }

    /// Has the metadata of a repository's publications signed by a service from now on.
    ///
    /// # Errors
    /// Where that is not allowed.
    pub async fn sign_metadata(&self, repository: &Repository, service: &Href) -> Result<()> {
        let doing = Doing::new(format!(
            "set the signing service of the metadata of the repository {}",
            repository.name
        ))
        .needs("rpm.change_rpmrepository", "rpm.rpmrepository_owner");
        let body = json!({ "metadata_signing_service": service });
        let path = repository.pulp_href.to_string();
        let answer: Value = self.send(&doing, Method::PATCH, path, body, Repeat::Safe).await?;
        self.finished(&doing, answer).await.map(drop)
    }

    /// Takes a label from a repository, or its value where the server fails at that. It need not be there.
    ///
    /// # Errors
    /// Where that is not allowed.
    pub async fn unlabel_repository(&self, repository: &Href, key: &str) -> Result<()> {
        let doing = Doing::new(format!("take a label from the repository {repository}"))
            .needs("rpm.change_rpmrepository", "rpm.rpmrepository_owner");
        let path = format!("{repository}unset_label/");
        let taken: Result<Value> =
            self.send(&doing, Method::POST, path, json!({ "key": key }), Repeat::Once).await;
        match taken {
            Ok(_) => Ok(()),
            Err(PulpError::Refused { said, .. }) if said.contains("is not set") => Ok(()),
            // Whoever may not see all remotes is answered with 500 (seen with pulp_rpm 3.39).
            Err(error) if error.is_transient() => self.empty_label(&doing, repository, key).await,
            Err(error) => Err(error),
        }
    }

    async fn empty_label(&self, doing: &Doing, repository: &Href, key: &str) -> Result<()> {
        let path = format!("{repository}set_label/");
        let body = json!({ "key": key, "value": "" });
        let _done: Value = self.send(doing, Method::POST, path, body, Repeat::Safe).await?;
        Ok(())
    }

    /// The versions of a repository.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn versions(&self, repository: &Href) -> Result<Vec<Version>> {
        let doing = Doing::new(format!("list the versions of {repository}"));
        let root = self.settings().api_path();
        let endpoint = repository.as_str().strip_prefix(&format!("{root}/")).unwrap_or(repository.as_str());
        self.list(&doing, &format!("{endpoint}versions/"), &[("fields", "pulp_href,number")]).await
    }

    /// A version by its address.
    ///
    /// # Errors
    /// Where it is not there.
    pub async fn version(&self, href: &Href) -> Result<Version> {
        self.get(&Doing::new(format!("read the repository version {href}")), href.to_string()).await
    }

    /// Removes a version, with its publications.
    ///
    /// # Errors
    /// Where a distribution serves it, or that is not allowed.
    pub async fn delete_version(&self, version: &Href) -> Result<()> {
        let doing = Doing::new(format!("delete the repository version {version}"))
            .needs("rpm.delete_rpmrepository_version", "rpm.rpmrepository_owner");
        self.delete(&doing, version).await
    }

    /// The packages of a version.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn packages_in(&self, version: &Href) -> Result<Vec<Package>> {
        let doing = Doing::new(format!("list the packages of {version}"));
        let fields = "pulp_href,pkgId,name,epoch,version,release,arch";
        let query = [("repository_version", version.as_str()), ("fields", fields)];
        self.list(&doing, "content/rpm/packages/", &query).await
    }

    /// Those of these packages that the server has, in whatever repository or none.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn packages(&self, sha256: &[Sha256Digest]) -> Result<Vec<Package>> {
        let doing = Doing::new("look which packages the server has");
        let found: Vec<Vec<Package>> = futures_util::stream::iter(sha256.chunks(CHECKSUMS_IN_A_QUERY))
            .map(async |some| {
                let list = some.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                let query = [("pkgId__in", list.as_str()), ("fields", "pulp_href,pkgId")];
                self.list(&doing, "content/rpm/packages/", &query).await
            })
            .buffer_unordered(self.settings().connections.max(1))
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Gives a repository these packages and no others, in one new version. `None` where it had just these.
    ///
    /// # Errors
    /// Where a package is no longer there, or that is not allowed.
    pub async fn replace_content(&self, repository: &Repository, packages: &[Href]) -> Result<Option<Href>> {
        let doing = Doing::new(format!("change what is in the repository {}", repository.name))
            .needs("rpm.modify_content_rpmrepository", "rpm.rpmrepository_owner");
        let body = json!({ "add_content_units": packages, "remove_content_units": ["*"] });
        let path = format!("{}modify/", repository.pulp_href);
        // The same twice is the same content, and the second makes no version.
        let answer: Value = self.send(&doing, Method::POST, path, body, Repeat::Safe).await?;
        let finished = self.finished(&doing, answer).await?;
        Ok(finished.created.into_iter().find(|href| href.kind().ends_with("/versions")))
    }

    /// Removes these packages with their files, those of them that are in no repository. Takes an administrator.
    ///
    /// # Errors
    /// Where that is not allowed.
    pub async fn clean_away(&self, packages: &[Href]) -> Result<()> {
        let doing = Doing::new("remove packages that are in no repository");
        let body = json!({ "content_hrefs": packages, "orphan_protection_time": 0 });
        let path = self.api("orphans/cleanup/", &[]);
        let answer: Value = self.send(&doing, Method::POST, path, body, Repeat::Safe).await?;
        self.finished(&doing, answer).await.map(drop)
    }

    /// The publications of a version; none where somebody has removed it.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn publications(&self, version: &Href) -> Result<Vec<Publication>> {
        let doing = Doing::new(format!("list the publications of {version}"));
        let query = [("repository_version", version.as_str())];
        match self.list(&doing, "publications/rpm/rpm/", &query).await {
            // As a filter, what is not there is a mistake in the request.
            Err(PulpError::Refused { said, .. }) if said.contains("not found for repositoryversion") => {
                Ok(Vec::new())
            }
            listed => listed,
        }
    }

    /// A publication by its address; `None` where it is not there.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn publication(&self, href: &Href) -> Result<Option<Publication>> {
        let doing = Doing::new(format!("read the publication {href}"));
        match self.get(&doing, href.to_string()).await {
            Err(PulpError::NotFound { .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Publishes a version: writes its metadata. Each call makes another publication.
    ///
    /// # Errors
    /// Where that is not allowed or fails.
    pub async fn publish(&self, version: &Href, repo_config: Option<&Value>) -> Result<Href> {
        let doing = Doing::new(format!("publish {version}"))
            .needs("rpm.add_rpmpublication", "rpm.rpmpublication_creator");
        let mut body = json!({ "repository_version": version, "checksum_type": "sha256" });
        if let Some(repo_config) = repo_config {
            body["repo_config"] = repo_config.clone();
        }
        let path = self.api("publications/rpm/rpm/", &[]);
        let answer: Value = self.send(&doing, Method::POST, path, body, Repeat::Once).await?;
        match self.finished(&doing, answer).await {
            Ok(finished) => self.created(&doing, finished),
            Err(error) => {
                // It may wait for a program that signs, and would hold the repository for as long.
                self.give_up(&error).await;
                Err(error)
            }
        }
    }

    /// The distribution that serves a base path.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn distribution(&self, base_path: &str) -> Result<Option<Distribution>> {
        let doing = Doing::new(format!("look for the distribution at {base_path}"));
        Ok(self.list(&doing, "distributions/rpm/rpm/", &[("base_path", base_path)]).await?.pop())
    }

    /// The distribution of a name.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn distribution_called(&self, name: &str) -> Result<Option<Distribution>> {
        let doing = Doing::new(format!("look for the distribution {name}"));
        Ok(self.list(&doing, "distributions/rpm/rpm/", &[("name", name)]).await?.pop())
    }

    /// A distribution by its address.
    ///
    /// # Errors
    /// Where it is not there.
    pub async fn distribution_at(&self, href: &Href) -> Result<Distribution> {
        self.get(&Doing::new(format!("read the distribution {href}")), href.to_string()).await
    }

    /// The distributions that have labels, such as `channel=release`.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn distributions_labelled(&self, select: &str) -> Result<Vec<Distribution>> {
        let doing = Doing::new("list the distributions of drivetrain");
        self.list(&doing, "distributions/rpm/rpm/", &[("pulp_label_select", select)]).await
    }

    /// All distributions, whoever made them.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn distributions(&self) -> Result<Vec<Distribution>> {
        self.list(&Doing::new("list all distributions"), "distributions/rpm/rpm/", &[]).await
    }

    /// Makes a distribution.
    ///
    /// # Errors
    /// Where name or path are taken, or that is not allowed.
    pub async fn create_distribution(&self, name: &str, base_path: &str, more: Value) -> Result<Href> {
        let doing = Doing::new(format!("create the distribution {name} at {base_path}"))
            .needs("rpm.add_rpmdistribution", "rpm.rpmdistribution_creator");
        let mut body = more;
        body["name"] = name.into();
        body["base_path"] = base_path.into();
        let path = self.api("distributions/rpm/rpm/", &[]);
        let answer: Value = self.send(&doing, Method::POST, path, body, Repeat::Once).await?;
        let finished = self.finished(&doing, answer).await?;
        self.created(&doing, finished)
    }

    /// Changes a distribution, in one step.
    ///
    /// # Errors
    /// Where that is not allowed.
    pub async fn change_distribution(&self, distribution: &Href, change: Value) -> Result<()> {
        let doing = Doing::new(format!("change the distribution {distribution}"))
            .needs("rpm.change_rpmdistribution", "rpm.rpmdistribution_owner");
        let path = distribution.to_string();
        let answer: Value = self.send(&doing, Method::PATCH, path, change, Repeat::Safe).await?;
        self.finished(&doing, answer).await.map(drop)
    }

    /// Removes a distribution.
    ///
    /// # Errors
    /// Where that is not allowed.
    pub async fn delete_distribution(&self, distribution: &Href) -> Result<()> {
        let doing = Doing::new(format!("delete the distribution {distribution}"))
            .needs("rpm.delete_rpmdistribution", "rpm.rpmdistribution_owner");
        self.delete(&doing, distribution).await
    }

    /// Removes something; that it is gone already is as good.
    pub(crate) async fn delete(&self, doing: &Doing, href: &Href) -> Result<()> {
        let answer: Result<Value> =
            self.send(doing, Method::DELETE, href.to_string(), Value::Null, Repeat::Safe).await;
        match answer {
            Ok(answer) => self.finished(doing, answer).await.map(drop),
            Err(PulpError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The content guard of a name, of whatever kind.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn guard(&self, name: &str) -> Result<Option<Guard>> {
        let doing = Doing::new(format!("look for the content guard {name}"));
        Ok(self.list(&doing, "contentguards/", &[("name", name)]).await?.pop())
    }

    /// The one object that was made.
    pub(crate) fn created(&self, doing: &Doing, finished: Finished) -> Result<Href> {
        let at_once =
            finished.object.as_ref().and_then(|object| object.get("pulp_href")).and_then(Value::as_str);
        let href = at_once.map(Href::parse).transpose();
        let href = href.map(|href| href.or_else(|| finished.created.into_iter().next()));
        let what = match href {
            Ok(Some(href)) => return Ok(href),
            Ok(None) => "it names no object that was made".to_owned(),
            Err(what) => what,
        };
        Err(PulpError::Answer { doing: doing.clone(), url: self.server(), what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_nowhere_else() {
        for text in
            ["", "x", "//evil.example.org/x", "/a/../b", "/a?b", "/a b", "/a#b", "https://evil.example.org/"]
        {
            assert!(Href::parse(text).is_err(), "{text}");
        }
        let href = Href::parse("/pulp/api/v3/repositories/rpm/rpm/0192/versions/3/").expect("an address");
        assert_eq!(href.kind(), "repositories/rpm/rpm/0192/versions");
    }
}
