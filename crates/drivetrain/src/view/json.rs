//! Events as JSON, one a line.

use drivetrain_model::Stamped;

use super::{View, print};

/// Prints every event as a line of JSON on standard output.
pub struct Json;

impl View for Json {
    fn event(&mut self, event: &Stamped) {
        if let Ok(line) = serde_json::to_string(event) {
            print(&format!("{line}\n"));
        }
    }
}
