//! What can be wrong with an RPM file.

use std::io;
use std::path::Path;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A file, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct Error {
    /// The file's path, or the name that the caller gave it.
    pub file: String,
    /// What is wrong.
    #[source]
    pub problem: Box<Problem>,
}

/// What is wrong with an RPM file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read, or its compressed payload is damaged.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// The first bytes are not those of an RPM.
    #[error("is no RPM file")]
    NotRpm,
    /// It stops before it should.
    #[error("is truncated: it ends within the {0}")]
    Truncated(&'static str),
    /// A header that cannot be what rpm wrote.
    #[error("its {section} is damaged: {problem}")]
    Header {
        /// Which header: `signature header` or `header`.
        section: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The header is sound and does not say what it must.
    #[error("its header {0}")]
    Facts(String),
    /// The payload is no archive of the files that the header lists.
    #[error("its payload is damaged: {0}")]
    Payload(String),
    /// More than the caller allows.
    #[error("{what} exceeds the limit of {limit} ({setting})")]
    Limit {
        /// What is too large.
        what: String,
        /// The limit.
        limit: u64,
        /// Which field of the limits.
        setting: &'static str,
    },
    /// A digest that the file carries is not the digest of its bytes.
    #[error("the {what} digest does not match: the file is damaged or truncated")]
    Digest {
        /// `header` or `payload`.
        what: &'static str,
    },
    /// No digest is there to hold the bytes to. Packages of rpm before 4.14 have none for their payload but
    /// an MD5.
    #[error("has no {what} digest that can be relied on")]
    NoDigest {
        /// `header` or `payload`.
        what: &'static str,
    },
    /// Nobody signed it.
    #[error("is not signed")]
    Unsigned,
    /// It has only a signature of rpm 3's kind, over header and payload, which is not read.
    #[error("has only a legacy signature (header and payload, rpm 3), which proves nothing about its header")]
    LegacySignature,
    /// The key that made the signature is not in the keyring.
    #[error("is signed with key {key_id}, which is not in the keyring")]
    UnknownKey {
        /// The key's id, 16 hexadecimal digits, or its fingerprint.
        key_id: String,
    },
    /// The key is known, and it did not make this signature over these bytes.
    #[error("has a bad signature by key {key_id}")]
    BadSignature {
        /// The key's id.
        key_id: String,
        /// What the verifier said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The signature was made after the key had expired, or the key has expired at the moment that the
    /// keyring is to be judged at.
    #[error("is signed with key {key_id}, which expired at {expired} (seconds since 1970)")]
    ExpiredKey {
        /// The key's id.
        key_id: String,
        /// When it expired, in seconds since 1970.
        expired: u64,
    },
    /// The key's owner says not to trust it any more.
    #[error("is signed with key {key_id}, which is revoked")]
    RevokedKey {
        /// The key's id.
        key_id: String,
    },
    /// The signature is over a hash that can be forged.
    #[error("has a signature by key {key_id} over {hash}, which proves nothing")]
    WeakHash {
        /// The key's id.
        key_id: String,
        /// The hash's name.
        hash: String,
    },
    /// A path that leads out of where files are written.
    #[error("holds the path {path:?}, which is refused: {problem}")]
    Path {
        /// The path, shortened.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file cannot be written.
    #[error("{path:?} cannot be written")]
    Write {
        /// The path within the destination.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Whoever was handed a file failed with it.
    #[error("{path:?} could not be handled")]
    Visitor {
        /// The path within the package.
        path: String,
        /// What it said.
        source: io::Error,
    },
}

impl Problem {
    /// The problem of a file.
    pub(crate) fn of(self, file: &str) -> Error {
        Error { file: file.to_owned(), problem: Box::new(self) }
    }

    /// An I/O error on the way to a file's bytes: the end of them means that it is truncated.
    pub(crate) fn reading(error: io::Error, section: &'static str) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated(section),
            _ => Self::Read(error),
        }
    }
}

/// A path as errors have it.
pub(crate) fn name_of(path: &Path) -> String {
    path.display().to_string()
}

/// Enough of a text to know it by.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}
