//! Kernel modules as data: what a `.ko` file says about itself, what it needs and offers, what a kernel
//! offers, and from both whether the kernel will load it.
//!
//! Nothing here opens a file, starts a process or waits: bytes and readers are handed in. Nothing here
//! trusts them either: a damaged or hostile file is an error, never a panic, and costs memory in proportion
//! to its size.
//!
//! * [`Module`] reads one module from its bytes; [`decompress`] gets at those bytes first.
//! * [`SymbolTable`] reads a kernel's `Module.symvers`, [`KernelConfig`] its configuration.
//! * [`check_set`] puts a set of modules beside a kernel and answers with a [`SetVerdict`].

mod check;
mod compress;
mod config;
mod crc;
mod difference;
mod elf;
mod exports;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
mod license;
mod modinfo;
mod module;
mod namespace;
mod order;
mod reference;
mod signature;
mod symvers;
mod verdict;
mod vermagic;
mod versions;

pub use check::{KernelSymbols, NamedModule, VermagicPolicy, check_set, would_load};
pub use compress::{Compression, DecompressError, decompress};
pub use config::KernelConfig;
pub use crc::SymbolCrc;
pub use difference::{Changed, ModuleDifference, Needed};
pub use elf::{Machine, ModuleError, Undefined};
pub use exports::Export;
pub use license::is_gpl_compatible;
pub use modinfo::Modinfo;
pub use module::{Module, ModuleSummary};
pub use namespace::namespace_names_module;
pub use reference::{KernelReference, ReferenceSource};
pub use signature::{Signature, SignatureError, SignatureSummary, append_signature};
pub use symvers::{
    CrcConflict, ExportKind, KernelSymbol, SymbolTable, SymversError, SymversProblem, is_module_path,
    module_name_of,
};
pub use verdict::{Finding, ModuleVerdict, Problem, Provider, SetFinding, SetProblem, SetVerdict, Severity};
pub use vermagic::Vermagic;
pub use versions::Versions;
