//! Several cells in one go: kernels, driver versions, trains.
//!
//! Each cell is a run of its own, with its own journal, lock and evidence, and its success is its own: nothing that becomes
//! of one keeps another from being built or published. What they share is the state directory, whose files are there once
//! for all, the compile slots, and the wait for the first one to have read what all of them read.

use std::io::Write as _;

use camino::Utf8Path;
use drivetrain_config::{BuilderKind, ConfiguredCell};
use drivetrain_host::CancellationToken;
use drivetrain_model::{ExitCode, KernelPolicy};
use drivetrain_plan::kernels;
use drivetrain_report::{Report, summary};
use fs_err as fs;
use futures_util::StreamExt as _;

use crate::cli::Global;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::pipeline::{Ended, Goal, start};
use crate::reporter::Reporter;
use crate::stage::report;
use crate::stage::repositories::Repositories;
use crate::together::Together;
use crate::view;
use crate::view::matrix::{CellResult, Several};

/// Does for every cell what the goal says.
pub async fn run(
    goal: &Goal,
    cells: Vec<ConfiguredCell>,
    global: &Global,
    cancel: &CancellationToken,
) -> Result<ExitCode> {
    let cells = expand(cells, global, cancel).await?;
    let at_once = goal.at_once.map_or_else(|| fitting(&cells), std::num::NonZeroUsize::get);
    let views = Several::new(cells.iter().map(|cell| cell.name.as_str()), global.json, global.quiet);
    let together = Together::default();
    let runs = cells
        .iter()
        .enumerate()
        .map(async |(position, cell)| (position, one(goal, cell, global, &views, cancel, &together).await));
    let mut done: Vec<(usize, CellResult)> =
        futures_util::stream::iter(runs).buffer_unordered(at_once).collect().await;
    done.sort_by_key(|(position, _)| *position);
    let results: Vec<CellResult> = done.into_iter().map(|(_, result)| result).collect();
    views.conclude(&results);
    if let Some(file) = &goal.summary {
        write_summary(file, &results);
    }
    Ok(exit_code(results.iter().map(|result| result.failure.as_ref().map(|failure| failure.code))))
}

async fn one(
    goal: &Goal,
    cell: &ConfiguredCell,
    global: &Global,
    views: &Several,
    cancel: &CancellationToken,
    together: &Together,
) -> CellResult {
    // It has no run where an interruption comes first, or there is no room for a journal.
    let not_begun = |failure| CellResult { name: cell.name.clone(), report: None, failure: Some(failure) };
    if cancel.is_cancelled() {
        return not_begun(Failure::interrupted());
    }
    let reporter = Reporter::new(views.of(&cell.name));
    let goal = goal.of_cell(&cell.name);
    match start(goal, cell.config.clone(), global, reporter, cancel.clone(), together.clone()) {
        Ok(run) => CellResult::of(&cell.name, &run.finish().await),
        Err(failure) => not_begun(failure),
    }
}

/// Whether a configuration means one cell, whatever the train has: what is one of several has a lock of its own.
pub fn is_alone(cells: &[ConfiguredCell]) -> bool {
    matches!(cells, [only] if only.config.train.kernel != KernelPolicy::AllInTrain)
}

/// A cell for each kernel, where all of a train are meant: the newest first.
pub async fn expand(
    cells: Vec<ConfiguredCell>,
    global: &Global,
    cancel: &CancellationToken,
) -> Result<Vec<ConfiguredCell>> {
    let mut expanded = Vec::new();
    for cell in cells {
        if cell.config.train.kernel != KernelPolicy::AllInTrain {
            expanded.push(cell);
            continue;
        }
        let context = Context::quiet(global, cancel.clone())?;
        let reading = context.unless_cancelled(Repositories::read(&context, &cell.config));
        let repositories = reading.await?;
        for release in kernels(&cell.config, &repositories.train)? {
            let mut config = cell.config.clone();
            config.train.kernel = KernelPolicy::Exact(release);
            expanded.push(ConfiguredCell::new(config));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    // A kernel may be named besides.
    expanded.retain(|cell| seen.insert(cell.name.clone()));
    Ok(expanded)
}

/// How many cells fit the builders: a second one takes the processors while the first one waits for a disk or a network.
/// A host that is there takes one run at a time, and machines under QEMU are of this host's memory.
fn fitting(cells: &[ConfiguredCell]) -> usize {
    let one = |cell: &ConfiguredCell| {
        matches!(cell.config.builder.kind, BuilderKind::Ssh { .. } | BuilderKind::Qemu { .. })
    };
    if cells.iter().any(one) { 1 } else { 2 }
}

impl CellResult {
    /// Of a cell whose run came to its end.
    pub fn of(name: &str, ended: &Ended) -> Self {
        let failure = ended.result.as_ref().err().cloned();
        Self { name: name.to_owned(), report: ended.report.clone(), failure }
    }
}

/// That all went well, that some did, or what went wrong with all of them; from what went wrong with each.
pub fn exit_code(failures: impl Iterator<Item = Option<ExitCode>>) -> ExitCode {
    let all: Vec<Option<ExitCode>> = failures.collect();
    let failed: Vec<ExitCode> = all.iter().copied().flatten().collect();
    match failed.as_slice() {
        [] => ExitCode::Success,
        failed if failed.contains(&ExitCode::Interrupted) => ExitCode::Interrupted,
        failed if failed.len() < all.len() => ExitCode::Some,
        [first, others @ ..] if others.iter().all(|code| code == first) => *first,
        _ => ExitCode::Failure,
    }
}

/// Writes the summary: as a page or as JSON where the file is called so, otherwise as Markdown after what is in it
/// already, as CI systems want it. That it cannot be written is no failure of what it tells of.
pub fn write_summary(file: &Utf8Path, results: &[CellResult]) {
    let reports: Vec<Report> = results.iter().filter_map(|result| result.report.clone()).collect();
    let only = if results.len() == 1 { reports.first() } else { None };
    let written = match file.extension() {
        Some("html") => {
            let page = only.map_or_else(|| summary::html(&reports, &|_| None), Report::html);
            report::write_aside(file, page.as_bytes())
        }
        Some("json") => only
            .map_or_else(|| summary::json(&reports), Report::json)
            .map_err(std::io::Error::from)
            .and_then(|text| report::write_aside(file, text.as_bytes())),
        _ => append(file, &only.map_or_else(|| summary::markdown(&reports), Report::markdown)),
    };
    if let Err(error) = written {
        view::note(&format!("warning: the summary {file} cannot be written: {error}"));
    }
}

fn append(file: &Utf8Path, text: &str) -> std::io::Result<()> {
    fs::OpenOptions::new().create(true).append(true).open(file)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(codes: &[ExitCode]) -> ExitCode {
        exit_code(codes.iter().map(|code| (*code != ExitCode::Success).then_some(*code)))
    }

    #[test]
    fn the_exit_code_says_whether_all_some_or_none_went_well() {
        use ExitCode::{Build, Failure, Interrupted, Plan, Some, Success};
        assert_eq!(code(&[Success, Success]), Success);
        assert_eq!(code(&[Success, Build]), Some);
        assert_eq!(code(&[Build, Build]), Build);
        assert_eq!(code(&[Build, Plan]), Failure);
        assert_eq!(code(&[Success, Interrupted, Build]), Interrupted);
    }
}
