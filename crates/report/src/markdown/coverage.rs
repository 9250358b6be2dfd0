//! What a target serves.

use super::{Document, code, text, url};
use crate::coverage::{Coverage, Entry, Place, groups};
use crate::words::{count, moment};

/// More cells of one train than anybody reads: the page and the JSON have them.
const MAX_ROWS: usize = 500;

pub(crate) fn document(coverage: &Coverage) -> String {
    let mut document = Document::new();
    document.section(&format!("# {}", text(&coverage.headline())));
    document.section(&format!("{}, as of {}.", text(&coverage.target), moment(coverage.made)));
    document.section(&problems(coverage));
    document.section(&missing(coverage));
    for group in groups(&coverage.entries) {
        document.section(&table(group));
    }
    document.finish()
}

fn problems(coverage: &Coverage) -> String {
    let lines = coverage.problems.iter().map(|problem| format!("- **not known:** {}\n", text(problem)));
    lines.collect()
}

fn missing(coverage: &Coverage) -> String {
    let missing: Vec<&Entry> = coverage.entries.iter().filter(|entry| entry.needs_somebody()).collect();
    if missing.is_empty() {
        return String::new();
    }
    let mut section = "## Missing\n\n".to_owned();
    for entry in missing.iter().take(MAX_ROWS) {
        let train = code(entry.cell.train.as_str());
        let kernel = code(entry.cell.kernel.as_str());
        let driver = text(&format!("{} {}", entry.driver_name, entry.cell.driver));
        section.push_str(&format!("- {kernel} of {train}, {driver}: {}\n", text(&what(entry))));
        if let Some(error) = entry.first_error() {
            let place = error.place().map(|place| format!("{place}: ")).unwrap_or_default();
            section.push_str(&format!("  - {}\n", code(&format!("{place}{}", error.message))));
        }
        if let Some(crate::Lack::DoesNotBuild { held }) = &entry.lack {
            for advisory in held.advisories.iter().take(50) {
                section.push_str(&format!("  - without {}\n", text(&advisory.to_string())));
            }
        }
    }
    section
}

/// What is wrong.
fn what(entry: &Entry) -> String {
    let problem = entry.places.iter().find_map(|place| place.problem.clone());
    problem.unwrap_or_else(|| entry.lack_in_words())
}

fn table(group: &[Entry]) -> String {
    let Some(first) = group.first() else { return String::new() };
    let mut section = format!(
        "## {}, {}\n\n| Kernel | Driver | State | Served |\n|---|---|---|---|\n",
        text(first.cell.train.as_str()),
        first.cell.arch
    );
    for entry in group.iter().take(MAX_ROWS) {
        let served: Vec<String> = entry.places.iter().map(place).collect();
        let served = if served.is_empty() { text(&entry.lack_in_words()) } else { served.join("<br>") };
        section.push_str(&format!(
            "| {} | {} {} | {} | {served} |\n",
            code(entry.cell.kernel.as_str()),
            text(&entry.driver_name),
            text(entry.cell.driver.as_str()),
            entry.state().word()
        ));
    }
    let more = group.len().saturating_sub(MAX_ROWS);
    if more > 0 {
        section.push_str(&format!("\nAnd {} more.\n", count(more, "cell")));
    }
    section
}

fn place(place: &Place) -> String {
    let channel = place.channel.as_ref().map(|channel| format!("{}: ", text(channel))).unwrap_or_default();
    let (Some(version), Some(since)) = (place.version, place.since) else {
        return format!("{channel}nothing that drivetrain published, {}", url(&place.url));
    };
    let proven = match place.proven {
        Some(proven) => format!(", {} proven", count(proven.modules, "module")),
        None => ", proof not recorded".to_owned(),
    };
    let by = place.changed.as_ref().map(|change| format!(", by {}", text(&change.by))).unwrap_or_default();
    format!("{channel}version {version} since {}{proven}{by}, {}", moment(since), url(&place.url))
}
