//! Source RPMs: the spec file, and what it takes to build.

use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;
use std::path::Path;

use drivetrain_model::Capability;
use rpm::IndexTag;

use crate::error::name_of;
use crate::header::{self, Head};
use crate::payload::walk;
use crate::spec::MAX_SPEC_BYTES;
use crate::{PayloadLimits, Problem, Result, RpmFile, spec_build_requires, spec_packages};

/// A source RPM, with its spec file read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRpm {
    /// What its header says.
    pub facts: RpmFile,
    /// The spec file's name.
    pub spec_name: String,
    /// The spec file's text.
    pub spec_text: String,
    /// What its header says that it needs to be built, by the conditions of the machine that made it. What the
    /// spec file may need besides: [`spec_build_requires`].
    pub build_requires: Vec<Capability>,
    /// The file names of its patches.
    pub patches: Vec<String>,
    /// The file names of its other sources.
    pub sources: Vec<String>,
}

impl SourceRpm {
    /// Reads a source RPM's header and spec file. The spec file stands first in what rpmbuild makes, so the
    /// sources behind it are not read.
    ///
    /// # Errors
    /// Where the file is no source RPM, or has no spec file, or one that is too large or no text.
    pub fn open(path: &Path) -> Result<Self> {
        let (head, payload) = header::open(path)?;
        Self::read(&head, payload, &name_of(path))
    }

    /// The same from a stream, such as an entry of a source archive. `file` names it in errors.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_reader(reader: impl Read, file: &str) -> Result<Self> {
        let (head, payload) = header::from_reader(reader, file)?;
        Self::read(&head, payload, file)
    }

    /// The binary packages that it may make: see [`spec_packages`].
    #[must_use]
    pub fn packages(&self) -> Vec<String> {
        spec_packages(&self.spec_text, &self.facts.nevra.name)
    }

    /// Everything that it may need to be built: what its header says, and what its spec file says in any branch.
    #[must_use]
    pub fn may_need(&self) -> Vec<Capability> {
        let mut needs = self.build_requires.clone();
        for need in spec_build_requires(&self.spec_text, &self.facts.nevra.name) {
            if !needs.contains(&need) {
                needs.push(need);
            }
        }
        needs
    }

    fn read(head: &Head, payload: impl BufRead, file: &str) -> Result<Self> {
        let facts = RpmFile::from_head(head, file)?;
        let (spec_name, spec_text) = read_spec(&facts, payload).map_err(|problem| problem.of(file))?;
        let names = |tag| {
            let names = head.metadata.header.get_entry_data_as_string_array(tag).unwrap_or_default();
            names.into_iter().map(str::to_owned).collect()
        };
        Ok(Self {
            build_requires: facts.requires.clone(),
            patches: names(IndexTag::RPMTAG_PATCH),
            sources: names(IndexTag::RPMTAG_SOURCE),
            facts,
            spec_name,
            spec_text,
        })
    }
}

fn read_spec(facts: &RpmFile, payload: impl BufRead) -> std::result::Result<(String, String), Problem> {
    if !facts.is_source {
        return Err(Problem::Facts("is not that of a source RPM".to_owned()));
    }
    let flagged = facts.files.iter().any(|file| file.spec);
    let mut found = None;
    walk(&facts.files, payload, &PayloadLimits::default(), |entry, content| {
        let is_spec = if flagged { entry.file.spec } else { entry.file.path.ends_with(".spec") };
        if !is_spec {
            return Ok(ControlFlow::Continue(()));
        }
        if entry.content_size > MAX_SPEC_BYTES as u64 {
            return Err(io::Error::other(format!("a spec file of more than {MAX_SPEC_BYTES} bytes")));
        }
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        // Old spec files have names of people in Latin-1; nothing of ours depends on those.
        found = Some((entry.file.path.clone(), String::from_utf8_lossy(&bytes).into_owned()));
        Ok(ControlFlow::Break(()))
    })?;
    let (path, text) = found.ok_or_else(|| Problem::Facts("lists no spec file".to_owned()))?;
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    Ok((name, text))
}
