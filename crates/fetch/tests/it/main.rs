//! Fetching against a server that does all that servers do.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod all;
mod download;
mod faults;
mod interruptions;
mod metadata;
mod processes;
mod redirects;
mod server;
mod speed;
mod support;
mod tls;
