//! What consumers see: the content server, read as they read it.

use std::time::Duration;

use drivetrain_fetch::{Credentials, Secret};
use drivetrain_model::Sha256Digest;
use reqwest::header::{CONTENT_RANGE, HeaderName, HeaderValue, RANGE};
use reqwest::{RequestBuilder, StatusCode};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::client::broken;
use crate::objects::HeaderGuard;
use crate::{Client, Doing, Guard, PulpError, Result};

const TIMEOUT: Duration = Duration::from_secs(120);
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// How to get past a content guard.
#[derive(Debug, Clone)]
pub enum GuardAccess {
    /// There is none.
    Open,
    /// By name and password, as the API (`core/rbac`).
    Basic(Credentials),
    /// By a header with a value that is agreed on (`core/header`).
    Header(String, Secret),
}

/// The beginning of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// Its first bytes: as many as were asked for, where it has so many.
    pub bytes: Vec<u8>,
    /// How long all of it is; `None` where the server does not say.
    pub size: Option<u64>,
}

/// Reads what is served below a URL.
#[derive(Debug, Clone)]
pub struct Content {
    client: Client,
    base: Url,
    access: GuardAccess,
}

impl Content {
    /// What is served below this URL, to somebody with this access.
    ///
    /// # Errors
    /// Where the URL is none.
    pub fn new(client: &Client, base_url: &str, access: GuardAccess) -> Result<Self> {
        // A server that has not been told its origin says the path only.
        let base = client.settings().server.join(base_url).map_err(|error| PulpError::Client {
            server: base_url.chars().take(200).collect(),
            what: error.to_string(),
        })?;
        let base = if base.path().ends_with('/') { base } else { with_slash(base) };
        Ok(Self { client: client.clone(), base, access })
    }

    /// The URL.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// A whole file, of at most `limit` bytes.
    ///
    /// # Errors
    /// Where it cannot be read, or is longer.
    pub async fn read(&self, location: &str, limit: u64) -> Result<Vec<u8>> {
        Ok(self.patiently(location, None, limit).await?.bytes)
    }

    /// The first bytes of a file, and how long it is.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn read_first(&self, location: &str, count: u64) -> Result<Beginning> {
        self.patiently(location, Some(count), count).await
    }

    /// The sha256 and size of a file, of which more than `expected` bytes are not read.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn digest(&self, location: &str, expected: u64) -> Result<(Sha256Digest, u64)> {
        let doing = Doing::new("read back what is served");
        let url = self.url(location)?;
        let broken = |error| broken(&doing, url.to_string(), error);
        let request = self
            .with_access(self.client.inner.http.get(url.clone()))
            .timeout(TIMEOUT + Duration::from_secs(expected >> 15));
        let mut response = request.send().await.map_err(broken)?;
        self.require_good(location, response.status())?;
        let (mut hasher, mut size) = (Sha256::new(), 0);
        while let Some(bytes) = response.chunk().await.map_err(broken)? {
            hasher.update(&bytes);
            size += bytes.len() as u64;
            if size > expected {
                break;
            }
        }
        Ok((Sha256Digest::from_bytes(hasher.finalize().into()), size))
    }

    async fn patiently(&self, location: &str, first: Option<u64>, limit: u64) -> Result<Beginning> {
        let started = std::time::Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            let error = match self.once(location, first, limit).await {
                Ok(beginning) => return Ok(beginning),
                Err(error) => error,
            };
            if !error.is_transient() || started.elapsed() + wait > self.client.settings().patience {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn once(&self, location: &str, first: Option<u64>, limit: u64) -> Result<Beginning> {
        let url = self.url(location)?;
        let doing = Doing::new("read back what is served");
        let broken = |error| broken(&doing, url.to_string(), error);
        let mut request = self.with_access(self.client.inner.http.get(url.clone())).timeout(TIMEOUT);
        if let Some(count) = first {
            request = request.header(RANGE, format!("bytes=0-{}", count.saturating_sub(1)));
        }
        let mut response = request.send().await.map_err(broken)?;
        if first.is_some() && response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(Beginning { bytes: Vec::new(), size: Some(0) });
        }
        self.require_good(location, response.status())?;
        let size = whole_size(&response);
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            bytes.extend_from_slice(&chunk);
            let enough = bytes.len() as u64 >= limit;
            match first {
                // A server that does not know ranges sends all of it.
                Some(_) if enough => {
                    bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
                    break;
                }
                None if bytes.len() as u64 > limit => {
                    return Err(self.not_understood(location, format!("it is longer than {limit} bytes")));
                }
                _ => {}
            }
        }
        Ok(Beginning { bytes, size })
    }

    fn require_good(&self, location: &str, status: StatusCode) -> Result<()> {
        let doing = Doing::new("read back what is served");
        match status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(()),
            StatusCode::NOT_FOUND => {
                Err(PulpError::NotFound { doing, url: format!("{}{location}", self.base) })
            }
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Err(PulpError::Forbidden {
                doing,
                said: format!("{} is guarded, and drivetrain is not let in", self.base),
            }),
            status if status.is_server_error() => {
                let (status, said) = (status.as_u16(), "an error".to_owned());
                Err(PulpError::Broken { doing, status, tries: 1, said })
            }
            status => Err(self.not_understood(location, format!("it comes with status {status}"))),
        }
    }

    /// A location of the metadata below the base: nowhere else, and nothing that is no file there.
    fn url(&self, location: &str) -> Result<Url> {
        let joined = self.base.join(&location.replace('%', "%25")).ok();
        let inside =
            joined.filter(|url| url.as_str().starts_with(self.base.as_str()) && url.query().is_none());
        inside.ok_or_else(|| self.not_understood(location, "it leads out of the repository".to_owned()))
    }

    fn with_access(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.access {
            GuardAccess::Open => request,
            GuardAccess::Basic(credentials) => {
                request.basic_auth(credentials.user.expose(), Some(credentials.password.expose()))
            }
            GuardAccess::Header(name, value) => {
                let name = HeaderName::from_bytes(name.as_bytes());
                match (name, HeaderValue::from_str(value.expose())) {
                    (Ok(name), Ok(mut value)) => {
                        value.set_sensitive(true);
                        request.header(name, value)
                    }
                    _ => request,
                }
            }
        }
    }

    fn not_understood(&self, location: &str, what: String) -> PulpError {
        let location: String = location.chars().take(200).collect();
        PulpError::Answer {
            doing: Doing::new("read back what is served"),
            url: format!("{}{location}", self.base),
            what,
        }
    }
}

