//! What can go wrong.

use std::io;
use std::path::Path;
use std::time::Duration;

use drivetrain_repodata::write::WriteError;

use crate::{PathError, RepositoryPath};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, PublishError>;

/// Why something was not published. Whatever it is, what was served before is still served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The path of a repository is none.
    #[error(transparent)]
    Path(#[from] PathError),
    /// There is something that drivetrain did not put there.
    #[error("{path} is in the way: {what}")]
    InTheWay {
        /// Where.
        path: String,
        /// What it is, and what to do.
        what: String,
    },
    /// Somebody else is publishing.
    #[error("{holder} has been publishing below {root} for longer than {waited:?}")]
    Busy {
        /// The target's directory.
        root: String,
        /// Who holds the lock, in words.
        holder: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The disk is full.
    #[error(
        "the disk that holds {path} is full; what was begun is removed, and nothing that is served has changed"
    )]
    Full {
        /// Where the space ran out.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing to publish.
    #[error("no packages to publish in {0}")]
    Empty(RepositoryPath),
    /// A file to publish is no RPM that can be listed.
    #[error("a package cannot be published")]
    Package(#[source] drivetrain_rpmfile::Error),
    /// The name of an evidence file leads elsewhere.
    #[error(
        "evidence cannot be called {0:?}: letters, digits and `._+-` can be used, and no `.` at the beginning"
    )]
    EvidenceName(String),
    /// The metadata cannot be made.
    #[error("the repository's metadata cannot be written")]
    Metadata(#[source] Box<WriteError>),
    /// What was written does not read back as it should.
    #[error("version {version} of {path} does not read back: {what}")]
    Verification {
        /// The repository.
        path: RepositoryPath,
        /// The version.
        version: u64,
        /// What is wrong.
        what: String,
    },
    /// Nothing is served at a path.
    #[error("nothing is served at {0}")]
    NotServed(RepositoryPath),
    /// The version that was asked for is not on disk.
    #[error("{path} has no version {version}: there {}", versions_in_words(.there))]
    NoSuchVersion {
        /// The repository.
        path: RepositoryPath,
        /// What was asked for.
        version: u64,
        /// What there is.
        there: Vec<u64>,
    },
    /// There is no version to go back to.
    #[error("{path} serves version {version}, and no earlier version is on disk")]
    NothingBefore {
        /// The repository.
        path: RepositoryPath,
        /// What is served.
        version: u64,
    },
    /// A version's manifest cannot be read.
    #[error("{path} is no manifest that this version of drivetrain reads")]
    Manifest {
        /// The file.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A file cannot be read or written; the error names it.
    #[error(transparent)]
    File(io::Error),
}

impl PublishError {
    /// Whether the disk was full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Says of an error whether it is about space, which has an answer of its own.
    pub(crate) fn in_directory(self, directory: &Path) -> Self {
        let full = |source| Self::Full { path: directory.display().to_string(), source };
        match self {
            Self::File(source) if is_full(&source) => full(source),
            Self::Metadata(error) => match *error {
                WriteError::File(source) if is_full(&source) => full(source),
                other => Self::Metadata(Box::new(other)),
            },
            other => other,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn versions_in_words(versions: &[u64]) -> String {
    match versions {
        [] => "is none".to_owned(),
        [only] => format!("is {only}"),
        several => {
            let words: Vec<String> = several.iter().map(u64::to_string).collect();
            format!("are {}", words.join(", "))
        }
    }
}

impl From<io::Error> for PublishError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<WriteError> for PublishError {
    fn from(error: WriteError) -> Self {
        Self::Metadata(Box::new(error))
    }
}

impl From<drivetrain_rpmfile::Error> for PublishError {
    fn from(error: drivetrain_rpmfile::Error) -> Self {
        Self::Package(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_sees() {
        let path = RepositoryPath::parse("rocky-9.4/3.2.0/5.14.0-427.el9_4.x86_64/x86_64").unwrap();
        let full = PublishError::File(io::Error::from(io::ErrorKind::StorageFull));
        let errors = [
            PublishError::Path(RepositoryPath::parse("a/../b").unwrap_err()),
            PublishError::InTheWay {
                path: "/srv/drivers/rocky-9.4".to_owned(),
                what: "a symbolic link. If it is a repository, no other can be below it; else remove it"
                    .to_owned(),
            },
            PublishError::Busy {
                root: "/srv/drivers".to_owned(),
                holder: "anna@control (process 4711, since 2026-11-24T10:00:00Z)".to_owned(),
                waited: Duration::from_secs(300),
            },
            full.in_directory(Path::new("/srv/drivers")),
            PublishError::Empty(path.clone()),
            PublishError::EvidenceName("../lock.json".to_owned()),
            PublishError::Verification {
                path: path.clone(),
                version: 7,
                what: "Packages/kmod-a.rpm is not what the metadata say".to_owned(),
            },
            PublishError::NotServed(path.clone()),
            PublishError::NoSuchVersion { path: path.clone(), version: 9, there: vec![] },
            PublishError::NothingBefore { path, version: 1 },
        ];
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n"));
    }
}
