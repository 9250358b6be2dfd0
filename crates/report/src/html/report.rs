//! The page of a run.

use drivetrain_model::{Advisory, BootPolicy, ComponentOutcome, PlannedPatch};
use maud::{Markup, html};

use super::{Page, chart, columns, link, mark, table};
use crate::report::{ComponentRow, HeldBackKernel, Outcome, Proof, Report, Userspace};
use crate::text::cut;
use crate::words::{bytes, count, duration, moment};
use crate::{Boot, BootedModule, Check, Excerpt, FirstError, planned_boot};

/// A table with more rows is folded.
const MANY: usize = 12;

pub(crate) fn page(report: &Report) -> String {
    let mut sections = Vec::new();
    let mut add = |id, heading, content: Option<Markup>| {
        if let Some(content) = content {
            sections.push((id, heading, content));
        }
    };
    add("errors", "First errors", first_errors(report));
    add("held-back", "Held back", held_back(report));
    add("install", "On a node", install(report));
    add("components", "Components", components(report));
    add("timings", "Timings", (!report.timeline.spans.is_empty()).then(|| chart::chart(&report.timeline)));
    add("proof", "Verdicts", verdicts(report));
    add("boot", "Boot", booted(report));
    add("warnings", "Warnings", warnings(report));
    add("kernels", "Kernels of the train", kernels(report));
    add("userspace", "Userspace packages", report.userspace.as_ref().map(userspace));
    add("inputs", "Inputs", inputs(report));
    add("files", "Evidence", files(report));
    let page = Page {
        title: &title(report),
        header: header(report),
        sections,
        footer: html! {
            p { "Made by drivetrain " (report.drivetrain) " from the journal of run " (report.run) "." }
        },
        script: None,
    };
    page.render()
}

/// Short enough for a browser's tab.
fn title(report: &Report) -> String {
    let what =
        report.cell.as_ref().map_or_else(|| format!("run {}", report.run), |cell| cell.kernel.to_string());
    format!("{}: {} – drivetrain", report.outcome.word(), cut(&what, 40))
}

pub(super) fn outcome_mark(outcome: Outcome) -> Markup {
    let class = match outcome {
        Outcome::Served | Outcome::Unchanged | Outcome::Built => "good",
        Outcome::Failed => "bad",
        Outcome::Interrupted | Outcome::Killed => "warn",
        Outcome::Running => "plain",
    };
    mark(class, outcome.word())
}

fn header(report: &Report) -> Markup {
    html! {
        p.soft { "drivetrain " (report.command) " " (outcome_mark(report.outcome)) }
        h1 { (report.headline()) }
        dl.facts {
            @if let Some(cell) = &report.cell {
                dt { "Train" } dd { (cell.train) ", " (cell.arch) }
                dt { "Kernel" } dd { (cell.kernel) @if let Some(why) = why(report) { span.soft { ", " (why) } } }
                dt { "Driver" } dd { (cell.driver) }
            }
            @if let Some(published) = &report.published {
                dt { "Served at" } dd { (link(&published.location, &published.location)) ", version " (published.version) }
            } @else if let Some(publication) = &report.publication {
                dt { "For" } dd { (publication.target) ", " (publication.path) }
            }
            dt { "Run" } dd { span.mono { (report.run) } @if let Some(began) = report.began { ", " (moment(began)) } ", took " (duration(report.ms)) }
            @if let Some(exit) = &report.exit { dt { "Exit code" } dd { (exit.code) ", " (exit.meaning) } }
            @if let Some(stage) = report.broken_stage { dt { "Ended in" } dd { "stage " (stage.name()) } }
            @if let Some(lock) = &report.lock { dt { "Lock" } dd { span.mono { (lock) } } }
            @if let Some(toolchain) = &report.toolchain { dt { "Toolchain" } dd { (toolchain) } }
            @for line in &report.builder { dt { "Builder" } dd { (line) } }
        }
    }
}

