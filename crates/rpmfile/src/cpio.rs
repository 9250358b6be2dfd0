//! The archive within an RPM: `cpio` as `newc` writes it, and rpm's own short form for files over 4 GiB.
//!
//! `newc`: a header of 110 bytes (magic `070701`, then 13 numbers of 8 hexadecimal digits), the name with a NUL,
//! filled up to four bytes; then the data, filled up likewise. The short form (magic `07070X`) has one number
//! instead, the file's index in the RPM header.

use std::io::{self, Read, Write};

use crate::Problem;

/// The kernel's `PATH_MAX`.
const MAX_NAME_BYTES: u64 = 4096;
const TRAILER: &str = "TRAILER!!!";

/// The archive, read from its start to its trailer.
pub(crate) struct Cpio<R> {
    reader: R,
    /// How the current entry was written.
    form: Form,
    /// Bytes of the current entry's data that are not read yet.
    left: u64,
    /// Bytes that follow the data up to the next multiple of four.
    padding: u64,
}

/// How an entry was written: what of it is not told to whom reads files, and is needed to write it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// As `newc`: its numbers and its name.
    Named {
        /// Inode, mode, user, group, links, time, size, device (two), special device (two), length of the name, sum.
        fields: [u32; 13],
        /// The name as it stands.
        name: String,
    },
    /// In the short form: its index.
    Short(u32),
}

/// Which of the numbers is the size.
const SIZE: usize = 6;
const NAME_BYTES: usize = 11;
const SUM: usize = 12;

impl Form {
    /// Writes an entry's head for another name and size of data; [`pad`] has to follow the data.
    pub(crate) fn write(&self, out: &mut impl Write, name: &str, size: u64) -> io::Result<()> {
        match self {
            Self::Short(index) => {
                write!(out, "07070X{index:08x}")?;
                out.write_all(&[0; 2])
            }
            Self::Named { fields, .. } => {
                let mut fields = *fields;
                let too_large =
                    |_| io::Error::new(io::ErrorKind::InvalidData, "it does not fit into the archive");
                fields[SIZE] = u32::try_from(size).map_err(too_large)?;
                fields[NAME_BYTES] = u32::try_from(name.len() + 1).map_err(too_large)?;
                fields[SUM] = 0;
                write_named(out, &fields, name)
            }
        }
    }
}

fn write_named(out: &mut impl Write, fields: &[u32; 13], name: &str) -> io::Result<()> {
    out.write_all(b"070701")?;
    for field in fields {
        write!(out, "{field:08x}")?;
    }
    out.write_all(name.as_bytes())?;
    out.write_all(&[0])?;
    // 110 bytes of header are two more than a multiple of four.
    pad(out, 110 + name.len() as u64 + 1)
}

/// Fills up to four bytes what has so many.
pub(crate) fn pad(out: &mut impl Write, bytes: u64) -> io::Result<()> {
    out.write_all(&[0; 3][..((4 - bytes % 4) % 4) as usize])
}

/// Ends an archive.
pub(crate) fn finish(out: &mut impl Write) -> io::Result<()> {
    let mut fields = [0; 13];
    fields[4] = 1;
    fields[NAME_BYTES] = TRAILER.len() as u32 + 1;
    write_named(out, &fields, TRAILER)
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
        Self { reader, form: Form::Short(0), left: 0, padding: 0 }
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
                self.form = Form::Short(index);
                Ok((index != u32::MAX).then_some(Member::Index(index as usize)))
            }
            _ => Err(Problem::Payload("an entry does not begin as one does".to_owned())),
        }
    }

    /// How the current entry was written.
    pub(crate) fn form(&self) -> &Form {
        &self.form
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
        let (size, name_bytes) = (u64::from(fields[SIZE]), u64::from(fields[NAME_BYTES]));
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
        self.form = Form::Named { fields, name: name.clone() };
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
