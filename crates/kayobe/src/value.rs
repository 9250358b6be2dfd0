//! Values as Ansible has them: what YAML and templates come to.

use std::fmt;

/// A value of a variable.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// `null`, or nothing.
    None,
    /// `omit`: as if what it is for had not been written.
    Omit,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A mapping, in the order that it was written in.
    Map(Vec<(String, Value)>),
}

impl fmt::Debug for Value {
    /// What it is, not what it says: it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl Value {
    /// What it is, in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "empty",
            Self::Omit => "left out",
            Self::Bool(_) => "true or false",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }

    /// The text that it becomes within a text; `None` for what has no plain one.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Self::None => Some(String::new()),
            Self::Bool(true) => Some("True".to_owned()),
            Self::Bool(false) => Some("False".to_owned()),
            Self::Int(number) => Some(number.to_string()),
            // As Python writes it: 24.0 keeps its zero.
            Self::Float(number) => Some(format!("{number:?}")),
            Self::Text(text) => Some(text.clone()),
            Self::Omit | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// Whether `if` takes it for true.
    #[must_use]
    pub fn is_true(&self) -> bool {
        match self {
            Self::None => false,
            Self::Omit => true,
            Self::Bool(value) => *value,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(entries) => !entries.is_empty(),
        }
    }

    /// What a mapping has under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// As `==` compares: numbers and truths by what they count for.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        match (self.number(), other.number()) {
            #[expect(clippy::float_cmp, reason = "as Python compares")]
            (Some(one), Some(other)) => one == other,
            _ => self == other,
        }
    }

    /// How large it is: bytes of texts, and something for each element.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + 1,
            Self::List(items) => items.iter().fold(1, |sum, item| sum + item.weight()),
            Self::Map(entries) => {
                entries.iter().fold(1, |sum, (key, value)| sum + key.len() + value.weight())
            }
            _ => 1,
        }
    }

    /// The number that it counts for.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Bool(value) => Some(f64::from(u8::from(*value))),
            #[expect(clippy::cast_precision_loss, reason = "numbers of a configuration are small")]
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }
}
