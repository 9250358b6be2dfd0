//! What consumers see: dnf, createrepo_c's parser, and readers that are in the middle when the step is made.
//!
//! createrepo_c has no checker as such. Its strict reader is behind `mergerepo_c`, which loads all documents of
//! a repository, and its sums are checked by `dnf`, which refuses what does not match.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends where something fails, and tells its figures"
)]

mod support;

use std::collections::BTreeSet;
use std::io::Read;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use drivetrain_model::Sha256Digest;
use drivetrain_publish::{DirectoryOptions, DirectoryTarget, Target};
use drivetrain_repodata::{Limits, RecordKind, decompress, parse_repomd, read_primary};
use support::{PATH, change, get, path, publication, rpm, serve, version_of};

/// Whether a tool is there; says so where it is not.
fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    if !found {
        eprintln!("NOT RUN: there is no {tool}");
    }
    found
}

fn dnf(repository_files: &Path, cache: &Path, arguments: &[&str]) -> Output {
    // Nothing of the host's own configuration or plugins: some add repositories.
    std::fs::create_dir_all(cache).unwrap();
    let configuration = cache.join("dnf.conf");
    std::fs::write(&configuration, "[main]\n").unwrap();
    Command::new("dnf")
        .arg(format!("--config={}", configuration.display()))
        .args([
            "-q",
            "-y",
            "--noplugins",
            "--releasever=9",
            "--setopt=install_weak_deps=False",
            "--setopt=retries=1",
        ])
        .arg(format!("--setopt=reposdir={}", repository_files.display()))
        .arg(format!("--setopt=cachedir={}", cache.display()))
        .arg(format!("--setopt=logdir={}", cache.display()))
        .arg(format!("--installroot={}", cache.join("root").display()))
        .args(arguments)
        .output()
        .unwrap()
}

