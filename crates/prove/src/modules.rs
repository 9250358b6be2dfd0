//! Modules, from wherever they are.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_kmod::{Compression, DecompressError, decompress};
use drivetrain_rpmfile::FileFact;

use crate::budget::Budget;
use crate::files::{self, Found, is_meant_as_module, is_rpm, reading};
use crate::package::{self, has_content};
use crate::{Limits, ProveError, parallel};

/// No more is set aside for a module before its bytes come.
const FIRST_BYTES: u64 = 1 << 20;

/// One module, as the kernel would be handed it.
#[derive(Clone, PartialEq, Eq)]
pub struct ModuleFile {
    /// The file name of the RPM that it is in; its path where several are read that share a name.
    pub package: Option<String>,
    /// Where the RPM installs it; the path of its file where it is in no RPM. Control characters are escaped,
    /// so that it can be shown.
    pub path: String,
    /// Its bytes, not compressed.
    pub bytes: Vec<u8>,
}

/// The path, and the package before it: `kmod-x.rpm:/lib/modules/…/x.ko`.
impl fmt::Display for ModuleFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&label(self.package.as_deref(), &self.path))
    }
}

impl fmt::Debug for ModuleFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModuleFile({self}, {} bytes)", self.bytes.len())
    }
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modules {
    /// Every module, by file and then in the order of the RPM. Never empty.
    pub modules: Vec<ModuleFile>,
    /// The RPMs that have none: paths as they were named or found. Source RPMs among them were found in a
    /// directory, and not named.
    pub without: Vec<Utf8PathBuf>,
}

/// Reads every module of some files and directories.
///
/// A file is an RPM or a module, compressed or not, and its content tells which. Of a directory, all RPMs
/// (`*.rpm`) and modules (`*.ko`, `*.ko.gz`, `*.ko.xz`, `*.ko.zst`) below it are read. Of an RPM, the files so
/// named are read. A module in another compression (`*.ko.bz2`) is refused wherever it is found. A file under several names or named twice is read once.
///
/// # Errors
/// Where files cannot be read, are damaged, are neither of the two, or are source RPMs: all of them are named.
/// Where more would be read than the limits allow, and where there is not one module.
pub fn read_modules(files: &[Utf8PathBuf], limits: &Limits) -> Result<Modules, ProveError> {
    let budget = Budget::new(*limits);
    let found = files::find(files, limits)?;
    let mut errors = Vec::new();
    let parts = map_all(found, &budget, &mut errors, |found| read_file(found, &budget))?;
    let mut without = Vec::new();
    let mut packed = Vec::new();
    for part in parts {
        match part {
            Part::Modules(modules) => packed.extend(modules),
            Part::Without(package) => without.push(package),
        }
    }
    if packed.is_empty() && errors.is_empty() {
        let looked_at = files.iter().map(ToString::to_string).collect();
        return Err(ProveError::NothingToJudge { looked_at });
    }
    // Apart from reading: one RPM has most modules of a stack, and xz takes longer than everything else.
    let modules = map_all(packed, &budget, &mut errors, |module| unpack(module, &budget))?;
    match ProveError::of_all(errors) {
        Some(error) => Err(error),
        None => Ok(Modules { modules, without }),
    }
}

/// One function over many files. What is wrong with one does not keep the others from being looked at: who fetches
/// files again wants to know of all of them.
fn map_all<T: Send, R: Send>(
    items: Vec<T>,
    budget: &Budget,
    errors: &mut Vec<ProveError>,
    work: impl Fn(T) -> Result<R, ProveError> + Sync,
) -> Result<Vec<R>, ProveError> {
    let done = parallel::map(items, budget.threads(), |item| match work(item) {
        Err(error) if error.ends_reading() => Err(error),
        other => Ok(other),
    })?;
    let mut good = Vec::with_capacity(done.len());
    for result in done {
        match result {
            Ok(value) => good.push(value),
            Err(error) => errors.push(error),
        }
    }
    Ok(good)
}

/// What one file has.
enum Part {
    /// Modules, as they are in it.
    Modules(Vec<ModuleFile>),
    /// An RPM without.
    Without(Utf8PathBuf),
}

