//! The line that a mistake stands in, with the place marked.

use std::ops::Range;

use crate::tree::{Node, Place, Value};

/// A key that holds one of these words has a value that must not be shown, even where it should not be in
/// the file at all: `password`, `passwort`, `api_token`.
const SECRET_WORDS: [&str; 5] = ["pass", "pwd", "token", "secret", "credential"];
/// A longer line is cut, the place left in view.
const WIDTH: usize = 120;

/// The text of the file with its secrets blotted out.
pub(crate) struct Source {
    shown: String,
    /// Where the lines begin that are not the file's.
    overrides: usize,
}

impl Source {
    /// A text that was read: the keys of what was read from it say what is secret.
    pub(crate) fn of_trees(text: &str, roots: &[&Node]) -> Self {
        let mut ranges = Vec::new();
        lines(text, |line, offset| userinfo_of_line(line, offset, &mut ranges));
        for root in roots {
            secrets_of_node(root, false, &mut ranges);
        }
        Self { shown: blot(text, &ranges), overrides: usize::MAX }
    }

    /// From here on the lines are overrides.
    pub(crate) fn with_overrides_from(self, overrides: usize) -> Self {
        Self { overrides, ..self }
    }

    /// The override that a place is in, where it is in one.
    pub(crate) fn override_at(&self, place: &Place) -> Option<String> {
        if place.bytes.start < self.overrides {
            return None;
        }
        let start = self.shown.get(..place.bytes.start)?.rfind('\n').map_or(0, |position| position + 1);
        let line = self.shown.get(start..)?.split('\n').next()?;
        let cut = line.char_indices().nth(WIDTH).map_or(line.len(), |(at, _)| at);
        let rest = if cut < line.len() { "…" } else { "" };
        Some(format!("{}{rest}", &line[..cut]))
    }

    /// A text that is no YAML: what looks like a key says what is secret, and the rest of its line with it.
    pub(crate) fn of_text(text: &str) -> Self {
        let mut ranges = Vec::new();
        lines(text, |line, offset| {
            userinfo_of_line(line, offset, &mut ranges);
            secrets_of_line(line, offset, &mut ranges);
        });
        Self { shown: blot(text, &ranges), overrides: usize::MAX }
    }

    /// The lines to show for a place.
    pub(crate) fn snippet(&self, place: &Place) -> Option<String> {
        let before = self.shown.get(..place.bytes.start)?;
        let start = before.rfind(['\n', '\r']).map_or(0, |position| position + 1);
        let line = self.shown[start..].split(['\n', '\r']).next().unwrap_or("").trim_end();
        let column = self.shown[start..place.bytes.start].chars().count();
        let marked = self.shown.get(place.bytes.clone()).unwrap_or("");
        let marked = marked.split(['\n', '\r']).next().unwrap_or("").trim_end().chars().count();

        let skipped = if line.chars().count() > WIDTH { column.saturating_sub(WIDTH / 2) } else { 0 };
        let shown: Vec<char> = line.chars().skip(skipped).take(WIDTH).collect();
        let column = column - skipped;
        let marks = marked.min(shown.len().saturating_sub(column)).max(1);
        // A tab stays a tab under itself, and nothing from the file may steer the terminal.
        let pad: String =
            (0..column).map(|position| if shown.get(position) == Some(&'\t') { '\t' } else { ' ' }).collect();
        let shown: String =
            shown.iter().map(|&c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        let number = place.line.to_string();
        let gutter = " ".repeat(number.len());
        Some(format!("  {number} | {shown}\n  {gutter} | {pad}{}", "^".repeat(marks)))
    }
}

/// A text without the `user:password` of the URLs in it.
pub(crate) fn without_userinfo(text: &str) -> String {
    let mut ranges = Vec::new();
    lines(text, |line, offset| userinfo_of_line(line, offset, &mut ranges));
    blot(text, &ranges)
}

fn lines(text: &str, mut each: impl FnMut(&str, usize)) {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        each(line, offset);
        offset += line.len();
    }
}

/// Replaces each character of the ranges by one of the same length in bytes, so that every place stays true.
fn blot(text: &str, ranges: &[Range<usize>]) -> String {
    let mut hidden = vec![false; text.len()];
    for range in ranges {
        if let Some(flags) = hidden.get_mut(range.clone()) {
            flags.fill(true);
        }
    }
    text.char_indices()
        .map(|(at, c)| match c.len_utf8() {
            _ if !hidden[at] || matches!(c, '\n' | '\r') => c,
            1 => '*',
            2 => '\u{b7}',
            3 => '\u{2022}',
            _ => '\u{1f7c4}',
        })
        .collect()
}

