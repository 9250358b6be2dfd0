//! What of the lab other crates' tests and benches use: real servers, of Pulp and of OpenStack,
//! a virtual machine, containers, and a Kayobe.
//!
//! The rest of the lab is the binary's. See the README of this directory.
#![expect(clippy::print_stdout, reason = "a library for developers: what it says is progress")]

pub mod base64;
pub mod cmd;
pub mod container;
pub mod dracut;
mod enclosure;
pub mod guest;
pub mod kayobe;
pub mod openstack;
mod processes;
pub mod pulp;
mod stamps;
mod venv;

/// One line of progress.
pub fn say(line: std::fmt::Arguments<'_>) {
    println!("lab: {line}");
}
