//! The coverage page of a target.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::report::{Beside, advisories, first_error};
use super::{Page, link, mark, table};
use crate::coverage::{Coverage, Entry, Lack, Place, State, groups};
use crate::words::{count, moment};

const FILTER: &str = include_str!("filter.js");

/// A cell with its number, by which links lead to it.
type Numbered<'a> = (usize, &'a Entry);

pub(crate) fn page(coverage: &Coverage) -> String {
    let mut sections = Vec::new();
    if !coverage.problems.is_empty() {
        sections.push(("unknown", "Not known", problems(coverage)));
    }
    if coverage.entries.iter().any(Entry::needs_somebody) {
        sections.push(("missing", "Missing", missing(coverage)));
    }
    if !coverage.entries.is_empty() {
        sections.push(("overview", "Overview", overview(coverage)));
        sections.push(("details", "Details", details(coverage)));
    }
    let page = Page {
        title: "Driver coverage – drivetrain",
        header: header(coverage),
        sections,
        footer: html! {
            p {
                "Made by drivetrain " (coverage.drivetrain) " at " (moment(coverage.made)) ". The same as "
                a href="coverage.json" { "JSON" } " and as " a href="coverage.md" { "Markdown" } "."
            }
        },
        script: Some(FILTER),
    };
    page.render()
}

fn header(coverage: &Coverage) -> Markup {
    html! {
        p.soft { "Driver coverage" }
        h1 { (coverage.headline()) }
        dl.facts {
            dt { "Target" } dd { (coverage.target) }
            dt { "As of" } dd { (moment(coverage.made)) }
            @if !coverage.channels.is_empty() { dt { "Channels" } dd { (coverage.channels.join(", ")) } }
            @for train in &coverage.trains {
                dt { "Train" }
                dd {
                    (train.train) ", " (train.arch) ": " (count(train.kernels, "kernel")) ", of which "
                    (train.driver_name) " " (train.driver) " is wanted for " (train.policy)
                }
            }
        }
        (tools())
    }
}

/// Shown by the script, without which it does nothing.
fn tools() -> Markup {
    html! {
        div.tools #tools role="search" hidden {
            div { label for="words" { "Search for kernels, drivers, trains, channels, CVEs" } input #words type="search" autocomplete="off" spellcheck="false"; }
            div {
                label for="state" { "State" }
                select #state {
                    option value="" { "all" }
                    @for state in State::ALL { option value=(state.key()) { (state.word()) } }
                }
            }
            p.soft #found role="status" {}
        }
    }
}

fn state_mark(state: State) -> Markup {
    let class = match state {
        State::Served => "good",
        State::Partly => "warn",
        State::Damaged | State::HeldBack | State::Missing => "bad",
        State::Unwanted => "plain",
    };
    mark(class, state.word())
}

fn problems(coverage: &Coverage) -> Markup {
    html! {
        div.note.warn {
            p { strong { "Not everything could be found out; what follows is what is known." } }
            ul { @for problem in &coverage.problems { li { (problem) } } }
        }
    }
}

fn missing(coverage: &Coverage) -> Markup {
    let all = coverage.entries.iter().enumerate().filter(|(_, entry)| entry.needs_somebody());
    html! {
        ul {
            @for (number, entry) in all {
                li {
                    (state_mark(entry.state())) " "
                    a href=(format!("#cell-{number}")) { (entry.cell.kernel) } " of " (entry.cell.train) ", " (entry.driver_name) " " (entry.cell.driver) ": "
                    @match entry.places.iter().find_map(|place| place.problem.as_ref()) {
                        Some(problem) => (problem),
                        None => (entry.lack_in_words()),
                    }
                    @let cves = cves(entry);
                    @if !cves.is_empty() { "; without " (cves.join(", ")) }
                }
            }
        }
    }
}

fn cves(entry: &Entry) -> Vec<&str> {
    let Some(Lack::DoesNotBuild { held }) = &entry.lack else { return Vec::new() };
    held.advisories.iter().flat_map(|advisory| &advisory.cves).map(String::as_str).collect()
}

/// Of each train a table: kernels by drivers.
fn overview(coverage: &Coverage) -> Markup {
    let mut number = 0;
    html! {
        @for (position, group) in groups(&coverage.entries).enumerate() {
            @let numbered = group.iter().map(|entry| { number += 1; (number - 1, entry) }).collect::<Vec<_>>();
            div data-group="" { (matrix(position, &numbered)) }
        }
    }
}

