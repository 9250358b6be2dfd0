use drivetrain_model::RunId;
use jiff::{SignedDuration, Timestamp};

use super::super::client::Patience;
use super::super::cloud::{Cloud, CloudSource, Outside};
use super::super::lookup::{Image, Named};
use super::super::options::Attach;
use super::*;
use crate::{Identity, Lease};

fn named(id: &str, name: &str) -> Named {
    Named { id: id.to_owned(), name: name.to_owned() }
}

fn parts() -> Parts {
    Parts {
        image: Image {
            named: named("image-1", "rocky-9"),
            status: "active".to_owned(),
            min_disk: 10,
            min_ram: 0,
            bytes: 1 << 30,
        },
        flavor: flavor(),
        attach: Attached::Network(named("network-1", "build-net")),
        floating_network: None,
        security_groups: Vec::new(),
    }
}

fn flavor() -> Flavor {
    Flavor { named: named("4", "b.medium"), vcpus: 4, ram: 4096, disk: 20 }
}

fn order() -> Order {
    let now = Timestamp::from_second(1_764_000_000).unwrap();
    let run = RunId::parse("run-1").unwrap();
    let mut lease = Lease::new(run, "jo@host".to_owned(), now, SignedDuration::from_hours(4));
    lease.id = "dt-0123456789ab".parse().unwrap();
    let identity = Identity {
        user_key: "user".to_owned(),
        host_key: "private".to_owned(),
        host_public_key: "host".to_owned(),
    };
    Order { lease, identity }
}

/// What is asked for, with user data left out.
fn requests(change: impl FnOnce(&mut OpenStackOptions)) -> (Value, Value) {
    let variables =
        [("OS_AUTH_URL", "http://k"), ("OS_USERNAME", "u"), ("OS_PASSWORD", "p"), ("OS_PROJECT_ID", "1")];
    let env =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let cloud = Cloud::find(&CloudSource::default(), &Outside { env: &env }).unwrap();
    let patience = Patience { answer: Duration::from_secs(1), service: Duration::from_secs(1) };
    let client = Client::new(cloud, patience).unwrap();
    let mut options = OpenStackOptions::new(
        CloudSource::default(),
        "rocky-9",
        "b.medium",
        Attach::Network("build-net".to_owned()),
    );
    change(&mut options);
    let (parts, order) = (parts(), order());
    let making = Making {
        client: &client,
        provider: "cloud",
        options: &options,
        parts: &parts,
        order: &order,
        notice: &|_: &str| {},
    };
    let plug = Plug { port: "port-1".to_owned(), address: None };
    match &options.root {
        RootDisk::Ephemeral => (Value::Null, server_request(&making, &plug, None)),
        RootDisk::Volume { gigabytes, kind } => {
            let volume = volume_request(&making, *gigabytes, kind.as_deref());
            (volume, server_request(&making, &plug, Some("volume-1")))
        }
    }
}

fn without_user_data(mut server: Value) -> Value {
    assert!(server["server"]["user_data"].take().as_str().unwrap().starts_with("I2Nsb3VkLWNvbmZpZw"));
    server
}

#[test]
fn a_server_is_asked_for_with_its_marks() {
    let (_, server) = requests(|options| options.availability_zone = Some("az1".to_owned()));
    insta::assert_snapshot!(format!("{:#}", without_user_data(server)), @r#"
    {
      "server": {
        "availability_zone": "az1",
        "config_drive": false,
        "flavorRef": "4",
        "imageRef": "image-1",
        "metadata": {
          "drivetrain_expires": "1764014400",
          "drivetrain_lease": "dt-0123456789ab",
          "drivetrain_made": "1764000000",
          "drivetrain_owner": "jo@host",
          "drivetrain_run": "run-1"
        },
        "name": "drivetrain-dt-0123456789ab",
        "networks": [
          {
            "port": "port-1"
          }
        ],
        "tags": [
          "drivetrain-builder"
        ],
        "user_data": null
      }
    }
    "#);
}

#[test]
fn a_disk_from_a_volume_is_a_volume_with_marks_that_goes_with_the_server() {
    let root = RootDisk::Volume { gigabytes: 40, kind: Some("ssd".to_owned()) };
    let (volume, server) = requests(|options| options.root = root);
    let volume = &volume["volume"];
    assert_eq!(
        (&volume["size"], &volume["imageRef"], &volume["volume_type"]),
        (&json!(40), &json!("image-1"), &json!("ssd"))
    );
    assert_eq!(marks::from_metadata(&volume["metadata"]), Some(order().lease));
    let server = without_user_data(server);
    assert_eq!(server["server"]["imageRef"], Value::Null);
    assert_eq!(
        server["server"]["block_device_mapping_v2"],
        json!([{ "boot_index": 0, "uuid": "volume-1", "source_type": "volume", "destination_type": "volume",
                 "delete_on_termination": true }])
    );
}

#[test]
fn a_servers_fault_is_a_lack_of_room_or_the_clouds() {
    let fault = |message: &str| server_error("cloud", &flavor(), &json!({ "code": 500, "message": message }));
    insta::assert_snapshot!(
        [fault("No valid host was found. There are not enough hosts available."),
         fault("Build of instance 1 aborted: Volume 2 did not finish being created"),
         server_error("cloud", &flavor(), &Value::Null)].map(|error| error.to_string()).join("\n"),
        @r"
    cloud has no room for the machine: no host takes the flavor b.medium (4 vCPUs, 4096 MiB of memory, 20 GB of disk): No valid host was found. There are not enough hosts available.; choose a smaller flavor or another availability zone, or wait until others need less
    cloud failed at: start the server (500 Build of instance 1 aborted: Volume 2 did not finish being created)
    cloud failed at: start the server (500 Nova does not say why)
    "
    );
}
