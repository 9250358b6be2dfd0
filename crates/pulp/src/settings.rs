//! Which server, as whom, and how patiently.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use drivetrain_fetch::Credentials;
use drivetrain_model::Sha256Digest;
use url::Url;

/// How to reach a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server: scheme, host, port, and a path where Pulp is below one.
    pub server: Url,
    /// Pulp's `API_ROOT`, with a slash at both ends: `/pulp/`.
    pub api_root: String,
    /// The domain, for servers that have them (`DOMAIN_ENABLED`).
    pub domain: Option<String>,
    /// As whom; `None` for what anybody may do.
    pub credentials: Option<Credentials>,
    /// A file of certificate authorities in PEM, beside the system's.
    pub ca: Option<Utf8PathBuf>,
    /// What the server notes beside everything that is done for this run: a UUID, or it makes one itself.
    pub correlation: String,
    /// How many connections at once. More than the server has API workers gain nothing.
    pub connections: usize,
    /// How long to repeat what can be repeated, while the server cannot be reached or is not well.
    pub patience: Duration,
    /// How long to wait for a task.
    pub task_patience: Duration,
    /// Whether `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` are heeded.
    pub proxy_from_environment: bool,
    /// Is told what is tried again, so that a wait is not silent.
    pub notice: Notice,
}

/// Somebody who is told something, in a sentence.
#[derive(Clone)]
pub struct Notice(Arc<dyn Fn(&str) + Send + Sync>);

impl Notice {
    /// With a listener.
    pub fn new(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Tells it.
    pub fn tell(&self, what: &str) {
        (self.0)(what);
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notice")
    }
}

impl Settings {
    /// A server, with all else as it usually is.
    #[must_use]
    pub fn new(server: Url) -> Self {
        Self {
            server,
            api_root: "/pulp/".to_owned(),
            domain: None,
            credentials: None,
            ca: None,
            correlation: correlation_id("drivetrain"),
            connections: 6,
            patience: Duration::from_secs(120),
            task_patience: Duration::from_secs(1800),
            proxy_from_environment: true,
            notice: Notice::new(|_| ()),
        }
    }

    /// The path of the API below the server, without a slash at its end.
    pub(crate) fn api_path(&self) -> String {
        let root = self.api_root.trim_matches('/');
        let root = if root.is_empty() { String::new() } else { format!("/{root}") };
        let domain = self.domain.as_deref().map(|domain| format!("/{domain}")).unwrap_or_default();
        format!("{root}{domain}/api/v3")
    }
}

/// A correlation id that stands for a text, such as a run's id: the same text has the same one, so that the
/// server's log can be searched for a run. Of the form of a UUID of version 8 (RFC 9562, section 5.8), since the
/// server replaces anything else.
#[must_use]
pub fn correlation_id(text: &str) -> String {
    let hex = Sha256Digest::of(text.as_bytes()).to_string();
    // The version is 8, the variant is 10 in binary.
    format!("{}-{}-8{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correlation_id_is_a_uuid() {
        let id = correlation_id("20261124T031500Z-k3x9");
        assert_eq!(id, correlation_id("20261124T031500Z-k3x9"));
        assert_ne!(id, correlation_id("20261124T031500Z-k3xa"));
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert!(id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()));
    }

    #[test]
    fn the_api_is_below_the_root_and_the_domain() {
        let mut settings = Settings::new(Url::parse("https://ark.example.org").expect("a URL"));
        assert_eq!(settings.api_path(), "/pulp/api/v3");
        settings.domain = Some("team".to_owned());
        assert_eq!(settings.api_path(), "/pulp/team/api/v3");
        settings.api_root = "/".to_owned();
        settings.domain = None;
        assert_eq!(settings.api_path(), "/api/v3");
    }
}
