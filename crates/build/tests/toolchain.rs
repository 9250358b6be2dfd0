//! This machine's own tools, looked at twice.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Instant;

use camino::Utf8Path;
use drivetrain_build::Toolchain;
use drivetrain_host::{LocalSandbox, RootFs, SandboxOptions};

#[tokio::test]
async fn tools_are_read_once_and_recognised_after_that() {
    let directory = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(directory.path()).unwrap();
    let host = LocalSandbox::new(SandboxOptions::new(path.join("sandbox"))).await.unwrap();
    let state = path.join("state/toolchain.json");
    let started = Instant::now();
    let first = Toolchain::probe(&host, &RootFs::Host, &state).await.unwrap();
    let cold = started.elapsed();
    let started = Instant::now();
    let second = Toolchain::probe(&host, &RootFs::Host, &state).await.unwrap();
    let warm = started.elapsed();
    println!("{}: {cold:?}, then {warm:?}", first.description);
    assert_eq!(first, second);
    for tool in ["gcc ", "ld ", "make ", "rpmbuild "] {
        assert!(first.description.contains(tool), "{}", first.description);
    }
    assert!(!first.description.contains("unknown"), "{}", first.description);
    assert!(warm < cold, "{warm:?}");

    // A state that is damaged is no state.
    std::fs::write(&state, "{").unwrap();
    assert_eq!(Toolchain::probe(&host, &RootFs::Host, &state).await.unwrap(), first);
}
