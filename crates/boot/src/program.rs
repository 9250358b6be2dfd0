//! Programs with the libraries that they need, from a system that is installed somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use camino::{Utf8Path, Utf8PathBuf};
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::{Endianness, StringTable};

use crate::BootError;
use crate::cpio::read_bounded;

/// The largest program or library that is taken.
const LARGEST: u64 = 512 << 20;
/// The most libraries that a program may need.
const MOST_LIBRARIES: usize = 200;
/// The most links on the way to a file.
const MOST_LINKS: usize = 40;
/// Where libraries are, whatever distribution it is.
const DIRECTORIES: [&str; 8] = [
    "/lib64",
    "/usr/lib64",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib",
    "/usr/lib",
];

/// Files by the absolute path that they have in their system.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A system that is installed below a directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct System<'r>(pub &'r Utf8Path);

impl System<'_> {
    /// The file that an absolute path of the system leads to. Links are followed as the system itself follows them, and
    /// so never out of it.
    pub(crate) fn find(self, path: &str) -> Option<Utf8PathBuf> {
        let mut open: Vec<String> = parts(path).rev().collect();
        let mut inside = Utf8PathBuf::new();
        let mut links = 0;
        while let Some(part) = open.pop() {
            if part == ".." {
                inside.pop();
                continue;
            }
            let next = self.0.join(&inside).join(&part);
            match next.read_link_utf8() {
                Err(_) => inside.push(part),
                Ok(target) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return None;
                    }
                    if target.is_absolute() {
                        inside = Utf8PathBuf::new();
                    }
                    open.extend(parts(target.as_str()).rev());
                }
            }
        }
        let found = self.0.join(inside);
        found.symlink_metadata().is_ok_and(|metadata| metadata.is_file()).then_some(found)
    }

    /// The first of some paths that leads to a file.
    pub(crate) fn first<'p>(self, paths: &[&'p str]) -> Option<&'p str> {
        paths.iter().find(|path| self.find(path).is_some()).copied()
    }

    /// Whether there is a file or a directory at a path, and no link on the way to it.
    pub(crate) fn is_plain(self, path: &str) -> bool {
        let mut inside = self.0.to_owned();
        parts(path).all(|part| {
            inside.push(part);
            inside.symlink_metadata().is_ok_and(|metadata| !metadata.is_symlink())
        })
    }

    /// Adds a program, or a library that is opened by name, with everything that it needs to start.
    pub(crate) fn add(self, path: &str, files: &mut Files) -> Result<(), BootError> {
        let mut open = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            if files.contains_key(&path) {
                continue;
            }
            if files.len() > MOST_LIBRARIES {
                return Err(failed(&path, format!("it needs more than {MOST_LIBRARIES} libraries")));
            }
            let bytes = self.read(&path)?;
            let needs = needs(&bytes).map_err(|why| failed(&path, why))?;
            for library in &needs.libraries {
                open.push(self.library(library).ok_or_else(|| {
                    failed(&path, format!("it needs the library {library}, which is not installed"))
                })?);
            }
            open.extend(needs.interpreter);
            files.insert(path, bytes);
        }
        Ok(())
    }

    fn library(self, name: &str) -> Option<String> {
        let is_plain = !name.contains('/') && !name.is_empty();
        let paths = DIRECTORIES.iter().map(|directory| format!("{directory}/{name}"));
        paths.filter(|_| is_plain).find(|path| self.find(path).is_some())
    }

    /// Reads a file of the system.
    pub(crate) fn read(self, path: &str) -> Result<Vec<u8>, BootError> {
        let found = self.find(path).ok_or_else(|| failed(path, "there is no such file".to_owned()))?;
        let reading = BootError::file("read", &found);
        match File::open(&found).and_then(|file| read_bounded(file, LARGEST)) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(BootError::TooLarge { what: found.to_string(), limit: LARGEST }),
            Err(error) => Err(reading(error)),
        }
    }
}

/// The directories of files, as `LD_LIBRARY_PATH` has them.
pub(crate) fn library_path(files: &Files) -> String {
    let directories: BTreeSet<&str> = files
        .keys()
        .filter(|path| path.contains(".so"))
        .filter_map(|path| Utf8Path::new(path).parent().map(Utf8Path::as_str))
        .collect();
    directories.into_iter().collect::<Vec<_>>().join(":")
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = String> + '_ {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned)
}

fn failed(path: &str, why: String) -> BootError {
    BootError::Program { path: path.into(), why }
}

/// What a program needs to start.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    interpreter: Option<String>,
    libraries: Vec<String>,
}

type Header = FileHeader64<Endianness>;

