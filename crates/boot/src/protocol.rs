//! What is asked of the guest, and what it answers: a request in its initramfs, and a line of JSON for each fact.

use serde::{Deserialize, Serialize};

/// Where the request is in the guest. Only what was booted by [`crate::boot`] has one.
pub(crate) const REQUEST: &str = "/drivetrain-guest.json";
/// What stands on the kernel's command line of a guest.
pub(crate) const MARK: &str = "drivetrain.guest";
/// What each line of facts begins with, so that whatever else arrives is passed over.
pub(crate) const PREFIX: &str = "@drivetrain ";
/// Where the system that the functional check runs in is.
pub(crate) const SYSTEM: &str = "/system";
/// The longest line that is read as a fact.
pub(crate) const LONGEST_LINE: usize = 64 << 10;
/// How many lines of the kernel's are kept of one module.
pub(crate) const KEPT_LINES: usize = 80;
/// How many characters are kept of one such line.
pub(crate) const KEPT_CHARACTERS: usize = 400;

/// What the guest is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GuestRequest {
    /// The modules, each after those that it needs.
    pub modules: Vec<GuestModule>,
    /// How long each step may take.
    pub step_ms: u64,
    /// What is tried with the modules once they are loaded.
    pub check: Option<GuestCheck>,
}

/// A module to load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GuestModule {
    /// The kernel's name for it.
    pub name: String,
    /// Its file in the guest, decompressed.
    pub path: String,
}

/// RDMA over a network device that is not there: what is started in [`SYSTEM`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GuestCheck {
    /// The programs' paths there.
    pub ip: String,
    pub pingpong: String,
    /// Where their libraries are there.
    pub library_path: String,
}

/// What the guest saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fact")]
pub(crate) enum Fact {
    /// The agent runs.
    Booted { release: String, uptime_ms: u64, sig_enforce: Option<bool>, memory_kib: u64 },
    /// The request cannot be done at all.
    Unable { why: String },
    /// A module is about to be loaded.
    Loading { module: String },
    /// It is loaded.
    Loaded {
        module: String,
        ms: u64,
        srcversion: Option<String>,
        build_id: Option<String>,
        taint: Option<String>,
        said: Vec<String>,
    },
    /// The kernel refuses it.
    Refused { module: String, ms: u64, error: String, said: Vec<String> },
    /// Whoever loaded it was killed by the kernel in the midst of it.
    Died { module: String, ms: u64, how: String, said: Vec<String> },
    /// It does not come back.
    Hangs { module: String, ms: u64, stack: Vec<String>, said: Vec<String> },
    /// It was left out.
    NotTried { module: String, why: String },
    /// A step of the functional check was made.
    Step { step: String, ok: bool, ms: u64, said: Vec<String> },
    /// A counter of a device.
    Counter { counter: String, before: u64, after: u64 },
    /// All is done.
    Finished { uptime_ms: u64, tainted: u64, said: Vec<String> },
}
