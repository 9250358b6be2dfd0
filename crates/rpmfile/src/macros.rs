//! As much of rpm's macro language as it takes to know the names in a spec file: `%name`, `%{name}`, `%{?name}`,
//! `%{?name:text}`, `%{!?name:text}`, `%%`, `%global`, `%define`, `%undefine`.
//!
//! Shell (`%(…)`), Lua, expressions and built-ins are not run: a text that needs them has no value here. Where a
//! condition cannot be decided, both of its branches count, so a macro may have several values and a text
//! several readings.

use std::collections::BTreeMap;

/// Readings of one text. More than this many are not followed.
const MAX_READINGS: usize = 16;
/// Macros within macros: rpm's own limit is 64.
const MAX_DEPTH: usize = 24;
/// Bytes of one reading: names are short, and each level may double the text.
const MAX_BYTES: usize = 16 << 10;
/// Expansions for one text, all readings together.
const MAX_STEPS: usize = 2_000;

/// The macros that are known, each with the values that it may have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Macros {
    values: BTreeMap<String, Vec<String>>,
}

impl Macros {
    /// Gives a macro a value; one more where it is not certain that the definition is read.
    pub(crate) fn define(&mut self, name: &str, value: &str, certain: bool) {
        let values = self.values.entry(name.to_owned()).or_default();
        if certain {
            values.clear();
        }
        if values.len() < MAX_READINGS && !values.iter().any(|known| known == value) {
            values.push(value.to_owned());
        }
    }

    pub(crate) fn is_defined(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub(crate) fn undefine(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// Every reading of a text; none where it needs what is not known.
    pub(crate) fn readings(&self, text: &str) -> Vec<String> {
        let mut steps = MAX_STEPS;
        self.expand(text, MAX_DEPTH, &mut steps).unwrap_or_default()
    }

    fn expand(&self, text: &str, depth: usize, steps: &mut usize) -> Option<Vec<String>> {
        let mut readings = vec![String::new()];
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            *steps = steps.checked_sub(1)?;
            append(&mut readings, &[rest[..at].to_owned()])?;
            let (values, after) = self.reference(&rest[at + 1..], depth.checked_sub(1)?, steps)?;
            append(&mut readings, &values)?;
            rest = after;
        }
        append(&mut readings, &[rest.to_owned()])?;
        Some(readings)
    }

    /// The values of what follows a `%`, and the text after it.
    fn reference<'a>(
        &self,
        text: &'a str,
        depth: usize,
        steps: &mut usize,
    ) -> Option<(Vec<String>, &'a str)> {
        if let Some(after) = text.strip_prefix('%') {
            return Some((vec!["%".to_owned()], after));
        }
        if let Some(after) = text.strip_prefix('{') {
            let (body, after) = braced(after)?;
            return Some((self.braces(body, depth, steps)?, after));
        }
        let marks = text.len() - text.trim_start_matches(['!', '?']).len();
        let name_length = name_length(&text[marks..]);
        if name_length == 0 {
            return None;
        }
        let (reference, after) = text.split_at(marks + name_length);
        Some((self.braces(reference, depth, steps)?, after))
    }

    /// `name`, `?name`, `!?name:text` and so on.
    fn braces(&self, body: &str, depth: usize, steps: &mut usize) -> Option<Vec<String>> {
        let bare = body.trim_start_matches(['!', '?']);
        let marks = &body[..body.len() - bare.len()];
        let (optional, negated) = (marks.contains('?'), marks.matches('!').count() % 2 == 1);
        let length = name_length(bare);
        let (name, after) = bare.split_at(length);
        let alternative = after.strip_prefix(':');
        if length == 0 || (alternative.is_none() && !after.is_empty()) {
            return None;
        }
        let values = self.values.get(name);
        if !optional {
            let values = values.filter(|_| alternative.is_none())?;
            return self.expand_each(values, depth, steps);
        }
        match (values.is_some() != negated, alternative, values) {
            (false, ..) => Some(vec![String::new()]),
            (true, Some(text), _) => self.expand(text, depth, steps),
            (true, None, Some(values)) => self.expand_each(values, depth, steps),
            (true, None, None) => Some(vec![String::new()]),
        }
    }

    fn expand_each(&self, values: &[String], depth: usize, steps: &mut usize) -> Option<Vec<String>> {
        let mut readings = Vec::new();
        for value in values {
            // A value that cannot be read leaves the others.
            readings.extend(self.expand(value, depth, steps).unwrap_or_default());
        }
        readings.truncate(MAX_READINGS);
        (!readings.is_empty()).then_some(readings)
    }
}

/// Appends each value to each reading.
fn append(readings: &mut Vec<String>, values: &[String]) -> Option<()> {
    let [value] = values else {
        let mut product = Vec::new();
        for reading in readings.iter() {
            for value in values {
                if product.len() < MAX_READINGS && reading.len() + value.len() <= MAX_BYTES {
                    product.push(format!("{reading}{value}"));
                }
            }
        }
        *readings = product;
        return (!readings.is_empty()).then_some(());
    };
    readings.retain(|reading| reading.len() + value.len() <= MAX_BYTES);
    for reading in readings.iter_mut() {
        reading.push_str(value);
    }
    (!readings.is_empty()).then_some(())
}

/// The text up to the brace that closes it, and what follows.
pub(crate) fn braced(text: &str) -> Option<(&str, &str)> {
    let mut depth = 1_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[..at], &text[at + 1..]));
        }
    }
    None
}

/// How many bytes of a macro's name the text begins with.
pub(crate) fn name_length(text: &str) -> usize {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins { text.bytes().take_while(|&b| b.is_ascii_alphanumeric() || b == b'_').count() } else { 0 }
}
