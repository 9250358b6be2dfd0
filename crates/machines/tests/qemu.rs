//! Machines under a real QEMU: made, found by what is noted on them, and gone; whatever became of who made them.
//!
//! The disk is empty and nothing boots from it: what boots is tested with the lab's guest.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::CancellationToken;
use drivetrain_machines::{
    Entry, Lease, LeaseBook, MachineError, Provider, Qemu, QemuOptions, give_back, reap, take,
};
use drivetrain_model::RunId;
use fs_err as fs;
use jiff::{SignedDuration, Timestamp};

/// A directory with an image in it, and a place for machines.
struct Bench {
    _directory: tempfile::TempDir,
    path: Utf8PathBuf,
}

impl Bench {
    /// `None`, told, where there is no QEMU.
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(directory.path().to_owned()).unwrap();
        let image = path.join("image.qcow2");
        let made =
            Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", image.as_str(), "1M"]).status();
        let has_system = Command::new("qemu-system-x86_64").arg("--version").stdout(Stdio::null()).status();
        if made.is_err() || has_system.is_err() || std::env::consts::ARCH != "x86_64" {
            println!("skipped: there is no QEMU");
            return None;
        }
        Some(Self { _directory: directory, path })
    }

    fn options(path: &Utf8Path) -> QemuOptions {
        QemuOptions {
            image: path.join("image.qcow2"),
            memory: 256,
            cpus: 1,
            disk: Some(1),
            user: "root".to_owned(),
            firmware: None,
            directory: path.join("machines"),
        }
    }

    fn qemu(&self) -> Qemu {
        Qemu::new(Self::options(&self.path))
    }

    fn book(&self) -> LeaseBook {
        LeaseBook::new(self.path.join("leases"))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A test that fails leaves nothing running either.
        drop(Command::new("pkill").args(["-KILL", "-f", self.path.as_str()]).status());
    }
}

fn lease(hours: i64) -> Lease {
    let run = RunId::parse("20261127T140000.123Z-abcd").unwrap();
    Lease::new(run, "me@here".to_owned(), Timestamp::now(), SignedDuration::from_hours(hours))
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn make(bench: &Bench, lease: &Lease) -> drivetrain_machines::Leased {
    take(&bench.qemu(), &bench.book(), lease.clone(), &|_| {}, &CancellationToken::new()).await.unwrap()
}

#[test]
fn a_machine_is_found_by_its_marks_and_is_gone_when_it_was_given_back() {
    let Some(bench) = Bench::new() else { return };
    wait_for(async {
        let (qemu, book) = (bench.qemu(), bench.book());
        assert_eq!(qemu.check().await.unwrap().len(), 3);
        assert!(qemu.list().await.unwrap().is_empty());
        let lease = lease(4);
        let leased = make(&bench, &lease).await;
        assert_eq!(leased.made.login.address, "127.0.0.1");
        let kinds: Vec<_> = leased.made.resources.iter().map(|resource| resource.kind).collect();
        assert_eq!(kinds, ["process", "directory"]);
        let found = qemu.list().await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].lease, lease);
        // Another directory's machines are another's.
        let elsewhere =
            Qemu::new(QemuOptions { directory: bench.path.join("other"), ..Bench::options(&bench.path) });
        assert!(elsewhere.list().await.unwrap().is_empty());
        // Without its files it is known by its process.
        fs::rename(bench.path.join("machines"), bench.path.join("lost")).unwrap();
        let seen = qemu.list().await.unwrap();
        assert_eq!((seen[0].lease.expires, seen[0].resources.len()), (lease.expires, 1));
        fs::rename(bench.path.join("lost"), bench.path.join("machines")).unwrap();
        // What may be read by others has nothing that lets them in.
        let process = &leased.made.resources[0].id;
        let line = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap();
        assert!(!line.contains("PRIVATE") && !line.contains("ssh-ed25519"), "{line}");

        let destroyed = give_back(&qemu, &book, &lease.id).await.unwrap();
        assert_eq!(destroyed.resources.len(), 2);
        assert!(qemu.list().await.unwrap().is_empty());
        assert!(book.entries().is_empty());
        assert!(!leased.key.exists(), "its key is of no use any more");
        // Once more is no error.
        assert!(give_back(&qemu, &book, &lease.id).await.unwrap().resources.is_empty());
    });
}

