//! One exchange with OpenStack: who we are, what is repeated, and how many requests it took.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use drivetrain_fetch::Secret;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::catalogue::{Catalogue, Session};
use super::cloud::Cloud;
use super::problem::{Failed, Fault, Result, said};
use crate::MachineError;

/// From 2.52 on a server has its tags from the request that makes it. It is the newest that is needed, and so the
/// one that most clouds know.
pub(super) const MICROVERSION: &str = "2.52";
/// No page of a list is larger.
const MAX_ANSWER: usize = 32 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const FIRST_WAIT: Duration = Duration::from_millis(300);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long a service goes on with what it has said to have failed at.
const SETTLING: Duration = Duration::from_secs(3);
/// A server that wants to be left alone for longer is not obeyed.
const LONGEST_OBEYED: Duration = Duration::from_secs(60);
/// More pages than this of one list are no list of a project.
const MAX_PAGES: usize = 100;
const PAGE: usize = 500;

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    Compute,
    Network,
    Image,
    Volume,
}

impl Service {
    pub(super) const ALL: [Self; 4] = [Self::Compute, Self::Network, Self::Image, Self::Volume];

    /// What the catalogue calls it, the present name first.
    pub(super) fn types(self) -> &'static [&'static str] {
        match self {
            Self::Compute => &["compute"],
            Self::Network => &["network"],
            Self::Image => &["image"],
            Self::Volume => &["block-storage", "volumev3", "block-store"],
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Compute => "Nova",
            Self::Network => "Neutron",
            Self::Image => "Glance",
            Self::Volume => "Cinder",
        }
    }

    /// What its address ends with where the catalogue leaves that out.
    pub(super) fn version(self) -> Option<&'static str> {
        match self {
            Self::Network => Some("v2.0"),
            Self::Image => Some("v2"),
            Self::Compute | Self::Volume => None,
        }
    }
}

/// How patient a client is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// With one answer.
    pub(super) answer: Duration,
    /// With a service that is not well.
    pub(super) service: Duration,
}

/// What came.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Who we say we are.
enum As<'a> {
    Nobody,
    Session(&'a Session),
}

/// What is asked for.
pub(super) struct Ask<'a> {
    /// As the end of "failed at: ".
    pub(super) doing: &'a str,
    pub(super) method: Method,
    pub(super) service: Service,
    /// Below the service, with its query.
    pub(super) path: String,
    pub(super) body: Option<Value>,
}

impl<'a> Ask<'a> {
    pub(super) fn get(doing: &'a str, service: Service, path: impl Into<String>) -> Self {
        Self { doing, method: Method::GET, service, path: path.into(), body: None }
    }

    pub(super) fn post(doing: &'a str, service: Service, path: impl Into<String>, body: Value) -> Self {
        Self { doing, method: Method::POST, service, path: path.into(), body: Some(body) }
    }

    pub(super) fn delete(doing: &'a str, service: Service, path: impl Into<String>) -> Self {
        Self { doing, method: Method::DELETE, service, path: path.into(), body: None }
    }
}

/// How long to wait before something is tried again.
pub(super) struct Backoff {
    started: Instant,
    patience: Duration,
    wait: Duration,
}

impl Backoff {
    pub(super) fn new(patience: Duration) -> Self {
        Self { started: Instant::now(), patience, wait: FIRST_WAIT }
    }

    /// Waits; `false` where there is no more patience. A service may say for how long.
    pub(super) async fn wait(&mut self, asked: Option<Duration>) -> bool {
        let wait = asked.unwrap_or(self.wait);
        if self.started.elapsed() + wait > self.patience {
            return false;
        }
        tokio::time::sleep(wait).await;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        true
    }
}

/// A client of one cloud.
pub(super) struct Client {
    pub(super) cloud: Cloud,
    pub(super) patience: Patience,
    http: reqwest::Client,
    session: Mutex<Option<Arc<Session>>>,
    calls: AtomicU64,
}

