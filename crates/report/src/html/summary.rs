//! The page of several runs.

use maud::{Markup, html};

use super::report::{Beside, advisories, first_error, outcome_mark};
use super::{Page, link, table};
use crate::markdown::summary::{name, numbers};
use crate::report::Report;
use crate::summary::{Link, headline};
use crate::words::{count, duration};

pub(crate) fn page(reports: &[Report], to: Link<'_>) -> String {
    let headline = headline(reports);
    let mut sections = vec![("cells", "Cells", cells(reports, to))];
    let with = |fits: fn(&Report) -> bool| reports.iter().filter(|report| fits(report)).collect::<Vec<_>>();
    let failed = with(|report| !report.first_errors.is_empty());
    let held_back = with(|report| !report.held_back.is_empty());
    let installed = with(|report| !report.install.is_empty());
    if !failed.is_empty() {
        sections.push(("errors", "First errors", each(&failed, errors)));
    }
    if !held_back.is_empty() {
        sections.push(("held-back", "Held back", each(&held_back, held)));
    }
    if !installed.is_empty() {
        sections.push(("install", "On a node", each(&installed, install)));
    }
    let version = reports.first().map_or("", |report| report.drivetrain.as_str());
    let page = Page {
        title: &format!("{} – drivetrain", crate::text::cut(&headline, 50)),
        header: html! { p.soft { "drivetrain" } h1 { (headline) } },
        sections,
        footer: html! { p { "Made by drivetrain " (version) " from the journals of " (count(reports.len(), "run")) "." } },
        script: None,
    };
    page.render()
}

fn cells(reports: &[Report], to: Link<'_>) -> Markup {
    let head = html! {
        th scope="col" { "Kernel" } th scope="col" { "Driver" } th scope="col" { "Train" } th scope="col" { "Outcome" }
        th scope="col" { "Built, reused, failed" } th.number scope="col" { "Modules" } th.number scope="col" { "Time" }
        th scope="col" { "Report" }
    };
    let rows = html! { @for report in reports { (row(report, to)) } };
    table("cells-table", "All cells, each with what came of it", head, rows)
}

fn row(report: &Report, to: Link<'_>) -> Markup {
    let cell = report.cell.as_ref();
    html! {
        tr {
            th scope="row" { @match cell { Some(cell) => (cell.kernel), None => "–" } }
            td { @if let Some(cell) = cell { (cell.driver) } }
            td { @if let Some(cell) = cell { (cell.train) ", " (cell.arch) } }
            td {
                (outcome_mark(report.outcome))
                @if let Some(exit) = report.exit.as_ref().filter(|exit| exit.code != 0) { div.small { (exit.meaning) } }
                @if !report.held_back.is_empty() { div.small { (count(report.held_back.len(), "kernel")) " held back" } }
            }
            td { (numbers(report)) }
            td.number { @if let Some(proof) = &report.proof { (proof.modules) } }
            td.number { (duration(report.ms)) }
            td { @match to(report) { Some(url) => (link(&url, report.run.as_str())), None => (report.run) } }
        }
    }
}

fn each(reports: &[&Report], content: fn(&Report) -> Markup) -> Markup {
    html! { @for report in reports { h3 { (name(report)) } (content(report)) } }
}

fn errors(report: &Report) -> Markup {
    html! { ul.plainlist { @for error in &report.first_errors { li { (first_error(error, None, Beside::Nothing)) } } } }
}

fn held(report: &Report) -> Markup {
    html! {
        ul.plainlist {
            @for held in &report.held_back {
                li { (first_error(&held.first_error, Some(held.held.release.as_str()), Beside::Nothing)) (advisories(&held.held.advisories)) }
            }
        }
    }
}

fn install(report: &Report) -> Markup {
    html! { pre.wrap { @for command in &report.install { (command) "\n" } } }
}
