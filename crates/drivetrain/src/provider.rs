//! From the configuration to who makes machines, and to hosts that are there.

use std::sync::Arc;
use std::time::Duration;

use drivetrain_config::{BuilderKind, Config, MachineSettings, OpenStackServer, QemuMachine, SshHost};
use drivetrain_host::SshOptions;
use drivetrain_machines::{
    Attach, CloudSource, Leased, OpenStack, OpenStackOptions, Provider, Qemu, QemuOptions, RootDisk,
};
use drivetrain_model::ExitCode;

use crate::failure::{Failure, Result};

/// How long a machine that is being made may not answer before it is looked at.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// How the machines of a configuration are used; `None` where builds run on this host.
pub fn settings(config: &Config) -> Option<&MachineSettings> {
    match &config.builder.kind {
        BuilderKind::Sandbox => None,
        BuilderKind::Ssh { machine, .. }
        | BuilderKind::Qemu { machine, .. }
        | BuilderKind::OpenStack { machine, .. } => Some(machine),
    }
}

/// Who makes the machines of a configuration; `None` where none are made.
pub fn provider(config: &Config) -> Result<Option<Arc<dyn Provider>>> {
    match &config.builder.kind {
        BuilderKind::Sandbox | BuilderKind::Ssh { .. } => Ok(None),
        BuilderKind::Qemu { qemu, .. } => Ok(Some(Arc::new(Qemu::new(qemu_options(qemu))))),
        BuilderKind::OpenStack { openstack, .. } => {
            let cloud = OpenStack::new(openstack_options(openstack))
                .map_err(|error| Failure::of(ExitCode::Usage, &error))?;
            Ok(Some(Arc::new(cloud)))
        }
    }
}

fn qemu_options(qemu: &QemuMachine) -> QemuOptions {
    QemuOptions {
        image: qemu.image.clone(),
        memory: qemu.memory,
        cpus: qemu.cpus,
        disk: qemu.disk,
        user: qemu.user.clone(),
        firmware: qemu.firmware.clone(),
        directory: qemu.directory.clone(),
    }
}

fn openstack_options(server: &OpenStackServer) -> OpenStackOptions {
    let source = CloudSource { cloud: server.cloud.clone(), file: None };
    let attach = Attach::Network(server.network.clone());
    let mut options = OpenStackOptions::new(source, &server.image, &server.flavor, attach);
    options.user = server.user.clone();
    if let Some(gigabytes) = server.volume {
        options.root = RootDisk::Volume { gigabytes, kind: None };
    }
    options.floating_network = server.floating_ip.clone();
    options.security_groups = server.security_groups.clone();
    options.availability_zone = server.availability_zone.clone();
    options.config_drive = server.config_drive;
    options
}

/// How a host that is there is reached.
pub fn ssh_host(host: &SshHost) -> SshOptions {
    let mut options = SshOptions::new(&host.host);
    options.user = host.user.clone();
    options.port = host.port;
    options.identity = host.identity.clone();
    options.config = host.config.clone();
    options
}

/// How a machine is reached that was made for us: it is known by the key that it was given.
pub fn ssh_leased(leased: &Leased) -> SshOptions {
    let login = &leased.made.login;
    let mut options = SshOptions::new(&login.address);
    options.user = Some(login.user.clone());
    options.port = Some(login.port);
    options.identity = Some(leased.key.clone());
    options.host_key = Some(leased.host_key.clone());
    options.config = Some(leased.config.clone());
    options.connect_timeout = FIRST_ANSWER;
    options
}
