//! Whether the bytes are the ones that were built, and by whom.
//!
//! The header carries the digest of the payload; the signature header carries the digest of the header, and
//! signatures over it. So a good signature over the header, and a payload that has the digest that the header
//! says, are together a signature over all of the file but the lead. A header that is intact says nothing of
//! the payload: a truncated file passes a check of the header alone.

use std::io::{self, BufRead};
use std::path::Path;

use drivetrain_model::Sha256Digest;
use rpm::{Header, IndexSignatureTag, IndexTag};
use sha2::{Digest, Sha256, Sha512};

use crate::error::name_of;
use crate::header::{self, Head};
use crate::{Keyring, Problem, Result, Signer};

/// Checks the digests of header and payload, as `rpm -K --nosignature` does. They prove that the file is
/// whole, not who made it.
///
/// # Errors
/// With [`Problem::Digest`] where one does not match, with [`Problem::Truncated`] where that is because bytes are
/// missing, and with [`Problem::NoDigest`] where there is none.
pub fn verify_digests(path: &Path) -> Result<()> {
    let (head, payload) = header::open(path)?;
    check_digests(&head, payload).map_err(|problem| problem.of(&name_of(path)))
}

/// Checks the digests and the signature.
///
/// # Errors
/// As [`verify_digests`]; and with the problem of the signature: unsigned, an unknown, expired or revoked key,
/// or a bad signature.
pub fn verify(path: &Path, keyring: &Keyring) -> Result<Signer> {
    let file = name_of(path);
    let (head, payload) = header::open(path)?;
    check_digests(&head, payload).map_err(|problem| problem.of(&file))?;
    keyring.check(&head).map_err(|problem| problem.of(&file))
}

/// What the bytes of a package are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PackageDigests {
    /// The SHA-256 of the whole file.
    pub file: Sha256Digest,
    /// The SHA-256 of header and payload: of all but the lead and the signature header. It stays as it is where a package
    /// is signed, and where a signature is taken away.
    pub content: Sha256Digest,
}

/// Reads a package to its end. Nothing of it is held to what it says of itself: see [`verify_digests`].
///
/// # Errors
/// Where it is no package, or cannot be read.
pub fn package_digests(path: &Path) -> Result<PackageDigests> {
    let (head, mut payload) = header::open(path)?;
    let (mut file, mut content) = (Sha256::new(), Sha256::new());
    file.update(&head.bytes);
    content.update(head.header());
    let both = |bytes: &[u8]| {
        file.update(bytes);
        content.update(bytes);
    };
    for_each_chunk(&mut payload, both).map_err(|problem| problem.of(&name_of(path)))?;
    let digest = |hasher: Sha256| Sha256Digest::from_bytes(hasher.finalize().into());
    Ok(PackageDigests { file: digest(file), content: digest(content) })
}

/// Hands over what is left of a reader, as it comes.
fn for_each_chunk(
    reader: &mut impl BufRead,
    mut take: impl FnMut(&[u8]),
) -> std::result::Result<(), Problem> {
    loop {
        let bytes = match reader.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Problem::Read(error)),
        };
        if bytes.is_empty() {
            return Ok(());
        }
        take(bytes);
        let count = bytes.len();
        reader.consume(count);
    }
}

fn check_digests(head: &Head, payload: impl BufRead) -> std::result::Result<(), Problem> {
    let report = head.metadata.check_digests().map_err(|error| header::facts(&error))?;
    let header = [&report.header_sha256, &report.header_sha3_256, &report.header_sha1];
    if header.iter().any(|status| status.is_mismatch()) {
        return Err(Problem::Digest { what: "header" });
    }
    if !header.iter().any(|status| status.is_verified()) {
        return Err(Problem::NoDigest { what: "header" });
    }
    let (fits, length) = check_payload(&head.metadata.header, payload)?;
    match payload_length(head) {
        _ if fits => Ok(()),
        Some(stated) if length < stated => Err(Problem::Truncated("payload")),
        _ => Err(Problem::Digest { what: "payload" }),
    }
}

/// How long the payload should be, where that is said: packages of rpm 6 say it in the header, those before in
/// the signature header, together with the length of the header.
fn payload_length(head: &Head) -> Option<u64> {
    let (header, signature) = (&head.metadata.header, &head.metadata.signature);
    header.get_entry_data_as_u64(IndexTag::RPMTAG_PAYLOADSIZE).ok().or_else(|| {
        let both = signature
            .get_entry_data_as_u32(IndexSignatureTag::RPMSIGTAG_SIZE)
            .map(u64::from)
            .or_else(|_| signature.get_entry_data_as_u64(IndexSignatureTag::RPMSIGTAG_LONGSIZE));
        both.ok()?.checked_sub(head.header().len() as u64)
    })
}

/// Whether the payload has the digests that the header says, and how long it is.
fn check_payload(
    header: &Header<IndexTag>,
    mut payload: impl BufRead,
) -> std::result::Result<(bool, u64), Problem> {
    let stated = |tag| header.get_entry_data_as_string(tag).ok();
    let (sha256, sha512) = (stated(IndexTag::RPMTAG_PAYLOADSHA256), stated(IndexTag::RPMTAG_PAYLOAD_SHA512));
    if sha256.is_none() && sha512.is_none() {
        return Err(Problem::NoDigest { what: "payload" });
    }
    let (mut hasher256, mut hasher512) = (sha256.map(|_| Sha256::new()), sha512.map(|_| Sha512::new()));
    let mut length = 0;
    for_each_chunk(&mut payload, |bytes| {
        if let Some(hasher) = &mut hasher256 {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut hasher512 {
            hasher.update(bytes);
        }
        length += bytes.len() as u64;
    })?;
    let found = [hasher256.map(|h| hex::encode(h.finalize())), hasher512.map(|h| hex::encode(h.finalize()))];
    let fits = found.iter().zip([sha256, sha512]).all(|(found, stated)| match (found, stated) {
        (Some(found), Some(stated)) => found.eq_ignore_ascii_case(stated),
        _ => true,
    });
    Ok((fits, length))
}