/// Why this kernel.
fn why(report: &Report) -> Option<&str> {
    let kernel = report.kernel.as_ref()?;
    kernel.considered.iter().find(|choice| choice.chosen).map(|choice| choice.why.as_str())
}

fn first_errors(report: &Report) -> Option<Markup> {
    (!report.first_errors.is_empty()).then(|| {
        html! { ul.plainlist { @for error in &report.first_errors { li { (first_error(error, None, Beside::Logs)) } } } }
    })
}

/// What is beside a page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// The logs of its run.
    Logs,
    /// Nothing that it could lead to.
    Nothing,
}

pub(super) fn first_error(error: &FirstError, heading: Option<&str>, beside: Beside) -> Markup {
    let component = error.component.as_ref().map_or("The run", |component| component.as_str());
    html! {
        h3 { (heading.unwrap_or(component)) }
        @if heading.is_some() { p { (component) " does not build for it." } }
        @if let Some(place) = error.place() { p { code { (place) } } }
        pre.wrap { (error.message) }
        @if let Some(excerpt) = &error.excerpt { (excerpt_of(excerpt)) }
        @if let Some(log) = &error.log {
            p.small { "Log: " @if beside == Beside::Logs && is_beside(log) { (link(log, log)) } @else { code { (log) } } }
        }
    }
}

/// Lines of a log, with their numbers.
fn excerpt_of(excerpt: &Excerpt) -> Markup {
    let last = excerpt.first_line + excerpt.lines.len();
    let width = last.to_string().len();
    let caption = if excerpt.error_line.is_some() { "In the log" } else { "The end of the log" };
    html! {
        details open {
            summary { (caption) ", from line " (excerpt.first_line) }
            section.scroll tabindex="0" aria-label=(format!("{caption}, from line {}", excerpt.first_line)) {
                pre {
                    @for (line, number) in excerpt.lines.iter().zip(excerpt.first_line..) {
                        @let text = format!("{number:>width$}  {line}\n");
                        @if excerpt.error_line == Some(number) { b { (text) } } @else { (text) }
                    }
                }
            }
        }
    }
}

fn held_back(report: &Report) -> Option<Markup> {
    (!report.held_back.is_empty()).then(|| {
        html! {
            div.note.warn {
                p { strong { "Nodes must not boot " (count(report.held_back.len(), "newer kernel")) " of the train: the driver does not build for "
                    @if report.held_back.len() == 1 { "it" } @else { "them" } "." } }
            }
            ul.plainlist { @for held in &report.held_back { li { (held_back_kernel(held)) } } }
        }
    })
}

fn held_back_kernel(held: &HeldBackKernel) -> Markup {
    html! {
        (first_error(&held.first_error, Some(held.held.release.as_str()), Beside::Logs))
        (advisories(&held.held.advisories))
    }
}

/// What nodes go without.
pub(super) fn advisories(advisories: &[Advisory]) -> Markup {
    html! {
        @if !advisories.is_empty() {
            p { "Without it nodes go without:" }
            ul { @for advisory in advisories { li { (advisory) } } }
        }
    }
}

fn install(report: &Report) -> Option<Markup> {
    let published = report.published.as_ref()?;
    Some(html! {
        p { "With root's rights, on a node that boots "
            @if let Some(cell) = &report.cell { "kernel " (cell.kernel) } @else { "this kernel" } ":" }
        pre.wrap { @for command in &report.install { (command) "\n" } }
        @if let Some(file) = &published.repo_file { p.small { "The repository: " (link(file, file)) } }
    })
}

