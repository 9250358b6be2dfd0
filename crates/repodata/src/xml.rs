//! The few steps that every document needs: text, attributes, children; within the limits.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use crate::{Error, Limits, Result};

/// No element of the format has more than 8. The parser looks for duplicates by comparing each attribute with
/// all before it, so their number must be bounded.
const MAX_ATTRIBUTES: usize = 32;

/// A `quick-xml` reader over a text that is complete, with the names that errors need.
pub(crate) struct Xml<'a> {
    reader: Reader<&'a [u8]>,
    pub(crate) document: &'a str,
    base: u64,
    depth: usize,
    limits: &'a Limits,
}

impl<'a> Xml<'a> {
    /// `base` is where the text begins within the document.
    pub(crate) fn new(text: &'a [u8], document: &'a str, base: u64, limits: &'a Limits) -> Self {
        let mut reader = Reader::from_reader(text);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.check_end_names = true;
        config.check_comments = true;
        Self { reader, document, base, depth: 0, limits }
    }

    /// The next event that carries meaning. Comments and instructions are passed over, and a document type
    /// is refused.
    pub(crate) fn next(&mut self) -> Result<Event<'a>> {
        loop {
            let event = self.reader.read_event().map_err(|source| self.error(source))?;
            match event {
                Event::DocType(_) => return Err(Error::DocumentType { document: self.document.to_owned() }),
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
                Event::Start(_) => {
                    self.depth += 1;
                    if self.depth > self.limits.max_depth {
                        let limit = self.limits.max_depth as u64;
                        return Err(Error::limit(self.document, "element nesting", limit, "max_depth"));
                    }
                    return Ok(event);
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(event);
                }
                Event::GeneralRef(ref reference) => {
                    // Wherever it stands: a reference that nobody can resolve makes the document wrong.
                    resolve(reference).map_err(|name| self.unknown_entity(&name))?;
                    return Ok(event);
                }
                _ => return Ok(event),
            }
        }
    }

    pub(crate) fn limits(&self) -> &'a Limits {
        self.limits
    }

    /// How many elements are open.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// The next child of the element that was open at `depth`, or `None` at that element's end. Text between
    /// the children is passed over.
    pub(crate) fn child(&mut self, depth: usize) -> Result<Option<BytesStart<'a>>> {
        loop {
            match self.next()? {
                Event::Start(start) => return Ok(Some(start)),
                Event::End(_) if self.depth < depth => return Ok(None),
                Event::Eof => return Err(self.ended()),
                _ => {}
            }
        }
    }

    /// Passes over the rest of the element that was just opened.
    pub(crate) fn skip(&mut self) -> Result<()> {
        let depth = self.depth;
        while self.depth >= depth {
            if matches!(self.next()?, Event::Eof) {
                return Err(self.ended());
            }
        }
        Ok(())
    }

    /// The text of the element that was just opened, up to its end. An element within it is an error.
    pub(crate) fn text(&mut self) -> Result<String> {
        let mut text = String::new();
        loop {
            match self.next()? {
                Event::Text(piece) => text.push_str(&piece.xml_content(XmlVersion::Explicit1_0)),
                Event::CData(piece) => text.push_str(&piece.xml_content(XmlVersion::Explicit1_0)),
                Event::GeneralRef(reference) => {
                    text.push(resolve(&reference).map_err(|name| self.unknown_entity(&name))?);
                }
                Event::End(_) => return Ok(text.trim().to_owned()),
                Event::Start(start) => {
                    let name = shortened(start.name().as_ref());
                    return Err(Error::malformed(
                        self.document,
                        format!("<{name}>"),
                        "stands where text is expected",
                    ));
                }
                Event::Eof => return Err(self.ended()),
                _ => {}
            }
            self.check_text(&text)?;
        }
    }

    /// Hands each attribute to `take`, unescaped.
    pub(crate) fn attributes(&self, start: &BytesStart<'_>, mut take: impl FnMut(&str, &str)) -> Result<()> {
        for (count, attribute) in start.attributes().enumerate() {
            if count == MAX_ATTRIBUTES {
                let name = shortened(start.name().as_ref());
                return Err(Error::malformed(self.document, format!("<{name}>"), "has too many attributes"));
            }
            let attribute = attribute.map_err(|source| self.error(source.into()))?;
            self.check_text(&attribute.value)?;
            let value =
                attribute.normalized_value(XmlVersion::Explicit1_0).map_err(|source| match source {
                    quick_xml::Error::Escape(quick_xml::escape::EscapeError::UnrecognizedEntity(_, name)) => {
                        self.unknown_entity(&name)
                    }
                    source => self.error(source),
                })?;
            take(attribute.key.as_ref(), &value);
        }
        Ok(())
    }

    /// One attribute, unescaped.
    pub(crate) fn attribute(&self, start: &BytesStart<'_>, name: &str) -> Result<Option<String>> {
        let mut found = None;
        self.attributes(start, |key, value| {
            if key == name {
                found = Some(value.to_owned());
            }
        })?;
        Ok(found)
    }

    fn check_text(&self, text: &str) -> Result<()> {
        if text.len() > self.limits.max_text_bytes {
            let limit = self.limits.max_text_bytes as u64;
            return Err(Error::limit(self.document, "a text or an attribute", limit, "max_text_bytes"));
        }
        Ok(())
    }

    fn error(&self, source: quick_xml::Error) -> Error {
        let offset = Some(self.base + self.reader.error_position());
        Error::Xml { document: self.document.to_owned(), offset, source }
    }

    fn unknown_entity(&self, name: &str) -> Error {
        Error::Entity { document: self.document.to_owned(), name: shortened(name) }
    }

    fn ended(&self) -> Error {
        Error::malformed(self.document, "XML", "ends within an element")
    }
}

/// The character that a reference stands for, or the name of an entity that XML does not predefine.
fn resolve(reference: &quick_xml::events::BytesRef<'_>) -> std::result::Result<char, String> {
    let name = reference.clone().into_inner().into_owned();
    if reference.is_char_ref() {
        return reference.resolve_char_ref().ok().flatten().ok_or(name);
    }
    match name.as_str() {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "apos" => Ok('\''),
        "quot" => Ok('"'),
        _ => Err(name),
    }
}

/// Enough of a name to know it by, for an error.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
