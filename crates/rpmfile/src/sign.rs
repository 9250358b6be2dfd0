//! Signatures of one's own: over packages, and over a repository's metadata.
//!
//! A package is signed as `rpmsign` does it: an OpenPGP signature over the header, which has the digest of the payload, in
//! the room that rpm leaves for it, so that the payload is not written anew. The moment of a signature is the one at which
//! the package was built: then the same package signed with the same key is the same file.

use std::io::BufReader;
use std::path::Path;

use fs_err as fs;
use pgp::composed::{ArmorOptions, Deserializable, DetachedSignature, SignedSecretKey};
use pgp::types::KeyDetails;
use rpm::signature::Signing;
use rpm::{IndexTag, Package, Timestamp};

use crate::error::name_of;
use crate::header;
use crate::{Error, Keyring, Problem, Signer, verify};

/// A key that packages and metadata are signed with. Not shown by `Debug`.
#[derive(Clone)]
pub struct PackageKey {
    signer: rpm::signature::pgp::Signer,
    keyring: Keyring,
    public: String,
    fingerprint: String,
    user: String,
    created: u32,
}

/// Why a text is no key that can be signed with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageKeyError {
    /// No secret key could be read.
    #[error("it holds no OpenPGP secret key: export one with `gpg --armor --export-secret-keys`")]
    NoKey(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Which is meant cannot be told.
    #[error("it holds {0} keys, and one is needed")]
    Several(usize),
    /// Its algorithm or its use.
    #[error("it holds no key that rpm knows and that may sign")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The passphrase does not open it.
    #[error("the passphrase does not open it")]
    Passphrase,
    /// It is locked, and there is no passphrase.
    #[error("it is locked, and there is no passphrase")]
    Locked,
    /// Its own signatures say that it is not to be used any more.
    #[error("{0}")]
    Over(Problem),
}

impl std::fmt::Debug for PackageKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackageKey").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl PackageKey {
    /// Reads an armored secret key, and tries whether it signs at this moment (seconds since 1970).
    ///
    /// # Errors
    /// Where it is none, is locked, has expired or was revoked.
    pub fn read(armored: &str, passphrase: Option<&str>, now: u64) -> Result<Self, PackageKeyError> {
        let no_key = |error: pgp::errors::Error| PackageKeyError::NoKey(Box::new(error));
        let (keys, _) = SignedSecretKey::from_string_many(armored).map_err(no_key)?;
        let keys: Vec<SignedSecretKey> = keys.collect::<Result<_, _>>().map_err(no_key)?;
        let [key] = keys.as_slice() else { return Err(PackageKeyError::Several(keys.len())) };
        let unusable = |error: Box<dyn std::error::Error + Send + Sync>| PackageKeyError::Unusable(error);
        let public = key.to_public_key();
        let text =
            public.to_armored_string(ArmorOptions::default()).map_err(|error| unusable(error.into()))?;
        let keyring = Keyring::from_armored(&[&text]).map_err(|error| unusable(error.into()))?.judged_at(now);
        let mut signer =
            rpm::signature::pgp::Signer::from_asc(armored).map_err(|error| unusable(error.into()))?;
        if let Some(passphrase) = passphrase {
            signer = signer.with_key_passphrase(passphrase);
        }
        let user = public.details.users.first().and_then(|user| user.id.as_str()).unwrap_or_default();
        let read = Self {
            signer,
            keyring,
            public: text,
            fingerprint: hex::encode(public.fingerprint().as_bytes()),
            user: user.to_owned(),
            created: public.created_at().as_secs(),
        };
        read.probe(passphrase.is_some(), now)?;
        Ok(read)
    }

    /// Signs something, and judges the signature: what is wrong is better known before a build than after it.
    fn probe(&self, has_passphrase: bool, now: u64) -> Result<(), PackageKeyError> {
        let moment = u32::try_from(now).unwrap_or(u32::MAX);
        let signature = self.signer.sign(&b"probe"[..], Timestamp::from(moment)).map_err(|_| {
            if has_passphrase { PackageKeyError::Passphrase } else { PackageKeyError::Locked }
        })?;
        self.keyring.check_data(b"probe", &signature).map(drop).map_err(PackageKeyError::Over)
    }

    /// The public key, armored: what consumers verify with.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The fingerprint of its certificate, in lower-case hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The first name on its certificate.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Writes a signed copy of a package, and verifies it.
    ///
    /// # Errors
    /// Where the package cannot be read or written, or the copy does not verify.
    pub fn sign(&self, package: &Path, to: &Path) -> Result<Signer, Error> {
        self.write_signed(package, to).map_err(|problem| problem.of(&name_of(package)))?;
        verify(to, &self.keyring)
    }

    fn write_signed(&self, package: &Path, to: &Path) -> Result<(), Problem> {
        fs::copy(package, to).map_err(Problem::Read)?;
        let (head, _) = header::open(package).map_err(|error| *error.problem)?;
        let built = head.metadata.header.get_entry_data_as_u32(IndexTag::RPMTAG_BUILDTIME).unwrap_or(0);
        // No signature is older than its key.
        let moment = Timestamp::from(built.max(self.created));
        let facts = |error: rpm::Error| header::facts(&error);
        let signature = self.signer.sign(head.header(), moment).map_err(facts)?;
        match Package::apply_signature_in_place(to, signature.clone()) {
            Err(rpm::Error::InsufficientReservedSpace { .. }) => {
                // Room that was not left has to be made, and all that follows moves.
                let mut read = Package::open(package).map_err(facts)?;
                read.apply_signature(signature).map_err(facts)?;
                read.write_file(to).map_err(facts)
            }
            applied => applied.map_err(facts),
        }
    }

    /// A detached signature over bytes, armored, of this moment (seconds since 1970): `repomd.xml.asc`.
    ///
    /// # Errors
    /// Where the key refuses, which it did not when it was read.
    pub fn sign_bytes(&self, bytes: &[u8], moment: u64) -> Result<String, Problem> {
        let moment = Timestamp::from(u32::try_from(moment).unwrap_or(u32::MAX));
        let signature = self.signer.sign(bytes, moment).map_err(|error| header::facts(&error))?;
        DetachedSignature::from_bytes(BufReader::new(signature.as_slice()))
            .and_then(|signature| signature.to_armored_string(ArmorOptions::default()))
            .map_err(|error| Problem::Facts(format!("cannot be signed for: {error}")))
    }
}

/// Whether a package carries a signature; good or not.
///
/// # Errors
/// Where it is no package.
pub fn is_signed(package: &Path) -> Result<bool, Error> {
    let (head, _) = header::open(package)?;
    let signatures = head.metadata.raw_signatures();
    signatures
        .map(|signatures| !signatures.is_empty())
        .map_err(|error| header::facts(&error).of(&name_of(package)))
}
