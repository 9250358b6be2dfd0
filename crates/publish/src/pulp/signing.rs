//! Who signs what: packages are signed before they come here, metadata by a signing service of the server's.

use drivetrain_model::Sha256Digest;
use drivetrain_pulp::{Content, PulpError, Repository, SigningService};
use drivetrain_rpmfile::Keyring;
use serde_json::{Value, json};

use super::target::PulpTarget;
use crate::{Publication, PublishError, RepositoryPath, Result};

const SIGNATURE: &str = "repodata/repomd.xml.asc";
/// The service's public key, as Pulp serves it beside the signature, and names it in `config.repo`.
pub(super) const KEY: &str = "repodata/repomd.xml.key";
/// A signature or a key is a few kilobytes.
const MAX_SIGNATURE: u64 = 256 << 10;
/// How many services are named where the right one is not there.
const NAMED: usize = 10;

/// Who signs what of a publication, and where the keys are.
#[derive(Debug, Clone, Default)]
pub(super) struct Signatures {
    /// The fingerprint of the key that packages are signed with.
    pub(super) packages: Option<String>,
    /// The service that signs the metadata.
    pub(super) service: Option<SigningService>,
    /// The URL of the keys of the packages, where they have one of their own.
    pub(super) keys: Option<String>,
}

impl Signatures {
    /// The fingerprint of the key that the metadata are signed with.
    pub(super) fn metadata(&self) -> Option<String> {
        self.service.as_ref().map(fingerprint)
    }

    /// Whether the one key that `config.repo` names, where a service signs, is that of all packages.
    pub(super) fn one_key(&self, publication: &Publication) -> bool {
        self.packages.is_some() && self.packages == self.metadata() && publication.keys.is_empty()
    }

    /// What `config.repo` says to consumers, beside the URL. Pulp adds one `gpgkey` where a service signs, that of the
    /// service, and of two dnf takes the last: so packages can be asked to be signed where it is theirs too. Where it is
    /// not, the checksums in the signed metadata vouch for them.
    pub(super) fn repo_config(&self, publication: &Publication) -> Value {
        let by_url = self.service.is_none() && self.packages.is_some() && self.keys.is_some();
        let mut config = json!({
            "gpgcheck": u8::from(by_url || self.one_key(publication)),
            "repo_gpgcheck": u8::from(self.service.is_some()),
            "priority": publication.consumers.priority,
            "module_hotfixes": 1,
        });
        if let (true, Some(keys)) = (by_url, &self.keys) {
            config["gpgkey"] = keys.as_str().into();
        }
        config
    }

    /// What whoever publishes should know of it.
    pub(super) fn warning(&self, publication: &Publication) -> Option<String> {
        let by_hand = "what `drivetrain status --repo-file` prints names all keys";
        match (&self.packages, &self.service) {
            (Some(key), None) if self.keys.is_some() => Some(format!(
                "the packages are signed with the key {key} and the metadata are not, since no \
                 publish.pulp.signing_service is named: config.repo says gpgcheck=1 and repo_gpgcheck=0"
            )),
            (Some(key), None) => Some(format!(
                "the packages are signed with the key {key}, and there is no place on the server for it: config.repo \
                 says gpgcheck=0 and repo_gpgcheck=0"
            )),
            (Some(_), Some(service)) if !self.one_key(publication) => Some(format!(
                "packages are signed with other keys than the one of the signing service {}, and Pulp names that one \
                 alone in config.repo: it says gpgcheck=0 and repo_gpgcheck=1, so that nodes verify packages by the \
                 checksums in the signed metadata; {by_hand}",
                service.name
            )),
            _ => None,
        }
    }
}

/// In lower-case hexadecimal, as all fingerprints here.
fn fingerprint(service: &SigningService) -> String {
    service.pubkey_fingerprint.to_ascii_lowercase()
}

/// The name of the file that holds keys: other keys have another.
pub(super) fn keys_file(text: &str) -> String {
    format!("keys/{}.asc", Sha256Digest::of(text.as_bytes()).short())
}

