//! Numbers and failures as people read them.

use std::fmt::Write as _;

pub use drivetrain_report::words::{bytes, count, duration};

use crate::failure::Failure;

/// A failure as text, without the last newline.
pub fn failure(failure: &Failure, colour: bool) -> String {
    let paint = |style: console::Style, text: &str| style.force_styling(colour).apply_to(text).to_string();
    // A configuration's errors come with their own heading, file and line.
    let mut text = if failure.message.starts_with("error") {
        safe(failure.message.trim_end())
    } else {
        format!("{}: {}", paint(console::Style::new().red().bold(), "error"), safe(&failure.message))
    };
    for cause in &failure.causes {
        let indented = safe(cause).replace('\n', "\n    ");
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  - {indented}");
    }
    if !failure.considered.is_empty() {
        let _ = write!(text, "\n{}", safe(&super::plan::considered(&failure.considered)));
    }
    if let Some(next) = &failure.next {
        let _ = write!(text, "\n{}: {}", paint(console::Style::new().cyan(), "next"), safe(next));
    }
    text
}

/// Text from elsewhere must not drive the terminal.
fn safe(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\n').collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use drivetrain_model::ExitCode;

    #[test]
    fn spans_and_sizes_are_short() {
        let spans: Vec<_> = [0, 999, 1000, 59_999, 60_000, 192_345, 3_900_000].map(duration).into();
        assert_eq!(spans, ["0 ms", "999 ms", "1.0 s", "59.9 s", "1 min 0 s", "3 min 12 s", "1 h 5 min"]);
        let sizes: Vec<_> = [0, 999, 1000, 999_999, 1_000_000, 6_712_345, u64::MAX].map(bytes).into();
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "6.7 MB", "18.4 EB"]);
    }

    #[test]
    fn a_failure_says_what_why_and_what_next() {
        let failure_ = Failure {
            causes: vec!["the server\u{1b}[31m said 404".into(), "line one\nline two".into()],
            ..Failure::new(ExitCode::Input, "no metadata").next("look at the url")
        };
        assert_eq!(
            failure(&failure_, false),
            "error: no metadata\n  - the server[31m said 404\n  - line one\n    line two\nnext: look at the url"
        );
    }
}
