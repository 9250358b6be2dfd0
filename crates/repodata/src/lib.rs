//! YUM repository metadata: `repomd.xml`, `primary.xml`, `filelists.xml`; read within bounds, verified, and
//! written.
//!
//! The reading half is pure: no HTTP, no paths, readers handed in. Everything it reads is taken to be hostile:
//! each size that the input decides has a limit in [`Limits`], and each error names the limit.
//!
//! # Why `quick-xml`, and not the readers of `rpmrepo_metadata`
//!
//! `rpmrepo_metadata` 0.9.1 writes our metadata ([`mod@write`]), where its input is ours. Its readers are not used:
//! a document that ends inside `<format>` or inside a list of requirements keeps them in an endless loop (their
//! inner loops do not look for the end of the file), a root element without `packages` panics, buffers grow
//! with the largest element, and every element of every package is parsed though a plan wants some hundred
//! packages of sixty thousand.
//!
//! So one package element is cut out of the stream at a time, at the speed of a substring search
//! ([`Limits::max_package_bytes`] bounds it); its name and architecture are looked at; and `quick-xml` sees the
//! elements that are wanted, each as a slice that is complete. Packages that are not wanted are not checked
//! beyond that.
//!
//! The format: <https://github.com/rpm-software-management/createrepo_c> writes what everybody reads, and
//! `libsolv/ext/repo_rpmmd.c` and `librepo` are what dnf reads it with.

mod decompress;
mod elements;
mod error;
mod filelists;
mod href;
mod index;
mod limits;
mod modules;
mod primary;
mod repomd;
mod updateinfo;
mod verify;
pub mod write;
mod xml;

pub use decompress::{Compression, Decompressor, decompress};
pub use error::{Error, Result};
pub use filelists::{FileKind, Owner, PackageFiles, PathPattern, RepositoryFile, read_filelists, who_owns};
pub use href::{HrefError, check_href};
pub use index::{Conflict, RepositoryIndex};
pub use limits::Limits;
pub use modules::{ModuleBuild, Modules, read_modules};
pub use primary::{Summary, read_primary, read_whole_primary};
pub use repomd::{Record, RecordKind, Repomd, parse_repomd};
pub use updateinfo::read_advisories;
pub use verify::{VerifyingReader, open_record};
