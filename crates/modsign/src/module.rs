//! A signature in a module.

use drivetrain_kmod::{Signature, append_signature};
use serde::{Deserialize, Serialize};

use crate::certificate::{colons, name_of};
use crate::cms::{self, Signed};
use crate::{Certificate, HashKind, ModuleDigest, ModuleError};

/// A raw signature, and the certificate that it is for.
#[derive(Debug, Clone, Copy)]
pub struct Endorsement<'a> {
    /// The certificate.
    pub certificate: &'a Certificate,
    /// The hash that was signed.
    pub hash: HashKind,
    /// The raw signature.
    pub signature: &'a [u8],
}

/// A module's bytes without a signature; not compressed.
///
/// # Errors
/// Where what is appended to it cannot be read.
pub fn content_of(module: &[u8]) -> Result<&[u8], ModuleError> {
    Ok(Signature::split(module)?.0)
}

/// Signs a module (not compressed): a signature that it has goes, and these take its place. Each is verified first.
///
/// # Errors
/// Where one of them is not a signature of this module, or none is given.
pub fn sign_module(module: &[u8], endorsements: &[Endorsement<'_>]) -> Result<Vec<u8>, ModuleError> {
    let content = content_of(module)?;
    if endorsements.is_empty() {
        return Err(ModuleError::Unsigned);
    }
    for one in endorsements {
        one.certificate
            .verify(&ModuleDigest::of(one.hash, content), one.signature)
            .map_err(|source| ModuleError::Bad { certificate: one.certificate.to_string(), source })?;
    }
    let signers: Vec<_> = endorsements.iter().map(|one| (one.certificate, one.hash, one.signature)).collect();
    let der = cms::assemble(&signers).map_err(ModuleError::Encode)?;
    Ok(append_signature(content, &der))
}

/// Whether a module (not compressed) has a good signature of each of these certificates, of nobody else, and in exactly
/// the form that is made here.
///
/// # Errors
/// Where it has not.
pub fn verify_module(module: &[u8], certificates: &[&Certificate]) -> Result<(), ModuleError> {
    let (content, found) = read(module)?;
    let mut endorsements = Vec::new();
    for &certificate in certificates {
        let identity = cms::identity(certificate);
        let signed = found.iter().find(|signed| signed.identity == identity);
        let signed = signed.ok_or_else(|| ModuleError::NotBy(certificate.to_string()))?;
        let hash = signed.hash.ok_or(ModuleError::Form("its hash is another than sha256 and sha512"))?;
        endorsements.push(Endorsement { certificate, hash, signature: &signed.signature });
    }
    if found.len() != certificates.len() {
        return Err(ModuleError::Form("others have signed it besides"));
    }
    // Kernels pass over parts of the structure: what is not as it would be made is not taken.
    if sign_module(content, &endorsements)? != module {
        return Err(ModuleError::Form("it is written otherwise than `sign-file` writes it"));
    }
    Ok(())
}

/// Who a module says that it was signed by. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignerOfModule {
    /// The name of the certificate's issuer, as `modinfo` says the signer.
    pub name: String,
    /// The serial number of the certificate, in hexadecimal with colons.
    pub serial: String,
    /// The hash; absent where it is another than those that are made here.
    pub hash: Option<HashKind>,
}

/// Who a module (not compressed) says that it was signed by; nobody where it is not signed.
///
/// # Errors
/// Where it has a signature that cannot be read, or that kernels do not take.
pub fn signers_of(module: &[u8]) -> Result<Vec<SignerOfModule>, ModuleError> {
    let found = match read(module) {
        Err(ModuleError::Unsigned) => return Ok(Vec::new()),
        found => found?.1,
    };
    let said = found.into_iter().map(|signed| SignerOfModule {
        name: name_of(&signed.identity.issuer),
        serial: colons(signed.identity.serial_number.as_bytes()),
        hash: signed.hash,
    });
    Ok(said.collect())
}

fn read(module: &[u8]) -> Result<(&[u8], Vec<Signed>), ModuleError> {
    let (content, signature) = Signature::split(module)?;
    let signature = signature.ok_or(ModuleError::Unsigned)?;
    if !signature.is_pkcs7() {
        return Err(ModuleError::Form("it is of a kind that no kernel has taken since 4.3"));
    }
    Ok((content, cms::read(signature.bytes)?))
}
