//! Reads the keys of a mapping, and says what is wrong with them.

use std::rc::Rc;

use crate::problems::{Problems, alternatives, nearest, quote};
use crate::tree::{Entry, Node, Place, Value};

/// A key that a mapping may have.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// What it is for: told where it is missing.
    pub(crate) purpose: &'static str,
}

/// Shorthand for tables of keys.
pub(crate) const fn key(name: &'static str, purpose: &'static str) -> Key {
    Key { name, purpose }
}

/// A mapping of the file, with its path in it: `train.repositories.baseos`.
pub(crate) struct Fields<'n> {
    pub(crate) path: String,
    /// The key that introduces the mapping: the place for what it lacks.
    anchor: Place,
    entries: &'n [Entry],
    known: &'static [Key],
    /// Keys that unknown ones were probably meant to be.
    misspelt: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// Takes a node as a mapping with these keys; unknown keys are told at once. `None`, told, where it is
    /// no mapping.
    pub(crate) fn read(
        node: &'n Node,
        path: &str,
        anchor: &Place,
        known: &'static [Key],
        problems: &mut Problems<'_>,
    ) -> Option<Self> {
        let Value::Mapping(entries) = &node.value else {
            let names = alternatives(known.iter().map(|key| key.name));
            problems.add(
                if matches!(node.value, Value::Null) { anchor } else { &node.place },
                format!("{path} must be a mapping, but is {}", kind(node)),
                Some(format!("it may have the keys {names}")),
            );
            return None;
        };
        let mut misspelt = Vec::new();
        for entry in entries {
            if known.iter().any(|key| key.name == entry.key) {
                continue;
            }
            let suggestion = nearest(&entry.key, known.iter().map(|key| key.name));
            let mut message = format!("unknown key {} in {path}", quote(&entry.key));
            let mut help = None;
            match suggestion {
                Some(word) => {
                    message.push_str(&format!("; did you mean {word:?}?"));
                    misspelt.push(word);
                }
                None => {
                    help = Some(format!("known keys are {}", alternatives(known.iter().map(|key| key.name))));
                }
            }
            problems.add(&entry.key_place, message, help);
        }
        Some(Self { path: path.to_owned(), anchor: anchor.clone(), entries, known, misspelt })
    }

    /// The value of a key, with the key's place and path; `None` where the key is not there.
    pub(crate) fn get(&self, name: &str) -> Option<Field<'n>> {
        debug_assert!(self.known.iter().any(|key| key.name == name), "{name} is not in the table");
        self.entries.iter().find(|entry| entry.key == name).map(|entry| Field {
            path: join(&self.path, name),
            key: &entry.key_place,
            node: &entry.value,
        })
    }

    /// The value of a key that has to be there; told where it is not.
    pub(crate) fn require(&self, name: &str, problems: &mut Problems<'_>) -> Option<Field<'n>> {
        let field = self.get(name);
        if field.is_none() && !self.is_misspelt(name) {
            let purpose = self.known.iter().find(|key| key.name == name).map_or("", |key| key.purpose);
            problems.add(&self.anchor, format!("{} lacks the key {name:?}: {purpose}", self.path), None);
        }
        field
    }

    /// Whether a key that is not known was probably meant to be this one: that has been told, and that this
    /// one is missing need not be.
    pub(crate) fn is_misspelt(&self, name: &str) -> bool {
        self.misspelt.contains(&name)
    }

    /// The place of the key that introduces the mapping.
    pub(crate) fn anchor(&self) -> &Place {
        &self.anchor
    }
}

/// One value, with where it is and what it is called.
pub(crate) struct Field<'n> {
    pub(crate) path: String,
    pub(crate) key: &'n Place,
    pub(crate) node: &'n Rc<Node>,
}

