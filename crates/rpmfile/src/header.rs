//! The head of an RPM file (lead, signature header, header), read within bounds and checked before the `rpm`
//! crate parses it.
//!
//! The checks are those of librpm's `hdrblobVerifyInfo`: known types, data within the store, no overlap (by
//! which a small header could describe gigabytes), strings that end.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use fs_err::File;
use rpm::PackageMetadata;

use crate::error::{name_of, shortened};
use crate::{Error, Problem, Result};

const LEAD_BYTES: usize = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
const HEADER_MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
const INTRO_BYTES: usize = 16;
const ENTRY_BYTES: usize = 16;

/// librpm's `HEADER_TAGS_MAX`.
const MAX_ENTRIES: u32 = 0xffff;
/// A quarter of librpm's `HEADER_DATA_MAX`.
const MAX_DATA_BYTES: u32 = 64 << 20;
/// Strings of one entry: files of a package, or its dependencies.
const MAX_STRINGS: u32 = 500_000;

/// The head of a file.
pub(crate) struct Head {
    /// As the `rpm` crate parsed it.
    pub(crate) metadata: PackageMetadata,
    /// All its bytes. The payload begins after them.
    pub(crate) bytes: Vec<u8>,
    /// Where in them the header begins: what is hashed and signed goes from here to the end.
    pub(crate) header_start: usize,
}

impl Head {
    /// The bytes that the signature is over.
    pub(crate) fn header(&self) -> &[u8] {
        &self.bytes[self.header_start..]
    }

    /// Reads the head, and leaves the reader at the payload.
    pub(crate) fn read(reader: &mut impl Read, file: &str) -> Result<Self> {
        Self::read_problem(reader).map_err(|problem| problem.of(file))
    }

    fn read_problem(reader: &mut impl Read) -> std::result::Result<Self, Problem> {
        let mut bytes = Vec::new();
        read_exactly(reader, LEAD_BYTES, &mut bytes, "lead")?;
        if !bytes.starts_with(&LEAD_MAGIC) {
            return Err(Problem::NotRpm);
        }
        let signature_data = read_section(reader, &mut bytes, "signature header")?;
        // The signature header is filled up to eight bytes, the header is not.
        read_exactly(reader, (8 - signature_data % 8) % 8, &mut bytes, "signature header")?;
        let header_start = bytes.len();
        read_section(reader, &mut bytes, "header")?;
        let metadata = PackageMetadata::parse(&mut bytes.as_slice())
            .map_err(|error| damaged("header", shortened(&error.to_string())))?;
        Ok(Self { metadata, bytes, header_start })
    }
}

/// The lead, signature header and header of a file, as they are, once they are checked: what
/// `rpmrepo_metadata` makes a repository's metadata from.
///
/// # Errors
/// Where the file is no RPM, truncated within them, or they are damaged.
pub fn header_bytes(path: &Path) -> Result<Vec<u8>> {
    let (head, _) = open(path)?;
    Ok(head.bytes)
}

/// The header of a package, from its first bytes: what signatures are made over. It has the digest of the payload, so of
/// two packages with the same header one differs from the other by its signatures at most.
///
/// # Errors
/// Where they are no RPM's, or end within the header.
pub fn signed_header(first: &[u8], file: &str) -> Result<Vec<u8>> {
    let (head, _) = from_reader(first, file)?;
    Ok(head.header().to_vec())
}

/// Opens a file and reads its head; what is left is the payload.
pub(crate) fn open(path: &Path) -> Result<(Head, BufReader<File>)> {
    let file = name_of(path);
    let reader = File::open(path).map_err(|error| Problem::Read(error).of(&file))?;
    let mut reader = BufReader::with_capacity(128 << 10, reader);
    let head = Head::read(&mut reader, &file)?;
    Ok((head, reader))
}

fn damaged(section: &'static str, problem: impl Into<String>) -> Problem {
    Problem::Header { section, problem: problem.into() }
}

