//! What was found of a published repository, as text.

use std::fmt::Write as _;

use super::words::count;
use crate::verification::{Check, Outcome, Verification};

/// No more of the problems of one check are shown.
const MAX_PROBLEMS: usize = 20;

/// All of it.
pub fn verification(verification: &Verification) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", verification.url);
    if let (Some(driver), Some(cell)) = (&verification.driver, &verification.cell) {
        let _ = writeln!(
            text,
            "{driver} {} for kernel {} of {} ({})",
            cell.driver, cell.kernel, cell.train, cell.arch
        );
    }
    text.push('\n');
    verification.checks.iter().for_each(|check| line(&mut text, check));
    let _ = writeln!(text, "\n{}", summary(verification));
    text
}

fn line(text: &mut String, check: &Check) {
    let _ = writeln!(text, "  {:<7} {:<14} {}", word(check.result), check.what, check.found);
    for problem in check.problems.iter().take(MAX_PROBLEMS) {
        let _ = writeln!(text, "  {:<22} {problem}", "");
    }
    if let Some(more) = check.problems.len().checked_sub(MAX_PROBLEMS).filter(|more| *more > 0) {
        let _ = writeln!(text, "  {:<22} and {more} more", "");
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Good => "ok",
        Outcome::Warning => "note",
        Outcome::Bad => "BAD",
        Outcome::Unfit => "UNFIT",
    }
}

fn summary(verification: &Verification) -> String {
    let of = |outcome: fn(Outcome) -> bool| {
        verification.checks.iter().filter(|check| outcome(check.result)).count()
    };
    let bad = of(|outcome| outcome >= Outcome::Bad);
    let notes = of(|outcome| outcome == Outcome::Warning);
    match (bad, notes) {
        (0, 0) => "all is well".to_owned(),
        (0, notes) => format!("all is well, with {}", count(notes, "note")),
        (bad, _) => format!("{} not as it should be: do not install from it", count(bad, "thing")),
    }
}
