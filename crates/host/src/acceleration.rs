//! What runs the instructions of a machine under QEMU on this host.

use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How long QEMU may take to say whether it can use KVM.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// What runs the instructions of a machine under QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acceleration {
    /// This host's processors.
    Kvm,
    /// QEMU itself.
    Emulated,
}

impl Acceleration {
    /// As `-accel` and `-cpu` have it.
    #[must_use]
    pub fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Emulated => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }

    /// Found out by a machine that is stopped before its first instruction: that there is a `/dev/kvm` says little
    /// where this host is a virtual machine itself. `qemu` starts QEMU, and is given its arguments. Waits for it.
    #[must_use]
    pub fn probe(mut qemu: Command) -> Self {
        if !Path::new("/dev/kvm").exists() {
            return Self::Emulated;
        }
        qemu.args(Self::Kvm.arguments());
        qemu.args(["-m", "64", "-nodefaults", "-display", "none", "-S", "-monitor", "stdio"]);
        qemu.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        if comes_up(qemu) { Self::Kvm } else { Self::Emulated }
    }
}

/// Whether a machine comes up that is told to quit.
fn comes_up(mut qemu: Command) -> bool {
    let Ok(mut child) = qemu.spawn() else { return false };
    if let Some(mut input) = child.stdin.take() {
        // One that has ended already does not read it, and its status says why.
        drop(input.write_all(b"quit\n"));
    }
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => std::thread::sleep(PAUSE),
            Err(_) => break,
        }
    }
    drop(child.kill());
    drop(child.wait());
    false
}

impl fmt::Display for Acceleration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Emulated => "emulation",
        })
    }
}
