//! What can be wrong with a repository.

use std::io;

use drivetrain_model::{Checksum, ChecksumError};

use crate::HrefError;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What is wrong with metadata, or with reading it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reader that was handed in failed, or a compressed stream is damaged.
    #[error("{document} cannot be read")]
    Read {
        /// Which metadata file: `repomd.xml`, `primary`, …
        document: String,
        /// What the reader said.
        source: io::Error,
    },
    /// The text is not well-formed XML.
    #[error("{document} is not well-formed XML{}", place(*.offset))]
    Xml {
        /// Which metadata file.
        document: String,
        /// Where, in bytes after decompression; absent where it is not known.
        offset: Option<u64>,
        /// What the XML parser said.
        source: quick_xml::Error,
    },
    /// Well-formed, but not what the format asks for.
    #[error("{document}: {subject}: {problem}")]
    Malformed {
        /// Which metadata file.
        document: String,
        /// Which part of it: a package's name, a record's kind.
        subject: String,
        /// What is wrong.
        problem: String,
    },
    /// A `<!DOCTYPE`. No tool writes one, and they carry entity bombs and references to other files.
    #[error("{document}: document type declarations are not allowed in repository metadata")]
    DocumentType {
        /// Which metadata file.
        document: String,
    },
    /// An entity that XML does not predefine.
    #[error("{document}: unknown entity &{name};")]
    Entity {
        /// Which metadata file.
        document: String,
        /// The entity's name, shortened.
        name: String,
    },
    /// More than [`crate::Limits`] allows.
    #[error("{document}: {what} exceeds the limit of {limit} ({setting})")]
    Limit {
        /// Which metadata file.
        document: String,
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// The field of [`crate::Limits`], or the statement that the limit comes from.
        setting: &'static str,
    },
    /// The document stops before its root element is closed.
    #[error("{document} is truncated: it ends before </{root}>")]
    Truncated {
        /// Which metadata file.
        document: String,
        /// The element that was not closed.
        root: &'static str,
    },
    /// A location that could lead out of the repository.
    #[error("{document}: {subject}: {source}")]
    Href {
        /// Which metadata file.
        document: String,
        /// Whose location: a package's name, a record's kind.
        subject: String,
        /// The location and what is wrong with it.
        source: HrefError,
    },
    /// A location with `xml:base`: its file would come from elsewhere, with nothing that says who answers
    /// for it.
    #[error("{document}: {subject} points to another host: xml:base {base:?}")]
    OtherHost {
        /// Which metadata file.
        document: String,
        /// Whose location.
        subject: String,
        /// The base.
        base: String,
    },
    /// A checksum that is malformed, or of a kind that proves nothing.
    #[error("{document}: {subject}: {source}")]
    Checksum {
        /// Which metadata file.
        document: String,
        /// Whose checksum.
        subject: String,
        /// What is wrong with it.
        source: ChecksumError,
    },
    /// The bytes are not the ones that were meant.
    #[error("{document} has checksum {actual}, and {expected} was expected")]
    WrongChecksum {
        /// Which metadata file.
        document: String,
        /// What `repomd.xml` says.
        expected: Checksum,
        /// What was read.
        actual: Checksum,
    },
    /// The size is not the one that was meant.
    #[error("{document} has {actual} bytes, and {expected} were expected")]
    WrongSize {
        /// Which metadata file.
        document: String,
        /// What `repomd.xml` says.
        expected: u64,
        /// What was read.
        actual: u64,
    },
    /// A compression that is not read.
    #[error("{document}: {compression} compression is not supported: gzip, xz and zstd are")]
    Compression {
        /// Which metadata file.
        document: String,
        /// The compression's name.
        compression: &'static str,
    },
}

fn place(offset: Option<u64>) -> String {
    offset.map(|offset| format!(" (near byte {offset})")).unwrap_or_default()
}

impl Error {
    /// Takes back an error of ours that travelled through `io::Read` as an `io::Error`.
    pub(crate) fn from_io(document: &str, error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(source) => Self::Read { document: document.to_owned(), source },
        }
    }

    pub(crate) fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }

    pub(crate) fn malformed(document: &str, subject: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Malformed { document: document.to_owned(), subject: subject.into(), problem: problem.into() }
    }

    pub(crate) fn limit(document: &str, what: &'static str, limit: u64, setting: &'static str) -> Self {
        Self::Limit { document: document.to_owned(), what, limit, setting }
    }
}
