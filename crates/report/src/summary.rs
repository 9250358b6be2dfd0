//! Several runs together: those of the cells of a matrix.

use serde::Serialize;

use crate::report::{Outcome, Report};

/// Several reports, as JSON has them.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    format: u32,
    good: usize,
    of: usize,
    runs: &'a [Report],
}

/// Of how many runs all that was asked for is done.
#[must_use]
pub fn good(reports: &[Report]) -> usize {
    reports.iter().filter(|report| report.outcome.is_good()).count()
}

/// What came of all of them, in a sentence without a full stop.
#[must_use]
pub fn headline(reports: &[Report]) -> String {
    let (good, of) = (good(reports), reports.len());
    let published = reports.iter().any(|report| report.outcome != Outcome::Built);
    let done = if published { "served" } else { "built and proven" };
    match (good, of) {
        (_, 0) => "No cells".to_owned(),
        (1, 1) => format!("The cell is {done}"),
        (_, _) if good == of => format!("All {of} cells are {done}"),
        (0, _) => format!("None of {} is {done}", crate::words::count(of, "cell")),
        _ => format!("{good} of {of} cells are {done}"),
    }
}

/// Where the page of a run is, as seen from the summary's; `None` for no link.
pub type Link<'a> = &'a dyn Fn(&Report) -> Option<String>;

/// The runs as one page: a table of all, and of each what went wrong, what is held back and how it is installed.
#[must_use]
pub fn html(reports: &[Report], link: Link<'_>) -> String {
    crate::html::summary::page(reports, link)
}

/// The runs as Markdown: a table of all, then the sections of each. As long as a CI system's summary may be.
#[must_use]
pub fn markdown(reports: &[Report]) -> String {
    crate::markdown::summary::document(reports)
}

/// The annotations of all of them.
#[must_use]
pub fn annotations(reports: &[Report]) -> String {
    reports.iter().map(crate::annotations).collect()
}

/// The runs as JSON.
///
/// # Errors
/// Never for reports that were made from evidence.
pub fn json(reports: &[Report]) -> serde_json::Result<String> {
    let summary = Summary { format: Report::FORMAT, good: good(reports), of: reports.len(), runs: reports };
    serde_json::to_string_pretty(&summary).map(|text| text + "\n")
}
