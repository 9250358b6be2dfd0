//! Names that travel: each kind is its own type, and none can hold a character that would let it escape a
//! path, a URL segment or a shell word.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name accepted. `uname -r` is limited to 64 bytes by the kernel (`__NEW_UTS_LEN`); RPM names in
/// the wild stay below 128.
const MAX_LENGTH: usize = 128;

/// Why a text was refused as a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("{kind} is empty")]
    Empty {
        /// What the text was meant to be.
        kind: &'static str,
    },
    /// More bytes than any real name has.
    #[error("{kind} is {length} bytes long, more than {MAX_LENGTH}")]
    TooLong {
        /// What the text was meant to be.
        kind: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// A character that is not of the set `A-Z a-z 0-9 . _ + ~ ^ -`, or a leading dot or dash.
    #[error("{kind} {text:?} has {character:?} at byte {position}, which a {kind} cannot have there")]
    Character {
        /// What the text was meant to be.
        kind: &'static str,
        /// The whole text.
        text: String,
        /// The first character that does not belong.
        character: char,
        /// Its byte offset.
        position: usize,
    },
}

/// One rule for all names: a single path segment that no shell, URL or file system reads as anything else.
fn validate(kind: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { kind });
    }
    if text.len() > MAX_LENGTH {
        return Err(NameError::TooLong { kind, length: text.len() });
    }
    let allowed = |position: usize, c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '_' | '+' | '~' | '^')
            || (position > 0 && matches!(c, '.' | '-'))
    };
    match text.char_indices().find(|&(position, c)| !allowed(position, c)) {
        None => Ok(()),
        Some((position, character)) => {
            Err(NameError::Character { kind, text: text.to_owned(), character, position })
        }
    }
}

macro_rules! name {
    ($(#[$meta:meta])* $name:ident, $kind:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the text and takes it as a name of this kind.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                validate($kind, text)?;
                Ok(Self(text.to_owned()))
            }

            /// The name as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                validate($kind, &text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

name! {
    /// What `uname -r` prints on the booted kernel, e.g. `5.14.0-427.31.1.el9_4.x86_64`.
    ///
    /// `kernel-core` says it in `Provides: kernel-uname-r = …`; on RHEL and its rebuilds it equals
    /// `version-release.arch` of that package.
    KernelRelease, "kernel release"
}
name! {
    /// One source RPM of the driver stack that yields kernel modules, by its package name: `mlnx-ofa_kernel`.
    ComponentName, "component name"
}
name! {
    /// The release train's name, chosen by the site.
    TrainName, "train name"
}
name! {
    /// The version of the driver stack as the vendor counts it: `3.2.0` for DOCA 3.2.0.
    DriverVersion, "driver version"
}
name! {
    /// A YUM repository's id, as the section of a `.repo` file names it.
    RepositoryId, "repository id"
}
name! {
    /// The date of a repository snapshot as it stands in its URL: `20241101T000000`.
    Snapshot, "snapshot"
}
name! {
    /// An RPM architecture: `x86_64`, `aarch64`, `noarch`, `src`.
    Architecture, "architecture"
}
name! {
    /// One invocation that builds or publishes; sorts by start time.
    RunId, "run id"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn real_names_are_accepted() {
        for text in
            ["5.14.0-427.31.1.el9_4.x86_64", "6.1.0-56-cloud-amd64", "6.12.0-211.33.1.el10_2.x86_64+64k"]
        {
            assert_eq!(KernelRelease::parse(text).unwrap().as_str(), text);
        }
        assert!(ComponentName::parse("mlnx-ofa_kernel").is_ok());
    }

    #[test]
    fn names_that_escape_a_path_are_refused() {
        for text in ["", ".", "..", "../x", "a/b", "-rf", ".hidden", "a b", "a\0b", "a\nb", "ü"] {
            assert!(KernelRelease::parse(text).is_err(), "{text:?} was accepted");
        }
        assert!(KernelRelease::parse(&"a".repeat(129)).is_err());
    }

    #[test]
    fn an_error_names_the_kind_and_the_place() {
        let error = ComponentName::parse("is er").unwrap_err();
        assert_eq!(
            error.to_string(),
            "component name \"is er\" has ' ' at byte 2, which a component name cannot have there"
        );
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_one_path_segment(text in "\\PC{0,40}") {
            if let Ok(name) = TrainName::parse(&text) {
                let path = std::path::Path::new(name.as_str());
                prop_assert_eq!(path.components().count(), 1);
                prop_assert!(matches!(path.components().next(), Some(std::path::Component::Normal(_))));
            }
        }
    }
}
