//! The lab's stack, vendor-sized: how long it takes, and where the time goes. Minutes long, so only on demand:
//!
//! ```text
//! cargo test --release -p drivetrain-build --test stack -- --ignored --nocapture
//! ```
//!
//! It builds for every kernel of the lab in turn, with one set of caches: the first is cold, the others show
//! what the caches carry over. `DRIVETRAIN_BENCH_REPEAT=1` then drops the finished components and builds for
//! the last kernel once more. `DRIVETRAIN_BENCH_KEEP=DIR` copies the RPMs of the first kernel there.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::time::Instant;

use common::{Bench, kernel, kernels};
use drivetrain_build::{BuildReport, Component};

const STACK: &str = "rpms/stack";

fn stack(bench: &Bench) -> Vec<Component> {
    let mut files: Vec<String> = bench
        .lab
        .join(STACK)
        .read_dir_utf8()
        .unwrap()
        .flatten()
        .map(|entry| format!("{STACK}/{}", entry.file_name()))
        .filter(|file| file.ends_with(".src.rpm"))
        .collect();
    files.sort_by_key(|file| !file.contains("/mlnx-ofa_kernel-"));
    let first = bench.component(&files[0], &[]);
    let mut components = vec![first.clone()];
    components.extend(files[1..].iter().map(|file| bench.component(file, &[&first])));
    components
}

async fn timed(bench: &Bench, what: &str) -> BuildReport {
    let components = stack(bench);
    let started = Instant::now();
    let report = bench.build(&components.iter().collect::<Vec<_>>()).await;
    let cpu = report.components.iter().filter_map(|component| component.cpu_ms).sum::<u64>() as f64 / 1000.0;
    println!(
        "{what}, {}: {:.1} s of wall time, {:.1} s of processor time",
        bench.kernel.release,
        started.elapsed().as_secs_f64(),
        cpu
    );
    for component in &report.components {
        let phases: Vec<String> = component
            .phases
            .iter()
            .map(|time| format!("{} {:.1}", time.phase, time.ms as f64 / 1000.0))
            .collect();
        println!("    {:16} {:6.1}  {}", component.name, component.ms as f64 / 1000.0, phases.join(", "));
    }
    report
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn the_stack_for_every_kernel() {
    let Some(mut bench) = Bench::new().await else { return };
    let mut what = "cold";
    for devel in kernels(&bench.lab) {
        bench.kernel = kernel(&devel);
        let report = timed(&bench, what).await;
        assert!(report.is_success(), "{report:#?}");
        if let (Ok(keep), "cold") = (std::env::var("DRIVETRAIN_BENCH_KEEP"), what) {
            for package in report.components.iter().flat_map(|component| &component.packages) {
                std::fs::copy(&package.path, format!("{keep}/{}", package.file)).unwrap();
            }
        }
        what = "next kernel";
    }
    if std::env::var_os("DRIVETRAIN_BENCH_REPEAT").is_some() {
        std::fs::remove_dir_all(bench.path("components")).unwrap();
        assert!(timed(&bench, "same kernel again").await.is_success());
    }
    assert!(timed(&bench, "unchanged").await.is_success());
}
