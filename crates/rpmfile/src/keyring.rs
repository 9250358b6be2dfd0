//! The keys that are trusted, and whether a package is signed with one of them.

use pgp::composed::{Deserializable, DetachedSignature, SignedPublicKey};
use pgp::packet::Signature;
use pgp::ser::Serialize as _;
use pgp::types::KeyDetails;
use rpm::IndexSignatureTag;
use rpm::signature::pgp::Verifier;
use rpm::signature::{SignatureHashAlgorithm, SignatureInfo, Verifying};

use crate::Problem;
use crate::header::Head;

/// Public keys.
///
/// A key's expiry is judged at the moment of the signature: packages outlive the keys of those who made them.
/// [`Self::judged_at`] is stricter.
#[derive(Debug, Clone)]
pub struct Keyring {
    keys: Vec<SignedPublicKey>,
    verifier: Verifier,
    moment: Option<u64>,
}

/// Why a text is no keyring.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// No OpenPGP key could be read, or one has signatures of its own that do not verify.
    #[error("key file {number} holds no usable OpenPGP public key")]
    Unusable {
        /// Which of the files, from 1.
        number: usize,
        /// What the parser said of the last block; absent where there is no block.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Nothing was given.
    #[error("no key was given")]
    Empty,
}

/// Who signed a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The fingerprint of the key whose certificate the signing key is part of, in lower-case hexadecimal.
    pub fingerprint: String,
    /// The id of the key that made the signature: the primary key, or a subkey.
    pub key_id: String,
    /// The names on the certificate. Anybody may write any name there: the fingerprint tells who it is.
    pub user_ids: Vec<String>,
    /// When the signature was made, in seconds since 1970, as the signer says.
    pub signed: Option<u64>,
}

