//! `primary.xml`: the packages, and what they offer and need.

use std::io::Read;
use std::ops::ControlFlow;

use drivetrain_model::{Architecture, Capability, Checksum, Comparison, Evr, Nevra, Package};
use quick_xml::events::BytesStart;

use crate::elements::{Elements, tag_end};
use crate::xml::{Xml, shortened};
use crate::{Error, Limits, Result, check_href};

mod whole;

pub use whole::read_whole_primary;

const DOCUMENT: &str = "primary";

/// What reading a document came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// How many packages the document says that it has. Some tools write it wrong.
    pub declared: Option<u64>,
    /// How many were passed.
    pub packages: u64,
    /// How many were wanted and handed over.
    pub taken: u64,
    /// Whether the sink ended the reading.
    pub stopped: bool,
}

/// Reads `primary.xml` (decompressed), and hands over the packages for whose name and architecture `wanted`
/// says yes. No more than one package is in memory at a time, and packages that are not wanted are passed
/// over, not parsed.
///
/// # Errors
/// With the first thing that is wrong: with the document's shape, or with a wanted package.
pub fn read_primary(
    reader: impl Read,
    limits: &Limits,
    mut wanted: impl FnMut(&str, &str) -> bool,
    mut sink: impl FnMut(Package) -> ControlFlow<()>,
) -> Result<Summary> {
    let mut elements = Elements::open(reader, DOCUMENT, "metadata", limits)?;
    let mut taken = 0;
    let mut stopped = false;
    while let Some(range) = elements.next()? {
        let offset = elements.offset_of(&range);
        let text = elements.text(range);
        let asked = match quick_head(text) {
            Some((name, arch)) => wanted(name, arch),
            None => {
                let (name, arch) = slow_head(text, offset, limits)?;
                wanted(&name, &arch)
            }
        };
        if !asked {
            continue;
        }
        let package = parse_package(text, offset, limits)?;
        taken += 1;
        if sink(package).is_break() {
            stopped = true;
            break;
        }
    }
    Ok(Summary { declared: elements.declared, packages: elements.seen, taken, stopped })
}

/// Name and architecture as every known tool writes them: the first two children, in that order, with nothing
/// that needs unescaping. `None` where they are written otherwise.
fn quick_head(text: &[u8]) -> Option<(&str, &str)> {
    let rest = &text[tag_end(text)?..];
    let (name, rest) = quick_child(rest, b"<name>", b"</name>")?;
    let (arch, _) = quick_child(rest, b"<arch>", b"</arch>")?;
    Some((name, arch))
}

fn quick_child<'a>(text: &'a [u8], open: &[u8], close: &[u8]) -> Option<(&'a str, &'a [u8])> {
    let text = text.trim_ascii_start().strip_prefix(open)?;
    let end = memchr::memchr2(b'<', b'&', text)?;
    let (value, rest) = text.split_at(end);
    Some((std::str::from_utf8(value).ok()?.trim(), rest.strip_prefix(close)?))
}

/// The same by the parser: any order, any spelling.
fn slow_head(text: &[u8], offset: u64, limits: &Limits) -> Result<(String, String)> {
    let mut xml = Xml::new(text, DOCUMENT, offset, limits);
    xml.child(0)?;
    let (mut name, mut arch) = (None, None);
    while let Some(start) = xml.child(1)? {
        match start.local_name().as_ref() {
            "name" => name = Some(xml.text()?),
            "arch" => arch = Some(xml.text()?),
            _ => xml.skip()?,
        }
        if let (Some(name), Some(arch)) = (&name, &arch) {
            return Ok((name.clone(), arch.clone()));
        }
    }
    let missing = if name.is_none() { "name" } else { "arch" };
    Err(Error::malformed(
        DOCUMENT,
        name.unwrap_or_else(|| format!("package at byte {offset}")),
        format!("has no {missing}"),
    ))
}

/// What was found of a package so far.
#[derive(Default)]
struct Draft {
    name: Option<String>,
    arch: Option<String>,
    evr: Option<Evr>,
    checksum: Option<(String, String)>,
    size: Option<u64>,
    location: Option<String>,
    base: Option<String>,
    build_time: Option<u64>,
    source_rpm: Option<String>,
    provides: Vec<Capability>,
    requires: Vec<Capability>,
    conflicts: Vec<Capability>,
    obsoletes: Vec<Capability>,
    recommends: Vec<Capability>,
    supplements: Vec<Capability>,
    suggests: Vec<Capability>,
    enhances: Vec<Capability>,
    files: Vec<String>,
    entries: usize,
}

