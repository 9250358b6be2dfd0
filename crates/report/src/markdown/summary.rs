//! Several runs.

use super::{Document, code, text};
use crate::report::Report;
use crate::summary::headline;
use crate::words::{count, duration};

/// More cells than a matrix has.
const MAX_ROWS: usize = 500;

pub(crate) fn document(reports: &[Report]) -> String {
    let mut document = Document::new();
    document.section(&format!("## {}", headline(reports)));
    document.section(&table(reports));
    // Where something is to be done comes first: what is too long is cut at the end.
    let needs_somebody = |report: &&Report| !report.outcome.is_good() || !report.held_back.is_empty();
    let (first, then): (Vec<&Report>, Vec<&Report>) = reports.iter().partition(needs_somebody);
    for report in first.into_iter().chain(then) {
        let mut own = Document::new();
        own.section(&format!("### {}", text(&name(report))));
        own.section(&text(&report.headline()));
        super::report::sections(report, "####", &mut own);
        document.section(&own.finish());
    }
    document.finish()
}

/// The cell; the run where it came to none.
pub(crate) fn name(report: &Report) -> String {
    report.cell.as_ref().map_or_else(|| format!("run {}", report.run), ToString::to_string)
}

fn table(reports: &[Report]) -> String {
    let mut rows = String::from(
        "| Kernel | Driver | Train | Outcome | Built, reused, failed | Modules | Time |\n|---|---|---|---|---|---:|---:|\n",
    );
    for report in reports.iter().take(MAX_ROWS) {
        rows.push_str(&row(report));
    }
    let more = reports.len().saturating_sub(MAX_ROWS);
    if more > 0 {
        rows.push_str(&format!("\nAnd {} more.\n", count(more, "cell")));
    }
    rows
}

fn row(report: &Report) -> String {
    let cell = report.cell.as_ref();
    let part = |part: Option<&str>| part.map_or_else(|| "–".to_owned(), code);
    let held = match report.held_back.len() {
        0 => String::new(),
        held => format!(", {} held back", count(held, "kernel")),
    };
    let exit = report.exit.as_ref().filter(|exit| exit.code != 0);
    let exit = exit.map(|exit| format!(": {}", text(&exit.meaning))).unwrap_or_default();
    format!(
        "| {} | {} | {} | **{}**{exit}{held} | {} | {} | {} |\n",
        part(cell.map(|cell| cell.kernel.as_str())),
        part(cell.map(|cell| cell.driver.as_str())),
        part(cell.map(|cell| cell.train.as_str())),
        report.outcome.word(),
        numbers(report),
        report.proof.as_ref().map_or(String::new(), |proof| proof.modules.to_string()),
        duration(report.ms)
    )
}

/// `5, 0, 0`
pub(crate) fn numbers(report: &Report) -> String {
    let with = |word: &str| report.components.iter().filter(|row| row.word() == word).count();
    format!("{}, {}, {}", with("built"), with("reused"), with("failed"))
}
