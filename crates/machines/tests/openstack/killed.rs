//! A client that is killed at any moment leaves nothing that is not found, and nobody else's is touched.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use drivetrain_lab::openstack::{Service, Who};
use drivetrain_machines::{OpenStack, Provider as _};
use serde_json::json;

use crate::cloud::{Cloud, cloud, order};

/// How often a client is killed, unless DRIVETRAIN_KILLS says otherwise.
const KILLS: usize = 10;
/// Says to the process that is killed where the cloud is.
const CLOUDS: &str = "DRIVETRAIN_TEST_CLOUDS";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn a_client_that_is_killed_at_random_leaks_nothing() {
    let Some(cloud) = cloud().await else { return };
    let kills = std::env::var("DRIVETRAIN_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let foreign = foreign(&cloud);
    let file = cloud.file(&[]);
    let whole = lasts(&file);
    tidy(&cloud, &foreign).await;
    let mut at_work = 0;
    for _ in 0..kills {
        let after = Duration::from_millis(fastrand::u64(0..=u64::try_from(whole.as_millis()).unwrap()));
        let mut child = child(&file);
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
        at_work += usize::from(tidy(&cloud, &foreign).await > 0);
    }
    println!("killed {kills} times within {whole:?}, {at_work} times with something to remove");
    let id = foreign.id.as_str();
    cloud.ask(Who::Builder, "DELETE", Service::NovaApi, &format!("/servers/{id}"), None);
}

/// A server that somebody else has in the project.
struct Foreign {
    id: String,
}

fn foreign(cloud: &Cloud) -> Foreign {
    let first = |service, path: &str, key: &str| {
        cloud.ask(Who::Builder, "GET", service, path, None)[key][0]["id"].as_str().unwrap().to_owned()
    };
    let body = json!({ "server": {
        "name": "drivetrain-is-a-nice-name",
        "imageRef": first(Service::Glance, "/images?name=rocky-9", "images"),
        "flavorRef": first(Service::NovaApi, "/flavors", "flavors"),
        "networks": [{ "uuid": first(Service::Neutron, "/networks?name=build-net", "networks") }],
        "metadata": { "drivetrain_lease": "theirs" },
    }});
    let made = cloud.ask(Who::Builder, "POST", Service::NovaApi, "/servers", Some(&body));
    Foreign { id: made["server"]["id"].as_str().unwrap().to_owned() }
}

/// What comes later: finds by tags, and destroys. How many leases there were.
async fn tidy(cloud: &Cloud, foreign: &Foreign) -> usize {
    // What was sent before the kill may still arrive.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let provider = cloud.provider();
    let found = provider.list().await.unwrap();
    for one in &found {
        provider.destroy(&one.lease.id).await.unwrap();
    }
    assert_eq!(provider.list().await.unwrap(), []);
    let path = format!("/servers/{}", foreign.id);
    let seen = cloud.ask(Who::Builder, "GET", Service::NovaApi, &path, None);
    assert_ne!(seen["server"]["status"], "ERROR");
    // The foreign server, and the port that Nova made for it, which has no name.
    let mut left = cloud.inventory();
    left.retain(|line| line != "ports ");
    assert_eq!(left, ["servers drivetrain-is-a-nice-name"]);
    found.len()
}

fn child(file: &Utf8PathBuf) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::a_process_that_is_killed", "--ignored", "--nocapture"])
        .env(CLOUDS, file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// How long one takes that is not killed.
fn lasts(file: &Utf8PathBuf) -> Duration {
    let started = Instant::now();
    assert!(child(file).wait().unwrap().success());
    started.elapsed()
}

#[tokio::test]
#[ignore = "started by the test above"]
async fn a_process_that_is_killed() {
    let Ok(file) = std::env::var(CLOUDS) else { return };
    let source = drivetrain_machines::CloudSource { cloud: Some("lab".to_owned()), file: Some(file.into()) };
    let attach = drivetrain_machines::Attach::Network("build-net".to_owned());
    let mut options = drivetrain_machines::OpenStackOptions::new(source, "rocky-9", "b.small", attach);
    options.floating_network = Some("ext-net".to_owned());
    let provider = OpenStack::new(options).unwrap();
    let cancel = drivetrain_host::CancellationToken::new();
    provider.make(&order(), &|_: &str| {}, &cancel).await.unwrap();
}
