//! `filelists.xml`: every file of every package.

use std::io::Read;
use std::ops::ControlFlow;

use drivetrain_model::{Architecture, Nevra};
use memchr::memmem::Finder;

use crate::elements::{Elements, tag_end};
use crate::primary::evr_of;
use crate::xml::{Xml, shortened};
use crate::{Error, Limits, Result, Summary};

const DOCUMENT: &str = "filelists";

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A file, a link, a device.
    File,
    /// A directory.
    Directory,
    /// A path that the package owns and does not bring.
    Ghost,
}

/// One path of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryFile {
    /// The absolute path.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
}

/// A package with its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFiles {
    /// The checksum of the RPM, as the metadata writes it: what ties it to `primary.xml`.
    pub pkgid: String,
    /// Its full name.
    pub nevra: Nevra,
    /// Its files in the order of the document.
    pub files: Vec<RepositoryFile>,
}

/// A path that was asked for, and the package that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The checksum of the RPM.
    pub pkgid: String,
    /// Its full name.
    pub nevra: Nevra,
    /// The path.
    pub path: String,
}

/// A path, in which `*` stands for any run of characters, slashes too: `/usr/lib/modules/*/vmlinuz`,
/// `*/Module.symvers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    pieces: Vec<String>,
}

impl PathPattern {
    /// Takes a text as a pattern; every text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { pieces: text.split('*').map(str::to_owned).collect() }
    }

    /// Whether a path is meant.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let [first, middle @ .., last] = self.pieces.as_slice() else {
            return self.pieces.first().is_some_and(|only| only == path);
        };
        let Some(mut rest) = path.strip_prefix(first.as_str()) else { return false };
        for piece in middle {
            // The first place is as good as any: what follows may be anywhere after it.
            match rest.find(piece.as_str()) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }

    /// The longest part that stands in the XML as it is here; a package without it need not be parsed.
    fn needle(&self) -> &str {
        let plain = |piece: &&String| !piece.contains(['&', '<', '>', '"', '\'']) && piece.is_ascii();
        self.pieces.iter().filter(plain).max_by_key(|piece| piece.len()).map_or("", String::as_str)
    }
}

/// Reads `filelists.xml` (decompressed), and hands over the packages that are wanted, as
/// [`crate::read_primary`] does.
///
/// # Errors
/// With the first thing that is wrong: with the document's shape, or with a wanted package.
pub fn read_filelists(
    reader: impl Read,
    limits: &Limits,
    mut wanted: impl FnMut(&str, &str) -> bool,
    mut sink: impl FnMut(PackageFiles) -> ControlFlow<()>,
) -> Result<Summary> {
    read(reader, limits, |text, offset| {
        let head = Head::parse(text, offset, limits)?;
        if !wanted(&head.name, &head.arch) {
            return Ok(None);
        }
        Ok(Some(sink(parse_package(text, offset, limits)?)))
    })
}

/// Which packages have a path that matches one of the patterns. Ghosts count: the package owns them.
///
/// # Errors
/// With the first thing that is wrong: with the document's shape, or with a package that has such a path.
pub fn who_owns(reader: impl Read, limits: &Limits, patterns: &[PathPattern]) -> Result<Vec<Owner>> {
    let finders: Vec<_> = patterns.iter().map(|pattern| Finder::new(pattern.needle())).collect();
    let mut owners = Vec::new();
    read(reader, limits, |text, offset| {
        // A character reference could spell the path otherwise.
        let spelled = memchr::memmem::find(text, b"&#").is_some();
        if !spelled && !finders.iter().any(|finder| finder.find(text).is_some()) {
            return Ok(None);
        }
        let package = parse_package(text, offset, limits)?;
        for file in package.files {
            if patterns.iter().any(|pattern| pattern.matches(&file.path)) {
                let (pkgid, nevra) = (package.pkgid.clone(), package.nevra.clone());
                owners.push(Owner { pkgid, nevra, path: file.path });
            }
        }
        Ok(Some(ControlFlow::Continue(())))
    })?;
    Ok(owners)
}

/// Walks the packages. `visit` says `None` of one that it passes over.
fn read(
    reader: impl Read,
    limits: &Limits,
    mut visit: impl FnMut(&[u8], u64) -> Result<Option<ControlFlow<()>>>,
) -> Result<Summary> {
    let mut elements = Elements::open(reader, DOCUMENT, "filelists", limits)?;
    let mut taken = 0;
    let mut stopped = false;
    while let Some(range) = elements.next()? {
        let offset = elements.offset_of(&range);
        if let Some(flow) = visit(elements.text(range), offset)? {
            taken += 1;
            if flow.is_break() {
                stopped = true;
                break;
            }
        }
    }
    Ok(Summary { declared: elements.declared, packages: elements.seen, taken, stopped })
}

/// `<package pkgid= name= arch=>`.
struct Head {
    pkgid: String,
    name: String,
    arch: String,
}

impl Head {
    fn parse(text: &[u8], offset: u64, limits: &Limits) -> Result<Self> {
        let tag = &text[..tag_end(text).unwrap_or(text.len())];
        let mut xml = Xml::new(tag, DOCUMENT, offset, limits);
        let start = xml.child(0)?;
        let start = start.ok_or_else(|| Error::malformed(DOCUMENT, at(offset), "is empty"))?;
        let (mut pkgid, mut name, mut arch) = (None, None, None);
        xml.attributes(&start, |key, value| match key {
            "pkgid" => pkgid = Some(value.to_owned()),
            "name" => name = Some(value.to_owned()),
            "arch" => arch = Some(value.to_owned()),
            _ => {}
        })?;
        let missing = |what: &str| Error::malformed(DOCUMENT, at(offset), format!("has no {what}"));
        Ok(Self {
            pkgid: pkgid.ok_or_else(|| missing("pkgid"))?,
            name: name.filter(|name| !name.is_empty()).ok_or_else(|| missing("name"))?,
            arch: arch.ok_or_else(|| missing("arch"))?,
        })
    }
}

fn parse_package(text: &[u8], offset: u64, limits: &Limits) -> Result<PackageFiles> {
    let head = Head::parse(text, offset, limits)?;
    let subject = shortened(&head.name);
    let mut xml = Xml::new(text, DOCUMENT, offset, limits);
    xml.child(0)?;
    let mut evr = None;
    let mut files = Vec::new();
    while let Some(start) = xml.child(1)? {
        match start.local_name().as_ref() {
            "version" => {
                evr = Some(evr_of(&xml, &start, &subject)?);
                xml.skip()?;
            }
            "file" => {
                if files.len() == limits.max_entries_per_package {
                    let limit = limits.max_entries_per_package as u64;
                    return Err(Error::limit(
                        DOCUMENT,
                        "a package's files",
                        limit,
                        "max_entries_per_package",
                    ));
                }
                let kind = match xml.attribute(&start, "type")?.as_deref() {
                    Some("dir") => FileKind::Directory,
                    Some("ghost") => FileKind::Ghost,
                    _ => FileKind::File,
                };
                files.push(RepositoryFile { path: xml.text()?, kind });
            }
            _ => xml.skip()?,
        }
    }
    let evr = evr.ok_or_else(|| Error::malformed(DOCUMENT, subject.clone(), "has no version"))?;
    let arch = Architecture::parse(&head.arch)
        .map_err(|error| Error::malformed(DOCUMENT, subject, error.to_string()))?;
    Ok(PackageFiles { pkgid: head.pkgid, nevra: Nevra::new(head.name, evr, arch), files })
}

fn at(offset: u64) -> String {
    format!("package at byte {offset}")
}
