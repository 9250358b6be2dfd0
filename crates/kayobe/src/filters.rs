//! Filters, tests and methods that configurations use, as Ansible and Jinja have them. Others are refused by name.

use regex::Regex;

use crate::Value;
use crate::template::MAX_TEXT;

/// What stands between the parentheses.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) positional: Vec<Value>,
    pub(crate) named: Vec<(String, Value)>,
}

impl Arguments {
    /// An argument by its place or name.
    fn get(&self, index: usize, name: &str) -> Option<&Value> {
        let named = || self.named.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        self.positional.get(index).or_else(named)
    }

    fn text(&self, index: usize, name: &str, of: &str) -> Result<String, String> {
        let value = self.get(index, name).ok_or_else(|| format!("`{of}` lacks its argument `{name}`"))?;
        text(value, of)
    }

    /// Refuses what is not known: it would change what comes out.
    fn only(&self, positional: usize, named: &[&str], of: &str) -> Result<(), String> {
        let unknown = self.named.iter().find(|(name, _)| !named.contains(&name.as_str()));
        if let Some((name, _)) = unknown {
            return Err(format!("the argument `{name}` of `{of}` is not known here"));
        }
        if self.positional.len() > positional {
            return Err(format!("`{of}` has more arguments than are known here"));
        }
        Ok(())
    }
}

fn text(value: &Value, of: &str) -> Result<String, String> {
    value.text().ok_or_else(|| format!("`{of}` needs a text, and has {}", value.kind()))
}

fn list(value: Value, of: &str) -> Result<Vec<Value>, String> {
    match value {
        Value::List(items) => Ok(items),
        Value::Map(entries) => Ok(entries.into_iter().map(|(key, _)| Value::Text(key)).collect()),
        Value::Text(text) => Ok(text.chars().map(|c| Value::Text(c.to_string())).collect()),
        value => Err(format!("`{of}` needs a list, and has {}", value.kind())),
    }
}

/// Applies a filter.
pub(crate) fn apply(name: &str, input: Value, arguments: &Arguments) -> Result<Value, String> {
    match name.trim_start_matches("ansible.builtin.") {
        "bool" => {
            arguments.only(0, &[], name)?;
            Ok(to_bool(input))
        }
        "string" => text(&input, name).map(Value::Text),
        "int" => to_int(&input, arguments),
        "lower" => text(&input, name).map(|text| Value::Text(text.to_lowercase())),
        "upper" => text(&input, name).map(|text| Value::Text(text.to_uppercase())),
        "trim" => {
            arguments.only(0, &[], name)?;
            text(&input, name).map(|text| Value::Text(text.trim().to_owned()))
        }
        "length" | "count" => length(&input, name),
        "first" => ends(list(input, name)?.into_iter().next(), name),
        "last" => ends(list(input, name)?.into_iter().next_back(), name),
        "list" => list(input, name).map(Value::List),
        "join" => join(list(input, name)?, arguments),
        "split" => split(&input, arguments, name),
        "replace" => replace(&input, arguments, name),
        "regex_replace" => regex_replace(&input, arguments),
        "ternary" => ternary(&input, arguments),
        "combine" => combine(input, arguments),
        "mandatory" => Ok(input),
        other => Err(format!("the filter `{other}` is not known here")),
    }
}

/// Ansible's own rule: some words are true, and all else is not.
fn to_bool(value: Value) -> Value {
    let is_true = match value {
        Value::None => return Value::None,
        Value::Bool(value) => value,
        Value::Int(number) => number == 1,
        #[expect(clippy::float_cmp, reason = "as Python compares")]
        Value::Float(number) => number == 1.0,
        Value::Text(text) => matches!(text.to_lowercase().as_str(), "yes" | "on" | "1" | "true"),
        Value::Omit | Value::List(_) | Value::Map(_) => false,
    };
    Value::Bool(is_true)
}

