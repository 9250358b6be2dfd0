//! The keys that a repository is verified with.

use drivetrain_model::ExitCode;
use drivetrain_rpmfile::Keyring;

use super::{Check, Wanted};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::repository_at::RepositoryAt;
use crate::verification::evidence::Place;

/// Where a repository has its public keys: a directory's, and a Pulp server's.
const SERVED: [&str; 2] = ["RPM-GPG-KEY-drivetrain", "repodata/repomd.xml.key"];
/// Keys are a few kilobytes.
const MAX_KEYS: u64 = 1 << 20;

/// Which keys count.
pub(super) struct Trusted {
    /// Every key that is known: those that are trusted, and those that the repository serves.
    pub all: Option<Keyring>,
    /// The fingerprints of those that are trusted.
    pub fingerprints: Vec<String>,
    /// Whether they are the repository's own word.
    own_word: bool,
}

impl Trusted {
    /// The keys that somebody gave; otherwise those that the repository serves.
    pub(super) async fn of(
        context: &Context,
        repository: &RepositoryAt,
        place: Option<&Place>,
        wanted: &Wanted,
    ) -> Result<Self> {
        let mut served = Vec::new();
        for name in SERVED {
            served.extend(RepositoryAt::beside(context, &repository.source, name, MAX_KEYS).await?);
        }
        if let Some(place) = place {
            served.extend(place.file(context, SERVED[0], MAX_KEYS).await?);
        }
        // What is served may be anything; what was given has to be a key.
        served.retain(|text| Keyring::from_armored(&[text]).is_ok());
        let given = match wanted.keys.as_slice() {
            [] => None,
            keys => Some(Keyring::from_armored(keys).map_err(|error| {
                Failure::because(ExitCode::Usage, "the keys of --key cannot be used", &error)
                    .next("name files with armored public keys, as `gpg --armor --export` writes them")
            })?),
        };
        let mut known: Vec<&[u8]> = wanted.keys.iter().map(Vec::as_slice).collect();
        known.extend(served.iter().map(Vec::as_slice));
        let all = Keyring::from_armored(&known).ok();
        let own_word = given.is_none();
        let fingerprints = given.as_ref().or(all.as_ref()).map(Keyring::fingerprints).unwrap_or_default();
        Ok(Self { all, fingerprints, own_word })
    }

    /// What a person should know of them.
    pub(super) fn check(&self) -> Option<Check> {
        if !self.own_word || self.fingerprints.is_empty() {
            return None;
        }
        let keys = self.fingerprints.join(", ");
        Some(Check::warning(
            "keys",
            format!("{keys}: served by the repository itself. --key names those that you trust"),
        ))
    }

    /// Whether a detached signature is a good one by a key that is trusted.
    pub(super) fn judge(&self, what: &'static str, bytes: &[u8], signature: &[u8]) -> Check {
        let Some(keyring) = &self.all else {
            return Check::bad(what, "signed, and there is no key to verify with: name one with --key");
        };
        match keyring.verify_detached(bytes, &String::from_utf8_lossy(signature)) {
            Ok(key) if self.fingerprints.contains(&key) => Check::good(what, format!("signed with {key}")),
            Ok(key) => Check::bad(what, format!("signed with {key}, which --key does not name")),
            Err(problem) => {
                let why = Failure::of(ExitCode::Input, &problem).one_line();
                Check::bad(what, format!("its signature is not good: {why}"))
            }
        }
    }
}
