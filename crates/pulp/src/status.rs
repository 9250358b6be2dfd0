//! What the server says of itself.

use serde::Deserialize;

use crate::client::{Ask, Body, Client, Repeat};
use crate::{Doing, PulpError, Result};

/// `GET status/`.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    versions: Vec<Component>,
    #[serde(default)]
    online_workers: Vec<serde_json::Value>,
    #[serde(default)]
    storage: Option<Storage>,
    #[serde(default)]
    content_settings: Option<ContentSettings>,
    #[serde(default)]
    domain_enabled: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct Component {
    component: String,
    version: String,
}

#[derive(Debug, Clone, Deserialize)]
struct ContentSettings {
    #[serde(default)]
    content_origin: Option<String>,
    #[serde(default)]
    content_path_prefix: Option<String>,
}

/// The file system that the server keeps files on, in bytes. Object stores say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Storage {
    /// All of it.
    pub total: Option<u64>,
    /// What is free.
    pub free: Option<u64>,
}

/// What this server can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// pulpcore's version.
    pub core: String,
    /// The RPM plugin's version.
    pub rpm: String,
    /// Packages can be uploaded in one request, without a task (pulp_rpm 3.33).
    pub upload_at_once: bool,
    /// `modify` refuses other bytes under a name that is there, where it is asked to (pulpcore 3.111).
    pub refuses_overwrite: bool,
    /// Publications have `repo_config` (pulp_rpm 3.25).
    pub repo_config: bool,
    /// There is the plugin for files of any kind (pulp_file).
    pub files: bool,
    /// Superseded publications are served for some days (pulpcore 3.109).
    pub keeps_superseded: bool,
}

impl Status {
    /// How many workers are there for tasks.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.online_workers.len()
    }

    /// The file system that the server keeps files on.
    #[must_use]
    pub fn storage(&self) -> Option<Storage> {
        self.storage
    }

    /// Whether the server has domains.
    #[must_use]
    pub fn has_domains(&self) -> bool {
        self.domain_enabled
    }

    /// Where content is served: an origin, which may be missing, and a path.
    #[must_use]
    pub fn content(&self) -> Option<(Option<&str>, &str)> {
        let settings = self.content_settings.as_ref()?;
        Some((settings.content_origin.as_deref(), settings.content_path_prefix.as_deref()?))
    }

    fn version(&self, component: &str) -> Option<&str> {
        self.versions.iter().find(|known| known.component == component).map(|known| known.version.as_str())
    }

    fn capabilities(&self) -> Option<Capabilities> {
        let (core, rpm) = (self.version("core")?, self.version("rpm")?);
        Some(Capabilities {
            core: core.to_owned(),
            rpm: rpm.to_owned(),
            upload_at_once: is_from(rpm, &[3, 33]),
            refuses_overwrite: is_from(core, &[3, 111]),
            repo_config: is_from(rpm, &[3, 25]),
            files: self.version("file").is_some(),
            keeps_superseded: is_from(core, &[3, 109]),
        })
    }
}

/// Whether a version such as `3.123.1` is this one or a later one. What is no number counts as 0.
fn is_from(version: &str, least: &[u32]) -> bool {
    let numbers: Vec<u32> = version.split('.').map(|part| part.parse().unwrap_or(0)).collect();
    numbers.as_slice() >= least
}

impl Client {
    /// Asks the server for its status. Needs no credentials.
    ///
    /// # Errors
    /// Where it cannot be reached, or is no Pulp server.
    pub async fn status(&self) -> Result<Status> {
        let doing = Doing::new("ask the server for its status");
        let path = self.api("status/", &[]);
        let ask = Ask {
            doing: &doing,
            method: reqwest::Method::GET,
            path: path.clone(),
            body: Body::Nothing,
            headers: Vec::new(),
            repeat: Repeat::Safe,
        };
        match self.json::<Status>(&ask).await {
            Ok(status) => {
                // Whatever it was asked for: uploads that begin together need not ask again, each of them.
                if let Some(found) = status.capabilities() {
                    self.inner.capabilities.get_or_init(|| found);
                }
                Ok(status)
            }
            Err(PulpError::NotFound { .. }) => Err(PulpError::Server {
                server: self.server(),
                what: format!(
                    "has no Pulp at {path}: see the URL, api_root (Pulp's API_ROOT) and domain of publish.pulp"
                ),
            }),
            other => other,
        }
    }

    /// What the server can do; asked for once.
    ///
    /// # Errors
    /// As [`Client::status`], and where it has no RPM plugin.
    pub async fn capabilities(&self) -> Result<&Capabilities> {
        if let Some(known) = self.inner.capabilities.get() {
            return Ok(known);
        }
        let status = self.status().await?;
        let found = status.capabilities().ok_or_else(|| PulpError::Server {
            server: self.server(),
            what: "has no RPM plugin (pulp_rpm)".to_owned(),
        })?;
        Ok(self.inner.capabilities.get_or_init(|| found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_decide_what_is_tried() {
        assert!(is_from("3.123.1", &[3, 111]));
        assert!(is_from("3.111.0", &[3, 111]));
        assert!(!is_from("3.63.49", &[3, 111]));
        assert!(is_from("4.0", &[3, 111]));
        assert!(is_from("3.120.0.dev", &[3, 111]));
    }
}
