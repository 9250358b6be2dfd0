//! Small components of the lab, and those with something wrong with them, built for real.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Bench, failure, outcome};
use drivetrain_build::Outcome;
use drivetrain_model::Event;

const HELLO: &str = "rpms/mini/hello-kmod-1.0-1.src.rpm";
const USER: &str = "rpms/mini/hello-user-kmod-1.0-1.src.rpm";

#[tokio::test(flavor = "multi_thread")]
async fn a_component_and_its_dependent_are_built_and_then_reused() {
    let Some(bench) = Bench::new().await else { return };
    let hello = bench.component(HELLO, &[]);
    let user = bench.component(USER, &[&hello]);
    let report = bench.build(&[&user, &hello]).await;
    assert!(report.is_success(), "{report:#?}\n{}", bench.log("hello-kmod"));
    for component in &report.components {
        assert!(matches!(component.outcome, Outcome::Built));
        assert!(component.packages.iter().any(|package| package.modules.len() == 1), "{component:#?}");
        assert!(component.packages.iter().all(|package| package.path.is_file()));
    }
    assert!(bench.path("work").read_dir_utf8().unwrap().next().is_none(), "the work directory is not empty");

    let again = bench.build(&[&hello, &user]).await;
    assert!(
        again.components.iter().all(|component| matches!(component.outcome, Outcome::Reused)),
        "{again:#?}"
    );
    assert_eq!(again.components[0].packages, report.components[1].packages);

    // Equal keys mean equal bytes.
    std::fs::remove_dir_all(bench.path("components")).unwrap();
    let rebuilt = bench.build(&[&user, &hello]).await;
    for (one, two) in report.components.iter().zip(&rebuilt.components) {
        assert_eq!(one.packages, two.packages);
    }

    // A damaged entry is noticed, and built again.
    let victim = &rebuilt.components[1].packages[0];
    let mut bytes = std::fs::read(&victim.path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&victim.path, bytes).unwrap();
    let repaired = bench.build(&[&hello, &user]).await;
    assert!(matches!(outcome(&repaired, "hello-kmod"), Outcome::Built));
    assert!(matches!(outcome(&repaired, "hello-user-kmod"), Outcome::Reused));
    let events = bench.events.lock().unwrap();
    assert!(
        events.iter().any(|event| matches!(event, Event::Warning { message } if message.contains("damaged")))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_trap_is_told_by_its_cause() {
    let Some(mut bench) = Bench::new().await else { return };
    bench.options.keep_going = true;
    let broken = bench.component("traps/broken-kmod-1.0-1.src.rpm", &[]);
    let nosy = bench.component("traps/nosy-kmod-1.0-1.src.rpm", &[]);
    let needy = bench.component("traps/needy-kmod-1.0-1.src.rpm", &[]);
    let dkms = bench.component("traps/dkmsonly-1.0-1.src.rpm", &[]);
    let hello = bench.component(HELLO, &[]);
    let victim = bench.component(USER, &[&broken]);
    let report = bench.build(&[&broken, &nosy, &needy, &dkms, &hello, &victim]).await;
    assert!(failure(&report, "broken-kmod").contains("broken.c:9: "), "{}", failure(&report, "broken-kmod"));
    assert!(
        failure(&report, "nosy-kmod").contains("tries to reach the network"),
        "{}",
        bench.log("nosy-kmod")
    );
    let needy = failure(&report, "needy-kmod");
    assert!(needy.contains("component needy-kmod needs libunobtainium-devel, which"), "{needy}");
    assert!(needy.contains("builder.provides"), "{needy}");
    assert!(
        failure(&report, "dkmsonly").contains("--with building_kmods"),
        "{}",
        failure(&report, "dkmsonly")
    );
    assert!(outcome(&report, "hello-kmod").is_success());
    let Outcome::NotTried { why } = outcome(&report, "hello-user-kmod") else { panic!("{report:#?}") };
    assert_eq!(why, "it needs broken-kmod, which failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keep_going_a_failure_ends_the_run() {
    let Some(mut bench) = Bench::new().await else { return };
    bench.options.jobs = std::num::NonZeroUsize::MIN;
    let broken = bench.component("traps/broken-kmod-1.0-1.src.rpm", &[]);
    let hello = bench.component(HELLO, &[]);
    let user = bench.component(USER, &[&hello]);
    let report = bench.build(&[&broken, &hello, &user]).await;
    assert!(!report.is_success() && !report.cancelled);
    let Outcome::NotTried { why } = outcome(&report, "hello-user-kmod") else { panic!("{report:#?}") };
    assert!(why.contains("broken-kmod failed"), "{why}");
}
