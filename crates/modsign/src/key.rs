//! Private keys in files.

use const_oid::db::rfc5912::RSA_ENCRYPTION;
use der::{Decode as _, SecretDocument};
use pkcs8::{EncryptedPrivateKeyInfo, PrivateKeyInfo};
use rayon::prelude::*;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::rand_core::OsRng;
use rsa::{RsaPrivateKey, RsaPublicKey};

use crate::certificate::algorithm_name;
use crate::{Certificate, ModuleDigest, RawSignature, SignError, Signer};

/// A key is a few kilobytes.
const MAX_BYTES: usize = 64 << 10;

/// A private key that was read from a file. Not shown by `Debug`, and wiped from memory when it is gone.
#[derive(Clone)]
pub struct KeyFile {
    key: RsaPrivateKey,
    name: String,
}

/// Why a file is no key that can be signed with. Nothing of what is in it is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No key.
    #[error("it holds no private key in PEM: PKCS #8 (BEGIN PRIVATE KEY) or PKCS #1 (BEGIN RSA PRIVATE KEY)")]
    None,
    /// A file that nobody would call a key.
    #[error("it has {0} bytes, and no key has more than {MAX_BYTES}")]
    Large(usize),
    /// Not RSA.
    #[error("it is {0}, and kernels take module signatures of RSA keys")]
    Algorithm(String),
    /// It is locked, and there is no passphrase.
    #[error("it is locked, and there is no passphrase")]
    Locked,
    /// It is locked in a way that is not read.
    #[error("it is locked in OpenSSL's old way: write it anew with `openssl pkcs8 -topk8 -v2 aes-256-cbc`")]
    OldLock,
    /// The passphrase does not open it.
    #[error("the passphrase does not open it")]
    Passphrase,
    /// It is locked with something that is not known here.
    #[error("how it is locked is not known: write it anew with `openssl pkcs8 -topk8 -v2 aes-256-cbc`")]
    Lock,
    /// It is damaged.
    #[error("it is damaged: it holds no numbers of an RSA key")]
    Damaged,
    /// It is the key of something else.
    #[error("it is not the key of the certificate {0}")]
    Other(String),
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyFile({})", self.name)
    }
}

impl KeyFile {
    /// Reads a private key in PEM. `name` is what messages call it.
    ///
    /// # Errors
    /// Where it is none, is not RSA, or is locked.
    pub fn read(pem: &str, passphrase: Option<&str>, name: impl Into<String>) -> Result<Self, KeyError> {
        if pem.len() > MAX_BYTES {
            return Err(KeyError::Large(pem.len()));
        }
        let label = label(pem).ok_or(KeyError::None)?;
        // What stands around a key in its file (a certificate, words) is passed over.
        let block = block(pem, label).ok_or(KeyError::None)?;
        let key = match label {
            "PRIVATE KEY" => plain(block)?,
            "ENCRYPTED PRIVATE KEY" => locked(block, passphrase)?,
            "RSA PRIVATE KEY" if block.contains("Proc-Type:") => return Err(KeyError::OldLock),
            "RSA PRIVATE KEY" => RsaPrivateKey::from_pkcs1_pem(block).map_err(|_| KeyError::Damaged)?,
            "EC PRIVATE KEY" => return Err(KeyError::Algorithm("an elliptic curve (ECDSA)".to_owned())),
            "DSA PRIVATE KEY" => return Err(KeyError::Algorithm("DSA".to_owned())),
            "OPENSSH PRIVATE KEY" => return Err(KeyError::Algorithm("a key of SSH".to_owned())),
            _ => return Err(KeyError::None),
        };
        Ok(Self { key, name: name.into() })
    }

    /// Refuses a certificate that is not this key's.
    ///
    /// # Errors
    /// Where it is not.
    pub fn require(&self, certificate: &Certificate) -> Result<(), KeyError> {
        if RsaPublicKey::from(&self.key) == *certificate.key() {
            Ok(())
        } else {
            Err(KeyError::Other(certificate.to_string()))
        }
    }
}

impl Signer for KeyFile {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn sign(&self, digests: &[ModuleDigest]) -> Result<Vec<RawSignature>, SignError> {
        let sign = |digest: &ModuleDigest| {
            // Randomness blinds the computation; it does not come into the signature.
            self.key
                .sign_with_rng(&mut OsRng, digest.hash().padding(), digest.as_bytes())
                .map_err(SignError::Key)
        };
        let signatures: Vec<Result<_, _>> = digests.par_iter().map(sign).collect();
        signatures.into_iter().collect()
    }
}

const BEGIN: &str = "-----BEGIN ";

/// The label of the first block that is a key.
fn label(pem: &str) -> Option<&str> {
    pem.split(BEGIN)
        .skip(1)
        .filter_map(|rest| rest.split_once("-----"))
        .map(|(label, _)| label)
        .find(|label| label.ends_with("PRIVATE KEY"))
}

fn block<'a>(pem: &'a str, label: &str) -> Option<&'a str> {
    let begin = pem.find(&format!("{BEGIN}{label}-----"))?;
    let end = format!("-----END {label}-----");
    let length = pem[begin..].find(&end)? + end.len();
    pem.get(begin..begin + length)
}

fn plain(block: &str) -> Result<RsaPrivateKey, KeyError> {
    let (_, document) = SecretDocument::from_pem(block).map_err(|_| KeyError::None)?;
    of_pkcs8(document.as_bytes())
}

fn locked(block: &str, passphrase: Option<&str>) -> Result<RsaPrivateKey, KeyError> {
    let passphrase = passphrase.ok_or(KeyError::Locked)?;
    let (_, document) = SecretDocument::from_pem(block).map_err(|_| KeyError::None)?;
    let locked = EncryptedPrivateKeyInfo::from_der(document.as_bytes()).map_err(|_| KeyError::Lock)?;
    let opened = locked.decrypt(passphrase).map_err(|_| KeyError::Passphrase)?;
    // A wrong passphrase may leave padding that looks right, once in 256 times.
    of_pkcs8(opened.as_bytes())
        .map_err(|error| if error == KeyError::Damaged { KeyError::Passphrase } else { error })
}

fn of_pkcs8(der: &[u8]) -> Result<RsaPrivateKey, KeyError> {
    let info = PrivateKeyInfo::from_der(der).map_err(|_| KeyError::Damaged)?;
    if info.algorithm.oid != RSA_ENCRYPTION {
        return Err(KeyError::Algorithm(algorithm_name(&info.algorithm.oid)));
    }
    RsaPrivateKey::from_pkcs8_der(der).map_err(|_| KeyError::Damaged)
}
