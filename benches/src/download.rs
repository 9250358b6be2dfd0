//! drivetrain's downloads, verified and stored, against `curl --parallel`, over loopback.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_fetch::{Downloader, Http, Request, Settings, Source, Store};
use drivetrain_model::Sha256Digest;
use fs_err as fs;

use crate::measure::{median, time};

/// How many at a time, on both sides: as the fetch stage does it.
const PARALLEL: usize = 8;

pub fn bench(pairs: usize, files: usize, megabytes: usize) -> Result<()> {
    let work = tempfile::tempdir()?;
    let work = Utf8Path::from_path(work.path()).context("a path that is no text")?;
    let served = work.join("served");
    fs::create_dir_all(&served)?;
    println!("making {files} files of {megabytes} MB…");
    let mut list = String::new();
    for number in 0..files {
        let content = noise(number as u64, megabytes * 1_000_000);
        list.push_str(&format!("{} {} f{number}\n", Sha256Digest::of(&content), content.len()));
        fs::write(served.join(format!("f{number}")), content)?;
    }
    fs::write(work.join("list"), &list)?;
    let server = Server::start(&served)?;
    let (mut walls, mut ratios) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        let (store, out) = (work.join(format!("store-{pair}")), work.join(format!("curl-{pair}")));
        fs::create_dir_all(&out)?;
        let ours = time(Command::new(std::env::current_exe()?).args([
            "fetch",
            &server.url,
            work.join("list").as_str(),
            store.as_str(),
        ]))?;
        let theirs = time(&mut curl(&server.url, files, &out))?;
        let (ours, theirs) = (ours.wall.as_secs_f64(), theirs.wall.as_secs_f64());
        walls.push((ours, theirs));
        ratios.push(theirs / ours);
        fs::remove_dir_all(&store)?;
        fs::remove_dir_all(&out)?;
    }
    let total = (files * megabytes) as f64;
    let speed = |walls: Vec<f64>| total / median(&walls);
    println!("download of {files} files of {megabytes} MB, {PARALLEL} at a time, median of {pairs} pairs");
    println!(
        "  drivetrain       {:8.0} MB/s, each verified by SHA-256 and stored",
        speed(walls.iter().map(|w| w.0).collect())
    );
    println!("  curl --parallel  {:8.0} MB/s", speed(walls.iter().map(|w| w.1).collect()));
    println!("  ratio            {:8.3}     goal: at least 0.5", median(&ratios));
    Ok(())
}

/// Bytes that nothing compresses, different for each file (xorshift64).
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn curl(url: &str, files: usize, out: &Utf8Path) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--parallel", "--parallel-max", &PARALLEL.to_string()]);
    for number in 0..files {
        command.args(["--output", out.join(format!("f{number}")).as_str(), &format!("{url}/f{number}")]);
    }
    command
}

/// Fetches a list of files into a store: the side of drivetrain's, in a process of its own.
pub fn fetch(url: &str, list: &Utf8Path, store: &Utf8Path) -> Result<()> {
    let requests = fs::read_to_string(list)?
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let (digest, size, name) = (
                words.next().context("digest")?,
                words.next().context("size")?,
                words.next().context("name")?,
            );
            let source = Source::new(format!("{url}/{name}").parse()?)?;
            Ok(Request {
                source,
                checksum: digest.parse::<Sha256Digest>()?.into(),
                size: Some(size.parse()?),
            })
        })
        .collect::<Result<Vec<Request>>>()?;
    let downloader = Downloader::new(Http::new(Settings::default()), Store::open(store.to_owned())?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let fetched = runtime.block_on(downloader.download_all(&requests, PARALLEL, &|_, _| ()))?;
    ensure!(fetched.len() == requests.len(), "{} of {} files", fetched.len(), requests.len());
    Ok(())
}

/// The lab's file server.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(root: &Utf8Path) -> Result<Self> {
        let program: Utf8PathBuf = crate::beside("drivetrain-lab")?;
        let mut child =
            Command::new(program).args(["serve", "--root", root.as_str()]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        Ok(Self { child, url: line.trim().trim_end_matches('/').to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