fn secrets_of_node(node: &Node, secret: bool, ranges: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Mapping(entries) => {
            for entry in entries {
                let secret = secret || is_secret(&entry.key);
                secrets_of_node(&entry.value, secret, ranges);
            }
        }
        Value::Sequence(items) => items.iter().for_each(|item| secrets_of_node(item, secret, ranges)),
        Value::Scalar { text, .. } if secret && !is_reference(text) => ranges.push(node.place.bytes.clone()),
        Value::Null | Value::Scalar { .. } => {}
    }
}

/// Whether the value of a key must not be shown.
pub(crate) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// Whether a text is `${NAME}`, and so no secret itself.
fn is_reference(text: &str) -> bool {
    text.strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

/// The `user:password` of `scheme://user:password@host`.
fn userinfo_of_line(line: &str, offset: usize, ranges: &mut Vec<Range<usize>>) {
    for (scheme, _) in line.match_indices("://") {
        let start = scheme + 3;
        let authority = line[start..].split(['/', '?', '#', ' ', '"', '\'', '\n']).next().unwrap_or("");
        if let Some(at) = authority.rfind('@') {
            ranges.push(offset + start..offset + start + at);
        }
    }
}

/// What follows `password:` up to the end of the line.
fn secrets_of_line(line: &str, offset: usize, ranges: &mut Vec<Range<usize>>) {
    let lower = line.to_ascii_lowercase();
    let mut first: Option<usize> = None;
    for word in SECRET_WORDS {
        for (found, _) in lower.match_indices(word) {
            let rest = line[found + word.len()..]
                .trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-'))
                .trim_start_matches(['"', '\'', ' ', '\t']);
            let Some(value) = rest.strip_prefix([':', '=']) else { continue };
            let value = value.trim_start();
            let start = line.len() - value.len();
            let bare = value.trim_start_matches(['"', '\'']).split(['"', '\'', ',', ' ', '\n', '\r']).next();
            let bare = bare.unwrap_or("").trim_end_matches('}');
            if is_reference(&format!("{bare}}}")) {
                continue;
            }
            first = Some(first.map_or(start, |first| first.min(start)));
            // The range goes to the end of the line: a later match of this word adds nothing.
            break;
        }
    }
    if let Some(start) = first {
        ranges.push(offset + start..offset + line.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match crate::tree::read(text) {
            Ok(Some(root)) => Source::of_trees(text, &[&root]).shown,
            _ => Source::of_text(text).shown,
        }
    }

    #[test]
    fn secrets_are_blotted_out_and_nothing_moves() {
        for text in [
            "password: hunter2\n",
            "passwort: hunter2\n",
            "a: {password: \"hunter2\", b: 1}\n",
            "a: {'password' : 'hunter2 hunter2'}\n",
            "password: >\n  hunter2\n  hunter2\n",
            "password: hunter2 : [\n",
            "url: https://svc:hunter2@example.com/x\n",
            "url: https://svc:hunter2@\n",
            "api_token: [hunter2",
            "api_token: [hunter2, {x: hunter2}]",
            "Password: hünter2 hunter2 密\n",
            "Password: hünter2 hunter2 密 : [\n",
        ] {
            let result = shown(text);
            assert!(!result.contains("hunter2") && !result.contains('密'), "{result}");
            assert_eq!(result.len(), text.len(), "{result}");
            assert_eq!(result.lines().count(), text.lines().count());
        }
    }

    #[test]
    fn references_stay_readable() {
        for text in ["password: ${ARK}\n", "a: {password: \"${ARK}\", b: 1}\n", "a: {password: ${ARK}}"] {
            assert_eq!(shown(text), text);
            assert_eq!(Source::of_text(text).shown, text);
        }
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}needle{}", "x".repeat(5000), "y".repeat(5000));
        let place = Place { line: 1, column: 5001, bytes: 5000..5006 };
        let snippet = Source::of_text(&text).snippet(&place).unwrap();
        assert!(snippet.contains("needle") && snippet.contains("^^^^^^") && snippet.len() < 400, "{snippet}");
    }
}
