//! YAML as JSON has it: of `clouds.yaml`, which is YAML of the plain kind.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Value};

/// More than any real file has, and few enough that an alias bomb costs nothing.
const MAX_NODES: usize = 20_000;
/// Real files are five levels deep.
const MAX_DEPTH: usize = 32;
/// The key whose value's entries stand for themselves.
const MERGE: &str = "<<";

/// Reads one document. Numbers stay text: a password may look like one.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let mut options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    let parser = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader { parser, anchors: HashMap::new(), nodes: 0 };
    loop {
        match reader.next()? {
            Event::StreamStart => {}
            Event::DocumentStart(..) => {
                let event = reader.next()?;
                return Ok(reader.node(event)?.value);
            }
            _ => return Ok(Value::Null),
        }
    }
}

/// A value, and how many it is with all in it.
#[derive(Clone)]
struct Node {
    value: Value,
    size: usize,
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, String> {
        match self.parser.next_event() {
            None => Ok(Event::StreamEnd),
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(format!("line {}: {}", error.marker().line().max(1), error.info())),
        }
    }

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES { Err(format!("it has more than {MAX_NODES} values")) } else { Ok(()) }
    }

    /// Reads the node that begins with `event`. Recursion ends at the parser's limit.
    fn node(&mut self, event: Event<'a>) -> Result<Node, String> {
        if let Event::Alias(anchor) = event {
            let node =
                self.anchors.get(&anchor).cloned().ok_or("an alias stands within what it stands for")?;
            self.count(node.size)?;
            return Ok(node);
        }
        let before = self.nodes;
        self.count(1)?;
        let anchor = event.anchor_id();
        let value = match event {
            Event::Scalar(text, style, ..) => scalar(&text, style == ScalarStyle::Plain),
            Event::SequenceStart(..) => Value::Array(self.items()?),
            Event::MappingStart(..) => Value::Object(self.entries()?),
            _ => return Err("a value is missing".to_owned()),
        };
        let node = Node { value, size: self.nodes.saturating_sub(before) };
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn items(&mut self) -> Result<Vec<Value>, String> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(items),
                event => items.push(self.node(event)?.value),
            }
        }
    }

    fn entries(&mut self) -> Result<Map<String, Value>, String> {
        let (mut entries, mut merged) = (Map::new(), Vec::new());
        loop {
            let event = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.node(event)?.value;
            let event = self.next()?;
            let value = self.node(event)?.value;
            match (key, value) {
                (Value::String(key), value) if key == MERGE => merged.push(value),
                (Value::String(key), value) => drop(entries.insert(key, value)),
                _ => return Err("a key is not a text".to_owned()),
            }
        }
        merged.into_iter().for_each(|value| merge(&mut entries, value));
        Ok(entries)
    }
}

/// Adds what is not there yet.
fn merge(entries: &mut Map<String, Value>, value: Value) {
    match value {
        Value::Object(others) => {
            for (key, value) in others {
                entries.entry(key).or_insert(value);
            }
        }
        Value::Array(many) => many.into_iter().for_each(|value| merge(entries, value)),
        _ => {}
    }
}

fn scalar(text: &str, plain: bool) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "on" if plain => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "off" if plain => Value::Bool(false),
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_clouds_file_is_read_with_its_aliases_and_its_numbers_as_text() {
        let text = "base: &base {region_name: R, verify: false}\nclouds:\n  a:\n    <<: *base\n    auth:\n      \
                    password: 0123\n      username: 'yes'\n    verify: true\n";
        assert_eq!(
            read(text).unwrap()["clouds"]["a"],
            json!({ "auth": { "password": "0123", "username": "yes" }, "verify": true, "region_name": "R" })
        );
        assert_eq!(read("").unwrap(), Value::Null);
    }

    #[test]
    fn what_is_not_yaml_is_said_with_its_line() {
        let error = read("clouds:\n  a: [\n").unwrap_err();
        assert!(error.starts_with("line "), "{error}");
        let bomb =
            format!("a: &a [{}]\nb: &b [{}]\nc: [{}]\n", "x,".repeat(99), "*a,".repeat(99), "*b,".repeat(99));
        assert!(read(&bomb).unwrap_err().contains("more than"));
    }
}
