//! New keys, with a certificate that machines can enrol.

use std::time::Duration;

use const_oid::db::rfc5280::ID_KP_CODE_SIGNING;
use der::asn1::Utf8StringRef;
use der::pem::LineEnding;
use der::{Encode as _, EncodePem as _};
use jiff::Timestamp;
use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::{EncodePrivateKey as _, PrivateKeyInfo};
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::rand_core::{OsRng, RngCore as _};
use sha2::Sha256;
use x509_cert::builder::{Builder as _, CertificateBuilder, Profile};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::{Time, Validity};

use crate::certificate::MODULES_ONLY;
use crate::{Certificate, CertificateError, KeyFile};

/// As many as are advised for PBKDF2 with SHA-256.
const ITERATIONS: u32 = 600_000;

/// Whose key it is, and for how long.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The common name: what `modinfo` and `mokutil` show.
    pub name: String,
    /// The size of the key: 2048, 3072 or 4096.
    pub bits: usize,
    /// For how many days from now the certificate is valid.
    pub days: u32,
    /// From when on.
    pub now: Timestamp,
}

/// A new key. Not shown by `Debug`.
pub struct NewKey {
    /// The private key, PKCS #8 in PEM.
    pub key_pem: String,
    /// The certificate in PEM.
    pub certificate_pem: String,
    /// The certificate.
    pub certificate: Certificate,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewKey({})", self.certificate)
    }
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The name.
    #[error(
        "a certificate's name has 1 to 64 characters and no control characters among them, and this has not: {0:?}"
    )]
    Name(String),
    /// The time.
    #[error("a certificate is valid for 1 to 36500 days, and not for {0}")]
    Days(u32),
    /// The size of the key.
    #[error("kernels take RSA keys of 2048, 3072 or 4096 bits, and not of {0}")]
    Bits(usize),
    /// The key cannot be made.
    #[error("no key can be made")]
    Key(#[source] rsa::Error),
    /// The key cannot be locked or written.
    #[error("the key cannot be locked with the passphrase")]
    Lock(#[source] pkcs8::Error),
    /// The certificate cannot be made.
    #[error("no certificate can be made")]
    Certificate(#[source] x509_cert::builder::Error),
    /// What was made is not what it should be.
    #[error("the certificate that was made cannot be used")]
    Unusable(#[source] CertificateError),
}

/// Makes a key and a certificate that it signs itself, for modules and nothing that boots. With a passphrase the key is
/// locked by it.
///
/// # Errors
/// Where the subject cannot be written into a certificate.
pub fn new_key(subject: &Subject, passphrase: Option<&str>) -> Result<NewKey, GenerateError> {
    let length = subject.name.chars().count();
    if !(1..=64).contains(&length) || subject.name.chars().any(char::is_control) {
        return Err(GenerateError::Name(subject.name.chars().take(80).collect()));
    }
    if !(1..=36_500).contains(&subject.days) {
        return Err(GenerateError::Days(subject.days));
    }
    if ![2048, 3072, 4096].contains(&subject.bits) {
        return Err(GenerateError::Bits(subject.bits));
    }
    let key = RsaPrivateKey::new(&mut OsRng, subject.bits).map_err(GenerateError::Key)?;
    let certificate = certificate(subject, &key).map_err(GenerateError::Certificate)?;
    let pem = |error: der::Error| GenerateError::Certificate(error.into());
    let certificate_pem = certificate.to_pem(LineEnding::LF).map_err(pem)?;
    let certificate =
        Certificate::read(&certificate.to_der().map_err(pem)?).map_err(GenerateError::Unusable)?;
    certificate.check(subject.now).map_err(GenerateError::Unusable)?;
    let key_pem = match passphrase {
        Some(passphrase) => lock(&key, passphrase),
        None => key.to_pkcs8_pem(LineEnding::LF),
    };
    let key_pem = key_pem.map_err(GenerateError::Lock)?.to_string();
    Ok(NewKey { key_pem, certificate_pem, certificate })
}

/// Not with scrypt, whose usual parameters take more memory than OpenSSL allows it.
fn lock(key: &RsaPrivateKey, passphrase: &str) -> Result<der::zeroize::Zeroizing<String>, pkcs8::Error> {
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    OsRng.fill_bytes(&mut salt);
    OsRng.fill_bytes(&mut iv);
    let parameters = Parameters::pbkdf2_sha256_aes256cbc(ITERATIONS, &salt, &iv)
        .map_err(|_| pkcs8::Error::ParametersMalformed)?;
    let document = key.to_pkcs8_der()?;
    let locked =
        PrivateKeyInfo::try_from(document.as_bytes())?.encrypt_with_params(parameters, passphrase)?;
    Ok(locked.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)?)
}

impl NewKey {
    /// The key, to sign with.
    ///
    /// # Errors
    /// Where the passphrase is not the one that it was made with.
    pub fn key(&self, passphrase: Option<&str>) -> Result<KeyFile, crate::KeyError> {
        KeyFile::read(&self.key_pem, passphrase, "the new key")
    }
}

type Built<T> = Result<T, x509_cert::builder::Error>;

fn certificate(subject: &Subject, key: &RsaPrivateKey) -> Built<x509_cert::Certificate> {
    let public = SubjectPublicKeyInfoOwned::from_key(key.to_public_key())?;
    let signing = SigningKey::<Sha256>::new(key.clone());
    let mut serial = [0; 16];
    OsRng.fill_bytes(&mut serial);
    // Positive, and of full length.
    serial[0] = serial[0] & 0x7f | 0x40;
    let name = name(&subject.name)?;
    let profile = Profile::Manual { issuer: Some(name.clone()) };
    let mut builder = CertificateBuilder::new(
        profile,
        SerialNumber::new(&serial)?,
        validity(subject)?,
        name,
        public.clone(),
        &signing,
    )?;
    let identifier = identifier(&public)?;
    builder.add_extension(&BasicConstraints { ca: false, path_len_constraint: None })?;
    builder.add_extension(&KeyUsage(KeyUsages::DigitalSignature.into()))?;
    builder.add_extension(&ExtendedKeyUsage(vec![ID_KP_CODE_SIGNING, MODULES_ONLY]))?;
    builder.add_extension(&SubjectKeyIdentifier(identifier.clone()))?;
    builder.add_extension(&AuthorityKeyIdentifier {
        key_identifier: Some(identifier),
        ..AuthorityKeyIdentifier::default()
    })?;
    builder.build()
}

/// RFC 7093, method 1: the first 160 bits of the key's SHA-256.
fn identifier(public: &SubjectPublicKeyInfoOwned) -> Result<der::asn1::OctetString, der::Error> {
    use sha2::Digest as _;
    let digest = Sha256::digest(public.subject_public_key.raw_bytes());
    der::asn1::OctetString::new(digest.get(..20).unwrap_or_default())
}

/// A name whose characters nobody has to escape.
fn name(common: &str) -> Result<Name, der::Error> {
    let value = der::asn1::Any::from(Utf8StringRef::new(common)?);
    let part = x509_cert::attr::AttributeTypeAndValue { oid: const_oid::db::rfc4519::CN, value };
    let parts = der::asn1::SetOfVec::try_from([part])?;
    Ok(RdnSequence(vec![RelativeDistinguishedName(parts)]))
}

fn validity(subject: &Subject) -> Result<Validity, der::Error> {
    // An hour back: clocks differ.
    let begin = u64::try_from(subject.now.as_second()).unwrap_or(0).saturating_sub(3600);
    let end = begin.saturating_add(3600 + u64::from(subject.days) * 86_400);
    Ok(Validity { not_before: time(begin)?, not_after: time(end)? })
}

/// RFC 5280, section 4.1.2.5: in the short form until 2049.
fn time(seconds: u64) -> Result<Time, der::Error> {
    let since = Duration::from_secs(seconds);
    match der::asn1::UtcTime::from_unix_duration(since) {
        Ok(time) => Ok(Time::UtcTime(time)),
        Err(_) => der::asn1::GeneralizedTime::from_unix_duration(since).map(Time::GeneralTime),
    }
}
