//! Where bytes come from.

use camino::{Utf8Path, Utf8PathBuf};
use url::{Origin, Url};

use crate::Credentials;

/// A URL with what is needed to read it: credentials, and a certificate authority of the site's own.
///
/// The URL itself never carries credentials, so it may stand in a lock or a journal; for messages there is
/// [`Source::shown`], which leaves the query out as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    url: Url,
    credentials: Option<Credentials>,
    ca: Option<Utf8PathBuf>,
}

/// Why a text or URL is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Not a URL at all.
    #[error("{text:?} is not a URL ({why}); a local file is written file:///path")]
    Malformed {
        /// What was given, without what may be a password.
        text: String,
        /// What the parser said.
        why: url::ParseError,
    },
    /// The URL has a user or password in it.
    #[error(
        "the URL {0} has a user or password in it, where every log would show it; write them as the source's credentials"
    )]
    Userinfo(String),
    /// Neither http, https nor file.
    #[error("{url}: scheme {scheme:?} is not supported; http, https and file are")]
    Scheme {
        /// The URL.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// A file URL that names another host, or no absolute path.
    #[error("{0} does not name a local file; write file:///path, with three slashes")]
    File(String),
    /// A location in metadata that leads out of the repository.
    #[error("the location {location:?} leads out of {base}")]
    Escapes {
        /// The location.
        location: String,
        /// The repository.
        base: String,
    },
}

impl Source {
    /// Takes a URL as a source, without credentials.
    pub fn new(mut url: Url) -> Result<Self, SourceError> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SourceError::Userinfo(show(&url)));
        }
        match url.scheme() {
            "http" | "https" => {}
            "file" if local_path(&url).is_some() => {}
            "file" => return Err(SourceError::File(show(&url))),
            scheme => {
                return Err(SourceError::Scheme { scheme: scheme.to_owned(), url: show(&url) });
            }
        }
        url.set_fragment(None);
        Ok(Self { url, credentials: None, ca: None })
    }

    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let url =
            Url::parse(text).map_err(|why| SourceError::Malformed { text: without_userinfo(text), why })?;
        Self::new(url)
    }

    /// A local file. The path must be absolute.
    pub fn file(path: &Utf8Path) -> Result<Self, SourceError> {
        let url = Url::from_file_path(path).map_err(|()| SourceError::File(path.to_string()))?;
        Self::new(url)
    }

    /// The source with credentials. They are sent to this URL's host only, and from the first request on:
    /// some servers answer 404 rather than 401.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Option<Credentials>) -> Self {
        self.credentials = credentials;
        self
    }

    /// The source with a PEM file of certificate authorities to trust beside the system's.
    #[must_use]
    pub fn with_ca(mut self, ca: Option<Utf8PathBuf>) -> Self {
        self.ca = ca;
        self
    }

    /// A file below this source, with the same credentials: the source is a repository's base URL, with a
    /// slash at its end or without, and the location is what its metadata says.
    pub fn join(&self, location: &str) -> Result<Self, SourceError> {
        let mut base = self.url.clone();
        base.set_query(None);
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let escapes =
            || SourceError::Escapes { location: location.chars().take(200).collect(), base: self.shown() };
        // The URL parser reads more as `..` and as a host than a person would (`%2e%2e`, `\\`): so the outcome
        // is looked at, not the text. `./` keeps `a:b.rpm` from being taken for a scheme.
        if location.starts_with(['/', '\\']) {
            return Err(escapes());
        }
        let encoded = location.replace('?', "%3F").replace('#', "%23");
        let url = base.join(&format!("./{encoded}")).map_err(|_| escapes())?;
        let below = url.origin() == base.origin() || url.scheme() == "file";
        if !below || !url.path().starts_with(base.path()) || url.path() == base.path() {
            return Err(escapes());
        }
        Ok(Self { url, credentials: self.credentials.clone(), ca: self.ca.clone() })
    }

    /// The URL; it has no credentials in it.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The credentials.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// The PEM file of certificate authorities.
    #[must_use]
    pub fn ca(&self) -> Option<&Utf8Path> {
        self.ca.as_deref()
    }

    /// The URL for people and journals: its query is left out, since signed URLs have their secret there.
    #[must_use]
    pub fn shown(&self) -> String {
        show(&self.url)
    }

    /// The last part of the path, as it stands in the URL; the host where there is none.
    #[must_use]
    pub fn file_name(&self) -> &str {
        let last = self.url.path().trim_end_matches('/').rsplit('/').next();
        last.filter(|name| !name.is_empty()).or_else(|| self.url.host_str()).unwrap_or("file")
    }

    /// The path, where the source is a local file.
    #[must_use]
    pub fn local_path(&self) -> Option<Utf8PathBuf> {
        local_path(&self.url)
    }
}

