//! A package written anew with some of its files, or some of what it says, changed: without a build, and without the
//! programs that built it.
//!
//! What is changed is changed everywhere: a file in the payload, in its size and digest; a text in names, dependencies,
//! scripts and paths. Everything else stays, the order of the files among it, which rpm relies on. Signatures and the
//! digests that are over header and payload are made anew; the former by whoever signs next.
//!
//! The tags: `include/rpm/rpmtag.h` of rpm; which of them a package of format 4 has, `build/pack.c`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::result::Result;

use drivetrain_model::Capability;
use flate2::write::GzEncoder;
use liblzma::write::XzEncoder;
use rpm::{
    Dependency, Header, HeaderEntry, IndexData, IndexSignatureTag, IndexTag, PackageMetadata,
    SignatureHeaderBuilder,
};
use sha2::{Digest as _, Sha256, Sha512};
use tempfile::NamedTempFile;

use crate::cpio::{finish, pad};
use crate::error::{name_of, shortened};
use crate::payload::walk_forms;
use crate::write::{dependency, write_whole};
use crate::{
    Error, FileFact, FileKind, PayloadLimits, Problem, RpmFile, for_each_file, header, verify_digests,
};

/// What is changed of a package. By default nothing is.
pub trait Changes {
    /// Whether [`Self::content`] wants to see a file: what nobody wants to see is not held in memory.
    fn wants(&self, file: &FileFact) -> bool {
        let _ = file;
        false
    }

    /// The content of a regular file as it shall be; `None` where it stays. `file` has the path as it was.
    ///
    /// # Errors
    /// What it says ends the writing, and comes with the file's path.
    fn content(&mut self, file: &FileFact, content: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let _ = (file, content);
        Ok(None)
    }

    /// A text as it shall be; `None` where it stays. Names, versions, dependencies, paths, targets of links, scripts and
    /// descriptions are asked for, one by one; digests and the changelog are not.
    fn text(&self, text: &str) -> Option<String> {
        let _ = text;
        None
    }

    /// What the package shall offer besides.
    fn provides(&self) -> Vec<Capability> {
        Vec::new()
    }

    /// What the package shall need besides.
    fn requires(&self) -> Vec<Capability> {
        Vec::new()
    }
}

