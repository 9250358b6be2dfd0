//! A wire between client and server that can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

#[derive(Default)]
struct Wire {
    /// Nobody gets through.
    down: AtomicBool,
    /// How many bytes from the server are let through before everything is cut, once; nothing where that is 0.
    fuse: AtomicU64,
    sockets: Mutex<Vec<TcpStream>>,
    cuts: AtomicU64,
}

pub struct Proxy {
    pub port: u16,
    wire: Arc<Wire>,
}

impl Proxy {
    /// Its threads end with the test.
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Arc::new(Wire::default());
        let shared = Arc::clone(&wire);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if !shared.down.load(Ordering::SeqCst) {
                    join(&shared, client, server);
                }
            }
        });
        Self { port, wire }
    }

    /// Cuts all connections; new ones get through.
    pub fn cut(&self) {
        self.wire.cut();
    }

    /// Cuts all connections when this many bytes more have come from the server.
    pub fn cut_after(&self, bytes: u64) {
        self.wire.fuse.store(bytes, Ordering::SeqCst);
    }

    /// Cuts all connections, and lets none through until told otherwise.
    pub fn set_down(&self, down: bool) {
        self.wire.down.store(down, Ordering::SeqCst);
        if down {
            self.cut();
        }
    }

    /// How often it was cut.
    pub fn cuts(&self) -> u64 {
        self.wire.cuts.load(Ordering::SeqCst)
    }
}

impl Wire {
    fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
        for socket in self.sockets.lock().unwrap().drain(..) {
            socket.shutdown(Shutdown::Both).ok();
        }
    }

    /// Whether these bytes burn the fuse.
    fn burns(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let left = self.fuse.load(Ordering::SeqCst);
        if left == 0 {
            return false;
        }
        self.fuse.store(left.saturating_sub(bytes), Ordering::SeqCst);
        left <= bytes
    }
}

fn join(wire: &Arc<Wire>, client: TcpStream, server: u16) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let mut sockets = wire.sockets.lock().unwrap();
    sockets.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let wire = Arc::clone(wire);
        thread::spawn(move || pass(&wire, from, to));
    }
}

fn pass(wire: &Wire, mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if wire.burns(count) {
            wire.cut();
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Both).ok();
    from.shutdown(Shutdown::Both).ok();
}
