//! Making a machine.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::client::{Ask, Client, Service, nonsense};
use super::lookup::{Attached, Flavor, Parts, address_of};
use super::marks;
use super::options::{OpenStackOptions, RootDisk};
use super::problem::{Failed, Fault};
use super::survey::{self, FLOATING_IP, Marked, PORT, SERVER, VOLUME};
use crate::{Login, MachineError, Made, Order, Resource, Result, TAG, user_data};

/// How often a server or volume is looked at, at first and later.
const LOOK: Duration = Duration::from_millis(500);
const LOOK_LATER: Duration = Duration::from_secs(5);
/// sshd's.
const SSH: u16 = 22;

/// One machine being made.
pub(super) struct Making<'a> {
    pub(super) client: &'a Client,
    pub(super) provider: &'a str,
    pub(super) options: &'a OpenStackOptions,
    pub(super) parts: &'a Parts,
    pub(super) order: &'a Order,
    pub(super) notice: &'a (dyn Fn(&str) + Send + Sync),
}

/// What a server is connected to.
struct Plug {
    port: String,
    address: Option<String>,
}

impl Making<'_> {
    /// Makes it: what may be refused first, what costs last.
    pub(super) async fn make(&self) -> Result<Made> {
        let mut resources = Vec::new();
        let plug = self.plug(&mut resources).await?;
        let floating = self.floating_ip(&plug, &mut resources).await?;
        let volume = self.volume(&mut resources).await?;
        self.server(&plug, volume.as_deref(), &mut resources).await?;
        let address = floating.or(plug.address).ok_or_else(|| self.not_up("its port has no address"))?;
        let login = Login { address, port: SSH, user: self.options.user.clone() };
        Ok(Made { login, resources })
    }

    fn failed(&self, failed: Failed) -> MachineError {
        failed.of(self.provider)
    }

    fn not_up(&self, why: &str) -> MachineError {
        MachineError::NotUp { lease: self.order.lease.id.to_string(), why: why.to_owned() }
    }

    fn name(&self) -> String {
        marks::name(&self.order.lease.id)
    }

    /// What is of this lease among what is marked.
    fn own(&self, all: Vec<Marked>) -> Option<Value> {
        all.into_iter().find(|marked| marked.lease.id == self.order.lease.id).map(|marked| marked.value)
    }

    /// The port: one that is there, or a new one.
    async fn plug(&self, resources: &mut Vec<Resource>) -> Result<Plug> {
        let network = match &self.parts.attach {
            Attached::Port { named, address, .. } => {
                return Ok(Plug { port: named.id.clone(), address: address.clone() });
            }
            Attached::Network(network) => network,
        };
        let mut port = json!({
            "network_id": network.id,
            "name": self.name(),
            "description": marks::description(&self.order.lease),
        });
        if !self.parts.security_groups.is_empty() {
            let ids: Vec<&str> = self.parts.security_groups.iter().map(|group| group.id.as_str()).collect();
            port["security_groups"] = json!(ids);
        }
        let ask = Ask::post("make a port", Service::Network, "ports", json!({ "port": port }));
        let find = || async {
            let found = self.own(survey::ports(self.client).await?);
            Ok(found.map(|port| json!({ "port": port })))
        };
        let answer = self.client.create(&ask, find).await.map_err(|failed| self.failed(failed))?;
        let id = self.id(&answer["port"], ask.doing)?;
        resources.push(Resource { kind: PORT, id: id.clone(), name: self.name() });
        Ok(Plug { port: id, address: address_of(&answer["port"]) })
    }

    /// The floating IP, where one is wanted; its address.
    async fn floating_ip(&self, plug: &Plug, resources: &mut Vec<Resource>) -> Result<Option<String>> {
        let Some(network) = &self.parts.floating_network else { return Ok(None) };
        let body = json!({ "floatingip": {
            "floating_network_id": network.id,
            "port_id": plug.port,
            "description": marks::description(&self.order.lease),
        }});
        let ask = Ask::post("make a floating IP", Service::Network, "floatingips", body);
        let find = || async {
            let found = self.own(survey::floating_ips(self.client).await?);
            Ok(found.map(|ip| json!({ "floatingip": ip })))
        };
        let answer = self.client.create(&ask, find).await.map_err(|failed| self.floating_refused(failed))?;
        let id = self.id(&answer["floatingip"], ask.doing)?;
        let address = answer["floatingip"]["floating_ip_address"].as_str().unwrap_or_default().to_owned();
        resources.push(Resource { kind: FLOATING_IP, id, name: address.clone() });
        Ok(Some(address))
    }

    fn floating_refused(&self, failed: Failed) -> MachineError {
        let why = failed.why();
        if !why.contains("not reachable") && !why.contains("ExternalGatewayForFloatingIPNotFound") {
            return self.failed(failed);
        }
        MachineError::Configuration {
            what: "a floating IP".to_owned(),
            why,
            next: "connect the network to the external one with a router, or do without a floating IP"
                .to_owned(),
        }
    }

    /// The volume for the disk, where it is to be one. Nova could make it, but not mark it.
    async fn volume(&self, resources: &mut Vec<Resource>) -> Result<Option<String>> {
        let RootDisk::Volume { gigabytes, kind } = &self.options.root else { return Ok(None) };
        let body = volume_request(self, *gigabytes, kind.as_deref());
        let ask = Ask::post("make a volume", Service::Volume, "volumes", body);
        let find = || async {
            let found = self.own(survey::volumes(self.client).await?);
            Ok(found.map(|volume| json!({ "volume": volume })))
        };
        let answer = self.client.create(&ask, find).await.map_err(|failed| self.failed(failed))?;
        let id = self.id(&answer["volume"], ask.doing)?;
        resources.push(Resource { kind: VOLUME, id: id.clone(), name: self.name() });
        self.wait(&Waiting::for_volume(&id)).await?;
        Ok(Some(id))
    }

    async fn server(&self, plug: &Plug, volume: Option<&str>, resources: &mut Vec<Resource>) -> Result<()> {
        let body = server_request(self, plug, volume);
        let ask = Ask::post("make a server", Service::Compute, "servers", body);
        let find = || async {
            let found = self.own(survey::servers(self.client).await?);
            Ok(found.map(|server| json!({ "server": server })))
        };
        let answer = self.client.create(&ask, find).await.map_err(|failed| self.failed(failed))?;
        let id = self.id(&answer["server"], ask.doing)?;
        resources.push(Resource { kind: SERVER, id: id.clone(), name: self.name() });
        self.wait(&Waiting::for_server(&id)).await
    }

    fn id(&self, value: &Value, doing: &str) -> Result<String> {
        let id = value["id"].as_str().map(str::to_owned);
        id.ok_or_else(|| self.failed(nonsense(doing, "what was made has no id".to_owned())))
    }

    /// Waits until it can be used.
    async fn wait(&self, waiting: &Waiting<'_>) -> Result<()> {
        let started = Instant::now();
        let mut last = String::new();
        let mut pause = LOOK;
        loop {
            let ask = Ask::get(waiting.doing, waiting.service, waiting.path.clone());
            let value = self.client.ask(&ask).await.map_err(|failed| self.vanished(failed, waiting))?;
            let value = &value[waiting.kind];
            let status = value["status"].as_str().unwrap_or("unknown");
            if status.eq_ignore_ascii_case(waiting.good) {
                return Ok(());
            }
            if status.to_lowercase().starts_with("error") {
                return Err(self.broken(waiting, value));
            }
            let state = state(value);
            if started.elapsed() > self.options.active_within {
                let seconds = self.options.active_within.as_secs();
                return Err(self.not_up(&format!("its {} is still {state} after {seconds} s", waiting.kind)));
            }
            if state != last {
                (self.notice)(&format!("the {} {} is {state}", waiting.kind, self.name()));
                last = state;
            }
            tokio::time::sleep(pause).await;
            pause = pause.mul_f32(1.3).min(LOOK_LATER);
        }
    }

    fn vanished(&self, failed: Failed, waiting: &Waiting<'_>) -> MachineError {
        if failed.is_absent() {
            return self.not_up(&format!("somebody else has removed its {}", waiting.kind));
        }
        self.failed(failed)
    }

    fn broken(&self, waiting: &Waiting<'_>, value: &Value) -> MachineError {
        match waiting.service {
            Service::Compute => server_error(self.provider, &self.parts.flavor, &value["fault"]),
            _ => MachineError::Provider {
                provider: self.provider.to_owned(),
                doing: waiting.doing.to_owned(),
                why: format!("the {} {} is in the state {}", waiting.kind, waiting.id, value["status"]),
            },
        }
    }
}

