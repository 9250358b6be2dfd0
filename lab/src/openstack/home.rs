//! The directory of a cloud, and how programs run in it.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::server::Options;
use crate::cmd::run;
use crate::enclosure::Enclosure;

/// What is written into a cloud with its address and settings: the name below `/lab/etc`, and the text.
pub(super) const FILES: &[(&str, &str)] = &[
    ("keystone.conf", include_str!("../../openstack/keystone.conf")),
    ("glance.conf", include_str!("../../openstack/glance.conf")),
    ("placement.conf", include_str!("../../openstack/placement.conf")),
    ("nova.conf", include_str!("../../openstack/nova.conf")),
    ("neutron.conf", include_str!("../../openstack/neutron.conf")),
    ("ml2.ini", include_str!("../../openstack/ml2.ini")),
    ("rabbit.conf", include_str!("../../openstack/rabbit.conf")),
    ("rabbit-plugins", "[].\n"),
    ("rabbit.sh", include_str!("../../openstack/rabbit.sh")),
    ("uwsgi.sh", include_str!("../../openstack/uwsgi.sh")),
    ("schema.sh", include_str!("../../openstack/schema.sh")),
    ("databases.sql", include_str!("../../openstack/databases.sql")),
    ("seed_keystone.py", include_str!("../../openstack/seed_keystone.py")),
    ("seed_cloud.py", include_str!("../../openstack/seed_cloud.py")),
];
const AUTH: &str = include_str!("../../openstack/auth.conf");
/// What services keep below `/lab/data`.
const DATA: [&str; 8] = ["images", "tasks", "staging", "nova", "neutron", "locks", "fernet", "credential"];
/// How many addresses are tried.
const ATTEMPTS: usize = 50;

/// Where a cloud has what, and where it listens.
#[derive(Debug, Clone)]
pub(super) struct Home {
    /// The root directory of its programs.
    pub(super) root: Utf8PathBuf,
    pub(super) logs: Utf8PathBuf,
    address: Ipv4Addr,
    /// Erlang's name server listens at 127.0.0.1, whatever it is told, and RabbitMQ looks at all addresses whether its
    /// second port is free: these are of their own in each cloud.
    broker: [u16; 2],
}

impl Home {
    pub(super) fn new(root: Utf8PathBuf, logs: Utf8PathBuf) -> Result<Self> {
        fs::create_dir_all(&logs)?;
        Ok(Home { root, logs, address: free_address()?, broker: free_ports()? })
    }

    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    /// The ports of Erlang's name server, and of RabbitMQ for other nodes.
    pub(super) fn broker_ports(&self) -> [String; 2] {
        self.broker.map(|port| port.to_string())
    }

    pub(super) fn log(&self, name: &str) -> Utf8PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// A program in the root directory.
    pub(super) fn command(&self, enclosure: &Enclosure, words: &[&str]) -> Command {
        let mut command = enclosure.command("chroot");
        command.arg(&self.root).args(["/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
        command
            .args(["HOME=/root", "LANG=C.UTF-8", "PYTHONWARNINGS=ignore", "PYTHONUNBUFFERED=1"])
            .args(words);
        command
    }

    /// SQL as the owner of the databases; what it gives, a row a line.
    pub(super) fn sql(&self, enclosure: &Enclosure, sql: &str) -> Result<String> {
        let client = ["mariadb", "--no-defaults", "--socket=/run/mysqld/mysqld.sock", "-NBe", sql];
        let rows =
            run(&mut self.command(enclosure, &client)).with_context(|| format!("running the SQL {sql}"))?;
        Ok(rows.trim_end().to_owned())
    }

    /// Mounts what programs expect to find in a root directory.
    pub(super) fn mount(&self, enclosure: &Enclosure) -> Result<()> {
        run(enclosure.command("mount").args(["-t", "proc", "proc"]).arg(self.root.join("proc")))?;
        run(enclosure.command("mount").args(["--rbind", "/dev"]).arg(self.root.join("dev")))?;
        Ok(())
    }

    /// Writes the settings. What the overlay shows can only be written where it is mounted.
    pub(super) fn write_settings(&self, enclosure: &Enclosure, options: &Options) -> Result<()> {
        let directories = DATA.map(|name| self.root.join("lab/data").join(name));
        run(enclosure.command("mkdir").arg("-p").arg(self.root.join("lab/etc")).args(directories))?;
        for (name, text) in FILES {
            self.write(enclosure, &format!("lab/etc/{name}"), &self.filled(text, options))?;
        }
        let scripts = ["rabbit.sh", "uwsgi.sh", "schema.sh"].map(|name| self.root.join("lab/etc").join(name));
        run(enclosure.command("chmod").arg("755").args(scripts))?;
        self.write(enclosure, "etc/hosts", &format!("{} localhost lab\n", self.address))
    }

    fn write(&self, enclosure: &Enclosure, path: &str, text: &str) -> Result<()> {
        let mut tee = enclosure.command("tee");
        crate::cmd::run_with_input(tee.arg(self.root.join(path)), text.as_bytes())?;
        Ok(())
    }

    fn filled(&self, text: &str, options: &Options) -> String {
        let address = self.address();
        let settings = [
            ("@AUTH@", AUTH.trim_end()),
            ("@DATABASE@", "mysql+pymysql://os:secret@localhost"),
            ("@SOCKET@", "unix_socket=/run/mysqld/mysqld.sock"),
            ("@BROKER@", "rabbit://guest:guest@@ADDRESS@:5672/"),
            ("@DRIVER@", &options.driver),
            ("@TOKEN_SECONDS@", &options.token_seconds.to_string()),
            ("@ADDRESS@", &address),
        ];
        settings.into_iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

/// Two ports that nobody has at the moment. Both at once, or the second might be the first.
fn free_ports() -> Result<[u16; 2]> {
    let listeners = [TcpListener::bind(("0.0.0.0", 0))?, TcpListener::bind(("0.0.0.0", 0))?];
    let [first, second] = listeners.map(|listener| listener.local_addr().map(|address| address.port()));
    Ok([first?, second?])
}

/// An address of the loopback network where nobody listens at OpenStack's ports.
fn free_address() -> Result<Ipv4Addr> {
    let candidates = std::iter::repeat_with(|| {
        let [.., third, fourth] = random().to_be_bytes();
        Ipv4Addr::new(127, 77, third, fourth)
    });
    candidates.take(ATTEMPTS).find(|address| is_free(*address)).context("no address of 127.77.0.0/16 is free")
}

fn is_free(address: Ipv4Addr) -> bool {
    [5000, 5672, 8774, 8778, 9292, 9696].iter().all(|port| TcpListener::bind((address, *port)).is_ok())
}

/// Random enough to keep clouds apart that start at once.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// The files that a root directory needs beside Debian's packages: an entry point of Neutron's.
pub(super) fn write_plugin(root: &Utf8Path) -> Result<()> {
    let modules = root.join("usr/lib/python3/dist-packages");
    let egg = modules.join("lab_ml2-1.egg-info");
    fs::create_dir_all(&egg)?;
    fs::write(modules.join("lab_ml2.py"), PLUGIN)?;
    fs::write(egg.join("PKG-INFO"), "Metadata-Version: 2.1\nName: lab-ml2\nVersion: 1\n")?;
    let entry = "[neutron.ml2.mechanism_drivers]\nlab = lab_ml2:LabMechanismDriver\n";
    fs::write(egg.join("entry_points.txt"), entry)?;
    Ok(())
}

pub(super) const PLUGIN: &str = include_str!("../../openstack/lab_ml2.py");
