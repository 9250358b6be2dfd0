//! The public keys of a repository.

use drivetrain_config::{Location, Repository, Verify};
use drivetrain_model::{ExitCode, RepositoryId, Sha256Digest};
use drivetrain_rpmfile::{Keyring, Signer, verify, verify_digests};
use fs_err as fs;

use crate::context::{Context, source};
use crate::failure::{Failure, Result, internal};

/// Keys are a few kilobytes; a site may put many into one file.
const MAX_KEY_BYTES: u64 = 4 << 20;

/// What a repository's packages are verified with.
pub struct Trust {
    keyring: Option<Keyring>,
    /// The digest over the keys: what was verified with others has to be verified again.
    pub digest: Sha256Digest,
}

impl Trust {
    /// Reads the keys of a repository, from files and URLs.
    pub async fn of(context: &Context, id: &RepositoryId, repository: &Repository) -> Result<Self> {
        if repository.verify == Verify::ChecksumsOnly {
            return Ok(Self { keyring: None, digest: Sha256Digest::of(b"checksums only") });
        }
        let mut files = Vec::new();
        for location in &repository.keys {
            files.push(read_key(context, repository, location).await?);
        }
        let keyring = Keyring::from_armored(&files).map_err(|error| {
            let places: Vec<String> = repository.keys.iter().map(Location::to_string).collect();
            let message = format!("the keys of {id} cannot be used ({})", places.join(", "));
            Failure::because(ExitCode::Usage, message, &error)
                .next("give the armored public keys that the repository's packages are signed with")
        })?;
        let digest = Sha256Digest::of(&files.concat());
        Ok(Self { keyring: Some(keyring), digest })
    }

    /// Verifies an RPM: its signature where the configuration asks for one, its own digests in any case.
    /// Returns who signed it.
    pub async fn verify(&self, path: &camino::Utf8Path, shown: &str) -> Result<Option<String>> {
        let (path, keyring) = (path.to_owned(), self.keyring.clone());
        let verified = tokio::task::spawn_blocking(move || match keyring {
            Some(keyring) => verify(path.as_std_path(), &keyring).map(Some),
            None => verify_digests(path.as_std_path()).map(|()| None),
        });
        match verified.await.map_err(|error| internal(&error))? {
            Ok(signer) => Ok(signer.as_ref().map(words)),
            Err(error) => {
                // The store names files by checksum; a person knows it by the name in the repository.
                let mut failure =
                    Failure::new(ExitCode::Input, format!("{shown} is not to be trusted: {}", error.problem));
                failure.next = Some(
                    "compare the repository's `keys` with those that its keeper publishes; do not build from it \
                     before you know why"
                        .to_owned(),
                );
                Err(failure)
            }
        }
    }
}

fn words(signer: &Signer) -> String {
    match signer.user_ids.first() {
        Some(user) => format!("{user} ({})", signer.fingerprint),
        None => signer.fingerprint.clone(),
    }
}

async fn read_key(context: &Context, repository: &Repository, location: &Location) -> Result<Vec<u8>> {
    match location {
        Location::Path(path) => fs::read(path).map_err(|error| {
            Failure::because(ExitCode::Usage, format!("the key {path} cannot be read"), &error)
                .next("correct its path under `keys` in the configuration")
        }),
        Location::Url(url) => {
            // The repository's password is for the repository's server alone.
            let same_server = url.origin() == repository.url.origin();
            let credentials = repository.credentials.as_ref().filter(|_| same_server);
            let source = source(url, credentials)?;
            let cached = context.cache.get(&source, MAX_KEY_BYTES).await;
            cached.map(|cached| cached.bytes).map_err(|error| Failure::of(ExitCode::Input, &error))
        }
    }
}
