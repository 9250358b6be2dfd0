//! One exchange with the server: identity, repetition, and what its answers mean.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use drivetrain_fetch::Secret;
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, COOKIE, DATE, HeaderMap, HeaderValue, REFERER};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;
use url::Url;

use crate::error::said;
use crate::session::{Identity, Login, Session};
use crate::status::{Capabilities, Status};
use crate::{Doing, PulpError, Result, Settings};

/// No answer of the API is larger: a page of a thousand packages with the fields that are asked for is 300 KB.
const MAX_ANSWER: usize = 32 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The server's own limit is 30 to 90 s; a proxy before it may have another.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// A body is given up where it is slower than this, in bytes a second.
const SLOWEST: u64 = 32 << 10;
/// Larger bodies than this may be too large for something between here and the server.
const LARGE: u64 = 1 << 20;
/// What a file system that is nearly full keeps for itself, in bytes.
const SPARE: u64 = 1 << 20;
/// How often a server that is well may fail at one request before it is believed.
const TRIES_OF_A_WELL_SERVER: u32 = 3;
/// How long a server is waited for that has not answered yet.
const FIRST_CONTACT: Duration = Duration::from_secs(10);
/// After how long it is told that something is tried again.
const TELL_AFTER: Duration = Duration::from_secs(2);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Sent for `Referer`: Django wants one of its own with https.
const CSRF_HEADER: &str = "x-csrftoken";

/// Whether a request may be sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It may: the second changes nothing that the first did not.
    Safe,
    /// It may not, once it may have arrived.
    Once,
}

/// What is sent.
pub(crate) enum Body<'a> {
    Nothing,
    Json(Value),
    /// A part of a file, as the form field `file`, with other fields beside it.
    File {
        path: &'a Path,
        name: String,
        offset: u64,
        size: u64,
        fields: Vec<(&'static str, String)>,
    },
    /// Bytes as the form field `file`, with other fields beside it.
    Bytes {
        bytes: &'a [u8],
        name: String,
        fields: Vec<(&'static str, String)>,
    },
    /// A form without a file.
    Form(Vec<(&'static str, String)>),
}

impl Body<'_> {
    fn is_large(&self) -> bool {
        self.size().is_some_and(|size| size > LARGE)
    }

    /// How large the file in it is.
    fn size(&self) -> Option<u64> {
        match self {
            Self::File { size, .. } => Some(*size),
            Self::Bytes { bytes, .. } => Some(bytes.len() as u64),
            _ => None,
        }
    }
}

/// What is asked for.
pub(crate) struct Ask<'a> {
    pub(crate) doing: &'a Doing,
    pub(crate) method: Method,
    /// Below the server, with its query: an href as the server gives it, or made of [`Client::api`].
    pub(crate) path: String,
    pub(crate) body: Body<'a>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) repeat: Repeat,
}

/// What came.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// A client of one server. Cheap to clone; clones share session and connections.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) http: reqwest::Client,
    login: Login,
    pub(crate) capabilities: OnceLock<Capabilities>,
    /// How far our clock is from the server's, in seconds; `i64::MIN` where it has not said its time.
    clock: AtomicI64,
}

