//! The signature that `scripts/sign-file` appends to a module.

use drivetrain_model::Sha256Digest;
use serde::{Deserialize, Serialize};

/// `MODULE_SIG_STRING` in `include/linux/module_signature.h`.
const MARKER: &[u8] = b"~Module signature appended~\n";
/// `sizeof(struct module_signature)`: algorithm, hash, id type, signer length, key id length, three bytes of
/// padding, and the signature's length as a big-endian 32-bit number.
const TRAILER: usize = 12;
/// `PKEY_ID_PKCS7` in the same header: the only type that kernels since 4.3 accept.
const PKCS7: u8 = 2;

/// Why an appended signature cannot be read. The kernel refuses such modules wherever it checks signatures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The marker stands there and nothing before it.
    #[error("the signature's marker stands at byte {0}, with no room for what must precede it")]
    NoTrailer(usize),
    /// The trailer promises more than the file has.
    #[error("the signature is said to be {length} bytes long, of a file with {available} before its trailer")]
    Length {
        /// What the trailer says.
        length: u32,
        /// What there is.
        available: usize,
    },
}

/// An appended signature: where it is and what it is. Whether it is any good is not this crate's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature<'data> {
    /// Where it begins in the file: the size of the module proper.
    pub offset: usize,
    /// Its bytes: a CMS structure in DER if [`Self::is_pkcs7`].
    pub bytes: &'data [u8],
    /// `enum pkey_id_type`: 2 is PKCS#7.
    pub id_type: u8,
    /// The trailer's fields that PKCS#7 leaves at zero; the kernel refuses the module otherwise.
    unused_are_zero: bool,
}

impl<'data> Signature<'data> {
    /// Splits a file into the module proper and the signature that follows it, if one does.
    ///
    /// Source: `module_sig_check` in `kernel/module/signing.c`, `mod_check_sig` in `kernel/module_signature.c`.
    pub fn split(file: &'data [u8]) -> Result<(&'data [u8], Option<Self>), SignatureError> {
        let Some(signed) = file.strip_suffix(MARKER) else { return Ok((file, None)) };
        let Some((rest, trailer)) = signed.split_last_chunk::<TRAILER>() else {
            return Err(SignatureError::NoTrailer(signed.len()));
        };
        let [algorithm, hash, id_type, signer, key_id, pad @ .., a, b, c, d] = *trailer;
        let length = u32::from_be_bytes([a, b, c, d]);
        let offset = usize::try_from(length)
            .ok()
            .and_then(|length| rest.len().checked_sub(length))
            // A signature of nothing at all: the kernel says no as well.
            .filter(|&offset| offset > 0)
            .ok_or(SignatureError::Length { length, available: rest.len() })?;
        let (content, bytes) = rest.split_at(offset);
        let unused_are_zero = [algorithm, hash, signer, key_id] == [0; 4] && pad == [0; 3];
        Ok((content, Some(Self { offset, bytes, id_type, unused_are_zero })))
    }

    /// Whether the bytes are CMS, in the only form that kernels since 4.3 take.
    #[must_use]
    pub fn is_pkcs7(&self) -> bool {
        self.id_type == PKCS7 && self.unused_are_zero
    }

    /// What a summary keeps of it.
    #[must_use]
    pub fn summary(&self) -> SignatureSummary {
        SignatureSummary {
            length: self.bytes.len() as u64,
            offset: self.offset as u64,
            pkcs7: self.is_pkcs7(),
            sha256: Sha256Digest::of(self.bytes),
        }
    }
}

/// A module with a signature after it: a CMS structure in DER. The module must not have one already.
#[must_use]
pub fn append_signature(content: &[u8], der: &[u8]) -> Vec<u8> {
    let length = u32::try_from(der.len()).unwrap_or(u32::MAX).to_be_bytes();
    [content, der, &[0, 0, PKCS7, 0, 0, 0, 0, 0], &length, MARKER].concat()
}

/// Place, size and digest of an appended signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureSummary {
    /// Where it begins.
    pub offset: u64,
    /// How long it is, without trailer and marker.
    pub length: u64,
    /// Whether it is CMS.
    pub pkcs7: bool,
    /// What identifies it.
    pub sha256: Sha256Digest,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::sign;

    #[test]
    fn content_and_signature_are_told_apart() {
        let file = sign(b"content", b"sig");
        let (content, signature) = Signature::split(&file).unwrap();
        let signature = signature.unwrap();
        assert_eq!((content, signature.bytes, signature.offset), (&b"content"[..], &b"sig"[..], 7));
        assert!(signature.is_pkcs7());
        assert_eq!(Signature::split(b"content").unwrap(), (&b"content"[..], None));
    }

    #[test]
    fn a_length_beyond_the_file_is_refused() {
        let mut file = sign(b"content", b"sig");
        let at = file.len() - MARKER.len() - 4;
        for length in [10_u32, 11, u32::MAX] {
            file[at..at + 4].copy_from_slice(&length.to_be_bytes());
            assert!(matches!(Signature::split(&file), Err(SignatureError::Length { .. })), "{length}");
        }
        assert_eq!(Signature::split(&file[at + 1..]), Err(SignatureError::NoTrailer(3)));
    }

    #[test]
    fn a_trailer_of_another_kind_is_shown_as_such() {
        let mut file = sign(b"content", b"sig");
        let at = file.len() - MARKER.len() - TRAILER;
        file[at + 3] = 1;
        assert!(!Signature::split(&file).unwrap().1.unwrap().is_pkcs7());
    }
}
