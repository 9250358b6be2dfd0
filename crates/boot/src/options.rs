//! What a site, or another part of drivetrain, chooses of a boot.

use std::time::Duration;

use camino::Utf8PathBuf;

use crate::EmulatorThere;

/// How a kernel is booted.
#[derive(Debug, Clone)]
pub struct BootOptions {
    /// Where QEMU runs.
    pub emulator: Emulator,
    /// Memory, in MiB.
    pub memory: u32,
    /// Processors. With two, one that a module keeps busy for ever does not keep the agent from saying so.
    pub cpus: u32,
    /// After this time QEMU is killed.
    pub timeout: Duration,
    /// How long one module may take to load, or one command of the functional check.
    pub step_timeout: Duration,
    /// What stands on the kernel's command line besides, such as `module.sig_enforce=1`.
    pub kernel_arguments: Vec<String>,
    /// UEFI firmware to boot by; absent for the BIOS that QEMU brings.
    pub firmware: Option<Firmware>,
    /// The program that becomes the guest's first process: drivetrain's own.
    pub agent: Utf8PathBuf,
}

/// Where QEMU runs.
#[derive(Debug, Clone)]
pub enum Emulator {
    /// On this host.
    Here,
    /// On another machine; with the firmware that QEMU brings.
    There(EmulatorThere),
}

/// UEFI firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// The code: `OVMF_CODE.fd`. It is not written to.
    pub code: Utf8PathBuf,
    /// The variables, certificates among them. The guest writes to this very file: give it a copy.
    pub variables: Utf8PathBuf,
    /// Whether the firmware was built to be entered in system management mode, as those with Secure Boot are.
    pub secure: bool,
}

impl BootOptions {
    /// The least that a kernel with a driver stack gets along with, in MiB.
    pub const LEAST_MEMORY: u32 = 128;

    /// The defaults, with this agent.
    #[must_use]
    pub fn new(agent: impl Into<Utf8PathBuf>) -> Self {
        Self {
            emulator: Emulator::Here,
            memory: 2048,
            cpus: 2,
            timeout: Duration::from_secs(300),
            step_timeout: Duration::from_secs(60),
            kernel_arguments: Vec::new(),
            firmware: None,
            agent: agent.into(),
        }
    }

    /// With another time for the whole; one step gets no more than a fifth of it.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self.step_timeout = self.step_timeout.min(timeout / 5);
        self
    }
}
