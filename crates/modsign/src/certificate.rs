//! Certificates that modules are signed for: what is enrolled on machines.

use std::fmt;

use const_oid::db::rfc5912::RSA_ENCRYPTION;
use der::{Decode as _, Encode as _, Reader as _};
use drivetrain_model::Sha256Digest;
use jiff::Timestamp;
use rsa::RsaPublicKey;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage};

use crate::ModuleDigest;

/// No certificate is larger; one of RSA with 4096 bits has two kilobytes.
const MAX_BYTES: usize = 64 << 10;

/// A raw RSA signature.
pub type RawSignature = Vec<u8>;

/// The sizes of RSA keys that kernels take: `rsa_check_key_length` in `crypto/rsa.c`, without those that are broken.
const SIZES: [usize; 3] = [2048, 3072, 4096];

/// A certificate that can be signed for: an RSA key, and the name by which kernels know it.
#[derive(Clone)]
pub struct Certificate {
    parsed: x509_cert::Certificate,
    der: Vec<u8>,
    key: RsaPublicKey,
    fingerprint: Sha256Digest,
}

/// Why a certificate cannot be used, or a signature is not one of its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// No certificate.
    #[error("it holds no X.509 certificate in PEM or DER")]
    None(#[source] der::Error),
    /// A file that nobody would call a certificate.
    #[error("it has {0} bytes, and no certificate has more than {MAX_BYTES}")]
    Large(usize),
    /// Which is meant cannot be told.
    #[error("it holds {0} certificates, and one is needed")]
    Several(usize),
    /// The key is not RSA.
    #[error("its key is {0}, and kernels take module signatures of RSA keys")]
    Algorithm(String),
    /// The key has a size that kernels do not take.
    #[error("its key has {0} bits, and kernels take RSA keys of 2048, 3072 or 4096")]
    Size(usize),
    /// The key is not readable.
    #[error("its key cannot be read: {0}")]
    Key(String),
    /// It has said since when.
    #[error("it expired at {0}")]
    Expired(Timestamp),
    /// It says from when on.
    #[error("it is not valid before {0}: compare this host's clock")]
    NotYet(Timestamp),
    /// It is for something else.
    #[error("it is not for signing code: {0}")]
    Usage(&'static str),
    /// The bytes are no signature of this digest by this key.
    #[error("its key did not make this signature")]
    Signature,
}

impl Certificate {
    /// Reads a certificate, PEM or DER.
    ///
    /// # Errors
    /// Where it is none, or its key is none that kernels take.
    pub fn read(bytes: &[u8]) -> Result<Self, CertificateError> {
        if bytes.len() > MAX_BYTES {
            return Err(CertificateError::Large(bytes.len()));
        }
        let is_pem = bytes.windows(11).any(|window| window == b"-----BEGIN ");
        let der = if is_pem { one_of_pem(bytes)? } else { bytes.to_vec() };
        let mut reader = der::SliceReader::new(&der).map_err(CertificateError::None)?;
        let parsed = x509_cert::Certificate::decode(&mut reader).map_err(CertificateError::None)?;
        // A kernel's parser looks at the whole of it.
        reader.finish(()).map_err(CertificateError::None)?;
        let key = rsa_key(&parsed)?;
        let fingerprint = Sha256Digest::of(&der);
        Ok(Self { parsed, der, key, fingerprint })
    }

    /// Refuses a certificate that no signature should be made for at this moment.
    ///
    /// A kernel does not look at dates; who keeps the fleet does, when the key is replaced.
    ///
    /// # Errors
    /// Where it has expired, is not valid yet, or says that it is for something else.
    pub fn check(&self, now: Timestamp) -> Result<(), CertificateError> {
        let (begins, ends) = (self.not_before(), self.not_after());
        if now > ends {
            return Err(CertificateError::Expired(ends));
        }
        if now < begins {
            return Err(CertificateError::NotYet(begins));
        }
        let certificate = &self.parsed.tbs_certificate;
        if let Ok(Some((_, usage))) = certificate.get::<KeyUsage>()
            && !usage.digital_signature()
        {
            return Err(CertificateError::Usage("its key usage lacks digitalSignature"));
        }
        if let Ok(Some((_, usage))) = certificate.get::<ExtendedKeyUsage>()
            && !usage.0.iter().any(|oid| CODE_SIGNING.contains(oid))
        {
            return Err(CertificateError::Usage("its extended key usage lacks codeSigning"));
        }
        Ok(())
    }

    /// Whether this is a signature of this digest by the certificate's key.
    ///
    /// # Errors
    /// Where it is not.
    pub fn verify(&self, digest: &ModuleDigest, signature: &[u8]) -> Result<(), CertificateError> {
        self.key
            .verify(digest.hash().padding(), digest.as_bytes(), signature)
            .map_err(|_| CertificateError::Signature)
    }

    /// As `mokutil --import` takes it.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The SHA-256 of its DER.
    #[must_use]
    pub fn fingerprint(&self) -> Sha256Digest {
        self.fingerprint
    }

    /// The common name of its subject, or the whole of it where it has none; as `modinfo` says the signer.
    #[must_use]
    pub fn name(&self) -> String {
        name_of(&self.parsed.tbs_certificate.subject)
    }

    /// The whole name of its subject.
    #[must_use]
    pub fn subject(&self) -> String {
        printable(&self.parsed.tbs_certificate.subject.to_string())
    }

    /// The last moment at which it is valid.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        moment(&self.parsed.tbs_certificate.validity.not_after)
    }

    /// The first moment at which it is valid.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        moment(&self.parsed.tbs_certificate.validity.not_before)
    }

    /// The size of its key, in bits.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.key.n().bits()
    }

    /// How many bytes a signature of its key has.
    #[must_use]
    pub fn signature_length(&self) -> usize {
        self.key.size()
    }

    /// Its serial number, in hexadecimal with colons: `sig_key` of `modinfo`.
    #[must_use]
    pub fn serial(&self) -> String {
        colons(self.parsed.tbs_certificate.serial_number.as_bytes())
    }

    pub(crate) fn key(&self) -> &RsaPublicKey {
        &self.key
    }

    pub(crate) fn parsed(&self) -> &x509_cert::Certificate {
        &self.parsed
    }
}