fn to_int(value: &Value, arguments: &Arguments) -> Result<Value, String> {
    arguments.only(1, &["default"], "int")?;
    let number = match value {
        Value::Int(number) => Some(*number),
        Value::Bool(value) => Some(i64::from(*value)),
        #[expect(clippy::cast_possible_truncation, reason = "what Python's int() does")]
        Value::Float(number) if number.abs() < 1e15 => Some(number.trunc() as i64),
        Value::Text(text) => match text.trim().parse::<i64>() {
            Ok(number) => Some(number),
            #[expect(clippy::cast_possible_truncation, reason = "what Jinja's int does with a text like 4.2")]
            Err(_) => {
                text.trim().parse::<f64>().ok().filter(|number| number.abs() < 1e15).map(|n| n.trunc() as i64)
            }
        },
        _ => None,
    };
    Ok(number.map(Value::Int).or_else(|| arguments.get(0, "default").cloned()).unwrap_or(Value::Int(0)))
}

fn length(value: &Value, name: &str) -> Result<Value, String> {
    let length = match value {
        Value::Text(text) => text.chars().count(),
        Value::List(items) => items.len(),
        Value::Map(entries) => entries.len(),
        value => return Err(format!("`{name}` needs a text or a list, and has {}", value.kind())),
    };
    i64::try_from(length).map(Value::Int).map_err(|_| format!("`{name}` counts too many"))
}

fn ends(item: Option<Value>, name: &str) -> Result<Value, String> {
    item.ok_or_else(|| format!("`{name}` of an empty list"))
}

fn join(items: Vec<Value>, arguments: &Arguments) -> Result<Value, String> {
    arguments.only(1, &["d"], "join")?;
    let between = match arguments.get(0, "d") {
        None => String::new(),
        Some(value) => text(value, "join")?,
    };
    let texts: Vec<String> = items.iter().map(|item| text(item, "join")).collect::<Result<_, _>>()?;
    Ok(Value::Text(texts.join(&between)))
}

fn split(input: &Value, arguments: &Arguments, name: &str) -> Result<Value, String> {
    arguments.only(1, &["sep"], name)?;
    let input = text(input, name)?;
    let parts: Vec<Value> = match arguments.get(0, "sep") {
        None | Some(Value::None) => {
            input.split_whitespace().map(|part| Value::Text(part.to_owned())).collect()
        }
        Some(separator) => {
            let separator = text(separator, name)?;
            if separator.is_empty() {
                return Err(format!("`{name}` has an empty separator"));
            }
            input.split(&separator).map(|part| Value::Text(part.to_owned())).collect()
        }
    };
    Ok(Value::List(parts))
}

fn replace(input: &Value, arguments: &Arguments, name: &str) -> Result<Value, String> {
    arguments.only(2, &["old", "new"], name)?;
    let (old, new) = (arguments.text(0, "old", name)?, arguments.text(1, "new", name)?);
    if old.is_empty() {
        return Err(format!("`{name}` of an empty text"));
    }
    bounded(text(input, name)?.replace(&old, &new), name)
}

fn bounded(text: String, name: &str) -> Result<Value, String> {
    if text.len() > MAX_TEXT {
        return Err(format!("`{name}` makes more than {MAX_TEXT} bytes"));
    }
    Ok(Value::Text(text))
}

fn pattern(pattern: &str, of: &str) -> Result<Regex, String> {
    Regex::new(pattern)
        .map_err(|_| format!("the pattern {pattern:?} of `{of}` is not one that is known here"))
}

fn regex_replace(input: &Value, arguments: &Arguments) -> Result<Value, String> {
    let name = "regex_replace";
    arguments.only(2, &["pattern", "replacement"], name)?;
    let pattern = pattern(&arguments.text(0, "pattern", name)?, name)?;
    let replacement = match arguments.get(1, "replacement") {
        None => String::new(),
        Some(value) => text(value, name)?,
    };
    bounded(pattern.replace_all(&text(input, name)?, groups(&replacement)?.as_str()).into_owned(), name)
}

