//! Everything that is printed.
//!
//! A [`View`] shows events as they happen: [`Terminal`] with bars, [`Plain`] with a line each, [`Json`] with a
//! line of JSON each, [`Quiet`] not at all. The other modules turn results into text. Nothing else in drivetrain
//! writes to standard output or standard error.

pub mod boot;
pub mod closure;
pub mod diff;
mod json;
pub mod keys;
pub mod matrix;
pub mod origin;
mod output;
mod plain;
pub mod plan;
pub mod proof;
pub mod runs;
pub mod sentence;
mod terminal;
pub mod verify;
pub mod words;

use std::io::{IsTerminal, Write as _};

use drivetrain_model::Stamped;

use crate::failure::Failure;
pub use json::Json;
pub use output::{lost, lost_failure, print};
pub use plain::Plain;
pub use terminal::Terminal;

/// Shows events.
pub trait View: Send {
    /// One happened.
    fn event(&mut self, event: &Stamped);

    /// Steps aside while something else is printed.
    fn suspend(&mut self, print: Box<dyn FnOnce() + '_>) {
        print();
    }

    /// Nothing more will happen.
    fn close(&mut self) {}
}

/// Shows nothing.
pub struct Quiet;

impl View for Quiet {
    fn event(&mut self, _: &Stamped) {}
}

/// The view that fits: JSON on request, bars for a person at a terminal, plain lines otherwise.
pub fn choose(json: bool, quiet: bool) -> Box<dyn View> {
    if json {
        Box::new(Json::default())
    } else if quiet {
        Box::new(Quiet)
    } else if is_for_a_person() {
        Box::new(Terminal::new())
    } else {
        Box::new(Plain::new())
    }
}

/// Whether somebody watches who is served by bars.
fn is_for_a_person() -> bool {
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    let ci = std::env::var_os("CI").is_some();
    std::io::stderr().is_terminal() && !dumb && !ci
}

/// Prints a result as JSON.
pub fn print_json(value: &impl serde::Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => note(&format!("this cannot be written as JSON: {error}")),
    }
}

/// Prints something beside the result.
pub fn note(text: &str) {
    let mut out = std::io::stderr().lock();
    drop(writeln!(out, "{text}"));
}

/// Prints a failure: what, why, what next. With `json` as an object on standard output, where a program reads.
pub fn failure(failure: &Failure, json: bool) {
    if json {
        print(&format!("{}\n", serde_json::json!({ "error": failure })));
    }
    // Where nothing more can be printed, it is better said beside than not at all.
    if json && lost().is_none() {
        return;
    }
    note(&words::failure(failure, std::io::stderr().is_terminal()));
}
