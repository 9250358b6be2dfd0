//! How fast: not a test, a measurement.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Instant;

use drivetrain_fetch::Source;
use drivetrain_model::{Checksum, ChecksumAlgorithm};
use sha2::{Digest, Sha256};

use crate::support::Place;

const PIECE: usize = 1 << 20;
const PIECES: usize = 1 << 10;

/// `cargo test -p drivetrain-fetch --test it -- --ignored --nocapture speed`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of a minute"]
async fn one_gibibyte_over_loopback() {
    let piece: Vec<u8> = crate::support::bytes(PIECE);
    let begun = Instant::now();
    let mut hasher = Sha256::new();
    for _ in 0..PIECES {
        hasher.update(&piece);
    }
    let checksum = Checksum { algorithm: ChecksumAlgorithm::Sha256, hex: hex::encode(hasher.finalize()) };
    println!("sha256 alone: {:.2} s", begun.elapsed().as_secs_f64());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 4096];
            if stream.read(&mut request).unwrap() == 1 {
                return;
            }
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PIECE * PIECES).unwrap();
            for _ in 0..PIECES {
                stream.write_all(&piece).unwrap();
            }
        }
    });
    let begun = Instant::now();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut buffer = vec![0; PIECE];
    let mut left = PIECE * PIECES;
    while left > 0 {
        left = left.saturating_sub(stream.read(&mut buffer).unwrap());
    }
    drop(stream);
    println!("the bare socket: {:.2} s", begun.elapsed().as_secs_f64());
    for _ in 0..3 {
        let place = Place::new();
        let source = Source::parse(&format!("http://{address}/a")).unwrap();
        let begun = Instant::now();
        let size = Some((PIECE * PIECES) as u64);
        place.downloader.download(&source, &checksum, size, &|_| {}).await.unwrap();
        println!("into the store, on the disk: {:.2} s", begun.elapsed().as_secs_f64());
    }
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"q").unwrap();
    server.join().unwrap();
}
