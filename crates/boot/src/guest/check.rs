//! Whether loaded modules do what they are for: RDMA over Ethernet in software, on a network device that is none.

use std::time::{Duration, Instant};

use super::Report;
use super::child::Tool;
use super::kernel::{self, KernelLog};
use super::netlink;
use crate::protocol::{Fact, GuestCheck, SYSTEM};

const NETDEV: &str = "dtdummy0";
const DEVICE: &str = "dtrxe0";
const PAUSE: Duration = Duration::from_millis(50);
/// How many messages go back and forth.
const ITERATIONS: &str = "200";
/// What is counted, and where.
const COUNTERS: [&str; 2] = ["sent_pkts", "rcvd_pkts"];

struct Check<'a> {
    wanted: &'a GuestCheck,
    patience: Duration,
    report: &'a mut Report,
    started: usize,
}

/// Makes a device, and sends messages from it to itself. Each step needs the one before it.
pub(super) fn rdma(wanted: &GuestCheck, patience: Duration, log: &mut KernelLog, report: &mut Report) {
    if let Err(error) = kernel::mount_all(SYSTEM) {
        let said = vec![error.to_string()];
        return report.say(&Fact::Step { step: "a system to check in".to_owned(), ok: false, ms: 0, said });
    }
    log.skip();
    let mut check = Check { wanted, patience, report, started: 0 };
    let done = check.make_device() && check.see_device() && check.send();
    if !done {
        let said = log.since();
        check.report.say(&Fact::Step { step: "what the kernel says".to_owned(), ok: false, ms: 0, said });
    }
}

impl Check<'_> {
    fn make_device(&mut self) -> bool {
        let ip = self.wanted.ip.clone();
        let steps: [(&str, Vec<&str>); 4] = [
            ("the loopback device is up", vec![&ip, "link", "set", "lo", "up"]),
            ("a network device is made", vec![&ip, "link", "add", NETDEV, "type", "dummy"]),
            ("it has an address", vec![&ip, "addr", "add", "10.231.0.1/24", "dev", NETDEV]),
            ("it is up", vec![&ip, "link", "set", NETDEV, "up"]),
        ];
        steps.iter().all(|(step, words)| self.command(step, words)) && self.add_link()
    }

    fn add_link(&mut self) -> bool {
        let started = Instant::now();
        let added = netlink::add_link(DEVICE, "rxe", NETDEV);
        let said = added.as_ref().err().map(|error| error.to_string()).into_iter().collect();
        self.say("an RDMA link is added to it", added.is_ok(), started, said)
    }

    fn see_device(&mut self) -> bool {
        let port = format!("/sys/class/infiniband/{DEVICE}/ports/1");
        self.until("its port is active", || {
            let state = kernel::text(&format!("{port}/state"))?;
            state.contains("ACTIVE").then(|| vec![state])
        }) && self.until("it has a verbs device", || {
            let verbs = std::fs::read_dir("/sys/class/infiniband_verbs").ok()?.flatten();
            let name = verbs.map(|entry| entry.file_name()).find(|name| {
                let owner = format!("/sys/class/infiniband_verbs/{}/ibdev", name.to_string_lossy());
                kernel::text(&owner).as_deref() == Some(DEVICE)
            })?;
            let node = format!("/dev/infiniband/{}", name.to_string_lossy());
            std::path::Path::new(&node).exists().then(|| vec![node])
        }) && self.until("it has an address to be reached at", || {
            let gid = kernel::text(&format!("{port}/gids/1"))?;
            (!gid.trim_matches(['0', ':']).is_empty()).then(|| vec![gid])
        })
    }

    fn send(&mut self) -> bool {
        let before = COUNTERS.map(counter);
        let pingpong = self.wanted.pingpong.clone();
        let words = [pingpong.as_str(), "-d", DEVICE, "-g", "1", "-n", ITERATIONS];
        let server = match self.start(&words) {
            Ok(server) => server,
            Err(why) => return self.say("ibv_rc_pingpong as a server", false, Instant::now(), vec![why]),
        };
        // It listens at a port of its own, which nothing else of the guest does.
        let listens = self.until("ibv_rc_pingpong listens", || is_listening().then(Vec::new));
        let client = [&words[..], &["127.0.0.1"]].concat();
        let sent = listens && self.command("ibv_rc_pingpong sends and receives", &client);
        let started = Instant::now();
        let (ok, said) = server.finish(if sent { self.patience } else { Duration::ZERO });
        let served = self.say("ibv_rc_pingpong serves", ok, started, said);
        for (name, before) in COUNTERS.into_iter().zip(before) {
            let (before, after) = (before.unwrap_or_default(), counter(name).unwrap_or_default());
            self.report.say(&Fact::Counter { counter: name.to_owned(), before, after });
        }
        sent && served
    }

    fn start(&mut self, words: &[&str]) -> Result<Tool, String> {
        self.started += 1;
        Tool::start(words, &self.wanted.library_path, self.started)
    }

    fn command(&mut self, step: &str, words: &[&str]) -> bool {
        let started = Instant::now();
        let (ok, said) = match self.start(words) {
            Ok(tool) => tool.finish(self.patience),
            Err(why) => (false, vec![why]),
        };
        self.say(step, ok, started, said)
    }

    fn until(&mut self, step: &str, mut seen: impl FnMut() -> Option<Vec<String>>) -> bool {
        let started = Instant::now();
        loop {
            if let Some(said) = seen() {
                return self.say(step, true, started, said);
            }
            if started.elapsed() > self.patience {
                let said = vec![format!("not within {} s", self.patience.as_secs())];
                return self.say(step, false, started, said);
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn say(&mut self, step: &str, ok: bool, started: Instant, said: Vec<String>) -> bool {
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.report.say(&Fact::Step { step: step.to_owned(), ok, ms, said });
        ok
    }
}

fn counter(name: &str) -> Option<u64> {
    kernel::number(&format!("/sys/class/infiniband/{DEVICE}/ports/1/hw_counters/{name}"))
}

/// Whether somebody listens at ibv_rc_pingpong's port, 18515, over IPv4 or IPv6.
fn is_listening() -> bool {
    const PORT: &str = ":4853";
    const LISTEN: &str = "0A";
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|path| kernel::text(path)).any(|table| {
        table.lines().any(|line| {
            let mut words = line.split_whitespace().skip(1);
            words.next().is_some_and(|local| local.ends_with(PORT)) && words.nth(1) == Some(LISTEN)
        })
    })
}
