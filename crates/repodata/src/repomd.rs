//! `repomd.xml`: what a repository has, and the checksums that everything else is held to.

use drivetrain_model::Checksum;

use crate::xml::{Xml, shortened};
use crate::{Error, Limits, Result, check_href};

const DOCUMENT: &str = "repomd.xml";

/// A repository's table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repomd {
    /// What the repository calls this state of itself: often seconds since 1970, but any text may stand here.
    pub revision: Option<String>,
    /// The metadata files, in the order of the document.
    pub records: Vec<Record>,
}

impl Repomd {
    /// The first record of a kind.
    #[must_use]
    pub fn record(&self, kind: &RecordKind) -> Option<&Record> {
        self.records.iter().find(|record| record.kind == *kind)
    }
}

/// What a metadata file holds: the `type` of a `<data>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// `primary`: the packages and what they need.
    Primary,
    /// `filelists`: every file of every package.
    Filelists,
    /// `other`: changelogs.
    Other,
    /// `updateinfo`: advisories.
    Updateinfo,
    /// `modules`: modular streams.
    Modules,
    /// `group` and `group_gz`: comps.
    Group,
    /// `primary_db` and its like: the same as SQLite.
    Database(String),
    /// `primary_zck` and its like: the same as zchunk.
    Zchunk(String),
    /// Anything else, as it is written.
    Unknown(String),
}

impl RecordKind {
    /// Reads the `type` attribute.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "primary" => Self::Primary,
            "filelists" => Self::Filelists,
            "other" => Self::Other,
            "updateinfo" => Self::Updateinfo,
            "modules" => Self::Modules,
            "group" | "group_gz" => Self::Group,
            _ if text.ends_with("_db") => Self::Database(text.to_owned()),
            _ if text.ends_with("_zck") => Self::Zchunk(text.to_owned()),
            _ => Self::Unknown(text.to_owned()),
        }
    }

    /// The name as `repomd.xml` has it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Primary => "primary",
            Self::Filelists => "filelists",
            Self::Other => "other",
            Self::Updateinfo => "updateinfo",
            Self::Modules => "modules",
            Self::Group => "group",
            Self::Database(name) | Self::Zchunk(name) | Self::Unknown(name) => name,
        }
    }
}

/// One metadata file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it holds.
    pub kind: RecordKind,
    /// Where it is, relative to the repository's base URL; checked by [`check_href`].
    pub location: String,
    /// The checksum of the file as it is served.
    pub checksum: Checksum,
    /// The checksum of what is in it.
    pub open_checksum: Option<Checksum>,
    /// Its size as it is served.
    pub size: Option<u64>,
    /// The size of what is in it.
    pub open_size: Option<u64>,
    /// When it was made, in seconds since 1970; 0 where that is not said.
    pub timestamp: u64,
}

/// Reads `repomd.xml`.
///
/// # Errors
/// Where it is larger than [`Limits::max_repomd_bytes`], no XML of this kind, or where any record has a
/// location that leads elsewhere or a checksum that proves nothing.
pub fn parse_repomd(text: &[u8], limits: &Limits) -> Result<Repomd> {
    if text.len() as u64 > limits.max_repomd_bytes {
        return Err(Error::limit(DOCUMENT, "the file", limits.max_repomd_bytes, "max_repomd_bytes"));
    }
    let mut xml = Xml::new(text, DOCUMENT, 0, limits);
    let Some(root) = xml.child(0)? else { return Err(not_repomd("an empty document")) };
    if root.local_name().as_ref() != "repomd" {
        return Err(not_repomd(&format!("<{}>", shortened(root.name().as_ref()))));
    }
    let mut repomd = Repomd { revision: None, records: Vec::new() };
    while let Some(start) = xml.child(1)? {
        match start.local_name().as_ref() {
            "revision" => repomd.revision = Some(xml.text()?).filter(|text| !text.is_empty()),
            "data" => {
                let kind = xml.attribute(&start, "type")?;
                let kind = kind.ok_or_else(|| Error::malformed(DOCUMENT, "<data>", "has no type"))?;
                let record = parse_record(&mut xml, RecordKind::parse(&kind))?;
                // Two files for one kind: which is meant would depend on who reads it.
                if repomd.record(&record.kind).is_some_and(|_| record.kind != RecordKind::Group) {
                    return Err(Error::malformed(DOCUMENT, shortened(&kind), "is listed twice"));
                }
                repomd.records.push(record);
            }
            _ => xml.skip()?,
        }
    }
    Ok(repomd)
}

fn not_repomd(found: &str) -> Error {
    Error::malformed(DOCUMENT, found, "stands where <repomd> is expected")
}

fn parse_record(xml: &mut Xml<'_>, kind: RecordKind) -> Result<Record> {
    let depth = xml.depth();
    let subject = shortened(kind.name());
    let (mut location, mut checksum, mut open_checksum) = (None, None, None);
    let (mut size, mut open_size, mut timestamp) = (None, None, 0);
    while let Some(start) = xml.child(depth)? {
        match start.local_name().as_ref() {
            "location" => {
                if let Some(base) = xml.attribute(&start, "xml:base")?.filter(|base| !base.is_empty()) {
                    let base = shortened(&base);
                    return Err(Error::OtherHost { document: DOCUMENT.to_owned(), subject, base });
                }
                location = xml.attribute(&start, "href")?;
                xml.skip()?;
            }
            "checksum" => checksum = Some(parse_checksum(xml, &start, &subject)?),
            "open-checksum" => open_checksum = Some(parse_checksum(xml, &start, &subject)?),
            "size" => size = Some(parse_number(&xml.text()?, &subject, "size")?),
            "open-size" => open_size = Some(parse_number(&xml.text()?, &subject, "open-size")?),
            // Old createrepo wrote fractions of a second, and nothing depends on this value.
            "timestamp" => {
                let text = xml.text()?;
                timestamp = text.split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or(0);
            }
            _ => xml.skip()?,
        }
    }
    let missing = |what: &str| Error::malformed(DOCUMENT, subject.clone(), format!("has no {what}"));
    let location = location.ok_or_else(|| missing("location"))?;
    check_href(&location).map_err(|source| Error::Href {
        document: DOCUMENT.to_owned(),
        subject: subject.clone(),
        source,
    })?;
    let checksum = checksum.ok_or_else(|| missing("checksum"))?;
    Ok(Record { kind, location, checksum, open_checksum, size, open_size, timestamp })
}

fn parse_checksum(
    xml: &mut Xml<'_>,
    start: &quick_xml::events::BytesStart<'_>,
    subject: &str,
) -> Result<Checksum> {
    let algorithm = xml.attribute(start, "type")?.unwrap_or_default();
    Checksum::parse(&algorithm, &xml.text()?).map_err(|source| Error::Checksum {
        document: DOCUMENT.to_owned(),
        subject: subject.to_owned(),
        source,
    })
}

fn parse_number(text: &str, subject: &str, what: &str) -> Result<u64> {
    text.parse().map_err(|_| {
        Error::malformed(DOCUMENT, subject, format!("{what} {:?} is no number", shortened(text)))
    })
}