/// What is waited for.
struct Waiting<'a> {
    kind: &'static str,
    doing: &'static str,
    service: Service,
    id: &'a str,
    path: String,
    good: &'static str,
}

impl<'a> Waiting<'a> {
    fn for_server(id: &'a str) -> Self {
        let doing = "wait for the server";
        Self {
            kind: SERVER,
            doing,
            service: Service::Compute,
            id,
            path: format!("servers/{id}"),
            good: "ACTIVE",
        }
    }

    fn for_volume(id: &'a str) -> Self {
        let doing = "wait for the volume";
        Self {
            kind: VOLUME,
            doing,
            service: Service::Volume,
            id,
            path: format!("volumes/{id}"),
            good: "available",
        }
    }
}

/// `BUILD`, `BUILD (spawning)`.
fn state(value: &Value) -> String {
    let status = value["status"].as_str().unwrap_or("unknown");
    match value["OS-EXT-STS:task_state"].as_str() {
        Some(task) => format!("{status} ({task})"),
        None => status.to_owned(),
    }
}

fn volume_request(making: &Making<'_>, gigabytes: u32, kind: Option<&str>) -> Value {
    let mut volume = json!({
        "size": gigabytes,
        "name": making.name(),
        "description": marks::description(&making.order.lease),
        "imageRef": making.parts.image.named.id,
        "metadata": marks::metadata(&making.order.lease),
    });
    if let Some(kind) = kind {
        volume["volume_type"] = json!(kind);
    }
    json!({ "volume": volume })
}

