//! What went wrong first, and where.

use drivetrain_model::ComponentName;
use serde::{Deserialize, Serialize};

use crate::Excerpt;

/// The first error of a component, or of the run where no component is to blame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstError {
    /// The component; absent where the run failed otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentName>,
    /// The file that the error is in, as the tool that found it named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// The log: relative to the run's directory, or the whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// The part of it that the error is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<Excerpt>,
}

impl FirstError {
    /// Takes apart what the journal has: `drivers/x.c:12: what is wrong`, with file and line where there is one.
    #[must_use]
    pub fn parse(component: Option<ComponentName>, text: &str) -> Self {
        let (file, line, message) = match place(text) {
            Some((file, line, message)) => (Some(file.to_owned()), line, message),
            None => (None, None, text),
        };
        Self { component, file, line, message: message.to_owned(), log: None, excerpt: None }
    }

    /// `drivers/x.c:12`
    #[must_use]
    pub fn place(&self) -> Option<String> {
        let file = self.file.as_ref()?;
        Some(self.line.map_or_else(|| file.clone(), |line| format!("{file}:{line}")))
    }
}

/// The file and the line at the beginning of a message.
fn place(text: &str) -> Option<(&str, Option<u32>, &str)> {
    let (head, message) = text.split_once(": ")?;
    let (file, line) = match head.rsplit_once(':') {
        Some((file, line)) => (file, Some(line.parse().ok()?)),
        None => (head, None),
    };
    // Words before a colon are no file; a file has an ending, and no spaces.
    let name = file.rsplit('/').next().unwrap_or_default();
    let is_file = name.contains('.') && !name.ends_with('.') && !file.contains(char::is_whitespace);
    is_file.then_some((file, line, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Option<String>, String) {
        let error = FirstError::parse(None, text);
        (error.place(), error.message)
    }

    #[test]
    fn file_and_line_are_taken_from_the_message() {
        let both = |place: &str, message: &str| (Some(place.to_owned()), message.to_owned());
        assert_eq!(parsed("x-1.0/a.c:8: no member: y"), both("x-1.0/a.c:8", "no member: y"));
        assert_eq!(parsed("drivers/x.ko: \"y\" undefined!"), both("drivers/x.ko", "\"y\" undefined!"));
        for text in ["a.b c: d", "hello did not build", "component x needs y: z", "disk full", "e.g.: x", ""]
        {
            assert_eq!(parsed(text), (None, text.to_owned()));
        }
    }
}
