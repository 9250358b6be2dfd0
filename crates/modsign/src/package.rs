//! Modules in packages: signed where they are, with nothing else of the package changed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use drivetrain_kmod::is_module_path;
use drivetrain_rpmfile::{Changes, FileFact, FileKind, PayloadLimits, rewrite};

use crate::{
    Certificate, Compression, Endorsement, HashKind, ModuleDigest, RawSignature, compress_as, content_of,
    sign_module, unpack,
};

/// No module is larger.
const MAX_MODULE: usize = 1 << 30;

/// A certificate, and the signatures by its key that are at hand.
#[derive(Debug, Clone, Copy)]
pub struct SignaturesFor<'a> {
    /// The certificate.
    pub certificate: &'a Certificate,
    /// The hash that was signed.
    pub hash: HashKind,
    /// The raw signatures, by what they are over.
    pub signatures: &'a BTreeMap<ModuleDigest, RawSignature>,
}

/// Writes a package anew with its modules signed for each of these certificates. What is compressed is signed beneath its
/// compression, and compressed again so that kernels unpack it.
///
/// # Errors
/// Where the package is not sound or cannot be written, or one of its modules has no good signature among these.
pub fn sign_package(from: &Path, to: &Path, signers: &[SignaturesFor<'_>]) -> drivetrain_rpmfile::Result<()> {
    rewrite(from, to, &PayloadLimits::default(), &mut SignModules(signers))
}

struct SignModules<'a>(&'a [SignaturesFor<'a>]);

impl Changes for SignModules<'_> {
    fn wants(&self, file: &FileFact) -> bool {
        file.kind == FileKind::Regular && !file.ghost && is_module_path(&file.path)
    }

    fn content(&mut self, _: &FileFact, content: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let compression = Compression::detect(content);
        let module = unpack(content, MAX_MODULE).map_err(io::Error::other)?;
        let bare = content_of(&module).map_err(io::Error::other)?;
        let mut endorsements = Vec::new();
        for &SignaturesFor { certificate, hash, signatures } in self.0 {
            let signature = signatures
                .get(&ModuleDigest::of(hash, bare))
                .ok_or_else(|| io::Error::other("it is not the module that was signed"))?;
            endorsements.push(Endorsement { certificate, hash, signature });
        }
        let signed = sign_module(bare, &endorsements).map_err(io::Error::other)?;
        compress_as(compression, signed).map(Some).map_err(io::Error::other)
    }
}
