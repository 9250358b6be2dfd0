//! The summary of a run.

use std::fmt::Write as _;

use drivetrain_model::{BootPolicy, ComponentOutcome};

use super::{Document, code, fence, text, url};
use crate::report::{ComponentRow, HeldBackKernel, Report};
use crate::timeline::SpanKind;
use crate::words::{bytes, count, duration, moment};
use crate::{Boot, FirstError, planned_boot};

/// More of them are counted, not shown: the page has them.
const MAX_ROWS: usize = 100;
const MAX_ERRORS: usize = 20;
const MAX_LINES: usize = 50;

pub(crate) fn document(report: &Report) -> String {
    let mut document = Document::new();
    document.section(&format!("## {}\n", text(&report.headline())));
    document.section(&facts(report));
    sections(report, "###", &mut document);
    document.finish()
}

/// All below the heading and the table of facts.
pub(super) fn sections(report: &Report, level: &str, document: &mut Document) {
    document.section(&held_back(report, level));
    document.section(&first_errors(report, level));
    document.section(&install(report, level));
    document.section(&components(report, level));
    document.section(&verdicts(report, level));
    document.section(&booted(report, level));
    document.section(&timings(report, level));
    document.section(&userspace(report, level));
    document.section(&warnings(report, level));
}

fn facts(report: &Report) -> String {
    let mut rows = vec![("Outcome", outcome(report))];
    if let Some(cell) = &report.cell {
        let why =
            report.kernel.as_ref().and_then(|kernel| kernel.considered.iter().find(|choice| choice.chosen));
        let why = why.map(|choice| format!(", {}", text(&choice.why))).unwrap_or_default();
        rows.push(("Kernel", format!("{}{why}", code(cell.kernel.as_str()))));
        rows.push(("Train", format!("{}, {}", code(cell.train.as_str()), cell.arch)));
        rows.push(("Driver", code(cell.driver.as_str())));
    }
    if let Some(published) = &report.published {
        rows.push(("Served at", format!("{}, version {}", url(&published.location), published.version)));
    } else if let Some(publication) = &report.publication {
        rows.push(("For", text(&format!("{}, {}", publication.target, publication.path))));
    }
    let began = report.began.map(|began| format!(", {}", moment(began))).unwrap_or_default();
    rows.push(("Run", format!("{}{began}, took {}", code(report.run.as_str()), duration(report.ms))));
    if let Some(lock) = &report.lock {
        rows.push(("Lock", format!("{}, {}", code(&lock.to_string()), count(report.inputs.len(), "input"))));
    }
    if let Some(toolchain) = &report.toolchain {
        rows.push(("Toolchain", text(toolchain)));
    }
    for line in report.builder.iter().take(MAX_LINES) {
        rows.push(("Builder", text(line)));
    }
    let mut table = String::from("| | |\n|---|---|\n");
    for (name, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {name} | {value} |");
    }
    table
}

fn outcome(report: &Report) -> String {
    let exit = report.exit.as_ref().map(|exit| format!(", exit code {}: {}", exit.code, text(&exit.meaning)));
    let stage = report.broken_stage.map(|stage| format!(", in stage {}", stage.name())).unwrap_or_default();
    format!("**{}**{stage}{}", report.outcome.word(), exit.unwrap_or_default())
}

fn held_back(report: &Report, level: &str) -> String {
    if report.held_back.is_empty() {
        return String::new();
    }
    let mut section = format!("{level} Held back: nodes must not boot these\n\n");
    for held in report.held_back.iter().take(MAX_ERRORS) {
        section.push_str(&held_back_kernel(held));
    }
    section + &more(report.held_back.len(), MAX_ERRORS, "kernel")
}

pub(super) fn held_back_kernel(held: &HeldBackKernel) -> String {
    let held = &held.held;
    let mut lines = format!(
        "- {}: {} does not build for it: {}\n",
        code(held.release.as_str()),
        code(held.component.as_str()),
        code(&held.error)
    );
    for advisory in held.advisories.iter().take(MAX_LINES) {
        let _ = writeln!(lines, "  - without {}", text(&advisory.to_string()));
    }
    lines
}

