//! What is signed of a module: a digest of its bytes, before any signature.

use std::fmt;

use rsa::Pkcs1v15Sign;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// A hash that kernels take in a module's signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashKind {
    /// Built into every kernel that checks signatures at all.
    #[default]
    Sha256,
    /// A module itself in some kernels, Debian's among them, which then cannot check with it at boot.
    Sha512,
}

impl HashKind {
    /// As `modinfo` and OpenSSL have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many bytes a digest has.
    #[must_use]
    pub fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The padding that names this hash.
    pub(crate) fn padding(self) -> Pkcs1v15Sign {
        match self {
            Self::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
            Self::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
        }
    }

    /// What RFC 8017 (section 9.2) has before the digest in the `DigestInfo` that is signed.
    fn prefix(self) -> &'static [u8] {
        match self {
            Self::Sha256 => b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
            Self::Sha512 => b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
        }
    }
}

impl fmt::Display for HashKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A digest, and the hash that made it. Written as `sha256:…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleDigest {
    hash: HashKind,
    bytes: Vec<u8>,
}

/// A text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no digest: it must be sha256: or sha512: and as many hexadecimal digits as that has")]
pub struct NoDigest;

impl ModuleDigest {
    /// The digest of a module's bytes, as they are without a signature.
    #[must_use]
    pub fn of(hash: HashKind, content: &[u8]) -> Self {
        let bytes = match hash {
            HashKind::Sha256 => Sha256::digest(content).to_vec(),
            HashKind::Sha512 => Sha512::digest(content).to_vec(),
        };
        Self { hash, bytes }
    }

    /// Reads `sha256:…`.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn parse(text: &str) -> Result<Self, NoDigest> {
        let (name, digits) = text.split_once(':').ok_or(NoDigest)?;
        let hash = match name {
            "sha256" => HashKind::Sha256,
            "sha512" => HashKind::Sha512,
            _ => return Err(NoDigest),
        };
        let bytes = hex::decode(digits).map_err(|_| NoDigest)?;
        if bytes.len() == hash.length() { Ok(Self { hash, bytes }) } else { Err(NoDigest) }
    }

    /// The hash that made it.
    #[must_use]
    pub fn hash(&self) -> HashKind {
        self.hash
    }

    /// The digest itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The `DigestInfo` of PKCS #1: what a device signs that does not hash itself.
    #[must_use]
    pub fn digest_info(&self) -> Vec<u8> {
        [self.hash.prefix(), &self.bytes].concat()
    }
}

impl fmt::Display for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.hash, hex::encode(&self.bytes))
    }
}

impl fmt::Debug for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for ModuleDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModuleDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        for hash in [HashKind::Sha256, HashKind::Sha512] {
            let digest = ModuleDigest::of(hash, b"module");
            assert_eq!(ModuleDigest::parse(&digest.to_string()).unwrap(), digest);
            assert_eq!(digest.digest_info().len(), 19 + hash.length());
        }
        for text in ["", "sha256", "sha256:00", "md5:00", &format!("sha512:{}", "0".repeat(64))] {
            assert!(ModuleDigest::parse(text).is_err(), "{text}");
        }
    }
}
