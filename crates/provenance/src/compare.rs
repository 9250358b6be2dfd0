//! Whether documents are about the packages that are there.

use std::collections::BTreeMap;
use std::fmt;

use drivetrain_model::Sha256Digest;

use crate::{Bill, Statement};

/// A package that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The name of its file.
    pub file: String,
    /// What it is.
    pub sha256: Sha256Digest,
}

/// A respect in which a document and the packages do not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discrepancy {
    /// The document says nothing of it.
    Unstated(String),
    /// The document has it, and it is not there.
    Missing(String),
    /// It is there with other bytes.
    Other {
        /// The name of its file.
        file: String,
        /// What the document says.
        stated: Sha256Digest,
        /// What is there.
        found: Sha256Digest,
    },
}

impl fmt::Display for Discrepancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstated(file) => write!(f, "{file} is served, and nothing is said of it"),
            Self::Missing(file) => write!(f, "{file} is named, and is not served"),
            Self::Other { file, stated, found } => {
                write!(f, "{file} is {}…, and should be {}…", found.short(), stated.short())
            }
        }
    }
}

/// In what a statement does not fit the packages; empty where it is about them and no others.
#[must_use]
pub fn compare_subjects(statement: &Statement, packages: &[Described]) -> Vec<Discrepancy> {
    let stated =
        statement.subject.iter().map(|subject| (subject.name.clone().unwrap_or_default(), subject.sha256()));
    compare(stated, packages)
}

/// In what a bill of materials does not fit the packages.
#[must_use]
pub fn compare_bill(bill: &Bill, packages: &[Described]) -> Vec<Discrepancy> {
    compare(bill.packages.iter().map(|(file, sha256)| (file.clone(), *sha256)), packages)
}

fn compare(
    stated: impl Iterator<Item = (String, Option<Sha256Digest>)>,
    packages: &[Described],
) -> Vec<Discrepancy> {
    let mut stated: BTreeMap<String, Option<Sha256Digest>> = stated.collect();
    let mut found = Vec::new();
    for package in packages {
        match stated.remove(&package.file) {
            Some(Some(digest)) if digest == package.sha256 => {}
            Some(Some(digest)) => found.push(Discrepancy::Other {
                file: package.file.clone(),
                stated: digest,
                found: package.sha256,
            }),
            Some(None) | None => found.push(Discrepancy::Unstated(package.file.clone())),
        }
    }
    found.extend(stated.into_keys().map(Discrepancy::Missing));
    found
}