fn components(report: &Report) -> Option<Markup> {
    if report.components.is_empty() && report.skipped.is_empty() {
        return None;
    }
    let tried = report.components.iter().filter(|row| row.outcome.is_some()).count();
    let caption = match tried {
        0 => "In build order; none was come to".to_owned(),
        _ => "In build order, with what became of each".to_owned(),
    };
    let head = html! {
        th scope="col" { "Component" }
        th scope="col" { "Outcome" }
        th.number scope="col" { "Time" }
        th scope="col" { "Where the time went" }
        th scope="col" { "Built against" }
        th scope="col" { "Packages" }
    };
    let rows = html! { @for row in &report.components { (component(row)) } };
    Some(html! {
        (table("components-table", &caption, head, rows))
        @if !report.skipped.is_empty() {
            p { "Left out:" }
            ul { @for skipped in &report.skipped { li { (skipped.name) ": " (skipped.why) } } }
        }
    })
}

fn component(row: &ComponentRow) -> Markup {
    let class = match &row.outcome {
        Some(ComponentOutcome::Built | ComponentOutcome::Reused | ComponentOutcome::Repackaged { .. }) => {
            "good"
        }
        Some(ComponentOutcome::Failed { .. }) => "bad",
        Some(ComponentOutcome::NotTried { .. }) => "warn",
        None => "plain",
    };
    let phases: Vec<String> = row
        .phases
        .iter()
        .take(4)
        .filter(|(_, ms)| *ms > 0)
        .map(|(phase, ms)| format!("{phase} {}", duration(*ms)))
        .collect();
    let needs: Vec<&str> = row.needs.iter().map(|name| name.as_str()).collect();
    html! {
        tr {
            th scope="row" {
                (row.name)
                @if let Some(source) = &row.source { div.small.soft { (source.evr) } }
                @for patch in &row.patches { div.small.soft { (patch_line(patch)) } }
                @if let Some(log) = row.log.as_ref().filter(|log| is_beside(log)) {
                    div.small { (link(log, &format!("log of {}", row.name))) }
                }
            }
            td { (mark(class, row.word())) @if let Some(ComponentOutcome::NotTried { why }) = &row.outcome { div.small { (why) } } }
            td.number { @if row.ms > 0 { (duration(row.ms)) } }
            td { (phases.join(", ")) }
            td { (needs.join(", ")) }
            td { (packages(row)) }
        }
    }
}

/// A row is as high as the rest of it: the names are opened by who wants them.
fn packages(row: &ComponentRow) -> Markup {
    html! {
        @if !row.packages.is_empty() {
            details.small {
                summary { (count(row.packages.len(), "package")) span.visually-hidden { " of " (row.name) } }
                @for package in &row.packages { div { (package) } }
            }
        }
    }
}

/// Whether a log is beside the report. Others are on the host that the run was on, and whoever reads this may be elsewhere.
fn is_beside(log: &str) -> bool {
    !log.starts_with('/')
}

/// `with fix.patch (the header has it)`
fn patch_line(patch: &PlannedPatch) -> String {
    let with = if patch.applied { "with" } else { "without" };
    let why = if patch.why.is_empty() { String::new() } else { format!(" ({})", patch.why) };
    format!("{with} {}{why}", patch.file)
}

fn verdicts(report: &Report) -> Option<Markup> {
    let proof = report.proof.as_ref()?;
    Some(html! {
        p {
            @if proof.problems.is_empty() { (mark("good", "all load")) } @else { (mark("bad", "not all load")) }
            " " (count(proof.modules, "module")) " looked at, " (count(proof.symbols, "symbol")) " looked up by their CRC."
        }
        @if !proof.problems.is_empty() { ul { @for problem in &proof.problems { li { (problem) } } } }
        @match &report.installation {
            Some(installation) => p {
                (mark("good", "installs")) " " (count(installation.packages, "package")) " can be installed with "
                (installation.from_train) " of the train, and nothing takes their place."
            },
            None => p { (mark("warn", "not proven")) " That the packages can be installed was not come to." },
        }
        @if !proof.each.is_empty() { (modules(proof)) }
    })
}

