//! The vendor's source archive, `MLNX_OFED_SRC-<version>.tgz`: a tar of scripts and, under `SRPMS/`, the source
//! RPMs of the driver stack.

use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;

use tar::{Archive, EntryType, PaxExtensions};

use crate::compress::decompress;
use crate::error::shortened;
use crate::header::into_io;
use crate::{Problem, Result};

/// `PATH_MAX`, and what a pax header of one file may reasonably have.
const MAX_NAME_BYTES: u64 = 4096;
const MAX_PAX_BYTES: u64 = 64 << 10;

/// What a source archive may make us read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLimits {
    /// Bytes of the archive after decompression.
    pub max_total: u64,
    /// Bytes of one source RPM.
    pub max_file: u64,
    /// Entries of the archive.
    pub max_entries: usize,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self { max_total: 8 << 30, max_file: 1 << 30, max_entries: 100_000 }
    }
}

/// A source RPM in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceEntry {
    /// Its path in the archive.
    pub path: String,
    /// Its file name: one path segment that ends in `.src.rpm`.
    pub file_name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Reads source archives.
#[derive(Debug, Clone, Copy)]
pub struct DriverSources;

impl DriverSources {
    /// Hands each source RPM below an `SRPMS` directory to `sink`, in the order of the archive, with a reader for
    /// its content. `file` names the archive in errors; it may be plain, or compressed with gzip, xz or zstd.
    /// Nothing is written here, and nothing is held in memory.
    ///
    /// # Errors
    /// Where the archive is damaged, truncated, beyond a limit, or has a path that leads out of it; or `sink`
    /// fails. Returns how many source RPMs were handed over.
    pub fn read(
        file: &str,
        reader: impl Read,
        limits: &SourceLimits,
        sink: impl FnMut(&SourceEntry, &mut dyn Read) -> io::Result<ControlFlow<()>>,
    ) -> Result<usize> {
        let opened = decompress(BufReader::with_capacity(128 << 10, reader));
        let opened = opened.map_err(|error| Problem::Read(error).of(file))?;
        walk(Bounded { inner: opened, left: limits.max_total, limit: limits.max_total }, limits, sink)
            .map_err(|problem| problem.of(file))
    }
}

fn walk(
    reader: impl Read,
    limits: &SourceLimits,
    mut sink: impl FnMut(&SourceEntry, &mut dyn Read) -> io::Result<ControlFlow<()>>,
) -> std::result::Result<usize, Problem> {
    let mut archive = Archive::new(reader);
    // Raw: the crate reads long names whole into memory, of whatever length they claim to be.
    let entries = archive.entries().map_err(damaged)?.raw(true);
    let mut long_name = None;
    let mut found = 0;
    for (count, entry) in entries.enumerate() {
        let mut entry = entry.map_err(damaged)?;
        if count == limits.max_entries {
            return Err(beyond("the number of entries", limits.max_entries as u64, "max_entries"));
        }
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => {
                let bytes = read_bounded(&mut entry, MAX_NAME_BYTES, "a name")?;
                let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
                long_name = Some(bytes[..end].to_vec());
                continue;
            }
            EntryType::XHeader => {
                let bytes = read_bounded(&mut entry, MAX_PAX_BYTES, "an extended header")?;
                for extension in PaxExtensions::new(&bytes) {
                    let extension = extension.map_err(damaged)?;
                    match extension.key_bytes() {
                        b"path" => long_name = Some(extension.value_bytes().to_vec()),
                        // The raw reader goes by the plain header's size, which is then not the real one.
                        b"size" => {
                            return Err(Problem::Payload("it has a file of more than 8 GiB".to_owned()));
                        }
                        _ => {}
                    }
                }
                continue;
            }
            EntryType::XGlobalHeader | EntryType::GNULongLink => continue,
            _ => {}
        }
        let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        let Some(source) = source_rpm(&name, kind, entry.size())? else { continue };
        if source.size > limits.max_file {
            let what = format!("{:?}", shortened(&source.path));
            return Err(beyond(&what, limits.max_file, "max_file"));
        }
        found += 1;
        let mut content = Whole { left: source.size, inner: &mut entry };
        match sink(&source, &mut content) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            Err(error) => {
                return Err(match error.downcast::<Problem>() {
                    Ok(problem) => problem,
                    Err(source_error) => {
                        Problem::Visitor { path: shortened(&source.path), source: source_error }
                    }
                });
            }
        }
    }
    Ok(found)
}

/// What an entry is, if it is a source RPM. Every path is looked at: an archive with one that leads out of it was
/// not made to be read.
fn source_rpm(name: &[u8], kind: EntryType, size: u64) -> std::result::Result<Option<SourceEntry>, Problem> {
    let path = String::from_utf8_lossy(name).into_owned();
    let refused = |problem| Problem::Path { path: shortened(&path), problem };
    if path.starts_with('/') || path.split('/').any(|segment| segment == "..") {
        return Err(refused("it leads out of the archive"));
    }
    if path.chars().any(char::is_control) {
        return Err(refused("it holds a control character"));
    }
    let mut segments = path.rsplit('/');
    let file_name = segments.next().unwrap_or_default();
    if segments.next() != Some("SRPMS") || !file_name.ends_with(".src.rpm") {
        return Ok(None);
    }
    if !matches!(kind, EntryType::Regular | EntryType::Continuous) {
        return Err(refused("it is a source RPM by its name and no file"));
    }
    if file_name.starts_with(['.', '-']) {
        return Err(refused("its name begins as no package's does"));
    }
    let file_name = file_name.to_owned();
    Ok(Some(SourceEntry { path, file_name, size }))
}

fn read_bounded(reader: &mut impl Read, limit: u64, what: &str) -> std::result::Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes).map_err(damaged)?;
    if bytes.len() as u64 > limit {
        return Err(Problem::Payload(format!("it has {what} of more than {limit} bytes")));
    }
    Ok(bytes)
}

fn damaged(error: io::Error) -> Problem {
    match error.downcast::<Problem>() {
        Ok(problem) => problem,
        Err(error) => Problem::reading(error, "archive"),
    }
}

fn beyond(what: &str, limit: u64, setting: &'static str) -> Problem {
    Problem::Limit { what: what.to_owned(), limit, setting }
}

/// Ends in an error beyond so many bytes.
struct Bounded<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(into_io(beyond("the archive", self.limit, "max_total"))),
        }
        Ok(count)
    }
}

/// Ends in an error where the archive ends before the entry does, which `tar` takes for the entry's end.
struct Whole<'a, R> {
    inner: &'a mut R,
    left: u64,
}

impl<R: Read> Read for Whole<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(into_io(Problem::Truncated("archive")));
        }
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}
