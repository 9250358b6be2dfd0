//! Files of any kind, by the plugin pulp_file.

use drivetrain_model::Sha256Digest;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Ask, Body};
use crate::objects::labels;
use crate::{Client, Distribution, Doing, Href, Labels, PulpError, Repeat, Result};

/// A repository of files.
#[derive(Debug, Clone, Deserialize)]
pub struct FileRepository {
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
}

/// A file that the server has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FileContent {
    /// Its address.
    pub pulp_href: Href,
    /// Where it is in repositories.
    pub relative_path: String,
    /// Its sha256.
    pub sha256: String,
}

const FIELDS: &str = "pulp_href,relative_path,sha256";

impl Client {
    /// The repository of files of a name, where there is one and this user may see it.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn file_repository(&self, name: &str) -> Result<Option<FileRepository>> {
        let doing = Doing::new(format!("look for the repository of files {name}"));
        Ok(self.list(&doing, "repositories/file/file/", &[("name", name)]).await?.pop())
    }

    /// Makes a repository of files that publishes each version at once, and keeps the last.
    ///
    /// # Errors
    /// Where that is not allowed, or the name is taken.
    pub async fn create_file_repository(
        &self,
        name: &str,
        labels: &Labels,
        description: &str,
    ) -> Result<FileRepository> {
        let doing = Doing::new(format!("create the repository of files {name}"))
            .needs("file.add_filerepository", "file.filerepository_creator");
        let body = json!({
            "name": name,
            "pulp_labels": labels,
            "description": description,
            "autopublish": true,
            "retain_repo_versions": 1,
        });
        let path = self.api("repositories/file/file/", &[]);
        self.send(&doing, Method::POST, path, body, Repeat::Once).await
    }

    /// The files of a version.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn files_in(&self, version: &Href) -> Result<Vec<FileContent>> {
        let doing = Doing::new(format!("list the files of {version}"));
        let query = [("repository_version", version.as_str()), ("fields", FIELDS)];
        self.list(&doing, "content/file/files/", &query).await
    }

    /// Sends a file, outside of any repository, where the server does not have it.
    ///
    /// # Errors
    /// Where it was refused.
    pub async fn upload_file(&self, relative_path: &str, bytes: &[u8]) -> Result<Href> {
        let sha256 = Sha256Digest::of(bytes);
        let doing =
            Doing::new(format!("upload {relative_path}")).needs("file.upload_files", "file.file_uploader");
        if let Some(there) = self.file(&doing, relative_path, sha256).await? {
            return Ok(there);
        }
        let sent = match self.send_file(&doing, "content/file/files/upload/", relative_path, bytes).await {
            // A server from before there were uploads without a task.
            Err(PulpError::Refused { status: 405, .. } | PulpError::NotFound { .. }) => {
                self.send_file(&doing, "content/file/files/", relative_path, bytes).await
            }
            other => other,
        };
        match sent {
            // Of two that send the same at once one is told that it is there already: then it is.
            Err(PulpError::Refused { status, said, doing }) => {
                let there = self.file(&doing, relative_path, sha256).await?;
                there.ok_or(PulpError::Refused { status, said, doing })
            }
            sent => sent,
        }
    }

    async fn file(&self, doing: &Doing, relative_path: &str, sha256: Sha256Digest) -> Result<Option<Href>> {
        let sha256 = sha256.to_string();
        let query = [("relative_path", relative_path), ("sha256", sha256.as_str()), ("fields", FIELDS)];
        let found: Vec<FileContent> = self.list(doing, "content/file/files/", &query).await?;
        Ok(found.into_iter().next().map(|file| file.pulp_href))
    }

    async fn send_file(
        &self,
        doing: &Doing,
        endpoint: &str,
        relative_path: &str,
        bytes: &[u8],
    ) -> Result<Href> {
        let name = relative_path.rsplit('/').next().unwrap_or(relative_path).to_owned();
        let ask = Ask {
            doing,
            method: Method::POST,
            path: self.api(endpoint, &[]),
            body: Body::Bytes { bytes, name, fields: vec![("relative_path", relative_path.to_owned())] },
            headers: Vec::new(),
            repeat: Repeat::Safe,
        };
        let answer: Value = self.json(&ask).await?;
        // Who is no administrator may not see it in lists before it is in a repository. That it is what was sent is seen
        // where it is served.
        let finished = self.finished(doing, answer).await?;
        self.created(doing, finished)
    }

    /// Adds files to a repository and takes others from it, in one new version, which is published.
    ///
    /// # Errors
    /// Where a file is no longer there, or that is not allowed.
    pub async fn change_files(
        &self,
        repository: &FileRepository,
        add: &[Href],
        remove: &[Href],
    ) -> Result<()> {
        let doing = Doing::new(format!("change what is in the repository of files {}", repository.name))
            .needs("file.modify_filerepository", "file.filerepository_owner");
        let body = json!({ "add_content_units": add, "remove_content_units": remove });
        let path = format!("{}modify/", repository.pulp_href);
        // The same twice is the same content, and the second makes no version.
        let answer: Value = self.send(&doing, Method::POST, path, body, Repeat::Safe).await?;
        self.finished(&doing, answer).await.map(drop)
    }

    /// The distribution of files that serves a base path.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn file_distribution(&self, base_path: &str) -> Result<Option<Distribution>> {
        let doing = Doing::new(format!("look for the distribution of files at {base_path}"));
        Ok(self.list(&doing, "distributions/file/file/", &[("base_path", base_path)]).await?.pop())
    }

    /// Makes a distribution of files.
    ///
    /// # Errors
    /// Where name or path are taken, or that is not allowed.
    pub async fn create_file_distribution(&self, name: &str, base_path: &str, more: &Value) -> Result<()> {
        let doing = Doing::new(format!("create the distribution of files {name} at {base_path}"))
            .needs("file.add_filedistribution", "file.filedistribution_creator");
        let mut body = more.clone();
        body["name"] = name.into();
        body["base_path"] = base_path.into();
        let path = self.api("distributions/file/file/", &[]);
        let answer: Value = self.send(&doing, Method::POST, path, body, Repeat::Once).await?;
        self.finished(&doing, answer).await.map(drop)
    }

    /// Changes a distribution of files.
    ///
    /// # Errors
    /// Where that is not allowed.
    pub async fn change_file_distribution(&self, distribution: &Href, change: Value) -> Result<()> {
        let doing = Doing::new(format!("change the distribution of files {distribution}"))
            .needs("file.change_filedistribution", "file.filedistribution_owner");
        let answer: Value =
            self.send(&doing, Method::PATCH, distribution.to_string(), change, Repeat::Safe).await?;
        self.finished(&doing, answer).await.map(drop)
    }
}