#[test]
fn what_nobody_needs_is_reaped_and_nothing_else() {
    let Some(bench) = Bench::new() else { return };
    wait_for(async {
        let (qemu, book) = (bench.qemu(), bench.book());
        let (expired, ended, kept, alive) = (lease(-1), lease(4), lease(4), lease(4));
        for lease in [&expired, &ended, &kept, &alive] {
            make(&bench, lease).await;
        }
        // Others' leases, of which this host has no record, are left alone until they expire.
        book.forget(&expired.id).unwrap();
        book.forget(&alive.id).unwrap();
        let entry = book.entries().into_iter().find(|entry| entry.lease.id == kept.id).unwrap();
        book.write(&Entry { kept: true, ..entry }).unwrap();
        // A directory that is none of ours, with a name that could be.
        fs::create_dir(bench.path.join("machines/dt-000000000000")).unwrap();
        fs::create_dir(bench.path.join("machines/precious")).unwrap();

        let reaped = reap(&qemu, &book, Timestamp::now(), &|_| false).await.unwrap();
        let mut gone: Vec<_> = reaped.iter().map(|reaped| (&reaped.lease.id, reaped.why)).collect();
        gone.sort_by_key(|(_, why)| *why);
        assert_eq!(gone, [(&expired.id, "it has expired"), (&ended.id, "its run has ended")]);
        let mut left: Vec<_> = qemu.list().await.unwrap().into_iter().map(|found| found.lease.id).collect();
        let mut expected = vec![kept.id.clone(), alive.id.clone()];
        left.sort();
        expected.sort();
        assert_eq!(left, expected);
        assert!(bench.path.join("machines/dt-000000000000").exists());
        assert!(bench.path.join("machines/precious").exists());
        for id in expected {
            give_back(&qemu, &book, &id).await.unwrap();
        }
    });
}

#[test]
fn an_image_that_is_not_there_or_is_none_is_told_before_anything_is_made() {
    let Some(bench) = Bench::new() else { return };
    wait_for(async {
        let text = |result: Result<Vec<String>, MachineError>| {
            result.unwrap_err().to_string().replace(bench.path.as_str(), "DIR")
        };
        let with = |image: &str| {
            Qemu::new(QemuOptions { image: bench.path.join(image), ..Bench::options(&bench.path) })
        };
        insta::assert_snapshot!(text(with("no.qcow2").check().await), @"builder.qemu.image DIR/no.qcow2: failed to open file `DIR/no.qcow2`: No such file or directory (os error 2); name a file that is there, as an absolute path or one beside the configuration");
        fs::create_dir(bench.path.join("dir")).unwrap();
        assert!(text(with("dir").check().await).contains("DIR/dir"));
        assert!(!bench.path.join("machines").exists());
    });
}

/// The child of the test below: makes one machine after the other until it is killed.
#[test]
#[ignore = "a child of the test below"]
fn child_that_is_killed() {
    let Ok(path) = std::env::var("DRIVETRAIN_TEST_BENCH") else { return };
    let path = Utf8PathBuf::from(path);
    let (qemu, book) = (Qemu::new(Bench::options(&path)), LeaseBook::new(path.join("leases")));
    wait_for(async {
        loop {
            let lease = lease(4);
            let id = lease.id.clone();
            drop(take(&qemu, &book, lease, &|_| {}, &CancellationToken::new()).await);
            drop(give_back(&qemu, &book, &id).await);
        }
    });
}

#[test]
fn who_is_killed_at_any_moment_leaves_nothing_that_is_not_found() {
    let Some(bench) = Bench::new() else { return };
    let kills = std::env::var("DRIVETRAIN_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(15);
    let mut left_behind = 0;
    for round in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_is_killed", "--ignored", "--nocapture"])
            .env("DRIVETRAIN_TEST_BENCH", &bench.path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(fastrand::u64(5..700)));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "round {round}");
        // The process that it may just have started goes on by itself.
        std::thread::sleep(Duration::from_millis(100));
        // A book that is lost with its host: what has expired is found by the marks alone.
        let lost = LeaseBook::new(bench.path.join("none"));
        let book = if round % 2 == 0 { bench.book() } else { lost };
        let now = Timestamp::now() + SignedDuration::from_hours(if round % 2 == 0 { 0 } else { 5 });
        let reaped = wait_for(reap(&bench.qemu(), &book, now, &|_| false)).unwrap();
        left_behind +=
            reaped.iter().filter(|reaped| !reaped.result.as_ref().unwrap().resources.is_empty()).count();
        if round % 2 == 1 {
            wait_for(reap(&bench.qemu(), &bench.book(), now, &|_| false)).unwrap();
        }
        assert!(wait_for(bench.qemu().list()).unwrap().is_empty(), "round {round}");
        let running =
            Command::new("pgrep").args(["-f", bench.path.join("machines").as_str()]).output().unwrap();
        assert!(running.stdout.is_empty(), "round {round}: {}", String::from_utf8_lossy(&running.stdout));
        let files: Vec<_> =
            bench.path.join("machines").read_dir_utf8().into_iter().flatten().flatten().collect();
        assert!(files.iter().all(|file| file.file_name().ends_with(".new")), "round {round}: {files:?}");
        assert!(bench.book().entries().is_empty(), "round {round}");
    }
    println!("{kills} kills, {left_behind} of them left a machine, 0 are left");
}