impl Draft {
    /// The list of capabilities that an element of `<format>` fills.
    fn list(&mut self, element: &str) -> Option<&mut Vec<Capability>> {
        Some(match element {
            "provides" => &mut self.provides,
            "requires" => &mut self.requires,
            "conflicts" => &mut self.conflicts,
            "obsoletes" => &mut self.obsoletes,
            "recommends" => &mut self.recommends,
            "supplements" => &mut self.supplements,
            "suggests" => &mut self.suggests,
            "enhances" => &mut self.enhances,
            _ => return None,
        })
    }

    /// Counts an entry of whichever list.
    fn count(&mut self, limits: &Limits) -> Result<()> {
        self.entries += 1;
        if self.entries > limits.max_entries_per_package {
            let limit = limits.max_entries_per_package as u64;
            return Err(Error::limit(DOCUMENT, "a package's entries", limit, "max_entries_per_package"));
        }
        Ok(())
    }
}

fn parse_package(text: &[u8], offset: u64, limits: &Limits) -> Result<Package> {
    let mut xml = Xml::new(text, DOCUMENT, offset, limits);
    xml.child(0)?;
    let mut draft = Draft::default();
    while let Some(start) = xml.child(1)? {
        match start.local_name().as_ref() {
            "name" => set(&mut draft.name, xml.text()?, "name", offset)?,
            "arch" => set(&mut draft.arch, xml.text()?, "arch", offset)?,
            "version" => {
                let evr = evr_of(&xml, &start, &subject(&draft, offset))?;
                set(&mut draft.evr, evr, "version", offset)?;
                xml.skip()?;
            }
            "checksum" => {
                let algorithm = xml.attribute(&start, "type")?.unwrap_or_default();
                set(&mut draft.checksum, (algorithm, xml.text()?), "checksum", offset)?;
            }
            "location" => {
                let href = xml.attribute(&start, "href")?.unwrap_or_default();
                set(&mut draft.location, href, "location", offset)?;
                draft.base = xml.attribute(&start, "xml:base")?.filter(|base| !base.is_empty());
                xml.skip()?;
            }
            "size" => {
                draft.size = number(&xml, &start, "package", &subject(&draft, offset))?;
                xml.skip()?;
            }
            "time" => {
                draft.build_time = number(&xml, &start, "build", &subject(&draft, offset))?;
                xml.skip()?;
            }
            "format" => parse_format(&mut xml, &mut draft, offset)?,
            _ => xml.skip()?,
        }
    }
    finish(draft, offset)
}

fn parse_format(xml: &mut Xml<'_>, draft: &mut Draft, offset: u64) -> Result<()> {
    let depth = xml.depth();
    while let Some(start) = xml.child(depth)? {
        let name = start.local_name();
        match name.as_ref() {
            "sourcerpm" => draft.source_rpm = Some(xml.text()?).filter(|text| !text.is_empty()),
            "file" => {
                draft.count(xml.limits())?;
                draft.files.push(xml.text()?);
            }
            name if draft.list(name).is_some() => {
                let entries = parse_entries(xml, draft, offset)?;
                draft.list(name).unwrap_or(&mut Vec::new()).extend(entries);
            }
            _ => xml.skip()?,
        }
    }
    Ok(())
}

fn parse_entries(xml: &mut Xml<'_>, draft: &mut Draft, offset: u64) -> Result<Vec<Capability>> {
    let mut entries = Vec::new();
    let depth = xml.depth();
    while let Some(entry) = xml.child(depth)? {
        draft.count(xml.limits())?;
        if entry.local_name().as_ref() == "entry" {
            entries.push(capability(xml, &entry, &|| subject(draft, offset))?);
        }
        xml.skip()?;
    }
    Ok(entries)
}

/// `<rpm:entry name= flags= epoch= ver= rel= pre=/>`. `pre` says when it is needed, which is nothing to us.
fn capability(xml: &Xml<'_>, entry: &BytesStart<'_>, subject: &dyn Fn() -> String) -> Result<Capability> {
    let (mut name, mut flags, mut parts) = (None, None, Parts::default());
    xml.attributes(entry, |key, value| match key {
        "name" => name = Some(value.to_owned()),
        "flags" if value.is_empty() => {}
        "flags" => flags = Some(Comparison::from_metadata(value).ok_or_else(|| shortened(value))),
        _ => parts.take(key, value),
    })?;
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Error::malformed(DOCUMENT, subject(), "has an entry without a name"))?;
    let comparison = match flags {
        None => return Ok(Capability::unversioned(name)),
        Some(Ok(comparison)) => comparison,
        Some(Err(flags)) => {
            return Err(Error::malformed(
                DOCUMENT,
                subject(),
                format!("{name:?} has unknown flags {flags:?}"),
            ));
        }
    };
    match parts.evr(subject)? {
        Some(evr) => Ok(Capability::versioned(name, comparison, evr)),
        // A comparison with nothing: rpm takes it as none.
        None => Ok(Capability::unversioned(name)),
    }
}

