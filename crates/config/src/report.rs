//! The text of a [`ConfigError`].

use std::fmt;

use crate::ConfigError;

/// Writes an error for people.
pub(crate) struct Report<'a>(pub(crate) &'a ConfigError);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConfigError { file, problems, omitted } = self.0;
        for (position, problem) in problems.iter().enumerate() {
            if position > 0 {
                f.write_str("\n\n")?;
            }
            if let Some(set) = &problem.set {
                write!(f, "--set {set}: {}", problem.message)?;
            } else if problem.line == 0 {
                write!(f, "{file}: {}", problem.message)?;
            } else {
                write!(f, "{file}:{}:{}: {}", problem.line, problem.column, problem.message)?;
            }
            if let Some(snippet) = &problem.snippet {
                write!(f, "\n{snippet}")?;
            }
            if let Some(help) = &problem.help {
                write!(f, "\n  help: {help}")?;
            }
        }
        match omitted {
            0 => Ok(()),
            1 => f.write_str("\n\nand 1 more mistake"),
            more => write!(f, "\n\nand {more} more mistakes"),
        }
    }
}
