//! Who signs a repository's metadata.

use std::fmt;
use std::sync::Arc;

/// Signs metadata. The key stays with whoever made this.
#[derive(Clone)]
pub struct Signing {
    /// The fingerprint of the key, in lower-case hexadecimal.
    pub fingerprint: String,
    /// The public key, armored.
    pub public: String,
    sign: Arc<Sign>,
}

/// From bytes and a moment, in seconds since 1970, to a detached signature, armored.
type Sign = dyn Fn(&[u8], u64) -> Result<String, String> + Send + Sync;

impl Signing {
    /// With what signs.
    pub fn new(
        fingerprint: impl Into<String>,
        public: impl Into<String>,
        sign: impl Fn(&[u8], u64) -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        Self { fingerprint: fingerprint.into(), public: public.into(), sign: Arc::new(sign) }
    }

    pub(crate) fn sign(&self, bytes: &[u8], moment: u64) -> Result<String, String> {
        (self.sign)(bytes, moment)
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}