fn server_request(making: &Making<'_>, plug: &Plug, volume: Option<&str>) -> Value {
    let Making { options, parts, order, .. } = making;
    let mut server = json!({
        "name": making.name(),
        "flavorRef": parts.flavor.named.id,
        "networks": [{ "port": plug.port }],
        "metadata": marks::metadata(&order.lease),
        "tags": [TAG],
        // It has the host's private key in it, and so is shown to nobody.
        "user_data": STANDARD.encode(user_data(&order.identity, &options.user)),
        "config_drive": options.config_drive,
    });
    match volume {
        None => server["imageRef"] = json!(parts.image.named.id),
        Some(volume) => {
            server["block_device_mapping_v2"] = json!([{
                "boot_index": 0,
                "uuid": volume,
                "source_type": "volume",
                "destination_type": "volume",
                "delete_on_termination": true,
            }]);
        }
    }
    if let Some(zone) = &options.availability_zone {
        server["availability_zone"] = json!(zone);
    }
    json!({ "server": server })
}

/// Why Nova gave a server up.
fn server_error(provider: &str, flavor: &Flavor, fault: &Value) -> MachineError {
    let said = fault["message"].as_str().unwrap_or("Nova does not say why").trim().to_owned();
    let code = fault["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
    let what = format!("no host takes the flavor {} ({})", flavor.named.name, flavor.figures());
    if said.contains("No valid host") {
        return MachineError::NoRoom {
            provider: provider.to_owned(),
            why: format!("{what}: {said}"),
            next: "choose a smaller flavor or another availability zone, or wait until others need less"
                .to_owned(),
        };
    }
    let fault = Fault::Answer { status: code, said, request: None };
    Failed { doing: "start the server".to_owned(), fault }.of(provider)
}

#[cfg(test)]
mod tests;