impl Keyring {
    /// Reads the texts of key files (`RPM-GPG-KEY-…`). A file may hold several armored blocks, as Red Hat's
    /// does, and a block several keys; those of a kind that is not known are passed over.
    ///
    /// # Errors
    /// Where a file holds no key that can be used.
    pub fn from_armored<B: AsRef<[u8]>>(files: &[B]) -> Result<Self, KeyringError> {
        let mut verifier = Verifier::new();
        let mut keys = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let number = index + 1;
            let text = String::from_utf8_lossy(file.as_ref());
            let (before, mut why) = (keys.len(), None);
            for block in armored_blocks(&text) {
                // Both, for the verifier does not show its keys.
                match verifier.load_from_asc(block).map(|()| SignedPublicKey::from_string_many(block)) {
                    Ok(Ok((parsed, _))) => keys.extend(parsed.filter_map(Result::ok)),
                    Ok(Err(error)) => why = Some(Box::new(error) as Box<_>),
                    Err(error) => why = Some(Box::new(error) as Box<_>),
                }
            }
            if keys.len() == before {
                return Err(KeyringError::Unusable { number, source: why });
            }
        }
        if keys.is_empty() {
            return Err(KeyringError::Empty);
        }
        Ok(Self { keys, verifier, moment: None })
    }

    /// Refuses keys that have expired at this moment (seconds since 1970), also for signatures that are older:
    /// whoever steals an expired key can date a signature as they like.
    #[must_use]
    pub fn judged_at(mut self, moment: u64) -> Self {
        self.moment = Some(moment);
        self
    }

    /// The fingerprints of the certificates, in lower-case hexadecimal.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<String> {
        self.keys.iter().map(|key| hex::encode(key.fingerprint().as_bytes())).collect()
    }

    /// Whether one of the package's signatures over its header is good. Where none is, the problem of the
    /// last.
    pub(crate) fn check(&self, head: &Head) -> Result<Signer, Problem> {
        let damaged =
            |error: rpm::Error| Problem::Header { section: "signature header", problem: error.to_string() };
        let signatures = head.metadata.raw_signatures().map_err(damaged)?;
        let mut problem = None;
        for (signature, info) in signatures.iter().zip(head.metadata.signatures().map_err(damaged)?) {
            match self.check_one(head.header(), signature, &info) {
                Ok(signer) => return Ok(signer),
                Err(found) => problem = Some(found),
            }
        }
        let legacy = [IndexSignatureTag::RPMSIGTAG_PGP, IndexSignatureTag::RPMSIGTAG_GPG]
            .iter()
            .any(|&tag| head.metadata.signature.entry_is_present(tag as u32));
        Err(problem.unwrap_or(if legacy { Problem::LegacySignature } else { Problem::Unsigned }))
    }

    fn check_one(&self, header: &[u8], signature: &[u8], info: &SignatureInfo) -> Result<Signer, Problem> {
        let key_id = key_id_of(info);
        if let Some(hash) = info.hash_algorithm()
            && !matches!(
                hash,
                SignatureHashAlgorithm::SHA256
                    | SignatureHashAlgorithm::SHA384
                    | SignatureHashAlgorithm::SHA512
                    | SignatureHashAlgorithm::SHA3_256
                    | SignatureHashAlgorithm::SHA3_512
            )
        {
            return Err(Problem::WeakHash { key_id, hash: format!("{hash:?}") });
        }
        let found = self.find(info).ok_or_else(|| Problem::UnknownKey { key_id: key_id.clone() })?;
        self.verifier
            .verify(header, signature)
            .map_err(|error| Problem::BadSignature { key_id: key_id.clone(), source: Box::new(error) })?;
        // After the signature itself, so that its date is the signer's word and not anybody's.
        self.is_over(&found, &key_id, info.created().map(u64::from))?;
        Ok(Signer {
            fingerprint: hex::encode(found.key.fingerprint().as_bytes()),
            key_id,
            user_ids: found
                .key
                .details
                .users
                .iter()
                .map(|user| user.id.as_str().unwrap_or_default().to_owned())
                .collect(),
            signed: info.created().map(u64::from),
        })
    }

    /// Whether a detached signature over bytes, armored, is good: `repomd.xml.asc`. Says whose it is: the fingerprint of
    /// the certificate, in lower-case hexadecimal.
    ///
    /// # Errors
    /// Where it is no signature, or not a good one by one of these keys.
    pub fn verify_detached(&self, data: &[u8], armored: &str) -> Result<String, Problem> {
        let unreadable =
            |error: pgp::errors::Error| Problem::Facts(format!("signature cannot be read: {error}"));
        let (parsed, _) = DetachedSignature::from_string(armored).map_err(unreadable)?;
        let bytes = parsed.to_bytes().map_err(unreadable)?;
        self.check_data(data, &bytes)?;
        let fingerprint = parsed.signature.issuer_fingerprint().first().map(|it| format!("{it:x}"));
        let key_id = parsed.signature.issuer_key_id().first().map(|id| format!("{id}"));
        let found = self.find_by(fingerprint.as_deref(), key_id.as_deref());
        Ok(found.map(|found| hex::encode(found.key.fingerprint().as_bytes())).unwrap_or_default())
    }

    /// Whether a detached signature over data is good.
    pub(crate) fn check_data(&self, data: &[u8], signature: &[u8]) -> Result<(), Problem> {
        let unreadable =
            |error: pgp::errors::Error| Problem::Facts(format!("signature cannot be read: {error}"));
        let parsed = DetachedSignature::from_bytes(signature).map_err(unreadable)?.signature;
        let fingerprint = parsed.issuer_fingerprint().first().map(|fingerprint| format!("{fingerprint:x}"));
        let key_id = parsed.issuer_key_id().first().map(|id| format!("{id}"));
        let shown = key_id.clone().or_else(|| fingerprint.clone()).unwrap_or_else(|| "unknown".to_owned());
        let found = self
            .find_by(fingerprint.as_deref(), key_id.as_deref())
            .ok_or_else(|| Problem::UnknownKey { key_id: shown.clone() })?;
        self.verifier
            .verify(data, signature)
            .map_err(|error| Problem::BadSignature { key_id: shown.clone(), source: Box::new(error) })?;
        self.is_over(&found, &shown, parsed.created().map(|created| u64::from(created.as_secs())))
    }

    /// Refuses a key that was revoked, or had expired when the signature was made, or at the moment that counts.
    fn is_over(&self, found: &Found<'_>, key_id: &str, created: Option<u64>) -> Result<(), Problem> {
        let key_id = key_id.to_owned();
        if found.is_revoked() {
            return Err(Problem::RevokedKey { key_id });
        }
        if let Some(expired) = found.expires() {
            let signed_after = created.is_none_or(|created| created >= expired);
            if signed_after || self.moment.is_some_and(|moment| moment >= expired) {
                return Err(Problem::ExpiredKey { key_id, expired });
            }
        }
        Ok(())
    }

    fn find(&self, info: &SignatureInfo) -> Option<Found<'_>> {
        self.find_by(info.fingerprint(), info.key_id())
    }

    fn find_by(&self, wanted_fingerprint: Option<&str>, wanted_id: Option<&str>) -> Option<Found<'_>> {
        let is_meant =
            |fingerprint: &pgp::types::Fingerprint, id: &pgp::types::KeyId| match wanted_fingerprint {
                Some(wanted) => format!("{fingerprint:x}").eq_ignore_ascii_case(wanted),
                None => wanted_id.is_some_and(|wanted| format!("{id}").eq_ignore_ascii_case(wanted)),
            };
        self.keys.iter().find_map(|key| {
            if is_meant(&key.fingerprint(), &key.legacy_key_id()) {
                return Some(Found { key, subkey: None });
            }
            let subkeys = &key.public_subkeys;
            let subkey =
                subkeys.iter().find(|sub| is_meant(&sub.key.fingerprint(), &sub.key.legacy_key_id()))?;
            Some(Found { key, subkey: Some(subkey) })
        })
    }
}

