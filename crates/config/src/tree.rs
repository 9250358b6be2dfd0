//! YAML as nodes that know where they stand.
//!
//! Scalars keep the text that was written and whether it was quoted; nothing is a number or a date here.
//! Sizes are bounded before anything is built from the text: bytes by [`crate::parse`], depth by the parser,
//! nodes (with every alias counted as what it stands for) by [`MAX_NODES`].

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError};

/// More nodes than any real file has, and few enough that an alias bomb costs nothing.
const MAX_NODES: usize = 20_000;
/// The settings are five levels deep.
const MAX_DEPTH: usize = 32;

/// A place in the text. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// Where the marked text stands, in bytes.
    pub(crate) bytes: Range<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
    /// How many nodes this is, itself included and aliases counted in full.
    size: usize,
}

impl Node {
    /// A node that stands in no file, and so is not counted.
    pub(crate) fn new(place: Place, value: Value) -> Self {
        Self { place, value, size: 1 }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Nothing was written, or `null`, or `~`.
    Null,
    Scalar {
        text: String,
        /// Whether the text stands without quotes: only then can it be `true` or a number.
        plain: bool,
    },
    Sequence(Vec<Rc<Node>>),
    Mapping(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) value: Rc<Node>,
}

/// Why a text is no tree, and where.
#[derive(Debug)]
pub(crate) struct TreeError {
    pub(crate) place: Option<Place>,
    pub(crate) message: String,
    pub(crate) help: Option<&'static str>,
}

/// Reads the one document that the text holds; `None` where it holds nothing.
pub(crate) fn read(text: &str) -> Result<Option<Rc<Node>>, TreeError> {
    let mut options = granit_parser::options! {
        disallow_directives: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    let mut reader = Reader {
        text,
        parser: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        nodes: 0,
    };
    let mut root = None;
    while let Some((event, place)) = reader.next()? {
        match event {
            Event::StreamStart | Event::DocumentEnd => {}
            Event::StreamEnd => break,
            Event::DocumentStart(..) if root.is_some() => {
                return Err(refusal(
                    place,
                    "a second YAML document begins here",
                    Some("one file is one configuration: remove the `---`"),
                ));
            }
            Event::DocumentStart(..) => {
                let (event, place) = reader.expect_next()?;
                root = Some(reader.node(event, place)?);
            }
            _ => return Err(refusal(place, "this does not belong here", None)),
        }
    }
    Ok(root.filter(|node| !matches!(node.value, Value::Null)))
}

fn refusal(place: Place, message: impl Into<String>, help: Option<&'static str>) -> TreeError {
    TreeError { place: Some(place), message: message.into(), help }
}

struct Reader<'a> {
    text: &'a str,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Rc<Node>>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Place)>, TreeError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, self.place(&span)))),
            Some(Err(error)) => Err(self.scan_error(&error)),
        }
    }

    fn expect_next(&mut self) -> Result<(Event<'a>, Place), TreeError> {
        self.next()?.ok_or_else(|| TreeError {
            place: None,
            message: "the file ends in the middle of a value".to_owned(),
            help: None,
        })
    }

    fn place(&self, span: &granit_parser::Span) -> Place {
        let bytes = span.byte_range().unwrap_or(0..0);
        let limit = self.text.len();
        Place {
            line: span.start.line().max(1),
            column: span.start.col() + 1,
            bytes: bytes.start.min(limit)..bytes.end.min(limit),
        }
    }

    fn scan_error(&self, error: &ScanError) -> TreeError {
        let marker = error.marker();
        let at = marker.byte_offset().unwrap_or(self.text.len()).min(self.text.len());
        // The parser is often past the tab, or not there yet, when it gives up.
        let line = marker.line();
        let near = self.text.split('\n').skip(line.saturating_sub(2)).take(3);
        let tab = near.into_iter().any(|line| line.trim_start_matches(' ').starts_with('\t'));
        TreeError {
            place: Some(Place { line: marker.line().max(1), column: marker.col() + 1, bytes: at..at }),
            message: format!("this is not YAML: {}", error.info()),
            help: Some(if self.is_variable(at) {
                "between braces ${NAME} stands in quotes: \"${NAME}\""
            } else if tab {
                "YAML is indented with spaces, not with tabs"
            } else {
                "look at the lines above too: a bracket or quote that is not closed is noticed late"
            }),
        }
    }

    /// Whether the brace of a `${NAME}` stands at a place.
    fn is_variable(&self, at: usize) -> bool {
        let (before, after) = (self.text.get(..at), self.text.get(at..));
        before.is_some_and(|text| text.ends_with('$')) && after.is_some_and(|text| text.starts_with('{'))
    }

    fn count(&mut self, nodes: usize, place: &Place) -> Result<(), TreeError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(refusal(
                place.clone(),
                format!("the file has more than {MAX_NODES} values, aliases counted as what they stand for"),
                Some("a configuration is not that large: look for an alias that repeats others"),
            ));
        }
        Ok(())
    }

    /// Reads the node that begins with `event`. Recursion ends at the parser's depth limit.
    fn node(&mut self, event: Event<'a>, mut place: Place) -> Result<Rc<Node>, TreeError> {
        if event.tag().is_some() {
            return Err(refusal(place, "a YAML tag (`!…`) has no meaning here", Some("remove the tag")));
        }
        if let Event::Alias(anchor) = event {
            // An alias within its own anchor names a node that is not finished, and so not here yet.
            let Some(node) = self.anchors.get(&anchor).cloned() else {
                return Err(refusal(place, "this alias stands within what it stands for", None));
            };
            self.count(node.size, &place)?;
            return Ok(Rc::new(Node { place, value: node.value.clone(), size: node.size }));
        }
        self.count(1, &place)?;
        let anchor = event.anchor_id();
        let mut size = 1_usize;
        let value = match event {
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Value::Null
                } else {
                    Value::Scalar { text: text.into_owned(), plain }
                }
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    let (event, at) = self.expect_next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    let item = self.node(event, at)?;
                    size = size.saturating_add(item.size);
                    items.push(item);
                }
                place.bytes.end = place.bytes.start;
                Value::Sequence(items)
            }
            Event::MappingStart(..) => {
                let entries = self.entries(&mut size)?;
                place.bytes.end = place.bytes.start;
                Value::Mapping(entries)
            }
            _ => return Err(refusal(place, "a value was expected here", None)),
        };
        let node = Rc::new(Node { place, value, size });
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        Ok(node)
    }

    fn entries(&mut self, size: &mut usize) -> Result<Vec<Entry>, TreeError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, at) = self.expect_next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries);
            }
            let key_node = self.node(event, at)?;
            let key_place = key_node.place.clone();
            let Value::Scalar { text: key, .. } = &key_node.value else {
                return Err(refusal(key_place, "a key must be a text", None));
            };
            if key == "<<" {
                return Err(refusal(
                    key_place,
                    "merge keys (`<<`) are not read",
                    Some("write the keys out, or use an alias for single values"),
                ));
            }
            if let Some(line) = seen.insert(key.clone(), key_place.line) {
                let key = crate::problems::quote(key);
                return Err(refusal(
                    key_place,
                    format!("key {key} stands twice: it was given in line {line} already"),
                    Some("remove one of the two"),
                ));
            }
            let (event, at) = self.expect_next()?;
            let value = self.node(event, at)?;
            *size = size.saturating_add(value.size).saturating_add(1);
            entries.push(Entry { key: key.clone(), key_place, value });
        }
    }
}
