//! What can go wrong when a signature is made, or put into a module.

use std::time::Duration;

use crate::{CertificateError, ModuleDigest, TokenError};

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key refuses, which it did not when it was read.
    #[error("the key makes no signature")]
    Key(#[source] rsa::Error),
    /// The token refuses.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The command is not there, or is no program.
    #[error("the signing command {command} cannot be started")]
    Start {
        /// Its first word.
        command: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The command could not be given its input, or its output not read.
    #[error("the signing command {command} broke off")]
    Talk {
        /// Its first word.
        command: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The command says no.
    #[error("the signing command {command} failed with {status}{said}")]
    Failed {
        /// Its first word.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The last of what it said, after a colon; empty where it said nothing.
        said: String,
    },
    /// The command does not come to an end.
    #[error("the signing command {command} did not end within {} seconds, and was ended", limit.as_secs())]
    TooLong {
        /// Its first word.
        command: String,
        /// How long it may take.
        limit: Duration,
    },
    /// The command gives more than a signature.
    #[error("the signing command {command} gave more than {limit} bytes, which is no signature")]
    TooMuch {
        /// Its first word.
        command: String,
        /// How much it may give.
        limit: usize,
    },
    /// What came back is not a good signature of the digest.
    #[error("{signer} gave {length} bytes for {digest} that are no signature of it by {certificate}")]
    NotASignature {
        /// What made it.
        signer: String,
        /// How many bytes.
        length: usize,
        /// What it should be a signature of.
        digest: ModuleDigest,
        /// The certificate, in words.
        certificate: String,
        /// Why.
        #[source]
        source: Box<CertificateError>,
    },
    /// Not as many signatures as were asked for.
    #[error("{signer} gave {given} signatures for {asked} digests")]
    Count {
        /// What made them.
        signer: String,
        /// How many.
        given: usize,
        /// How many there should be.
        asked: usize,
    },
}

/// Why a module cannot be signed, or is not taken as signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// What is appended to it cannot be read.
    #[error(transparent)]
    Appended(#[from] drivetrain_kmod::SignatureError),
    /// It carries no signature.
    #[error("it is not signed")]
    Unsigned,
    /// The signature is in a form that kernels do not take.
    #[error("its signature is not one that kernels take: {0}")]
    Form(&'static str),
    /// The signature is not readable.
    #[error("its signature cannot be read")]
    Unreadable(#[source] der::Error),
    /// A signature of this certificate is not there.
    #[error("it has no signature by {0}")]
    NotBy(String),
    /// A signature of this certificate is not one of these bytes.
    #[error("its signature by {certificate} is not one of these bytes: it was changed after it was signed")]
    Bad {
        /// The certificate, in words.
        certificate: String,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// The structure cannot be made.
    #[error("no signature can be made of it")]
    Encode(#[source] der::Error),
    /// Its compression could not be taken off.
    #[error(transparent)]
    Decompress(#[from] drivetrain_kmod::DecompressError),
    /// It could not be compressed again.
    #[error("it cannot be compressed with {compression}")]
    Compress {
        /// What with.
        compression: drivetrain_kmod::Compression,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