impl Client {
    /// Makes a client. Opens no connection yet.
    ///
    /// # Errors
    /// Where the certificate authorities cannot be read.
    pub fn new(settings: Settings) -> Result<Self> {
        let fail = |what: String| PulpError::Client { server: settings.server.to_string(), what };
        let tls = drivetrain_fetch::tls_config(settings.ca.as_deref())
            .map_err(|problem| fail(problem.to_string()))?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("drivetrain/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            // One policy of repetition, ours: only it knows what may be sent twice.
            .retry(reqwest::retry::never())
            .http1_only();
        if !settings.proxy_from_environment {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| fail(cause(error)))?;
        let login = Login::new(settings.credentials.clone());
        let clock = AtomicI64::new(i64::MIN);
        Ok(Self { inner: Arc::new(Inner { settings, http, login, capabilities: OnceLock::new(), clock }) })
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The server, as it is named in messages.
    #[must_use]
    pub fn server(&self) -> String {
        self.inner.settings.server.as_str().trim_end_matches('/').to_owned()
    }

    /// How many seconds the clock here is ahead of the server's; `None` where it has not said its time.
    #[must_use]
    pub fn seconds_ahead(&self) -> Option<i64> {
        Some(self.inner.clock.load(Ordering::Relaxed)).filter(|seconds| *seconds != i64::MIN)
    }

    /// The path of an endpoint, with a query.
    pub(crate) fn api(&self, endpoint: &str, query: &[(&str, &str)]) -> String {
        let path = format!("{}/{endpoint}", self.inner.settings.api_path());
        with_query(&path, query)
    }

    pub(crate) fn url(&self, path: &str) -> Result<Url> {
        let text = format!("{}{path}", self.server());
        Url::parse(&text).map_err(|error| PulpError::Client { server: text, what: error.to_string() })
    }

    /// Asks for something that changes nothing.
    pub(crate) async fn get<T: DeserializeOwned>(&self, doing: &Doing, path: String) -> Result<T> {
        let ask = Ask {
            doing,
            method: Method::GET,
            path,
            body: Body::Nothing,
            headers: Vec::new(),
            repeat: Repeat::Safe,
        };
        self.json(&ask).await
    }

    /// Sends a JSON body.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        doing: &Doing,
        method: Method,
        path: String,
        body: Value,
        repeat: Repeat,
    ) -> Result<T> {
        let ask = Ask { doing, method, path, body: Body::Json(body), headers: Vec::new(), repeat };
        self.json(&ask).await
    }

    /// Asks, and reads the answer as JSON. An empty answer is `null`.
    pub(crate) async fn json<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<T> {
        let answer = self.exchange(ask).await?;
        let body: &[u8] = if answer.body.is_empty() { b"null" } else { &answer.body };
        serde_json::from_slice(body).map_err(|error| PulpError::Answer {
            doing: ask.doing.clone(),
            url: self.shown(&ask.path),
            what: if is_html(&answer.headers) { "it is an HTML page".to_owned() } else { error.to_string() },
        })
    }

    /// Asks as often as makes sense; an answer is a good one.
    pub(crate) async fn exchange(&self, ask: &Ask<'_>) -> Result<Answer> {
        let started = Instant::now();
        let mut wait = FIRST_WAIT;
        let (mut tries, mut failures) = (0, 0);
        let mut told = false;
        loop {
            tries += 1;
            let error = match self.authenticated(ask).await {
                Ok(answer) if answer.status.is_success() => return Ok(answer),
                Ok(answer) => self.problem(ask, &answer, tries),
                Err(error) => error,
            };
            let out_of_patience = started.elapsed() + wait > self.patience();
            if out_of_patience || !self.may_repeat(ask, &error, &mut failures).await {
                return Err(error);
            }
            if !told && started.elapsed() > TELL_AFTER {
                told = true;
                self.inner.settings.notice.tell(&format!("{error}; trying again for {:?}", self.patience()));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// How long to try. A server that never answered is more likely to be none than to be restarting.
    fn patience(&self) -> Duration {
        let patience = self.inner.settings.patience;
        if self.seconds_ahead().is_some() { patience } else { patience.min(FIRST_CONTACT) }
    }

    /// Whether an error is one after which the same request is sent again. `failures` counts those of a server that was well.
    async fn may_repeat(&self, ask: &Ask<'_>, error: &PulpError, failures: &mut u32) -> bool {
        match (error, ask.repeat) {
            // A server whose disk was full leaves an empty file, and takes it for the package when that comes again.
            (PulpError::Broken { .. }, _) if self.has_no_room_for(&ask.body).await => false,
            // What is large and breaks off again and again is too large for something in between: smaller parts may
            // get through, and the caller knows how to make them.
            (PulpError::Unreachable { .. }, Repeat::Safe) if ask.body.is_large() => {
                !self.is_believed(failures).await
            }
            (PulpError::Unreachable { .. }, Repeat::Safe) => true,
            // Whoever says so has not begun to work on it.
            (PulpError::Broken { status: 429 | 503, .. }, _) => true,
            (PulpError::Broken { status: 502 | 504, .. }, Repeat::Safe) => true,
            // 500 is a server whose database is away, or a bug that this request meets each time.
            (PulpError::Broken { .. }, Repeat::Safe) => !self.is_believed(failures).await,
            _ => false,
        }
    }

    /// Whether it has failed often enough while it was well. One failure says nothing: the server may have become
    /// well between that and the question.
    async fn is_believed(&self, failures: &mut u32) -> bool {
        *failures += u32::from(self.is_well().await);
        *failures >= TRIES_OF_A_WELL_SERVER
    }

    /// Whether the server says that it is well, asked once.
    async fn is_well(&self) -> bool {
        matches!(self.status_once().await, Ok(answer) if answer.status.is_success())
    }

    /// Whether the server says that it has less room than a body takes, asked once.
    async fn has_no_room_for(&self, body: &Body<'_>) -> bool {
        let Some(size) = body.size() else { return false };
        let Ok(answer) = self.status_once().await else { return false };
        let status: Option<Status> = serde_json::from_slice(&answer.body).ok();
        let free = status.and_then(|status| status.storage()?.free);
        free.is_some_and(|free| free < size + SPARE)
    }

    async fn status_once(&self) -> Result<Answer> {
        let doing = Doing::new("ask for the server's status");
        let path = self.api("status/", &[]);
        let ask = Ask {
            doing: &doing,
            method: Method::GET,
            path,
            body: Body::Nothing,
            headers: Vec::new(),
            repeat: Repeat::Once,
        };
        self.one(&ask, &Identity::Anonymous).await
    }

    /// One try, with a session made before it, and made again where it has expired.
    async fn authenticated(&self, ask: &Ask<'_>) -> Result<Answer> {
        let identity = self.identity(ask.doing, None).await?;
        let answer = self.one(ask, &identity).await?;
        let Identity::Session(_, number) = &identity else { return Ok(answer) };
        let expired = answer.status == StatusCode::UNAUTHORIZED
            || answer.status == StatusCode::FORBIDDEN
                && String::from_utf8_lossy(&answer.body).contains("CSRF");
        if !expired {
            return Ok(answer);
        }
        let identity = self.identity(ask.doing, Some(*number)).await?;
        self.one(ask, &identity).await
    }

    /// How to authenticate. `expired` is the number of a session that is no longer good.
    async fn identity(&self, doing: &Doing, expired: Option<u64>) -> Result<Identity> {
        let Some(credentials) = &self.inner.login.credentials else { return Ok(Identity::Anonymous) };
        let mut state = self.inner.login.state.lock().await;
        match &state.identity {
            Some(Identity::Session(_, number)) if expired == Some(*number) => {}
            Some(identity) => return Ok(identity.clone()),
            None => {}
        }
        let path = self.api("login/", &[]);
        let login = Ask {
            doing,
            method: Method::POST,
            path,
            body: Body::Nothing,
            headers: Vec::new(),
            repeat: Repeat::Safe,
        };
        let basic = Identity::Basic(credentials.clone());
        let answer = self.one(&login, &basic).await?;
        let identity = match (answer.status.as_u16(), Session::from_cookies(&answer.headers)) {
            (200 | 201, Some(session)) => {
                state.logins += 1;
                Identity::Session(session, state.logins)
            }
            // A server from before there were sessions, or one that gives none.
            (200 | 201 | 404 | 405, _) => basic,
            _ => return Err(self.problem(&login, &answer, 1)),
        };
        state.identity = Some(identity.clone());
        Ok(identity)
    }

    /// One request, one answer.
    async fn one(&self, ask: &Ask<'_>, identity: &Identity) -> Result<Answer> {
        let url = self.url(&ask.path)?;
        let mut request = self.inner.http.request(ask.method.clone(), url);
        request = self.identified(request, identity);
        request = request.header("correlation-id", &self.inner.settings.correlation);
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        let request = with_body(request, &ask.body).await?.timeout(time_for(&ask.body));
        let broken = |error| broken(ask.doing, self.shown(&ask.path), error);
        let mut response = request.send().await.map_err(broken)?;
        self.note_time(response.headers());
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(broken)? {
            if body.len() + bytes.len() > MAX_ANSWER {
                return Err(PulpError::Answer {
                    doing: ask.doing.clone(),
                    url: self.shown(&ask.path),
                    what: format!("it is longer than {MAX_ANSWER} bytes"),
                });
            }
            body.extend_from_slice(&bytes);
        }
        Ok(Answer { status, headers, body })
    }

    fn identified(&self, request: RequestBuilder, identity: &Identity) -> RequestBuilder {
        match identity {
            Identity::Anonymous => request,
            Identity::Basic(credentials) => {
                request.basic_auth(credentials.user.expose(), Some(credentials.password.expose()))
            }
            Identity::Session(session, _) => request
                .header(COOKIE, sensitive(&session.cookie()))
                .header(CSRF_HEADER, sensitive(session.csrf()))
                .header(REFERER, format!("{}/", self.server())),
        }
    }

    fn note_time(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let time = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        if let Some(time) = time {
            let ahead = Timestamp::now().as_second() - time.timestamp().as_second();
            self.inner.clock.store(ahead, Ordering::Relaxed);
        }
    }

    /// What an answer that is no success means.
    fn problem(&self, ask: &Ask<'_>, answer: &Answer, tries: u32) -> PulpError {
        let doing = ask.doing.clone();
        let said = said(&answer.body, is_html(&answer.headers));
        let status = answer.status.as_u16();
        match status {
            401 => PulpError::Credentials {
                doing,
                server: self.server(),
                sent: self.inner.login.credentials.is_some(),
            },
            403 => PulpError::Forbidden { doing, said },
            404 => PulpError::NotFound { doing, url: self.shown(&ask.path) },
            429 | 500..=599 => PulpError::Broken { doing, status, tries, said },
            300..=399 => PulpError::Refused {
                doing,
                status,
                said: "a redirection, which an API has no use for: is the URL the server's own, with https?"
                    .to_owned(),
            },
            _ => PulpError::Refused { doing, status, said },
        }
    }

    /// A URL for messages: without its query, which may be four kilobytes of checksums.
    pub(crate) fn shown(&self, path: &str) -> String {
        format!("{}{}", self.server(), path.split('?').next().unwrap_or(path))
    }
}

/// A path with a query.
pub(crate) fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    let mut text = url::form_urlencoded::Serializer::new(format!("{path}?"));
    text.extend_pairs(query);
    text.finish()
}

fn sensitive(secret: &Secret) -> HeaderValue {
    let mut value = HeaderValue::from_str(secret.expose()).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

async fn with_body(request: RequestBuilder, body: &Body<'_>) -> Result<RequestBuilder> {
    Ok(match body {
        Body::Nothing => request,
        Body::Json(value) => request.header(CONTENT_TYPE, "application/json").body(value.to_string()),
        Body::Form(fields) => request.multipart(form(fields)),
        Body::Bytes { bytes, name, fields } => {
            let part = Part::bytes(bytes.to_vec()).file_name(name.clone());
            request.multipart(form(fields).part("file", part))
        }
        Body::File { path, name, offset, size, fields } => {
            let part = part(path, *offset, *size)
                .await
                .map_err(|source| PulpError::File { file: path.display().to_string(), source })?;
            request.multipart(form(fields).part("file", part.file_name(name.clone())))
        }
    })
}

fn form(fields: &[(&'static str, String)]) -> Form {
    fields.iter().fold(Form::new(), |form, (name, value)| form.text(*name, value.clone()))
}

/// A part of a file as a body that is read while it is sent.
async fn part(path: &Path, offset: u64, size: u64) -> std::io::Result<Part> {
    const BUFFER: usize = 256 << 10;
    let mut file = fs_err::tokio::File::open(path).await?;
    file.seek(std::io::SeekFrom::Start(offset)).await?;
    let stream = ReaderStream::with_capacity(file.take(size), BUFFER);
    Ok(Part::stream_with_length(reqwest::Body::wrap_stream(stream), size))
}

fn time_for(body: &Body<'_>) -> Duration {
    ANSWER_TIMEOUT + Duration::from_secs(body.size().unwrap_or(0) / SLOWEST)
}

pub(crate) fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/html"))
}

/// What a connection ended of. Where trust is lacking, it will not come by itself.
pub(crate) fn broken(doing: &Doing, url: String, error: reqwest::Error) -> PulpError {
    let doing = doing.clone();
    match drivetrain_fetch::tls_error(&error) {
        Some(what) if error.is_connect() => PulpError::Tls { doing, url, what },
        _ => PulpError::Unreachable { doing, url, what: in_words(error) },
    }
}

/// What broke, as the end of a sentence that begins with the URL.
fn in_words(error: reqwest::Error) -> String {
    let what = drivetrain_fetch::what_broke(&error);
    format!("{what} ({})", cause(error))
}

/// The innermost cause, without the URL that stands before it.
fn cause(error: reqwest::Error) -> String {
    drivetrain_fetch::innermost(&error.without_url())
}
