//! The configuration as evidence.

use serde::Serialize;

use crate::Config;

/// A configuration as it took effect: defaults filled in, paths absolute, URLs complete, and credentials
/// named by their environment variable instead of their text.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(transparent)]
pub struct Effective<'a>(&'a Config);

impl Config {
    /// What this configuration amounts to, to be stored beside what was built. Holds no secret: [`crate::Secret`]
    /// has no other serialised form than its variable's name.
    #[must_use]
    pub fn effective(&self) -> Effective<'_> {
        Effective(self)
    }
}
