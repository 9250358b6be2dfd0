//! Unpacking a package into a directory, without leaving that directory.
//!
//! Every directory on the way to a file is opened from the one above it, and never through a symbolic link
//! (`openat` with `O_NOFOLLOW`), so neither `..` nor a link that the archive planted, nor one that somebody puts
//! there meanwhile, leads a write elsewhere. The directories of the last file stay open for the next: packages
//! list their files in order, so most of them need one `openat`.

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use fs_err::File;
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};

use crate::error::{name_of, shortened};
use crate::payload::walk;
use crate::{Entry, FileFact, FileKind, PayloadLimits, Problem, Result, RpmFile, header};

/// What was unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extracted {
    /// How many files, links and directories were made.
    pub entries: usize,
    /// Bytes of content.
    pub bytes: u64,
    /// Symbolic links that lead out of the destination: absolute ones, and those that climb. They are made as
    /// they are written, and were not followed.
    pub outside_links: Vec<String>,
    /// Devices, pipes and sockets, which are not made.
    pub skipped: Vec<String>,
}

/// Unpacks the files for which `filter` says yes into `destination`, which must be there.
///
/// Owners are not kept; modes keep `rwxr-xr-x` at most, and the owner may always read and write; files keep the
/// time of their last change. A file that is there already is replaced, a link that is there is not followed.
/// Of several names of one file, those that are wanted are links to one another.
///
/// The bytes are not verified here: see [`crate::verify`].
///
/// # Errors
/// Where the package is not sound or beyond a limit, a path leads out of the destination or through a link, or
/// a file cannot be written. What was unpacked by then stays.
pub fn extract(
    path: &Path,
    destination: &Path,
    limits: &PayloadLimits,
    filter: impl Fn(&Entry<'_>) -> bool,
) -> Result<Extracted> {
    let name = name_of(path);
    let (head, payload) = header::open(path)?;
    let facts = RpmFile::from_head(&head, &name)?;
    let mut writer = Writer::open(destination).map_err(|problem| problem.of(&name))?;
    let mut problem = None;
    let walked = walk(&facts.files, payload, limits, |entry, content| {
        if !filter(entry) {
            return Ok(ControlFlow::Continue(()));
        }
        match writer.write(entry, content) {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(found) => {
                problem = Some(found);
                Ok(ControlFlow::Break(()))
            }
        }
    });
    walked.and_then(|()| problem.map_or(Ok(()), Err)).map_err(|problem| problem.of(&name))?;
    Ok(writer.done)
}

struct Writer {
    root: File,
    /// The directories of the last file, from the root down, by name.
    open: Vec<(String, OwnedFd)>,
    /// Of each file with several names: those that came without content, and where the content was written.
    links: HashMap<u64, Links>,
    done: Extracted,
}

#[derive(Default)]
struct Links {
    waiting: Vec<String>,
    written: Option<String>,
}

impl Writer {
    fn open(destination: &Path) -> std::result::Result<Self, Problem> {
        let root = File::open(destination).map_err(Problem::Read)?;
        Ok(Self { root, open: Vec::new(), links: HashMap::new(), done: Extracted::default() })
    }

    fn write(&mut self, entry: &Entry<'_>, content: &mut dyn Read) -> std::result::Result<(), Problem> {
        let file = entry.file;
        let path = file.path.as_str();
        let segments = segments(path).map_err(|problem| Problem::Path { path: shortened(path), problem })?;
        let Some((&name, parents)) = segments.split_last() else {
            // `/` itself, which the package `filesystem` lists.
            return Ok(());
        };
        match file.kind {
            FileKind::Directory => {
                let directory = self.directory(&segments, path)?;
                let mode = Mode::from_bits_truncate(u32::from(file.mode & 0o755 | 0o700));
                rustix::fs::fchmod(directory, mode).map_err(|error| cannot_write(path, error))?;
            }
            FileKind::Symlink => {
                let target = file.link_target.as_deref().unwrap_or_default();
                if leads_outside(parents.len(), target) {
                    self.done.outside_links.push(path.to_owned());
                }
                let parent = self.directory(parents, path)?;
                replacing(parent, name, || rustix::fs::symlinkat(target, parent, name))
                    .map_err(|error| cannot_write(path, error))?;
            }
            FileKind::Special => {
                self.done.skipped.push(path.to_owned());
                return Ok(());
            }
            FileKind::Regular => self.regular(entry, parents, name, content)?,
        }
        self.done.entries += 1;
        Ok(())
    }

    fn regular(
        &mut self,
        entry: &Entry<'_>,
        parents: &[&str],
        name: &str,
        content: &mut dyn Read,
    ) -> std::result::Result<(), Problem> {
        let file = entry.file;
        let path = file.path.as_str();
        let Some(group) = file.link_group else {
            let parent = self.directory(parents, path)?;
            self.done.bytes += create(parent, name, file, content)?;
            return Ok(());
        };
        let links = self.links.entry(group).or_default();
        if let Some(written) = links.written.clone() {
            return self.link(&written, path);
        }
        if entry.content_size == 0 && file.size > 0 {
            // The content comes with the last of the names.
            links.waiting.push(path.to_owned());
            return Ok(());
        }
        links.written = Some(path.to_owned());
        let waiting = std::mem::take(&mut links.waiting);
        let parent = self.directory(parents, path)?;
        self.done.bytes += create(parent, name, file, content)?;
        for other in waiting {
            self.link(path, &other)?;
        }
        Ok(())
    }

    /// A second name for a file that was written.
    fn link(&mut self, existing: &str, path: &str) -> std::result::Result<(), Problem> {
        let refused = |path: &str, problem| Problem::Path { path: shortened(path), problem };
        let from = segments(existing).map_err(|problem| refused(existing, problem))?;
        let to = segments(path).map_err(|problem| refused(path, problem))?;
        let (Some((from_name, from_parents)), Some((to_name, to_parents))) =
            (from.split_last(), to.split_last())
        else {
            return Ok(());
        };
        let from_parent = self.directory(from_parents, existing)?;
        let from_parent = from_parent.try_clone_to_owned().map_err(|source| failed(path, source))?;
        let to_parent = self.directory(to_parents, path)?;
        replacing(to_parent, to_name, || {
            rustix::fs::linkat(&from_parent, *from_name, to_parent, *to_name, AtFlags::empty())
        })
        .map_err(|error| cannot_write(path, error))
    }

    /// The directory of these names below the destination, made where it is missing.
    fn directory(&mut self, names: &[&str], path: &str) -> std::result::Result<BorrowedFd<'_>, Problem> {
        let common = self.open.iter().zip(names).take_while(|((open, _), name)| open == *name).count();
        self.open.truncate(common);
        for &name in &names[common..] {
            let above = self.open.last().map_or(self.root.as_fd(), |(_, directory)| directory.as_fd());
            let directory = open_directory(above, name).map_err(|error| match error {
                rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => Problem::Path {
                    path: shortened(path),
                    problem: "a symbolic link or a file stands where it needs a directory",
                },
                error => cannot_write(path, error),
            })?;
            self.open.push((name.to_owned(), directory));
        }
        Ok(self.open.last().map_or(self.root.as_fd(), |(_, directory)| directory.as_fd()))
    }
}

