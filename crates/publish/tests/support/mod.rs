//! Small RPMs, publications of them, and a web server that follows links.
#![allow(dead_code, clippy::unwrap_used, reason = "each test takes what it needs, and ends where that fails")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use drivetrain_model::{Architecture, Cell, DriverVersion, KernelRelease, RunId, Sha256Digest, TrainName};
use drivetrain_publish::{
    Accept, Change, ConsumerSettings, DirectoryOptions, DirectoryTarget, Outcome, Publication, RepositoryPath,
};
use rpm::{BuildConfig, FileOptions, PackageBuilder};

pub const PATH: &str = "lab-9.4/3.2.0/5.14.0-1.el9.x86_64/x86_64";

/// Builds a package whose bytes depend on `content`. Incompressible `padding` makes it larger.
pub fn rpm(directory: &Path, name: &str, version: &str, content: &str, padding: usize) -> PathBuf {
    let mut builder = PackageBuilder::new(name, version, "GPL-2.0-only", "noarch", "A package for tests");
    builder.using_config(
        BuildConfig::default().compression(rpm::CompressionType::None).source_date(1_700_000_000),
    );
    builder.release("1.el9");
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = content.as_bytes().to_vec();
    bytes.extend((0..padding).map(|_| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as u8
    }));
    builder.with_file_contents(bytes, FileOptions::new(format!("/usr/share/{name}/content"))).unwrap();
    let path =
        directory.join(format!("{name}-{version}-{}.rpm", Sha256Digest::of(content.as_bytes()).short()));
    let mut file = std::fs::File::create(&path).unwrap();
    builder.build().unwrap().write(&mut file).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    path
}

pub fn path() -> RepositoryPath {
    RepositoryPath::parse(PATH).unwrap()
}

pub fn change(by: &str) -> Change {
    Change { by: by.to_owned(), why: "a test".to_owned(), at: "2026-11-24T10:00:00Z".parse().unwrap() }
}

pub fn publication(rpms: &[PathBuf], lock: &str) -> Publication {
    Publication {
        address: path().into(),
        driver_name: "doca-ofed".to_owned(),
        cell: Cell {
            train: TrainName::parse("lab-9.4").unwrap(),
            arch: Architecture::parse("x86_64").unwrap(),
            kernel: KernelRelease::parse("5.14.0-1.el9.x86_64").unwrap(),
            driver: DriverVersion::parse("3.2.0").unwrap(),
        },
        rpms: rpms.to_vec(),
        evidence: BTreeMap::from([("lock.json".to_owned(), format!("{{\"lock\":\"{lock}\"}}").into_bytes())]),
        consumers: ConsumerSettings { priority: 50, vendor: None },
        keys: String::new(),
        lock: Sha256Digest::of(lock.as_bytes()),
        run: RunId::parse(&format!("run-{lock}")).unwrap(),
        verdicts: None,
        lockstep: None,
        replace: false,
        accept: Accept::default(),
        change: change("tester@lab"),
    }
}

pub fn target(root: &Path) -> DirectoryTarget {
    DirectoryTarget::open(root, DirectoryOptions::default()).unwrap()
}

pub fn version_of(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Published(published) => {
            assert_eq!(published.warnings, Vec::<String>::new());
            published.version
        }
        Outcome::Unchanged { version } => panic!("unchanged: {version}"),
    }
}

/// Everything below a directory that is no link, with its bytes: to see that nothing changed.
pub fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_symlink() {
                found.insert(
                    path.clone(),
                    std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
                );
            } else {
                found.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Serves a directory on a free port for as long as the process lives; follows links, as it has to.
pub fn serve(root: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let root = root.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let root = root.clone();
            std::thread::spawn(move || drop(answer(stream, &root)));
        }
    });
    address
}

fn answer(stream: TcpStream, root: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let name = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').replace("%2B", "+");
    match std::fs::read(root.join(name)) {
        Ok(body) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
            stream.write_all(&body)
        }
        Err(_) => {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
    }
}

/// One request on a connection of its own; the status and the body.
pub fn get(address: SocketAddr, path: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    let split = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&response[..split]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, response[split + 4..].to_vec())
}
