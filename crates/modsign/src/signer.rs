//! Whatever has the private key.

use crate::{ModuleDigest, RawSignature, SignError};

/// Makes raw RSA signatures (PKCS #1 v1.5): a file with the key, a token, a command.
///
/// What comes back is not believed: [`crate::Certificate::verify`] judges it before it is used.
pub trait Signer: Send + Sync {
    /// What it is, for messages: `the key /etc/drivetrain/module.pem`.
    fn describe(&self) -> String;

    /// A signature for each of these digests, in their order.
    ///
    /// # Errors
    /// Where one of them cannot be had; then none is.
    fn sign(&self, digests: &[ModuleDigest]) -> Result<Vec<RawSignature>, SignError>;
}