fn matrix(position: usize, group: &[Numbered<'_>]) -> Markup {
    let Some((_, first)) = group.first() else { return html! {} };
    let drivers: BTreeSet<(&str, &str)> =
        group.iter().map(|(_, entry)| (entry.driver_name.as_str(), entry.cell.driver.as_str())).collect();
    let heading = format!("{}, {}", first.cell.train, first.cell.arch);
    let head = html! {
        th scope="col" { "Kernel" }
        @for (name, version) in &drivers { th scope="col" { (name) " " (version) } }
    };
    let rows = html! {
        @for row in group.chunk_by(|(_, a), (_, b)| a.cell.kernel == b.cell.kernel) {
            (matrix_row(row, &drivers))
        }
    };
    html! {
        h3 { (heading) }
        (table(&format!("train-{position}"), &format!("Kernels of {heading}, newest first, and what there is for each"), head, rows))
    }
}

fn matrix_row(row: &[Numbered<'_>], drivers: &BTreeSet<(&str, &str)>) -> Markup {
    let kernel = row.first().map(|(_, entry)| entry.cell.kernel.as_str()).unwrap_or_default();
    html! {
        tr {
            th scope="row" { (kernel) }
            @for (name, version) in drivers {
                @match row.iter().find(|(_, entry)| entry.driver_name == *name && entry.cell.driver.as_str() == *version) {
                    Some((number, entry)) => td { (matrix_cell(*number, entry)) },
                    None => td.soft { "–" },
                }
            }
        }
    }
}

fn matrix_cell(number: usize, entry: &Entry) -> Markup {
    let served = entry.places.iter().filter_map(|place| {
        let channel = place.channel.as_ref().map(|channel| format!("{channel}: ")).unwrap_or_default();
        place.version.map(|version| format!("{channel}version {version}"))
    });
    let served: Vec<String> = served.collect();
    html! {
        (state_mark(entry.state())) " "
        a.small href=(format!("#cell-{number}")) {
            @if served.is_empty() { "why" } @else { (served.join(", ")) }
            // Links are read out of their context, too.
            span.visually-hidden { ", kernel " (entry.cell.kernel) }
        }
    }
}

fn details(coverage: &Coverage) -> Markup {
    html! {
        ul.plainlist {
            @for (number, entry) in coverage.entries.iter().enumerate() {
                li id=(format!("cell-{number}")) data-state=(entry.state().key()) { (card(entry)) }
            }
        }
    }
}

fn card(entry: &Entry) -> Markup {
    let cell = &entry.cell;
    html! {
        h3 { (cell.kernel) " " (state_mark(entry.state())) }
        p.soft {
            (entry.driver_name) " " (cell.driver) ", " (cell.train) ", " (cell.arch)
            @if let Some(kernel) = &entry.in_train {
                @if kernel.newer == 0 { "; the newest kernel of the train" } @else { "; the train has " (count(kernel.newer, "newer kernel")) }
                ", in " (kernel.repository)
            }
        }
        @for place in &entry.places { (place_of(place)) }
        @if !entry.not_in.is_empty() { p { "Not served in " (entry.not_in.join(", ")) ": " code { "drivetrain promote" } " takes it there." } }
        @if entry.places.iter().all(|place| place.version.is_none() && place.problem.is_none()) {
            p { "Nothing is served: " (entry.lack_in_words()) "." }
        }
        @if let Some(error) = entry.first_error() {
            (first_error(&error, None, Beside::Nothing))
            @if let Some(Lack::DoesNotBuild { held }) = &entry.lack { (advisories(&held.advisories)) }
        }
    }
}

fn place_of(place: &Place) -> Markup {
    html! {
        dl.facts {
            @if let Some(channel) = &place.channel { dt { "Channel" } dd { strong { (channel) } } }
            @if let Some(problem) = &place.problem { dt { "Problem" } dd { (mark("bad", "damaged")) " " (problem) } }
            dt { "Serves" }
            dd {
                @match (place.version, place.since) {
                    (Some(version), Some(since)) => {
                        "version " (version) " since " (moment(since))
                        @if let Some(packages) = place.packages { ", " (count(packages, "package")) }
                        @if place.kept.len() > 1 { "; kept: " (place.kept.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")) }
                    },
                    _ => "nothing that drivetrain published",
                }
            }
            dt { "Proven" }
            dd {
                @match place.proven {
                    Some(proven) => {
                        (count(proven.modules, "module")) " with " (count(proven.symbols, "symbol")) " fit the kernel; "
                        (count(proven.installed, "package")) " installed together with " (proven.from_train) " of the train"
                    },
                    None => "how is not recorded",
                }
            }
            @if let Some(change) = &place.changed { dt { "Changed" } dd { "by " (change.by) ": " (change.why) } }
            @if let Some(run) = &place.run { dt { "Run" } dd { span.mono { (run) } } }
            @if let Some(lock) = &place.lock { dt { "Lock" } dd { span.mono.small { (lock) } } }
            dt { "URL" } dd { (link(&place.url, &place.url)) }
        }
    }
}
