//! YAML files as Ansible reads them: by the rules of YAML 1.1, with `!vault` and `!unsafe`, and with lines.

use std::collections::HashMap;
use std::rc::Rc;

use camino::Utf8Path;
use granit_parser::{Event, Parser, ScalarStyle};

use crate::{KayobeError, Place, Value};

/// The longest file that is read.
pub(crate) const MAX_BYTES: usize = 4 * 1024 * 1024;
const MAX_NODES: usize = 200_000;
const MAX_DEPTH: usize = 48;

/// A value of a file, with its line.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) data: Data,
    size: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Data {
    /// What no template can be in, with the text that it was written as.
    Plain(Value, String),
    /// A text, which may be a template.
    Text(String),
    /// A text that is no template, whatever is in it.
    Unsafe(String),
    /// A text that is encrypted.
    Vault(String),
    List(Vec<Rc<Node>>),
    Map(Entries),
}

/// A mapping's entries, each with the line of its key.
pub(crate) type Entries = Vec<(String, usize, Rc<Node>)>;

/// Reads a file of variables: a mapping, or nothing.
pub(crate) fn read(text: &str, file: &Utf8Path) -> Result<Entries, KayobeError> {
    if text.len() > MAX_BYTES {
        return Err(KayobeError::TooMuch { path: file.to_owned(), limit: MAX_BYTES, what: "bytes" });
    }
    let mut options = granit_parser::options! {
        disallow_directives: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    let parser = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader { file, parser, anchors: HashMap::new(), nodes: 0, line: 1 };
    reader.document()
}

struct Reader<'a> {
    file: &'a Utf8Path,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Rc<Node>>,
    nodes: usize,
    /// The line of the last event.
    line: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, line: usize, message: impl Into<String>) -> KayobeError {
        KayobeError::Malformed { place: Place::new(self.file, line), message: message.into() }
    }

    fn next(&mut self) -> Result<Event<'a>, KayobeError> {
        match self.parser.next_event() {
            None => Ok(Event::StreamEnd),
            Some(Ok((event, span))) => {
                self.line = span.start.line().max(1);
                Ok(event)
            }
            Some(Err(error)) => {
                let line = error.marker().line().max(1);
                Err(self.error(line, format!("this is not YAML: {}", error.info())))
            }
        }
    }

    fn document(&mut self) -> Result<Entries, KayobeError> {
        let mut entries = None;
        loop {
            match self.next()? {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(entries.unwrap_or_default()),
                Event::DocumentStart(..) if entries.is_some() => {
                    return Err(
                        self.error(self.line, "a second YAML document begins here, and Ansible reads one")
                    );
                }
                Event::DocumentStart(..) => entries = Some(self.top()?),
                _ => return Err(self.error(self.line, "this does not belong here")),
            }
        }
    }

    fn top(&mut self) -> Result<Entries, KayobeError> {
        match self.next()? {
            Event::MappingStart(..) => self.entries(&mut 0, 0),
            Event::Scalar(text, ScalarStyle::Plain, ..) if is_null(&text) => Ok(Vec::new()),
            _ => Err(self.error(self.line, "a file of variables is a mapping, and this is none")),
        }
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), KayobeError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(self
                .error(line, format!("the file has more than {MAX_NODES} values, aliases counted in full")));
        }
        Ok(())
    }

    /// Reads the node that begins with an event. Recursion ends at the parser's depth, and here.
    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Rc<Node>, KayobeError> {
        let line = self.line;
        if depth > MAX_DEPTH {
            return Err(self.error(line, format!("values are nested more than {MAX_DEPTH} deep")));
        }
        if let Event::Alias(anchor) = event {
            let Some(node) = self.anchors.get(&anchor).cloned() else {
                return Err(self.error(line, "this alias stands within what it stands for"));
            };
            self.count(node.size, line)?;
            return Ok(node);
        }
        self.count(1, line)?;
        let tag = event.tag().map(|tag| format!("{}{}", tag.handle(), tag.suffix()));
        let anchor = event.anchor_id();
        let mut size = 1;
        let data = match event {
            Event::Scalar(text, style, ..) => self.scalar(text.into_owned(), style, tag.as_deref(), line)?,
            _ if tag.is_some() => {
                let tag = tag.unwrap_or_default();
                return Err(self.error(line, format!("the tag {tag} has no meaning here")));
            }
            Event::SequenceStart(..) => self.items(&mut size, depth)?,
            Event::MappingStart(..) => Data::Map(self.entries(&mut size, depth)?),
            _ => return Err(self.error(line, "a value was expected here")),
        };
        let node = Rc::new(Node { line, data, size });
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        Ok(node)
    }

    fn items(&mut self, size: &mut usize, depth: usize) -> Result<Data, KayobeError> {
        let mut items = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Data::List(items));
            }
            let item = self.node(event, depth + 1)?;
            *size = size.saturating_add(item.size);
            items.push(item);
        }
    }

    fn entries(&mut self, size: &mut usize, depth: usize) -> Result<Entries, KayobeError> {
        let mut entries: Entries = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries);
            }
            let key_node = self.node(event, depth + 1)?;
            let line = key_node.line;
            let key = match &key_node.data {
                Data::Text(text) => text.clone(),
                Data::Plain(_, written) => written.clone(),
                _ => return Err(self.error(line, "a key must be a text")),
            };
            if key == "<<" {
                return Err(self.error(line, "merge keys (`<<`) are not read: write the keys out"));
            }
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            *size = size.saturating_add(value.size).saturating_add(1);
            // The last of two wins, and Ansible only warns.
            entries.retain(|(other, ..)| *other != key);
            entries.push((key, line, value));
        }
    }

    fn scalar(
        &self,
        text: String,
        style: ScalarStyle,
        tag: Option<&str>,
        line: usize,
    ) -> Result<Data, KayobeError> {
        match tag {
            None if style == ScalarStyle::Plain => Ok(plain(text)),
            None | Some("tag:yaml.org,2002:str" | "!") => Ok(Data::Text(text)),
            Some("!vault" | "!vault-encrypted") => Ok(Data::Vault(text)),
            Some("!unsafe") => Ok(Data::Unsafe(text)),
            Some(tag) => Err(self.error(line, format!("the tag {tag} has no meaning here"))),
        }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// What a scalar without quotes is, by YAML 1.1: `yes` is true, `24.10` is the number 24.1, `010` is eight.
fn plain(text: String) -> Data {
    let value = if is_null(&text) {
        Some(Value::None)
    } else {
        boolean(&text)
            .map(Value::Bool)
            .or_else(|| integer(&text).map(Value::Int))
            .or_else(|| float(&text).map(Value::Float))
    };
    match value {
        Some(value) => Data::Plain(value, text),
        None => Data::Text(text),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let bare = digits.replace('_', "");
    let number = if let Some(binary) = bare.strip_prefix("0b") {
        i64::from_str_radix(binary, 2).ok()?
    } else if let Some(hexadecimal) = bare.strip_prefix("0x") {
        i64::from_str_radix(hexadecimal, 16).ok()?
    } else if bare.contains(':') {
        sexagesimal(&bare)?
    } else if bare.len() > 1 && bare.starts_with('0') {
        i64::from_str_radix(&bare, 8).ok()?
    } else {
        bare.parse().ok()?
    };
    number.checked_mul(sign)
}

/// `1:30` is 90: so it is in YAML 1.1.
fn sexagesimal(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let first = parts.next().filter(|part| !part.starts_with('0'))?;
    let mut number: i64 = first.parse().ok()?;
    for part in parts {
        let digit: i64 = Some(part).filter(|part| (1..=2).contains(&part.len()))?.parse().ok()?;
        if !(0..60).contains(&digit) {
            return None;
        }
        number = number.checked_mul(60)?.checked_add(digit)?;
    }
    Some(number)
}

fn float(text: &str) -> Option<f64> {
    match text.trim_start_matches(['-', '+']) {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        _ => {}
    }
    let bare = text.replace('_', "");
    let unsigned = bare.strip_prefix(['-', '+']).unwrap_or(&bare);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.')?;
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    // Without its sign an exponent is none, by YAML 1.1.
    let signed =
        |text: &str| text.strip_prefix(['-', '+']).is_some_and(|rest| !rest.is_empty() && digits(rest));
    let shaped = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    if shaped && exponent.is_none_or(signed) { bare.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        match plain(text.to_owned()) {
            Data::Plain(value, _) => value,
            _ => Value::Text(text.to_owned()),
        }
    }

    #[test]
    fn scalars_are_what_yaml_1_1_takes_them_for() {
        for (text, expected) in [
            ("yes", Value::Bool(true)),
            ("Off", Value::Bool(false)),
            ("4", Value::Int(4)),
            ("-1_000", Value::Int(-1000)),
            ("010", Value::Int(8)),
            ("0x1f", Value::Int(31)),
            ("1:30", Value::Int(90)),
            ("24.07", Value::Float(24.07)),
            ("24.10", Value::Float(24.1)),
            ("1.5e+3", Value::Float(1500.0)),
            ("~", Value::None),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
        for text in ["20240816T002610", "3.2.0", "1e3", "1.5e3", "y", "09", "0:10", "12:60", "-", ".", "e.e"]
        {
            assert_eq!(value(text), Value::Text(text.to_owned()), "{text}");
        }
        assert_eq!(Value::Float(24.1).text().as_deref(), Some("24.1"));
        assert_eq!(Value::Float(24.0).text().as_deref(), Some("24.0"));
    }

    #[test]
    fn lines_tags_and_the_last_of_two_keys() {
        let text = "---\na: 1\nb: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  00\nc:\n  - {d: !unsafe '{{ x }}'}\na: 2\n";
        let entries = read(text, "f.yml".into()).unwrap();
        let lines: Vec<(&str, usize)> = entries.iter().map(|(key, line, _)| (key.as_str(), *line)).collect();
        assert_eq!(lines, [("b", 3), ("c", 6), ("a", 8)]);
        assert!(matches!(&entries[0].2.data, Data::Vault(text) if text.starts_with("$ANSIBLE_VAULT")));
    }

    #[test]
    fn what_is_half_edited_is_refused_with_its_line() {
        for (text, line) in [
            ("a: 1\nb: [1,\n", 3),
            ("a: 1\n<<<<<<< HEAD\nb: 2\n", 2),
            ("- a\n", 1),
            ("a: !frob 1\n", 1),
            ("a: 1\n---\nb: 1\n", 2),
            ("a: &x [*x]\n", 1),
        ] {
            match read(text, "f.yml".into()) {
                Err(KayobeError::Malformed { place, .. }) => {
                    assert!(place.line.abs_diff(line) <= 1, "{text:?}: {place}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
        assert!(read("", "f.yml".into()).unwrap().is_empty());
        assert!(read("---\n# nothing\n", "f.yml".into()).unwrap().is_empty());
    }
}
