//! An event as a line for people.

use drivetrain_model::{ComponentOutcome, Event, HeldBack};

use super::words::{bytes, count, duration};

/// How a line is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
}

/// The line that tells an event; `None` for one that is not worth a line.
pub fn sentence(event: &Event) -> Option<(Tone, String)> {
    let line = match event {
        Event::RunStarted { run, .. } => (Tone::Plain, format!("run {run}")),
        Event::FetchStarted { file, url, size, resumed_at } => {
            let size = size.map(|size| format!(", {}", bytes(size))).unwrap_or_default();
            let resumed = if *resumed_at > 0 {
                format!(", going on after {}", bytes(*resumed_at))
            } else {
                String::new()
            };
            (Tone::Plain, format!("fetching {file}{size}{resumed} from {url}"))
        }
        Event::FetchFinished { file, size, cached, signed_by } => {
            let how = if *cached { "is here already" } else { "fetched and verified" };
            let signed = signed_by.as_ref().map(|who| format!(", signed by {who}")).unwrap_or_default();
            (Tone::Plain, format!("{file} {how}, {}{signed}", bytes(*size)))
        }
        Event::ComponentStarted { component, estimate_ms, .. } => {
            let estimate = estimate_ms.map(|ms| format!(" (last time {})", duration(ms))).unwrap_or_default();
            (Tone::Plain, format!("{component}: building{estimate}"))
        }
        Event::ComponentFinished { component, ms, outcome, packages } => match outcome {
            ComponentOutcome::Built => (
                Tone::Good,
                format!("{component}: built in {}, {}", duration(*ms), count(packages.len(), "package")),
            ),
            ComponentOutcome::Repackaged { kernel } => (
                Tone::Good,
                format!(
                    "{component}: packaged for this kernel, as built for {kernel}: it loads the same modules"
                ),
            ),
            ComponentOutcome::Reused => {
                (Tone::Good, format!("{component}: built before from the same inputs"))
            }
            ComponentOutcome::Failed { error } => {
                (Tone::Bad, format!("{component}: failed after {}: {error}", duration(*ms)))
            }
            ComponentOutcome::NotTried { why } => (Tone::Warning, format!("{component}: not built: {why}")),
        },
        Event::Proven { modules, symbols, problems } if problems.is_empty() => (
            Tone::Good,
            format!(
                "{} proven: all of {} found with the right CRC",
                count(*modules, "module"),
                count(*symbols, "symbol")
            ),
        ),
        Event::Proven { modules, problems, .. } => (
            Tone::Bad,
            format!("{} looked at, {} found", count(*modules, "module"), count(problems.len(), "problem")),
        ),
        Event::Installable { packages, from_train } => (
            Tone::Good,
            format!(
                "{} can be installed with {} of the train, and nothing takes their place",
                count(*packages, "package"),
                from_train
            ),
        ),
        Event::Booted { modules, loaded, by, functional, problems, ms, .. } => {
            let how =
                format!("booted by {by} in {}: {loaded} of {}", duration(*ms), count(*modules, "module"));
            let works = functional.as_ref().map(|what| format!("; {what}")).unwrap_or_default();
            if problems.is_empty() {
                (Tone::Good, format!("{how} loaded{works}"))
            } else {
                (Tone::Bad, format!("{how} loaded{works}; {} found", count(problems.len(), "problem")))
            }
        }
        Event::Publishing { doing } => (Tone::Plain, doing.clone()),
        Event::Published { location, version, unchanged, .. } => {
            let what = if *unchanged { "is served already" } else { "is served" };
            (Tone::Good, format!("version {version} {what} at {location}"))
        }
        Event::Lockstep { package, location, version, unchanged, .. } => {
            let what = if *unchanged { "is served already" } else { "is served" };
            (
                Tone::Good,
                format!(
                    "{package} holds kernels and drivers together: version {version} {what} at {location}"
                ),
            )
        }
        Event::MachineAsked { lease, provider, expires } => (
            Tone::Plain,
            format!(
                "asking {provider} for a machine, {lease}, until {}",
                expires.strftime("%Y-%m-%d %H:%MZ")
            ),
        ),
        Event::MachineDoing { doing } => (Tone::Plain, doing.clone()),
        Event::MachineUp { machine, ms } => {
            (Tone::Plain, format!("{machine} answers after {}", duration(*ms)))
        }
        Event::MachineStep { step, because, changed, ms } => {
            let how =
                if *changed { format!("done in {}", duration(*ms)) } else { "nothing to do".to_owned() };
            (Tone::Plain, format!("{step}: {how}: {because}"))
        }
        Event::MachineGone { lease, resources, why } => {
            (Tone::Plain, format!("{lease} is gone ({why}): {}", resources.join(", ")))
        }
        Event::HeldBack { held } => (Tone::Bad, held_back(held)),
        Event::Warning { message } => (Tone::Warning, message.clone()),
        Event::Planned { .. }
        | Event::StageStarted { .. }
        | Event::StageFinished { .. }
        | Event::FetchProgress { .. }
        | Event::ComponentProgress { .. }
        | Event::UploadProgress { .. }
        | Event::RunFinished { .. } => return None,
    };
    Some(line)
}

/// A kernel that nodes do not get, and what they go without.
pub fn held_back(held: &HeldBack) -> String {
    let mut text = format!("held back: {held}");
    for advisory in &held.advisories {
        text.push_str(&format!("\n  without {advisory}"));
    }
    text
}

/// `a`, `a or b`, `a, b or c`.
pub fn alternatives<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}
