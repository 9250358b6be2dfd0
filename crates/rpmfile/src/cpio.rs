//! The archive within an RPM: `cpio` as `newc` writes it, and rpm's own short form for files over 4 GiB.
//!
//! `newc`: a header of 110 bytes (magic `070701`, then 13 numbers of 8 hexadecimal digits), the name with a NUL,
//! filled up to four bytes; then the data, filled up likewise. The short form (magic `07070X`) has one number
//! instead, the file's index in the RPM header.

use std::io::{self, Read};

use crate::Problem;

/// The kernel's `PATH_MAX`.
const MAX_NAME_BYTES: u64 = 4096;
const TRAILER: &str = "TRAILER!!!";

/// The archive, read from its start to its trailer.
pub(crate) struct Cpio<R> {
    reader: R,
    /// Bytes of the current entry's data that are not read yet.
    left: u64,
    /// Bytes that follow the data up to the next multiple of four.
    padding: u64,
}

/// Whose data come next.
pub(crate) enum Member {
    /// By name, with the size of the data.
    Named(String, u64),
    /// By its index in the RPM header; the size is that of the header.
    Index(usize),
}

impl<R: Read> Cpio<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, left: 0, padding: 0 }
    }

    /// The next entry, or `None` at the trailer. What is left of the entry before is passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, Problem> {
        self.pass(self.left + self.padding)?;
        (self.left, self.padding) = (0, 0);
        let mut magic = [0; 6];
        self.exactly(&mut magic)?;
        match &magic {
            b"070701" | b"070702" => self.named(),
            b"07070X" => {
                let index = self.number()?;
                self.pass(2)?;
                Ok((index != u32::MAX).then_some(Member::Index(index as usize)))
            }
            _ => Err(Problem::Payload("an entry does not begin as one does".to_owned())),
        }
    }

    /// How many bytes of data the entry has; known to the caller alone where the short form is used.
    pub(crate) fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = (4 - size % 4) % 4;
    }

    fn named(&mut self) -> Result<Option<Member>, Problem> {
        let mut fields = [0_u32; 13];
        for field in &mut fields {
            *field = self.number()?;
        }
        let (size, name_bytes) = (u64::from(fields[6]), u64::from(fields[11]));
        if name_bytes == 0 || name_bytes > MAX_NAME_BYTES {
            return Err(Problem::Payload(format!("an entry's name has {name_bytes} bytes")));
        }
        let mut name = vec![0; name_bytes as usize];
        self.exactly(&mut name)?;
        // 110 bytes of header are two more than a multiple of four.
        self.pass((4 - (110 + name_bytes) % 4) % 4)?;
        let end = name.iter().position(|&byte| byte == 0);
        name.truncate(end.ok_or_else(|| Problem::Payload("an entry's name has no end".to_owned()))?);
        let name = String::from_utf8(name)
            .map_err(|_| Problem::Payload("an entry's name is no UTF-8".to_owned()))?;
        if name == TRAILER {
            return Ok(None);
        }
        Ok(Some(Member::Named(name, size)))
    }

    fn number(&mut self) -> Result<u32, Problem> {
        let mut digits = [0; 8];
        self.exactly(&mut digits)?;
        let mut value = [0; 4];
        hex::decode_to_slice(digits, &mut value)
            .map_err(|_| Problem::Payload("an entry has a number that is none".to_owned()))?;
        Ok(u32::from_be_bytes(value))
    }

    fn exactly(&mut self, buffer: &mut [u8]) -> Result<(), Problem> {
        self.reader.read_exact(buffer).map_err(|error| Problem::reading(error, "payload"))
    }

    fn pass(&mut self, count: u64) -> Result<(), Problem> {
        let passed = io::copy(&mut self.reader.by_ref().take(count), &mut io::sink());
        // `copy` ends without an error where the archive does.
        if passed.map_err(|error| Problem::reading(error, "payload"))? < count {
            return Err(Problem::Truncated("payload"));
        }
        Ok(())
    }
}

/// The data of the current entry.
impl<R: Read> Read for Cpio<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let count = match self.reader.read(&mut buffer[..want]) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                // As ours, so that nobody takes it for an error of where the content goes to.
                return Err(crate::header::into_io(Problem::reading(error, "payload")));
            }
            other => other?,
        };
        if count == 0 {
            return Err(crate::header::into_io(Problem::Truncated("payload")));
        }
        self.left -= count as u64;
        Ok(count)
    }
}