pub(crate) fn evr_of(xml: &Xml<'_>, start: &BytesStart<'_>, subject: &str) -> Result<Evr> {
    let mut parts = Parts::default();
    xml.attributes(start, |key, value| parts.take(key, value))?;
    parts
        .evr(&|| subject.to_owned())?
        .ok_or_else(|| Error::malformed(xml.document, subject, "has no version"))
}

/// The attributes that make a version.
#[derive(Default)]
struct Parts {
    /// As a number, or as the text that is none.
    epoch: Option<std::result::Result<u32, String>>,
    version: Option<String>,
    release: Option<String>,
}

impl Parts {
    fn take(&mut self, key: &str, value: &str) {
        match key {
            "epoch" if value.is_empty() => {}
            "epoch" => self.epoch = Some(value.parse().map_err(|_| shortened(value))),
            "ver" => self.version = Some(value.to_owned()),
            "rel" => self.release = Some(value.to_owned()),
            _ => {}
        }
    }

    fn evr(self, subject: &dyn Fn() -> String) -> Result<Option<Evr>> {
        let Some(version) = self.version.filter(|version| !version.is_empty()) else { return Ok(None) };
        let release = self.release.unwrap_or_default();
        let epoch = self
            .epoch
            .unwrap_or(Ok(0))
            .map_err(|text| Error::malformed(DOCUMENT, subject(), format!("epoch {text:?} is no number")))?;
        if !release.contains('-') {
            return Ok(Some(Evr::new(epoch, version, release)));
        }
        // `kernel-uname-r = 6.1.0-56-cloud-amd64`: tools differ in the dash at which they split such a text,
        // and it must compare equal to the same text from elsewhere. librpm splits at the last.
        let joined = Evr::parse(&format!("0:{version}-{release}"));
        Ok(Some(Evr::new(epoch, joined.version, joined.release)))
    }
}

fn number(xml: &Xml<'_>, start: &BytesStart<'_>, attribute: &str, subject: &str) -> Result<Option<u64>> {
    let Some(text) = xml.attribute(start, attribute)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let value = text.parse().map_err(|_| {
        Error::malformed(DOCUMENT, subject, format!("{attribute} {:?} is no number", shortened(&text)))
    })?;
    Ok(Some(value))
}

/// Takes a value that may stand once: with two, which one holds would depend on who reads it.
fn set<T>(place: &mut Option<T>, value: T, what: &str, offset: u64) -> Result<()> {
    if place.replace(value).is_some() {
        let subject = format!("package at byte {offset}");
        return Err(Error::malformed(DOCUMENT, subject, format!("has more than one {what}")));
    }
    Ok(())
}

fn subject(draft: &Draft, offset: u64) -> String {
    draft.name.as_deref().map_or_else(|| format!("package at byte {offset}"), shortened)
}

fn finish(draft: Draft, offset: u64) -> Result<Package> {
    let subject = subject(&draft, offset);
    let document = || DOCUMENT.to_owned();
    let missing = |what: &str| Error::malformed(DOCUMENT, subject.clone(), format!("has no {what}"));
    if let Some(base) = draft.base {
        return Err(Error::OtherHost { document: document(), subject, base: shortened(&base) });
    }
    let name = draft.name.filter(|name| !name.is_empty()).ok_or_else(|| missing("name"))?;
    let arch = draft.arch.ok_or_else(|| missing("arch"))?;
    let arch = Architecture::parse(&arch)
        .map_err(|error| Error::malformed(DOCUMENT, subject.clone(), error.to_string()))?;
    let evr = draft.evr.ok_or_else(|| missing("version"))?;
    let (algorithm, hex) = draft.checksum.ok_or_else(|| missing("checksum"))?;
    let checksum = Checksum::parse(&algorithm, &hex).map_err(|source| Error::Checksum {
        document: document(),
        subject: subject.clone(),
        source,
    })?;
    let location = draft.location.ok_or_else(|| missing("location"))?;
    check_href(&location).map_err(|source| Error::Href {
        document: document(),
        subject: subject.clone(),
        source,
    })?;
    Ok(Package {
        nevra: Nevra::new(name, evr, arch),
        checksum,
        size: draft.size.ok_or_else(|| missing("package size"))?,
        location,
        build_time: draft.build_time.unwrap_or(0),
        source_rpm: draft.source_rpm,
        provides: draft.provides,
        requires: draft.requires,
        conflicts: draft.conflicts,
        obsoletes: draft.obsoletes,
        recommends: draft.recommends,
        supplements: draft.supplements,
        suggests: draft.suggests,
        enhances: draft.enhances,
        files: draft.files,
    })
}
