//! What can go wrong, in words for the person who has to do something about it.

use std::fmt;
use std::io;
use std::time::Duration;

use camino::Utf8PathBuf;
use drivetrain_model::Checksum;

use crate::StoreError;

/// A fetch that failed: what was asked for, and the problem.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch {url}{}: {problem}", after(*tries))]
pub struct FetchError {
    /// The URL, without credentials and query.
    pub url: String,
    /// How often it was tried.
    pub tries: u32,
    /// The last problem.
    pub problem: Box<Problem>,
}

fn after(tries: u32) -> String {
    if tries > 1 { format!(" after {tries} tries") } else { String::new() }
}

/// Why a fetch failed.
///
/// Texts say what to do next, where there is something to do.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// 401.
    #[error("{}", unauthorized(*sent, withheld_from.as_deref()))]
    Unauthorized {
        /// Whether credentials were sent.
        sent: bool,
        /// The host that a redirect led to, where credentials exist and were not sent because of it.
        withheld_from: Option<String>,
    },
    /// 403.
    #[error(
        "the server refuses access (403 forbidden); {}",
        if *.sent { "check what these credentials may read" } else { "it may want credentials: set them for this source" }
    )]
    Forbidden {
        /// Whether credentials were sent.
        sent: bool,
    },
    /// 404 or 410.
    #[error("the server does not have it ({0}); check the URL and the snapshot date")]
    NotFound(Status),
    /// 407.
    #[error("the proxy wants credentials (407); check the proxy settings of the environment")]
    ProxyCredentials,
    /// Any other answer that is no success.
    #[error("the server answered {status}{}", status_advice(*status, *retry_after))]
    Status {
        /// The status.
        status: Status,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// The host's name is not known.
    #[error("the host {host} was not found ({what}); check the name and the DNS of this machine")]
    Dns {
        /// The host.
        host: String,
        /// What the resolver said.
        what: String,
    },
    /// No connection.
    #[error(
        "cannot connect ({what}); check that the server runs and that a firewall or proxy lets it through"
    )]
    Connect {
        /// What the system said.
        what: String,
    },
    /// No connection in time.
    #[error("no connection within {}; check the address, and whether a firewall drops the packets", seconds(*.0))]
    ConnectTimeout(Duration),
    /// No trust, or no common TLS version.
    #[error("no secure connection ({what}); {}", tls_advice(what))]
    Tls {
        /// What the TLS library said.
        what: String,
    },
    /// The certificate authorities of a source cannot be read.
    #[error("cannot read the certificate authorities in {path} ({what})")]
    Ca {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// No bytes for too long.
    #[error("nothing came for {} (at byte {at}); the server or the network is stuck", seconds(*.waited))]
    Stalled {
        /// How long it was waited.
        waited: Duration,
        /// How many bytes had come.
        at: u64,
    },
    /// The connection broke, or the body ended early.
    #[error("the connection ended at byte {got}{} ({what})", of(*.expected))]
    Truncated {
        /// How many bytes are here.
        got: u64,
        /// How many there should be, where known.
        expected: Option<u64>,
        /// What the HTTP library said.
        what: String,
    },
    /// More bytes than the caller takes.
    #[error("it is larger than the {limit} bytes that such a file may have")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// Not the size that was promised.
    #[error(
        "it has {} bytes and should have {expected}; {}", shown_size(*.got), mismatch_advice(*.html)
    )]
    Size {
        /// What the metadata or lock says.
        expected: u64,
        /// How many the server has; absent where it was stopped when it sent more than expected.
        got: Option<u64>,
        /// Whether the answer was an HTML page.
        html: bool,
    },
    /// Not the bytes that were promised.
    #[error("its checksum is {got} and should be {expected}; {}", mismatch_advice(*.html))]
    Checksum {
        /// What the metadata or lock says.
        expected: Checksum,
        /// What came.
        got: Checksum,
        /// Whether the answer was an HTML page.
        html: bool,
    },
    /// The server redirects, and drivetrain does not follow.
    #[error("the server redirects {0}")]
    Redirect(RedirectProblem),
    /// The server does not speak HTTP as it should.
    #[error("the server's answer makes no sense: {0}")]
    Protocol(String),
    /// A local file, as input.
    #[error("{0}")]
    Input(io::Error),
    /// The store or the cache.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A fault of drivetrain's own.
    #[error("a worker of drivetrain's own failed ({0}); please report it")]
    Internal(String),
}

/// Why a redirect is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectProblem {
    /// Too many in a row.
    #[error("more than {0} times; check the URL")]
    TooMany(u32),
    /// From HTTPS to plain HTTP.
    #[error("from https to {0}, which anyone on the way could change; use a URL that stays on https")]
    Insecure(String),
    /// To something that is no HTTP URL.
    #[error("to {0}, which is no http or https URL")]
    Target(String),
    /// To nowhere.
    #[error("without saying where to")]
    Missing,
}

/// An HTTP status, shown with its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u16);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let name = reqwest::StatusCode::from_u16(self.0).ok().and_then(|code| code.canonical_reason());
        name.map_or(Ok(()), |name| write!(f, " {}", name.to_ascii_lowercase()))
    }
}

