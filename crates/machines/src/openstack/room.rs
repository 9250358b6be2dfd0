//! What a project has left of its quotas.

use serde_json::Value;

use super::client::{Ask, Client, Service};
use super::lookup::{Attached, Flavor, Parts};
use super::options::RootDisk;
use super::problem::Result;

/// One quota against what a machine takes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Room {
    what: &'static str,
    used: i64,
    /// Below zero where there is none.
    limit: i64,
    wanted: i64,
}

impl Room {
    fn new(what: &'static str, wanted: u64, used: Option<i64>, limit: Option<i64>) -> Option<Self> {
        Some(Self { what, used: used?, limit: limit?, wanted: i64::try_from(wanted).unwrap_or(i64::MAX) })
    }

    pub(super) fn suffices(&self) -> bool {
        self.limit < 0 || self.used.saturating_add(self.wanted) <= self.limit
    }

    /// For a lack of it.
    pub(super) fn lack(&self) -> String {
        format!(
            "the quota of {} is {}, {} are used, and the machine takes {}",
            self.what, self.limit, self.used, self.wanted
        )
    }
}

impl std::fmt::Display for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.limit {
            ..0 => write!(f, "{} {} of any number", self.what, self.used),
            limit => write!(f, "{} {} of {limit}", self.what, self.used),
        }
    }
}

/// All quotas that a machine is counted against. A service that does not tell its own is not asked twice.
pub(super) async fn rooms(client: &Client, parts: &Parts, root: &RootDisk) -> Result<Vec<Room>> {
    let mut rooms = compute(client, &parts.flavor).await?;
    rooms.extend(network(client, parts).await?);
    if let RootDisk::Volume { gigabytes, .. } = root {
        rooms.extend(volume(client, u64::from(*gigabytes)).await?);
    }
    Ok(rooms)
}

async fn compute(client: &Client, flavor: &Flavor) -> Result<Vec<Room>> {
    let limits = client.ask(&Ask::get("ask for Nova's quotas", Service::Compute, "limits")).await?;
    Ok(compute_rooms(&limits["limits"]["absolute"], flavor))
}

fn compute_rooms(absolute: &Value, flavor: &Flavor) -> Vec<Room> {
    let room = |what, wanted, used: &str, limit: &str| {
        Room::new(what, wanted, absolute[used].as_i64(), absolute[limit].as_i64())
    };
    let rooms = [
        room("instances", 1, "totalInstancesUsed", "maxTotalInstances"),
        room("cores", flavor.vcpus, "totalCoresUsed", "maxTotalCores"),
        room("memory (MiB)", flavor.ram, "totalRAMUsed", "maxTotalRAMSize"),
    ];
    rooms.into_iter().flatten().collect()
}

async fn network(client: &Client, parts: &Parts) -> Result<Vec<Room>> {
    let doing = "ask for Neutron's quotas";
    let project = client.session_repeatedly(doing).await?.project.clone();
    let path = format!("quotas/{project}/details");
    let quota = match client.ask(&Ask::get(doing, Service::Network, path)).await {
        Ok(answer) => answer["quota"].clone(),
        // Not every Neutron tells, and not everybody.
        Err(failed) if matches!(failed.status(), Some(403 | 404)) => Value::Null,
        Err(failed) => return Err(failed),
    };
    let ports = u64::from(matches!(parts.attach, Attached::Network(_)));
    let floating_ips = u64::from(parts.floating_network.is_some());
    let wanted = [("ports", "port", ports), ("floating IPs", "floatingip", floating_ips)];
    Ok(wanted
        .into_iter()
        .filter(|(.., wanted)| *wanted > 0)
        .filter_map(|(what, key, wanted)| {
            let used =
                quota[key]["used"].as_i64().map(|used| used + quota[key]["reserved"].as_i64().unwrap_or(0));
            Room::new(what, wanted, used, quota[key]["limit"].as_i64())
        })
        .collect())
}

async fn volume(client: &Client, gigabytes: u64) -> Result<Vec<Room>> {
    let limits = client.ask(&Ask::get("ask for Cinder's quotas", Service::Volume, "limits")).await?;
    Ok(volume_rooms(&limits["limits"]["absolute"], gigabytes))
}

fn volume_rooms(absolute: &Value, gigabytes: u64) -> Vec<Room> {
    let room = |what, wanted, used: &str, limit: &str| {
        Room::new(what, wanted, absolute[used].as_i64(), absolute[limit].as_i64())
    };
    let rooms = [
        room("volumes", 1, "totalVolumesUsed", "maxTotalVolumes"),
        room("gigabytes of volumes", gigabytes, "totalGigabytesUsed", "maxTotalVolumeGigabytes"),
    ];
    rooms.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::lookup::Named;
    use super::*;

    #[test]
    fn what_is_used_and_wanted_is_held_against_the_limit() {
        let flavor = Flavor {
            named: Named { id: "1".to_owned(), name: "b.medium".to_owned() },
            vcpus: 4,
            ram: 4096,
            disk: 20,
        };
        let absolute = json!({
            "maxTotalInstances": 10, "totalInstancesUsed": 9, "maxTotalCores": 20, "totalCoresUsed": 17,
            "maxTotalRAMSize": -1, "totalRAMUsed": 90_000,
        });
        let rooms = compute_rooms(&absolute, &flavor);
        let lacking: Vec<String> = rooms.iter().filter(|room| !room.suffices()).map(Room::lack).collect();
        assert_eq!(lacking, ["the quota of cores is 20, 17 are used, and the machine takes 4"]);
        assert_eq!(rooms[2].to_string(), "memory (MiB) 90000 of any number");

        // As Cinder answers.
        let absolute = json!({
            "totalSnapshotsUsed": 0, "maxTotalBackups": 10, "maxTotalVolumeGigabytes": 1000, "maxTotalSnapshots": 10,
            "maxTotalBackupGigabytes": 1000, "totalBackupGigabytesUsed": 0, "maxTotalVolumes": 10,
            "totalVolumesUsed": 10, "totalBackupsUsed": 0, "totalGigabytesUsed": 990,
        });
        let lacking: Vec<String> = volume_rooms(&absolute, 20).iter().map(Room::lack).collect();
        assert_eq!(
            lacking,
            [
                "the quota of volumes is 10, 10 are used, and the machine takes 1",
                "the quota of gigabytes of volumes is 1000, 990 are used, and the machine takes 20",
            ]
        );
    }
}
