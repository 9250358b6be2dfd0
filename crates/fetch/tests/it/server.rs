//! A small HTTP server, written by hand so that it can break off where a real one never would on demand.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The path, or the whole URL where this server is used as a proxy.
    pub target: String,
    /// By lower-case name.
    pub headers: HashMap<String, String>,
    /// How many came before it.
    pub number: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte that is asked for.
    pub fn start(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What is written after the head, in order; then the connection is closed.
pub enum Step {
    Send(Vec<u8>),
    Pause(Duration),
    /// Sends without end, until the other side goes away.
    Flood,
}

pub struct Reply {
    head: String,
    steps: Vec<Step>,
}

impl Reply {
    pub fn new(status: &str, headers: &[(&str, &str)], steps: Vec<Step>) -> Self {
        let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        Self { head, steps }
    }

    pub fn status(status: &str) -> Self {
        Self::new(status, &[("Content-Length", "5")], vec![Step::Send(b"sorry".to_vec())])
    }

    /// The whole of a body, with its length.
    pub fn body(body: &[u8]) -> Self {
        Self::new("200 OK", &[("Content-Length", &body.len().to_string())], vec![Step::Send(body.to_vec())])
    }

    /// What a good server does with a request: heeds `Range` and `If-Range`.
    pub fn file(seen: &Seen, body: &[u8], etag: Option<&str>) -> Self {
        let fresh = seen.header("if-range").is_none_or(|tag| Some(tag) == etag);
        let mut reply = match seen.start().filter(|_| fresh) {
            Some(start) if start >= body.len() => Self::new(
                "416 Range Not Satisfiable",
                &[("Content-Range", &format!("bytes */{}", body.len())), ("Content-Length", "0")],
                vec![],
            ),
            Some(start) => Self::new(
                "206 Partial Content",
                &[
                    ("Content-Range", &format!("bytes {start}-{}/{}", body.len() - 1, body.len())),
                    ("Content-Length", &(body.len() - start).to_string()),
                ],
                vec![Step::Send(body[start..].to_vec())],
            ),
            None => Self::body(body),
        };
        if let Some(etag) = etag {
            reply.head.push_str(&format!("ETag: {etag}\r\n"));
        }
        reply
    }

    /// Breaks the connection off after so many bytes of the body.
    pub fn cut(mut self, after: usize) -> Self {
        for step in &mut self.steps {
            if let Step::Send(bytes) = step {
                bytes.truncate(after);
            }
        }
        self
    }

    /// Pauses at the end, with the connection open.
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }
}

/// Serves until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(None, answer).await
    }

    pub async fn start_tls(
        acceptor: tokio_rustls::TlsAcceptor,
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Some(acceptor), answer).await
    }

    async fn serve(
        acceptor: Option<tokio_rustls::TlsAcceptor>,
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer, acceptor) = (Arc::clone(&log), Arc::clone(&answer), acceptor.clone());
                drop(tokio::spawn(async move {
                    let _ended = match acceptor {
                        None => exchange(stream, &log, &*answer).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => exchange(stream, &log, &*answer).await,
                            Err(_) => None,
                        },
                    };
                }));
            }
        });
        Self { address, seen, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    log: &Mutex<Vec<Seen>>,
    answer: &(dyn Fn(&Seen) -> Reply + Send + Sync),
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let seen = {
        let mut log = log.lock().unwrap();
        let number = log.len();
        log.push(Seen { target, headers, number });
        log.last()?.clone()
    };
    let reply = answer(&seen);
    stream.write_all(format!("{}\r\n", reply.head).as_bytes()).await.ok()?;
    for step in reply.steps {
        match step {
            Step::Send(bytes) => stream.write_all(&bytes).await.ok()?,
            Step::Pause(pause) => {
                stream.flush().await.ok()?;
                tokio::time::sleep(pause).await;
            }
            Step::Flood => loop {
                stream.write_all(b"1000\r\n").await.ok()?;
                stream.write_all(&[b'x'; 0x1000]).await.ok()?;
                stream.write_all(b"\r\n").await.ok()?;
            },
        }
    }
    stream.flush().await.ok()?;
    stream.shutdown().await.ok()
}

/// An address that nothing listens on.
pub async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
