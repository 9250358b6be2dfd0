//! A command in the middle of its work.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use super::processes::{Process, descendants};
use super::{Output, Site, events, names};

/// Longer than any of these runs takes on a busy host.
const LIMIT: Duration = Duration::from_secs(180);

/// A started command. It is killed when the test ends before it.
pub struct Running {
    child: Child,
    began: Instant,
    records: PathBuf,
    before: Vec<String>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    pub fn start(site: &Site, arguments: &[&str]) -> Self {
        let records = site.state().join("runs");
        let before = names(&records);
        let number = names(&site.path("")).len();
        let (stdout, stderr) =
            (site.path(&format!("stdout-{number}")), site.path(&format!("stderr-{number}")));
        let child = site
            .command(arguments)
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            // As a shell starts it: the keys of a terminal reach the whole group.
            .process_group(0)
            .spawn()
            .unwrap();
        Self { child, began: Instant::now(), records, before, stdout, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The journals of the runs that have begun since; this one's, where no other was started beside it.
    fn events(&self) -> Vec<Value> {
        let new = names(&self.records).into_iter().filter(|name| !self.before.contains(name));
        new.flat_map(|name| events(&self.records.join(name).join("journal.jsonl"))).collect()
    }

    /// Waits for an event; `false` where the command ended without it.
    pub fn reaches(&mut self, event: impl Fn(&Value) -> bool) -> bool {
        loop {
            let ended = self.child.try_wait().unwrap().is_some();
            if self.events().iter().any(&event) {
                return true;
            }
            if ended {
                return false;
            }
            assert!(self.began.elapsed() < LIMIT, "it never came to this event");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until it has started a process of this name, however deep; `false` where it ended without.
    pub fn runs(&mut self, name: &str) -> bool {
        loop {
            if self.descendants().iter().any(|process| process.name == name) {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(self.began.elapsed() < LIMIT, "it never started {name}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until standard error has this text.
    pub fn says(&mut self, text: &str) -> bool {
        loop {
            let ended = self.child.try_wait().unwrap().is_some();
            if std::fs::read_to_string(&self.stderr).unwrap().contains(text) {
                return true;
            }
            if ended {
                return false;
            }
            assert!(self.began.elapsed() < LIMIT, "it never said {text:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// To this process alone.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.raw_pid(), signal).unwrap();
    }

    /// To its whole group, as Ctrl-C does.
    pub fn signal_group(&self, signal: Signal) {
        kill_process_group(self.raw_pid(), signal).unwrap();
    }

    fn raw_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// Kills this process alone, as the kernel does when memory is short. What it had started at that moment.
    pub fn kill(mut self) -> Vec<Process> {
        let started = descendants(i32::try_from(self.child.id()).unwrap());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        started
    }

    pub fn descendants(&self) -> Vec<Process> {
        descendants(i32::try_from(self.child.id()).unwrap())
    }

    /// Waits for its end.
    pub fn end(mut self) -> Output {
        while self.child.try_wait().unwrap().is_none() {
            assert!(self.began.elapsed() < LIMIT, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        Output {
            code: self.child.wait().unwrap().code(),
            stdout: std::fs::read_to_string(&self.stdout).unwrap(),
            stderr: std::fs::read_to_string(&self.stderr).unwrap(),
            took: self.began.elapsed(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already, mostly.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
