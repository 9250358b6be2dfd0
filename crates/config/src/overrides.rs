//! `--set KEY=VALUE`: values of a command line that take the place of the file's, before anything is read from them.
//!
//! They become lines after the file's text and nodes of its tree, with places in these lines. So whatever is wrong with
//! one is found by what reads the file, and told as any other mistake; [`Source`](crate::snippet::Source) knows which
//! places are not the file's.

use std::rc::Rc;

use crate::problems::{Problems, quote};
use crate::snippet::is_secret;
use crate::tree::{self, Entry, Node, Place, Value};

/// More than anybody writes on a command line.
const MAX_COUNT: usize = 64;
const MAX_LENGTH: usize = 4096;
/// The settings are five levels deep.
const MAX_KEYS: usize = 8;

/// The file's text with the overrides after it, a line each, and where these begin.
pub(crate) struct Lines {
    pub(crate) text: String,
    pub(crate) start: usize,
    lines: Vec<std::ops::Range<usize>>,
    first: usize,
}

impl Lines {
    /// As many and as much of them as is read; [`apply`] tells what is wrong with the rest.
    pub(crate) fn after(file: &str, overrides: &[String]) -> Self {
        let mut text = format!("{file}\n");
        let start = text.len();
        let mut lines = Vec::new();
        for given in overrides.iter().take(MAX_COUNT) {
            let from = text.len();
            text.extend(
                given
                    .chars()
                    .take(MAX_LENGTH)
                    .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }),
            );
            lines.push(from..text.len());
            text.push('\n');
        }
        let first = file.split('\n').count() + 1;
        Self { text, start, lines, first }
    }

    /// The n-th of them, whole.
    fn place(&self, position: usize) -> Place {
        let bytes = self.lines.get(position).cloned().unwrap_or(self.start..self.start);
        Place { line: self.first + position, column: 1, bytes }
    }
}

/// What is wrong with an override that cannot be applied.
struct Refusal {
    place: Place,
    message: String,
    help: Option<String>,
}

/// The tree with all of them in it. What is wrong with one is handed back, to be told when the tree is known.
pub(crate) fn apply(root: &Rc<Node>, overrides: &[String], lines: &Lines) -> (Rc<Node>, Refusals) {
    if overrides.len() > MAX_COUNT {
        let message = format!("this is one of {}, and {MAX_COUNT} are read", overrides.len());
        let help = "change the file, or name another one with --config";
        return (Rc::clone(root), Refusals(vec![refusal(&lines.place(0), message, Some(help))]));
    }
    let mut refused = Vec::new();
    let mut root = Node::clone(root);
    let mut seen: Vec<Vec<&str>> = Vec::new();
    for (position, given) in overrides.iter().enumerate() {
        let place = lines.place(position);
        let applied = split(given, &place).and_then(|(keys, value, at)| {
            if seen.contains(&keys) {
                return Err(refusal(&place, "this key is set twice", Some("give it once")));
            }
            seen.push(keys.clone());
            set(&mut root, &keys, read_value(value, &at)?, &place)?;
            // Afterwards: by its place in the tree it is known as what must not be shown.
            no_secret(&keys, value, &at)
        });
        refused.extend(applied.err());
    }
    (Rc::new(root), Refusals(refused))
}

/// What is wrong with the overrides themselves.
pub(crate) struct Refusals(Vec<Refusal>);

impl Refusals {
    pub(crate) fn tell(self, problems: &mut Problems<'_>) {
        for refusal in self.0 {
            problems.add(&refusal.place, refusal.message, refusal.help);
        }
    }
}

fn refusal(place: &Place, message: impl Into<String>, help: Option<&str>) -> Refusal {
    Refusal { place: place.clone(), message: message.into(), help: help.map(str::to_owned) }
}

