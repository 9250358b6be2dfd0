//! An SSH server of the test's own, on the loopback address.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{SshMachine, SshOptions};

/// A server, its keys, and the key of the one user that it lets in.
pub struct Server {
    directory: tempfile::TempDir,
    process: Child,
    pub port: u16,
}

/// The server's world, where it is not the machine's own.
#[derive(Default)]
pub struct World<'a> {
    /// What `systemctl reboot` does, for a shell: `$boot` is the file of the boot id, `$stop` one that lets no server
    /// come back, `$sshd` the server's process.
    pub systemctl: Option<&'a str>,
    /// Lines for the server's configuration.
    pub config: &'a str,
    /// `/bin/sh` is bash, as it is on Rocky, and in `/tmp` and `/var/tmp` nothing can be executed, as hardened machines
    /// have it.
    pub hardened: bool,
}

impl Server {
    /// Nothing where there cannot be one.
    pub fn start() -> Option<Self> {
        Self::start_in(&World::default())
    }

    pub fn start_in(world: &World<'_>) -> Option<Self> {
        if !Utf8Path::new("/usr/sbin/sshd").exists() {
            println!("skipped: no sshd, which is in the package openssh-server");
            return None;
        }
        if fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap() != 0 {
            println!("skipped: only root can start a server that lets root in");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let process = launch(utf8(directory.path()), port, world);
        let server = Self { directory, process, port };
        server.wait();
        Some(server)
    }

    pub fn path(&self, name: &str) -> Utf8PathBuf {
        utf8(self.directory.path()).join(name)
    }

    /// Its public key, as options want it.
    pub fn host_key(&self) -> String {
        fs::read_to_string(self.path("host.pub")).unwrap()
    }

    /// How it is reached: without the configuration of whoever runs this test.
    pub fn options(&self) -> SshOptions {
        SshOptions {
            port: Some(self.port),
            user: Some("root".to_owned()),
            identity: Some(self.path("user")),
            host_key: Some(self.host_key()),
            config: Some(self.path("client.conf")),
            ..SshOptions::new("127.0.0.1")
        }
    }

    pub fn machine(&self) -> SshMachine {
        SshMachine::new(self.options()).unwrap()
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(
                Instant::now() < until,
                "no server: {}",
                fs::read_to_string(self.path("log")).unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        self.process.wait().ok();
    }
}

fn launch(directory: &Utf8Path, port: u16, world: &World<'_>) -> Child {
    // Its package makes it when the service starts.
    fs::create_dir_all("/run/sshd").unwrap();
    keygen(&directory.join("host"));
    keygen(&directory.join("user"));
    fs::copy(directory.join("user.pub"), directory.join("authorized")).unwrap();
    fs::write(directory.join("client.conf"), "").unwrap();
    fs::create_dir(directory.join("bin")).unwrap();
    // With that level, bash leaves out the ~/.bashrc of whoever runs this test.
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/authorized\n\
         PidFile {directory}/sshd.pid\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nMaxStartups 50\n\
         KbdInteractiveAuthentication no\nPermitRootLogin yes\n\
         SetEnv PATH={directory}/bin:/usr/sbin:/usr/bin:/sbin:/bin SHLVL=1\n{}\n",
        world.config
    );
    fs::write(directory.join("config"), config).unwrap();
    // A server that ends comes back, until it is told to stop.
    let serve = format!(
        "until [ -e {directory}/stop ]; do /usr/sbin/sshd -D -f {directory}/config -E {directory}/log; sleep 2; done"
    );
    let mut command = if world.systemctl.is_none() && !world.hardened {
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-f", directory.join("config").as_str(), "-E", directory.join("log").as_str()]);
        command
    } else {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-euc"]);
        command.arg(format!("{}{serve}", mounts(directory, world)));
        command
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().unwrap()
}

/// What makes the world another one.
fn mounts(directory: &Utf8Path, world: &World<'_>) -> String {
    let mut script = String::new();
    if world.hardened {
        script.push_str("mount --bind /bin/bash \"$(readlink -f /bin/sh)\"\n");
        for place in ["/tmp", "/var/tmp"] {
            let mount = format!("mount --bind {place} {place}\nmount -o remount,bind,noexec {place}\n");
            script.push_str(&mount);
        }
    }
    if let Some(systemctl) = world.systemctl {
        let boot = directory.join("boot");
        fs::write(&boot, fs::read("/proc/sys/kernel/random/uuid").unwrap()).unwrap();
        let fake = directory.join("bin/systemctl");
        let text = format!(
            "#!/bin/sh\nboot={boot}\nstop={directory}/stop\nsshd=$(cat {directory}/sshd.pid)\n{systemctl}\n"
        );
        fs::write(&fake, text).unwrap();
        fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        script.push_str(&format!("mount --bind {boot} /proc/sys/kernel/random/boot_id\n"));
    }
    script
}

fn keygen(path: &Utf8Path) {
    let arguments = ["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path.as_str()];
    assert!(Command::new("ssh-keygen").args(arguments).status().unwrap().success());
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

pub fn utf8(path: &std::path::Path) -> &Utf8Path {
    path.try_into().unwrap()
}
