//! What a person is told when a file is refused.

use std::fmt;

use crate::report::Report;

/// Why a configuration file was refused: every mistake found in it, in the order of its lines.
///
/// `Display` is plain text for a terminal or a log: for each mistake a line `file:line:column: message`, the
/// line of the file with the place marked, and help where there is some. Secrets that stand in the file are
/// blotted out of the lines shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub(crate) file: String,
    pub(crate) problems: Vec<ConfigProblem>,
    pub(crate) omitted: usize,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The line, from 1; 0 where the file as a whole is meant, or a `--set`.
    pub line: usize,
    /// The column in characters, from 1; 0 where the file as a whole is meant.
    pub column: usize,
    /// What is wrong, in a fragment without a full stop.
    pub message: String,
    /// What to do, or what is allowed.
    pub help: Option<String>,
    pub(crate) snippet: Option<String>,
    /// The `--set` that it is in, where it is in none of the file's lines.
    pub(crate) set: Option<String>,
}

impl ConfigError {
    /// A mistake of the whole file.
    pub(crate) fn of_file(file: &str, message: impl Into<String>, help: Option<&str>) -> Self {
        let help = help.map(str::to_owned);
        let message = message.into();
        let problem = ConfigProblem { line: 0, column: 0, message, help, snippet: None, set: None };
        Self { file: file.to_owned(), problems: vec![problem], omitted: 0 }
    }

    /// The name of the file.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The mistakes in the order of the file's lines; at least one.
    #[must_use]
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Report(self).fmt(f)
    }
}

impl std::error::Error for ConfigError {}