impl<'n> Field<'n> {
    /// Where the value is written, or its key where it has none.
    pub(crate) fn place(&self) -> &'n Place {
        if matches!(self.node.value, Value::Null) { self.key } else { &self.node.place }
    }

    /// The value as a mapping with known keys.
    pub(crate) fn fields(&self, known: &'static [Key], problems: &mut Problems<'_>) -> Option<Fields<'n>> {
        Fields::read(self.node, &self.path, self.key, known, problems)
    }

    /// The value as a mapping whose keys the file chooses.
    pub(crate) fn entries(&self, of: &str, problems: &mut Problems<'_>) -> Option<Vec<Field<'n>>> {
        let Value::Mapping(entries) = &self.node.value else {
            let message = format!("{} must be a mapping of {of}, but is {}", self.path, kind(self.node));
            problems.add(self.place(), message, None);
            return None;
        };
        Some(
            entries
                .iter()
                .map(|entry| Field {
                    path: join(&self.path, &entry.key),
                    key: &entry.key_place,
                    node: &entry.value,
                })
                .collect(),
        )
    }

    /// The last part of the path: the key as it is written in the file.
    pub(crate) fn name(&self, parent: &str) -> &str {
        self.path.strip_prefix(parent).and_then(|rest| rest.strip_prefix('.')).unwrap_or(&self.path)
    }

    /// The value as a sequence.
    pub(crate) fn items(&self, of: &str, problems: &mut Problems<'_>) -> Option<Vec<Field<'n>>> {
        let Value::Sequence(items) = &self.node.value else {
            let message = format!("{} must be a list of {of}, but is {}", self.path, kind(self.node));
            let help = match &self.node.value {
                Value::Scalar { text, .. } if text.len() <= 40 && !text.contains("${") => {
                    Some(format!("for a list of one write [{text}]"))
                }
                _ => None,
            };
            problems.add(self.place(), message, help);
            return None;
        };
        Some(
            items
                .iter()
                .enumerate()
                .map(|(position, node)| Field {
                    path: format!("{}[{position}]", self.path),
                    key: &node.place,
                    node,
                })
                .collect(),
        )
    }

    /// The value as text, exactly as it is written: `1.10` is `1.10`, `true` is `true`. `what` says what
    /// it is, with its article.
    pub(crate) fn text(&self, what: &str, problems: &mut Problems<'_>) -> Option<&'n str> {
        let text = self.raw_text(what, problems)?;
        if text.contains("${") {
            problems.add(
                self.place(),
                format!("{} cannot take `${{…}}`", self.path),
                Some(
                    "only `username`, `password`, `vault_password`, `passphrase` and `pin` are read from the \
                     environment"
                        .to_owned(),
                ),
            );
            return None;
        }
        Some(text)
    }

    /// As [`Field::text`], with `${…}` left in it.
    pub(crate) fn raw_text(&self, what: &str, problems: &mut Problems<'_>) -> Option<&'n str> {
        match &self.node.value {
            Value::Scalar { text, .. } if !text.is_empty() => Some(text),
            Value::Null | Value::Scalar { .. } => {
                problems.add(self.place(), format!("{} is empty: it must be {what}", self.path), None);
                None
            }
            _ => {
                let message = format!("{} must be {what}, but is {}", self.path, kind(self.node));
                problems.add(self.place(), message, None);
                None
            }
        }
    }

    /// The value as `true` or `false`.
    pub(crate) fn boolean(&self, problems: &mut Problems<'_>) -> Option<bool> {
        match &self.node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => {
                let message = format!("{} must be `true` or `false`, but is {}", self.path, kind(self.node));
                problems.add(self.place(), message, None);
                None
            }
        }
    }

    /// The value as one of some words.
    pub(crate) fn word<T: Copy>(&self, words: &[(&str, T)], problems: &mut Problems<'_>) -> Option<T> {
        let allowed = || alternatives(words.iter().map(|(word, _)| *word));
        let Value::Scalar { text, .. } = &self.node.value else {
            let message = format!("{} must be {}, but is {}", self.path, allowed(), kind(self.node));
            problems.add(self.place(), message, None);
            return None;
        };
        let found = words.iter().find(|(word, _)| word == text).map(|(_, value)| *value);
        if found.is_none() {
            let mut message = format!("{} cannot be {}", self.path, quote(text));
            if let Some(word) = nearest(text, words.iter().map(|(word, _)| *word)) {
                message.push_str(&format!("; did you mean {word:?}?"));
            }
            problems.add(self.place(), message, Some(format!("allowed: {}", allowed())));
        }
        found
    }

    /// The value as a whole number within limits.
    pub(crate) fn number(
        &self,
        limits: std::ops::RangeInclusive<u32>,
        problems: &mut Problems<'_>,
    ) -> Option<u32> {
        let number = match &self.node.value {
            Value::Scalar { text, plain: true } if text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().ok().filter(|number| limits.contains(number))
            }
            _ => None,
        };
        if number.is_none() {
            problems.add(
                self.place(),
                format!(
                    "{} must be a whole number from {} to {}, but is {}",
                    self.path,
                    limits.start(),
                    limits.end(),
                    kind(self.node)
                ),
                None,
            );
        }
        number
    }

    /// The value as a name of some kind, checked by `parse`.
    pub(crate) fn parsed<T, E: std::fmt::Display>(
        &self,
        what: &str,
        problems: &mut Problems<'_>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(what, problems)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                problems.add(self.place(), format!("{}: {error}", self.path), None);
                None
            }
        }
    }

    /// The value as a list of names, each once.
    pub(crate) fn list<T: PartialEq, E: std::fmt::Display>(
        &self,
        what: (&str, &str),
        problems: &mut Problems<'_>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let (one, many) = what;
        let items = self.items(many, problems)?;
        let total = items.len();
        let mut values = Vec::new();
        for item in items {
            let Some(value) = item.parsed(one, problems, &parse) else { continue };
            if values.contains(&value) {
                problems.add(item.place(), format!("{} repeats an earlier one", item.path), None);
            } else {
                values.push(value);
            }
        }
        (values.len() == total).then_some(values)
    }
}

fn join(path: &str, name: &str) -> String {
    // The path of the root is a phrase, not a prefix.
    if path == ROOT { name.to_owned() } else { format!("{path}.{name}") }
}

/// The path of the outermost mapping.
pub(crate) const ROOT: &str = "the configuration";

/// What a node is, in words.
pub(crate) fn kind(node: &Node) -> String {
    match &node.value {
        Value::Null => "empty".to_owned(),
        Value::Scalar { text, .. } => quote(text),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) => "a mapping".to_owned(),
    }
}