fn open_directory(above: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(above, name, flags, Mode::empty());
    match open() {
        Err(rustix::io::Errno::NOENT) => {}
        other => return other,
    }
    match rustix::fs::mkdirat(above, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => open(),
        Err(error) => Err(error),
    }
}

/// Writes a file that is new, whatever was there before.
fn create(
    parent: BorrowedFd<'_>,
    name: &str,
    file: &FileFact,
    content: &mut dyn Read,
) -> std::result::Result<u64, Problem> {
    let path = file.path.as_str();
    // No set-uid, nothing for the group or others to write, and always ours to read and replace.
    let mode = Mode::from_bits_truncate(u32::from(file.mode & 0o755 | 0o600));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let created = replacing(parent, name, || rustix::fs::openat(parent, name, flags, mode))
        .map_err(|error| cannot_write(path, error))?;
    let mut target = std::fs::File::from(created);
    let bytes = io::copy(content, &mut target).map_err(|error| match error.downcast::<Problem>() {
        Ok(problem) => problem,
        Err(error) => failed(path, error),
    })?;
    // The mode again, for the process' umask took from it; and the time, which `make` goes by.
    rustix::fs::fchmod(&target, mode).map_err(|error| cannot_write(path, error))?;
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: i64::from(file.modified), tv_nsec: 0 },
    };
    rustix::fs::futimens(&target, &times).map_err(|error| cannot_write(path, error))?;
    Ok(bytes)
}

/// Makes something under a name that may be taken.
fn replacing<T>(
    parent: BorrowedFd<'_>,
    name: &str,
    make: impl Fn() -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    match make() {
        Err(rustix::io::Errno::EXIST) => {
            rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
            make()
        }
        other => other,
    }
}

/// The names that make a path, none of which leads up.
fn segments(path: &str) -> std::result::Result<Vec<&str>, &'static str> {
    if path.contains('\0') {
        return Err("it holds a NUL");
    }
    let names: Vec<_> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    if names.contains(&"..") {
        return Err("it leads out of the destination");
    }
    Ok(names)
}

/// Whether a link in a directory at this depth points out of the root, by its text.
fn leads_outside(depth: usize, target: &str) -> bool {
    if target.starts_with('/') {
        return true;
    }
    let mut depth = depth;
    for name in target.split('/').filter(|name| !name.is_empty() && *name != ".") {
        match (name, depth) {
            ("..", 0) => return true,
            ("..", _) => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

fn cannot_write(path: &str, error: rustix::io::Errno) -> Problem {
    failed(path, error.into())
}

fn failed(path: &str, source: io::Error) -> Problem {
    Problem::Write { path: shortened(path), source }
}