/// The armored blocks of a text. What stands between them is for people.
fn armored_blocks(text: &str) -> impl Iterator<Item = &str> {
    const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
    const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
    let mut rest = text;
    std::iter::from_fn(move || {
        let block = &rest[rest.find(BEGIN)?..];
        let end = block.find(END)? + END.len();
        rest = &block[end..];
        Some(&block[..end])
    })
}

fn key_id_of(info: &SignatureInfo) -> String {
    // The last 16 digits of a version 4 fingerprint are the key's id.
    let from_fingerprint = || info.fingerprint().map(|text| text[text.len().saturating_sub(16)..].to_owned());
    info.key_id().map(str::to_owned).or_else(from_fingerprint).unwrap_or_else(|| "unknown".to_owned())
}

/// The key that a signature names.
struct Found<'a> {
    key: &'a SignedPublicKey,
    subkey: Option<&'a pgp::composed::SignedPublicSubKey>,
}

impl Found<'_> {
    /// The signatures by which the primary key's owner says what holds for it. They were verified as the
    /// keyring was read; certifications by others are not among them.
    fn self_signatures(&self) -> impl Iterator<Item = &Signature> {
        let details = &self.key.details;
        let by_users = details.users.iter().flat_map(|user| &user.signatures);
        let (id, fingerprint) = (self.key.legacy_key_id(), self.key.fingerprint());
        details.direct_signatures.iter().chain(by_users).filter(move |signature| {
            signature.issuer_fingerprint().contains(&&fingerprint) || signature.issuer_key_id().contains(&&id)
        })
    }

    fn is_revoked(&self) -> bool {
        use pgp::packet::SignatureType::SubkeyRevocation;
        let subkey_revoked = |subkey: &pgp::composed::SignedPublicSubKey| {
            subkey.signatures.iter().any(|signature| signature.typ() == Some(SubkeyRevocation))
        };
        !self.key.details.revocation_signatures.is_empty() || self.subkey.is_some_and(subkey_revoked)
    }

    /// When the key ends, in seconds since 1970: the primary key, or the subkey if that is earlier.
    fn expires(&self) -> Option<u64> {
        let primary = expiry(self.key.created_at().as_secs(), self.self_signatures());
        let subkey =
            self.subkey.and_then(|sub| expiry(sub.key.created_at().as_secs(), sub.signatures.iter()));
        [primary, subkey].into_iter().flatten().min()
    }
}

/// What the newest of the signatures says: an owner prolongs a key by a newer one.
fn expiry<'a>(created: u32, signatures: impl Iterator<Item = &'a Signature>) -> Option<u64> {
    let newest = signatures.max_by_key(|signature| signature.created().map_or(0, |time| time.as_secs()))?;
    let seconds = newest.key_expiration_time()?.as_secs();
    // Zero is how "never" is written.
    (seconds > 0).then(|| u64::from(created) + u64::from(seconds))
}
