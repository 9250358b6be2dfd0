//! The full name of a package: name, epoch, version, release, architecture.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Architecture, Evr, NameError};

/// Name, epoch, version, release and architecture: what tells one package from another.
///
/// Two packages of one NEVRA must have the same bytes; where they have not, drivetrain says so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nevra {
    /// The package's name.
    pub name: String,
    /// Epoch, version and release.
    pub evr: Evr,
    /// The architecture; `src` for a source RPM.
    pub arch: Architecture,
}

/// Why a text is no NEVRA.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NevraError {
    /// The shape `name-[epoch:]version-release.arch` was not found.
    #[error("{0:?} is not of the form name-[epoch:]version-release.arch")]
    Shape(String),
    /// The architecture holds a character that none has.
    #[error(transparent)]
    Architecture(#[from] NameError),
}

impl Nevra {
    /// A NEVRA from its parts.
    #[must_use]
    pub fn new(name: impl Into<String>, evr: Evr, arch: Architecture) -> Self {
        Self { name: name.into(), evr, arch }
    }

    /// Reads `name-[epoch:]version-release.arch`, the form that `dnf repoquery` prints.
    pub fn parse(text: &str) -> Result<Self, NevraError> {
        let shape = || NevraError::Shape(text.to_owned());
        let (rest, arch) = text.rsplit_once('.').ok_or_else(shape)?;
        let (rest, release) = rest.rsplit_once('-').ok_or_else(shape)?;
        let (name, version) = rest.rsplit_once('-').ok_or_else(shape)?;
        if name.is_empty() || version.is_empty() || release.is_empty() {
            return Err(shape());
        }
        Ok(Self::new(name, Evr::parse(&format!("{version}-{release}")), Architecture::parse(arch)?))
    }

    /// The file name that RPM gives the package: without the epoch.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}-{}.{}.rpm", self.name, self.evr.version, self.evr.release, self.arch)
    }
}

impl fmt::Display for Nevra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}.{}", self.name, self.evr, self.arch)
    }
}

impl TryFrom<String> for Nevra {
    type Error = NevraError;
    fn try_from(text: String) -> Result<Self, NevraError> {
        Self::parse(&text)
    }
}

impl From<Nevra> for String {
    fn from(nevra: Nevra) -> Self {
        nevra.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nevra_survives_text() {
        for text in
            ["kernel-core-5.14.0-427.el9_4.x86_64", "bind-32:9.16.23-18.el9.x86_64", "iser-25.10-1.src"]
        {
            assert_eq!(Nevra::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Nevra::parse("bind-32:9.16-1.x86_64").unwrap().file_name(), "bind-9.16-1.x86_64.rpm");
    }

    #[test]
    fn what_is_no_nevra_is_refused() {
        for text in ["", "kernel", "kernel-1.x86_64", "-1-1.noarch", "a-1-1./etc", "a--1.noarch"] {
            assert!(Nevra::parse(text).is_err(), "{text:?}");
        }
    }
}
