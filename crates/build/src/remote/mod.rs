//! Builds on another machine.
//!
//! What runs there is drivetrain itself: its program is put on the machine and called as a *worker*, which is given a
//! [`BuildRequest`](crate::BuildRequest) and does with it what would be done here, in the same sandbox. So a builder
//! needs no installation, no secrets, and no way to anything but this host: source RPMs, the kernel's development tree
//! and finished components that are needed are put there, and what was built is fetched, each byte compared with its
//! checksum.
//!
//! The worker says one JSON object a line: events, as they happen, and at the end its report.

mod archive;
mod client;
mod protocol;
mod worker;

pub use client::{Place, RemoteBuilder, take_finished};
pub use worker::{serve_build, serve_probe, serve_unpack};