/// How long a file is of which this answer has all or a part.
fn whole_size(response: &reqwest::Response) -> Option<u64> {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return response.content_length();
    }
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.rsplit_once('/')?.1.parse().ok()
}

fn with_slash(mut url: Url) -> Url {
    let path = format!("{}/", url.path());
    url.set_path(&path);
    url
}

impl Client {
    /// How this user gets past a content guard, to read back what is served at a URL.
    ///
    /// # Errors
    /// Where the guard wants something that drivetrain does not have.
    pub async fn access(&self, guard: Option<&Guard>, base_url: &str) -> Result<GuardAccess> {
        let Some(guard) = guard else { return Ok(GuardAccess::Open) };
        match guard.pulp_href.kind() {
            "contentguards/core/rbac" => self.basic_access(guard, base_url),
            "contentguards/core/header" => self.header_access(guard).await,
            kind => Err(PulpError::Server {
                server: self.server(),
                what: format!(
                    "has the content guard {} of the kind {kind}, and drivetrain cannot read back what is behind \
                     it: it can get past core/rbac and core/header",
                    guard.name
                ),
            }),
        }
    }

    /// The API's credentials go to the API's own host and no other, whatever the server says where content is.
    fn basic_access(&self, guard: &Guard, base_url: &str) -> Result<GuardAccess> {
        let server = &self.settings().server;
        let same = server.join(base_url).is_ok_and(|url| {
            url.host_str() == server.host_str() && (url.scheme() == "https" || server.scheme() == "http")
        });
        match &self.settings().credentials {
            Some(credentials) if same => Ok(GuardAccess::Basic(credentials.clone())),
            _ => Err(PulpError::Server {
                server: self.server(),
                what: format!(
                    "serves content at {base_url}, behind the guard {}: another host than the API's, to which \
                     its password is not sent",
                    guard.name
                ),
            }),
        }
    }

    async fn header_access(&self, guard: &Guard) -> Result<GuardAccess> {
        let doing = Doing::new(format!("read what the content guard {} wants", guard.name))
            .needs("core.view_headercontentguard", "core.headercontentguard_viewer");
        let guard: HeaderGuard = self.get(&doing, guard.pulp_href.to_string()).await?;
        Ok(GuardAccess::Header(guard.header_name, Secret::new(base64(guard.header_value.as_bytes()))))
    }
}

/// RFC 4648, section 4. The guard compares the header's value decoded.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= three.len() { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (text, encoded) in cases {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_location_stays_inside() {
        let settings = crate::Settings::new(Url::parse("http://127.0.0.1:1").expect("a URL"));
        let client = Client::new(settings).expect("a client");
        let content =
            Content::new(&client, "http://127.0.0.1:2/pulp/content/a", GuardAccess::Open).expect("content");
        assert_eq!(
            content.url("Packages/k/kmod-1+2^3.rpm").expect("inside").as_str(),
            "http://127.0.0.1:2/pulp/content/a/Packages/k/kmod-1+2^3.rpm"
        );
        for location in ["../b/x", "/etc/passwd", "//evil.example.org/x", "http://evil.example.org/", "a?b"] {
            assert!(content.url(location).is_err(), "{location}");
        }
    }
}
