//! A line for each event, for logs.

use drivetrain_model::Stamped;
use jiff::Timestamp;

use super::sentence::{Tone, sentence};
use super::{View, note};

/// Prints lines on standard error, each with the seconds since the first.
pub struct Plain {
    began: Option<Timestamp>,
    /// Which of several cells it is.
    label: Option<String>,
}

impl Plain {
    /// Begins with the first event.
    pub fn new() -> Self {
        Self { began: None, label: None }
    }

    /// One of several cells, which all began at this moment.
    pub fn beside(began: Timestamp, label: String) -> Self {
        Self { began: Some(began), label: Some(label) }
    }
}

impl View for Plain {
    fn event(&mut self, stamped: &Stamped) {
        let began = *self.began.get_or_insert(stamped.at);
        let Some((tone, line)) = sentence(&stamped.event) else { return };
        let seconds = stamped.at.duration_since(began).as_secs_f64();
        let mark = match tone {
            Tone::Plain | Tone::Good => "",
            Tone::Warning => "warning: ",
            Tone::Bad => "error: ",
        };
        // Names in events come from repositories; a line stays a line.
        let line = line.replace(['\n', '\r', '\u{1b}'], " ");
        let whose = self.label.as_ref().map(|label| format!("{label}: ")).unwrap_or_default();
        note(&format!("[{seconds:7.1} s] {mark}{whose}{line}"));
    }
}
