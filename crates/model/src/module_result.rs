//! What a kernel makes of a module that is loaded into it.

use serde::{Deserialize, Serialize};

/// What became of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum ModuleResult {
    /// It is loaded.
    Loaded,
    /// Something had loaded it already: one that was needed, and is none of ours.
    AlreadyThere,
    /// The kernel refuses it.
    Refused {
        /// What it answers.
        error: String,
    },
    /// It brought the kernel, or what loaded it, down.
    Died {
        /// How.
        how: String,
    },
    /// It never came back.
    Hangs,
    /// It was left out.
    NotTried {
        /// Why.
        why: String,
    },
}

impl ModuleResult {
    /// Whether it is in the kernel.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Loaded | Self::AlreadyThere)
    }

    /// A few words for a table.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Loaded => "loaded".to_owned(),
            Self::AlreadyThere => "was loaded already".to_owned(),
            Self::Refused { error } => format!("refused: {error}"),
            Self::Died { how } => format!("broke the kernel: {how}"),
            Self::Hangs => "hangs".to_owned(),
            Self::NotTried { why } => format!("not tried: {why}"),
        }
    }
}
