//! Signatures of kernel modules: keys, certificates, and what a kernel checks before it loads a module.
//!
//! A signature is made in three steps, so that the key can be elsewhere: [`ModuleDigest::of`] says what is signed, a
//! [`Signer`] makes a raw RSA signature of it, and [`sign_module`] verifies that with the [`Certificate`] and puts it into
//! the module. The result is, byte for byte, what the kernel's own `scripts/sign-file` makes; with two certificates it
//! holds a signature of either, and a kernel that trusts one of them loads the module.
//!
//! RSA with PKCS #1 v1.5 has no chance in it: the same module and key give the same file. Other kinds of keys are
//! refused, since the kernels that drivetrain is for are built without them.

mod certificate;
mod cms;
mod command;
mod compress;
mod error;
mod exchange;
mod generate;
mod hash;
mod key;
mod module;
mod package;
mod pkcs11;
mod signer;
mod store;

pub use certificate::{Certificate, CertificateError, RawSignature};
pub use command::SigningCommand;
pub use compress::{compress_as, unpack};
pub use drivetrain_kmod::Compression;
pub use error::{ModuleError, SignError};
pub use exchange::{ExchangeError, Kind, Request, RequestedModule, Response, SignedDigest};
pub use generate::{GenerateError, NewKey, Subject, new_key};
pub use hash::{HashKind, ModuleDigest};
pub use key::{KeyError, KeyFile};
pub use module::{Endorsement, SignerOfModule, content_of, sign_module, signers_of, verify_module};
pub use package::{SignaturesFor, sign_package};
pub use pkcs11::{Token, TokenError};
pub use signer::Signer;
pub use store::{ObtainError, SignatureStore, StoreError};
