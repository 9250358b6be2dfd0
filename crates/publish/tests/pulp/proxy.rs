//! What may be between here and the server, and in the way: something that cuts, refuses, is slow, or ends TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What it does to what passes. Nothing, unless it is told to.
#[derive(Default)]
pub struct Rules {
    /// Ends an answer after so many bytes, every so many times.
    pub cut_answers: Option<(usize, usize)>,
    /// Breaks the connection where a body is longer than so many bytes, once those have passed; so many times.
    pub cut_bodies: Option<(u64, usize)>,
    /// Answers 413 to larger bodies.
    pub largest_body: Option<u64>,
    /// Lets so many bytes of bodies pass in a second, all connections together.
    pub rate: Option<u64>,
    /// Moves the time that the server says.
    pub clock: Option<SignedDuration>,
    /// Lines that requests get.
    pub headers: Vec<&'static str>,
}

/// A proxy before one server. It lives as long as the process.
pub struct Proxy {
    address: SocketAddr,
    /// In PEM, the authority that its certificate is of; where it ends TLS.
    pub authority: Option<String>,
    shared: Arc<Shared>,
}

struct Shared {
    server: String,
    rules: Rules,
    answered: AtomicUsize,
    cut: AtomicUsize,
    refused: AtomicUsize,
    /// When the line is free again.
    line: Mutex<Instant>,
}

impl Proxy {
    /// Before `http://HOST:PORT`.
    pub fn start(server: &str, rules: Rules) -> Self {
        Self::listen(server, rules, None)
    }

    /// With TLS towards clients, for `localhost`, with a certificate of an authority that nobody knows.
    pub fn start_tls(server: &str, rules: Rules) -> Self {
        let (config, authority) = identity("localhost");
        let mut proxy = Self::listen(server, rules, Some(Arc::new(config)));
        proxy.authority = Some(authority);
        proxy
    }

    fn listen(server: &str, rules: Rules, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server: server.trim_start_matches("http://").to_owned(),
            rules,
            answered: AtomicUsize::new(0),
            cut: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            line: Mutex::new(Instant::now()),
        });
        let for_thread = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, tls) = (for_thread.clone(), tls.clone());
                std::thread::spawn(move || {
                    // Whoever broke off is what this is about.
                    drop(match tls {
                        None => shared.pass(stream),
                        Some(config) => {
                            let connection = ServerConnection::new(config).unwrap();
                            let mut stream = StreamOwned::new(connection, stream);
                            let passed = shared.pass(&mut stream);
                            stream.conn.send_close_notify();
                            passed.and_then(|()| stream.flush())
                        }
                    });
                });
            }
        });
        Self { address, authority: None, shared }
    }

    /// Its URL, in place of the server's.
    pub fn url(&self) -> String {
        match self.authority {
            None => format!("http://{}", self.address),
            Some(_) => format!("https://localhost:{}", self.address.port()),
        }
    }

    /// How often it cut something off.
    pub fn cut(&self) -> usize {
        self.shared.cut.load(Ordering::SeqCst)
    }

    /// How often it refused a body.
    pub fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// One request and its answer: the server closes the connection after each.
    fn pass(&self, mut client: impl Read + Write) -> std::io::Result<()> {
        let head = read_head(&mut client)?;
        let length = header(&head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        if self.rules.largest_body.is_some_and(|largest| length > largest) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            self.copy(&mut client, &mut std::io::sink(), length)?;
            let page = "<html><body><h1>413 Request Entity Too Large</h1></body></html>";
            let head =
                "HTTP/1.1 413 Request Entity Too Large\r\nContent-Type: text/html\r\nConnection: close";
            return client
                .write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len()).as_bytes());
        }
        let mut server = TcpStream::connect(&self.server)?;
        server.write_all(self.with_headers(&head).as_bytes())?;
        if let Some((most, times)) = self.rules.cut_bodies
            && length > most
            && self.cut.fetch_add(1, Ordering::SeqCst) < times
        {
            return self.copy(&mut client, &mut server, most).map(drop);
        }
        // A server that gave up says why, perhaps.
        drop(self.copy(&mut client, &mut server, length));
        self.answer(&mut server, &mut client)
    }

    fn with_headers(&self, head: &str) -> String {
        let (request, rest) = head.split_once("\r\n").unwrap();
        let more: String = self.rules.headers.iter().map(|line| format!("{line}\r\n")).collect();
        format!("{request}\r\n{more}{rest}")
    }

    fn answer(&self, server: &mut TcpStream, client: &mut impl Write) -> std::io::Result<()> {
        let mut head = read_head(server)?;
        if let Some(by) = self.rules.clock {
            head = with_date(&head, Timestamp::now() + by);
        }
        let mut answer = head.into_bytes();
        server.read_to_end(&mut answer)?;
        if let Some((most, every)) = self.rules.cut_answers
            && answer.len() > most
            && self.answered.fetch_add(1, Ordering::SeqCst).is_multiple_of(every)
        {
            self.cut.fetch_add(1, Ordering::SeqCst);
            answer.truncate(most);
        }
        client.write_all(&answer)
    }

    fn copy(&self, from: &mut impl Read, to: &mut impl Write, length: u64) -> std::io::Result<u64> {
        let (mut from, mut copied, mut buffer) = (from.take(length), 0, [0; 16 << 10]);
        loop {
            let count = from.read(&mut buffer)?;
            if count == 0 {
                return Ok(copied);
            }
            self.wait_for_line(count);
            to.write_all(&buffer[..count])?;
            copied += count as u64;
        }
    }

    /// The line carries one thing after the other.
    fn wait_for_line(&self, bytes: usize) {
        let Some(rate) = self.rules.rate else { return };
        let free = {
            let mut line = self.line.lock().unwrap();
            *line = (*line).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / rate as f64);
            *line
        };
        std::thread::sleep(free.saturating_duration_since(Instant::now()));
    }
}

/// Up to the empty line.
fn read_head(stream: &mut impl Read) -> std::io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    String::from_utf8(head).map_err(std::io::Error::other)
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(key, value)| (key, value.trim()))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn with_date(head: &str, date: Timestamp) -> String {
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let others = head.trim_end().split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("date:"));
    format!("{}\r\nDate: {date}\r\n\r\n", others.collect::<Vec<_>>().join("\r\n"))
}

/// A server's side for a host, and the authority that vouches for it, as PEM.
fn identity(host: &str) -> (ServerConfig, String) {
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let certificate = CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (config, pem)
}
