//! A small web server that can be made to fail: the lab's own never does.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A request, as far as it matters here.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    /// From where on, where only a part is asked for.
    pub from: Option<u64>,
    pub authorization: Option<String>,
}

/// What goes wrong with a request.
pub enum Fault {
    /// This status, and no file.
    Status(u16),
    /// So many bytes, and then the line is dead.
    Cut(u64),
}

type Faults = dyn Fn(&Request) -> Option<Fault> + Send + Sync;

/// Serves a directory until it is dropped.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
}

impl Server {
    pub fn start(root: &Path, faults: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            stopped: Arc::default(),
        };
        let (requests, stopped) = (Arc::clone(&server.requests), Arc::clone(&server.stopped));
        let (root, faults): (PathBuf, Arc<Faults>) = (root.to_owned(), Arc::new(faults));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (root, faults, requests) = (root.clone(), Arc::clone(&faults), Arc::clone(&requests));
                // A client that hangs up is no fault of the test's.
                std::thread::spawn(move || drop(answer(&stream, &root, faults.as_ref(), &requests)));
            }
        });
        server
    }

    /// A server without faults.
    pub fn of(root: &Path) -> Self {
        Self::start(root, |_| None)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked for, so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

fn answer(
    mut stream: &TcpStream,
    root: &Path,
    faults: &Faults,
    requests: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let Some(request) = read(stream)? else { return Ok(()) };
    requests.lock().unwrap().push(request.clone());
    let fault = faults(&request);
    if let Some(Fault::Status(status)) = fault {
        let challenge = if status == 401 { "WWW-Authenticate: Basic realm=\"lab\"\r\n" } else { "" };
        return write!(
            stream,
            "HTTP/1.1 {status} Fault\r\n{challenge}Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let file = root.join(request.path.trim_start_matches('/'));
    let (Ok(mut file), false) = (File::open(&file), file.is_dir()) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let size = file.metadata()?.len();
    let from = request.from.unwrap_or(0).min(size);
    let range = match request.from {
        Some(_) => {
            format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}", size.saturating_sub(1))
        }
        None => "200 OK".to_owned(),
    };
    write!(
        stream,
        "HTTP/1.1 {range}\r\nContent-Length: {}\r\nETag: \"{size}\"\r\nAccept-Ranges: bytes\r\nConnection: close\r\n\r\n",
        size - from
    )?;
    file.seek(SeekFrom::Start(from))?;
    let length = match fault {
        Some(Fault::Cut(length)) => length,
        _ => u64::MAX,
    };
    std::io::copy(&mut file.take(length), &mut stream)?;
    Ok(())
}

fn read(stream: &TcpStream) -> std::io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let Some(path) = line.split(' ').nth(1) else { return Ok(None) };
    // Packages have a plus in their names.
    let mut request =
        Request { path: path.replace("%2B", "+").replace("%2b", "+"), from: None, authorization: None };
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? <= 2 {
            return Ok(Some(request));
        }
        let Some((name, value)) = header.trim_end().split_once(": ") else { continue };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                request.from =
                    value.strip_prefix("bytes=").and_then(|range| range.split('-').next()?.parse().ok())
            }
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
}
