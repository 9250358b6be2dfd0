//! A small static file server, as a mirror would be: ranges, validators, and a password where one is wanted.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_lab::base64;
use fs_err as fs;

/// Longest request head that is read.
const HEAD_LIMIT: u64 = 64 * 1024;
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(60);

/// What is served and how.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the lab lives
    #[arg(long, default_value = ".lab")]
    dir: Utf8PathBuf,
    /// Serve this directory instead of the lab's `www`
    #[arg(long)]
    root: Option<Utf8PathBuf>,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Ask for this user name
    #[arg(long, requires = "password_env")]
    user: Option<String>,
    /// The environment variable that holds the password
    #[arg(long, requires = "user")]
    password_env: Option<String>,
    /// Write a line for every request to this file
    #[arg(long)]
    log: Option<Utf8PathBuf>,
}

struct Server {
    root: Utf8PathBuf,
    /// The whole value of the Authorization header that is let in.
    authorization: Option<String>,
    log: Option<Mutex<fs::File>>,
}

/// Serves until it is killed. The first line on standard output is the URL.
pub(crate) fn serve(options: &Options) -> Result<()> {
    let root = options.root.clone().unwrap_or_else(|| options.dir.join("www"));
    let root = root.canonicalize_utf8().with_context(|| format!("{root}: is the lab up?"))?;
    let authorization = match (&options.user, &options.password_env) {
        (Some(user), Some(variable)) => {
            let password =
                std::env::var(variable).with_context(|| format!("reading the variable {variable}"))?;
            Some(format!("Basic {}", base64::encode(format!("{user}:{password}").as_bytes())))
        }
        _ => None,
    };
    let log = match &options.log {
        Some(path) => Some(Mutex::new(fs::File::options().create(true).append(true).open(path)?)),
        None => None,
    };
    let listener =
        TcpListener::bind(&options.listen).with_context(|| format!("listening on {}", options.listen))?;
    println!("http://{}/", listener.local_addr()?);

    let server = Arc::new(Server { root, authorization, log });
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let server = Arc::clone(&server);
        std::thread::spawn(move || {
            // A client that hangs up is no event.
            let _hung_up = server.connection(&stream);
        });
    }
    Ok(())
}

/// A request as far as it matters here.
#[derive(Debug, Default)]
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    close: bool,
}

