//! Killed at any moment: consumers see one set or the other, and the next run goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drivetrain_lab::pulp::Release;
use drivetrain_model::Sha256Digest;
use drivetrain_publish::{Depth, PulpOptions, Target as _};
use drivetrain_pulp::{Client, Content, GuardAccess, PulpError};
use drivetrain_repodata::{Limits, RecordKind, parse_repomd, read_primary};

use crate::bed::Bed;
use crate::support::{path, publication, rpm};

/// How many kills; `DRIVETRAIN_KILLS` says otherwise.
const KILLS: u32 = 10;

/// Publishes two sets in turn until it is killed.
#[test]
#[ignore = "is started by the test below"]
fn helper() {
    let Ok(url) = std::env::var("PULP_URL") else { return };
    let files = PathBuf::from(std::env::var("PULP_FILES").unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut settings = drivetrain_pulp::Settings::new(url.parse().unwrap());
    settings.credentials = Some(drivetrain_fetch::Credentials::new("admin", "password"));
    settings.proxy_from_environment = false;
    let options = PulpOptions { client_name: "killed".to_owned(), keep: 3, ..PulpOptions::default() };
    let target = drivetrain_publish::PulpTarget::new(
        Client::new(settings).unwrap(),
        runtime.handle().clone(),
        options,
    );
    // What is not served comes first, so that the step is within reach of every process.
    let first = std::env::var("PULP_FIRST").unwrap();
    let sets = if first == "a" { ["a", "b"] } else { ["b", "a"] };
    for round in std::process::id().. {
        for set in sets {
            target.publish(&publication(&packages(&files, set), &format!("{set}-{round}"))).unwrap();
        }
    }
}

fn packages(files: &Path, set: &str) -> Vec<PathBuf> {
    let mut packages: Vec<PathBuf> =
        std::fs::read_dir(files.join(set)).unwrap().map(|entry| entry.unwrap().path()).collect();
    packages.sort();
    packages
}

/// Two sets: some packages are in both, one in two versions, one in each alone.
fn make_sets(files: &Path) {
    for (set, version) in [("a", "1"), ("b", "2")] {
        let directory = files.join(set);
        std::fs::create_dir(&directory).unwrap();
        for number in 0..3 {
            rpm(&directory, &format!("kmod-shared-{number}"), "1", "shared", 20_000);
        }
        rpm(&directory, "kmod-changing", version, set, 20_000);
        rpm(&directory, &format!("kmod-only-{set}"), "1", set, 20_000);
    }
}

fn start(bed: &Bed, first: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::helper", "--ignored", "--nocapture"])
        .env("PULP_URL", bed.server.api_url())
        .env("PULP_FILES", bed.files.path())
        .env("PULP_FIRST", first)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What consumers met.
#[derive(Debug, Default)]
struct Seen {
    sets: BTreeMap<String, u32>,
    /// Something that was named was not there: old metadata that a server no longer has.
    missing: u32,
    /// A set that was never published, or other bytes than the metadata say.
    mixtures: Vec<String>,
}

/// One consumer: reads metadata, and then every package that they name.
async fn consume(content: &Content, sets: &BTreeMap<String, BTreeSet<Sha256Digest>>, seen: &mut Seen) {
    let read = async {
        let repomd = content.read("repodata/repomd.xml", 1 << 20).await?;
        let repomd = parse_repomd(&repomd, &Limits::default()).unwrap();
        let record = repomd.record(&RecordKind::Primary).unwrap();
        let primary = content.read(&record.location, 1 << 24).await?;
        if record.checksum.as_sha256() != Some(Sha256Digest::of(&primary)) {
            return Ok(Err(format!("{} is not what repomd.xml says", record.location)));
        }
        let mut listed = Vec::new();
        let open = drivetrain_repodata::open_record(record, primary.as_slice(), &Limits::default()).unwrap();
        read_primary(
            open,
            &Limits::default(),
            |_, _| true,
            |package| {
                listed.push(package);
                std::ops::ControlFlow::Continue(())
            },
        )
        .unwrap();
        for package in &listed {
            let (digest, _) = content.digest(&package.location, package.size).await?;
            if Some(digest) != package.checksum.as_sha256() {
                return Ok(Err(format!("{} has other bytes", package.location)));
            }
        }
        let digests: BTreeSet<Sha256Digest> =
            listed.iter().filter_map(|package| package.checksum.as_sha256()).collect();
        let set = sets.iter().find(|(_, set)| **set == digests).map(|(name, _)| name.clone());
        Ok::<_, PulpError>(set.ok_or_else(|| format!("{} packages that are no set", digests.len())))
    };
    match read.await {
        Ok(Ok(set)) => *seen.sets.entry(set).or_default() += 1,
        Ok(Err(mixture)) => seen.mixtures.push(mixture),
        Err(PulpError::NotFound { .. }) => seen.missing += 1,
        Err(error) => seen.mixtures.push(error.to_string()),
    }
}

/// Tells a thread to end when it is dropped.
struct Stop<'d>(&'d AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn killed_at_random_moments_it_leaves_one_set_or_the_other() {
    let Some(bed) = Bed::new(Release::Current) else { return };
    make_sets(bed.files.path());
    let sets: BTreeMap<String, BTreeSet<Sha256Digest>> = ["a", "b"]
        .iter()
        .map(|set| {
            let packages = packages(bed.files.path(), set);
            let digests = packages.iter().map(|path| Sha256Digest::of(&std::fs::read(path).unwrap()));
            ((*set).to_owned(), digests.collect())
        })
        .collect();
    let target = bed.target();
    target.publish(&publication(&packages(bed.files.path(), "a"), "a-first")).unwrap();
    let url = target.url(&path()).unwrap();
    let kills: u32 = std::env::var("DRIVETRAIN_KILLS").map_or(KILLS, |text| text.parse().unwrap());

    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let consumer = scope.spawn(|| {
            let client = Client::new(bed.settings()).unwrap();
            let content = Content::new(&client, &url, GuardAccess::Open).unwrap();
            let mut seen = Seen::default();
            while !done.load(Ordering::Relaxed) {
                bed.runtime.block_on(consume(&content, &sets, &mut seen));
            }
            seen
        });
        // Whatever becomes of the rest, the consumer ends.
        let stop = Stop(&done);
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..kills {
            // The run's name says which set is served.
            let served = target.state(&path()).unwrap().unwrap();
            let serves_a = served.record.unwrap().run.as_str().starts_with("run-a");
            let mut child = start(&bed, if serves_a { "b" } else { "a" });
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // From its login to somewhere in its second publication, on a machine that has nothing else to do.
            std::thread::sleep(Duration::from_millis(200 + (seed >> 33) % 6000));
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
            child.kill().unwrap();
            child.wait().unwrap();
        }
        drop(stop);
        consumer.join().unwrap()
    });
    println!("after {kills} kills consumers had read: {seen:?}");
    assert_eq!(seen.mixtures, Vec::<String>::new());
    assert!(seen.sets.len() == 2 || kills < 20, "{seen:?}");

    // The next one goes through and tidies up.
    let options = PulpOptions { client_name: "killed".to_owned(), ..PulpOptions::default() };
    let target = bed.target_with(bed.settings(), options);
    target.publish(&publication(&packages(bed.files.path(), "b"), "last")).unwrap();
    let check = target.check(&path(), Depth::Packages).unwrap();
    assert_eq!(check.packages, 5);
    let (_, answer) = bed
        .server
        .request("GET", "/pulp/api/v3/distributions/rpm/rpm/?name__contains=staging", None)
        .unwrap();
    assert_eq!(answer["count"], 0);
}
