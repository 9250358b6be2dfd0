//! What can go wrong.

use std::io;
use std::path::Path;
use std::time::Duration;

use drivetrain_model::Sha256Digest;
use drivetrain_pulp::PulpError;
use drivetrain_repodata::write::WriteError;

use crate::{PathError, Replaced, RepositoryPath};

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
    /// There is more evidence than is published.
    #[error(
        "{files} files of evidence with {bytes} bytes are more than the 64 files and 64 MiB that are published"
    )]
    EvidenceSize {
        /// How many files.
        files: usize,
        /// How large they are together.
        bytes: usize,
    },
    /// The metadata cannot be made.
    #[error("the repository's metadata cannot be written")]
    Metadata(#[source] Box<WriteError>),
    /// The metadata cannot be signed.
    #[error("the repository's metadata cannot be signed: {0}")]
    Signature(String),
    /// A version that is signed would be served with metadata that are not.
    #[error(
        "{path} is signed with the key {key}, and there is none here: name it in publish.sign, so that what is served \
         anew is signed as well"
    )]
    NoKey {
        /// The repository.
        path: RepositoryPath,
        /// The fingerprint of the key.
        key: String,
    },
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
    /// The server was asked for something, and it was not done.
    #[error(transparent)]
    Pulp(#[from] PulpError),
    /// The server's disk is full, or would be.
    #[error(
        "{server} has no room: {} MB are needed, with what it keeps for itself, and {} MB are free; nothing that is \
         served has changed",
        .needed.div_ceil(1 << 20), .free >> 20
    )]
    ServerFull {
        /// The server.
        server: String,
        /// How many bytes it has to have.
        needed: u64,
        /// How many are free.
        free: u64,
    },
    /// What is on the server is not as drivetrain left it.
    #[error("{distribution} {what}")]
    Changed {
        /// Which object.
        distribution: String,
        /// What it does.
        what: String,
    },
    /// What the content server has is not what was built; it is not served.
    #[error("what was published for {path} does not read back: {what}; it is not served")]
    ReadBack {
        /// The repository.
        path: RepositoryPath,
        /// What is wrong.
        what: String,
    },
    /// The server did not publish metadata that its signing service signs.
    #[error(
        "the metadata of {path} could not be published, which the signing service {service} signs; what was served \
         before is served. If it is the service that failed, its administrator finds why by running its program on \
         the server"
    )]
    SigningService {
        /// The repository.
        path: RepositoryPath,
        /// The service's name.
        service: String,
        /// How the server's task ended.
        source: Box<PulpError>,
    },
    /// Metadata are not signed as they should be. They are not served.
    #[error("the metadata of {path} are not signed by the key {key}: {what}; they are not served")]
    NotSigned {
        /// The repository.
        path: RepositoryPath,
        /// The fingerprint of the key.
        key: String,
        /// What is wrong.
        what: String,
    },
    /// The server's files are not what was sent to it. They are not served.
    #[error(
        "{server} has not kept what it was sent: {what}. Its disk was full when that was written, or a process of it \
         was killed; it is not served. {}", if *.removed {
            "It was removed: run again"
        } else {
            "An administrator can remove it with `pulp orphan cleanup --protection-time 0`: then run again"
        }
    )]
    Damaged {
        /// The server.
        server: String,
        /// Which file is damaged, and how.
        what: String,
        /// The package that it should be; `None` where it is of the metadata.
        package: Option<Sha256Digest>,
        /// Whether it could be removed, so that it will be sent again.
        removed: bool,
    },
    /// Packages would take the place of others of the same name, version and architecture.
    #[error(
        "{path} serves other packages of the same names and versions, and nodes that have those would never be told: \
         {}", names_in_words(.packages)
    )]
    Replaced {
        /// The repository.
        path: RepositoryPath,
        /// Which.
        packages: Vec<Replaced>,
    },
    /// A version that is noted is no longer there.
    #[error("version {version} of {path} is no longer on the server: its publication was deleted")]
    Gone {
        /// The repository.
        path: RepositoryPath,
        /// The version.
        version: u64,
    },
    /// Of several that were to change together one could not.
    #[error(
        "{}", if .not_restored.is_empty() {
            "not all could be changed, and so none was: what was served before is served".to_owned()
        } else {
            format!("not all could be changed, and what was could not be changed back: {}", .not_restored.join("; "))
        }
    )]
    Together {
        /// What went wrong.
        source: Box<PublishError>,
        /// What was changed and is not as it was.
        not_restored: Vec<String>,
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

fn names_in_words(packages: &[Replaced]) -> String {
    const SHOWN: usize = 5;
    let names: Vec<String> = packages.iter().take(SHOWN).map(|package| package.nevra.to_string()).collect();
    let more = packages.len().saturating_sub(SHOWN);
    if more > 0 { format!("{} and {more} more", names.join(", ")) } else { names.join(", ") }
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