/// A replacement as Python writes it, with `\1`, as regex has it, with `${1}`.
fn groups(replacement: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek().copied()) {
            ('$', _) => out.push_str("$$"),
            ('\\', Some('\\')) => {
                chars.next();
                out.push('\\');
            }
            ('\\', Some(digit @ '1'..='9')) => {
                chars.next();
                if chars.peek().is_some_and(char::is_ascii_digit) {
                    return Err("a replacement with a group above 9 is not known here".to_owned());
                }
                out.push_str(&format!("${{{digit}}}"));
            }
            ('\\', _) => return Err(format!("the replacement {replacement:?} is not known here")),
            _ => out.push(c),
        }
    }
    Ok(out)
}

fn ternary(input: &Value, arguments: &Arguments) -> Result<Value, String> {
    arguments.only(3, &["true_val", "false_val", "none_val"], "ternary")?;
    let lacks = || "`ternary` takes two values".to_owned();
    match (input, arguments.get(2, "none_val")) {
        (Value::None, Some(value)) if *value != Value::None => Ok(value.clone()),
        _ if input.is_true() => arguments.get(0, "true_val").cloned().ok_or_else(lacks),
        _ => arguments.get(1, "false_val").cloned().ok_or_else(lacks),
    }
}

fn combine(input: Value, arguments: &Arguments) -> Result<Value, String> {
    arguments.only(usize::MAX, &[], "combine")?;
    let Value::Map(mut entries) = input else {
        return Err(format!("`combine` needs mappings, and has {}", input.kind()));
    };
    for other in &arguments.positional {
        let Value::Map(other) = other else {
            return Err(format!("`combine` needs mappings, and has {}", other.kind()));
        };
        for (key, value) in other {
            match entries.iter_mut().find(|(known, _)| known == key) {
                Some((_, known)) => *known = value.clone(),
                None => entries.push((key.clone(), value.clone())),
            }
        }
    }
    Ok(Value::Map(entries))
}

/// Applies a test.
pub(crate) fn test(name: &str, value: &Value, arguments: &Arguments) -> Result<bool, String> {
    match name.trim_start_matches("ansible.builtin.") {
        "none" => Ok(*value == Value::None),
        "string" => Ok(matches!(value, Value::Text(_))),
        "number" => Ok(matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_))),
        "mapping" => Ok(matches!(value, Value::Map(_))),
        "sequence" => Ok(matches!(value, Value::List(_) | Value::Text(_) | Value::Map(_))),
        "true" => Ok(*value == Value::Bool(true)),
        "false" => Ok(*value == Value::Bool(false)),
        "match" => {
            arguments.only(1, &["pattern"], name)?;
            let wanted = arguments.text(0, "pattern", name)?;
            Ok(pattern(&format!("^(?:{wanted})"), name)?.is_match(&text(value, name)?))
        }
        "search" => {
            arguments.only(1, &["pattern"], name)?;
            Ok(pattern(&arguments.text(0, "pattern", name)?, name)?.is_match(&text(value, name)?))
        }
        other => Err(format!("the test `{other}` is not known here")),
    }
}

/// Calls a method of Python's.
pub(crate) fn method(name: &str, value: &Value, arguments: &Arguments) -> Result<Value, String> {
    match (name, value) {
        ("split", Value::Text(_)) => split(value, arguments, name),
        ("replace", Value::Text(_)) => replace(value, arguments, name),
        ("lower", Value::Text(text)) => Ok(Value::Text(text.to_lowercase())),
        ("upper", Value::Text(text)) => Ok(Value::Text(text.to_uppercase())),
        ("strip", Value::Text(text)) => {
            arguments.only(0, &[], name)?;
            Ok(Value::Text(text.trim().to_owned()))
        }
        ("startswith", Value::Text(text)) => {
            Ok(Value::Bool(text.starts_with(&arguments.text(0, "prefix", name)?)))
        }
        ("endswith", Value::Text(text)) => {
            Ok(Value::Bool(text.ends_with(&arguments.text(0, "suffix", name)?)))
        }
        (name, value) => Err(format!("the method `{name}` of {} is not known here", value.kind())),
    }
}
