//! Why there is no plan.

use std::fmt;

use drivetrain_model::{KernelChoice, Nevra, Problem, Severity};
use drivetrain_solve::Unsolvable;
use serde::{Deserialize, Serialize};
use url::Url;

/// Why there is no plan, with everything that was considered: for `--json` and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong. At least one.
    pub problems: Vec<Problem>,
    /// The kernels that were looked at, newest first.
    pub considered: Vec<KernelChoice>,
}

impl Refusal {
    /// With one problem, and what to do about it.
    pub(crate) fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { problems: vec![error(what, next)], considered: Vec::new() }
    }

    /// With several problems.
    pub(crate) fn all(problems: Vec<Problem>) -> Self {
        Self { problems, considered: Vec::new() }
    }

    pub(crate) fn considering(mut self, considered: Vec<KernelChoice>) -> Self {
        self.considered = considered;
        self
    }
}

/// Where a package is, by its repository's URL and the location in the metadata. `repository` is for people.
pub(crate) fn url_of(nevra: &Nevra, location: &str, base: &Url, repository: &str) -> Result<Url, Problem> {
    base.join(location).map_err(|reason| {
        error(
            format!("{nevra} of {repository} has the location {location:?}, which is no path: {reason}"),
            "tell whoever keeps the repository",
        )
    })
}

/// Facts that cannot all hold, a line each, to stand behind a colon.
pub(crate) fn chain(unsolvable: &Unsolvable) -> String {
    unsolvable.because.iter().map(|fact| format!("\n  {fact}")).collect()
}

/// A problem that makes a plan impossible.
pub(crate) fn error(what: impl Into<String>, next: impl Into<String>) -> Problem {
    Problem { severity: Severity::Error, what: what.into(), next: next.into() }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.problems.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            f.write_str(&problem.what)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}
