//! What of the lab other crates' tests and benches use: a real Pulp server.
//!
//! The rest of the lab is the binary's. See the README of this directory.
#![expect(clippy::print_stdout, reason = "a library for developers: what it says is progress")]

pub mod cmd;
pub mod pulp;

/// One line of progress.
pub fn say(line: std::fmt::Arguments<'_>) {
    println!("lab: {line}");
}
