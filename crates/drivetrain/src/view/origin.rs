//! Where a train came from.

use std::fmt::Write as _;

use drivetrain_config::TrainOrigin;

/// One line: the checkout, its state and the environment.
pub fn line(origin: &TrainOrigin) -> String {
    format!("train       from {}\n", origin.identity)
}

/// Every value with the line that it stands in, and what led there.
pub fn explanation(origin: &TrainOrigin) -> String {
    let mut text = line(origin);
    // Writing to a string cannot fail.
    for value in &origin.values {
        let _ = writeln!(text, "  {} = {}", value.key, value.value.shown());
        let _ = writeln!(text, "      {} ({})", value.variable, value.place);
        for step in &value.chain {
            let _ = writeln!(text, "        {step}");
        }
    }
    for note in &origin.notes {
        let _ = writeln!(text, "  note: {note}");
    }
    text.push('\n');
    text
}
