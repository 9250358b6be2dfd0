//! Annotations: what a CI system shows beside the code, in the form of GitHub's workflow commands.

use drivetrain_model::HeldBack;

use crate::FirstError;
use crate::report::{Outcome, Report};
use crate::text::{cut, visible};

/// GitHub shows ten of a kind of one step; more than this nobody reads.
const MAX: usize = 50;
/// The most that is shown of one message, in characters.
const MAX_MESSAGE: usize = 4000;

/// A line for each first error, each kernel that is held back, and each warning: `::error title=…,file=…,line=…::…`.
///
/// The errors come first, since a CI system shows only so many.
#[must_use]
pub fn annotations(report: &Report) -> String {
    let errors = report.first_errors.iter().map(|error| of_error(report, error));
    let held_back = report.held_back.iter().map(|held| of_held_back(&held.held, &held.first_error));
    let problems = report.problems.iter().map(|problem| {
        command("warning", &[("title", "drivetrain")], &format!("{}. Next: {}", problem.what, problem.next))
    });
    let warnings =
        report.warnings.iter().map(|warning| command("warning", &[("title", "drivetrain")], warning));
    let ended = (report.outcome == Outcome::Killed).then(|| {
        command("error", &[("title", "drivetrain")], &format!("run {} was killed before its end", report.run))
    });
    let all: Vec<String> =
        ended.into_iter().chain(errors).chain(held_back).chain(problems).chain(warnings).collect();
    let more = all.len().saturating_sub(MAX);
    let mut text: String = all.into_iter().take(MAX).collect();
    if more > 0 {
        text.push_str(&command(
            "notice",
            &[("title", "drivetrain")],
            &format!("{more} more are in the report"),
        ));
    }
    text
}

fn of_error(report: &Report, error: &FirstError) -> String {
    let cell = report.cell.as_ref().map(|cell| format!(" for kernel {}", cell.kernel)).unwrap_or_default();
    let title = match &error.component {
        Some(component) => format!("{component} does not build{cell}"),
        None => format!("drivetrain {} failed{cell}", report.command),
    };
    placed("error", &title, error, &error.message)
}

fn of_held_back(held: &HeldBack, error: &FirstError) -> String {
    let title = format!("Held back: {}", held.release);
    let mut message = format!("{} does not build for it: {}", held.component, error.message);
    for advisory in &held.advisories {
        message.push_str(&format!("\nwithout {advisory}"));
    }
    placed("warning", &title, error, &message)
}

fn placed(kind: &str, title: &str, error: &FirstError, message: &str) -> String {
    let line = error.line.map(|line| line.to_string());
    let mut properties = vec![("title", title)];
    properties.extend(error.file.as_deref().map(|file| ("file", file)));
    properties.extend(line.as_deref().map(|line| ("line", line)));
    command(kind, &properties, message)
}

/// One command. What is in it can neither end it nor begin another.
fn command(kind: &str, properties: &[(&str, &str)], message: &str) -> String {
    let properties: Vec<String> =
        properties.iter().map(|(name, value)| format!("{name}={}", property(value))).collect();
    format!("::{kind} {}::{}\n", properties.join(","), data(&cut(message, MAX_MESSAGE)))
}

/// As the runner reads it: `%`, and the ends of lines.
fn data(text: &str) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    visible(&text)
}

fn property(text: &str) -> String {
    data(&cut(text, 300)).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_cannot_begin_another_command() {
        let line = command(
            "error",
            &[("title", "a,b: c"), ("file", "x\n::set-env name=A::b")],
            "100%\r\n::stop-commands::x",
        );
        assert_eq!(
            line,
            "::error title=a%2Cb%3A c,file=x%0A%3A%3Aset-env name=A%3A%3Ab::100%25%0D%0A::stop-commands::x\n"
        );
    }

    proptest! {
        #[test]
        fn every_command_is_one_line(title in "(?s).{0,30}", message in "(?s).{0,60}") {
            let line = command("warning", &[("title", &title)], &message);
            prop_assert_eq!(line.matches(['\n', '\r']).count(), 1);
            // What ends the properties is the first `::` after them.
            prop_assert!(!line["::warning ".len()..].split("::").next().unwrap_or_default().contains(':'));
        }
    }
}
