//! The site's key: packages and metadata are signed with it on this host, whatever host builds.

use std::path::PathBuf;
use std::sync::Arc;

use drivetrain_config::{Config, PublishSign, Verify};
use drivetrain_model::ExitCode;
use drivetrain_publish::Signing;
use drivetrain_rpmfile::{PackageKey, PackageKeyError, is_signed};
use fs_err as fs;
use jiff::Timestamp;
use tempfile::TempDir;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::stage::blocking;
use crate::stage::keys::Trust;

/// A key is a few kilobytes.
const MAX_KEY: u64 = 1 << 20;

/// Reads the key that the configuration names, and tries it out.
pub fn read(sign: &PublishSign) -> Result<PackageKey> {
    use std::io::Read as _;
    let path = &sign.key;
    let unreadable = |error: &std::io::Error| {
        Failure::because(ExitCode::Usage, format!("the key {path} of publish.sign cannot be read"), error)
    };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| unreadable(&error))?;
    file.take(MAX_KEY).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
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

/// Packages that are signed, all of them.
pub struct SignedPackages {
    /// Their files.
    pub rpms: Vec<PathBuf>,
    /// The public keys of those that others have signed, armored.
    pub keys: String,
    /// Where the copies are, for as long as this lives.
    _directory: TempDir,
}

/// Signs packages. Those that the vendor has signed, and whose signature was verified, stay as they are.
pub async fn packages(
    context: &Context,
    config: &Config,
    key: &Arc<PackageKey>,
    rpms: Vec<PathBuf>,
) -> Result<SignedPackages> {
    let directory =
        context.state.scratch_directory().map_err(|error| Failure::of(ExitCode::Failure, &error))?;
    let trusted = config.driver.repository.verify == Verify::Signatures;
    let (key, place) = (Arc::clone(key), directory.path().to_owned());
    let (rpms, theirs) = blocking(move || {
        let mut signed = Vec::new();
        let mut theirs = false;
        for rpm in rpms {
            if trusted && is_signed(&rpm)? {
                theirs = true;
                signed.push(rpm);
                continue;
            }
            // Of files of one name in several directories each has its own.
            let copy = place.join(signed.len().to_string());
            fs::create_dir(&copy).map_err(|error| unwritten(&rpm, error))?;
            let copy = copy.join(rpm.file_name().unwrap_or(rpm.as_os_str()));
            key.sign(&rpm, &copy)?;
            signed.push(copy);
        }
        Ok::<_, drivetrain_rpmfile::Error>((signed, theirs))
    })
    .await?
    .map_err(|error| Failure::because(ExitCode::Publish, "the packages cannot be signed", &error))?;
    let keys = if theirs {
        let trust = Trust::of(context, &config.driver.repository_id, &config.driver.repository).await?;
        String::from_utf8_lossy(trust.armored()).into_owned()
    } else {
        String::new()
    };
    Ok(SignedPackages { rpms, keys, _directory: directory })
}

fn unwritten(rpm: &std::path::Path, error: std::io::Error) -> drivetrain_rpmfile::Error {
    drivetrain_rpmfile::Error {
        file: rpm.display().to_string(),
        problem: Box::new(drivetrain_rpmfile::Problem::Read(error)),
    }
}