impl Problem {
    /// Whether the same request may well succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            // 501 and 505 say that the server will never do it.
            Self::Status { status: Status(code), .. } => {
                matches!(code, 408 | 429 | 500 | 502..=504 | 506..=599)
            }
            Self::Dns { .. }
            | Self::Connect { .. }
            | Self::ConnectTimeout(_)
            | Self::Stalled { .. }
            | Self::Truncated { .. } => true,
            _ => false,
        }
    }

    /// Whether it concerns the host or this machine rather than one file, so that asking for more files
    /// only makes it worse.
    #[must_use]
    pub fn stops_the_rest(&self) -> bool {
        matches!(
            self,
            // Repeated wrong passwords lock accounts.
            Self::Unauthorized { .. }
                | Self::ProxyCredentials
                | Self::Tls { .. }
                | Self::Ca { .. }
                | Self::Store(StoreError::DiskFull(_))
                | Self::Internal(_)
        )
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Several fetches of one batch that failed; at least one.
#[derive(Debug)]
pub struct FetchErrors {
    /// The first that failed.
    pub first: FetchError,
    /// The others, in the order in which they failed.
    pub others: Vec<FetchError>,
    /// How many were not tried, since what was wrong would have stopped them too.
    pub not_tried: usize,
}

impl fmt::Display for FetchErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        for other in &self.others {
            write!(f, "\n{other}")?;
        }
        match self.not_tried {
            0 => Ok(()),
            1 => f.write_str("\n1 more file was not tried"),
            count => write!(f, "\n{count} more files were not tried"),
        }
    }
}

impl std::error::Error for FetchErrors {}

fn unauthorized(sent: bool, withheld_from: Option<&str>) -> String {
    match (sent, withheld_from) {
        (true, _) => "the server rejected the credentials (401 unauthorized); check the user and password \
                      that the configuration resolves to"
            .to_owned(),
        (false, Some(host)) => format!(
            "the server redirects to {host}, which wants credentials (401 unauthorized); they are sent to \
             the configured host only: use the URL that it redirects to"
        ),
        (false, None) => {
            "the server wants credentials (401 unauthorized); set the user and password of this \
                          source in the configuration"
                .to_owned()
        }
    }
}

fn status_advice(Status(code): Status, retry_after: Option<Duration>) -> String {
    match (retry_after, code) {
        (Some(wait), _) => format!(" and asks to wait {}", seconds(wait)),
        (None, 429) => "; it wants fewer requests: lower the number of parallel downloads".to_owned(),
        (None, 500..) => "; the fault is the server's: try later, or use a mirror".to_owned(),
        (None, _) => "; check the URL".to_owned(),
    }
}

fn tls_advice(what: &str) -> &'static str {
    let lower = what.to_ascii_lowercase();
    if lower.contains("unknownissuer") || lower.contains("unknown issuer") {
        "the site's certificate authority is not known here: install it, or name its PEM file as the source's ca"
    } else if lower.contains("expired") || lower.contains("notvalidyet") || lower.contains("not valid yet") {
        "check the clock of this machine, and the certificate's dates"
    } else if lower.contains("not valid for name") || lower.contains("notvalidforname") {
        "the certificate is for another host: check the URL"
    } else {
        "check that the port speaks TLS, and the server's certificate"
    }
}

fn mismatch_advice(html: bool) -> &'static str {
    if html {
        "the answer is an HTML page: a login page, or an error page of a proxy?"
    } else {
        "the server's file is not the one that the metadata describes: the repository may be half \
         synchronised, or a cache on the way stale"
    }
}

fn shown_size(got: Option<u64>) -> String {
    got.map_or_else(|| "more".to_owned(), |got| got.to_string())
}

fn of(expected: Option<u64>) -> String {
    expected.map_or_else(String::new, |expected| format!(" of {expected}"))
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tries: u32, problem: Problem) -> String {
        FetchError { url: "https://host/a.rpm".to_owned(), tries, problem: Box::new(problem) }.to_string()
    }

    #[test]
    fn errors_say_what_and_what_next() {
        assert_eq!(
            text(1, Problem::Unauthorized { sent: false, withheld_from: None }),
            "cannot fetch https://host/a.rpm: the server wants credentials (401 unauthorized); set the user \
             and password of this source in the configuration"
        );
        assert_eq!(
            text(5, Problem::Status { status: Status(503), retry_after: None }),
            "cannot fetch https://host/a.rpm after 5 tries: the server answered 503 service unavailable; the \
             fault is the server's: try later, or use a mirror"
        );
        assert_eq!(
            text(1, Problem::NotFound(Status(404))),
            "cannot fetch https://host/a.rpm: the server does not have it (404 not found); check the URL and \
             the snapshot date"
        );
        assert_eq!(
            text(3, Problem::Stalled { waited: Duration::from_secs(60), at: 17 }),
            "cannot fetch https://host/a.rpm after 3 tries: nothing came for 60 s (at byte 17); the server \
             or the network is stuck"
        );
    }

    #[test]
    fn only_what_may_pass_is_transient() {
        for code in [408, 429, 500, 502, 503, 504, 507, 520] {
            assert!(Problem::Status { status: Status(code), retry_after: None }.is_transient(), "{code}");
        }
        for code in [400, 405, 418, 501, 505] {
            assert!(!Problem::Status { status: Status(code), retry_after: None }.is_transient(), "{code}");
        }
        assert!(!Problem::Tls { what: String::new() }.is_transient());
    }
}