/// Writes a package anew. The package that is read is held to its digests first; the one that is written is whole, or is
/// not there.
///
/// # Errors
/// Where the package is not sound, is beyond a limit, is of format 6 or a source package, has names that are out of order
/// once they are changed, or cannot be written.
pub fn rewrite(
    from: &Path,
    to: &Path,
    limits: &PayloadLimits,
    changes: &mut impl Changes,
) -> crate::Result<()> {
    verify_digests(from)?;
    let name = name_of(from);
    let place = to.parent().filter(|place| !place.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let rewritten =
        Rewriting::new(from, place, limits, changes).and_then(|rewriting| rewriting.write(to, limits));
    rewritten.map_err(|problem| problem.of(&name))
}

/// Tags that hold digests and hashes, of files or of all, and what has been: texts that nobody is asked about.
const NOT_TEXT: [IndexTag; 8] = [
    IndexTag::RPMTAG_FILEDIGESTS,
    IndexTag::RPMTAG_PAYLOADSHA256,
    IndexTag::RPMTAG_PAYLOADSHA256ALT,
    IndexTag::RPMTAG_CHANGELOGNAME,
    IndexTag::RPMTAG_CHANGELOGTEXT,
    IndexTag::RPMTAG_COOKIE,
    IndexTag::RPMTAG_PAYLOADCOMPRESSOR,
    IndexTag::RPMTAG_PAYLOADFLAGS,
];

/// Tags that only packages of format 6 have, which hold digests that are not made here.
const OF_FORMAT_6: [IndexTag; 4] = [
    IndexTag::RPMTAG_PAYLOAD_SHA512,
    IndexTag::RPMTAG_PAYLOAD_SHA512_ALT,
    IndexTag::RPMTAG_PAYLOAD_SHA3_256,
    IndexTag::RPMTAG_PAYLOAD_SHA3_256_ALT,
];

/// What of a file is not what it was.
struct Changed {
    size: u64,
    /// The digest of its content; absent for a link, which has none.
    digest: Option<String>,
}

/// The payload as it shall be, in a file that nobody else sees.
struct Payload {
    file: std::fs::File,
    size: u64,
    sha256: String,
    /// Before compression.
    plain_size: u64,
    plain_sha256: String,
    changed: BTreeMap<usize, Changed>,
}

struct Rewriting {
    metadata: PackageMetadata,
    entries: BTreeMap<u32, IndexData>,
    payload: Payload,
}

impl Rewriting {
    fn new(
        from: &Path,
        place: &Path,
        limits: &PayloadLimits,
        changes: &mut impl Changes,
    ) -> Result<Self, Problem> {
        let problem = |error: Error| *error.problem;
        let (head, reader) = header::open(from).map_err(problem)?;
        let facts = RpmFile::from_head(&head, &name_of(from)).map_err(problem)?;
        let mut entries: BTreeMap<u32, IndexData> = head
            .metadata
            .header
            .get_all_entries()
            .map_err(|error| header::facts(&error))?
            .into_iter()
            .collect();
        // Made anew with the header; and what IMA signed are files as they were.
        entries.remove(&number(IndexTag::RPMTAG_HEADERIMMUTABLE));
        refuse_what_is_not_known(&facts, &entries)?;
        let compression = Compression::of(&entries)?;
        compression.say(&mut entries);
        // Where there is room for the package there is for its payload, which may be said of no other place.
        let out = tempfile::tempfile_in(place)
            .map_err(|error| Problem::Write { path: place.display().to_string(), source: error })?;
        let payload = rewrite_payload(&facts.files, reader, limits, &compression, &entries, changes, out)?;
        change_texts(&mut entries, changes);
        require_order(&facts.files, changes)?;
        add(&mut entries, PROVIDES, &changes.provides());
        add(&mut entries, REQUIRES, &changes.requires());
        change_files(&mut entries, &facts.files, &payload.changed)?;
        say_digests(&mut entries, &payload);
        Ok(Self { metadata: head.metadata, entries, payload })
    }

    fn write(mut self, to: &Path, limits: &PayloadLimits) -> Result<(), Problem> {
        let entries = self.entries.into_iter().map(|(tag, data)| HeaderEntry::new(tag, data));
        self.metadata.header = Header::from_entries(entries, IndexTag::RPMTAG_HEADERIMMUTABLE);
        let facts = |error: rpm::Error| header::facts(&error);
        let bytes = self.metadata.header_bytes().map_err(facts)?;
        self.metadata.signature = signature(&bytes, &self.payload).map_err(facts)?;
        let write = |file: &mut NamedTempFile| {
            self.metadata.write(file).map_err(facts)?;
            let copied = self.payload.file.rewind().and_then(|()| io::copy(&mut self.payload.file, file));
            copied.map(drop).map_err(|error| Problem::Write { path: name_of(to), source: error })
        };
        // As rpm would read it: every file that the archive has is one that the header lists, and of its size.
        let check = |written: &Path| for_each_file(written, limits, |_, _| Ok(ControlFlow::Continue(())));
        write_whole(to, write, check)
    }
}

fn number(tag: IndexTag) -> u32 {
    tag.into()
}

fn refuse_what_is_not_known(facts: &RpmFile, entries: &BTreeMap<u32, IndexData>) -> Result<(), Problem> {
    if facts.is_source {
        return Err(Problem::Facts("is that of a source package, which is not rewritten".to_owned()));
    }
    if OF_FORMAT_6.iter().any(|tag| entries.contains_key(&number(*tag))) {
        return Err(Problem::Facts("is of format 6, which is not rewritten".to_owned()));
    }
    Ok(())
}

/// The most that a rewritten payload is compressed with zstd. What Enterprise Linux packs with, 19, takes twenty times as
/// long for an eighth less: of a driver stack's 40 MB of modules that is half a minute, for one megabyte.
const FAST_ZSTD: u32 = 9;

/// How the payload is compressed: as the package says, and not harder than is quick.
enum Compression {
    None,
    Gzip(u32),
    Xz(u32),
    Zstd(i32),
}

impl Compression {
    fn of(entries: &BTreeMap<u32, IndexData>) -> Result<Self, Problem> {
        let (flags, level) = (text(entries, IndexTag::RPMTAG_PAYLOADFLAGS), level(entries));
        match text(entries, IndexTag::RPMTAG_PAYLOADCOMPRESSOR) {
            "" if flags.is_empty() => Ok(Self::None),
            "" | "gzip" => Ok(Self::Gzip(level.unwrap_or(9).min(9))),
            "xz" => Ok(Self::Xz(level.unwrap_or(6).min(9))),
            "zstd" => Ok(Self::Zstd(level.unwrap_or(FAST_ZSTD).min(FAST_ZSTD) as i32)),
            other => {
                let other = shortened(other);
                Err(Problem::Facts(format!(
                    "says that its payload is compressed with {other:?}, which is not written"
                )))
            }
        }
    }

    /// Has the header say how hard it is compressed.
    fn say(&self, entries: &mut BTreeMap<u32, IndexData>) {
        let Self::Zstd(now) = self else { return };
        if level(entries).is_none_or(|said| said > FAST_ZSTD) {
            entries.insert(number(IndexTag::RPMTAG_PAYLOADFLAGS), IndexData::StringTag(now.to_string()));
        }
    }
}

fn text(entries: &BTreeMap<u32, IndexData>, tag: IndexTag) -> &str {
    match entries.get(&number(tag)) {
        Some(IndexData::StringTag(text)) => text,
        _ => "",
    }
}

/// The level in `9`, `19` or `3T2`, which has threads as well.
fn level(entries: &BTreeMap<u32, IndexData>) -> Option<u32> {
    let flags = text(entries, IndexTag::RPMTAG_PAYLOADFLAGS);
    let digits: String = flags.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// What is written to it is compressed, counted and hashed, before and after.
enum Encoder {
    None(Counted<std::fs::File>),
    Gzip(GzEncoder<Counted<std::fs::File>>),
    Xz(XzEncoder<Counted<std::fs::File>>),
    Zstd(zstd::stream::write::Encoder<'static, Counted<std::fs::File>>),
}

impl Encoder {
    fn new(compression: &Compression, out: Counted<std::fs::File>) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(out),
            Compression::Gzip(level) => Self::Gzip(GzEncoder::new(out, flate2::Compression::new(*level))),
            Compression::Xz(level) => Self::Xz(XzEncoder::new(out, *level)),
            Compression::Zstd(level) => Self::Zstd(zstd::stream::write::Encoder::new(out, *level)?),
        })
    }

    fn finish(self) -> io::Result<Counted<std::fs::File>> {
        match self {
            Self::None(out) => Ok(out),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Xz(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl Write for Encoder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(out) => out.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Xz(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None(out) => out.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Xz(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// Counts and hashes what passes through.
struct Counted<W> {
    out: W,
    size: u64,
    sha256: Sha256,
}

impl<W> Counted<W> {
    fn new(out: W) -> Self {
        Self { out, size: 0, sha256: Sha256::new() }
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.size += count as u64;
        self.sha256.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn rewrite_payload(
    files: &[FileFact],
    payload: impl io::BufRead,
    limits: &PayloadLimits,
    compression: &Compression,
    entries: &BTreeMap<u32, IndexData>,
    changes: &mut impl Changes,
    out: std::fs::File,
) -> Result<Payload, Problem> {
    let temporary = |error: io::Error| Problem::Write { path: "the payload".to_owned(), source: error };
    let mut plain = Counted::new(Encoder::new(compression, Counted::new(out)).map_err(temporary)?);
    let hash = FileHash::of(entries);
    let mut changed = BTreeMap::new();
    walk_forms(files, payload, limits, |entry, index, form, content| {
        let file = entry.file;
        let as_it_stands = match form {
            crate::cpio::Form::Named { name, .. } => name.as_str(),
            crate::cpio::Form::Short(_) => "",
        };
        let name = changes.text(as_it_stands).unwrap_or_else(|| as_it_stands.to_owned());
        match changed_content(file, entry.content_size, content, changes)? {
            Some(bytes) => {
                let size = bytes.len() as u64;
                form.write(&mut plain, &name, size)?;
                plain.write_all(&bytes)?;
                pad(&mut plain, size)?;
                let digest = if file.kind == FileKind::Regular { Some(hash.digest(&bytes)?) } else { None };
                changed.insert(index, Changed { size, digest });
            }
            None => {
                form.write(&mut plain, &name, entry.content_size)?;
                io::copy(content, &mut plain)?;
                pad(&mut plain, entry.content_size)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    finish(&mut plain).map_err(temporary)?;
    let Counted { out, size: plain_size, sha256: plain_sha256 } = plain;
    let Counted { out: file, size, sha256 } = out.finish().map_err(temporary)?;
    Ok(Payload {
        file,
        size,
        sha256: hex::encode(sha256.finalize()),
        plain_size,
        plain_sha256: hex::encode(plain_sha256.finalize()),
        changed,
    })
}

/// The content of a file or the target of a link, where it is another one; what was read of it is not handed on then.
fn changed_content(
    file: &FileFact,
    size: u64,
    content: &mut dyn Read,
    changes: &mut impl Changes,
) -> io::Result<Option<Vec<u8>>> {
    match file.kind {
        FileKind::Symlink => {
            let target = file.link_target.as_deref().unwrap_or_default();
            Ok(changes.text(target).filter(|new| new != target).map(String::into_bytes))
        }
        // All names of a file but the last come without its content.
        FileKind::Regular if size > 0 && changes.wants(file) => {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            // What was read has to be written, changed or not.
            let new = changes.content(file, &bytes)?;
            Ok(Some(new.unwrap_or(bytes)))
        }
        _ => Ok(None),
    }
}

/// The hash that a package's file digests are made with.
enum FileHash {
    Sha256,
    Sha512,
    Other,
}

impl FileHash {
    fn of(entries: &BTreeMap<u32, IndexData>) -> Self {
        // RFC 4880, section 9.4.
        match entries.get(&number(IndexTag::RPMTAG_FILEDIGESTALGO)) {
            Some(IndexData::Int32(numbers)) if numbers.first() == Some(&8) => Self::Sha256,
            Some(IndexData::Int32(numbers)) if numbers.first() == Some(&10) => Self::Sha512,
            _ => Self::Other,
        }
    }

    fn digest(&self, bytes: &[u8]) -> io::Result<String> {
        match self {
            Self::Sha256 => Ok(hex::encode(Sha256::digest(bytes))),
            Self::Sha512 => Ok(hex::encode(Sha512::digest(bytes))),
            Self::Other => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the package's file digests are neither SHA-256 nor SHA-512",
            )),
        }
    }
}

fn change_texts(entries: &mut BTreeMap<u32, IndexData>, changes: &impl Changes) {
    let untouched: BTreeSet<u32> = NOT_TEXT.into_iter().map(number).collect();
    let change = |text: &mut String| {
        if let Some(new) = changes.text(text) {
            *text = new;
        }
    };
    for (tag, data) in entries.iter_mut() {
        match data {
            _ if untouched.contains(tag) => {}
            IndexData::StringTag(text) => change(text),
            IndexData::StringArray(texts) | IndexData::I18NString(texts) => texts.iter_mut().for_each(change),
            _ => {}
        }
    }
}

/// rpm looks files up in the order of their names.
fn require_order(files: &[FileFact], changes: &impl Changes) -> Result<(), Problem> {
    let new = |file: &FileFact| changes.text(&file.path).unwrap_or_else(|| file.path.clone());
    for pair in files.windows(2) {
        let [one, other] = pair else { continue };
        if one.path < other.path && new(one) >= new(other) {
            let (one, other) = (shortened(&new(one)), shortened(&new(other)));
            let problem = format!("would list {one:?} before {other:?}, which rpm does not read");
            return Err(Problem::Facts(problem));
        }
    }
    Ok(())
}

/// Names, versions and flags of what a package offers, and of what it needs.
const PROVIDES: [IndexTag; 3] =
    [IndexTag::RPMTAG_PROVIDENAME, IndexTag::RPMTAG_PROVIDEVERSION, IndexTag::RPMTAG_PROVIDEFLAGS];
const REQUIRES: [IndexTag; 3] =
    [IndexTag::RPMTAG_REQUIRENAME, IndexTag::RPMTAG_REQUIREVERSION, IndexTag::RPMTAG_REQUIREFLAGS];

fn add(
    entries: &mut BTreeMap<u32, IndexData>,
    [names, versions, all_flags]: [IndexTag; 3],
    capabilities: &[Capability],
) {
    for capability in capabilities {
        let Dependency { name, flags, version } = dependency(capability);
        let at = match entries.get(&number(names)) {
            Some(IndexData::StringArray(names)) => {
                names.iter().position(|known| *known > name).unwrap_or(names.len())
            }
            _ => 0,
        };
        insert(entries, names, at, name);
        insert(entries, versions, at, version);
        let flags = flags.bits();
        match entries.entry(number(all_flags)).or_insert_with(|| IndexData::Int32(Vec::new())) {
            IndexData::Int32(all) => all.insert(at.min(all.len()), flags),
            other => *other = IndexData::Int32(vec![flags]),
        }
    }
}

fn insert(entries: &mut BTreeMap<u32, IndexData>, tag: IndexTag, at: usize, text: String) {
    match entries.entry(number(tag)).or_insert_with(|| IndexData::StringArray(Vec::new())) {
        IndexData::StringArray(texts) => texts.insert(at.min(texts.len()), text),
        other => *other = IndexData::StringArray(vec![text]),
    }
}

/// Sizes and digests of the files that are not what they were, and the size of all.
fn change_files(
    entries: &mut BTreeMap<u32, IndexData>,
    files: &[FileFact],
    changed: &BTreeMap<usize, Changed>,
) -> Result<(), Problem> {
    // Of one file under several names each name says size and digest, and the last alone has the content.
    let mut all: BTreeMap<usize, &Changed> =
        changed.iter().map(|(index, changed)| (*index, changed)).collect();
    for (index, changed) in changed {
        let Some(group) = files.get(*index).and_then(|file| file.link_group) else { continue };
        let same = files.iter().enumerate().filter(|(_, file)| file.link_group == Some(group));
        all.extend(same.map(|(other, _)| (other, changed)));
    }
    let bad = || Problem::Facts("has sizes and digests for other files than it lists".to_owned());
    let mut grown = 0_i128;
    for (index, changed) in all {
        let file = files.get(index).ok_or_else(bad)?;
        if changed_once(files, index) {
            grown += i128::from(changed.size) - i128::from(file.size);
        }
        set_size(entries, index, changed.size).ok_or_else(bad)?;
        if let Some(digest) = &changed.digest {
            match entries.get_mut(&number(IndexTag::RPMTAG_FILEDIGESTS)) {
                Some(IndexData::StringArray(digests)) => {
                    *digests.get_mut(index).ok_or_else(bad)? = digest.clone()
                }
                _ => return Err(bad()),
            }
        }
    }
    grow(entries, IndexTag::RPMTAG_SIZE, grown).or_else(|| grow(entries, IndexTag::RPMTAG_LONGSIZE, grown));
    Ok(())
}

/// Whether a file counts for the size of all: of several names of one, the last.
fn changed_once(files: &[FileFact], index: usize) -> bool {
    let Some(group) = files.get(index).and_then(|file| file.link_group) else { return true };
    !files.iter().skip(index + 1).any(|file| file.link_group == Some(group))
}

fn set_size(entries: &mut BTreeMap<u32, IndexData>, index: usize, size: u64) -> Option<()> {
    if let Some(IndexData::Int32(sizes)) = entries.get_mut(&number(IndexTag::RPMTAG_FILESIZES)) {
        *sizes.get_mut(index)? = u32::try_from(size).ok()?;
        return Some(());
    }
    match entries.get_mut(&number(IndexTag::RPMTAG_LONGFILESIZES)) {
        Some(IndexData::Int64(sizes)) => *sizes.get_mut(index)? = size,
        _ => return None,
    }
    Some(())
}

fn grow(entries: &mut BTreeMap<u32, IndexData>, tag: IndexTag, by: i128) -> Option<()> {
    match entries.get_mut(&number(tag))? {
        IndexData::Int32(sizes) => {
            let size = sizes.first_mut()?;
            *size = u32::try_from(i128::from(*size) + by).unwrap_or(u32::MAX);
        }
        IndexData::Int64(sizes) => {
            let size = sizes.first_mut()?;
            *size = u64::try_from(i128::from(*size) + by).unwrap_or(u64::MAX);
        }
        _ => return None,
    }
    Some(())
}

/// The digests that hold the payload to the header.
fn say_digests(entries: &mut BTreeMap<u32, IndexData>, payload: &Payload) {
    let mut say = |tag, digest: &str| {
        let data = IndexData::StringArray(vec![digest.to_owned()]);
        entries.insert(number(tag), data);
    };
    say(IndexTag::RPMTAG_PAYLOADSHA256, &payload.sha256);
    say(IndexTag::RPMTAG_PAYLOADSHA256ALT, &payload.plain_sha256);
    entries.insert(number(IndexTag::RPMTAG_PAYLOADSHA256ALGO), IndexData::Int32(vec![8]));
    for tag in
        [IndexTag::RPMTAG_ARCHIVESIZE, IndexTag::RPMTAG_LONGARCHIVESIZE, IndexTag::RPMTAG_PAYLOADSIZEALT]
    {
        set_one(entries, tag, payload.plain_size);
    }
    set_one(entries, IndexTag::RPMTAG_PAYLOADSIZE, payload.size);
    for tag in [IndexTag::RPMTAG_FILESIGNATURES, IndexTag::RPMTAG_FILESIGNATURELENGTH] {
        entries.remove(&number(tag));
    }
}

/// Says a number where the header says one already.
fn set_one(entries: &mut BTreeMap<u32, IndexData>, tag: IndexTag, value: u64) {
    match entries.get_mut(&number(tag)) {
        Some(IndexData::Int32(numbers)) => *numbers = vec![u32::try_from(value).unwrap_or(u32::MAX)],
        Some(IndexData::Int64(numbers)) => *numbers = vec![value],
        _ => {}
    }
}

/// The signature header: digests and sizes, room for a signature, and none.
fn signature(header: &[u8], payload: &Payload) -> Result<Header<IndexSignatureTag>, rpm::Error> {
    let built = SignatureHeaderBuilder::new()
        .format(rpm::RpmFormat::V4)
        .calculate_digests(header)
        .set_content_length(header.len() as u64 + payload.size)
        .build()?;
    let region: u32 = IndexSignatureTag::HEADER_SIGNATURES.into();
    let mut entries: BTreeMap<u32, IndexData> = built.get_all_entries()?.into_iter().collect();
    entries.remove(&region);
    if let Ok(size) = u32::try_from(payload.plain_size) {
        entries.insert(IndexSignatureTag::RPMSIGTAG_PAYLOADSIZE.into(), IndexData::Int32(vec![size]));
    } else {
        let size = IndexData::Int64(vec![payload.plain_size]);
        entries.insert(IndexSignatureTag::RPMSIGTAG_LONGARCHIVESIZE.into(), size);
    }
    let entries = entries.into_iter().map(|(tag, data)| HeaderEntry::new(tag, data));
    Ok(Header::from_entries(entries, IndexSignatureTag::HEADER_SIGNATURES))
}
