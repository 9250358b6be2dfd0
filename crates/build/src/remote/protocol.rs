//! What a worker says.

use camino::Utf8PathBuf;
use drivetrain_model::{ComponentName, ComponentOutcome, Event};
use serde::{Deserialize, Serialize};

use crate::Toolchain;
use crate::report::{BuildReport, Outcome, PhaseTime};

/// Begins each line of a worker's: what else is written comes from the system around it.
const PREFIX: &str = "drivetrain-worker: ";

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "said")]
pub(crate) enum Said {
    /// The tools of the machine.
    Tools {
        /// What compiles there.
        toolchain: Toolchain,
        /// The version of the worker.
        version: String,
    },
    /// Something happened.
    Event {
        /// What.
        event: Event,
    },
    /// The build is over.
    Report {
        /// What became of each component, in the order of the request.
        components: Vec<Reported>,
        /// Whether it was cancelled.
        cancelled: bool,
    },
    /// The vendor's tool wrote a line.
    Output {
        /// The line.
        line: String,
    },
    /// Nothing could be tried.
    Refused {
        /// Why.
        why: String,
        /// What to do, where that is known.
        #[serde(default)]
        next: Option<String>,
    },
    /// It is done.
    Done,
}

/// What became of a component.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reported {
    pub(crate) name: ComponentName,
    pub(crate) outcome: ComponentOutcome,
    /// Of a failure: whether it follows from what is built, and would be the same anywhere.
    #[serde(default)]
    pub(crate) of_the_source: bool,
    /// Its log, on that machine.
    pub(crate) log: Option<Utf8PathBuf>,
    pub(crate) ms: u64,
    pub(crate) cpu_ms: Option<u64>,
    pub(crate) phases: Vec<PhaseTime>,
}

impl Said {
    /// A refusal that says all there is to say.
    pub(crate) fn refused(why: String) -> Self {
        Self::Refused { why, next: None }
    }

    /// As a line, without its end.
    pub(crate) fn to_line(&self) -> serde_json::Result<String> {
        Ok(format!("{PREFIX}{}", serde_json::to_string(self)?))
    }

    /// A line that a worker wrote; `None` where it is somebody else's.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        serde_json::from_str(line.strip_prefix(PREFIX)?).ok()
    }

    pub(crate) fn report(report: &BuildReport) -> Self {
        let components = report
            .components
            .iter()
            .map(|component| Reported {
                name: component.name.clone(),
                outcome: component.outcome.to_event(),
                of_the_source: matches!(&component.outcome, Outcome::Failed(error) if error.is_of_the_source()),
                log: component.log.clone(),
                ms: component.ms,
                cpu_ms: component.cpu_ms,
                phases: component.phases.clone(),
            })
            .collect();
        Self::Report { components, cancelled: report.cancelled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_said_and_others_are_passed_over() {
        let line = Said::refused("no bwrap".to_owned()).to_line().unwrap();
        assert!(
            matches!(Said::from_line(&line), Some(Said::Refused { why, next: None }) if why == "no bwrap")
        );
        for line in ["", "bash: warning", "drivetrain-worker: {", "{\"said\":\"done\"}"] {
            assert!(Said::from_line(line).is_none(), "{line}");
        }
    }
}