fn first_errors(report: &Report, level: &str) -> String {
    if report.first_errors.is_empty() {
        return String::new();
    }
    let mut section = format!("{level} First errors\n");
    for error in report.first_errors.iter().take(MAX_ERRORS) {
        section.push_str(&first_error(error));
    }
    section + &more(report.first_errors.len(), MAX_ERRORS, "error")
}

pub(super) fn first_error(error: &FirstError) -> String {
    let component = error.component.as_ref().map_or("the run", |component| component.as_str());
    let place = error.place().map(|place| format!(" at {}", code(&place))).unwrap_or_default();
    let mut section = format!("\n**{}**{place}\n\n", text(component));
    section.push_str(&fence("text", error.message.lines().take(MAX_LINES)));
    if let Some(excerpt) = &error.excerpt {
        let lines = excerpt.lines.iter().map(String::as_str);
        let _ = write!(
            section,
            "\n<details><summary>Its log, from line {}</summary>\n\n{}\n</details>\n",
            excerpt.first_line,
            fence("text", lines)
        );
    }
    if let Some(log) = &error.log {
        let _ = writeln!(section, "\nLog: {}", code(log));
    }
    section
}

fn install(report: &Report, level: &str) -> String {
    if report.install.is_empty() {
        return String::new();
    }
    let lines = report.install.iter().map(String::as_str);
    format!("{level} On a node\n\n{}", fence("sh", lines))
}

fn components(report: &Report, level: &str) -> String {
    if report.components.is_empty() {
        return String::new();
    }
    let mut section =
        format!("{level} Components\n\n| Component | Outcome | Time | Packages |\n|---|---|---:|---|\n");
    for row in report.components.iter().take(MAX_ROWS) {
        section.push_str(&component(row));
    }
    let more = more(report.components.len(), MAX_ROWS, "component");
    for skipped in report.skipped.iter().take(MAX_LINES) {
        let _ = write!(section, "\nLeft out {}: {}\n", code(skipped.name.as_str()), text(&skipped.why));
    }
    section + &more
}

fn component(row: &ComponentRow) -> String {
    let source =
        row.source.as_ref().map(|source| format!(" {}", text(&source.evr.to_string()))).unwrap_or_default();
    let why = match &row.outcome {
        Some(ComponentOutcome::NotTried { why }) => format!(": {}", text(why)),
        Some(ComponentOutcome::Failed { error }) => format!(": {}", code(error)),
        _ => String::new(),
    };
    let time = if row.ms > 0 { duration(row.ms) } else { String::new() };
    let packages: Vec<String> = row.packages.iter().take(MAX_LINES).map(|package| text(package)).collect();
    format!(
        "| {}{source} | {}{why} | {time} | {} |\n",
        code(row.name.as_str()),
        row.word(),
        packages.join("<br>")
    )
}

fn verdicts(report: &Report, level: &str) -> String {
    let Some(proof) = &report.proof else { return String::new() };
    let verdict = if proof.problems.is_empty() { "all load" } else { "not all load" };
    let mut section = format!(
        "{level} Verdicts\n\n- Modules: **{verdict}**: {} looked at, {} looked up by their CRC\n",
        count(proof.modules, "module"),
        count(proof.symbols, "symbol")
    );
    for problem in proof.problems.iter().take(MAX_LINES) {
        let _ = writeln!(section, "  - {}", text(problem));
    }
    section.push_str(&more(proof.problems.len(), MAX_LINES, "problem"));
    match &report.installation {
        Some(installation) => {
            let _ = writeln!(
                section,
                "- Installation: **installs**: {} with {} of the train, and nothing takes their place",
                count(installation.packages, "package"),
                installation.from_train
            );
        }
        None => section.push_str("- Installation: **not proven**\n"),
    }
    section
}