fn modules(proof: &Proof) -> Markup {
    let head = html! { (columns(&["Module", "Package", "Loads"])) th.number scope="col" { "Symbols" } };
    let rows = html! {
        @for module in &proof.each {
            tr {
                th scope="row" { (module.name) }
                td { (module.package.as_deref().unwrap_or("")) }
                td { @if module.loads { "yes" } @else { (mark("bad", "no")) } }
                td.number { (module.symbols) }
            }
        }
    };
    folded(
        proof.each.len(),
        "module",
        table("modules-table", "The modules, with how many of their symbols were found", head, rows),
    )
}

fn booted(report: &Report) -> Option<Markup> {
    let Some(boot) = &report.boot else {
        let planned = report.planned_boot.as_ref()?;
        return Some(html! { p { (mark("plain", "not booted")) " " (planned_boot(planned)) "." } });
    };
    Some(html! {
        p {
            @if boot.is_good() { (mark("good", "booted")) } @else { (mark("bad", "not well")) }
            " " (boot.loaded) " of " (count(boot.modules, "module")) " loaded by kernel " (boot.kernel) ", which ran by "
            (boot.by) " for " (duration(boot.ms)) @if boot.memory > 0 { " with " (boot.memory) " MiB of memory" } "."
        }
        @if !boot.is_good() {
            @if boot.policy == Some(BootPolicy::Warn) { p { "By " code { "prove.boot: warn" } " this is told and published:" } }
            ul { @for problem in &boot.problems { li { (problem) } } }
        }
        @if let Some(console) = &boot.console { p.small { "What the kernel said: " (link(console, console)) } }
        @if !boot.each.is_empty() { (booted_modules(boot)) }
        @if let Some(check) = &boot.check { (functional(check)) }
        @if let Some(initramfs) = &boot.initramfs { p { (initramfs.in_words()) "." } }
        @if !boot.warnings.is_empty() { ul { @for warning in &boot.warnings { li { (warning) } } } }
    })
}

fn booted_modules(boot: &Boot) -> Markup {
    let head = columns(&["Module", "Result", "Loaded from", "Signed by", "Taint", "srcversion"]);
    let rows = html! { @for module in &boot.each { (booted_module(module)) } };
    let caption = "Every module in the order of loading, with those that are needed";
    folded(boot.each.len(), "module", table("boot-table", caption, head, rows))
}

fn booted_module(module: &BootedModule) -> Markup {
    html! {
        tr {
            th scope="row" {
                (module.name)
                div.small.soft { @if module.ours { (module.package.as_deref().unwrap_or("")) } @else { "needed" } }
            }
            td {
                (mark(if module.loaded { "good" } else { "bad" }, &module.result))
                @if !module.said.is_empty() {
                    details.small {
                        summary { "The kernel's words" span.visually-hidden { " of " (module.name) } }
                        pre.wrap { @for line in &module.said { (line) "\n" } }
                    }
                }
            }
            td.wide { (module.path) }
            td { (module.signer.as_deref().unwrap_or("nobody")) }
            td { (module.taint.as_deref().unwrap_or("")) }
            td { span.mono.small { (module.srcversion.as_deref().unwrap_or("")) } }
        }
    }
}

fn functional(check: &Check) -> Markup {
    let head = columns(&["Step", "Result", "Said"]);
    let rows = html! {
        @for step in &check.steps {
            tr {
                th scope="row" { (step.step) }
                td { @if step.ok { (mark("good", "so")) } @else { (mark("bad", "not so")) } }
                td.wide { @for line in &step.said { div.mono.small { (line) } } }
            }
        }
    };
    html! {
        (table("check-table", &format!("Whether it works: {}", check.name), head, rows))
        @if !check.counters.is_empty() { p { "Counted: " (check.counters.join(", ")) "." } }
    }
}

/// What is long is opened by who wants it.
fn folded(rows: usize, what: &str, content: Markup) -> Markup {
    html! {
        @if rows > MANY { details { summary { "All " (count(rows, what)) } (content) } } @else { (content) }
    }
}

