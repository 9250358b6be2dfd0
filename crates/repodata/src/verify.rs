//! Held to the checksum while it is read.

use std::io::{self, Read};

use drivetrain_model::{Checksum, ChecksumAlgorithm};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::{Decompressor, Error, Limits, Record, Result, decompress};

/// Passes bytes on and hashes them. What was read is only known to be right once [`Self::finish`] says so.
pub struct VerifyingReader<R> {
    inner: R,
    document: String,
    hasher: Hasher,
    expected: Checksum,
    expected_size: Option<u64>,
    size: u64,
}

enum Hasher {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Box<Sha512>),
}

impl Hasher {
    fn new(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            ChecksumAlgorithm::Sha384 => Self::Sha384(Sha384::new()),
            ChecksumAlgorithm::Sha512 => Self::Sha512(Box::new(Sha512::new())),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha256(hasher) => hex::encode(hasher.finalize()),
            Self::Sha384(hasher) => hex::encode(hasher.finalize()),
            Self::Sha512(hasher) => hex::encode(hasher.finalize()),
        }
    }
}

impl<R: Read> VerifyingReader<R> {
    /// `document` names the file in errors.
    pub fn new(
        document: impl Into<String>,
        inner: R,
        expected: Checksum,
        expected_size: Option<u64>,
    ) -> Self {
        let hasher = Hasher::new(expected.algorithm);
        Self { inner, document: document.into(), hasher, expected, expected_size, size: 0 }
    }

    /// Reads what is left, so that a parse that stopped early does not matter, and compares.
    ///
    /// # Errors
    /// Where the size or the checksum differs, or the rest cannot be read.
    pub fn finish(mut self) -> Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::from_io(&self.document, error)),
            }
        }
        if let Some(expected) = self.expected_size
            && expected != self.size
        {
            return Err(Error::WrongSize { document: self.document, expected, actual: self.size });
        }
        let actual = Checksum { algorithm: self.expected.algorithm, hex: self.hasher.finish() };
        if actual != self.expected {
            return Err(Error::WrongChecksum { document: self.document, expected: self.expected, actual });
        }
        Ok(())
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        // More than the stated size can only end in an error: it need not be read to its end, which the other
        // side may never send.
        if let Some(expected) = self.expected_size
            && self.size > expected
        {
            let document = self.document.clone();
            return Err(Error::WrongSize { document, expected, actual: self.size }.into_io());
        }
        Ok(count)
    }
}

/// Opens the metadata file that a record describes, held to the record's open checksum and size.
///
/// Where the file's own checksum was verified as it was fetched, the open checksum adds nothing but time:
/// [`decompress`] is enough then.
///
/// # Errors
/// As [`decompress`]; and where the record states no open checksum.
pub fn open_record<R: Read>(
    record: &Record,
    file: R,
    limits: &Limits,
) -> Result<VerifyingReader<Decompressor<R>>> {
    let name = record.kind.name();
    let Some(expected) = record.open_checksum.clone() else {
        return Err(Error::malformed("repomd.xml", name, "has no open-checksum"));
    };
    let opened = decompress(name, file, record.open_size, limits)?;
    Ok(VerifyingReader::new(name, opened, expected, record.open_size))
}
