//! Collects mistakes while the sections are read.

use crate::snippet::{Source, without_userinfo};
use crate::tree::Place;
use crate::{ConfigError, ConfigProblem};

/// So many mistakes are told; the rest is counted.
const SHOWN: usize = 25;
/// So many are counted: a hostile file is not worth more.
const COUNTED: usize = 1000;

/// The mistakes found so far.
pub(crate) struct Problems<'a> {
    source: &'a Source,
    found: Vec<ConfigProblem>,
}

impl<'a> Problems<'a> {
    pub(crate) fn new(source: &'a Source) -> Self {
        Self { source, found: Vec::new() }
    }

    /// Adds a mistake at a place.
    pub(crate) fn add(&mut self, place: &Place, message: impl Into<String>, help: Option<String>) {
        if self.found.len() >= COUNTED {
            return;
        }
        let message = message.into();
        self.found.push(match self.source.override_at(place) {
            Some(set) => ConfigProblem { line: 0, column: 0, message, help, snippet: None, set: Some(set) },
            None => {
                let snippet = self.source.snippet(place);
                ConfigProblem { line: place.line, column: place.column, message, help, snippet, set: None }
            }
        });
    }

    /// Adds a mistake of the whole file.
    pub(crate) fn add_for_file(&mut self, message: impl Into<String>, help: Option<String>) {
        let message = message.into();
        self.found.push(ConfigProblem { line: 0, column: 0, message, help, snippet: None, set: None });
    }

    /// The value, where there were no mistakes.
    pub(crate) fn finish<T>(mut self, file: &str, value: Option<T>) -> Result<T, ConfigError> {
        match value {
            Some(value) if self.found.is_empty() => return Ok(value),
            None if self.found.is_empty() => {
                // Every reader that gives up says why; were one to forget, this is better than a panic.
                self.add_for_file("the file cannot be read, for a reason that was not noted", None);
            }
            _ => {}
        }
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        // The cells of a matrix share what they do not set, mistakes included.
        self.found.dedup();
        let omitted = self.found.len().saturating_sub(SHOWN);
        self.found.truncate(SHOWN);
        Err(ConfigError { file: file.to_owned(), problems: self.found, omitted })
    }
}

/// A text from the file as it may stand in a message: quoted, without a login, without control characters, not too
/// long.
pub(crate) fn quote(text: &str) -> String {
    const LONGEST: usize = 80;
    /// So far is looked for the end of a login: a hostile text is not worth more.
    const SEARCHED: usize = 1000;
    let text = without_userinfo(&text.chars().take(SEARCHED).collect::<String>());
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{:?}", format!("{start}…"))
}

/// `a, b or c`, each quoted.
pub(crate) fn alternatives<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// The word that was probably meant, where one is near.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A hostile key may be very long, and the distance takes the product of both lengths.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.replace('-', "_")), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_not_quoted() {
        assert_eq!(quote("https://svc:hunter2@e.org"), "\"https://***********@e.org\"");
        assert!(quote(&"a".repeat(5000)).ends_with("a…\""));
    }

    #[test]
    fn what_is_near_is_found_and_what_is_far_is_not() {
        let known = ["snapshot", "url", "username", "base_url"];
        assert_eq!(nearest("snapshoot", known), Some("snapshot"));
        assert_eq!(nearest("base-url", known), Some("base_url"));
        assert_eq!(nearest("URL", known), Some("url"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest(&"u".repeat(100_000), known), None);
    }
}
