//! RPM files: what their headers say, whether their bytes are the ones that were signed, and what is in them.
//!
//! The one place that knows the `rpm` crate, whose interface moves with every release. Everything that is read
//! here is taken to be hostile; this crate adds what the `rpm` crate (0.30.2) does not do:
//!
//! * **Headers are checked before they are parsed** (`header.rs`). The parser trusts counts and offsets: an
//!   entry that points outside the header panics, entries that overlap multiply in memory, and a header that
//!   says that it is large is allocated before a byte of it is read.
//! * **Payloads are read in one pass** ([`for_each_file`]). `PackageReader` compares each entry with every file of
//!   the header (18,000 files, as kernel-devel has, took it 34 s, and take 0.06 s here), allocates whatever
//!   length an entry claims for its name, and tells the compression by what happens to be left in a buffer.
//! * **Expiry and revocation** ([`Keyring`]). `Verifier` looks at neither.
//!
//! The formats: <https://rpm-software-management.github.io/rpm/manual/format_v4.html>, `lib/header.c` and
//! `lib/cpio.c` of rpm.

mod build;
mod compress;
mod cpio;
mod digest;
mod driver_sources;
mod error;
mod extract;
mod file;
mod header;
mod keyring;
mod macros;
mod payload;
mod rewrite;
mod sign;
mod source;
mod spec;
mod write;

pub use build::MetaPackage;
pub use digest::{PackageDigests, package_digests, verify, verify_digests};
pub use driver_sources::{DriverSources, SourceEntry, SourceLimits};
pub use error::{Error, Problem, Result};
pub use extract::{Extracted, extract};
pub use file::{FileFact, FileKind, RpmFile};
pub use header::{header_bytes, signed_header};
pub use keyring::{Keyring, KeyringError, Signer};
pub use payload::{Entry, PayloadLimits, for_each_file};
pub use rewrite::{Changes, rewrite};
pub use sign::{PackageKey, PackageKeyError, is_signed};
pub use source::SourceRpm;
pub use spec::{spec_build_requires, spec_packages};
