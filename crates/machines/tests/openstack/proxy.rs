//! A proxy that spoils what the real services do not spoil by themselves.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What is done to a request.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// It is answered with a status, and never arrives.
    Status(u16),
    /// It is held back first.
    Slow(Duration),
    /// It arrives, and its answer does not.
    Mute,
}

#[derive(Debug)]
struct Plan {
    method: &'static str,
    path: &'static str,
    fault: Fault,
    times: usize,
}

/// Stands before one service.
pub struct Proxy {
    port: u16,
    plans: Arc<Mutex<Vec<Plan>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Before the service at `http://ADDRESS:PORT/…`.
    pub async fn before(url: &str) -> Self {
        let upstream = url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let plans: Arc<Mutex<Vec<Plan>>> = Arc::default();
        let shared = Arc::clone(&plans);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, upstream.clone(), Arc::clone(&shared)));
            }
        });
        Proxy { port, plans, task }
    }

    /// The address with the path of the service's own.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Spoils the next requests with a method, and with a text in their path.
    pub fn spoil(&self, method: &'static str, path: &'static str, fault: Fault, times: usize) {
        self.plans.lock().unwrap().push(Plan { method, path, fault, times });
    }

    /// How many of those to be spoiled have not come.
    pub fn left(&self) -> usize {
        self.plans.lock().unwrap().iter().map(|plan| plan.times).sum()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, upstream: String, plans: Arc<Mutex<Vec<Plan>>>) {
    let Some(request) = read(&mut client).await else { return };
    let head = String::from_utf8_lossy(&request).into_owned();
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let fault = next(&plans, method, path);
    match fault {
        Some(Fault::Status(status)) => {
            let body = r#"{"message": "spoiled"}"#;
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} Spoiled\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
                 connection: close\r\n\r\n{body}"
            );
            drop(client.write_all(answer.as_bytes()).await);
            return;
        }
        Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
        _ => {}
    }
    let Ok(mut server) = TcpStream::connect(&upstream).await else { return };
    if server.write_all(&request).await.is_err() {
        return;
    }
    let mut answer = Vec::new();
    drop(server.read_to_end(&mut answer).await);
    if !matches!(fault, Some(Fault::Mute)) {
        drop(client.write_all(&answer).await);
    }
}

fn next(plans: &Mutex<Vec<Plan>>, method: &str, path: &str) -> Option<Fault> {
    let mut plans = plans.lock().unwrap();
    let plan =
        plans.iter_mut().find(|plan| plan.times > 0 && plan.method == method && path.contains(plan.path))?;
    plan.times -= 1;
    Some(plan.fault)
}

/// One request, with a header that makes the service close the connection behind its answer.
async fn read(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0_u8; 8192];
    loop {
        let count = client.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        if bytes.len() >= end + 4 + length.unwrap_or(0) {
            let body = bytes.split_off(end);
            bytes.extend_from_slice(b"\r\nconnection: close");
            bytes.extend_from_slice(&body);
            return Some(bytes);
        }
    }
}
