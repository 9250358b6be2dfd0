//! A real sshd on the loopback address, for one test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::processes::descendants;

const SSHD: &str = "/usr/sbin/sshd";

/// A server that lets root in with one key.
pub struct Sshd {
    directory: PathBuf,
    process: Child,
    pub port: u16,
}

impl Sshd {
    /// In a directory of its own below this one; `None`, told, where there cannot be one.
    pub fn start(below: &Path) -> Option<Self> {
        Self::without(below, &[])
    }

    /// The same, and who logs in does not find these programs.
    pub fn without(below: &Path, programs: &[&str]) -> Option<Self> {
        if !Path::new(SSHD).exists() || fs::metadata("/proc/self").unwrap().uid() != 0 {
            println!("skipped: this takes root and the package openssh-server");
            return None;
        }
        let directory = below.join("sshd");
        fs::create_dir(&directory).unwrap();
        // Its package makes it when the service starts.
        fs::create_dir_all("/run/sshd").unwrap();
        for key in ["host", "user"] {
            keygen(&directory.join(key));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let place = directory.display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host\nAuthorizedKeysFile {place}/user.pub\n\
             PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nMaxStartups 50\n\
             AcceptEnv LANG LC_*\n"
        );
        fs::write(directory.join("config"), config).unwrap();
        let hiding: String = programs
            .iter()
            .map(|program| {
                format!("! path=$(command -v {program}) || mount --bind /dev/null $(realpath $path)\n")
            })
            .collect();
        let process = Command::new("unshare")
            .args(["--mount", "sh", "-ec", &format!("{hiding}exec \"$@\""), "sh", SSHD, "-D", "-f"])
            .arg(directory.join("config"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { directory, process, port };
        server.write_known(&server.host_key());
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "no sshd");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    /// Ends all connections, as a network does; how many processes that were. What runs at their end goes on.
    pub fn drop_connections(&self) -> usize {
        let all = descendants(i32::try_from(self.process.id()).unwrap());
        let sessions = all.iter().filter(|process| process.name.starts_with("sshd"));
        sessions
            .filter(|process| kill_process(Pid::from_raw(process.pid).unwrap(), Signal::KILL).is_ok())
            .count()
    }

    /// Its public key: type and base64.
    pub fn host_key(&self) -> String {
        let line = fs::read_to_string(self.directory.join("host.pub")).unwrap();
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// Another key than its own.
    pub fn other_key(&self) -> String {
        let line = fs::read_to_string(self.directory.join("user.pub")).unwrap();
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// Has the user know the server by this key.
    pub fn write_known(&self, key: &str) {
        let known = format!("[127.0.0.1]:{} {key}\n", self.port);
        fs::write(self.directory.join("known"), known).unwrap();
        let place = self.directory.display();
        let config = format!(
            "Host builder-3\n  HostName 127.0.0.1\n  Port {}\n  User root\n  IdentityFile {place}/user\n  \
             UserKnownHostsFile {place}/known\n",
            self.port
        );
        fs::write(self.directory.join("ssh_config"), config).unwrap();
    }

    /// The `builder` section for it, with its things in a directory.
    pub fn section(&self, directory: &Path) -> String {
        format!(
            "  kind: ssh\n  ssh: {{host: builder-3, config: {}/ssh_config}}\n  machine: {{directory: {}}}",
            self.directory.display(),
            directory.display()
        )
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn keygen(path: &Path) {
    let arguments = ["-q", "-t", "ed25519", "-N", "", "-f"];
    assert!(Command::new("ssh-keygen").args(arguments).arg(path).status().unwrap().success());
}
