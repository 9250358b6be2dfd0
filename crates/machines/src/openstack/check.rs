//! Whether a machine could be made, without making one.

use super::client::Service;
use super::lookup::{Attached, Flavor, Image, Looker, Parts};
use super::options::{OpenStackOptions, RootDisk};
use super::room::{Room, rooms};
use crate::{MachineError, Result};

/// Looks at all that a machine needs; what it would be, a line each.
pub(super) async fn check(looker: &Looker<'_>, options: &OpenStackOptions) -> Result<(Parts, Vec<String>)> {
    let failed = |failed: super::problem::Failed| failed.of(looker.provider);
    let session = looker.client.session_repeatedly("ask for a token").await.map_err(failed)?;
    let project = match looker.client.cloud.project {
        Some(_) => String::new(),
        None => format!(", project {}", session.project_name),
    };
    let mut lines = vec![format!("{}{project}, as {}", looker.provider, session.user)];
    cinder(looker, options).await?;
    let parts = looker.parts(options).await?;
    fits(&parts, &options.root)?;
    lines.push(image_line(&parts.image));
    lines.push(format!("flavor {}: {}", parts.flavor.named.name, parts.flavor.figures()));
    if let RootDisk::Volume { gigabytes, kind } = &options.root {
        let kind = kind.as_ref().map(|kind| format!(" of the type {kind}")).unwrap_or_default();
        lines.push(format!("a volume of {gigabytes} GB{kind} for its disk"));
    }
    lines.extend(network_lines(looker, &parts).await?);
    if let Some(zone) = &options.availability_zone {
        looker.availability_zone(zone).await?;
        lines.push(format!("availability zone {zone}"));
    }
    let rooms = rooms(looker.client, &parts, &options.root).await.map_err(failed)?;
    enough(looker, &rooms)?;
    lines.push(format!("quotas: {}", rooms.iter().map(Room::to_string).collect::<Vec<_>>().join(", ")));
    Ok((parts, lines))
}

/// A volume needs someone who makes it.
async fn cinder(looker: &Looker<'_>, options: &OpenStackOptions) -> Result<()> {
    let RootDisk::Volume { gigabytes, .. } = &options.root else { return Ok(()) };
    let there = looker.client.has(Service::Volume).await;
    if there.map_err(|failed| failed.of(looker.provider))? {
        return Ok(());
    }
    Err(MachineError::Configuration {
        what: format!("a disk from a volume of {gigabytes} GB"),
        why: format!("{} has no Cinder, and so no volumes", looker.provider),
        next: "take the flavor's own disk, or look at the region and the interface in clouds.yaml".to_owned(),
    })
}

fn fits(parts: &Parts, root: &RootDisk) -> Result<()> {
    let Parts { image, flavor, attach, .. } = parts;
    let image_name = &image.named.name;
    let refuse = |what: String, why: String, next: &str| {
        Err(MachineError::Configuration { what, why, next: next.to_owned() })
    };
    if image.status != "active" {
        let why = format!("Glance has it as {:?}, and only an active image starts a machine", image.status);
        return refuse(format!("the image {image_name:?}"), why, "wait for it, or choose another one");
    }
    let disk = match root {
        RootDisk::Ephemeral => flavor.disk,
        RootDisk::Volume { gigabytes, .. } => u64::from(*gigabytes),
    };
    let flavor_name = &flavor.named.name;
    // A flavor without a disk has one as large as the image, where it is allowed at all.
    let has_disk = disk > 0 || *root != RootDisk::Ephemeral;
    if has_disk && disk < image.min_disk {
        let why =
            format!("the image {image_name:?} needs {} GB of disk, and this has {disk}", image.min_disk);
        return refuse(disk_name(flavor, root), why, "choose a larger one");
    }
    if flavor.ram < image.min_ram {
        let why = format!(
            "the image {image_name:?} needs {} MiB of memory, and it has {}",
            image.min_ram, flavor.ram
        );
        return refuse(format!("the flavor {flavor_name:?}"), why, "choose a larger one");
    }
    if let Attached::Port { named, in_use: true, .. } = attach {
        let why = "a machine is connected to it already".to_owned();
        return refuse(
            format!("the port {:?}", named.name),
            why,
            "wait for that machine to go, or name a network instead",
        );
    }
    Ok(())
}

fn disk_name(flavor: &Flavor, root: &RootDisk) -> String {
    match root {
        RootDisk::Ephemeral => format!("the flavor {:?}", flavor.named.name),
        RootDisk::Volume { .. } => "the volume for the disk".to_owned(),
    }
}

fn image_line(image: &Image) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let size = image.bytes as f64 / f64::from(1 << 20);
    format!("image {} ({}, {size:.1} MiB)", image.named.name, image.named.id)
}

async fn network_lines(looker: &Looker<'_>, parts: &Parts) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    match &parts.attach {
        Attached::Network(network) => lines.push(format!("network {} ({})", network.name, network.id)),
        Attached::Port { named, address, .. } => {
            lines.push(format!(
                "port {} ({})",
                named.name,
                address.as_deref().unwrap_or("without an address")
            ));
        }
    }
    if let Some(external) = &parts.floating_network {
        lines.push(format!("a floating IP of {}", external.name));
        if let Attached::Network(network) = &parts.attach
            && !looker.gateway(network, external).await?
        {
            lines.push(format!(
                "no router between {} and {} can be seen: the floating IP may be refused",
                network.name, external.name
            ));
        }
    }
    if !parts.security_groups.is_empty() {
        let names: Vec<&str> = parts.security_groups.iter().map(|group| group.name.as_str()).collect();
        lines.push(format!("security groups {}", names.join(", ")));
    }
    Ok(lines)
}

fn enough(looker: &Looker<'_>, rooms: &[Room]) -> Result<()> {
    let lacking: Vec<String> = rooms.iter().filter(|room| !room.suffices()).map(Room::lack).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(MachineError::NoRoom {
        provider: looker.provider.to_owned(),
        why: lacking.join("; "),
        next:
            "remove what is not needed (`drivetrain gc`), choose a smaller flavor, or ask for a larger quota"
                .to_owned(),
    })
}
