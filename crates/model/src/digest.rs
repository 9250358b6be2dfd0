//! Checksums as values.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Why a text is no checksum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumError {
    /// Not the right number of hexadecimal digits.
    #[error("{text:?} is no {algorithm} checksum: it must be {expected} hexadecimal digits")]
    Digits {
        /// The algorithm's name.
        algorithm: &'static str,
        /// What was given, shortened.
        text: String,
        /// How many digits it takes.
        expected: usize,
    },
    /// An algorithm that drivetrain does not trust or know.
    #[error("checksum type {0:?} is not supported: sha256, sha384 and sha512 are")]
    Algorithm(String),
}

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From the 32 bytes that a hasher returned.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 64 hexadecimal digits, of either case.
    pub fn parse(text: &str) -> Result<Self, ChecksumError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| digits_error("sha256", text, 64))?;
        Ok(Self(bytes))
    }

    /// The first 12 digits: enough for a person, too few for a decision.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

fn digits_error(algorithm: &'static str, text: &str, expected: usize) -> ChecksumError {
    ChecksumError::Digits { algorithm, text: text.chars().take(80).collect(), expected }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256Digest {
    type Err = ChecksumError;
    fn from_str(text: &str) -> Result<Self, ChecksumError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Sha256Digest {
    type Error = ChecksumError;
    fn try_from(text: String) -> Result<Self, ChecksumError> {
        Self::parse(&text)
    }
}

impl From<Sha256Digest> for String {
    fn from(digest: Sha256Digest) -> Self {
        digest.to_string()
    }
}

/// The algorithms that YUM metadata may use and drivetrain accepts. MD5 and SHA-1 are refused: they no
/// longer prove that bytes are the ones that were meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChecksumAlgorithm {
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

/// A checksum as metadata states it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksum {
    /// With what it was made.
    pub algorithm: ChecksumAlgorithm,
    /// Lower-case hexadecimal digits.
    pub hex: String,
}

impl Checksum {
    /// Reads the `type` attribute and the text of a `<checksum>` element.
    pub fn parse(algorithm: &str, text: &str) -> Result<Self, ChecksumError> {
        let (algorithm, name, digits) = match algorithm {
            "sha256" => (ChecksumAlgorithm::Sha256, "sha256", 64),
            "sha384" => (ChecksumAlgorithm::Sha384, "sha384", 96),
            "sha512" => (ChecksumAlgorithm::Sha512, "sha512", 128),
            other => return Err(ChecksumError::Algorithm(other.chars().take(40).collect())),
        };
        if text.len() != digits || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(digits_error(name, text, digits));
        }
        Ok(Self { algorithm, hex: text.to_ascii_lowercase() })
    }

    /// The checksum as a SHA-256, where it is one.
    #[must_use]
    pub fn as_sha256(&self) -> Option<Sha256Digest> {
        match self.algorithm {
            ChecksumAlgorithm::Sha256 => Sha256Digest::parse(&self.hex).ok(),
            _ => None,
        }
    }
}

impl From<Sha256Digest> for Checksum {
    fn from(digest: Sha256Digest) -> Self {
        Self { algorithm: ChecksumAlgorithm::Sha256, hex: digest.to_string() }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.algorithm {
            ChecksumAlgorithm::Sha256 => "sha256",
            ChecksumAlgorithm::Sha384 => "sha384",
            ChecksumAlgorithm::Sha512 => "sha512",
        };
        write!(f, "{name}:{}", self.hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_and_malformed_checksums_are_refused() {
        assert!(Checksum::parse("md5", "d41d8cd98f00b204e9800998ecf8427e").is_err());
        assert!(Checksum::parse("sha", &"0".repeat(40)).is_err());
        assert!(Checksum::parse("sha256", "xyz").is_err());
        assert!(Checksum::parse("sha256", &"é".repeat(32)).is_err());
        let good = Checksum::parse("sha256", &"AB".repeat(32)).unwrap();
        assert_eq!(good.as_sha256().unwrap().to_string(), "ab".repeat(32));
    }
}
