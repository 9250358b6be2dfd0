//! A thin typed client for Pulp 3 with its RPM plugin.
//!
//! It knows the server's ways and nothing of drivers: how to log in, what may be repeated, how a task ends, how a
//! package gets there in one piece. What was measured on real servers decides how it does things:
//!
//! * Basic authentication costs the server a third of a second for every request (a password hash of a million
//!   rounds), so there is a session where the server can have one (`POST login/`, pulpcore 3.70 and later).
//! * Answers that are HTML, with 400, 404 or 500, are common: of the web server around Pulp, or of its bugs. No
//!   answer is taken for JSON before it is.
//! * The server ignores a checksum that is sent with a package, and accepts a package that was cut. The one check
//!   is to compare the `sha256` of its answer; [`Client::upload_package`] does.
//! * A change of repositories, publications and distributions is a task. [`Client::finished`] waits for it, and for
//!   the ways in which tasks do not end: a killed worker, no worker, a worker that was not woken.
//!
//! # What is repeated
//!
//! Every request says whether it can be sent twice ([`Repeat`]). Those that can are, for as long as
//! [`Settings::patience`] says, where the server cannot be reached or answers 5xx: it is being restarted, or its
//! database is. Of the others the caller has to look whether they were done.

mod client;
mod content;
mod error;
mod files;
mod objects;
mod profile;
mod session;
mod settings;
mod signing;
mod status;
mod task;
mod upload;

pub use client::{Client, Repeat};
pub use content::{Beginning, Content, GuardAccess};
pub use error::{Doing, Need, PulpError, Result};
pub use files::{FileContent, FileRepository};
pub use objects::{Distribution, Guard, Href, Labels, Package, Publication, Repository, Version};
pub use profile::{Profile, ProfileError, default_profile_file};
pub use settings::{Notice, Settings, correlation_id};
pub use signing::SigningService;
pub use status::{Capabilities, Status, Storage};
pub use task::Finished;
pub use upload::PackageFile;
