//! What is run on the machine for us, beside the jobs: small shell programs, with their values.

use std::fmt::Write;

use super::quote::quote;

/// Before all of them.
const COMMON: &str = include_str!("remote/common.sh");
/// Which processes a job has, and their end.
const TREE: &str = include_str!("remote/tree.sh");

/// A shell program for the machine.
///
/// It goes there through the pipe, values and all: what the machine's list of processes shows is the same for every
/// program, and says nothing.
#[derive(Debug, Clone)]
pub(super) struct Program {
    values: String,
    body: String,
}

impl Program {
    pub(super) fn new(body: &str) -> Self {
        Self { values: String::new(), body: body.to_owned() }
    }

    /// A program that knows the processes of a job.
    pub(super) fn with_tree(body: &str) -> Self {
        Self { values: String::new(), body: format!("{TREE}{body}") }
    }

    /// Sets a variable of it.
    #[must_use]
    pub(super) fn set(mut self, name: &str, value: impl ToString) -> Self {
        // Writing to a string does not fail.
        let _ = writeln!(self.values, "{name}={}", quote(&value.to_string()));
        self
    }

    /// All of it, as a file to be given to a shell.
    pub(super) fn text(&self) -> String {
        format!("{COMMON}{}{}", self.values, self.body)
    }

    /// All of it, saying `greeting` on a line before anything else.
    pub(super) fn greeting(&self, greeting: &str) -> String {
        format!("echo {}\n{}", quote(greeting), self.text())
    }
}