fn succeeded(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Packages of two sets: one shared, one with the same name and other bytes, one of its own.
fn sets(store: &Path) -> [Vec<PathBuf>; 2] {
    ["a", "b"].map(|set| {
        let directory = store.join(set);
        std::fs::create_dir(&directory).unwrap();
        vec![
            rpm(&directory, "kmod-shared", "1", "shared", 5000),
            rpm(&directory, "kmod-rebuilt", "1", set, 5000),
            rpm(&directory, &format!("kmod-only-{set}"), "1", set, 5000),
        ]
    })
}

fn open(root: &Path, address: SocketAddr, keep: u32) -> DirectoryTarget {
    let base_url = Some(format!("http://{address}/").parse().unwrap());
    DirectoryTarget::open(root, DirectoryOptions { base_url, keep, ..Default::default() }).unwrap()
}

#[test]
fn dnf_lists_downloads_and_follows_a_way_back() {
    if !has("dnf") {
        return;
    }
    let (store, root, work) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = open(root.path(), serve(root.path()), 5);
    let [a, b] = sets(store.path());
    target.publish(&publication(&a, "a")).unwrap();
    // The consumer takes the file that is served, and nothing else.
    let repository_files = work.path().join("repos");
    std::fs::create_dir(&repository_files).unwrap();
    std::fs::copy(root.path().join(PATH).join("drivetrain.repo"), repository_files.join("drivetrain.repo"))
        .unwrap();
    let list = |refresh: bool| -> BTreeSet<String> {
        let mut arguments = vec!["repoquery", "--qf", "%{name}"];
        if refresh {
            arguments.push("--refresh");
        }
        let output = dnf(&repository_files, &work.path().join("cache"), &arguments);
        succeeded(&output).lines().map(str::to_owned).collect()
    };
    let names = |set: &str| {
        BTreeSet::from(["kmod-shared".to_owned(), "kmod-rebuilt".to_owned(), format!("kmod-only-{set}")])
    };
    assert_eq!(list(false), names("a"));

    // The step is made, and the consumer still has yesterday's metadata: what it names can be downloaded.
    target.publish(&publication(&b, "b")).unwrap();
    let download = |to: &str| {
        let destination = work.path().join(to);
        let destination_option = format!("--destdir={}", destination.display());
        let only = if to == "old" { "kmod-only-a" } else { "kmod-only-b" };
        let output = dnf(
            &repository_files,
            &work.path().join("cache"),
            &["install", "--downloadonly", &destination_option, only, "kmod-rebuilt", "kmod-shared"],
        );
        succeeded(&output);
        std::fs::read_dir(&destination)
            .unwrap()
            .map(|entry| Sha256Digest::of(&std::fs::read(entry.unwrap().path()).unwrap()))
            .collect::<BTreeSet<_>>()
    };
    let digests = |set: &[PathBuf]| -> BTreeSet<_> {
        set.iter().map(|file| Sha256Digest::of(&std::fs::read(file).unwrap())).collect()
    };
    assert_eq!(download("old"), digests(&a));
    assert_eq!(list(true), names("b"));
    assert_eq!(download("new"), digests(&b));
    target.rollback(&path(), None, &change("x")).unwrap();
    assert_eq!(list(true), names("a"));
}

#[test]
fn createrepo_c_reads_what_is_served_and_sees_nothing_of_what_is_carried() {
    if !has("mergerepo_c") {
        return;
    }
    let (store, root, work) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = open(root.path(), serve(root.path()), 5);
    for (set, lock) in sets(store.path()).iter().zip(["a", "b"]) {
        target.publish(&publication(set, lock)).unwrap();
    }
    let served = root.path().join(PATH);
    assert_eq!(
        std::fs::read_dir(served.join("repodata")).unwrap().count(),
        7,
        "repomd.xml and both versions' documents"
    );
    let output = Command::new("mergerepo_c")
        .args(["--verbose", "--all", "--omit-baseurl", "--compress-type", "gz", "--repo"])
        .arg(format!("file://{}/", served.display()))
        .arg("--outputdir")
        .arg(work.path())
        .output()
        .unwrap();
    succeeded(&output);
    assert_eq!(listed(&|name| std::fs::read(work.path().join(name)).ok()).unwrap().len(), 3);
}

type Fetch<'a> = &'a dyn Fn(&str) -> Option<Vec<u8>>;

/// Reads a repository as a consumer does: the packages with their checksums, or what was not there or not right.
fn listed(fetch: Fetch<'_>) -> Result<Vec<(String, Sha256Digest)>, String> {
    let limits = Limits::default();
    let repomd = fetch("repodata/repomd.xml").ok_or("no repomd.xml")?;
    let repomd = parse_repomd(&repomd, &limits).map_err(|error| error.to_string())?;
    let mut packages = Vec::new();
    for record in &repomd.records {
        let bytes = fetch(&record.location).ok_or_else(|| format!("no {}", record.location))?;
        if record.checksum.as_sha256() != Some(Sha256Digest::of(&bytes)) {
            return Err(format!("{} has other bytes", record.location));
        }
        if record.kind == RecordKind::Primary {
            let mut open = Vec::new();
            let reader = decompress("primary", bytes.as_slice(), record.open_size, &limits);
            reader
                .map_err(|error| error.to_string())?
                .read_to_end(&mut open)
                .map_err(|error| error.to_string())?;
            read_primary(
                open.as_slice(),
                &limits,
                |_, _| true,
                |package| {
                    packages.push((package.location, package.checksum.as_sha256().unwrap()));
                    ControlFlow::Continue(())
                },
            )
            .map_err(|error| error.to_string())?;
        }
    }
    Ok(packages)
}

/// Flips as often as it can, back and forth and on, until told to stop; how often.
fn flip_until(stop: &AtomicBool, target: &DirectoryTarget, sets: &[Vec<PathBuf>; 2], pause: Duration) -> u64 {
    let mut flips = 0;
    while !stop.load(Ordering::Relaxed) {
        if flips % 5 == 4 {
            target.rollback(&path(), None, &change("x")).unwrap();
        } else {
            version_of(target.publish(&publication(&sets[flips as usize % 2], &flips.to_string())).unwrap());
        }
        flips += 1;
        std::thread::sleep(pause);
    }
    flips
}

#[test]
fn readers_in_the_middle_of_a_step_see_one_version_whole() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let address = serve(root.path());
    let target = open(root.path(), address, 50);
    let sets = sets(store.path());
    target.publish(&publication(&sets[0], "first")).unwrap();
    let stop = AtomicBool::new(false);
    let (sessions, crossed, requests) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let faults = std::sync::Mutex::new(Vec::new());
    let flips = std::thread::scope(|scope| {
        for reader in 0..3_u64 {
            let (stop, sessions, crossed, requests, faults) =
                (&stop, &sessions, &crossed, &requests, &faults);
            scope.spawn(move || {
                let mut session = 0;
                while !stop.load(Ordering::Relaxed) {
                    session += 1;
                    // A reader takes its time between requests: none, or so much that a step falls in between.
                    let pause = Duration::from_millis((session * 7 + reader * 3) % 20);
                    let fetch = |name: &str| {
                        std::thread::sleep(pause);
                        requests.fetch_add(1, Ordering::Relaxed);
                        let (status, body) = get(address, &format!("{PATH}/{name}"));
                        (status == 200).then_some(body)
                    };
                    let before = fetch("repodata/repomd.xml");
                    let result = listed(&|name| {
                        if name == "repodata/repomd.xml" { before.clone() } else { fetch(name) }
                    })
                    .and_then(|packages| {
                        for (location, sha256) in packages {
                            let bytes = fetch(&location).ok_or_else(|| format!("no {location}"))?;
                            if Sha256Digest::of(&bytes) != sha256 {
                                return Err(format!("{location} has other bytes"));
                            }
                        }
                        Ok(())
                    });
                    if let Err(fault) = result {
                        faults.lock().unwrap().push(fault);
                    }
                    sessions.fetch_add(1, Ordering::Relaxed);
                    if fetch("repodata/repomd.xml") != before {
                        crossed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let stopper = scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(15));
            stop.store(true, Ordering::Relaxed);
        });
        let flips = flip_until(&stop, &target, &sets, Duration::ZERO);
        stopper.join().unwrap();
        flips
    });
    let faults = faults.into_inner().unwrap();
    let (sessions, crossed) = (sessions.into_inner(), crossed.into_inner());
    eprintln!(
        "{flips} steps; {sessions} readers, {crossed} of them with a step in between, {} requests; {} faults",
        requests.into_inner(),
        faults.len()
    );
    assert!(faults.is_empty(), "{faults:?}");
    assert!(flips > 50 && crossed > 50);
}

#[test]
fn dnf_in_the_middle_of_steps_never_fails() {
    if !has("dnf") {
        return;
    }
    let (store, root, work) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = open(root.path(), serve(root.path()), 60);
    let sets = sets(store.path());
    target.publish(&publication(&sets[0], "first")).unwrap();
    let repository_files = work.path().join("repos");
    std::fs::create_dir(&repository_files).unwrap();
    std::fs::copy(root.path().join(PATH).join("drivetrain.repo"), repository_files.join("drivetrain.repo"))
        .unwrap();
    let stop = AtomicBool::new(false);
    let (flips, runs) = std::thread::scope(|scope| {
        let flipper = scope.spawn(|| flip_until(&stop, &target, &sets, Duration::from_millis(30)));
        let started = Instant::now();
        let mut runs = 0;
        while started.elapsed() < Duration::from_secs(20) && runs < 30 {
            // Each with an empty cache: metadata, then packages, through one or more steps.
            let cache = work.path().join(format!("cache-{runs}"));
            let destination = format!("--destdir={}", cache.join("packages").display());
            let output = dnf(
                &repository_files,
                &cache,
                &["install", "--downloadonly", &destination, "kmod-shared", "kmod-rebuilt"],
            );
            if !output.status.success() {
                stop.store(true, Ordering::Relaxed);
            }
            succeeded(&output);
            assert_eq!(std::fs::read_dir(cache.join("packages")).unwrap().count(), 2);
            runs += 1;
        }
        stop.store(true, Ordering::Relaxed);
        (flipper.join().unwrap(), runs)
    });
    eprintln!("{runs} runs of dnf with empty caches during {flips} steps");
    assert!(flips > runs);
}
