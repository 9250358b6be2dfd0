//! Files there and back.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use camino::Utf8Path;
use drivetrain_host::{HostError, Machine, Script, SshMachine, SshOptions};

use super::proxy::Proxy;
use super::run;
use super::server::Server;

/// Bytes that no two pieces of have in common.
fn bytes(count: usize) -> Vec<u8> {
    (0..count.div_ceil(8) as u64)
        .flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .take(count)
        .collect()
}

/// The names of what is in a directory.
fn names(directory: &Utf8Path) -> Vec<String> {
    let mut names: Vec<String> =
        directory.read_dir_utf8().unwrap().flatten().map(|entry| entry.file_name().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_there_and_back_whatever_its_name() {
    let Some(server) = Server::start() else { return };
    let machine = server.machine();
    let there = server.path("there");
    std::fs::create_dir(&there).unwrap();
    let local = server.path("original");
    for (name, content) in [("it's \"$(odd)\"\n; -name", bytes(70_001)), ("-empty", Vec::new())] {
        std::fs::write(&local, &content).unwrap();
        let remote = there.join(name);
        machine.put(&local, &remote, 0o750).await.unwrap();
        assert_eq!(std::fs::read(&remote).unwrap(), content);
        assert_eq!(remote.metadata().unwrap().permissions().mode() & 0o7777, 0o750);
        let back = server.path("back");
        let refused = machine.get_at_most(&remote, &back, (content.len() as u64).saturating_sub(1)).await;
        assert!(content.is_empty() || refused.unwrap_err().to_string().contains("no more than"));
        machine.get(&remote, &back).await.unwrap();
        assert_eq!(std::fs::read(&back).unwrap(), content);
        assert_eq!(back.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    }
    assert_eq!(names(&there).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_survives_a_wire_that_is_cut() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::to(server.port);
    let machine = SshMachine::new(SshOptions { port: Some(proxy.port), ..server.options() }).unwrap();
    machine.connect().await.unwrap();
    let content = bytes(64 << 20);
    let (local, remote, back) = (server.path("original"), server.path("there"), server.path("back"));
    std::fs::write(&local, &content).unwrap();
    let started = Instant::now();
    let cutting = async {
        for _ in 0..2 {
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
            proxy.cut();
        }
    };
    let (put, ()) = tokio::join!(machine.put(&local, &remote, 0o644), cutting);
    put.unwrap();
    println!("64 MiB put with {} cuts in {:?}", proxy.cuts(), started.elapsed());
    assert!(std::fs::read(&remote).unwrap() == content);

    let started = Instant::now();
    proxy.cut_after(20 << 20);
    machine.get(&remote, &back).await.unwrap();
    println!("64 MiB got with one cut in {:?}", started.elapsed());
    assert!(std::fs::read(&back).unwrap() == content);
    assert!(proxy.cuts() >= 3);
    let parts = names(&server.path(".")).into_iter().filter(|name| name.ends_with(".part")).count();
    assert_eq!(parts, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_cannot_be_made_says_why_and_leaves_nothing() {
    let Some(server) = Server::start() else { return };
    let machine = server.machine();
    let local = server.path("original");
    std::fs::write(&local, "text").unwrap();
    let message = |error: HostError| error.to_string().replace(server.path("").as_str(), "/server/");

    let error = machine.put(&local, &server.path("no/such/place"), 0o644).await.unwrap_err();
    insta::assert_snapshot!(message(error), @"root@127.0.0.1 could not put /server/original to /server/no/such/place: /server/no/such: there is no such directory");
    std::fs::create_dir(server.path("directory")).unwrap();
    let error = machine.put(&local, &server.path("directory"), 0o644).await.unwrap_err();
    insta::assert_snapshot!(message(error), @"root@127.0.0.1 could not put /server/original to /server/directory: /server/directory: it is a directory");
    let error = machine.get(&server.path("nothing"), &server.path("back")).await.unwrap_err();
    insta::assert_snapshot!(message(error), @"root@127.0.0.1 could not get /server/nothing as /server/back: /server/nothing: there is no such file");
    let error = machine.put(&server.path("nothing"), &server.path("there"), 0o644).await.unwrap_err();
    insta::assert_snapshot!(message(error), @"cannot read /server/nothing");
    let error = machine.get(&local, &server.path("no/such/place")).await.unwrap_err();
    insta::assert_snapshot!(message(error), @"cannot make a file in /server/no/such");
    machine.settle().await;
    assert!(!names(&server.path(".")).iter().any(|name| name.contains("part") || name == "back"));
}

/// Measures; see CONTRIBUTING.md for how.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn how_long_it_takes() {
    let Some(server) = Server::start() else { return };
    let machine = server.machine();
    let started = Instant::now();
    machine.connect().await.unwrap();
    println!("connecting: {:?}", started.elapsed());
    let started = Instant::now();
    for _ in 0..10 {
        machine.boot_id().await.unwrap();
    }
    println!("a word: {:?}", started.elapsed() / 10);
    let started = Instant::now();
    for _ in 0..10 {
        run(&machine, &Script::new("true")).await.unwrap();
    }
    println!("a script: {:?}", started.elapsed() / 10);
    let started = Instant::now();
    run(&machine, &Script::new("seq 1 1000000")).await.unwrap();
    println!("a million lines: {:?}", started.elapsed());
    let (local, remote, back) = (server.path("original"), server.path("there"), server.path("back"));
    std::fs::write(&local, bytes(256 << 20)).unwrap();
    let started = Instant::now();
    machine.put(&local, &remote, 0o644).await.unwrap();
    println!("256 MiB there: {:?}", started.elapsed());
    let started = Instant::now();
    machine.get(&remote, &back).await.unwrap();
    println!("256 MiB back: {:?}", started.elapsed());
}
