//! The cell: the unit that is planned, built, proven and published.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Architecture, DriverVersion, KernelRelease, TrainName};

/// One (train, architecture, kernel release, driver stack version).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// The release train.
    pub train: TrainName,
    /// The architecture of its machines.
    pub arch: Architecture,
    /// The kernel that the modules are for.
    pub kernel: KernelRelease,
    /// The driver stack's version.
    pub driver: DriverVersion,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.train, self.driver, self.kernel, self.arch)
    }
}