/// The name, and enough of the fingerprint to tell two of one name apart.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.fingerprint.short())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({self})")
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

/// `codeSigning`, `anyExtendedKeyUsage`, and the one by which shim knows keys that are for modules alone.
const CODE_SIGNING: [const_oid::ObjectIdentifier; 3] = [
    const_oid::db::rfc5280::ID_KP_CODE_SIGNING,
    const_oid::db::rfc5280::ANY_EXTENDED_KEY_USAGE,
    MODULES_ONLY,
];

/// shim takes a key with this usage for modules and for nothing that boots (`OID_EKU_MODSIGN` in its `Cryptlib`).
pub(crate) const MODULES_ONLY: const_oid::ObjectIdentifier =
    const_oid::ObjectIdentifier::new_unwrap("1.3.6.1.4.1.2312.16.1.2");

/// What a name is called by people.
pub(crate) fn name_of(name: &x509_cert::name::Name) -> String {
    let common =
        name.0.iter().flat_map(|part| part.0.iter()).find(|part| part.oid == const_oid::db::rfc4519::CN);
    let text = common
        .and_then(|part| {
            let text =
                part.value.decode_as::<der::asn1::Utf8StringRef<'_>>().map(|text| text.as_str().to_owned());
            text.or_else(|_| {
                part.value
                    .decode_as::<der::asn1::PrintableStringRef<'_>>()
                    .map(|text| text.as_str().to_owned())
            })
            .ok()
        })
        .unwrap_or_else(|| name.to_string());
    printable(&text)
}

/// Names come from whoever made the certificate, and are shown on terminals.
fn printable(text: &str) -> String {
    let shown: String = text
        .chars()
        .take(200)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    if shown.is_empty() { "a certificate without a name".to_owned() } else { shown }
}

pub(crate) fn colons(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

fn moment(time: &x509_cert::time::Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

fn one_of_pem(bytes: &[u8]) -> Result<Vec<u8>, CertificateError> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = Vec::new();
    let mut rest = text.as_ref();
    while let Some(at) = rest.find(BEGIN) {
        let end = rest[at..].find(END).map_or(rest.len(), |end| at + end + END.len());
        let (label, der) = der::pem::decode_vec(&rest.as_bytes()[at..end])
            .map_err(|error| CertificateError::None(error.into()))?;
        if label == "CERTIFICATE" {
            found.push(der);
        }
        rest = &rest[end..];
    }
    match (found.pop(), found.len()) {
        (Some(one), 0) => Ok(one),
        (Some(_), others) => Err(CertificateError::Several(others + 1)),
        (None, _) => Err(CertificateError::None(der::Tag::Sequence.value_error())),
    }
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

fn rsa_key(certificate: &x509_cert::Certificate) -> Result<RsaPublicKey, CertificateError> {
    let info = &certificate.tbs_certificate.subject_public_key_info;
    if info.algorithm.oid != RSA_ENCRYPTION {
        return Err(CertificateError::Algorithm(algorithm_name(&info.algorithm.oid)));
    }
    let der = info.to_der().map_err(|error| CertificateError::Key(error.to_string()))?;
    let key =
        RsaPublicKey::from_public_key_der(&der).map_err(|error| CertificateError::Key(error.to_string()))?;
    let bits = key.n().bits();
    if SIZES.contains(&bits) { Ok(key) } else { Err(CertificateError::Size(bits)) }
}

/// A kind of key as people call it.
pub(crate) fn algorithm_name(oid: &const_oid::ObjectIdentifier) -> String {
    match oid.to_string().as_str() {
        "1.2.840.10045.2.1" => "an elliptic curve (ECDSA)".to_owned(),
        "1.3.101.112" => "Ed25519".to_owned(),
        "1.3.101.113" => "Ed448".to_owned(),
        "1.2.840.113549.1.1.10" => "RSA-PSS".to_owned(),
        "1.2.840.10040.4.1" => "DSA".to_owned(),
        other => other.to_owned(),
    }
}
