//! What there is of drivetrain's in a project.

use serde_json::Value;

use super::client::{Client, Service};
use super::marks;
use super::problem::Result;
use crate::{Found, Lease, LeaseId, Resource};

pub(super) const SERVER: &str = "server";
pub(super) const FLOATING_IP: &str = "floating IP";
pub(super) const PORT: &str = "port";
pub(super) const VOLUME: &str = "volume";

/// A resource that has drivetrain's marks.
pub(super) struct Marked {
    pub(super) lease: Lease,
    pub(super) resource: Resource,
    /// All that the service says of it.
    pub(super) value: Value,
}

impl Marked {
    fn new(kind: &'static str, lease: Option<Lease>, value: Value) -> Option<Self> {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let name = if kind == FLOATING_IP { text("floating_ip_address") } else { text("name") };
        let resource = Resource { kind, id: text("id"), name };
        Some(Self { lease: lease?, resource, value })
    }
}

/// The servers. All of the project's are looked at: Nova's own filter by tags does not see a server in every moment of
/// its making, and one by name is a regular expression that not every database takes.
pub(super) async fn servers(client: &Client) -> Result<Vec<Marked>> {
    let doing = "list the servers";
    let servers = client.list(doing, Service::Compute, "servers/detail", &[], "servers").await?;
    let is_there = |server: &Value| !is_gone(server);
    let of = |value: Value| Marked::new(SERVER, marks::from_metadata(&value["metadata"]), value);
    Ok(servers.into_iter().filter(is_there).filter_map(of).collect())
}

/// Whether a server is there only for the records.
pub(super) fn is_gone(server: &Value) -> bool {
    ["DELETED", "SOFT_DELETED"].iter().any(|status| server["status"] == *status)
}

/// The ports. An administrator would be shown those of all projects.
pub(super) async fn ports(client: &Client) -> Result<Vec<Marked>> {
    const FIELDS: [&str; 5] = ["id", "name", "description", "fixed_ips", "device_id"];
    let project = client.session_repeatedly("list the ports").await?.project.clone();
    let mut query = vec![("project_id", project.as_str())];
    query.extend(FIELDS.map(|field| ("fields", field)));
    let ports = client.list("list the ports", Service::Network, "ports", &query, "ports").await?;
    Ok(ports.into_iter().filter_map(|value| described(PORT, value)).collect())
}

pub(super) async fn floating_ips(client: &Client) -> Result<Vec<Marked>> {
    let doing = "list the floating IPs";
    let project = client.session_repeatedly(doing).await?.project.clone();
    let query = [("project_id", project.as_str())];
    let all = client.list(doing, Service::Network, "floatingips", &query, "floatingips").await;
    match all {
        Ok(all) => Ok(all.into_iter().filter_map(|value| described(FLOATING_IP, value)).collect()),
        // A Neutron without routers has no floating IPs either.
        Err(failed) if failed.is_absent() => Ok(Vec::new()),
        Err(failed) => Err(failed),
    }
}

fn described(kind: &'static str, value: Value) -> Option<Marked> {
    let lease = marks::from_description(value["description"].as_str()?);
    Marked::new(kind, lease, value)
}

/// The volumes, where the cloud has such.
pub(super) async fn volumes(client: &Client) -> Result<Vec<Marked>> {
    if !client.has(Service::Volume).await? {
        return Ok(Vec::new());
    }
    let volumes = client.list("list the volumes", Service::Volume, "volumes/detail", &[], "volumes").await?;
    let of = |value: Value| Marked::new(VOLUME, marks::from_metadata(&value["metadata"]), value);
    Ok(volumes.into_iter().filter_map(of).collect())
}

/// Everything that has drivetrain's marks, in the order in which it is removed. Keypairs are not among it: none are
/// made.
pub(super) async fn everything(client: &Client) -> Result<Vec<Marked>> {
    let mut all = servers(client).await?;
    all.extend(floating_ips(client).await?);
    all.extend(ports(client).await?);
    all.extend(volumes(client).await?);
    Ok(all)
}

/// What is there of one lease, in the order in which it is removed.
pub(super) async fn of_lease(client: &Client, lease: &LeaseId) -> Result<Vec<Resource>> {
    let all = everything(client).await?;
    Ok(all.into_iter().filter(|marked| marked.lease.id == *lease).map(|marked| marked.resource).collect())
}

/// By lease. The first that tells of a lease is the one that tells most: a server.
pub(super) fn grouped(all: Vec<Marked>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for Marked { lease, resource, .. } in all {
        match found.iter_mut().find(|known| known.lease.id == lease.id) {
            Some(known) => known.resources.push(resource),
            None => found.push(Found { lease, resources: vec![resource] }),
        }
    }
    found
}
