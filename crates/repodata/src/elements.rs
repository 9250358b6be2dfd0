//! One `<package>` element at a time, cut out of a stream of any length.
//!
//! Raw `<` stands nowhere in XML but at the start of markup, so the end of an element that does not contain its
//! own kind is the next `</package`, unless that stands in a comment, in CDATA or in an instruction; those are
//! looked for and passed over. What stands between packages must be white space, a comment or an instruction,
//! so a cut at the wrong place is noticed at once.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use crate::xml::{Xml, shortened};
use crate::{Error, Limits, Result};

/// How much is asked of the reader at a time.
const CHUNK: usize = 256 << 10;

static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("</package"));
static BANG: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("<!"));
static INSTRUCTION: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("<?"));

/// The packages of a document, each as its text.
pub(crate) struct Elements<'a, R> {
    reader: R,
    pub(crate) document: &'static str,
    root: &'static str,
    pub(crate) limits: &'a Limits,
    /// Bytes `begin..end` of it are read and not yet used.
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    /// How many bytes of the document are before `begin`.
    offset: u64,
    /// What the root element's `packages` says; older tools wrote it wrong, so nothing depends on it.
    pub(crate) declared: Option<u64>,
    /// How many packages were cut.
    pub(crate) seen: u64,
    closed: bool,
}

/// What a search in the buffer came to.
enum Step {
    /// It ends before this byte.
    Found(usize),
    /// It does not end within the buffer; the next search need not look before this byte.
    More(usize),
}

impl<'a, R: Read> Elements<'a, R> {
    /// Reads up to and with the root element's start.
    pub(crate) fn open(
        reader: R,
        document: &'static str,
        root: &'static str,
        limits: &'a Limits,
    ) -> Result<Self> {
        let mut elements = Self {
            reader,
            document,
            root,
            limits,
            buffer: Vec::new(),
            begin: 0,
            end: 0,
            offset: 0,
            declared: None,
            seen: 0,
            closed: false,
        };
        elements.read_root()?;
        Ok(elements)
    }

    /// The text of a package that [`Self::next`] returned.
    pub(crate) fn text(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// Where a package's text begins in the document.
    pub(crate) fn offset_of(&self, range: &Range<usize>) -> u64 {
        self.offset - (self.begin - range.start) as u64
    }

    /// The next package, or `None` once the root element is closed.
    pub(crate) fn next(&mut self) -> Result<Option<Range<usize>>> {
        if self.closed {
            return Ok(None);
        }
        loop {
            self.pass_white_space()?;
            match self.kind_of_markup()? {
                Markup::Package => break,
                Markup::RootEnd => {
                    self.closed = true;
                    return Ok(None);
                }
                Markup::Comment => self.pass("-->")?,
                Markup::Instruction => self.pass("?>")?,
                Markup::Other(what) => {
                    return Err(self.malformed(format!("{what:?} stands where a package is expected")));
                }
            }
        }
        let length =
            self.measure(package_end, self.limits.max_package_bytes, "a package", "max_package_bytes")?;
        let range = self.begin..self.begin + length;
        self.advance(length);
        self.seen += 1;
        if self.seen > self.limits.max_packages {
            let limit = self.limits.max_packages;
            return Err(Error::limit(self.document, "the number of packages", limit, "max_packages"));
        }
        Ok(Some(range))
    }

    fn read_root(&mut self) -> Result<()> {
        self.fill_to(3)?;
        if self.rest().starts_with(b"\xef\xbb\xbf") {
            self.advance(3);
        }
        loop {
            self.pass_white_space()?;
            self.fill_to(9)?;
            let rest = self.rest();
            if rest.starts_with(b"<?") {
                self.pass("?>")?;
            } else if rest.starts_with(b"<!--") {
                self.pass("-->")?;
            } else if rest.starts_with(b"<!") {
                return Err(Error::DocumentType { document: self.document.to_owned() });
            } else if rest.first() == Some(&b'<') {
                break;
            } else {
                let what = shortened(&String::from_utf8_lossy(&rest[..rest.len().min(20)]));
                return Err(self.malformed(format!("{what:?} stands where <{}> is expected", self.root)));
            }
        }
        let search =
            |text: &[u8], _from: usize, _: &str| Ok(tag_end(text).map_or(Step::More(0), Step::Found));
        let length =
            self.measure(search, self.limits.max_text_bytes, "the first element", "max_text_bytes")?;
        let text = &self.buffer[self.begin..self.begin + length];
        let mut xml = Xml::new(text, self.document, self.offset, self.limits);
        let Some(start) = xml.child(0)? else { return Err(self.malformed("has no root element".to_owned())) };
        if start.local_name().as_ref() != self.root {
            let found = shortened(start.name().as_ref());
            return Err(self.malformed(format!("<{found}> stands where <{}> is expected", self.root)));
        }
        self.declared = xml.attribute(&start, "packages")?.and_then(|text| text.trim().parse().ok());
        self.closed = text.ends_with(b"/>");
        self.advance(length);
        Ok(())
    }

    fn kind_of_markup(&mut self) -> Result<Markup> {
        self.fill_to(self.root.len() + 3)?;
        let rest = self.rest();
        if let Some(after) = rest.strip_prefix(b"<package")
            && after.first().is_some_and(|&byte| ends_name(byte))
        {
            return Ok(Markup::Package);
        }
        if let Some(name) = rest.strip_prefix(b"</")
            && let Some(after) = name.strip_prefix(self.root.as_bytes())
            && after.first().is_some_and(|&byte| ends_name(byte))
        {
            return Ok(Markup::RootEnd);
        }
        if rest.starts_with(b"<!--") {
            return Ok(Markup::Comment);
        }
        if rest.starts_with(b"<!D") {
            return Err(Error::DocumentType { document: self.document.to_owned() });
        }
        if rest.starts_with(b"<?") {
            return Ok(Markup::Instruction);
        }
        if rest.len() < self.root.len() + 3 {
            return Err(self.truncated());
        }
        Ok(Markup::Other(shortened(&String::from_utf8_lossy(&rest[..rest.len().min(20)]))))
    }

    fn pass_white_space(&mut self) -> Result<()> {
        loop {
            let rest = self.rest();
            let count = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let all = count == rest.len();
            self.advance(count);
            if !all || !self.fill()? {
                return Ok(());
            }
        }
    }

    /// Passes over a comment or an instruction.
    fn pass(&mut self, terminator: &'static str) -> Result<()> {
        let search = move |text: &[u8], from: usize, _: &str| {
            Ok(match memmem::find(&text[from..], terminator.as_bytes()) {
                Some(at) => Step::Found(from + at + terminator.len()),
                None => Step::More(text.len().saturating_sub(terminator.len() - 1).max(from)),
            })
        };
        let length = self.measure(search, self.limits.max_text_bytes, "a comment", "max_text_bytes")?;
        self.advance(length);
        Ok(())
    }

    /// Reads on until `search` finds an end, and returns how many bytes are before it.
    fn measure(
        &mut self,
        search: impl Fn(&[u8], usize, &str) -> Result<Step>,
        limit: usize,
        what: &'static str,
        setting: &'static str,
    ) -> Result<usize> {
        let mut from = 0;
        loop {
            match search(self.rest(), from, self.document)? {
                Step::Found(length) if length <= limit => return Ok(length),
                Step::Found(_) => return Err(Error::limit(self.document, what, limit as u64, setting)),
                Step::More(searched) => from = searched,
            }
            // What is held is bounded here: before it grows, not after.
            if self.end - self.begin > limit {
                return Err(Error::limit(self.document, what, limit as u64, setting));
            }
            // Twice as much before the next search, so that however slowly the bytes come, what is searched again
            // and again is not more than all of it once.
            let held = self.end - self.begin;
            if !self.fill()? {
                return Err(self.truncated());
            }
            self.fill_to((held * 2).min(limit))?;
        }
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.begin..self.end]
    }

