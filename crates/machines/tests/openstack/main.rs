//! Against a real OpenStack: the lab's. Only its hypervisor is not one.
//!
//! `scripts/test --openstack` installs it and runs these; they share one cloud, and so run one after the other.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and may say why"
)]

mod cloud;
mod killed;
mod proxy;

use std::time::{Duration, Instant};

use drivetrain_host::CancellationToken;
use drivetrain_lab::openstack::{Options, Service, Who};
use drivetrain_machines::{
    Attach, CloudSource, MachineError, Made, OpenStack, OpenStackOptions, Order, Provider, RootDisk, TAG,
};
use serde_json::json;

use crate::cloud::{Cloud, cloud, order, settled};
use crate::proxy::{Fault, Proxy};

fn quiet(_: &str) {}

async fn make(provider: &OpenStack, order: &Order) -> Result<Made, MachineError> {
    provider.make(order, &quiet, &CancellationToken::new()).await
}

fn kinds(made: &[drivetrain_machines::Resource]) -> Vec<&str> {
    let mut kinds: Vec<&str> = made.iter().map(|resource| resource.kind).collect();
    kinds.sort_unstable();
    kinds
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn a_check_says_what_a_machine_would_be_and_makes_nothing() {
    let Some(cloud) = cloud().await else { return };
    let provider = cloud.provider_with(|options| {
        options.floating_network = Some("ext-net".to_owned());
        options.security_groups = vec!["default".to_owned()];
        options.availability_zone = Some("nova".to_owned());
    });
    let lines = provider.check().await.unwrap();
    insta::assert_snapshot!(settled(&lines.join("\n")), @r"
    OpenStack at http://ADDRESS:5000, region RegionOne, project builders, as builder
    image rocky-9 (ID, 1.0 MiB)
    flavor b.small: 1 vCPU, 1024 MiB of memory, 4 GB of disk
    network build-net (ID)
    a floating IP of ext-net
    security groups default
    availability zone nova
    quotas: instances 0 of 10, cores 0 of 20, memory (MiB) 0 of 51200, ports 1 of 500, floating IPs 0 of 50
    ");
    println!("a check takes {} calls", provider.calls());
    cloud.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn a_machine_is_made_found_and_destroyed_with_all_that_belongs_to_it() {
    let Some(cloud) = cloud().await else { return };
    let provider = cloud.provider_with(|options| {
        options.floating_network = Some("ext-net".to_owned());
        options.availability_zone = Some("nova".to_owned());
        options.config_drive = true;
    });
    provider.check().await.unwrap();
    let (order, before) = (order(), provider.calls());
    let notices = std::sync::Mutex::new(Vec::new());
    let notice = |text: &str| notices.lock().unwrap().push(text.to_owned());
    let started = Instant::now();
    let made = provider.make(&order, &notice, &CancellationToken::new()).await.unwrap();
    println!("made after {:?}, {} calls; {notices:?}", started.elapsed(), provider.calls() - before);
    assert!(made.login.address.starts_with("10.78.0."), "{:?}", made.login);
    assert_eq!((made.login.user.as_str(), made.login.port), ("rocky", 22));
    assert_eq!(kinds(&made.resources), ["floating IP", "port", "server"]);

    let before = provider.calls();
    let found = provider.list().await.unwrap();
    println!("a list takes {} calls", provider.calls() - before);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].lease, order.lease);
    assert_eq!(kinds(&found[0].resources), kinds(&made.resources));

    let server = made.resources.iter().find(|resource| resource.kind == "server").unwrap();
    let seen = cloud.ask(Who::Builder, "GET", Service::NovaApi, &format!("/servers/{}", server.id), None);
    assert_eq!(seen["server"]["tags"], json!([TAG]));
    assert_eq!(seen["server"]["metadata"], json!(order.lease.tags()));
    assert_eq!(seen["server"]["name"], format!("drivetrain-{}", order.lease.id));
    assert_eq!(seen["server"]["config_drive"], "True");

    assert!(provider.console(&order.lease.id).await.unwrap().contains("FAKE CONSOLE OUTPUT"));

    let (before, started) = (provider.calls(), Instant::now());
    let destroyed = provider.destroy(&order.lease.id).await.unwrap();
    println!("destroyed after {:?}, {} calls", started.elapsed(), provider.calls() - before);
    assert_eq!(kinds(&destroyed.resources), kinds(&made.resources));
    assert_eq!(provider.list().await.unwrap(), []);
    assert_eq!(cloud.inventory(), [""; 0]);
    // Once more: what is gone is gone.
    assert_eq!(provider.destroy(&order.lease.id).await.unwrap().resources, []);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn a_port_that_was_there_before_stays() {
    let Some(cloud) = cloud().await else { return };
    let networks = cloud.ask(Who::Builder, "GET", Service::Neutron, "/networks?name=build-net", None);
    let port = json!({ "port": { "network_id": networks["networks"][0]["id"], "name": "reserved" } });
    let port = cloud.ask(Who::Builder, "POST", Service::Neutron, "/ports", Some(&port));
    let provider = cloud.provider_with(|options| options.attach = Attach::Port("reserved".to_owned()));
    provider.check().await.unwrap();
    let order = order();
    let made = make(&provider, &order).await.unwrap();
    assert_eq!(made.login.address, port["port"]["fixed_ips"][0]["ip_address"].as_str().unwrap());
    assert_eq!(kinds(&made.resources), ["server"]);
    let error = provider.check().await.unwrap_err();
    insta::assert_snapshot!(settled(&error.to_string()), @r#"the port "reserved": a machine is connected to it already; wait for that machine to go, or name a network instead"#);
    provider.destroy(&order.lease.id).await.unwrap();
    assert_eq!(cloud.inventory(), ["ports reserved"]);
    let path = format!("/ports/{}", port["port"]["id"].as_str().unwrap());
    cloud.ask(Who::Builder, "DELETE", Service::Neutron, &path, None);
    cloud.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn what_is_missing_is_said_with_what_there_is_instead() {
    let Some(cloud) = cloud().await else { return };
    cloud.server.create_queued_image("rocky-10").unwrap();
    let changes: [fn(&mut OpenStackOptions); 10] = [
        |options| options.image = "rocky9".to_owned(),
        |options| options.image = "7f1e2c34-0000-4000-8000-000000000000".to_owned(),
        |options| options.image = "rocky-10".to_owned(),
        |options| options.flavor = "b.smal".to_owned(),
        |options| options.attach = Attach::Network("biuld-net".to_owned()),
        |options| options.attach = Attach::Port("mine".to_owned()),
        |options| options.floating_network = Some("build-net".to_owned()),
        |options| options.security_groups = vec!["ssh".to_owned()],
        |options| options.availability_zone = Some("az1".to_owned()),
        |options| options.root = RootDisk::Volume { gigabytes: 20, kind: None },
    ];
    let mut said = String::new();
    for change in changes {
        let error = cloud.provider_with(change).check().await.unwrap_err();
        assert!(matches!(error, MachineError::Configuration { .. }), "{error:?}");
        said.push_str(&format!("{}\n", settled(&error.to_string())));
    }
    insta::assert_snapshot!(said, @r#"
    the image "rocky9": OpenStack at http://ADDRESS:5000, region RegionOne, project builders does not have it; there are the images rocky-9, rocky-8, rocky-10
    the image "ID": OpenStack at http://ADDRESS:5000, region RegionOne, project builders does not have it; there are the images rocky-10, rocky-8, rocky-9
    the image "rocky-10": Glance has it as "queued", and only an active image starts a machine; wait for it, or choose another one
    the flavor "b.smal": OpenStack at http://ADDRESS:5000, region RegionOne, project builders does not have it; there are the flavors b.small, b.medium, b.enormous
    the network "biuld-net": OpenStack at http://ADDRESS:5000, region RegionOne, project builders does not have it; there are the networks build-net, ext-net
    the port "mine": OpenStack at http://ADDRESS:5000, region RegionOne, project builders does not have it; there are no ports
    the external network "build-net": OpenStack at http://ADDRESS:5000, region RegionOne, project builders does not have it; there are the external networks ext-net
    the security group "ssh": OpenStack at http://ADDRESS:5000, region RegionOne, project builders does not have it; there are the security groups default
    the availability zone "az1": OpenStack at http://ADDRESS:5000, region RegionOne, project builders does not have it; there are the availability zones nova
    a disk from a volume of 20 GB: OpenStack at http://ADDRESS:5000, region RegionOne, project builders has no Cinder, and so no volumes; take the flavor's own disk, or look at the region and the interface in clouds.yaml
    "#);
    // Without a check, a machine is refused in the same words.
    let provider = cloud.provider_with(|options| options.image = "rocky9".to_owned());
    let error = make(&provider, &order()).await.unwrap_err();
    assert!(said.starts_with(&settled(&error.to_string())), "{error}");
    cloud.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn who_we_are_is_said_by_password_or_application_credential_and_a_wrong_one_is_refused() {
    let Some(cloud) = cloud().await else { return };
    let users = cloud.ask(Who::Admin, "GET", Service::Keystone, "/users?name=builder", None);
    let path = format!("/users/{}/application_credentials", users["users"][0]["id"].as_str().unwrap());
    let name = format!("robot-{}", fastrand::u32(..));
    let body = json!({ "application_credential": { "name": name, "secret": "s3cret-of-the-robot" } });
    let made = cloud.ask(Who::Builder, "POST", Service::Keystone, &path, Some(&body));
    let id = made["application_credential"]["id"].as_str().unwrap();
    let robot =
        format!("application_credential_id: {id}\n      application_credential_secret: s3cret-of-the-robot");
    let file =
        cloud.file(&[("username: builder\n      password: builder\n      project_name: builders", &robot)]);
    let provider = OpenStack::new(cloud.options_from(file)).unwrap();
    provider.check().await.unwrap();
    assert!(!format!("{provider:?}").contains("s3cret"), "{provider:?}");
    let order = order();
    make(&provider, &order).await.unwrap();
    provider.destroy(&order.lease.id).await.unwrap();

    let file = cloud.file(&[("password: builder", "password: guessed")]);
    let provider = OpenStack::new(cloud.options_from(file)).unwrap();
    let error = provider.check().await.unwrap_err();
    insta::assert_snapshot!(settled(&error.to_string()), @"OpenStack at http://ADDRESS:5000, region RegionOne, project builders refuses: Keystone does not take our credentials: The request you have made requires authentication.; look at the credentials: has the password changed, or the application credential expired?");
    let file = cloud.file(&[("RegionOne", "RegionTwo")]);
    let provider = OpenStack::new(cloud.options_from(file)).unwrap();
    insta::assert_snapshot!(settled(&provider.check().await.unwrap_err().to_string()), @"OpenStack at http://ADDRESS:5000, region RegionTwo, project builders: the catalogue has no Glance (image) with the interface public in the region RegionTwo; look at the region and the interface in clouds.yaml");
    let source = CloudSource { cloud: Some("labb".to_owned()), file: Some(cloud.file(&[])) };
    let options = OpenStackOptions { source, ..cloud.options() };
    assert!(
        OpenStack::new(options).unwrap_err().to_string().ends_with("; there are the clouds lab, lab-admin")
    );
    cloud.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn a_quota_that_does_not_suffice_is_said_with_its_figures() {
    let Some(cloud) = cloud().await else { return };
    let provider = cloud.provider_with(|options| {
        options.flavor = "b.medium".to_owned();
        options.floating_network = Some("ext-net".to_owned());
    });
    provider.check().await.unwrap();
    cloud.server.set_compute_quota(&[("cores", 3), ("instances", 10)]).unwrap();
    cloud.server.set_network_quota(&[("floatingip", 0)]).unwrap();
    let error = provider.check().await.unwrap_err();
    insta::assert_snapshot!(settled(&error.to_string()), @"OpenStack at http://ADDRESS:5000, region RegionOne, project builders has no room for the machine: the quota of cores is 3, 0 are used, and the machine takes 4; the quota of floating IPs is 0, 0 are used, and the machine takes 1; remove what is not needed (`drivetrain gc`), choose a smaller flavor, or ask for a larger quota");

    // Neutron's own words, for what was used up since the check.
    let refused = order();
    let error = make(&provider, &refused).await.unwrap_err();
    insta::assert_snapshot!(settled(&error.to_string()), @"OpenStack at http://ADDRESS:5000, region RegionOne, project builders has no room for the machine: make a floating IP: 409 Quota exceeded for resources: ['floatingip']. (OverQuota); ID; remove what is not needed (`drivetrain gc`), or ask for a larger quota");
    // And Nova's.
    cloud.server.set_network_quota(&[("floatingip", 50)]).unwrap();
    let error = make(&provider, &order()).await.unwrap_err();
    insta::assert_snapshot!(settled(&error.to_string()), @"OpenStack at http://ADDRESS:5000, region RegionOne, project builders has no room for the machine: make a server: 403 Quota exceeded for cores: Requested 4, but already used 0 of 3 cores; ID; remove what is not needed (`drivetrain gc`), or ask for a larger quota");
    // What was made before it is found and goes.
    assert_eq!(provider.list().await.unwrap().len(), 2);
    cloud.server.set_compute_quota(&[("cores", 20)]).unwrap();
    cloud.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn no_host_with_room_is_said_with_the_flavors_figures() {
    let Some(cloud) = cloud().await else { return };
    cloud.server.set_compute_quota(&[("ram", -1)]).unwrap();
    let provider = cloud.provider_with(|options| options.flavor = "b.enormous".to_owned());
    provider.check().await.unwrap();
    let error = make(&provider, &order()).await.unwrap_err();
    assert!(matches!(error, MachineError::NoRoom { .. }), "{error:?}");
    insta::assert_snapshot!(settled(&error.to_string()), @"OpenStack at http://ADDRESS:5000, region RegionOne, project builders has no room for the machine: no host takes the flavor b.enormous (4 vCPUs, 900000000 MiB of memory, 20 GB of disk): No valid host was found.; choose a smaller flavor or another availability zone, or wait until others need less");
    cloud.tidy().await;
    cloud.server.set_compute_quota(&[("ram", 51200)]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn a_hypervisor_that_gives_up_is_told_of_in_its_words() {
    let Some(mut cloud) = cloud().await else { return };
    let options = Options { driver: "fake.FakeBuildAbortDriver".to_owned(), ..Options::default() };
    cloud.server.reconfigure(&options).unwrap();
    let provider = cloud.provider();
    let error = make(&provider, &order()).await.unwrap_err();
    cloud.server.reconfigure(&Options::default()).unwrap();
    insta::assert_snapshot!(settled(&error.to_string()), @"OpenStack at http://ADDRESS:5000, region RegionOne, project builders failed at: start the server (500 Build of instance ID aborted: FakeBuildAbortDriver)");
    cloud.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn services_that_restart_in_the_middle_are_waited_for() {
    let Some(mut cloud) = cloud().await else { return };
    for service in [Service::NovaApi, Service::Keystone] {
        let provider = std::sync::Arc::new(cloud.provider());
        provider.check().await.unwrap();
        let order = std::sync::Arc::new(order());
        cloud.server.kill(service);
        let making = tokio::spawn({
            let (provider, order) = (std::sync::Arc::clone(&provider), std::sync::Arc::clone(&order));
            async move { make(&provider, &order).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        cloud.server.start_service(service).unwrap();
        making.await.unwrap().unwrap();

        cloud.server.stop(service);
        let destroying = tokio::spawn({
            let (provider, order) = (std::sync::Arc::clone(&provider), std::sync::Arc::clone(&order));
            async move { provider.destroy(&order.lease.id).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        cloud.server.start_service(service).unwrap();
        assert_eq!(destroying.await.unwrap().unwrap().resources.len(), 2, "{}", service.name());
        assert_eq!(cloud.inventory(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn a_cloud_that_is_not_there_is_said_after_a_while() {
    let Some(mut cloud) = cloud().await else { return };
    let provider = cloud.provider_with(|options| options.patience = Duration::from_secs(3));
    cloud.server.stop(Service::Keystone);
    let error = provider.check().await.unwrap_err();
    cloud.server.start_service(Service::Keystone).unwrap();
    assert!(matches!(error, MachineError::Provider { .. }), "{error:?}");
    insta::assert_snapshot!(settled(&error.to_string()), @"OpenStack at http://ADDRESS:5000, region RegionOne, project builders failed at: ask for a token (http://ADDRESS:5000 cannot be reached: Connection refused (os error 111))");
    provider.check().await.unwrap();
}

/// A provider that reaches Keystone, Nova and Neutron through proxies.
async fn through_proxies(cloud: &Cloud) -> (OpenStack, [Proxy; 3]) {
    through_proxies_with(cloud, |_| {}).await
}

async fn through_proxies_with(
    cloud: &Cloud,
    change: impl FnOnce(&mut OpenStackOptions),
) -> (OpenStack, [Proxy; 3]) {
    let auth = cloud.server.auth_url();
    let keystone = Proxy::before(&auth).await;
    let nova = Proxy::before(&cloud.server.url(Service::NovaApi)).await;
    let neutron = Proxy::before(&cloud.server.url(Service::Neutron)).await;
    let overrides = format!(
        "region_name: RegionOne\n    compute_endpoint_override: {}\n    network_endpoint_override: {}",
        nova.url("/v2.1"),
        neutron.url("/v2.0")
    );
    let file = cloud.file(&[(&auth, &keystone.url("/v3")), ("region_name: RegionOne", &overrides)]);
    let mut options = cloud.options_from(file);
    options.answer_within = Duration::from_secs(15);
    change(&mut options);
    (OpenStack::new(options).unwrap(), [keystone, nova, neutron])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn a_cloud_that_is_slow_or_fails_now_and_then_is_asked_again() {
    let Some(cloud) = cloud().await else { return };
    let (provider, [keystone, nova, neutron]) = through_proxies(&cloud).await;
    keystone.spoil("POST", "/auth/tokens", Fault::Status(500), 1);
    keystone.spoil("POST", "/auth/tokens", Fault::Slow(Duration::from_secs(30)), 1);
    keystone.spoil("POST", "/auth/tokens", Fault::Status(503), 1);
    nova.spoil("GET", "/flavors", Fault::Status(502), 2);
    nova.spoil("GET", "/limits", Fault::Status(429), 1);
    neutron.spoil("GET", "/networks", Fault::Mute, 1);
    provider.check().await.unwrap();
    nova.spoil("POST", "/servers", Fault::Status(503), 1);
    nova.spoil("GET", "/servers/", Fault::Slow(Duration::from_secs(30)), 1);
    neutron.spoil("POST", "/ports", Fault::Status(504), 1);
    let order = order();
    make(&provider, &order).await.unwrap();
    nova.spoil("DELETE", "/servers/", Fault::Status(500), 2);
    nova.spoil("DELETE", "/servers/", Fault::Status(409), 1);
    neutron.spoil("DELETE", "/ports/", Fault::Mute, 1);
    provider.destroy(&order.lease.id).await.unwrap();
    assert_eq!(keystone.left() + nova.left() + neutron.left(), 0);
    assert_eq!(cloud.inventory(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn what_was_made_without_an_answer_is_found_and_not_made_again() {
    let Some(cloud) = cloud().await else { return };
    let (provider, [_keystone, nova, neutron]) =
        through_proxies_with(&cloud, |options| options.floating_network = Some("ext-net".to_owned())).await;
    neutron.spoil("POST", "/ports", Fault::Mute, 1);
    neutron.spoil("POST", "/floatingips", Fault::Mute, 1);
    nova.spoil("POST", "/servers", Fault::Mute, 1);
    let order = order();
    let made = make(&provider, &order).await.unwrap();
    assert_eq!(nova.left() + neutron.left(), 0);
    let found = provider.list().await.unwrap();
    assert_eq!(kinds(&found[0].resources), kinds(&made.resources), "one of each");
    assert_eq!(cloud.inventory().len(), 3, "{:?}", cloud.inventory());
    provider.destroy(&order.lease.id).await.unwrap();
    assert_eq!(cloud.inventory(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn what_cannot_be_removed_is_said_and_removed_later() {
    let Some(cloud) = cloud().await else { return };
    let (provider, [_keystone, nova, neutron]) =
        through_proxies_with(&cloud, |options| options.patience = Duration::from_secs(4)).await;
    let order = order();
    make(&provider, &order).await.unwrap();
    nova.spoil("DELETE", "/servers/", Fault::Status(500), 1000);
    neutron.spoil("DELETE", "/ports/", Fault::Status(403), 1);
    let error = provider.destroy(&order.lease.id).await.unwrap_err();
    let text = error.to_string().replace(&provider.name(), "CLOUD").replace(order.lease.id.as_str(), "LEASE");
    let text = settled(&text);
    insta::assert_snapshot!(text, @"server drivetrain-LEASE (ID) of CLOUD of the lease LEASE could not be removed: 500 spoiled; `drivetrain gc` tries again");
    let other = cloud.provider();
    other.destroy(&order.lease.id).await.unwrap();
    assert_eq!(cloud.inventory(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn a_token_that_ends_in_the_middle_is_replaced() {
    let Some(mut cloud) = cloud().await else { return };
    cloud.server.reconfigure(&Options { token_seconds: 6, ..Options::default() }).unwrap();
    let provider = cloud.provider();
    let order = order();
    provider.check().await.unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(provider.list().await.unwrap(), []);
    cloud.server.reconfigure(&Options { token_seconds: 30, ..Options::default() }).unwrap();
    make(&provider, &order).await.unwrap();
    tokio::time::sleep(Duration::from_secs(31)).await;
    provider.destroy(&order.lease.id).await.unwrap();
    cloud.server.reconfigure(&Options::default()).unwrap();
    cloud.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab's OpenStack: scripts/test --openstack"]
async fn a_machine_that_is_given_up_is_found_and_removed() {
    let Some(cloud) = cloud().await else { return };
    let provider = cloud.provider();
    let (order, cancel) = (order(), CancellationToken::new());
    // Given up as soon as there is something to tell of.
    let notice = |_: &str| cancel.cancel();
    let error = provider.make(&order, &notice, &cancel).await.unwrap_err();
    assert!(matches!(error, MachineError::Cancelled), "{error:?}");
    assert_eq!(kinds(&provider.list().await.unwrap()[0].resources), ["port", "server"]);
    provider.destroy(&order.lease.id).await.unwrap();
    assert_eq!(cloud.inventory(), [""; 0]);
}