impl PulpTarget {
    /// The signing service that is configured.
    pub(super) async fn service(&self) -> Result<Option<SigningService>> {
        let Some(name) = &self.options.signing_service else { return Ok(None) };
        let services = self.client.signing_services().await?;
        let wrong = |what: String| {
            Err(PublishError::InTheWay { path: format!("publish.pulp.signing_service {name}"), what })
        };
        let Some(service) = services.iter().find(|service| service.name == *name) else {
            return wrong(format!(
                "not on {}: {}. Its administrator adds it there with `pulpcore-manager add-signing-service {} \
                 PROGRAM FINGERPRINT --gnupghome DIRECTORY`",
                self.client.server(),
                there(&services),
                quoted(name)
            ));
        };
        // What it signs is verified with this key; consumers are told of no other.
        let keyring = Keyring::from_armored(&[service.public_key.as_bytes()]);
        match keyring {
            Ok(keyring) if keyring.fingerprints().contains(&fingerprint(service)) => {
                Ok(Some(service.clone()))
            }
            Ok(keyring) => wrong(format!(
                "one of the fingerprint {}, and its public key has {}: it has to be added anew",
                service.pubkey_fingerprint,
                keyring.fingerprints().join(", ")
            )),
            Err(error) => wrong(format!("one without a public key that can be used: {error}")),
        }
    }

    /// Who signs what of a publication, with the keys where consumers find them.
    pub(super) async fn signatures(&self, publication: &Publication) -> Result<Signatures> {
        let packages = self.signer();
        let service = self.service().await?;
        let mut signatures =
            Signatures { packages: packages.map(|signing| signing.fingerprint.clone()), service, keys: None };
        if let Some(signing) = packages.filter(|_| !signatures.one_key(publication)) {
            let text = format!("{}\n{}", signing.public.trim_end(), publication.keys);
            signatures.keys = self.publish_keys(publication, &text).await?;
        }
        Ok(signatures)
    }

    /// Has a repository's metadata signed by this service; told where it was another one's before.
    pub(super) async fn assign(&self, repository: &Repository, service: &SigningService) -> Result<()> {
        let before = repository.metadata_signing_service.as_ref();
        if before == Some(&service.pulp_href) {
            return Ok(());
        }
        self.client.sign_metadata(repository, &service.pulp_href).await?;
        if self.client.version(&repository.latest_version_href).await?.number > 0 {
            let had = before
                .map_or("no signing service".to_owned(), |other| format!("the signing service {other}"));
            self.client.settings().notice.tell(&format!(
                "the repository {} of {} had {had} for its metadata: it has {} now, as publish.pulp.signing_service says",
                repository.name,
                self.client.server(),
                service.name
            ));
        }
        Ok(())
    }

    /// That the metadata behind a distribution are signed by a key, with which consumers can verify it.
    pub(super) async fn require_signed(
        &self,
        content: &Content,
        path: &RepositoryPath,
        repomd: &[u8],
        key: &str,
    ) -> Result<()> {
        let wrong = |what: String| PublishError::NotSigned { path: path.clone(), key: key.to_owned(), what };
        let public = self.signature_file(content, KEY).await?.map_err(wrong)?;
        let signature = self.signature_file(content, SIGNATURE).await?.map_err(wrong)?;
        let keyring = Keyring::from_armored(&[public]).map_err(|error| wrong(format!("{KEY}: {error}")))?;
        let signature = String::from_utf8_lossy(&signature);
        match keyring.verify_detached(repomd, &signature) {
            Ok(by) if by == key => Ok(()),
            Ok(by) => Err(wrong(format!("{SIGNATURE} is by the key {by}"))),
            Err(problem) => Err(wrong(format!("{SIGNATURE}: {problem}"))),
        }
    }

    async fn signature_file(
        &self,
        content: &Content,
        location: &str,
    ) -> Result<std::result::Result<Vec<u8>, String>> {
        match content.read(location, MAX_SIGNATURE).await {
            Ok(bytes) => Ok(Ok(bytes)),
            Err(PulpError::NotFound { .. }) => Ok(Err(format!("there is no {location}"))),
            Err(error) => Err(error.into()),
        }
    }
}

fn there(services: &[SigningService]) -> String {
    let names: Vec<&str> = services.iter().take(NAMED).map(|service| service.name.as_str()).collect();
    let more = services.len().saturating_sub(NAMED);
    match (names.as_slice(), more) {
        ([], _) => "there is none that this user may see".to_owned(),
        (names, 0) => format!("there are {}", names.join(", ")),
        (names, more) => format!("there are {} and {more} more", names.join(", ")),
    }
}

/// A name as a shell takes it for one word.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
    }
}