    fn advance(&mut self, count: usize) {
        self.begin += count;
        self.offset += count as u64;
    }

    fn fill_to(&mut self, count: usize) -> Result<()> {
        while self.end - self.begin < count && self.fill()? {}
        Ok(())
    }

    /// Reads more; `false` where there is no more.
    fn fill(&mut self) -> Result<bool> {
        if self.begin > 0 {
            self.buffer.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        if self.buffer.len() - self.end < CHUNK {
            // Doubling, so that a large package is not copied once for each chunk of it.
            let grown = (self.buffer.len() * 2).max(self.end + CHUNK);
            self.buffer.resize(grown, 0);
        }
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::from_io(self.document, error)),
            }
        }
    }

    fn malformed(&self, problem: String) -> Error {
        Error::malformed(self.document, format!("byte {}", self.offset), problem)
    }

    fn truncated(&self) -> Error {
        Error::Truncated { document: self.document.to_owned(), root: self.root }
    }
}

enum Markup {
    Package,
    RootEnd,
    Comment,
    Instruction,
    Other(String),
}

fn ends_name(byte: u8) -> bool {
    byte == b'>' || byte == b'/' || byte.is_ascii_whitespace()
}

/// Where the tag at the start of the text ends; a `>` within quotes does not end it.
pub(crate) fn tag_end(text: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, &byte) in text.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// Where the package at the start of the text ends. `from` is 0, or what an earlier `More` said.
fn package_end(text: &[u8], from: usize, document: &str) -> Result<Step> {
    let mut at = from;
    if at == 0 {
        let Some(end) = tag_end(text) else { return Ok(Step::More(0)) };
        if text[..end].ends_with(b"/>") {
            return Ok(Step::Found(end));
        }
        at = end;
    }
    loop {
        let end = END.find(&text[at..]).map(|found| at + found);
        let before = &text[at..end.unwrap_or(text.len())];
        let bang = BANG.find(before);
        let instruction = INSTRUCTION.find(before);
        if let Some(odd) = [bang, instruction].into_iter().flatten().min() {
            let odd = at + odd;
            match pass_odd_markup(&text[odd..], document)? {
                Some(length) => at = odd + length,
                None => return Ok(Step::More(odd)),
            }
            continue;
        }
        let Some(end) = end else {
            // The last bytes may be the start of what is looked for.
            return Ok(Step::More(text.len().saturating_sub(END.needle().len() - 1).max(at)));
        };
        let after = end + END.needle().len();
        match text.get(after) {
            None => return Ok(Step::More(end)),
            // `</packager>` is another element.
            Some(&byte) if !ends_name(byte) => at = after,
            Some(_) => {
                return Ok(match memchr::memchr(b'>', &text[after..]) {
                    Some(close) => Step::Found(after + close + 1),
                    None => Step::More(end),
                });
            }
        }
    }
}

/// The length of the comment, CDATA section or instruction at the start of the text; `None` where it does not
/// end within it.
fn pass_odd_markup(text: &[u8], document: &str) -> Result<Option<usize>> {
    const CDATA: &[u8] = b"<![CDATA[";
    let terminator: &[u8] = if text.starts_with(b"<?") {
        b"?>"
    } else if text.starts_with(b"<!--") {
        b"-->"
    } else if text.starts_with(CDATA) {
        b"]]>"
    } else if CDATA.starts_with(text) || b"<!--".starts_with(text) {
        return Ok(None);
    } else {
        return Err(Error::DocumentType { document: document.to_owned() });
    };
    Ok(memmem::find(text, terminator).map(|at| at + terminator.len()))
}
