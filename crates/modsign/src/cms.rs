//! The CMS structure of a module's signature: as `scripts/sign-file` makes it, and nothing else.
//!
//! No content, no certificates, no attributes; each signer by issuer and serial number. Source: `scripts/sign-file.c`
//! (`CMS_NOCERTS | CMS_BINARY | CMS_NOSMIMECAP | CMS_NOATTR`); what a kernel refuses: `pkcs7_check_authattrs` and
//! `pkcs7_sig_note_set_of_authattrs` in `crypto/asymmetric_keys/pkcs7_parser.c`.

use cms::cert::IssuerAndSerialNumber;
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_DATA, ID_SIGNED_DATA};
use const_oid::db::rfc5912::{ID_SHA_256, ID_SHA_512, RSA_ENCRYPTION};
use der::asn1::{Any, OctetString, SetOfVec};
use der::{AnyRef, Decode as _, Encode as _, Reader as _};
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::{Certificate, HashKind, ModuleError};

/// Two signers for the change of a key, and some room.
const MAX_SIGNERS: usize = 8;
/// A signature of eight keys of 4096 bits, with long names.
const MAX_BYTES: usize = 64 << 10;

/// The structure over the raw signatures of some certificates.
pub(crate) fn assemble(signers: &[(&Certificate, HashKind, &[u8])]) -> Result<Vec<u8>, der::Error> {
    let mut algorithms = SetOfVec::new();
    let mut infos = SetOfVec::new();
    for (certificate, hash, signature) in signers {
        let algorithm = AlgorithmIdentifierOwned { oid: oid(*hash), parameters: None };
        if !algorithms.iter().any(|known| *known == algorithm) {
            algorithms.insert(algorithm.clone())?;
        }
        infos.insert(SignerInfo {
            version: CmsVersion::V1,
            sid: SignerIdentifier::IssuerAndSerialNumber(identity(certificate)),
            digest_alg: algorithm,
            signed_attrs: None,
            signature_algorithm: AlgorithmIdentifierOwned {
                oid: RSA_ENCRYPTION,
                parameters: Some(Any::from(AnyRef::NULL)),
            },
            signature: OctetString::new(*signature)?,
            unsigned_attrs: None,
        })?;
    }
    let signed = SignedData {
        version: CmsVersion::V1,
        digest_algorithms: algorithms,
        encap_content_info: EncapsulatedContentInfo { econtent_type: ID_DATA, econtent: None },
        certificates: None,
        crls: None,
        signer_infos: SignerInfos(infos),
    };
    ContentInfo { content_type: ID_SIGNED_DATA, content: Any::encode_from(&signed)? }.to_der()
}

/// One signer of a structure.
pub(crate) struct Signed {
    /// Issuer and serial number of its certificate.
    pub identity: IssuerAndSerialNumber,
    /// The hash; absent where it is another than those that are made here.
    pub hash: Option<HashKind>,
    /// The raw signature.
    pub signature: Vec<u8>,
}

/// Reads a structure; refuses what kernels refuse.
pub(crate) fn read(der: &[u8]) -> Result<Vec<Signed>, ModuleError> {
    if der.len() > MAX_BYTES {
        return Err(ModuleError::Form("it is too long"));
    }
    let mut reader = der::SliceReader::new(der).map_err(ModuleError::Unreadable)?;
    let content = ContentInfo::decode(&mut reader).map_err(ModuleError::Unreadable)?;
    reader.finish(()).map_err(ModuleError::Unreadable)?;
    if content.content_type != ID_SIGNED_DATA {
        return Err(ModuleError::Form("it is no signed data"));
    }
    let signed = content.content.decode_as::<SignedData>().map_err(ModuleError::Unreadable)?;
    if signed.encap_content_info.econtent.is_some() {
        return Err(ModuleError::Form("it has content of its own"));
    }
    let infos = signed.signer_infos.0;
    if infos.is_empty() || infos.len() > MAX_SIGNERS {
        return Err(ModuleError::Form("it has no signer, or too many"));
    }
    infos.into_vec().into_iter().map(signer).collect()
}

fn signer(info: SignerInfo) -> Result<Signed, ModuleError> {
    if info.signed_attrs.is_some() {
        return Err(ModuleError::Form("it has signed attributes"));
    }
    let SignerIdentifier::IssuerAndSerialNumber(identity) = info.sid else {
        return Err(ModuleError::Form("it names its signer by the key's identifier"));
    };
    let hash = match info.digest_alg.oid {
        ID_SHA_256 => Some(HashKind::Sha256),
        ID_SHA_512 => Some(HashKind::Sha512),
        _ => None,
    };
    Ok(Signed { identity, hash, signature: info.signature.into_bytes() })
}

/// How kernels find a certificate for a signature.
pub(crate) fn identity(certificate: &Certificate) -> IssuerAndSerialNumber {
    let certificate = &certificate.parsed().tbs_certificate;
    IssuerAndSerialNumber {
        issuer: certificate.issuer.clone(),
        serial_number: certificate.serial_number.clone(),
    }
}

fn oid(hash: HashKind) -> ObjectIdentifier {
    match hash {
        HashKind::Sha256 => ID_SHA_256,
        HashKind::Sha512 => ID_SHA_512,
    }
}
