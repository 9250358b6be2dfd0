//! The archives that kernels unpack into their first file system: `newc`, as the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst` has it.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use camino::Utf8Path;

const MAGIC: &[u8; 6] = b"070701";
const HEADER: usize = 110;
const TRAILER: &str = "TRAILER!!!";
const DIRECTORY: u32 = 0o040_755;
const REGULAR: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_600;
/// The longest name that is read.
const LONGEST_NAME: usize = 4096;
/// The most entries that are read.
const MOST_ENTRIES: usize = 1 << 17;

/// Writes an archive whose files belong to root. The directories on the way to a file are made with it.
pub(crate) struct Writer<W> {
    to: W,
    made: BTreeSet<String>,
    inode: u32,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, made: BTreeSet::new(), inode: 0 }
    }

    /// An empty directory, by its absolute path.
    pub(crate) fn directory(&mut self, path: &str) -> io::Result<()> {
        let mut above: Vec<&Utf8Path> = Utf8Path::new(path).ancestors().collect();
        above.reverse();
        for directory in above {
            let name = directory.as_str().trim_start_matches('/');
            if !name.is_empty() && self.made.insert(name.to_owned()) {
                self.entry(name, DIRECTORY, (0, 0), &[])?;
            }
        }
        Ok(())
    }

    /// A file, by its absolute path. One that is there already stays.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        if let Some(parent) = Utf8Path::new(path).parent() {
            self.directory(parent.as_str())?;
        }
        let name = path.trim_start_matches('/');
        if self.made.insert(name.to_owned()) {
            self.entry(name, REGULAR | mode, (0, 0), content)?;
        }
        Ok(())
    }

    /// A character device.
    pub(crate) fn device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(path.trim_start_matches('/'), CHARACTER_DEVICE, (major, minor), &[])
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        self.inode = self.inode.wrapping_add(1);
        let size = u32::try_from(content.len())
            .map_err(|_| io::Error::other(format!("{name} is too large for an initramfs")))?;
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, length(name), 0];
        let header: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        self.to.write_all(MAGIC)?;
        self.to.write_all(header.as_bytes())?;
        self.to.write_all(name.as_bytes())?;
        self.to.write_all(&[0])?;
        self.pad(HEADER + name.len() + 1)?;
        self.to.write_all(content)?;
        self.pad(content.len())
    }

    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.to.write_all(&[0; 3][..written.next_multiple_of(4) - written])
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.entry(TRAILER, 0, (0, 0), &[])?;
        self.to.flush()?;
        Ok(self.to)
    }
}

fn length(name: &str) -> u32 {
    u32::try_from(name.len() + 1).unwrap_or(u32::MAX)
}

/// An entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// As it stands there, without a leading `/` or `./`.
    pub name: &'a str,
    pub mode: u32,
    /// A link's target is its content.
    pub content: &'a [u8],
}

impl Entry<'_> {
    pub(crate) fn is_regular(&self) -> bool {
        self.mode & 0o170_000 == REGULAR
    }
}

/// Reads an archive from the beginning of some bytes; its entries, and how many bytes it takes.
pub(crate) fn read(bytes: &[u8]) -> Result<(Vec<Entry<'_>>, usize), String> {
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        let (entry, next) = read_entry(bytes, at)?;
        at = next;
        if entry.name == TRAILER {
            return Ok((entries, at));
        }
        if entries.len() >= MOST_ENTRIES {
            return Err(format!("it has more than {MOST_ENTRIES} entries"));
        }
        entries.push(entry);
    }
}

fn read_entry(bytes: &[u8], at: usize) -> Result<(Entry<'_>, usize), String> {
    let ends = || format!("it ends in the midst of the entry at byte {at}");
    let header = bytes.get(at..at.saturating_add(HEADER)).ok_or_else(ends)?;
    if !header.starts_with(MAGIC) && !header.starts_with(b"070702") {
        return Err(format!("there is no cpio entry at byte {at}"));
    }
    let field = |index: usize| {
        let text = header.get(6 + index * 8..14 + index * 8).and_then(|text| std::str::from_utf8(text).ok());
        let number = text.and_then(|text| u32::from_str_radix(text, 16).ok());
        number.ok_or_else(|| format!("the entry at byte {at} has a field that is no number"))
    };
    let whole = |number: u32| usize::try_from(number).map_err(|_| ends());
    let (mode, size, name_size) = (field(1)?, whole(field(6)?)?, whole(field(11)?)?);
    if name_size == 0 || name_size > LONGEST_NAME {
        return Err(format!("the entry at byte {at} has a name of {name_size} bytes"));
    }
    let name_at = at + HEADER;
    let name = bytes.get(name_at..name_at + name_size - 1).ok_or_else(ends)?;
    let name = std::str::from_utf8(name).map_err(|_| format!("the name at byte {name_at} is not UTF-8"))?;
    let from = (name_at + name_size).next_multiple_of(4);
    let to = from.checked_add(size).ok_or_else(ends)?;
    let content = bytes.get(from..to).ok_or_else(ends)?;
    let name = name.trim_start_matches("./").trim_start_matches('/');
    Ok((Entry { name, mode, content }, to.next_multiple_of(4)))
}

/// Reads no more than a limit; `None` where there is more.
pub(crate) fn read_bounded(reader: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        writer.file("/usr/lib/a.ko", 0o644, b"abc").unwrap();
        writer.file("/usr/lib/b.ko", 0o755, b"").unwrap();
        writer.file("/usr/lib/a.ko", 0o644, b"another").unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_written_can_be_read_and_directories_come_before_their_files() {
        let bytes = archive();
        let (entries, length) = read(&bytes).unwrap();
        let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["usr", "usr/lib", "usr/lib/a.ko", "usr/lib/b.ko"]);
        assert_eq!((entries[2].content, entries[2].is_regular()), (&b"abc"[..], true));
        assert_eq!((entries[3].mode, entries[0].is_regular()), (0o100_755, false));
        assert_eq!(length, bytes.len());
    }

    #[test]
    fn an_archive_that_is_cut_off_or_lies_about_its_sizes_is_refused() {
        let bytes = archive();
        for end in 0..bytes.len() - 1 {
            assert!(read(&bytes[..end]).is_err(), "{end}");
        }
        let mut lies = bytes.clone();
        lies[54..62].copy_from_slice(b"ffffffff");
        assert!(read(&lies).unwrap_err().contains("ends in the midst"));
        lies[54..62].copy_from_slice(b"zzzzzzzz");
        assert!(read(&lies).unwrap_err().contains("no number"));
    }
}
