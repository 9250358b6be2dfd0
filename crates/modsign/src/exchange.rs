//! Signing on a host that has no network: a file goes there, and a file comes back.

use std::collections::BTreeMap;

use drivetrain_model::Sha256Digest;
use serde::{Deserialize, Serialize};

use crate::store::sign_verified;
use crate::{Certificate, HashKind, ModuleDigest, SignError, Signer};

/// The version of both formats.
const FORMAT: u32 = 1;
/// More modules than any driver stack has.
const MAX_MODULES: usize = 20_000;
/// What so many modules take in a file.
const MAX_BYTES: usize = 64 << 20;

/// What is to be signed. It has no secret, and whoever signs can read what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `request`: what kind of file it is.
    pub drivetrain_signing: Kind,
    /// The version of the format.
    pub format: u32,
    /// The fingerprint of the certificate (SHA-256 of its DER).
    pub certificate: Sha256Digest,
    /// The certificate's name, for people.
    pub name: String,
    /// The hash.
    pub hash: HashKind,
    /// What the modules are for, for people: train, driver, kernel.
    pub purpose: String,
    /// The modules.
    pub modules: Vec<RequestedModule>,
}

/// The kind of an exchanged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// What is to be signed.
    Request,
    /// What was signed.
    Response,
}

/// A module that is to be signed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestedModule {
    /// The package that it is in.
    pub package: String,
    /// Where that installs it.
    pub module: String,
    /// The digest of the module without a signature.
    pub digest: ModuleDigest,
}

/// What was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// `response`: what kind of file it is.
    pub drivetrain_signing: Kind,
    /// The version of the format.
    pub format: u32,
    /// The fingerprint of the certificate.
    pub certificate: Sha256Digest,
    /// A signature for each digest.
    pub signatures: Vec<SignedDigest>,
}

/// A digest with its signature.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedDigest {
    /// The digest.
    pub digest: ModuleDigest,
    /// The raw signature, in hexadecimal.
    pub signature: String,
}