fn warnings(report: &Report) -> Option<Markup> {
    if report.warnings.is_empty() && report.problems.is_empty() {
        return None;
    }
    Some(html! {
        ul {
            @for problem in &report.problems { li { (problem.what) ". Next: " (problem.next) } }
            @for warning in &report.warnings { li { (warning) } }
        }
    })
}

fn kernels(report: &Report) -> Option<Markup> {
    let kernel = report.kernel.as_ref()?;
    let head = columns(&["Kernel", "Chosen", "Why", "Repository", "kernel-devel"]);
    let rows = html! {
        @for choice in &kernel.considered {
            tr {
                th scope="row" { (choice.release) }
                td { @if choice.chosen { (mark("good", "yes")) } @else { "no" } }
                td { (choice.why) }
                td { (choice.repository) }
                td { @match &choice.devel { Some((_, repository)) => (repository), None => (mark("warn", "none")) } }
            }
        }
    };
    Some(html! {
        p { "Policy: " (kernel.policy) "." }
        (folded(kernel.considered.len(), "kernel", table("kernels-table", "All kernels of the train, newest first", head, rows)))
    })
}

fn userspace(userspace: &Userspace) -> Markup {
    let planned = &userspace.planned;
    let head =
        html! { th scope="col" { "Package" } th.number scope="col" { "Size" } th scope="col" { "Why" } };
    let rows = html! {
        @for package in &planned.packages {
            tr {
                th scope="row" { (package.nevra) }
                td.number { (bytes(package.size)) }
                td.wide {
                    (package.why.first().map_or("", String::as_str))
                    @if package.why.len() > 1 { span.soft { ", and " (count(package.why.len() - 1, "reason")) " more" } }
                }
            }
        }
    };
    html! {
        p {
            (count(planned.packages.len(), "package")) ", " (bytes(userspace.bytes)) ", for " (planned.wanted.join(", ")) "; "
            (planned.from_train) " of the train come with them."
        }
        (folded(planned.packages.len(), "package", table("userspace-table", "What the train lacks of what is wanted", head, rows)))
        @if !planned.shadows.is_empty() { ul { @for shadow in &planned.shadows { li { (shadow) } } } }
    }
}

fn inputs(report: &Report) -> Option<Markup> {
    if report.inputs.is_empty() {
        return None;
    }
    let head = html! {
        th scope="col" { "File" } th scope="col" { "For" } th scope="col" { "From" } th.number scope="col" { "Size" } th scope="col" { "Checksum" }
    };
    let rows = html! {
        @for input in &report.inputs {
            tr {
                th scope="row" { (link(input.url.as_str(), &input.nevra.to_string())) }
                td { (crate::markdown::role(input.role)) }
                td { @if let Some(repository) = &input.repository { (repository) } }
                td.number { (bytes(input.size)) }
                td.wide { span.mono.small { (input.checksum) } }
            }
        }
    };
    let repositories = html! {
        @for (id, locked) in &report.repositories {
            tr {
                th scope="row" { (id) }
                td.wide { (link(locked.url.as_str(), locked.url.as_str())) }
                td.wide { span.mono.small { (locked.repomd) } }
                td.wide { @for key in &locked.keys { div.mono.small { (key) } } }
            }
        }
    };
    let columns = columns(&["Repository", "URL", "repomd.xml, SHA-256", "Keys"]);
    Some(html! {
        (folded(report.inputs.len(), "input", table("inputs-table", "Every file that it was made from", head, rows)))
        (table("repositories-table", "The repositories as they were", columns, repositories))
    })
}

fn files(report: &Report) -> Option<Markup> {
    (!report.files.is_empty()).then(|| {
        html! {
            p { "In the directory of the run:" }
            ul { @for file in &report.files { li { (link(file, file)) } } }
        }
    })
}