/// Reads a header and checks it. Returns the size of its data.
fn read_section(
    reader: &mut impl Read,
    bytes: &mut Vec<u8>,
    section: &'static str,
) -> std::result::Result<usize, Problem> {
    let start = bytes.len();
    read_exactly(reader, INTRO_BYTES, bytes, section)?;
    let intro = &bytes[start..];
    if !intro.starts_with(&HEADER_MAGIC) {
        return Err(damaged(section, "it does not begin as a header does"));
    }
    let (entries, data) = (number(intro, 8), number(intro, 12));
    if entries == 0 || entries > MAX_ENTRIES {
        return Err(damaged(
            section,
            format!("it claims {entries} entries, and 1 to {MAX_ENTRIES} are allowed"),
        ));
    }
    if data > MAX_DATA_BYTES {
        return Err(damaged(section, format!("it claims {data} bytes, and {MAX_DATA_BYTES} are allowed")));
    }
    let index_bytes = entries as usize * ENTRY_BYTES;
    let index_start = bytes.len();
    read_exactly(reader, index_bytes + data as usize, bytes, section)?;
    let (index, store) = bytes[index_start..].split_at(index_bytes);
    check_index(index, store).map_err(|problem| damaged(section, problem))?;
    Ok(data as usize)
}

/// Reads as the bytes come, so that a length that is only claimed costs nothing.
fn read_exactly(
    reader: &mut impl Read,
    count: usize,
    bytes: &mut Vec<u8>,
    section: &'static str,
) -> std::result::Result<(), Problem> {
    let read = reader.take(count as u64).read_to_end(bytes).map_err(Problem::Read)?;
    if read < count {
        return Err(Problem::Truncated(section));
    }
    Ok(())
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// Every entry's data is within the store, and all of it together is no more than the store.
fn check_index(index: &[u8], store: &[u8]) -> std::result::Result<(), String> {
    let mut total = 0_usize;
    for entry in index.chunks_exact(ENTRY_BYTES) {
        let (tag, kind, offset, count) =
            (number(entry, 0), number(entry, 4), number(entry, 8), number(entry, 12));
        let rest = store.get(offset as usize..).filter(|rest| !rest.is_empty());
        let rest = rest.ok_or_else(|| format!("tag {tag} points outside it"))?;
        let length =
            data_length(kind, count as usize, rest).map_err(|problem| format!("tag {tag} {problem}"))?;
        total = total.saturating_add(length);
        if total > store.len() {
            return Err(format!("its entries overlap (at tag {tag})"));
        }
    }
    Ok(())
}

/// How many bytes an entry's data has.
fn data_length(kind: u32, count: usize, rest: &[u8]) -> std::result::Result<usize, String> {
    if count == 0 {
        return Err("has no data".to_owned());
    }
    let size = match kind {
        // CHAR, INT8, BIN
        1 | 2 | 7 => 1,
        // INT16, INT32, INT64
        3 => 2,
        4 => 4,
        5 => 8,
        // STRING, STRING_ARRAY, I18NSTRING
        6 if count != 1 => return Err("is one string and claims to be more".to_owned()),
        6 | 8 | 9 => return strings_length(count, rest),
        _ => return Err(format!("has unknown type {kind}")),
    };
    let length = count.checked_mul(size).filter(|&length| length <= rest.len());
    length.ok_or_else(|| "goes on outside it".to_owned())
}

fn strings_length(count: usize, rest: &[u8]) -> std::result::Result<usize, String> {
    if count > MAX_STRINGS as usize {
        return Err(format!("has {count} strings, and {MAX_STRINGS} are allowed"));
    }
    let mut ends = rest.iter().enumerate().filter(|&(_, &byte)| byte == 0);
    match ends.nth(count - 1) {
        Some((last, _)) => Ok(last + 1),
        None => Err("has a string without an end".to_owned()),
    }
}

/// What the `rpm` crate says where a header is sound and lacks something.
pub(crate) fn facts(error: &rpm::Error) -> Problem {
    Problem::Facts(format!("does not say what it must: {}", shortened(&error.to_string())))
}

/// Any reader as a buffered one, with the head read.
pub(crate) fn from_reader<R: Read>(
    reader: R,
    file: &str,
) -> std::result::Result<(Head, impl BufRead + use<R>), Error> {
    let mut reader = BufReader::with_capacity(128 << 10, reader);
    let head = Head::read(&mut reader, file)?;
    Ok((head, reader))
}

/// An I/O error that carries one of our problems through `io::Read`.
pub(crate) fn into_io(problem: Problem) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
