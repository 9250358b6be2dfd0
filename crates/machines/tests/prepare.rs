//! What a preparation makes of a machine whose boot loader does as it likes. A stand-in for the machine: a real one boots
//! what it was told to, which `scripts/test --machines` shows.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use camino::Utf8Path;
use drivetrain_host::{
    BootId, BoxFuture, CancellationToken, Ending, Finished, HostError, LineSink, Machine, Script,
};
use drivetrain_machines::{MachineError, Preparation, prepare};
use drivetrain_model::{KernelRelease, Nevra};

/// All of it is done as soon as it is looked at, and it always boots the same kernel.
#[derive(Debug, Default)]
struct Stubborn {
    reboots: AtomicUsize,
}

impl Machine for Stubborn {
    fn name(&self) -> &str {
        "builder-3"
    }

    fn run<'a>(
        &'a self,
        script: &'a Script,
        sink: &'a mut dyn LineSink,
        _: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Finished, HostError>> {
        Box::pin(async move {
            let said = match script.text.as_str() {
                "uname -r" => "6.1.0-55-cloud-amd64",
                text if text.contains("/etc/machine-id") && !text.contains("drivetrain: ") => {
                    "entry /boot/loader/entries/abc-6.1.0-55-cloud-amd64.conf"
                }
                _ => "drivetrain: done: it is so",
            };
            sink.line(said);
            Ok(Finished { ending: Ending::Exited(0), elapsed: Duration::ZERO })
        })
    }

    fn put<'a>(&'a self, _: &'a Utf8Path, _: &'a Utf8Path, _: u32) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async { Ok(()) })
    }

    fn get_at_most<'a>(
        &'a self,
        _: &'a Utf8Path,
        _: &'a Utf8Path,
        _: u64,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async { Ok(()) })
    }

    fn boot_id(&self) -> BoxFuture<'_, Result<BootId, HostError>> {
        Box::pin(async { Ok(BootId(self.reboots.load(Ordering::Relaxed).to_string())) })
    }

    fn reboot<'a>(
        &'a self,
        _: Duration,
        _: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<BootId, HostError>> {
        self.reboots.fetch_add(1, Ordering::Relaxed);
        self.boot_id()
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

#[tokio::test]
async fn a_machine_that_boots_the_old_kernel_is_told_with_what_it_could_have_booted() {
    let machine = Stubborn::default();
    let preparation = Preparation {
        grow: false,
        repositories: Vec::new(),
        keys: String::new(),
        sync: false,
        packages: Vec::new(),
        kernel: KernelRelease::parse("6.1.0-56-cloud-amd64").unwrap(),
        kernel_package: Nevra::parse("kernel-core-6.1.192-56.cloud.x86_64").unwrap(),
        exec: Vec::new(),
        boot: true,
        boot_patience: Duration::from_secs(60),
    };
    let directory = tempfile::tempdir().unwrap();
    let log = Utf8Path::from_path(directory.path()).unwrap().join("machine.log");
    let error = prepare(&machine, &preparation, &log, &|_| (), &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, MachineError::AnotherKernel { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "builder-3 runs 6.1.0-55-cloud-amd64 after its reboot, and not 6.1.0-56-cloud-amd64: its boot loader took another \
         entry than the one that it was told\n  entry /boot/loader/entries/abc-6.1.0-55-cloud-amd64.conf"
    );
    // Once is enough to see it.
    assert_eq!(machine.reboots.load(Ordering::Relaxed), 1);
}
