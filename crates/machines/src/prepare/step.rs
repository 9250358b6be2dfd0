//! One step: a script that checks and applies.

use std::time::Duration;

use drivetrain_host::{Ending, Script};

use super::Variables;

const COMMON: &str = include_str!("scripts/common.sh");
pub(crate) const GROW: &str = include_str!("scripts/grow.sh");
pub(crate) const REPOSITORIES: &str = include_str!("scripts/repositories.sh");
pub(crate) const SYNC: &str = include_str!("scripts/sync.sh");
pub(crate) const PACKAGES: &str = include_str!("scripts/packages.sh");
pub(crate) const KERNEL: &str = include_str!("scripts/kernel.sh");
pub(crate) const BOOT: &str = include_str!("scripts/boot.sh");
pub(crate) const EXEC: &str = include_str!("scripts/exec.sh");

/// `dnf` may wait for a slow mirror, and a distribution may be large.
const DEADLINE: Duration = Duration::from_secs(3600);

/// How a script's words for us begin.
const WORD: &str = "drivetrain: ";
/// How many lines of what else was said go into an error.
const LAST_LINES: usize = 12;

/// A step of the preparation.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// What it does, as the beginning of a sentence.
    pub(crate) name: String,
    text: &'static str,
    variables: Variables,
}

impl Step {
    pub(crate) fn new<const N: usize>(
        name: impl Into<String>,
        text: &'static str,
        variables: [(&str, String); N],
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { name: name.into(), text, variables }
    }

    /// The script, calling one of its two functions.
    pub(crate) fn script(&self, function: &str) -> Script {
        let mut script = Script::new(format!("{COMMON}\n{}\n{function}\n", self.text));
        script.environment = self.variables.clone();
        // Messages that are compared and shown.
        script.environment.insert("LC_ALL".to_owned(), "C.UTF-8".to_owned());
        script.deadline = Some(DEADLINE);
        script
    }
}

/// How a step stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Done: how that shows.
    Done(String),
    /// Not done: what is missing.
    ToDo(String),
    /// It cannot be done, or even checked.
    Failed(String),
}

/// What a script said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    word: Option<String>,
    lines: Vec<String>,
}

impl Said {
    pub(crate) fn take(&mut self, line: &str) {
        if let Some(word) = line.strip_prefix(WORD) {
            self.word = Some(word.to_owned());
        } else if !line.trim().is_empty() {
            self.lines.push(line.to_owned());
            let begin = self.lines.len().saturating_sub(LAST_LINES);
            self.lines.drain(..begin);
        }
    }

    pub(crate) fn state(&self, ending: Ending, function: &str) -> State {
        let word = self.word.as_deref().unwrap_or_default();
        if let (Some(because), Ending::Exited(0)) = (word.strip_prefix("done: "), ending) {
            return State::Done(because.to_owned());
        }
        if let (Some(why), Ending::Exited(10)) = (word.strip_prefix("to do: "), ending) {
            return State::ToDo(why.to_owned());
        }
        if (function, ending) == ("apply", Ending::Exited(0)) {
            return State::Done(String::new());
        }
        let mut why = match word.strip_prefix("failed: ") {
            Some(why) => why.to_owned(),
            None => format!("it {ending}"),
        };
        for line in &self.lines {
            why.push_str("\n  ");
            why.push_str(line);
        }
        State::Failed(why)
    }
}
