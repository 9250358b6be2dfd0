//! What keeps a Kayobe configuration from being read, said with file and line.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use crate::Origin;

/// A line of a file of the checkout. The file is named from the checkout's root on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Place {
    /// The file.
    pub file: Utf8PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl Place {
    pub(crate) fn new(file: &Utf8Path, line: usize) -> Self {
        Self { file: file.to_owned(), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 { write!(f, "{}", self.file) } else { write!(f, "{}:{}", self.file, self.line) }
    }
}

/// One of two things that the site says of the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who says it.
    pub origin: Origin,
    /// What it comes to.
    pub text: String,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is {:?}", self.origin.place, self.origin.variable, self.text)
    }
}

const NOT_DEFINED: &str = "Define it in the configuration, choose the environment that does (train.kayobe.environment), \
                           or write what it is for into drivetrain.yaml: what Kayobe itself defines is not read";

/// Why a Kayobe configuration says nothing that could be relied on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KayobeError {
    /// There is no configuration where one was named.
    #[error(
        "{path} is no Kayobe configuration: it has neither etc/kayobe nor a globals.yml. Name the checkout, or its etc/kayobe"
    )]
    NotAConfiguration {
        /// What was named.
        path: Utf8PathBuf,
    },
    /// A file or directory cannot be read.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// Which.
        path: Utf8PathBuf,
        /// What the system says.
        why: String,
    },
    /// There is more than a configuration has.
    #[error("{path} has more than {limit} {what}, and a Kayobe configuration is not that large")]
    TooMuch {
        /// Where.
        path: Utf8PathBuf,
        /// How many there may be.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// An environment is not there.
    #[error("there is no environment {name:?} in {directory}: there is {there}")]
    NoEnvironment {
        /// Its name.
        name: String,
        /// Where environments are.
        directory: Utf8PathBuf,
        /// Those that there are.
        there: String,
    },
    /// Environments need each other.
    #[error("the environments {} depend on each other in a circle: see their .kayobe-environment", names.join(", "))]
    EnvironmentCycle {
        /// Those in the circle, or behind it.
        names: Vec<String>,
    },
    /// A file is not what it should be.
    #[error("{place}: {message}")]
    Malformed {
        /// Where.
        place: Place,
        /// What is wrong, and what to do.
        message: String,
    },
    /// Something encrypted was met, and there is no password.
    #[error(
        "{place}: {what} is encrypted with Ansible Vault, and no password is named: set train.kayobe.vault_password"
    )]
    Sealed {
        /// Where.
        place: Place,
        /// A variable, or the file.
        what: String,
    },
    /// Something encrypted does not open.
    #[error("{place}: {what} cannot be decrypted: {why}")]
    Vault {
        /// Where.
        place: Place,
        /// A variable, or the file.
        what: String,
        /// Why.
        why: crate::vault::VaultError,
    },
    /// A variable is needed that nobody defines.
    #[error("{origin} needs {name}, which is not defined{}. {NOT_DEFINED}", through(chain))]
    Undefined {
        /// Who needs it.
        origin: Origin,
        /// What is not there.
        name: String,
        /// What led there, the outermost first.
        chain: Vec<Origin>,
        /// Whether an expression made use of it: `default` can then no longer help.
        used: bool,
    },
    /// Variables need each other.
    #[error("variables need each other in a circle: {}", circle(.chain))]
    Cycle {
        /// Each needs the next, and the last the first.
        chain: Vec<Origin>,
    },
    /// An expression asks for something that is not evaluated here.
    #[error("{origin} cannot be evaluated: {why}{}", through(chain))]
    Evaluate {
        /// The variable whose template it is.
        origin: Origin,
        /// What it asks for.
        why: String,
        /// What led there, the outermost first.
        chain: Vec<Origin>,
    },
    /// A value is not of the kind that is needed.
    #[error("{origin} must be {wanted}, but is {found}")]
    Unexpected {
        /// The variable.
        origin: Origin,
        /// What it must be.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// Two definitions disagree about the same.
    #[error("the configuration disagrees about {what}:\n  {first}\n  {second}\n{help}")]
    Disagree {
        /// About what.
        what: String,
        /// The one.
        first: Box<Claim>,
        /// The other.
        second: Box<Claim>,
        /// What to do.
        help: String,
    },
    /// What is looked for is not in this release of the configuration.
    #[error("{what} is not in this configuration: none of {} is defined. {help}", looked_for.join(", "))]
    Absent {
        /// What.
        what: String,
        /// The variables that would say it.
        looked_for: Vec<String>,
        /// What to do.
        help: String,
    },
}

impl KayobeError {
    /// Whether it is that a variable is not defined, and no expression has made use of it.
    pub(crate) fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined { used: false, .. })
    }

    /// The same after an expression made use of what is not there.
    pub(crate) fn used(mut self) -> Self {
        if let Self::Undefined { used, .. } = &mut self {
            *used = true;
        }
        self
    }

    /// The same for who only names the variable whose template failed.
    pub(crate) fn unused(mut self) -> Self {
        if let Self::Undefined { used, .. } = &mut self {
            *used = false;
        }
        self
    }
}

fn through(chain: &[Origin]) -> String {
    if chain.is_empty() {
        return String::new();
    }
    let steps: Vec<String> = chain.iter().map(ToString::to_string).collect();
    format!(" (asked for by {})", steps.join(", then "))
}

fn circle(chain: &[Origin]) -> String {
    let mut steps: Vec<String> = chain.iter().map(ToString::to_string).collect();
    if let Some(first) = chain.first() {
        steps.push(first.variable.clone());
    }
    steps.join(" needs ")
}
