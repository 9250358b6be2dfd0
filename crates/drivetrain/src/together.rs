//! What the cells of a matrix share while they run beside each other.

use std::num::NonZeroUsize;
use std::sync::{Arc, Weak};

use camino::Utf8Path;
use drivetrain_build::Slots;
use drivetrain_host::Host;
use drivetrain_model::ExitCode;
use tokio::sync::{Mutex, MutexGuard};

use crate::failure::{Failure, Result};

/// Shared by cells that run at the same time. Cheap to clone.
#[derive(Clone, Default)]
pub struct Together(Arc<Inner>);

#[derive(Default)]
struct Inner {
    planning: Mutex<()>,
    slots: Mutex<Weak<Slots>>,
}

impl Together {
    /// Waits for its turn to plan. What several cells read (metadata, the source archive, a root's packages) the first
    /// one reads, and the others find it there.
    pub async fn planning(&self) -> MutexGuard<'_, ()> {
        self.0.planning.lock().await
    }

    /// The compile slots of all cells together. They go with the last build that holds them: nothing of them is left
    /// while something else is done.
    pub async fn slots(&self, host: &dyn Host, work: &Utf8Path, jobs: NonZeroUsize) -> Result<Arc<Slots>> {
        let mut slots = self.0.slots.lock().await;
        if let Some(slots) = slots.upgrade() {
            return Ok(slots);
        }
        let made = Slots::create(host, work, jobs).await;
        let made = Arc::new(made.map_err(|error| Failure::of(ExitCode::Build, &error))?);
        *slots = Arc::downgrade(&made);
        Ok(made)
    }
}
