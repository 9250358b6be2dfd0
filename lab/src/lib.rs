//! What of the lab other crates' tests and benches use: real servers, of Pulp and of OpenStack, and
//! a virtual machine.
//!
//! The rest of the lab is the binary's. See the README of this directory.
#![expect(clippy::print_stdout, reason = "a library for developers: what it says is progress")]

pub mod base64;
pub mod cmd;
mod enclosure;
pub mod guest;
pub mod openstack;
mod processes;
pub mod pulp;
mod stamps;

/// One line of progress.
pub fn say(line: std::fmt::Arguments<'_>) {
    println!("lab: {line}");
}
