//! What all packages that are written here have in common.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use drivetrain_model::{Capability, Comparison};
use rpm::{Dependency, DependencyFlags};
use tempfile::NamedTempFile;

use crate::error::name_of;
use crate::{Problem, verify_digests};

/// Writes a package beside the file that it becomes, and holds it to its digests and to `check` before it has that name: it
/// is there whole or not at all.
pub(crate) fn write_whole(
    to: &Path,
    write: impl FnOnce(&mut NamedTempFile) -> Result<(), Problem>,
    check: impl FnOnce(&Path) -> crate::Result<()>,
) -> Result<(), Problem> {
    let unwritten = |error: io::Error| Problem::Write { path: name_of(to), source: error };
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(directory).map_err(unwritten)?;
    write(&mut file)?;
    // As any file that is written, and not for its owner's eyes alone as temporary ones are.
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(unwritten)?;
    file.as_file().sync_data().map_err(unwritten)?;
    verify_digests(file.path()).and_then(|()| check(file.path())).map_err(|error| *error.problem)?;
    file.persist(to).map_err(|error| unwritten(error.error))?;
    Ok(())
}

/// A capability as the header has it: its name, how it compares, and with what.
pub(crate) fn dependency(capability: &Capability) -> Dependency {
    let (flags, version) = match &capability.constraint {
        None => (DependencyFlags::ANY, String::new()),
        Some(constraint) => (sense(constraint.comparison), constraint.evr.to_string()),
    };
    Dependency { name: capability.name.clone(), flags, version }
}

fn sense(comparison: Comparison) -> DependencyFlags {
    match comparison {
        Comparison::Less => DependencyFlags::LESS,
        Comparison::LessOrEqual => DependencyFlags::LE,
        Comparison::Equal => DependencyFlags::EQUAL,
        Comparison::GreaterOrEqual => DependencyFlags::GE,
        Comparison::Greater => DependencyFlags::GREATER,
    }
}