fn read_file(found: Found, budget: &Budget) -> Result<Part, ProveError> {
    if is_rpm(&found.path)? {
        return read_package(found, budget);
    }
    let module = read_loose(&found.path, budget)?;
    let problem = match Compression::detect(&module.bytes) {
        _ if module.bytes.is_empty() => "it is empty",
        // Named when it is unpacked.
        _ if Compression::foreign(&module.bytes).is_some() => return Ok(Part::Modules(vec![module])),
        Compression::None if !is_elf(&module.bytes) => "it begins like neither",
        _ => return Ok(Part::Modules(vec![module])),
    };
    Err(ProveError::Unknown { path: found.path, problem })
}

fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// Reads a file that is not an RPM.
fn read_loose(path: &Utf8Path, budget: &Budget) -> Result<ModuleFile, ProveError> {
    let file = File::open(path).map_err(reading(path))?;
    let size = file.metadata().map_err(reading(path))?.len();
    budget.module(size, path.as_str())?;
    let bytes = read_bytes(file, size).map_err(reading(path))?;
    Ok(ModuleFile { package: None, path: printable(path.as_str()), bytes })
}

/// Reads the modules of an RPM, as they are in it.
fn read_package(found: Found, budget: &Budget) -> Result<Part, ProveError> {
    let Found { path, named, label: name } = found;
    let package = package::open(&path)?;
    if package.is_source && named {
        return Err(ProveError::SourceRpm(path));
    }
    let listed = package.files.iter().filter(|file| has_module(file)).count();
    if package.is_source || listed == 0 {
        return Ok(Part::Without(path));
    }
    let name = printable(&name);
    let mut left = listed;
    let mut modules = Vec::new();
    package::walk(&path, |entry, content| {
        if !has_module(entry.file) {
            return Ok(ControlFlow::Continue(()));
        }
        left -= 1;
        // All names of a file but the last come without its content.
        if entry.content_size > 0 || entry.file.link_group.is_none() {
            let path = installed(&entry.file.path);
            budget.module(entry.content_size, &label(Some(&name), &path))?;
            let bytes = read_bytes(content, entry.content_size)?;
            modules.push(ModuleFile { package: Some(name.clone()), path, bytes });
        }
        Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    if left > 0 {
        return Err(ProveError::Incomplete { package: path, missing: left, listed });
    }
    Ok(Part::Modules(modules))
}

/// Whether a file of an RPM is a module. Links to modules are not: `weak-updates` has those of other kernels.
fn has_module(file: &FileFact) -> bool {
    has_content(file) && is_meant_as_module(&file.path)
}

/// Reads as the bytes come, so that a size that is only claimed costs nothing.
fn read_bytes(reader: impl Read, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size.min(FIRST_BYTES) as usize);
    reader.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Takes the compression off.
fn unpack(module: ModuleFile, budget: &Budget) -> Result<ModuleFile, ProveError> {
    let file = module.to_string();
    if let Some(compression) = Compression::foreign(&module.bytes) {
        return Err(ProveError::Compression { file, compression });
    }
    if Compression::detect(&module.bytes) == Compression::None {
        return Ok(module);
    }
    // Given back before it is gone: the limit is on modules as they are loaded.
    budget.give(module.bytes.len() as u64);
    let room = budget.room();
    let bytes = match decompress(&module.bytes, usize::try_from(room).unwrap_or(usize::MAX)) {
        Ok(bytes) => bytes.into_owned(),
        Err(DecompressError::TooLarge { .. }) => return Err(budget.no_room(room, &file)),
        Err(source) => return Err(ProveError::Decompress { file, source }),
    };
    if module.package.is_none() && !is_elf(&bytes) {
        let problem = "what is compressed in it is no module";
        return Err(ProveError::Unknown { path: module.path.into(), problem });
    }
    budget.take(bytes.len() as u64, &file)?;
    Ok(ModuleFile { bytes, ..module })
}

/// How a module is named to people.
pub(crate) fn label(package: Option<&str>, path: &str) -> String {
    package.map_or_else(|| path.to_owned(), |package| format!("{package}:{path}"))
}

/// A path of an RPM as that of an installed file.
pub(crate) fn installed(path: &str) -> String {
    printable(&if path.starts_with('/') { Cow::Borrowed(path) } else { Cow::Owned(format!("/{path}")) })
}

/// Names come from whoever made the file, and are shown on terminals.
fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
        out
    })
}
