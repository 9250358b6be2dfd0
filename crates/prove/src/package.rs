//! The payload of an RPM, with errors of our own.

use std::io::{self, Read};
use std::ops::ControlFlow;

use camino::Utf8Path;
use drivetrain_rpmfile::{Entry, FileFact, FileKind, PayloadLimits, RpmFile, for_each_file, verify_digests};

use crate::ProveError;
use crate::files::reading;

/// Why a file's content was not taken.
pub(crate) enum Failure {
    /// It could not be read: the damage is that of the file around it.
    Read(io::Error),
    /// It could be read, and is not what it should be.
    Content(ProveError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<ProveError> for Failure {
    fn from(error: ProveError) -> Self {
        Self::Content(error)
    }
}

impl Failure {
    /// The error for a file that is in no RPM.
    pub fn of(self, path: &Utf8Path) -> ProveError {
        match self {
            Self::Read(error) => reading(path)(error),
            Self::Content(error) => error,
        }
    }
}

/// Hands each file of the payload to `visit` until that breaks or fails.
pub(crate) fn walk(
    path: &Utf8Path,
    mut visit: impl FnMut(&Entry<'_>, &mut dyn Read) -> Result<ControlFlow<()>, Failure>,
) -> Result<(), ProveError> {
    let mut failure = None;
    for_each_file(path.as_std_path(), &PayloadLimits::default(), |entry, content| {
        match visit(entry, content) {
            Ok(flow) => Ok(flow),
            Err(Failure::Read(error)) => Err(error),
            Err(Failure::Content(error)) => {
                failure = Some(error);
                Ok(ControlFlow::Break(()))
            }
        }
    })?;
    failure.map_or(Ok(()), Err)
}

/// Reads an RPM's header, once it is known that neither it nor the payload is damaged. Of a source RPM nothing is
/// judged, and so nothing verified.
pub(crate) fn open(path: &Utf8Path) -> Result<RpmFile, ProveError> {
    let package = RpmFile::open(path.as_std_path())?;
    if !package.is_source {
        verify_digests(path.as_std_path())?;
    }
    Ok(package)
}

/// Whether the RPM brings the file with content of its own.
pub(crate) fn has_content(file: &FileFact) -> bool {
    file.kind == FileKind::Regular && !file.ghost
}