fn needs(bytes: &[u8]) -> Result<Needs, String> {
    let unreadable = |error: object::read::Error| format!("it is no program that can be read: {error}");
    let header = Header::parse(bytes).map_err(unreadable)?;
    let endian = header.endian().map_err(unreadable)?;
    let segments = header.program_headers(endian, bytes).map_err(unreadable)?;
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|_| "it names a file that is not UTF-8".to_owned())
    };
    let mut needs = Needs::default();
    for segment in segments {
        if let Some(interpreter) = segment.interpreter(endian, bytes).map_err(unreadable)? {
            needs.interpreter = Some(text(interpreter)?);
        }
        let Some(entries) = segment.dynamic(endian, bytes).map_err(unreadable)? else { continue };
        let entries = || entries.iter().take_while(|entry| entry.d_tag(endian) != elf::DT_NULL);
        let value = |tag| entries().find(|entry| entry.d_tag(endian) == tag).map(|entry| entry.d_val(endian));
        let (Some(address), Some(size)) = (value(elf::DT_STRTAB), value(elf::DT_STRSZ)) else { continue };
        // Its place in the file, by the segment that is loaded there.
        let at = segments.iter().find_map(|segment| {
            let offset = address.checked_sub(segment.p_vaddr(endian))?;
            let is_there = segment.p_type(endian) == elf::PT_LOAD && offset < segment.p_filesz(endian);
            is_there.then(|| segment.p_offset(endian).checked_add(offset)).flatten()
        });
        let at = at.ok_or("its table of names is not in the file")?;
        let names = StringTable::new(bytes, at, at.saturating_add(size));
        for entry in entries().filter(|entry| entry.d_tag(endian) == elf::DT_NEEDED) {
            let offset = u32::try_from(entry.d_val(endian)).map_err(|_| "a name is beyond its table")?;
            let name = names.get(offset).map_err(|()| "a name is beyond its table")?;
            needs.libraries.push(text(name)?);
        }
    }
    Ok(needs)
}

/// The part of a program that is loaded: without its symbols and what debuggers read, which are most of a debug build.
pub(crate) fn loaded_part(mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let unreadable = |error: object::read::Error| format!("it is no program that can be read: {error}");
    let header = Header::parse(bytes.as_slice()).map_err(unreadable)?;
    let endian = header.endian().map_err(unreadable)?;
    let segments = header.program_headers(endian, bytes.as_slice()).map_err(unreadable)?;
    let end = segments
        .iter()
        .filter(|segment| segment.p_filesz(endian) > 0)
        .map(|segment| segment.p_offset(endian).saturating_add(segment.p_filesz(endian)))
        .max()
        .ok_or("it loads nothing")?;
    let end = usize::try_from(end).unwrap_or(usize::MAX);
    if end < HEADER_SIZE || end > bytes.len() {
        return Err("it ends before what is loaded of it".to_owned());
    }
    bytes.truncate(end);
    // e_shoff, and e_shnum with e_shstrndx: there are no sections any more.
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    Ok(bytes)
}

/// `sizeof(Elf64_Ehdr)`.
const HEADER_SIZE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> (String, Vec<u8>) {
        let path = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    }

    #[test]
    fn a_program_comes_with_its_interpreter_and_libraries() {
        let (path, bytes) = own();
        let mut files = Files::new();
        System(Utf8Path::new("/")).add(&path, &mut files).unwrap();
        let found = needs(&bytes).unwrap();
        assert!(
            found.libraries.iter().all(|name| files.keys().any(|path| path.ends_with(name))),
            "{found:?}"
        );
        assert!(found.interpreter.is_none_or(|path| files.contains_key(&path)));
    }

    #[test]
    fn the_loaded_part_is_smaller_and_needs_the_same() {
        let (_, bytes) = own();
        let (size, before) = (bytes.len(), needs(&bytes).unwrap());
        let part = loaded_part(bytes).unwrap();
        assert!(part.len() < size);
        assert_eq!(needs(&part).unwrap(), before);
        assert!(loaded_part(part[..part.len() - 1].to_vec()).is_err());
        assert!(loaded_part(b"#!/bin/sh\n".to_vec()).is_err());
    }

    #[test]
    fn links_lead_nowhere_out_of_the_system() {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(directory.path()).unwrap();
        std::fs::create_dir_all(root.join("usr/lib64")).unwrap();
        std::fs::write(root.join("usr/lib64/liba.so.1.0"), "a").unwrap();
        let link = |to: &str, from: &str| std::os::unix::fs::symlink(to, root.join(from)).unwrap();
        link("usr/lib64", "lib64");
        link("liba.so.1.0", "usr/lib64/liba.so.1");
        link("/usr/lib64/liba.so.1", "usr/lib64/liba.so");
        link("/etc/passwd", "usr/lib64/out.so");
        link("../../../../../../../etc/passwd", "usr/lib64/up.so");
        link("round.so", "usr/lib64/round.so");
        let system = System(root);
        assert_eq!(system.find("/lib64/liba.so"), Some(root.join("usr/lib64/liba.so.1.0")));
        for path in ["/lib64/out.so", "/lib64/up.so", "/lib64/round.so", "/lib64/none.so", "/lib64"] {
            assert_eq!(system.find(path), None, "{path}");
        }
    }
}
