//! Paths and URLs as a person writes them in the file.

use std::fmt;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use serde::Serialize;
use url::{Host, Url};

/// A file: on this host, or on a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Location {
    /// On this host. Absolute.
    Path(Utf8PathBuf),
    /// On a server, by `https` (or `http` on this host).
    Url(Url),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.pad(path.as_str()),
            Self::Url(url) => f.pad(url.as_str()),
        }
    }
}

/// Why a text is no URL that drivetrain reads from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LocationError {
    #[error("this is no URL: {0}")]
    Url(#[from] url::ParseError),
    #[error("the scheme {0:?} is not supported: use https, http, file, or a path")]
    Scheme(String),
    #[error("a URL must not hold a user or password: use the keys `username` and `password`")]
    Userinfo,
    #[error("a base URL has no `?…` and no `#…`")]
    Query,
    #[error("what is fetched over plain http can be changed on the way: use https or a file")]
    PlainHttp,
    #[error("this path cannot be written as a URL")]
    Path,
    #[error("a file URL names no host: write file:///path")]
    FileHost,
}

/// Whether a text is meant as a URL rather than as a path.
pub(crate) fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    })
}

/// A path of the file, made absolute and without `.` and `..`. These are taken out by the text alone, as URLs
/// do it: a symbolic link in the middle is not followed first.
pub(crate) fn absolute(base_dir: &Utf8Path, text: &str) -> Utf8PathBuf {
    let mut path = Utf8PathBuf::new();
    for component in base_dir.join(text).components() {
        match component {
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir => {
                path.pop();
            }
            other => path.push(other),
        }
    }
    path
}

/// A directory's URL, from a URL or a path; ends in `/`.
pub(crate) fn base_url(base_dir: &Utf8Path, text: &str) -> Result<Url, LocationError> {
    if !is_url(text) {
        return Url::from_directory_path(absolute(base_dir, text)).map_err(|()| LocationError::Path);
    }
    let mut url = remote(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(LocationError::Query);
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// A file's place, from a URL or a path. What vouches for other files must not come over plain http.
pub(crate) fn trusted_file(base_dir: &Utf8Path, text: &str) -> Result<Location, LocationError> {
    if !is_url(text) {
        return Ok(Location::Path(absolute(base_dir, text)));
    }
    let url = remote(text)?;
    match url.scheme() {
        "file" => {
            let path = url.to_file_path().map_err(|()| LocationError::Path)?;
            Ok(Location::Path(Utf8PathBuf::from_path_buf(path).map_err(|_| LocationError::Path)?))
        }
        "http" if !is_this_host(&url) => Err(LocationError::PlainHttp),
        _ => Ok(Location::Url(url)),
    }
}

/// A URL of a scheme that is read from, without user and password.
pub(crate) fn remote(text: &str) -> Result<Url, LocationError> {
    let url = Url::parse(text)?;
    match url.scheme() {
        "http" | "https" => {}
        "file" if url.host().is_some() => return Err(LocationError::FileHost),
        "file" => {}
        other => return Err(LocationError::Scheme(other.to_owned())),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(LocationError::Userinfo);
    }
    Ok(url)
}

/// Whether a URL points at the loopback address, where nobody is on the way.
pub(crate) fn is_this_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Fills in `{name}` placeholders. Err holds the unknown one, or what is wrong with the braces.
pub(crate) fn expand(template: &str, values: &[(&str, Option<&str>)]) -> Result<String, String> {
    let names = || crate::problems::alternatives(values.iter().map(|(name, _)| *name));
    let mut expanded = String::new();
    let mut rest = template;
    while let Some(open) = rest.find(['{', '}']) {
        expanded.push_str(&rest[..open]);
        let Some((name, after)) = rest[open..].strip_prefix('{').and_then(|inner| inner.split_once('}'))
        else {
            return Err("has a `{` or `}` without its other half".to_owned());
        };
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, Some(value))) => expanded.push_str(value),
            Some((_, None)) => return Err(format!("uses {{{name}}}, and there is no `{name}` beside it")),
            None => {
                let shown = crate::problems::quote(&format!("{{{name}}}"));
                return Err(format!("has the unknown placeholder {shown}: there is {} (in braces)", names()));
            }
        }
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_start_from_the_files_directory() {
        let base = Utf8Path::new("/site/trains");
        assert_eq!(absolute(base, "../keys/./a"), "/site/keys/a");
        assert_eq!(absolute(base, "/etc/a"), "/etc/a");
        assert_eq!(absolute(base, "../../../../a"), "/a");
        assert_eq!(base_url(base, "../www/x y").unwrap().as_str(), "file:///site/www/x%20y/");
        assert_eq!(base_url(base, "https://e.org/a").unwrap().as_str(), "https://e.org/a/");
        assert_eq!(trusted_file(base, "file:///k").unwrap(), Location::Path("/k".into()));
    }

    #[test]
    fn urls_that_would_surprise_are_refused() {
        let base = Utf8Path::new("/");
        for text in [
            "https://a:b@e.org/",
            "https://a@e.org/",
            "ftp://e.org/",
            "https://e.org/?a=b",
            "https://",
            "file://host/x",
            "https://e.org/#x",
        ] {
            assert!(base_url(base, text).is_err(), "{text}");
        }
        assert_eq!(trusted_file(base, "http://e.org/key").unwrap_err(), LocationError::PlainHttp);
        assert!(trusted_file(base, "http://127.0.0.1:8080/key").is_ok());
    }

    #[test]
    fn placeholders_are_filled_in_or_named() {
        let values = [("arch", Some("x86_64")), ("snapshot", None)];
        assert_eq!(expand("a/{arch}/os", &values).unwrap(), "a/x86_64/os");
        assert!(expand("a/{snapshot}", &values).unwrap_err().contains("there is no `snapshot`"));
        assert!(expand("a/{releasever}", &values).unwrap_err().contains("`arch` or `snapshot`"));
        assert!(expand("a/{arch", &values).is_err());
        assert!(expand("a/arch}", &values).is_err());
    }
}