/// The keys, the value, and where the value stands.
fn split<'a>(given: &'a str, place: &Place) -> Result<(Vec<&'a str>, &'a str, Place), Refusal> {
    let example = Some("write the keys with dots between them, and the value: driver.version=3.2.0");
    if given.len() > MAX_LENGTH || given.chars().any(char::is_control) {
        let message = format!("it is longer than {MAX_LENGTH} bytes, or has more than one line");
        return Err(refusal(place, message, Some("write it into the file")));
    }
    let Some((path, value)) = given.split_once('=') else {
        return Err(refusal(place, "this has no `=`, and so no value", example));
    };
    let keys: Vec<&str> = path.split('.').collect();
    if keys.iter().any(|key| key.is_empty() || key.contains(char::is_whitespace)) {
        return Err(refusal(place, format!("{} is no key", quote(path)), example));
    }
    if keys.len() > MAX_KEYS {
        return Err(refusal(place, format!("a key has at most {MAX_KEYS} parts"), example));
    }
    let value = value.trim();
    if value.is_empty() {
        let help = "to go back to the default of a key, remove it from the file";
        return Err(refusal(place, "there is no value after the `=`", Some(help)));
    }
    let before = given.len() - given.trim_end().len();
    let end = place.bytes.end.saturating_sub(before);
    let start = end.saturating_sub(value.len());
    let column =
        given.get(..start.saturating_sub(place.bytes.start)).map_or(0, |text| text.chars().count()) + 1;
    Ok((keys, value, Place { line: place.line, column, bytes: start..end }))
}

/// A value as it stands; as YAML where it begins with a bracket, a brace or a quotation mark.
fn read_value(text: &str, at: &Place) -> Result<Node, Refusal> {
    if !text.starts_with(['[', '{', '"', '\'']) {
        return Ok(Node::new(at.clone(), Value::Scalar { text: text.to_owned(), plain: true }));
    }
    match tree::read(text) {
        Ok(Some(node)) => Ok(moved(&node, at)),
        Ok(None) => Err(refusal(at, "there is no value after the `=`", None)),
        // Its help is about files of several lines.
        Err(error) => Err(refusal(at, error.message, None)),
    }
}

fn no_secret(keys: &[&str], value: &str, at: &Place) -> Result<(), Refusal> {
    if value.starts_with("${") || !keys.iter().any(|key| is_secret(key)) {
        return Ok(());
    }
    let message = "a secret does not belong on a command line, which every user of the host can see";
    let help = "write ${NAME}, with the name of an environment variable that has it";
    Err(refusal(at, message, Some(help)))
}

/// A tree whose text stands at another place: in one line, as all overrides.
fn moved(node: &Node, at: &Place) -> Node {
    let place = |place: &Place| Place {
        line: at.line,
        column: at.column + place.column - 1,
        bytes: at.bytes.start + place.bytes.start..at.bytes.start + place.bytes.end,
    };
    let value = match &node.value {
        Value::Sequence(items) => {
            Value::Sequence(items.iter().map(|item| Rc::new(moved(item, at))).collect())
        }
        Value::Mapping(entries) => Value::Mapping(
            entries
                .iter()
                .map(|entry| Entry {
                    key: entry.key.clone(),
                    key_place: place(&entry.key_place),
                    value: Rc::new(moved(&entry.value, at)),
                })
                .collect(),
        ),
        other => other.clone(),
    };
    Node::new(place(&node.place), value)
}

/// Puts a value where the keys lead, and the mappings on the way that are not there.
fn set(node: &mut Node, keys: &[&str], value: Node, place: &Place) -> Result<(), Refusal> {
    let Some((key, rest)) = keys.split_first() else {
        *node = value;
        return Ok(());
    };
    if matches!(node.value, Value::Null) {
        node.value = Value::Mapping(Vec::new());
    }
    let Value::Mapping(entries) = &mut node.value else {
        let message =
            format!("what stands there in the file has no keys, and so none that is {}", quote(key));
        let help = "set the whole value, as YAML";
        return Err(refusal(place, message, Some(help)));
    };
    if let Some(entry) = entries.iter_mut().find(|entry| entry.key == *key) {
        let mut below = Node::clone(&entry.value);
        set(&mut below, rest, value, place)?;
        if rest.is_empty() {
            entry.key_place = place.clone();
        }
        entry.value = Rc::new(below);
        return Ok(());
    }
    let mut below = Node::new(place.clone(), Value::Null);
    set(&mut below, rest, value, place)?;
    entries.push(Entry { key: (*key).to_owned(), key_place: place.clone(), value: Rc::new(below) });
    Ok(())
}