fn local_path(url: &Url) -> Option<Utf8PathBuf> {
    if url.scheme() != "file" {
        return None;
    }
    Utf8PathBuf::from_path_buf(url.to_file_path().ok()?).ok()
}

/// A URL without user, password, query and fragment.
pub(crate) fn show(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail for URLs that cannot have them, which therefore do not.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    let has_query = url.query().is_some();
    url.set_query(None);
    if has_query { format!("{url}?…") } else { url.to_string() }
}

/// A text that is no URL, without what stands where a user and password would.
fn without_userinfo(text: &str) -> String {
    let start = text.find("//").map_or(0, |at| at + 2);
    let rest = text.rfind('@').filter(|at| *at >= start).map_or(start, |at| at + 1);
    format!("{}{}", &text[..start], &text[rest..]).chars().take(120).collect()
}

/// Whether credentials for `own` may be sent to `other`: the same origin, or the same host where plain HTTP
/// became HTTPS on the usual ports.
pub(crate) fn may_share_credentials(own: &Url, other: &Url) -> bool {
    let usual_upgrade = || {
        own.scheme() == "http"
            && other.scheme() == "https"
            && own.port().is_none()
            && other.port().is_none()
            && own.host() == other.host()
    };
    matches!(own.origin(), Origin::Tuple(..)) && own.origin() == other.origin() || usual_upgrade()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_url_with_a_password_is_refused_and_not_shown() {
        for text in [
            "https://me:hunter2@host/x?token=hunter2",
            "https://hunter2@host/x",
            "https://me:hunter2@ho st/x",
            "https//me:hunter2@host",
            "https://me:hunter2@host:port/@x",
            "ftp://me:hunter2@host/",
        ] {
            let error = Source::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{text}: {error:?}");
        }
    }

    #[test]
    fn a_query_is_not_shown() {
        let source = Source::parse("https://host/a.rpm?X-Signature=hunter2#frag").unwrap();
        assert_eq!(source.shown(), "https://host/a.rpm?…");
        assert_eq!(source.file_name(), "a.rpm");
    }

    #[test]
    fn a_location_stays_below_its_repository() {
        let base = Source::parse("https://host/repo/os").unwrap();
        assert_eq!(
            base.join("Packages/a.rpm").unwrap().url().as_str(),
            "https://host/repo/os/Packages/a.rpm"
        );
        assert_eq!(base.join("a:b#1?.rpm").unwrap().url().as_str(), "https://host/repo/os/a:b%231%3F.rpm");
        for location in [
            "../x",
            "a/../../x",
            "%2e%2e/x",
            "a/%2E./../x",
            "/etc/x",
            "//evil/x",
            "\\\\evil\\x",
            "",
            ".",
            "..",
            "a/..",
        ] {
            assert!(base.join(location).is_err(), "{location}");
        }
        assert_eq!(base.join("https://evil/x").unwrap().url().host_str(), Some("host"));
        let directory = Source::parse("file:///srv/repo/").unwrap();
        assert_eq!(directory.join("a b.rpm").unwrap().local_path().unwrap(), "/srv/repo/a b.rpm");
        assert!(directory.join("../x").is_err());
    }

    #[test]
    fn credentials_stay_with_their_host() {
        let url = |text| Url::parse(text).unwrap();
        let own = url("https://host/x");
        assert!(may_share_credentials(&own, &url("https://host:443/y")));
        for other in ["http://host/x", "https://host:8443/x", "https://host.evil/x", "https://sub.host/x"] {
            assert!(!may_share_credentials(&own, &url(other)), "{other}");
        }
        assert!(may_share_credentials(&url("http://host/x"), &url("https://host/x")));
        assert!(!may_share_credentials(&url("http://host/x"), &url("https://host:8443/x")));
        assert!(!may_share_credentials(&url("http://host:8080/x"), &url("https://host/x")));
    }

    #[test]
    fn a_file_url_must_be_local() {
        assert!(Source::parse("file://server/share/x").is_err());
        assert_eq!(Source::parse("file:///srv/x").unwrap().local_path().unwrap(), "/srv/x");
        assert!(Source::file(Utf8Path::new("relative")).is_err());
    }

    proptest! {
        #[test]
        fn no_location_escapes(location in "[a-z./\\\\%2eE:?#@ ]{0,24}") {
            let base = Source::parse("https://host/repo/").unwrap();
            if let Ok(source) = base.join(&location) {
                prop_assert_eq!(source.url().host_str(), Some("host"));
                prop_assert!(source.url().path().starts_with("/repo/"));
                prop_assert!(source.url().query().is_none());
            }
        }
    }
}
