//! A running checksum of any of the accepted algorithms.

use std::io::{self, Read};

use drivetrain_model::{Checksum, ChecksumAlgorithm};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// Large enough that the system calls do not show, small enough to stay in the processor's cache.
pub(crate) const BUFFER: usize = 256 * 1024;

#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            ChecksumAlgorithm::Sha384 => Self::Sha384(Sha384::new()),
            ChecksumAlgorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(&self) -> Checksum {
        let (algorithm, hex) = match self.clone() {
            Self::Sha256(hasher) => (ChecksumAlgorithm::Sha256, hex::encode(hasher.finalize())),
            Self::Sha384(hasher) => (ChecksumAlgorithm::Sha384, hex::encode(hasher.finalize())),
            Self::Sha512(hasher) => (ChecksumAlgorithm::Sha512, hex::encode(hasher.finalize())),
        };
        Checksum { algorithm, hex }
    }

    /// Reads to the end, hashes, and hands on what was read; returns how many bytes that was.
    pub(crate) fn read_through(
        &mut self,
        mut from: impl Read,
        mut to: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<u64> {
        let mut buffer = vec![0; BUFFER];
        let mut total = 0;
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => return Ok(total),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.update(&buffer[..count]);
            to(&buffer[..count])?;
            total += count as u64;
        }
    }
}
