//! The commands that are not stages of a run.

pub mod check;
pub mod closure;
pub mod diff;
pub mod init;
pub mod keys;
pub mod machines;
pub mod plan;
pub mod promote;
pub mod rollback;
pub mod served;
pub mod shell;
pub mod show;
pub mod sign;
pub mod site;
pub mod status;
pub mod verify;
pub mod worker;

use camino::Utf8PathBuf;

use crate::cli::Global;
use crate::state::StateDirectory;

/// The state directory that was asked for, or the default.
pub fn state_path(global: &Global) -> Utf8PathBuf {
    global.state.clone().unwrap_or_else(StateDirectory::default_path)
}
