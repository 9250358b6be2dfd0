//! The path of a repository below a target.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use drivetrain_model::TrainName;
use serde::{Deserialize, Serialize};

/// More parts than any layout has.
const MAX_PARTS: usize = 16;

/// A relative path of safe parts: `rocky-9.4/3.2.0/5.14.0-427.31.1.el9_4.x86_64/x86_64`. No part is empty,
/// begins with `.`, or has a character that a shell, a URL or a file system reads in its own way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryPath(String);

/// Why a text is no path of a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot be a repository's path: {why}")]
pub struct PathError {
    text: String,
    why: String,
}

impl RepositoryPath {
    /// Checks a path.
    ///
    /// # Errors
    /// With the part that cannot be used.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let fail = |why: String| PathError { text: text.chars().take(200).collect(), why };
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > MAX_PARTS {
            return Err(fail(format!("it has more than {MAX_PARTS} parts")));
        }
        for part in parts {
            // The rules for the names that layouts are filled with, so that both agree.
            if TrainName::parse(part).is_err() {
                return Err(fail(format!(
                    "the part {:?} is not allowed",
                    part.chars().take(80).collect::<String>()
                )));
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The path as text, with `/` between its parts.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    pub(crate) fn to_path(&self) -> PathBuf {
        self.parts().collect()
    }
}

impl fmt::Display for RepositoryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for RepositoryPath {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for RepositoryPath {
    type Error = PathError;
    fn try_from(text: String) -> Result<Self, PathError> {
        Self::parse(&text)
    }
}

impl From<RepositoryPath> for String {
    fn from(path: RepositoryPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for text in [
            "",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            ".drivetrain/a",
            "a/.versions",
            "a b",
            "a\n",
            "-a",
            "a\\b",
        ] {
            assert!(RepositoryPath::parse(text).is_err(), "{text:?}");
        }
        assert!(RepositoryPath::parse(&vec!["a"; 17].join("/")).is_err());
        assert!(RepositoryPath::parse("rocky-9.4/3.2.0/6.12.0-211.el10_2.x86_64+64k/x86_64").is_ok());
    }

    proptest! {
        #[test]
        fn an_accepted_path_stays_below_its_root(text in "[a./\\\\ \n-]{0,12}|\\PC{0,30}") {
            if let Ok(path) = RepositoryPath::parse(&text) {
                let only_names = path.to_path().components().all(|part| matches!(part, std::path::Component::Normal(_)));
                prop_assert!(only_names);
            }
        }
    }
}
