//! Finding the programs that make the sandbox.

use std::env;

use camino::Utf8PathBuf;

use crate::HostError;

/// The path of a program: where `PATH` says, or where distributions put it.
pub(super) fn find(tool: &'static str, package: &'static str) -> Result<Utf8PathBuf, HostError> {
    let path = env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/bin", "/usr/sbin", "/bin"])
        .filter(|directory| directory.starts_with('/'))
        .map(|directory| Utf8PathBuf::from(directory).join(tool))
        .find(|candidate| candidate.is_file())
        .ok_or(HostError::MissingTool { tool, package })
}
