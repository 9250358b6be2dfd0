//! Signatures that were obtained: they are asked for once.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::{Certificate, ModuleDigest, RawSignature, SignError, Signer};

/// Signatures in a directory, by the certificate's fingerprint and the digest.
///
/// Nothing in it is believed: what is read is verified like what is new, and what does not verify is asked for again.
#[derive(Debug, Clone)]
pub struct SignatureStore {
    directory: Utf8PathBuf,
}

/// What could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("the signature for {digest} cannot be kept in {directory}")]
pub struct StoreError {
    digest: ModuleDigest,
    directory: Utf8PathBuf,
    #[source]
    source: io::Error,
}

/// Why signatures are not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObtainError {
    /// They could not be made.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// They could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SignatureStore {
    /// In this directory, which is made when it is needed.
    #[must_use]
    pub fn new(directory: impl Into<Utf8PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// A signature that is there, and good.
    #[must_use]
    pub fn get(&self, certificate: &Certificate, digest: &ModuleDigest) -> Option<RawSignature> {
        use std::io::Read as _;
        let file = fs::File::open(self.file(certificate, digest)).ok()?;
        let mut signature = Vec::new();
        // One byte more than there may be is enough to know.
        file.take(certificate.signature_length() as u64 + 1).read_to_end(&mut signature).ok()?;
        certificate.verify(digest, &signature).ok()?;
        Some(signature)
    }

    /// Keeps a signature that was verified.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn put(
        &self,
        certificate: &Certificate,
        digest: &ModuleDigest,
        signature: &[u8],
    ) -> Result<(), StoreError> {
        let file = self.file(certificate, digest);
        write_aside(&file, signature).map_err(|source| StoreError {
            digest: digest.clone(),
            directory: self.directory.clone(),
            source,
        })
    }

    /// The signatures of all these digests, those that are not there made by the signer. They are verified before the
    /// first of them is kept: of a signer that goes wrong half-way nothing is.
    ///
    /// # Errors
    /// Where one of them cannot be had.
    pub fn obtain(
        &self,
        certificate: &Certificate,
        digests: &[ModuleDigest],
        signer: &dyn Signer,
    ) -> Result<Vec<RawSignature>, ObtainError> {
        let kept: Vec<Option<RawSignature>> =
            digests.iter().map(|digest| self.get(certificate, digest)).collect();
        let missing: Vec<ModuleDigest> = missing(digests, &kept);
        let made = sign_verified(certificate, &missing, signer)?;
        for (digest, signature) in missing.iter().zip(&made) {
            self.put(certificate, digest, signature)?;
        }
        let made =
            |digest: &ModuleDigest| missing.iter().position(|one| one == digest).and_then(|at| made.get(at));
        let all =
            digests.iter().zip(kept).filter_map(|(digest, kept)| kept.or_else(|| made(digest).cloned()));
        Ok(all.collect())
    }

    fn file(&self, certificate: &Certificate, digest: &ModuleDigest) -> Utf8PathBuf {
        let name = format!("{}-{}", digest.hash(), hex::encode(digest.as_bytes()));
        self.directory.join(certificate.fingerprint().to_string()).join(name)
    }
}

/// Each once, in order.
fn missing(digests: &[ModuleDigest], kept: &[Option<RawSignature>]) -> Vec<ModuleDigest> {
    let mut seen = std::collections::BTreeSet::new();
    let wanted = digests.iter().zip(kept).filter(|(_, kept)| kept.is_none()).map(|(digest, _)| digest);
    wanted.filter(|digest| seen.insert((*digest).clone())).cloned().collect()
}

/// Signatures of a signer, each of them verified.
///
/// # Errors
/// Where one of them is not what it should be.
pub(crate) fn sign_verified(
    certificate: &Certificate,
    digests: &[ModuleDigest],
    signer: &dyn Signer,
) -> Result<Vec<RawSignature>, SignError> {
    if digests.is_empty() {
        return Ok(Vec::new());
    }
    let made = signer.sign(digests)?;
    if made.len() != digests.len() {
        let (given, asked) = (made.len(), digests.len());
        return Err(SignError::Count { signer: signer.describe(), given, asked });
    }
    for (digest, signature) in digests.iter().zip(&made) {
        certificate.verify(digest, signature).map_err(|source| SignError::NotASignature {
            signer: signer.describe(),
            length: signature.len(),
            digest: digest.clone(),
            certificate: certificate.to_string(),
            source: Box::new(source),
        })?;
    }
    Ok(made)
}

fn write_aside(file: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let directory = file.parent().unwrap_or(file);
    fs::create_dir_all(directory)?;
    let mut aside = tempfile::NamedTempFile::new_in(directory)?;
    aside.write_all(bytes)?;
    aside.persist(file).map_err(|error| error.error)?;
    Ok(())
}
