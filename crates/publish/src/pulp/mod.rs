//! A Pulp server as publication target.
//!
//! ```text
//! repository      doca-ofed-rocky-9.4-3.2.0-5.14.0-427…-x86_64   one for each cell; its versions are what was built
//!   version 7     exactly the packages of one run
//!     publication its metadata
//! distribution    development/rocky-9.4/3.2.0/5.14.0-427…/x86_64 tied to a publication: what consumers see
//! distribution    release/rocky-9.4/3.2.0/5.14.0-427…/x86_64     another channel, perhaps another publication
//! ```
//!
//! The one step is a PATCH of a distribution, which sets its publication and its labels together. So what is served,
//! since when, by whom and how it was proven are one record with the change itself, and no process can end between
//! the two. Everything before that step is invisible to consumers: packages are uploaded outside of any repository,
//! one `modify` makes a version of them, a publication writes its metadata, and a *staging* distribution, which
//! nobody knows of, lets drivetrain read it back through the content server, as consumers will.
//!
//! # What is noted, and where
//!
//! Labels hold it all, so that any machine can go on where another one stopped. Their values may not have `,`, `(`
//! and `)`: what has several parts is written like a form (`lock=…&run=…`).
//!
//! * `drivetrain=1` on repositories and distributions: made by drivetrain.
//! * `drivetrain_version_7` on a repository: what version 7 was made from, and its publication.
//! * `drivetrain_record` and a few words for people (`drivetrain_kernel`, …) on a distribution: what it serves.
//! * `drivetrain_change_…` on a distribution: the history, one label for each change.
//! * `drivetrain_pending` on a distribution: that it is about to change together with others.
//! * `drivetrain_staging` on a staging distribution: of which client. Those that a killed one left are swept.
//!
//! # Signatures
//!
//! Packages are signed before they come here. Metadata are signed where Pulp writes them, by a signing service that an
//! administrator has added ([`PulpOptions::signing_service`]); the signature is verified through the staging
//! distribution before anything is served. Who signed is part of the record, and goes with it to other channels.
//!
//! # Two at once
//!
//! A version always holds exactly what one client gave, whoever comes between (`remove_content_units: ["*"]` in the
//! same `modify`), so that the worst of two clients at once is that the later of two whole sets is served.

mod ensure;
mod evidence;
mod flip;
mod labels;
mod readback;
mod retain;
mod signing;
mod staging;
mod state;
mod target;
mod transaction;
mod upload;

pub use target::{PulpOptions, PulpStep, PulpTarget};
