//! From the names of the configuration to what they stand for.

use serde_json::Value;

use super::client::{Ask, Client, Service, with_query};
use super::names::there_is;
use super::options::{Attach, OpenStackOptions};
use super::problem::Failed;
use crate::{MachineError, Result};

/// What the names stand for.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) image: Image,
    pub(super) flavor: Flavor,
    pub(super) attach: Attached,
    pub(super) floating_network: Option<Named>,
    pub(super) security_groups: Vec<Named>,
}

/// Something with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) id: String,
    pub(super) name: String,
}

impl Named {
    fn of(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Self { id: text("id"), name: text("name") }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) named: Named,
    pub(super) status: String,
    /// What it needs, in GB and MiB.
    pub(super) min_disk: u64,
    pub(super) min_ram: u64,
    pub(super) bytes: u64,
}

/// Its figures are Nova's: MiB and GB.
#[derive(Debug, Clone)]
pub(super) struct Flavor {
    pub(super) named: Named,
    pub(super) vcpus: u64,
    pub(super) ram: u64,
    pub(super) disk: u64,
}

impl Flavor {
    pub(super) fn figures(&self) -> String {
        let cpus = if self.vcpus == 1 { "1 vCPU".to_owned() } else { format!("{} vCPUs", self.vcpus) };
        format!("{cpus}, {} MiB of memory, {} GB of disk", self.ram, self.disk)
    }
}

#[derive(Debug, Clone)]
pub(super) enum Attached {
    Network(Named),
    Port { named: Named, address: Option<String>, in_use: bool },
}

/// Whom messages are from.
pub(super) struct Looker<'a> {
    pub(super) client: &'a Client,
    pub(super) provider: &'a str,
}

