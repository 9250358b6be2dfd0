//! Every byte that comes in comes through here: HTTP, HTTPS and local files, read with patience, verified
//! against a checksum, and kept under it.
//!
//! - [`Source`] says where bytes are and what is needed to read them; [`Secret`] and [`Credentials`] keep
//!   passwords out of every text.
//! - [`MetadataCache`] reads small files that change under one URL (`repomd.xml`), asking the server only
//!   whether they have.
//! - [`Downloader`] reads files whose checksum is known, into the [`Store`]: resumed after an interruption or
//!   a kill, checked before they appear.
//!
//! Nothing here prints; what happens is told through [`Progress`], and what went wrong by [`FetchError`].

mod cache;
mod disk;
mod download;
mod error;
mod hash;
mod http;
mod partial;
mod retry;
mod secret;
mod source;
mod store;

pub use cache::{Cached, MetadataCache};
pub use disk::DiskFull;
pub use download::{Downloader, Fetched, OnProgress, Progress, Request};
pub use error::{FetchError, FetchErrors, Problem, RedirectProblem, Status};
pub use http::{Http, Settings, innermost, tls_config, tls_error, what_broke};
pub use secret::{Credentials, Secret};
pub use source::{Source, SourceError};
pub use store::{Store, StoreError, Stored};
