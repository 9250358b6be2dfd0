//! The public keys of a repository.

use camino::Utf8Path;
use drivetrain_config::{Location, Repository, Verify};
use drivetrain_fetch::{Fetched, Request};
use drivetrain_model::{ExitCode, Nevra, RepositoryId, Sha256Digest};
use drivetrain_rpmfile::{Keyring, Problem, RpmFile, Signer, verify, verify_digests};
use fs_err as fs;

use crate::context::{Context, source};
use crate::failure::{Failure, Result};
use crate::stage::{blocking, transfer};

/// Keys are a few kilobytes; a site may put many into one file.
const MAX_KEY_BYTES: u64 = 4 << 20;

/// What a repository's packages are verified with.
pub struct Trust {
    keyring: Option<Keyring>,
    armored: Vec<u8>,
    digest: Sha256Digest,
}

impl Trust {
    /// Reads the keys of a repository, from files and URLs.
    pub async fn of(context: &Context, id: &RepositoryId, repository: &Repository) -> Result<Self> {
        if repository.verify == Verify::ChecksumsOnly {
            return Ok(Self {
                keyring: None,
                armored: Vec::new(),
                digest: Sha256Digest::of(b"checksums only"),
            });
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
        let armored = files.concat();
        let digest = Sha256Digest::of(&armored);
        Ok(Self { keyring: Some(keyring), armored, digest })
    }

    /// The fingerprints of the keys; none where checksums have to do.
    pub fn fingerprints(&self) -> Vec<String> {
        self.keyring.as_ref().map(Keyring::fingerprints).unwrap_or_default()
    }

    /// The keys as they were given; nothing where checksums have to do.
    pub fn armored(&self) -> &[u8] {
        &self.armored
    }

    /// The digest over the keys and the name that a package goes by: what was verified with others, or under
    /// another name, has to be verified again.
    pub fn digest_for(&self, nevra: &Nevra) -> Sha256Digest {
        Sha256Digest::of(format!("{} {nevra}", self.digest).as_bytes())
    }

    /// Brings an RPM here, or finds it in the store, and verifies it; tells of both. Returns who signed it as well.
    pub async fn fetch(
        &self,
        context: &Context,
        request: &Request,
        nevra: &Nevra,
    ) -> Result<(Fetched, Option<String>)> {
        let file = nevra.file_name();
        let tell = transfer::tell(&context.reporter, &request.source, &file);
        let fetched = context
            .cache
            .downloader()
            .download(&request.source, &request.checksum, request.size, &tell)
            .await
            .map_err(|error| Failure::of(ExitCode::Input, &error))?;
        let signed_by = self.accept(context, request, nevra, &fetched).await?;
        Ok((fetched, signed_by))
    }

    /// Verifies an RPM that is here, and tells of it. Returns who signed it.
    pub async fn accept(
        &self,
        context: &Context,
        request: &Request,
        nevra: &Nevra,
        fetched: &Fetched,
    ) -> Result<Option<String>> {
        let signed_by = self.verify(&fetched.path, &request.source.shown(), nevra).await?;
        let (file, size) = (nevra.file_name(), fetched.size);
        context.reporter.emit(transfer::finished(&file, size, fetched.from_cache, signed_by.clone()));
        Ok(signed_by)
    }

    /// Verifies an RPM that was fetched: its signature where the configuration asks for one, its own digests in any
    /// case, and that it is the package that the metadata say is there. Returns who signed it.
    async fn verify(&self, path: &Utf8Path, shown: &str, nevra: &Nevra) -> Result<Option<String>> {
        let (path, keyring) = (path.to_owned(), self.keyring.clone());
        let verified = blocking(move || {
            let signer = match keyring {
                Some(keyring) => Some(verify(path.as_std_path(), &keyring)?),
                None => verify_digests(path.as_std_path()).map(|()| None)?,
            };
            Ok((signer, RpmFile::open(path.as_std_path())?.nevra))
        });
        let verified: Result<_, drivetrain_rpmfile::Error> = verified.await?;
        let (signer, found) = verified.map_err(|error| untrusted(shown, &error.problem))?;
        if found != *nevra {
            return Err(another_package(shown, nevra, &found));
        }
        Ok(signer.as_ref().map(words))
    }
}

/// The store names files by checksum; a person knows it by the name in the repository.
fn untrusted(shown: &str, problem: &Problem) -> Failure {
    Failure::new(ExitCode::Input, format!("{shown} is not to be trusted: {problem}")).next(
        "compare the repository's `keys` with those that its keeper publishes; do not build from it before you know \
         why",
    )
}

/// A good signature says who made a package, not that it is the one that was asked for: an old version under the
/// name of a new one is signed as well.
fn another_package(shown: &str, said: &Nevra, found: &Nevra) -> Failure {
    Failure::new(
        ExitCode::Input,
        format!("{shown} is another package than the repository's metadata say: {said} there, {found} in its header"),
    )
    .next("do not build from it before you know why; tell whoever keeps the repository to make its metadata anew")
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
