//! Keys for one lease.

use std::process::Stdio;

use camino::Utf8Path;
use fs_err as fs;
use tokio::process::Command;

use crate::{Identity, MachineError, Result};

/// The private half of the key to log in with, below the directory that [`make_identity`] is given.
pub const USER_KEY: &str = "id_ed25519";
const HOST_KEY: &str = "host_ed25519";

/// Makes the keys of a lease in a directory that only we can enter. The private key to log in with stays there.
///
/// By `ssh-keygen`, which comes with the `ssh` that the machine is reached with: a library's keys would be one more
/// thing that has to agree with it.
///
/// # Errors
/// Where it is not installed, or the directory cannot be written to.
pub async fn make_identity(directory: &Utf8Path) -> Result<Identity> {
    make_private(directory)?;
    for name in [USER_KEY, HOST_KEY] {
        make_key(&directory.join(name)).await?;
    }
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read_to_string(&path).map_err(MachineError::file("read", &path))
    };
    let identity = Identity {
        user_key: read(&format!("{USER_KEY}.pub"))?.trim().to_owned(),
        host_key: read(HOST_KEY)?,
        host_public_key: without_comment(&read(&format!("{HOST_KEY}.pub"))?),
    };
    // It goes to the machine, and is of no use here.
    let path = directory.join(HOST_KEY);
    fs::remove_file(&path).map_err(MachineError::file("remove", &path))?;
    Ok(identity)
}

/// Makes a directory that nobody else can look into.
pub(crate) fn make_private(directory: &Utf8Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(directory).map_err(MachineError::file("create", directory))
}

async fn make_key(path: &Utf8Path) -> Result<()> {
    drop(fs::remove_file(path));
    let arguments = ["-q", "-t", "ed25519", "-N", "", "-C", "drivetrain", "-f", path.as_str()];
    let output = Command::new("ssh-keygen").args(arguments).stdin(Stdio::null()).output().await;
    let failed = |why: String| MachineError::Configuration {
        what: "ssh-keygen".to_owned(),
        why,
        next: "install the package openssh-clients (Debian: openssh-client)".to_owned(),
    };
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Type and base64.
fn without_comment(line: &str) -> String {
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