impl Request {
    fn read(reader: &mut impl BufRead) -> Result<Option<Self>> {
        let mut reader = reader.take(HEAD_LIMIT);
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let mut request = Request {
            method: words.next().context("empty request")?.to_owned(),
            path: words.next().context("request without a path")?.to_owned(),
            close: words.next() != Some("HTTP/1.1"),
            ..Request::default()
        };
        loop {
            line.clear();
            anyhow::ensure!(reader.read_line(&mut line)? != 0, "the request ends in its head");
            let text = line.trim_end();
            if text.is_empty() {
                break;
            }
            let (name, value) = text.split_once(':').context("header without a colon")?;
            request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if let Some(connection) = request.header("connection") {
            request.close = connection.eq_ignore_ascii_case("close");
        }
        // A body would be taken for the next request.
        request.close |= request.header("content-length").is_some_and(|length| length != "0")
            || request.header("transfer-encoding").is_some();
        Ok(Some(request))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered: a status, headers, and either a text or a part of a file.
struct Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    file: Option<(fs::File, u64, u64)>,
}

impl Response {
    fn plain(status: u16) -> Self {
        Response { status, headers: Vec::new(), file: None }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Server {
    fn connection(&self, stream: &TcpStream) -> Result<()> {
        stream.set_read_timeout(Some(IDLE))?;
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = Request::read(&mut reader)? {
            let response = self.answer(&request).unwrap_or_else(|_unreadable| Response::plain(500));
            let sent = send(stream, &request, response);
            if let (Some(log), Ok((status, bytes))) = (&self.log, &sent)
                && let Ok(mut log) = log.lock()
            {
                writeln!(log, "{} {} {status} {bytes}", request.method, request.path)?;
            }
            sent?;
            if request.close {
                break;
            }
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> Result<Response> {
        if let Some(wanted) = &self.authorization
            && request.header("authorization") != Some(wanted)
        {
            return Ok(Response::plain(401).header("WWW-Authenticate", "Basic realm=\"lab\""));
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Ok(Response::plain(405).header("Allow", "GET, HEAD"));
        }
        let Some(path) = local_path(&request.path) else { return Ok(Response::plain(400)) };
        let path = self.root.join(path);
        let Ok(metadata) = fs::metadata(&path) else { return Ok(Response::plain(404)) };
        if metadata.is_dir() {
            return Ok(Response::plain(404));
        }
        let size = metadata.len();
        let modified = metadata.modified()?;
        let since = modified.duration_since(SystemTime::UNIX_EPOCH)?;
        let etag = format!("\"{size:x}-{:x}\"", since.as_nanos());
        let last_modified = http_date(since.as_secs())?;
        let dated = |response: Response| {
            response
                .header("ETag", etag.clone())
                .header("Last-Modified", last_modified.clone())
                .header("Accept-Ranges", "bytes")
        };

        // An entity tag says more than a date, and a client that sends both means the tag.
        let unchanged = match (request.header("if-none-match"), request.header("if-modified-since")) {
            (Some(tags), _) => {
                tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
            }
            (None, Some(date)) => parse_http_date(date).is_some_and(|date| since.as_secs() <= date),
            (None, None) => false,
        };
        if unchanged {
            return Ok(dated(Response::plain(304)));
        }

        let range = match request.header("range") {
            Some(_) if request.header("if-range").is_some_and(|is| is != etag && is != last_modified) => {
                Range::Whole
            }
            Some(range) => Range::parse(range, size),
            None => Range::Whole,
        };
        let (status, from, length) = match range {
            Range::Whole => (200, 0, size),
            Range::Part { from, length } => (206, from, length),
            Range::Unsatisfiable => {
                return Ok(dated(Response::plain(416)).header("Content-Range", format!("bytes */{size}")));
            }
        };
        let mut response = dated(Response::plain(status)).header("Content-Type", content_type(&path));
        if status == 206 {
            let last = from + length - 1;
            response = response.header("Content-Range", format!("bytes {from}-{last}/{size}"));
        }
        response.file = Some((fs::File::open(&path)?, from, length));
        Ok(response)
    }
}

fn send(mut stream: &TcpStream, request: &Request, response: Response) -> Result<(u16, u64)> {
    let text = if response.status == 304 { String::new() } else { format!("{}\n", reason(response.status)) };
    let length = response.file.as_ref().map_or(text.len() as u64, |(_, _, length)| *length);
    let mut head = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
    for (name, value) in &response.headers {
        write!(head, "{name}: {value}\r\n")?;
    }
    if response.status != 304 {
        write!(head, "Content-Length: {length}\r\n")?;
    }
    head.push_str(if request.close { "Connection: close\r\n\r\n" } else { "Connection: keep-alive\r\n\r\n" });
    stream.write_all(head.as_bytes())?;
    if request.method == "HEAD" {
        return Ok((response.status, 0));
    }
    match response.file {
        Some((mut file, from, length)) => {
            file.seek(SeekFrom::Start(from))?;
            let sent = std::io::copy(&mut file.take(length), &mut stream)?;
            // Only hanging up tells the client that a file became shorter while it was sent.
            anyhow::ensure!(sent == length, "the file became shorter");
        }
        None => stream.write_all(text.as_bytes())?,
    }
    Ok((response.status, length))
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        416 => "Range Not Satisfiable",
        _ => "Internal Server Error",
    }
}

fn content_type(path: &Utf8Path) -> &'static str {
    match path.extension() {
        Some("rpm") => "application/x-rpm",
        Some("xml") => "application/xml",
        Some("asc") => "text/plain",
        Some("html") => "text/html; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// The path below the root that a request is for; none when it leads out of it.
fn local_path(target: &str) -> Option<Utf8PathBuf> {
    let path = target.split(['?', '#']).next()?.strip_prefix('/')?;
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let path = String::from_utf8(bytes).ok()?;
    let safe = !path.contains('\0') && path.split('/').all(|part| part != "..") && !path.starts_with('/');
    safe.then(|| Utf8PathBuf::from(path))
}

/// What a Range header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    Part { from: u64, length: u64 },
    Unsatisfiable,
}

impl Range {
    /// One range is answered; several, or what is no range, are answered with the whole file, as is allowed.
    fn parse(header: &str, size: u64) -> Self {
        let Some((from, to)) = header.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
            return Range::Whole;
        };
        match (from.trim().parse::<u64>(), to.trim().parse::<u64>()) {
            (Ok(from), Ok(to)) if from > to => Range::Whole,
            (Ok(from), _) if from >= size && (to.trim().is_empty() || to.trim().parse::<u64>().is_ok()) => {
                Range::Unsatisfiable
            }
            (Ok(from), Ok(to)) => Range::Part { from, length: to.min(size - 1) - from + 1 },
            (Ok(from), Err(_)) if to.trim().is_empty() => Range::Part { from, length: size - from },
            (Err(_), Ok(last)) if from.trim().is_empty() => match last.min(size) {
                0 => Range::Unsatisfiable,
                last => Range::Part { from: size - last, length: last },
            },
            _ => Range::Whole,
        }
    }
}

const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

fn http_date(seconds: u64) -> Result<String> {
    let at = jiff::Timestamp::from_second(i64::try_from(seconds)?)?;
    Ok(at.strftime(HTTP_DATE).to_string())
}

fn parse_http_date(text: &str) -> Option<u64> {
    let date = jiff::civil::DateTime::strptime(HTTP_DATE, text).ok()?;
    u64::try_from(jiff::tz::TimeZone::UTC.to_timestamp(date).ok()?.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |from, length| Range::Part { from, length };
        for (header, expected) in [
            ("bytes=0-9", part(0, 10)),
            ("bytes=5-", part(5, 95)),
            ("bytes=-10", part(90, 10)),
            ("bytes=-1000", part(0, 100)),
            ("bytes=90-1000", part(90, 10)),
            ("bytes=99-99", part(99, 1)),
            ("bytes=100-", Range::Unsatisfiable),
            ("bytes=100-200", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=9-5", Range::Whole),
            ("bytes=0-1,5-6", Range::Whole),
            ("bytes=-", Range::Whole),
            ("bytes=x-1", Range::Whole),
            ("lines=0-1", Range::Whole),
        ] {
            assert_eq!(Range::parse(header, 100), expected, "{header}");
        }
        assert_eq!(Range::parse("bytes=0-", 0), Range::Unsatisfiable);
        assert_eq!(Range::parse("bytes=-5", 0), Range::Unsatisfiable);
    }

    #[test]
    fn paths_stay_inside() {
        assert_eq!(local_path("/a/b%2Bc?x=1"), Some("a/b+c".into()));
        assert_eq!(local_path("/"), Some("".into()));
        for path in ["/../x", "/a/%2e%2e/x", "/%2Fetc/passwd", "//etc/passwd", "/%", "/%zz", "/a%00", "x"] {
            assert_eq!(local_path(path), None, "{path}");
        }
    }

    #[test]
    fn dates() {
        let text = http_date(784_111_777).unwrap();
        assert_eq!(text, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(parse_http_date(&text), Some(784_111_777));
        assert_eq!(parse_http_date("yesterday"), None);
    }

    #[test]
    fn requests() {
        let read = |text: &str| Request::read(&mut text.as_bytes());
        let request = read("GET /x HTTP/1.1\r\nRange: bytes=0-1\r\n\r\n").unwrap().unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str(), request.close), ("GET", "/x", false));
        assert_eq!(request.header("range"), Some("bytes=0-1"));
        assert!(read("GET /x HTTP/1.0\r\n\r\n").unwrap().unwrap().close);
        assert!(read("").unwrap().is_none());
        assert!(read("GET /x HTTP/1.1\r\nRange").is_err());
        assert!(read("GET\r\n\r\n").is_err());
    }
}
