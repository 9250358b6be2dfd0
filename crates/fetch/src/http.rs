//! One HTTP exchange: trust, credentials, redirects, timeouts. What to make of the answer is the caller's.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use crate::retry::parse_retry_after;
use crate::source::{may_share_credentials, show};
use crate::{Problem, RedirectProblem, Source, Status};

/// How many redirects are followed.
const MOST_REDIRECTS: u32 = 5;

/// How patient transfers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a connection may take to come about, TLS included. Default 15 s.
    pub connect_timeout: Duration,
    /// How long nothing may come, before the answer and within it. Slow is not stalled. Default 60 s.
    pub stall_timeout: Duration,
    /// How many tries in a row may bring nothing new. Default 5.
    pub tries: u32,
    /// The wait before the second try; doubles from there. Default 500 ms.
    pub first_wait: Duration,
    /// The longest wait that doubling leads to. Default 30 s.
    pub longest_wait: Duration,
    /// The longest `Retry-After` that is waited for; one longer than this is an error. Default 2 min.
    pub longest_retry_after: Duration,
    /// Whether `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` are heeded. Default true.
    pub proxy_from_environment: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(60),
            tries: 5,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            longest_retry_after: Duration::from_secs(120),
            proxy_from_environment: true,
        }
    }
}

/// The HTTP side of fetching. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Http {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    /// One client for each set of certificate authorities, made when first needed.
    clients: Mutex<HashMap<Option<Utf8PathBuf>, Client>>,
}

/// An answer that is no redirect, with what an error message will want to know.
pub(crate) struct Answer {
    pub(crate) response: Response,
    sent_credentials: bool,
    withheld_from: Option<String>,
}

impl Http {
    /// Makes the HTTP side. Opens nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { inner: Arc::new(Inner { settings, clients: Mutex::default() }) }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Sends a GET, follows redirects, and returns what then comes, whatever its status.
    ///
    /// Redirects are followed here rather than by the HTTP library, so that where credentials go is decided
    /// in one place that a reader can see.
    pub(crate) async fn get(&self, source: &Source, headers: &HeaderMap) -> Result<Answer, Problem> {
        let client = self.client(source.ca())?;
        let mut url = source.url().clone();
        for _ in 0..=MOST_REDIRECTS {
            let mut request = client.get(url.clone()).headers(headers.clone());
            let credentials = source.credentials().filter(|_| may_share_credentials(source.url(), &url));
            if let Some(credentials) = credentials {
                request = request.basic_auth(credentials.user.expose(), Some(credentials.password.expose()));
            }
            let settings = &self.inner.settings;
            let limit = settings.connect_timeout + settings.stall_timeout;
            let response = match tokio::time::timeout(limit, request.send()).await {
                Err(_) => return Err(Problem::Stalled { waited: limit, at: 0 }),
                Ok(Err(error)) => return Err(self.send_problem(&url, error)),
                Ok(Ok(response)) => response,
            };
            if !is_redirect(response.status()) {
                let sent_credentials = credentials.is_some();
                let withheld = source.credentials().is_some() && !sent_credentials;
                let withheld_from = withheld.then(|| url.host_str().unwrap_or_default().to_owned());
                return Ok(Answer { response, sent_credentials, withheld_from });
            }
            url = redirect_target(&url, &response).map_err(Problem::Redirect)?;
        }
        Err(Problem::Redirect(RedirectProblem::TooMany(MOST_REDIRECTS)))
    }

