//! Bars for a person who watches.

use std::collections::HashMap;
use std::time::Duration;

use drivetrain_model::{Event, Stamped};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::View;
use super::sentence::{Tone, sentence};

/// What the bar of uploads is kept under: no file's name, since it has a slash.
const UPLOAD: &str = "/upload";

/// What the line about a machine is kept under: no component's name, since it has a slash.
const MACHINE: &str = "/machine";

/// A bar for each transfer and each component that is being built, with finished ones as lines above.
pub struct Terminal {
    bars: MultiProgress,
    transfers: HashMap<String, ProgressBar>,
    components: HashMap<String, ProgressBar>,
    /// Which of several cells it is.
    label: Option<String>,
}

impl Terminal {
    /// On standard error.
    pub fn new() -> Self {
        Self::on(MultiProgress::new(), None)
    }

    /// Of one of several cells, on a terminal that they share.
    pub fn beside(bars: MultiProgress, label: String) -> Self {
        Self::on(bars, Some(label))
    }

    fn on(bars: MultiProgress, label: Option<String>) -> Self {
        Self { bars, transfers: HashMap::new(), components: HashMap::new(), label }
    }

    /// A text with the cell that it is of.
    fn whose(&self, text: &str) -> String {
        self.label.as_ref().map_or(text.to_owned(), |label| format!("{label}: {text}"))
    }

    fn line(&self, tone: Tone, text: &str) {
        let style = console::Style::new().for_stderr();
        let mark = match tone {
            Tone::Plain => style.dim().apply_to("·"),
            Tone::Good => style.green().apply_to("✓"),
            Tone::Warning => style.yellow().apply_to("!"),
            Tone::Bad => style.red().apply_to("✗"),
        };
        let text = console::strip_ansi_codes(text).replace(['\r', '\u{1b}'], " ");
        drop(self.bars.println(format!("{mark} {}", self.whose(&text))));
    }

    fn transfer(&mut self, file: &str, size: Option<u64>, resumed_at: u64) {
        let bar = match size {
            Some(size) => ProgressBar::new(size).with_style(style(
                "  {msg:40!} {decimal_bytes:>11} of {decimal_total_bytes:11} {bar:20} {decimal_bytes_per_sec:>12}, {eta} left",
            )),
            None => ProgressBar::no_length().with_style(style("  {msg:40!} {decimal_bytes:>11} {decimal_bytes_per_sec:>12}")),
        };
        let bar = self.bars.add(bar.with_message(file.to_owned()));
        bar.set_position(resumed_at);
        self.transfers.insert(file.to_owned(), bar);
    }

    /// One bar for all uploads together: they are one step.
    fn upload(&mut self, files: usize, of_files: usize, bytes: u64, of_bytes: u64) {
        if !self.transfers.contains_key(UPLOAD) {
            self.transfer(UPLOAD, Some(of_bytes), bytes);
        }
        if let Some(bar) = self.transfers.get(UPLOAD) {
            bar.set_message(format!("uploading {files} of {of_files} packages"));
            bar.set_position(bytes);
        }
    }

    /// What takes a while, under a key, with its name.
    fn spinner(&mut self, key: &str, name: &str, estimate_ms: Option<u64>) {
        let estimate = estimate_ms.map(|ms| format!(" of about {}", super::words::duration(ms)));
        let (name, width) = match &self.label {
            None => (name.to_owned(), 18),
            // The name first: where there is no room for all, that is left.
            Some(label) => (format!("{name}, {label}"), 46),
        };
        let template = format!(
            "  {{spinner}} {{prefix:{width}!}} {{elapsed:>6}}{}  {{wide_msg}}",
            estimate.unwrap_or_default()
        );
        let bar = ProgressBar::new_spinner().with_style(style(&template)).with_prefix(name);
        let bar = self.bars.add(bar);
        bar.enable_steady_tick(Duration::from_millis(120));
        self.components.insert(key.to_owned(), bar);
    }
}

/// A template of ours is always one that indicatif can read; if not, its own style will do.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl View for Terminal {
    fn event(&mut self, stamped: &Stamped) {
        match &stamped.event {
            Event::FetchStarted { file, size, resumed_at, .. } => self.transfer(file, *size, *resumed_at),
            Event::FetchProgress { file, bytes } => {
                if let Some(bar) = self.transfers.get(file) {
                    bar.set_position(*bytes);
                }
            }
            Event::FetchFinished { file, .. } => {
                if let Some(bar) = self.transfers.remove(file) {
                    bar.finish_and_clear();
                }
            }
            Event::ComponentStarted { component, estimate_ms, .. } => {
                self.spinner(component.as_str(), component.as_str(), *estimate_ms);
            }
            Event::ComponentProgress { component, doing } => {
                if let Some(bar) = self.components.get(component.as_str()) {
                    bar.set_message(doing.clone());
                }
            }
            Event::ComponentFinished { component, .. } => {
                if let Some(bar) = self.components.remove(component.as_str()) {
                    bar.finish_and_clear();
                }
            }
            Event::UploadProgress { files, of_files, bytes, of_bytes } => {
                self.upload(*files, *of_files, *bytes, *of_bytes);
            }
            Event::MachineDoing { doing } => {
                if !self.components.contains_key(MACHINE) {
                    self.spinner(MACHINE, "machine", None);
                }
                if let Some(bar) = self.components.get(MACHINE) {
                    bar.reset_elapsed();
                    bar.set_message(doing.clone());
                }
            }
            Event::MachineUp { .. } | Event::MachineStep { .. } | Event::MachineGone { .. } => {
                if let Some(bar) = self.components.remove(MACHINE) {
                    bar.finish_and_clear();
                }
            }
            Event::Publishing { .. } | Event::StageFinished { .. } => {
                if let Some(bar) = self.transfers.remove(UPLOAD) {
                    bar.finish_and_clear();
                }
            }
            _ => {}
        }
        // The bar says that it has begun.
        let has_begun = |event: &Event| {
            matches!(
                event,
                Event::FetchStarted { .. } | Event::ComponentStarted { .. } | Event::MachineDoing { .. }
            )
        };
        if has_begun(&stamped.event) {
            return;
        }
        if let Some((tone, line)) = sentence(&stamped.event) {
            self.line(tone, &line);
        }
    }

    fn suspend(&mut self, print: Box<dyn FnOnce() + '_>) {
        self.bars.suspend(print);
    }

    fn close(&mut self) {
        match self.label {
            None => drop(self.bars.clear()),
            // The others' bars stay.
            Some(_) => self
                .transfers
                .drain()
                .chain(self.components.drain())
                .for_each(|(_, bar)| bar.finish_and_clear()),
        }
    }
}