impl Looker<'_> {
    /// All of them.
    pub(super) async fn parts(&self, options: &OpenStackOptions) -> Result<Parts> {
        let image = self.image(&options.image).await?;
        let flavor = self.flavor(&options.flavor).await?;
        let attach = match &options.attach {
            Attach::Network(network) => Attached::Network(Named::of(&self.network(network, false).await?)),
            Attach::Port(port) => self.port(port).await?,
        };
        let floating_network = match &options.floating_network {
            None => None,
            Some(network) => Some(Named::of(&self.network(network, true).await?)),
        };
        let security_groups = self.security_groups(&options.security_groups).await?;
        Ok(Parts { image, flavor, attach, floating_network, security_groups })
    }

    fn failed(&self, failed: Failed) -> MachineError {
        failed.of(self.provider)
    }

    fn missing(&self, what: &str, wanted: &str, next: String) -> MachineError {
        MachineError::Configuration {
            what: format!("the {what} {wanted:?}"),
            why: format!("{} does not have it", self.provider),
            next,
        }
    }

    /// The one that is meant: by id, or by a name that only one has.
    fn one<'v>(&self, kind: (&str, &str), wanted: &str, all: &'v [Value]) -> Result<&'v Value> {
        if let Some(found) = all.iter().find(|value| value["id"] == wanted) {
            return Ok(found);
        }
        let named: Vec<&Value> = all.iter().filter(|value| value["name"] == wanted).collect();
        match named.as_slice() {
            [one] => Ok(one),
            [] => {
                let names = all.iter().filter_map(|value| value["name"].as_str());
                Err(self.missing(kind.0, wanted, there_is(kind.1, wanted, names)))
            }
            several => {
                let ids: Vec<&str> = several.iter().filter_map(|value| value["id"].as_str()).collect();
                Err(MachineError::Configuration {
                    what: format!("the {} {wanted:?}", kind.0),
                    why: format!("{} are called so", several.len()),
                    next: format!("name one by its id: {}", ids.join(", ")),
                })
            }
        }
    }

    async fn image(&self, wanted: &str) -> Result<Image> {
        let doing = "look for the image";
        // Glance takes an operator for granted before a colon.
        let value = match wanted.contains(':') {
            true => None,
            false => self.image_called(doing, wanted).await?,
        };
        let value = match value {
            Some(value) => value,
            None => {
                let all = self.client.list(doing, Service::Image, "images", &[], "images").await;
                self.one(("image", "images"), wanted, &all.map_err(|failed| self.failed(failed))?)?.clone()
            }
        };
        let number = |key: &str| value[key].as_u64().unwrap_or_default();
        Ok(Image {
            named: Named::of(&value),
            status: value["status"].as_str().unwrap_or_default().to_owned(),
            min_disk: number("min_disk"),
            min_ram: number("min_ram"),
            bytes: number("size"),
        })
    }

    /// Clouds have thousands of images: the two ways to ask for one come first.
    async fn image_called(&self, doing: &str, wanted: &str) -> Result<Option<Value>> {
        let query = [("name", wanted)];
        let found = self.client.list(doing, Service::Image, "images", &query, "images").await;
        let found = found.map_err(|failed| self.failed(failed))?;
        if !found.is_empty() {
            return self.one(("image", "images"), wanted, &found).map(|value| Some(value.clone()));
        }
        if !looks_like_an_id(wanted) {
            return Ok(None);
        }
        match self.client.ask(&Ask::get(doing, Service::Image, format!("images/{wanted}"))).await {
            Ok(value) => Ok(Some(value)),
            Err(failed) if failed.is_absent() => Ok(None),
            Err(failed) => Err(self.failed(failed)),
        }
    }

    async fn flavor(&self, wanted: &str) -> Result<Flavor> {
        let doing = "look for the flavor";
        let all = self.client.list(doing, Service::Compute, "flavors/detail", &[], "flavors").await;
        let all = all.map_err(|failed| self.failed(failed))?;
        let value = self.one(("flavor", "flavors"), wanted, &all)?;
        let number = |key: &str| value[key].as_u64().unwrap_or_default();
        Ok(Flavor {
            named: Named::of(value),
            vcpus: number("vcpus"),
            ram: number("ram"),
            disk: number("disk"),
        })
    }

    async fn network(&self, wanted: &str, external: bool) -> Result<Value> {
        let doing = "look for the network";
        let query: &[(&str, &str)] = if external { &[("router:external", "true")] } else { &[] };
        let all = self.client.list(doing, Service::Network, "networks", query, "networks").await;
        let all = all.map_err(|failed| self.failed(failed))?;
        let kind = if external { ("external network", "external networks") } else { ("network", "networks") };
        self.one(kind, wanted, &all).cloned()
    }

    async fn port(&self, wanted: &str) -> Result<Attached> {
        let doing = "look for the port";
        let project = self.client.session_repeatedly(doing).await.map_err(|failed| self.failed(failed))?;
        let query = [("project_id", project.project.as_str())];
        let all = self.client.list(doing, Service::Network, "ports", &query, "ports").await;
        let all = all.map_err(|failed| self.failed(failed))?;
        let value = self.one(("port", "ports"), wanted, &all)?;
        let in_use = value["device_id"].as_str().is_some_and(|device| !device.is_empty());
        Ok(Attached::Port { named: Named::of(value), address: address_of(value), in_use })
    }

    async fn security_groups(&self, wanted: &[String]) -> Result<Vec<Named>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let doing = "look for the security groups";
        let session = self.client.session_repeatedly(doing).await.map_err(|failed| self.failed(failed))?;
        let query = [("project_id", session.project.as_str())];
        let all =
            self.client.list(doing, Service::Network, "security-groups", &query, "security_groups").await;
        let all = all.map_err(|failed| self.failed(failed))?;
        let kind = ("security group", "security groups");
        wanted.iter().map(|name| self.one(kind, name, &all).map(Named::of)).collect()
    }

    /// Whether the availability zone is there and takes machines.
    pub(super) async fn availability_zone(&self, wanted: &str) -> Result<()> {
        let ask = Ask::get("look for the availability zone", Service::Compute, "os-availability-zone");
        let zones = self.client.ask(&ask).await.map_err(|failed| self.failed(failed))?;
        let zones = zones["availabilityZoneInfo"].as_array().map(Vec::as_slice).unwrap_or_default();
        let available = |zone: &&Value| zone["zoneState"]["available"] == true;
        let names = || zones.iter().filter(available).filter_map(|zone| zone["zoneName"].as_str());
        if names().any(|name| name == wanted) {
            return Ok(());
        }
        Err(self.missing("availability zone", wanted, there_is("availability zones", wanted, names())))
    }

    /// Whether a floating IP of the external network can get to the network: what Neutron would say only once a port
    /// is there.
    pub(super) async fn gateway(&self, network: &Named, external: &Named) -> Result<bool> {
        let doing = "look for a router between the networks";
        let path = with_query(
            "ports",
            &[("network_id", &network.id), ("fields", "device_id"), ("fields", "device_owner")],
        );
        let ports = self.client.ask(&Ask::get(doing, Service::Network, path)).await;
        let ports = ports.map_err(|failed| self.failed(failed))?;
        let routers: Vec<&str> = ports["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|port| {
                port["device_owner"].as_str().is_some_and(|owner| owner.contains("router_interface"))
            })
            .filter_map(|port| port["device_id"].as_str())
            .collect();
        for router in routers {
            let ask = Ask::get(doing, Service::Network, format!("routers/{router}"));
            match self.client.ask(&ask).await {
                Ok(value) if value["router"]["external_gateway_info"]["network_id"] == *external.id => {
                    return Ok(true);
                }
                Ok(_) => {}
                // A router of another project, which may well lead there.
                Err(failed) if failed.is_absent() => return Ok(true),
                Err(failed) => return Err(self.failed(failed)),
            }
        }
        Ok(false)
    }
}

/// The address of a port, IPv4 before IPv6.
pub(super) fn address_of(port: &Value) -> Option<String> {
    let addresses: Vec<&str> =
        port["fixed_ips"].as_array()?.iter().filter_map(|fixed| fixed["ip_address"].as_str()).collect();
    let first = addresses.iter().find(|address| !address.contains(':')).or(addresses.first());
    first.map(|address| (*address).to_owned())
}

/// A UUID.
fn looks_like_an_id(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}