impl Client {
    /// Makes a client. Opens no connection yet.
    pub(super) fn new(cloud: Cloud, patience: Patience) -> crate::Result<Self> {
        let fail = |why: String| MachineError::Configuration {
            what: format!("OpenStack's {}", cloud.source),
            why,
            next: "look at its cacert".to_owned(),
        };
        let tls =
            drivetrain_fetch::tls_config(cloud.ca.as_deref()).map_err(|problem| fail(problem.to_string()))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("drivetrain/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(patience.answer)
            // A redirection would be given the token.
            .redirect(reqwest::redirect::Policy::none())
            // One policy of repetition, ours: only it knows what may be sent twice.
            .retry(reqwest::retry::never())
            .http1_only()
            .build()
            .map_err(|error| fail(cause(error)))?;
        Ok(Self { cloud, patience, http, session: Mutex::new(None), calls: AtomicU64::new(0) })
    }

    /// How many requests were sent.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Asks for what may be asked for twice, as often as makes sense.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Value> {
        let mut backoff = Backoff::new(self.patience.service);
        loop {
            let (failed, wait) = match self.once(ask).await {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            if !failed.is_passing() || !backoff.wait(wait).await {
                return Err(failed);
            }
        }
    }

    /// Asks for something that is to be made. Where it may have been made already, `find` looks for it before it is
    /// asked for again.
    pub(super) async fn create<F>(&self, ask: &Ask<'_>, find: impl Fn() -> F) -> Result<Value>
    where
        F: Future<Output = Result<Option<Value>>>,
    {
        let mut backoff = Backoff::new(self.patience.service);
        let mut doubtful = false;
        loop {
            let (failed, wait) = match self.once(ask).await {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            doubtful |= failed.may_be_done();
            // What is refused may be so because the first request was slower than the second.
            if doubtful && let Some(found) = self.look_for(self.settling(&failed), &find).await? {
                return Ok(found);
            }
            let again = failed.is_passing() || failed.may_be_done();
            if !again || !backoff.wait(wait).await {
                return Err(failed);
            }
        }
    }

    /// How long a service may go on with a request that it gave no answer to, or one that says little.
    fn settling(&self, failed: &Failed) -> Duration {
        let silent = matches!(failed.fault, Fault::Unreachable { .. }) || failed.status() == Some(504);
        if silent { self.patience.answer } else { SETTLING }
    }

    async fn look_for<F>(&self, within: Duration, find: &impl Fn() -> F) -> Result<Option<Value>>
    where
        F: Future<Output = Result<Option<Value>>>,
    {
        let mut backoff = Backoff::new(within);
        loop {
            let found = find().await?;
            if found.is_some() || !backoff.wait(None).await {
                return Ok(found);
            }
        }
    }

    /// All of a list, page by page.
    pub(super) async fn list(
        &self,
        doing: &str,
        service: Service,
        path: &str,
        query: &[(&str, &str)],
        collection: &str,
    ) -> Result<Vec<Value>> {
        let mut all: Vec<Value> = Vec::new();
        let mut marker: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let limit = PAGE.to_string();
            let mut query = query.to_vec();
            query.push(("limit", &limit));
            query.extend(marker.as_deref().map(|marker| ("marker", marker)));
            let mut page = self.ask(&Ask::get(doing, service, with_query(path, &query))).await?;
            let Value::Array(items) = page[collection].take() else {
                return Err(nonsense(doing, format!("it has no {collection}")));
            };
            // A service that knows no pages gives all of it each time.
            if marker.is_some()
                && items.first().map(|item| &item["id"]) == all.first().map(|item| &item["id"])
            {
                return Ok(all);
            }
            let full = items.len() >= PAGE || has_next(&page, collection);
            marker = items.last().and_then(|item| item["id"].as_str()).map(str::to_owned);
            all.extend(items);
            if !full || marker.is_none() {
                return Ok(all);
            }
        }
        Err(nonsense(doing, format!("it has more than {MAX_PAGES} pages")))
    }

    /// One try. The token is made before it, and once more where it is no longer good. With an error comes how long
    /// the service wants to be left alone.
    async fn once(&self, ask: &Ask<'_>) -> Result<Value, (Failed, Option<Duration>)> {
        let session = self.session(ask.doing, None).await.map_err(|failed| (failed, None))?;
        let mut answer = self.one(ask, &session).await.map_err(|failed| (failed, None))?;
        if answer.status == StatusCode::UNAUTHORIZED {
            let expired = Some(session.number);
            let session = self.session(ask.doing, expired).await.map_err(|failed| (failed, None))?;
            answer = self.one(ask, &session).await.map_err(|failed| (failed, None))?;
        }
        let wait = retry_after(&answer.headers);
        understood(ask.doing, &answer).map_err(|failed| (failed, wait))
    }

    async fn one(&self, ask: &Ask<'_>, session: &Session) -> Result<Answer> {
        let base = match self.cloud.overrides.get(&ask.service) {
            Some(url) => url,
            None => session.catalogue.get(ask.service).ok_or_else(|| self.no_service(ask))?,
        };
        let text = format!("{}/{}", base.as_str().trim_end_matches('/'), ask.path.trim_start_matches('/'));
        let url =
            Url::parse(&text).map_err(|error| nonsense(ask.doing, format!("{text} is no URL ({error})")))?;
        self.exchange(ask.doing, &ask.method, url, ask.body.as_ref(), As::Session(session)).await
    }

    fn no_service(&self, ask: &Ask<'_>) -> Failed {
        let region =
            self.cloud.region.as_deref().map(|region| format!(" in the region {region}")).unwrap_or_default();
        let what = format!(
            "the catalogue has no {} ({}) with the interface {}{region}",
            ask.service.name(),
            ask.service.types()[0],
            self.cloud.interface
        );
        Failed { doing: ask.doing.to_owned(), fault: Fault::NoService(what) }
    }

    /// Whether the cloud has a service at all.
    pub(super) async fn has(&self, service: Service) -> Result<bool> {
        let session = self.session_repeatedly("ask for a token").await?;
        Ok(self.cloud.overrides.contains_key(&service) || session.catalogue.get(service).is_some())
    }

    /// Who we are, with patience.
    pub(super) async fn session_repeatedly(&self, doing: &str) -> Result<Arc<Session>> {
        let mut backoff = Backoff::new(self.patience.service);
        loop {
            let failed = match self.session(doing, None).await {
                Ok(session) => return Ok(session),
                Err(failed) => failed,
            };
            if !failed.is_passing() || !backoff.wait(None).await {
                return Err(failed);
            }
        }
    }

    /// The session. `expired` is the number of one that is no longer good.
    async fn session(&self, doing: &str, expired: Option<u64>) -> Result<Arc<Session>> {
        let mut kept = self.session.lock().await;
        let number = match kept.as_ref() {
            Some(session) if expired != Some(session.number) && !session.ends_soon() => {
                return Ok(Arc::clone(session));
            }
            Some(session) => session.number + 1,
            None => 0,
        };
        let session = Arc::new(self.log_in(doing, number).await?);
        *kept = Some(Arc::clone(&session));
        Ok(session)
    }

    async fn log_in(&self, doing: &str, number: u64) -> Result<Session> {
        let text = format!("{}/auth/tokens", self.cloud.auth_url.as_str().trim_end_matches('/'));
        let url =
            Url::parse(&text).map_err(|error| nonsense(doing, format!("{text} is no URL ({error})")))?;
        let body = self.cloud.auth.request();
        let answer = self.exchange(doing, &Method::POST, url, Some(&body), As::Nobody).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            let fault = Fault::Login(said(&answer.body));
            return Err(Failed { doing: doing.to_owned(), fault });
        }
        let value = understood(doing, &answer)?;
        let token = answer.headers.get("x-subject-token").and_then(|token| token.to_str().ok());
        let Some(token) = token else { return Err(nonsense(doing, "Keystone gives no token".to_owned())) };
        let catalogue = Catalogue::read(&value["token"], &self.cloud.interface, self.cloud.region.as_deref());
        Ok(Session::new(Secret::new(token), number, catalogue, &value["token"]))
    }

    /// One request, one answer.
    async fn exchange(
        &self,
        doing: &str,
        method: &Method,
        url: Url,
        body: Option<&Value>,
        who: As<'_>,
    ) -> Result<Answer> {
        let mut request = self.http.request(method.clone(), url.clone()).header("accept", "application/json");
        if let As::Session(session) = who {
            request = request.header("x-auth-token", sensitive(&session.token));
            request = request.header("openstack-api-version", format!("compute {MICROVERSION}"));
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        let broken = |error| broken(doing, &url, error);
        let mut response = request.send().await.map_err(broken)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(broken)? {
            if body.len() + bytes.len() > MAX_ANSWER {
                return Err(nonsense(doing, format!("it is longer than {MAX_ANSWER} bytes")));
            }
            body.extend_from_slice(&bytes);
        }
        Ok(Answer { status, headers, body })
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("cloud", &self.cloud).finish_non_exhaustive()
    }
}

/// What an answer says, where it is a good one. Nothing is `null`.
fn understood(doing: &str, answer: &Answer) -> Result<Value> {
    if !answer.status.is_success() {
        let header =
            |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let request = header("x-openstack-request-id").or_else(|| header("x-compute-request-id"));
        let fault = Fault::Answer { status: answer.status.as_u16(), said: said(&answer.body), request };
        return Err(Failed { doing: doing.to_owned(), fault });
    }
    if answer.body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&answer.body).map_err(|error| nonsense(doing, error.to_string()))
}

pub(super) fn nonsense(doing: &str, what: String) -> Failed {
    Failed { doing: doing.to_owned(), fault: Fault::Nonsense(what) }
}

/// Whether a list goes on. Nova, Neutron and Cinder say `servers_links`, Glance says `next`.
fn has_next(page: &Value, collection: &str) -> bool {
    let links = page[format!("{collection}_links")].as_array();
    links.is_some_and(|links| links.iter().any(|link| link["rel"] == "next")) || page["next"].is_string()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_OBEYED))
}

/// A path with a query.
pub(super) fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    let mut text = url::form_urlencoded::Serializer::new(format!("{path}?"));
    text.extend_pairs(query);
    text.finish()
}

fn sensitive(secret: &Secret) -> HeaderValue {
    let mut value = HeaderValue::from_str(secret.expose()).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn broken(doing: &str, url: &Url, error: reqwest::Error) -> Failed {
    let doing = doing.to_owned();
    let at = format!("{}://{}", url.scheme(), url.authority());
    if error.is_connect()
        && let Some(what) = drivetrain_fetch::tls_error(&error)
    {
        return Failed { doing, fault: Fault::Tls(format!("{at}: {what}")) };
    }
    let arrived = !error.is_connect();
    let what = drivetrain_fetch::what_broke(&error);
    let what = format!("{at} {what}: {}", cause(error));
    Failed { doing, fault: Fault::Unreachable { what, arrived } }
}

/// The innermost cause, without the URL that stands before it.
fn cause(error: reqwest::Error) -> String {
    drivetrain_fetch::innermost(&error.without_url())
}
