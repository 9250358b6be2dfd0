//! Events as JSON, one a line.

use drivetrain_model::Stamped;

use super::{View, print};

/// Prints every event as a line of JSON on standard output.
#[derive(Default)]
pub struct Json {
    cell: Option<String>,
}

impl Json {
    /// Says with each event which of several cells it is of.
    pub fn of_cell(name: &str) -> Self {
        Self { cell: Some(name.to_owned()) }
    }
}

impl View for Json {
    fn event(&mut self, event: &Stamped) {
        let Ok(mut value) = serde_json::to_value(event) else { return };
        if let (Some(cell), Some(fields)) = (&self.cell, value.as_object_mut()) {
            fields.insert("of".to_owned(), cell.clone().into());
        }
        print(&format!("{value}\n"));
    }
}
