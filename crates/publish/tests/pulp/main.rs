//! Against a real Pulp server: pulpcore and pulp_rpm on PostgreSQL, the current release and an old one.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test ends where something fails, and may say why"
)]

mod bed;
mod channels;
mod evidence;
mod faults;
mod kill;
mod lifecycle;
mod proxy;
mod signing;
#[path = "../support/mod.rs"]
mod support;
