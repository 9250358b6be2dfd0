//! Builders that are other machines.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::{optional, packages, path};
use crate::fields::{Field, Fields, Key, key};
use crate::parse::Context;
use crate::problems::{Problems, quote};
use crate::{BuilderKind, MachineSettings, OpenStackServer, Prepare, QemuMachine, SshHost};

const SSH: &[Key] = &[
    key("host", "the host's name, address, or name in the ssh configuration"),
    key("user", "the user to log in as"),
    key("port", "the port of its sshd"),
    key("identity", "the private key"),
    key("config", "another ssh configuration than the user's"),
];

const QEMU: &[Key] = &[
    key("image", "the disk image that machines begin from"),
    key("memory", "how many MiB of memory"),
    key("cpus", "how many processors"),
    key("disk", "the size of the disk in GiB"),
    key("user", "the user to log in as"),
    key("firmware", "the firmware of images that boot by UEFI"),
    key("directory", "where machines are while they are there"),
];

const OPENSTACK: &[Key] = &[
    key("cloud", "the cloud of clouds.yaml"),
    key("image", "the image, by name or id"),
    key("flavor", "the flavor, by name or id"),
    key("network", "the network, by name or id"),
    key("user", "the user to log in as"),
    key("volume", "the size in GiB of the volume to boot from"),
    key("floating_ip", "the external network of its floating IP"),
    key("security_groups", "its security groups"),
    key("availability_zone", "its availability zone"),
    key("config_drive", "whether it has a configuration drive"),
];

const MACHINE: &[Key] = &[
    key("directory", "where everything of drivetrain's is on it"),
    key("worker", "the program that is put there and run"),
    key("lease", "how many hours it is needed for at most"),
    key("patience", "how many minutes it may take to boot"),
    key("urls", "beginnings of URLs that it reaches under another name"),
];

const PREPARE: &[Key] = &[
    key("kayobe", "the site's Kayobe configuration, applied before all of the rest"),
    key("grow", "whether the root file system is grown to its disk"),
    key("repositories", "whether it knows the train's repositories and no others"),
    key("sync", "whether all packages are brought to the train's"),
    key("packages", "what builds take"),
    key("exec", "volumes that programs have to be executed on"),
    key("boot", "whether it has to run the kernel that is built for"),
];

/// What builds take on Enterprise Linux: compilers, rpmbuild with the macros by which packages are called kmod-NAME, and
/// what the sandbox is made of.
const PACKAGES: &[&str] = &[
    "bubblewrap",
    "cpio",
    "elfutils-libelf-devel",
    "gcc",
    "kernel-rpm-macros",
    "make",
    "patch",
    "perl-interpreter",
    "python3",
    "rpm-build",
    "util-linux",
];

const DIRECTORY: &str = "/var/lib/drivetrain-builder";
const MACHINES: &str = "/var/tmp/drivetrain-machines";
const LEASE: u32 = 6;
const PATIENCE: u32 = 15;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sandbox,
    Ssh,
    Qemu,
    OpenStack,
}

/// Where builds run.
pub(super) fn kind(
    fields: &Fields<'_>,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<BuilderKind> {
    let words = [
        ("sandbox", Kind::Sandbox),
        ("ssh", Kind::Ssh),
        ("qemu", Kind::Qemu),
        ("openstack", Kind::OpenStack),
    ];
    let kind = fields.get("kind").map_or(Some(Kind::Sandbox), |field| field.word(&words, problems))?;
    let strangers = strangers(fields, kind, problems);
    let built = match kind {
        Kind::Sandbox => Some(BuilderKind::Sandbox),
        Kind::Ssh => {
            let ssh = fields.require("ssh", problems).and_then(|field| ssh(&field, context, problems));
            let machine = machine(fields, None, context, problems);
            Some(BuilderKind::Ssh { ssh: ssh?, machine: machine? })
        }
        Kind::Qemu => {
            let qemu = fields.require("qemu", problems).and_then(|field| qemu(&field, context, problems));
            let machine = machine(fields, Some(Prepare::default()), context, problems);
            Some(BuilderKind::Qemu { qemu: qemu?, machine: machine? })
        }
        Kind::OpenStack => {
            let server = fields.require("openstack", problems).and_then(|field| openstack(&field, problems));
            let machine = machine(fields, Some(Prepare::default()), context, problems);
            Some(BuilderKind::OpenStack { openstack: Box::new(server?), machine: machine? })
        }
    };
    built.filter(|_| !strangers)
}

