//! The files of a package, one after the other.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;
use std::path::Path;

use crate::compress::decompress;
use crate::cpio::{Cpio, Form, Member};
use crate::error::{name_of, shortened};
use crate::{FileFact, Problem, Result, RpmFile, header};

/// What a payload may make us read. The defaults hold the kernel's debuginfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadLimits {
    /// Bytes of all files together.
    pub max_total: u64,
    /// Bytes of one file.
    pub max_file: u64,
    /// How many files.
    pub max_files: usize,
}

impl Default for PayloadLimits {
    fn default() -> Self {
        Self { max_total: 16 << 30, max_file: 4 << 30, max_files: 200_000 }
    }
}

/// One file of a payload, as the header describes it.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The file.
    pub file: &'a FileFact,
    /// How many bytes of content come with it here: 0 for all but the last of the names of one file.
    pub content_size: u64,
}

/// Hands each file of a package's payload to `visit`, with a reader for its content, in the order of the
/// archive. What `visit` does not read is passed over; at `Break` nothing more is read, so what stands early in
/// a large package is found early.
///
/// The bytes are not verified here, and cannot be before all of them are read: see [`crate::verify`].
///
/// # Errors
/// Where the file is no sound RPM, beyond a limit, or `visit` fails.
pub fn for_each_file(
    path: &Path,
    limits: &PayloadLimits,
    visit: impl FnMut(&Entry<'_>, &mut dyn Read) -> io::Result<ControlFlow<()>>,
) -> Result<()> {
    let name = name_of(path);
    let (head, payload) = header::open(path)?;
    let facts = RpmFile::from_head(&head, &name)?;
    walk(&facts.files, payload, limits, visit).map_err(|problem| problem.of(&name))
}

/// The same, with the header read already.
pub(crate) fn walk(
    files: &[FileFact],
    payload: impl BufRead,
    limits: &PayloadLimits,
    mut visit: impl FnMut(&Entry<'_>, &mut dyn Read) -> io::Result<ControlFlow<()>>,
) -> std::result::Result<(), Problem> {
    walk_forms(files, payload, limits, |entry, _, _, content| visit(entry, content))
}

/// The same, with each file's index in the header and how it stands in the archive.
pub(crate) fn walk_forms(
    files: &[FileFact],
    payload: impl BufRead,
    limits: &PayloadLimits,
    mut visit: impl FnMut(&Entry<'_>, usize, &Form, &mut dyn Read) -> io::Result<ControlFlow<()>>,
) -> std::result::Result<(), Problem> {
    if files.len() > limits.max_files {
        return Err(beyond("the number of files", limits.max_files as u64, "max_files"));
    }
    let by_path: HashMap<&str, usize> =
        files.iter().enumerate().map(|(index, file)| (relative(&file.path), index)).collect();
    // The short form of the archive: of several names of one file, the last in the header has the content.
    let last_of_group: HashMap<u64, usize> =
        files.iter().enumerate().filter_map(|(index, file)| Some((file.link_group?, index))).collect();
    let mut seen = vec![false; files.len()];
    let mut total = 0_u64;
    let mut archive = Cpio::new(decompress(payload).map_err(Problem::Read)?);
    while let Some(member) = archive.next()? {
        let (index, size) = match member {
            Member::Named(name, size) => (by_path.get(relative(&name)).copied(), Some(size)),
            Member::Index(index) => (Some(index).filter(|&index| index < files.len()), None),
        };
        let Some(index) = index else {
            return Err(Problem::Payload("it has a file that the header does not list".to_owned()));
        };
        let file = &files[index];
        if std::mem::replace(&mut seen[index], true) {
            return Err(Problem::Payload(format!("it has {:?} twice", shortened(&file.path))));
        }
        let has_content = file.link_group.is_none_or(|group| last_of_group.get(&group) == Some(&index));
        let size = content_size(file, size, has_content)?;
        total = total.saturating_add(size);
        if size > limits.max_file {
            return Err(beyond(&format!("{:?}", shortened(&file.path)), limits.max_file, "max_file"));
        }
        if total > limits.max_total {
            return Err(beyond("the files together", limits.max_total, "max_total"));
        }
        archive.expect(size);
        let entry = Entry { file, content_size: size };
        let form = archive.form().clone();
        match visit(&entry, index, &form, &mut archive) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return Ok(()),
            Err(error) => return Err(failed(error, &file.path)),
        }
    }
    Ok(())
}

/// How much content stands in the archive for a file. `stated` is what the archive says, where it says it.
fn content_size(
    file: &FileFact,
    stated: Option<u64>,
    has_content: bool,
) -> std::result::Result<u64, Problem> {
    use crate::FileKind::{Regular, Symlink};
    let Some(stated) = stated else {
        let has_content = has_content && matches!(file.kind, Regular | Symlink) && !file.ghost;
        return Ok(if has_content { file.size } else { 0 });
    };
    let expected = match file.kind {
        Regular if file.ghost => 0,
        Regular if stated == 0 && file.link_group.is_some() => 0,
        Regular => file.size,
        Symlink => file.link_target.as_ref().map_or(0, |target| target.len() as u64),
        _ => 0,
    };
    if stated != expected {
        let path = shortened(&file.path);
        let problem = format!("{path:?} has {stated} bytes, and the header says {expected}");
        return Err(Problem::Payload(problem));
    }
    Ok(stated)
}

/// An error of `visit`: its own, or ours that came through the reader.
fn failed(error: io::Error, path: &str) -> Problem {
    match error.downcast::<Problem>() {
        Ok(problem) => problem,
        Err(source) => Problem::Visitor { path: shortened(path), source },
    }
}

fn beyond(what: &str, limit: u64, setting: &'static str) -> Problem {
    Problem::Limit { what: what.to_owned(), limit, setting }
}

/// Paths stand in archives as `./usr/x`, `/usr/x` or `usr/x`.
fn relative(path: &str) -> &str {
    path.strip_prefix("./").unwrap_or(path).trim_start_matches('/')
}
