//! Several cells at once: whose line is whose, and what became of each.

use std::fmt::Write as _;
use std::io::IsTerminal;

use drivetrain_model::Plan;
use drivetrain_report::{Report, summary};
use indicatif::MultiProgress;
use jiff::Timestamp;
use serde_json::json;

use super::words::duration;
use super::{Json, Plain, Quiet, Terminal, View, note, print, print_json, words};
use crate::failure::{Failure, Result};

/// What became of a cell.
pub struct CellResult {
    /// The cell, as the configuration has it.
    pub name: String,
    /// What its run left, where it had one.
    pub report: Option<Report>,
    /// Its failure.
    pub failure: Option<Failure>,
}

/// The views of several cells, on one terminal or in one log.
pub struct Several {
    /// Each cell's name with what tells it from the others.
    labels: Vec<(String, String)>,
    began: Timestamp,
    bars: MultiProgress,
    json: bool,
    quiet: bool,
}

impl Several {
    /// For cells of these names.
    pub fn new<'n>(names: impl Iterator<Item = &'n str>, json: bool, quiet: bool) -> Self {
        let names: Vec<&str> = names.collect();
        let labels = names.iter().map(|name| ((*name).to_owned(), label(name, &names))).collect();
        Self { labels, began: Timestamp::now(), bars: MultiProgress::new(), json, quiet }
    }

    /// The view of one of them.
    pub fn of(&self, name: &str) -> Box<dyn View> {
        let known = self.labels.iter().find(|(known, _)| known == name);
        let label = known.map_or(name, |(_, label)| label.as_str()).to_owned();
        if self.json {
            Box::new(Json::of_cell(name))
        } else if self.quiet {
            Box::new(Quiet)
        } else if super::is_for_a_person() {
            Box::new(Terminal::beside(self.bars.clone(), label))
        } else {
            Box::new(Plain::beside(self.began, label))
        }
    }

    /// Says what became of all of them.
    pub fn conclude(&self, results: &[CellResult]) {
        if self.json {
            print_json(&json!({ "cells": results.iter().map(as_json).collect::<Vec<_>>() }));
            return;
        }
        for result in results {
            if let Some(failure) = &result.failure {
                note(&format!("\n{}", result.name));
                note(&words::failure(failure, std::io::stderr().is_terminal()));
            }
        }
        print(&table(results));
    }
}

/// What of a cell's name tells it from the others; all of it where there is one alone.
fn label(name: &str, names: &[&str]) -> String {
    let parts: Vec<&str> = name.split('/').collect();
    let differs = |position: usize| {
        names.iter().any(|other| other.split('/').nth(position) != parts.get(position).copied())
    };
    let telling: Vec<&str> =
        parts.iter().enumerate().filter(|(position, _)| differs(*position)).map(|(_, part)| *part).collect();
    if telling.is_empty() { name.to_owned() } else { telling.join("/") }
}

fn as_json(result: &CellResult) -> serde_json::Value {
    let report = result.report.as_ref();
    json!({
        "name": result.name,
        "cell": report.and_then(|report| report.cell.as_ref()),
        "outcome": report.map(|report| report.outcome),
        "run": report.map(|report| &report.run),
        "published": report.and_then(|report| report.published.as_ref()),
        "error": result.failure,
    })
}

/// A line for each cell: what it is, what came of it, how long it took, and the run to look at.
pub fn table(results: &[CellResult]) -> String {
    format!(
        "\n{}\n{}.\n",
        columns(["cell", "result", "took", "run"], results.iter().map(row)),
        headline(results)
    )
}

/// A line for each cell: what its plan would do.
pub fn plans(results: &[(String, Result<Plan>)]) -> String {
    let row = |(name, done): &(String, Result<Plan>)| match done {
        Ok(plan) => [plan.cell.to_string(), one_line(&super::plan::summary(plan))],
        Err(failure) => [name.clone(), one_line(&failure.message)],
    };
    columns(["cell", "plan"], results.iter().map(row))
}

fn columns<const N: usize>(titles: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(titles.map(str::to_owned)).chain(rows).collect();
    let widths: Vec<usize> =
        (0..N).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

/// The first line of a text, as far as it fits a table.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(100).collect()
}

fn headline(results: &[CellResult]) -> String {
    let reports: Vec<Report> = results.iter().filter_map(|result| result.report.clone()).collect();
    let good = results.iter().filter(|result| result.failure.is_none()).count();
    match (good, results.len()) {
        (good, of) if good == of => summary::headline(&reports),
        (0, of) => format!("None of {of} cells succeeded"),
        (good, of) => format!("{good} of {of} cells succeeded; the others are as they were"),
    }
}

fn row(result: &CellResult) -> [String; 4] {
    let report = result.report.as_ref();
    let cell =
        report.and_then(|report| report.cell.as_ref()).map_or(result.name.clone(), ToString::to_string);
    let published = report.and_then(|report| report.published.as_ref());
    let told = match (&result.failure, published) {
        (Some(failure), _) => one_line(&failure.message),
        (None, Some(published)) if published.unchanged => format!("version {}, as before", published.version),
        (None, Some(published)) => format!("version {} is served", published.version),
        (None, None) => report.map_or("", |report| report.outcome.word()).to_owned(),
    };
    let took = report.map_or("-".to_owned(), |report| duration(report.ms));
    [cell, told, took, report.map_or("-".to_owned(), |report| report.run.to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_what_tells_a_cell_from_the_others() {
        let names = ["t/3.2.1/latest/x86_64", "t/3.2.3/latest/x86_64"];
        assert_eq!(label(names[0], &names), "3.2.1");
        let names = ["t/3.2.1/5.14.0-1/x86_64", "u/3.2.1/5.14.0-2/x86_64"];
        assert_eq!(label(names[1], &names), "u/5.14.0-2");
        assert_eq!(label(names[1], &names[1..]), names[1]);
    }
}
