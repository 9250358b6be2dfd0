//! Signing services: programs of the server's that sign what it publishes.

use serde::Deserialize;

use crate::{Client, Doing, Href, Result};

/// A signing service. Administrators add them (`pulpcore-manager add-signing-service`); none can be changed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SigningService {
    /// Its address.
    pub pulp_href: Href,
    /// Its name.
    pub name: String,
    /// Its public key, armored.
    pub public_key: String,
    /// The fingerprint of that, in hexadecimal.
    pub pubkey_fingerprint: String,
}

impl Client {
    /// All signing services that this user may see.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn signing_services(&self) -> Result<Vec<SigningService>> {
        self.list(&Doing::new("list the signing services"), "signing-services/", &[]).await
    }
}