/// Why an exchanged file is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// Not what it should be.
    #[error("it is no {what} for signatures as drivetrain writes it")]
    Unreadable {
        /// `request` or `response`.
        what: &'static str,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The other one.
    #[error("it is the other file: a {0} is needed here")]
    Kind(&'static str),
    /// Of another version.
    #[error("it has format {0}, and this drivetrain knows {FORMAT}: use the same version on both hosts")]
    Format(u32),
    /// Too much.
    #[error("it has more than {0}, which no driver has")]
    TooMuch(&'static str),
    /// For another certificate.
    #[error("it is for the certificate {found}, and this is {expected}")]
    Certificate {
        /// What it is for.
        found: String,
        /// What it should be for.
        expected: String,
    },
    /// A digest with another hash than is said.
    #[error("{0} is not of the hash that it says it is for")]
    Hash(ModuleDigest),
    /// A signature that is none.
    #[error(
        "its signature for {0} is not a good one: the file was changed on its way, or was signed with another key"
    )]
    Signature(ModuleDigest),
    /// The key refuses.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// It cannot be written.
    #[error("it cannot be written")]
    Write(#[source] serde_json::Error),
}

impl Request {
    /// A request; modules of equal content are signed once, and named each.
    #[must_use]
    pub fn new(
        certificate: &Certificate,
        hash: HashKind,
        purpose: String,
        mut modules: Vec<RequestedModule>,
    ) -> Self {
        modules.sort();
        modules.dedup();
        Self {
            drivetrain_signing: Kind::Request,
            format: FORMAT,
            certificate: certificate.fingerprint(),
            name: certificate.name(),
            hash,
            purpose,
            modules,
        }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// Where it is none.
    pub fn read(bytes: &[u8]) -> Result<Self, ExchangeError> {
        let request: Self = read(bytes, "request")?;
        check(request.drivetrain_signing, Kind::Request, request.format)?;
        if request.modules.len() > MAX_MODULES {
            return Err(ExchangeError::TooMuch("20,000 modules"));
        }
        match request.modules.iter().find(|module| module.digest.hash() != request.hash) {
            Some(module) => Err(ExchangeError::Hash(module.digest.clone())),
            None => Ok(request),
        }
    }

    /// Signs what is asked for. Every signature is verified with the certificate.
    ///
    /// # Errors
    /// Where the certificate is another, or the signer refuses.
    pub fn sign(&self, certificate: &Certificate, signer: &dyn Signer) -> Result<Response, ExchangeError> {
        require(self.certificate, certificate)?;
        let mut digests: Vec<ModuleDigest> =
            self.modules.iter().map(|module| module.digest.clone()).collect();
        digests.sort();
        digests.dedup();
        let signatures = sign_verified(certificate, &digests, signer)?;
        let signed = digests.into_iter().zip(signatures);
        let signatures = signed.map(|(digest, raw)| SignedDigest { digest, signature: hex::encode(raw) });
        Ok(Response {
            drivetrain_signing: Kind::Response,
            format: FORMAT,
            certificate: certificate.fingerprint(),
            signatures: signatures.collect(),
        })
    }

    /// As a file, a module a line or a few.
    ///
    /// # Errors
    /// Never, as far as is known.
    pub fn write(&self) -> Result<Vec<u8>, ExchangeError> {
        write(self)
    }
}

impl Response {
    /// Reads a response.
    ///
    /// # Errors
    /// Where it is none.
    pub fn read(bytes: &[u8]) -> Result<Self, ExchangeError> {
        let response: Self = read(bytes, "response")?;
        check(response.drivetrain_signing, Kind::Response, response.format)?;
        if response.signatures.len() > MAX_MODULES {
            return Err(ExchangeError::TooMuch("20,000 signatures"));
        }
        Ok(response)
    }

    /// The signatures, all of them verified: where one is not good, none is taken.
    ///
    /// # Errors
    /// Where it is for another certificate, or one of them is not good.
    pub fn verified(
        &self,
        certificate: &Certificate,
    ) -> Result<BTreeMap<ModuleDigest, Vec<u8>>, ExchangeError> {
        require(self.certificate, certificate)?;
        let verify = |signed: &SignedDigest| {
            let bad = || ExchangeError::Signature(signed.digest.clone());
            let raw = hex::decode(&signed.signature).map_err(|_| bad())?;
            certificate.verify(&signed.digest, &raw).map_err(|_| bad())?;
            Ok((signed.digest.clone(), raw))
        };
        self.signatures.iter().map(verify).collect()
    }

    /// As a file.
    ///
    /// # Errors
    /// Never, as far as is known.
    pub fn write(&self) -> Result<Vec<u8>, ExchangeError> {
        write(self)
    }
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, ExchangeError> {
    if bytes.len() > MAX_BYTES {
        return Err(ExchangeError::TooMuch("64 MiB"));
    }
    // The other one of the two has other keys, and is told as what it is.
    #[derive(Deserialize)]
    struct Any {
        drivetrain_signing: Kind,
    }
    let wanted = if what == "request" { Kind::Request } else { Kind::Response };
    if let Ok(any) = serde_json::from_slice::<Any>(bytes)
        && any.drivetrain_signing != wanted
    {
        return Err(ExchangeError::Kind(what));
    }
    serde_json::from_slice(bytes).map_err(|source| ExchangeError::Unreadable { what, source })
}

fn check(kind: Kind, wanted: Kind, format: u32) -> Result<(), ExchangeError> {
    match (kind == wanted, wanted) {
        (false, Kind::Request) => Err(ExchangeError::Kind("request")),
        (false, Kind::Response) => Err(ExchangeError::Kind("response")),
        (true, _) if format != FORMAT => Err(ExchangeError::Format(format)),
        (true, _) => Ok(()),
    }
}

fn require(found: Sha256Digest, certificate: &Certificate) -> Result<(), ExchangeError> {
    if found == certificate.fingerprint() {
        return Ok(());
    }
    Err(ExchangeError::Certificate { found: found.short().to_string(), expected: certificate.to_string() })
}

fn write(value: &impl Serialize) -> Result<Vec<u8>, ExchangeError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(ExchangeError::Write)?;
    text.push(b'\n');
    Ok(text)
}