/// Whether there are keys of other kinds of builders; told.
fn strangers(fields: &Fields<'_>, kind: Kind, problems: &mut Problems<'_>) -> bool {
    let own: &[&str] = match kind {
        Kind::Sandbox => &["work"],
        Kind::Ssh => &["ssh", "machine", "prepare"],
        Kind::Qemu => &["qemu", "machine", "prepare"],
        Kind::OpenStack => &["openstack", "machine", "prepare"],
    };
    let all = ["work", "ssh", "qemu", "openstack", "machine", "prepare"];
    let mut found = false;
    for field in all.iter().filter(|name| !own.contains(name)).filter_map(|name| fields.get(name)) {
        found = true;
        let message = format!("{} is of no use to this kind of builder", field.path);
        problems.add(field.key, message, Some("leave it out, or choose another `kind`".to_owned()));
    }
    found
}

fn ssh(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<SshHost> {
    let fields = field.fields(SSH, problems)?;
    let host = fields.require("host", problems).and_then(|field| word(&field, problems));
    let user = optional(&fields, "user", |field| word(field, problems));
    let port = optional(&fields, "port", |field| field.number(1..=65535, problems));
    let identity = optional(&fields, "identity", |field| path(field, context, problems));
    let config = optional(&fields, "config", |field| path(field, context, problems));
    Some(SshHost {
        host: host?,
        user: user?,
        port: port?.and_then(|port| u16::try_from(port).ok()),
        identity: identity?,
        config: config?,
    })
}

fn qemu(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<QemuMachine> {
    let fields = field.fields(QEMU, problems)?;
    let image = fields.require("image", problems).and_then(|field| path(&field, context, problems));
    let memory = optional(&fields, "memory", |field| field.number(256..=1 << 20, problems));
    let cpus = optional(&fields, "cpus", |field| field.number(1..=512, problems));
    let disk = optional(&fields, "disk", |field| field.number(1..=65536, problems));
    let user = optional(&fields, "user", |field| word(field, problems));
    let firmware = optional(&fields, "firmware", |field| path(field, context, problems));
    let directory = optional(&fields, "directory", |field| path(field, context, problems));
    Some(QemuMachine {
        image: image?,
        memory: memory?.unwrap_or(4096),
        cpus: cpus?.unwrap_or(2),
        disk: disk?,
        user: user?.unwrap_or_else(|| "root".to_owned()),
        firmware: firmware?,
        directory: directory?.unwrap_or_else(|| MACHINES.into()),
    })
}

fn openstack(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<OpenStackServer> {
    let fields = field.fields(OPENSTACK, problems)?;
    let image = name("image", &fields, problems);
    let flavor = name("flavor", &fields, problems);
    let network = name("network", &fields, problems);
    let cloud = optional(&fields, "cloud", |field| text(field, problems));
    let user = optional(&fields, "user", |field| word(field, problems));
    let volume = optional(&fields, "volume", |field| field.number(1..=65536, problems));
    let floating_ip = optional(&fields, "floating_ip", |field| text(field, problems));
    let groups = optional(&fields, "security_groups", |field| {
        field.list(("a security group", "security groups"), problems, |text| Ok::<_, String>(text.to_owned()))
    });
    let zone = optional(&fields, "availability_zone", |field| text(field, problems));
    let config_drive = optional(&fields, "config_drive", |field| field.boolean(problems));
    Some(OpenStackServer {
        cloud: cloud?,
        image: image?,
        flavor: flavor?,
        network: network?,
        user: user?.unwrap_or_else(|| "root".to_owned()),
        volume: volume?,
        floating_ip: floating_ip?,
        security_groups: groups?.unwrap_or_default(),
        availability_zone: zone?,
        config_drive: config_drive?.unwrap_or(true),
    })
}

fn name(key: &str, fields: &Fields<'_>, problems: &mut Problems<'_>) -> Option<String> {
    fields.require(key, problems).and_then(|field| text(&field, problems))
}

fn text(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<String> {
    field.text("a name", problems).map(str::to_owned)
}

/// A word that goes into a command: of characters that no program takes for an option, or a shell for its own.
fn word(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<String> {
    field.parsed("a name", problems, |text| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:[]%".contains(c);
        if text.starts_with('-') || !text.chars().all(is_plain) {
            Err(format!("{} cannot be the name of a host or user", quote(text)))
        } else {
            Ok(text.to_owned())
        }
    })
}

fn machine(
    fields: &Fields<'_>,
    prepare: Option<Prepare>,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<MachineSettings> {
    let prepare = match fields.get("prepare") {
        None => Some(prepare),
        Some(field) => self::prepare(&field, context, problems).map(Some),
    };
    let mut settings = MachineSettings {
        directory: DIRECTORY.into(),
        worker: None,
        lease: LEASE,
        patience: PATIENCE,
        urls: BTreeMap::new(),
        prepare: None,
    };
    if let Some(field) = fields.get("machine") {
        let fields = field.fields(MACHINE, problems)?;
        let directory = optional(&fields, "directory", |field| plain_path(field, problems));
        let worker = optional(&fields, "worker", |field| path(field, context, problems));
        let lease = optional(&fields, "lease", |field| field.number(1..=168, problems));
        let patience = optional(&fields, "patience", |field| field.number(1..=240, problems));
        let urls = optional(&fields, "urls", |field| urls(field, problems));
        settings.directory = directory?.unwrap_or(settings.directory);
        settings.worker = worker?;
        settings.lease = lease?.unwrap_or(LEASE);
        settings.patience = patience?.unwrap_or(PATIENCE);
        settings.urls = urls?.unwrap_or_default();
    }
    settings.prepare = prepare?;
    Some(settings)
}

/// A path on another machine, which its shell is told.
fn plain_path(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<Utf8PathBuf> {
    field.parsed("a path", problems, |text| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
        let path = Utf8Path::new(text);
        let climbs = path.components().any(|part| part.as_str() == "..");
        if !path.is_absolute() || climbs || !text.chars().all(is_plain) {
            Err(format!("{} must be an absolute path of letters, digits and ./_-+", quote(text)))
        } else {
            Ok(path.to_owned())
        }
    })
}

fn urls(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<BTreeMap<String, String>> {
    let mut urls = BTreeMap::new();
    let entries = field.entries("URLs", problems)?;
    let total = entries.len();
    for entry in entries {
        let from = entry.name(&field.path).to_owned();
        if let Some(to) = text(&entry, problems) {
            urls.insert(from, to);
        }
    }
    (urls.len() == total).then_some(urls)
}

fn prepare(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<Prepare> {
    let fields = field.fields(PREPARE, problems)?;
    let kayobe = optional(&fields, "kayobe", |field| super::kayobe::read(field, context, problems));
    // Disks, repositories and the state of packages are what a site's configuration is about.
    let is_configured = fields.get("kayobe").is_some();
    let default = Prepare::default();
    let default = Prepare {
        grow: default.grow && !is_configured,
        repositories: default.repositories && !is_configured,
        sync: default.sync && !is_configured,
        ..default
    };
    let grow = optional(&fields, "grow", |field| field.boolean(problems));
    let repositories = optional(&fields, "repositories", |field| field.boolean(problems));
    let sync = optional(&fields, "sync", |field| field.boolean(problems));
    let boot = optional(&fields, "boot", |field| field.boolean(problems));
    let packages = optional(&fields, "packages", |field| packages(field, problems));
    let exec = optional(&fields, "exec", |field| {
        let items = field.items("mount points", problems)?;
        items.iter().map(|item| plain_path(item, problems)).collect::<Option<Vec<_>>>()
    });
    Some(Prepare {
        kayobe: kayobe?.map(Box::new),
        grow: grow?.unwrap_or(default.grow),
        repositories: repositories?.unwrap_or(default.repositories),
        sync: sync?.unwrap_or(default.sync),
        packages: packages?.unwrap_or(default.packages),
        exec: exec?.unwrap_or(default.exec),
        boot: boot?.unwrap_or(default.boot),
    })
}

impl Default for Prepare {
    fn default() -> Self {
        Self {
            kayobe: None,
            grow: true,
            repositories: true,
            sync: true,
            packages: PACKAGES.iter().map(|name| (*name).to_owned()).collect(),
            exec: Vec::new(),
            boot: true,
        }
    }
}
