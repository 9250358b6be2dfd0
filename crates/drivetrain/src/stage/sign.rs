//! The site's key: packages and metadata are signed with it on this host, whatever host builds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drivetrain_config::{Config, PublishSign, PublishTarget, Verify};
use drivetrain_model::{ExitCode, Problem, Severity};
use drivetrain_publish::Signing;
use drivetrain_rpmfile::{Keyring, PackageKey, PackageKeyError, verify};
use fs_err as fs;
use jiff::Timestamp;
use rayon::prelude::*;
use tempfile::TempDir;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::stage::blocking;
use crate::stage::keys::Trust;

/// A key is a few kilobytes.
const MAX_KEY: u64 = 1 << 20;

/// Reads the key that the configuration names, and tries it out.
pub fn read(sign: &PublishSign) -> Result<PackageKey> {
    read_at(sign, Timestamp::now())
}

/// [`read`] as if this were now.
pub fn read_at(sign: &PublishSign, now: Timestamp) -> Result<PackageKey> {
    use std::io::Read as _;
    let path = &sign.key;
    let unreadable = |error: &std::io::Error| {
        Failure::because(ExitCode::Usage, format!("the key {path} of publish.sign cannot be read"), error)
    };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| unreadable(&error))?;
    file.take(MAX_KEY).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    let now = u64::try_from(now.as_second()).unwrap_or(0);
    let passphrase = sign.passphrase.as_ref().map(|passphrase| passphrase.expose());
    PackageKey::read(&text, passphrase, now).map_err(|error| {
        let next = match &error {
            PackageKeyError::Locked => {
                "name an environment variable that has it: publish.sign.passphrase: ${NAME}"
            }
            PackageKeyError::Passphrase => "see what is in the variable that publish.sign.passphrase names",
            PackageKeyError::Over(_) => {
                "prolong it, or name another; consumers get the new public key with the next run"
            }
            _ => "name the file with one armored secret key that may sign",
        };
        Failure::because(ExitCode::Usage, format!("the key {path} of publish.sign cannot be used"), &error)
            .next(next)
    })
}

/// What signs metadata with this key.
pub fn signing(key: &Arc<PackageKey>) -> Signing {
    let signs = Arc::clone(key);
    Signing::new(key.fingerprint(), key.public(), move |bytes, moment| {
        signs.sign_bytes(bytes, moment).map_err(|problem| problem.to_string())
    })
}

/// Who signs what is published, in words: another one is another version.
pub fn in_words(config: &Config, key: Option<&PackageKey>) -> Option<String> {
    let packages = key.map(|key| key.fingerprint().to_owned());
    let metadata = signing_service(config).map(|name| format!("metadata by the signing service {name}"));
    let both: Vec<String> = packages.into_iter().chain(metadata).collect();
    (!both.is_empty()).then(|| both.join(", "))
}

fn signing_service(config: &Config) -> Option<&str> {
    match &config.publish.target {
        PublishTarget::Pulp(pulp) => pulp.signing_service.as_deref(),
        PublishTarget::Directory(_) => None,
    }
}

/// That nodes verify packages or metadata, and not both.
pub fn half_signed(config: &Config) -> Option<Problem> {
    let PublishTarget::Pulp(_) = &config.publish.target else { return None };
    let (what, next) = match (&config.publish.sign, signing_service(config)) {
        (Some(_), None) => (
            "packages will be signed, and the metadata on the Pulp server will not: nodes get repo_gpgcheck=0".to_owned(),
            "have the server's administrator add a signing service (`pulpcore-manager add-signing-service`), and name \
             it in publish.pulp.signing_service",
        ),
        (None, Some(name)) => (
            format!(
                "the signing service {name} will sign the metadata, and packages will not be signed: nodes get gpgcheck=0, \
                 and verify packages by the checksums in the metadata"
            ),
            "name a key in publish.sign, such as the service's own",
        ),
        _ => return None,
    };
    Some(Problem { severity: Severity::Warning, what, next: next.to_owned() })
}

/// Packages that are signed, all of them.
pub struct SignedPackages {
    /// Their files, in the order of the packages that were given.
    pub rpms: Vec<PathBuf>,
    /// The public keys of those that others have signed, armored.
    pub keys: String,
    /// Where the copies are, for as long as this lives.
    _directory: TempDir,
}

/// Signs packages. Those with a good signature stay as they are: by this key, or by one that the configuration verifies a
/// repository's packages with.
pub async fn packages(
    context: &Context,
    config: &Config,
    key: &Arc<PackageKey>,
    rpms: Vec<PathBuf>,
) -> Result<SignedPackages> {
    let directory =
        context.state.scratch_directory().map_err(|error| Failure::of(ExitCode::Failure, &error))?;
    let trusted = trusted(context, config).await?;
    let (key, place) = (Arc::clone(key), directory.path().to_owned());
    let (rpms, keys) = blocking(move || sign_others(&key, &place, rpms, &trusted))
        .await?
        .map_err(|error| Failure::because(ExitCode::Publish, "the packages cannot be signed", &*error))?;
    Ok(SignedPackages { rpms, keys, _directory: directory })
}

/// The keys that the configuration verifies packages with, for each repository of which it asks for signatures.
async fn trusted(context: &Context, config: &Config) -> Result<Vec<Vec<u8>>> {
    let mut trusted: Vec<Vec<u8>> = Vec::new();
    for (id, repository) in config.repositories() {
        if repository.verify == Verify::Signatures {
            trusted.push(Trust::of(context, &id, repository).await?.armored().to_vec());
        }
    }
    Ok(trusted)
}

type Unsigned = Box<dyn std::error::Error + Send + Sync>;

/// Signs what nobody has signed who is trusted. With it the keys of those who have.
fn sign_others(
    key: &PackageKey,
    place: &Path,
    rpms: Vec<PathBuf>,
    trusted: &[Vec<u8>],
) -> Result<(Vec<PathBuf>, String), Unsigned> {
    let own = Keyring::from_armored(&[key.public()])?;
    let others = trusted.iter().map(|text| Keyring::from_armored(&[text])).collect::<Result<Vec<_>, _>>()?;
    // The package with a signature, and the number of the key where that is another's.
    let sign = |position: usize, rpm: PathBuf| -> Result<(PathBuf, Option<usize>), Unsigned> {
        if verify(&rpm, &own).is_ok() {
            return Ok((rpm, None));
        }
        if let Some(number) = others.iter().position(|keyring| verify(&rpm, keyring).is_ok()) {
            return Ok((rpm, Some(number)));
        }
        // Of files of one name in several directories each has its own.
        let copy = place.join(position.to_string());
        fs::create_dir(&copy)?;
        let copy = copy.join(rpm.file_name().unwrap_or(rpm.as_os_str()));
        key.sign(&rpm, &copy)?;
        Ok((copy, None))
    };
    let all: Vec<Result<_, Unsigned>> =
        rpms.into_par_iter().enumerate().map(|(position, rpm)| sign(position, rpm)).collect();
    let (mut signed, mut used) = (Vec::new(), BTreeSet::new());
    for one in all {
        let (rpm, number) = one?;
        signed.push(rpm);
        used.extend(number);
    }
    let keys: BTreeSet<&str> =
        used.into_iter().filter_map(|number| std::str::from_utf8(&trusted[number]).ok()).collect();
    Ok((signed, keys.into_iter().collect::<Vec<_>>().join("\n")))
}