    fn client(&self, ca: Option<&camino::Utf8Path>) -> Result<Client, Problem> {
        let key = ca.map(ToOwned::to_owned);
        let mut clients = self.inner.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = self.build_client(ca)?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn build_client(&self, ca: Option<&camino::Utf8Path>) -> Result<Client, Problem> {
        let settings = &self.inner.settings;
        let mut headers = HeaderMap::new();
        // A repository's files are compressed already, and their checksums are over what is stored: nothing
        // on the way may compress them again.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls_config(ca)?)
            .default_headers(headers)
            .user_agent(concat!("drivetrain/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            // One retry policy, ours: the library's own would multiply with it.
            .retry(reqwest::retry::never())
            // Stay off even where another crate of the workspace turns the features on.
            .no_gzip()
            .no_deflate()
            .no_brotli()
            .no_zstd()
            .http1_only();
        if !settings.proxy_from_environment {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|error| Problem::Internal(innermost(&error.without_url())))
    }

    fn send_problem(&self, url: &Url, error: reqwest::Error) -> Problem {
        if error.is_timeout() {
            return Problem::ConnectTimeout(self.inner.settings.connect_timeout);
        }
        let error = error.without_url();
        let what = innermost(&error);
        if let Some(tls) = tls_error(&error) {
            return Problem::Tls { what: tls };
        }
        // The connector's error type is private; its text is all there is.
        if chain(&error).any(|link| link.to_string() == "dns error") {
            return Problem::Dns { host: url.host_str().unwrap_or_default().to_owned(), what };
        }
        if error.is_connect() {
            return Problem::Connect { what };
        }
        if error.is_builder() {
            return Problem::Internal(what);
        }
        Problem::Truncated { got: 0, expected: None, what }
    }
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn header(&self, name: reqwest::header::HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Whether the body is an HTML page, which no file that drivetrain asks for is.
    pub(crate) fn is_html(&self) -> bool {
        self.header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html"))
    }

    /// What is wrong, where the status is one that the caller has no use for.
    pub(crate) fn problem(&self) -> Problem {
        let status = Status(self.status().as_u16());
        match status.0 {
            401 => Problem::Unauthorized {
                sent: self.sent_credentials,
                withheld_from: self.withheld_from.clone(),
            },
            403 => Problem::Forbidden { sent: self.sent_credentials },
            404 | 410 => Problem::NotFound(status),
            407 => Problem::ProxyCredentials,
            200..=299 => Problem::Protocol(format!("status {status} for a plain GET")),
            _ => Problem::Status {
                status,
                retry_after: self
                    .header(RETRY_AFTER)
                    .and_then(|text| parse_retry_after(text, Timestamp::now())),
            },
        }
    }
}

/// What became of a body whose stream failed at byte `got`.
pub(crate) fn body_problem(error: reqwest::Error, got: u64, expected: Option<u64>) -> Problem {
    Problem::Truncated { got, expected, what: innermost(&error.without_url()) }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn redirect_target(from: &Url, response: &Response) -> Result<Url, RedirectProblem> {
    let location = response.headers().get(LOCATION).ok_or(RedirectProblem::Missing)?;
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| RedirectProblem::Missing)?;
    let mut to = from.join(location).map_err(|_| RedirectProblem::Missing)?;
    // A user in the target would be sent as credentials; a server has no business choosing ours.
    let unusual = to.set_username("").is_err() || to.set_password(None).is_err();
    if unusual || !matches!(to.scheme(), "http" | "https") {
        return Err(RedirectProblem::Target(show(&to)));
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err(RedirectProblem::Insecure(show(&to)));
    }
    Ok(to)
}

/// The system's certificate authorities, and those of the file.
///
/// Made here and not by the HTTP library for two reasons: the library wants a process-wide choice of
/// cryptography, and refuses to work at all on a machine that has no certificates, plain HTTP included. Here
/// such a machine gets as far as the first TLS handshake, whose error says what is missing.
///
/// # Errors
/// Where the file cannot be read, or has no certificate in it.
pub fn tls_config(ca: Option<&camino::Utf8Path>) -> Result<ClientConfig, Problem> {
    let mut roots = RootCertStore::empty();
    let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let fail = |what: String| Problem::Ca { path: path.to_owned(), what };
        let pem = fs_err::read(path).map_err(|error| fail(error.to_string()))?;
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| fail(error.to_string()))?;
            roots.add(certificate).map_err(|error| fail(error.to_string()))?;
            count += 1;
        }
        if count == 0 {
            return Err(fail("there is no PEM certificate in it".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Problem::Internal(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The innermost cause of an error: those around it say that there was one.
#[must_use]
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// What became of a request without an answer, as the end of a sentence that begins with its URL.
#[must_use]
pub fn what_broke(error: &reqwest::Error) -> &'static str {
    match (error.is_connect(), error.is_timeout()) {
        (true, true) => "does not take a connection in time",
        (true, false) => "cannot be reached",
        (false, true) => "does not answer in time",
        (false, false) => "broke the connection",
    }
}

/// What the TLS library said, where an error is its.
#[must_use]
pub fn tls_error(error: &(dyn Error + 'static)) -> Option<String> {
    chain(error).find_map(|link| {
        // An I/O error's `source` skips the error that it wraps, and there may be several around each other.
        let mut link = link;
        while let Some(inner) = link.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            link = inner;
        }
        link.downcast_ref::<rustls::Error>().map(ToString::to_string)
    })
}