fn booted(report: &Report, level: &str) -> String {
    let Some(boot) = &report.boot else {
        let planned = report.planned_boot.as_ref();
        let not = |planned| format!("{level} Boot\n\n**not booted**: {}\n", text(&planned_boot(planned)));
        return planned.map(not).unwrap_or_default();
    };
    let verdict = if boot.is_good() { "booted" } else { "not well" };
    let mut section = format!(
        "{level} Boot\n\n**{verdict}**: {} of {} loaded by kernel {}, which ran by {} for {}\n",
        boot.loaded,
        count(boot.modules, "module"),
        code(&boot.kernel),
        text(&boot.by),
        duration(boot.ms)
    );
    if !boot.is_good() {
        let told = if boot.policy == Some(BootPolicy::Warn) {
            "\nBy `prove.boot: warn` this is told and published:\n\n"
        } else {
            "\n"
        };
        section.push_str(told);
    }
    for problem in boot.problems.iter().take(MAX_LINES) {
        let _ = writeln!(section, "- {}", text(problem));
    }
    section.push_str(&more(boot.problems.len(), MAX_LINES, "problem"));
    section.push_str(&booted_modules(boot));
    if let Some(check) = &boot.check {
        let good = check.steps.iter().filter(|step| step.ok).count();
        let counted = if check.counters.is_empty() {
            String::new()
        } else {
            format!("; {}", check.counters.join(", "))
        };
        let line = format!("{}: {good} of {}{counted}", check.name, count(check.steps.len(), "step"));
        let _ = writeln!(section, "\nChecked: {}", text(&line));
    }
    if let Some(initramfs) = &boot.initramfs {
        let _ = writeln!(section, "\n{}.", text(&initramfs.in_words()));
    }
    if let Some(console) = &boot.console {
        let _ = writeln!(section, "\nWhat the kernel said: {}", code(console));
    }
    section
}

fn booted_modules(boot: &Boot) -> String {
    if boot.each.is_empty() {
        return String::new();
    }
    let mut rows =
        String::from("\n| Module | Result | Loaded from | Signed by | Taint |\n|---|---|---|---|---|\n");
    for module in boot.each.iter().take(MAX_ROWS) {
        let result =
            if module.loaded { text(&module.result) } else { format!("**{}**", text(&module.result)) };
        let needed = if module.ours { "" } else { " (needed)" };
        let _ = writeln!(
            rows,
            "| {}{needed} | {result} | {} | {} | {} |",
            code(&module.name),
            code(&module.path),
            module.signer.as_deref().map_or_else(|| "nobody".to_owned(), text),
            text(module.taint.as_deref().unwrap_or_default())
        );
    }
    rows + &more(boot.each.len(), MAX_ROWS, "module")
}

fn timings(report: &Report, level: &str) -> String {
    let stages = report.timeline.spans.iter().filter(|span| span.kind == SpanKind::Stage);
    let stages: Vec<String> = stages
        .map(|span| format!("{} {} ({})", text(&span.name), duration(span.ms), span.ended.word()))
        .collect();
    if stages.is_empty() {
        return String::new();
    }
    let at_once = match report.timeline.at_once {
        0 => String::new(),
        most => format!("; up to {} built at once", count(most, "component")),
    };
    format!("{level} Timings\n\n{}{at_once}.\n", stages.join(", "))
}

fn userspace(report: &Report, level: &str) -> String {
    let Some(userspace) = &report.userspace else { return String::new() };
    let planned = &userspace.planned;
    let mut section = format!(
        "{level} Userspace packages\n\n{}, {}, for {}; {} of the train come with them.\n",
        count(planned.packages.len(), "package"),
        bytes(userspace.bytes),
        text(&planned.wanted.join(", ")),
        planned.from_train
    );
    for shadow in planned.shadows.iter().take(MAX_LINES) {
        let _ = write!(section, "\n- {}", text(shadow));
    }
    section
}

fn warnings(report: &Report, level: &str) -> String {
    let problems = report.problems.iter().map(|problem| format!("{}. Next: {}", problem.what, problem.next));
    let all: Vec<String> = problems.chain(report.warnings.iter().cloned()).collect();
    if all.is_empty() {
        return String::new();
    }
    let mut section = format!("{level} Warnings\n\n");
    for warning in all.iter().take(MAX_LINES) {
        let _ = writeln!(section, "- {}", text(warning));
    }
    section + &more(all.len(), MAX_LINES, "warning")
}

/// What is not shown, in a line.
fn more(all: usize, shown: usize, what: &str) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!("\nAnd {} more.\n", count(more, what)),
    }
}
