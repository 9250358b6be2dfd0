//! A kernel's exported symbols, from wherever they are.
//!
//! Where they are on Enterprise Linux: `kernel-devel` installs `/usr/src/kernels/RELEASE/Module.symvers`, and
//! `kernel-core` has `/lib/modules/RELEASE/symvers.gz`, of late `.xz` or `.zst`. Source: `kernel.spec` of Fedora
//! and CentOS Stream, at "GENERATING kernel ABI metadata". The directory is what the kernel and its tools go by,
//! so its name is the release, and not what the RPM says that it provides.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_kmod::{
    KernelConfig, KernelReference, KernelSymbols, Module, SymbolTable, SymversError, Vermagic, decompress,
    is_module_path,
};
use drivetrain_model::KernelRelease;
use drivetrain_rpmfile::{Entry, RpmFile};

use crate::files::{entries, is_rpm, metadata, reading};
use crate::modules::label;
use crate::package::{self, Failure, has_content};
use crate::{Limits, ProveError};

/// The table's names: as the kernel's build writes it, and as it is installed beside the modules.
const TABLES: [&str; 5] = ["Module.symvers", "symvers.gz", "symvers.xz", "symvers.zst", "symvers"];
/// Where in a tree the kernel's configuration is: in kernel-devel, beside the modules, and what modules are
/// compiled with. One is as good as another; the first that is there is read.
const CONFIGS: [&str; 4] = [".config", "config", "include/config/auto.conf", "include/generated/autoconf.h"];
/// Where in a tree the release is.
const RELEASE: &str = "include/config/kernel.release";
/// Where kernels are below a root.
const ROOTS: [&str; 3] = ["usr/src/kernels", "lib/modules", "usr/lib/modules"];
/// The most bytes of a configuration: real ones have a quarter of a million.
const MAX_CONFIG: u64 = 16 << 20;

/// Reads what a kernel exports.
///
/// The path may be
/// * an RPM: `kernel-devel`, `kernel-core`, or another with the table of symbols;
/// * a directory: the tree of kernel-devel, `/lib/modules/RELEASE`, or a root with either of them for one
///   kernel, or for the one that `release` names;
/// * a `Module.symvers`, compressed or not, under any name.
///
/// The release is what the kernel's files say, and `release` must be the same if given. A file without a tree
/// around it does not say it, and needs `release`.
///
/// What modules must be like beside their symbols (flags of the version magic, machine) is told by a module of
/// the kernel's own tree where one is at hand: below `/lib/modules/RELEASE`, and in an RPM if it comes before the
/// table. Otherwise it follows from the kernel's configuration, where there is one.
///
/// # Errors
/// Where there is no such table or several, one is damaged or not a kernel's, and where its release is unknown
/// or not the one asked for.
pub fn read_kernel(path: &Utf8Path, release: Option<&KernelRelease>) -> Result<KernelSymbols, ProveError> {
    if metadata(path)?.is_dir() {
        return from_tree(&table_below(path, release)?, release);
    }
    if is_rpm(path)? { from_package(path, release) } else { from_tree(path, release) }
}

/// What was found of a kernel.
#[derive(Default)]
struct Parts {
    symbols: Option<SymbolTable>,
    /// What a module of its tree tells.
    reference: Option<KernelReference>,
    config: KernelConfig,
}

impl Parts {
    /// `None` where there is no table.
    fn kernel(self, release: KernelRelease) -> Option<KernelSymbols> {
        Some(KernelSymbols {
            reference: self.reference.or_else(|| self.config.reference()),
            allow_missing_namespace_imports: self.config.allows_missing_namespace_imports(),
            ..KernelSymbols::new(release, self.symbols?)
        })
    }
}

/// The release that a kernel's directory is named after.
fn release_of(directory: &Utf8Path) -> Option<KernelRelease> {
    let parent = directory.parent()?;
    let is_kernels = ["src/kernels", "lib/modules"].iter().any(|end| parent.ends_with(end));
    KernelRelease::parse(directory.file_name().filter(|_| is_kernels)?).ok()
}

/// Which kernel it is, from what its files say and what was asked for.
fn settle(
    file: &str,
    found: Option<KernelRelease>,
    asked: Option<&KernelRelease>,
) -> Result<KernelRelease, ProveError> {
    match (found, asked) {
        (Some(found), Some(asked)) if found != *asked => {
            Err(ProveError::OtherRelease { file: file.to_owned(), found, asked: asked.clone() })
        }
        (Some(found), _) => Ok(found),
        (None, Some(asked)) => Ok(asked.clone()),
        (None, None) => Err(ProveError::NoRelease(file.to_owned())),
    }
}

/// Reads the table itself. A module that is built outside a kernel leaves a `Module.symvers` too, by which
/// every module would look broken.
fn read_table(reader: impl Read, file: &str) -> Result<SymbolTable, Failure> {
    let table = SymbolTable::read(reader).map_err(|error| match error {
        SymversError::Read(error) => Failure::Read(error),
        source => ProveError::Symvers { file: file.to_owned(), source: Box::new(source) }.into(),
    })?;
    if table.modules().all(|module| module != "vmlinux") {
        return Err(ProveError::NoKernel(file.to_owned()).into());
    }
    Ok(table)
}

fn read_config(reader: impl Read) -> io::Result<KernelConfig> {
    let mut config = Vec::new();
    reader.take(MAX_CONFIG).read_to_end(&mut config)?;
    Ok(KernelConfig::parse(&config))
}

/// What a module of the kernel's tree tells. Nothing, if it is another kernel's.
fn read_reference(
    reader: impl Read,
    file: &str,
    release: &KernelRelease,
) -> Result<Option<KernelReference>, Failure> {
    let limit = Limits::default().module_bytes;
    let mut packed = Vec::new();
    reader.take(limit).read_to_end(&mut packed)?;
    let bytes = decompress(&packed, usize::try_from(limit).unwrap_or(usize::MAX))
        .map_err(|source| ProveError::Decompress { file: file.to_owned(), source })?;
    let module =
        Module::parse(&bytes).map_err(|source| ProveError::Module { file: file.to_owned(), source })?;
    let is_own = module.vermagic().is_some_and(|text| Vermagic::parse(&text).release == release.as_str());
    Ok(is_own.then(|| KernelReference::of(&module)))
}

/// The one table of a directory.
fn table_below(directory: &Utf8Path, asked: Option<&KernelRelease>) -> Result<Utf8PathBuf, ProveError> {
    if let Some(table) = table_in(directory) {
        return Ok(table);
    }
    let mut tables = Tables::new();
    for root in ROOTS.map(|root| directory.join(root)).iter().filter(|root| root.is_dir()) {
        for (kernel, _) in entries(root)? {
            if let (Some(release), Some(table)) = (release_of(&kernel), table_in(&kernel)) {
                tables.entry(release).or_insert(table);
            }
        }
    }
    pick(tables, directory, asked)
}

/// Tables by the release in their path. A kernel may have its table in two places.
type Tables = BTreeMap<KernelRelease, Utf8PathBuf>;

/// The table that is asked for, or the only one.
fn pick(
    mut tables: Tables,
    path: &Utf8Path,
    asked: Option<&KernelRelease>,
) -> Result<Utf8PathBuf, ProveError> {
    let path = path.to_owned();
    if tables.is_empty() {
        return Err(ProveError::NoSymvers(path));
    }
    if let Some(asked) = asked {
        let found = tables.remove(asked);
        let releases = tables.into_keys().map(String::from).collect();
        return found.ok_or_else(|| ProveError::Absent { path, asked: asked.clone(), releases });
    }
    match tables.pop_first() {
        Some((_, table)) if tables.is_empty() => Ok(table),
        first => {
            let releases = first.into_iter().chain(tables).map(|(release, _)| release.into()).collect();
            Err(ProveError::SeveralKernels { path, releases })
        }
    }
}

fn table_in(directory: &Utf8Path) -> Option<Utf8PathBuf> {
    TABLES.iter().map(|name| directory.join(name)).find(|path| path.is_file())
}

/// Reads a table and, where it stands in a kernel's tree, what else that tells.
fn from_tree(table: &Utf8Path, asked: Option<&KernelRelease>) -> Result<KernelSymbols, ProveError> {
    let file = table.as_str();
    let reader = File::open(table).map_err(reading(table))?;
    let symbols = read_table(reader, file).map_err(|failure| failure.of(table))?;
    // Links are followed, so that `/lib/modules/RELEASE/build` and a bare name have the parents that count.
    let whole = table.canonicalize_utf8().map_err(reading(table))?;
    let directory = whole.parent().unwrap_or(&whole);
    let found = stated_release(directory)?.or_else(|| release_of(directory));
    let is_tree = found.is_some();
    let release = settle(file, found, asked)?;
    let mut parts = Parts { symbols: Some(symbols), ..Parts::default() };
    if is_tree {
        parts.add_from_tree(directory, &release)?;
    }
    let kernel = parts.kernel(release).ok_or_else(|| ProveError::NoSymvers(table.to_owned()))?;
    Ok(KernelSymbols { release_is_claimed: !is_tree, ..kernel })
}

/// What `include/config/kernel.release` says.
fn stated_release(directory: &Utf8Path) -> Result<Option<KernelRelease>, ProveError> {
    let path = directory.join(RELEASE);
    if !path.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    let file = File::open(&path).map_err(reading(&path))?;
    file.take(4096).read_to_string(&mut text).map_err(reading(&path))?;
    KernelRelease::parse(text.trim()).map(Some).map_err(|source| ProveError::BadRelease { path, source })
}

impl Parts {
    fn add_from_tree(&mut self, directory: &Utf8Path, release: &KernelRelease) -> Result<(), ProveError> {
        if let Some(config) = CONFIGS.map(|name| directory.join(name)).into_iter().find(|path| path.is_file())
        {
            let file = File::open(&config).map_err(reading(&config))?;
            self.config = read_config(file).map_err(reading(&config))?;
        }
        if let Some(module) = first_module(&directory.join("kernel"))? {
            let file = File::open(&module).map_err(reading(&module))?;
            let reference = read_reference(file, module.as_str(), release);
            self.reference = reference.map_err(|failure| failure.of(&module))?;
        }
        Ok(())
    }
}

/// The first module below a directory, by name: any will do, and this one is the same every time.
fn first_module(directory: &Utf8Path) -> Result<Option<Utf8PathBuf>, ProveError> {
    if !directory.is_dir() {
        return Ok(None);
    }
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let entries = entries(&directory)?;
        if let Some((path, _)) =
            entries.iter().find(|(path, kind)| kind.is_file() && is_module_path(path.as_str()))
        {
            return Ok(Some(path.clone()));
        }
        open.extend(entries.into_iter().rev().filter(|(_, kind)| kind.is_dir()).map(|(path, _)| path));
    }
    Ok(None)
}

/// Reads a kernel from an RPM, and of its payload no more than it takes.
fn from_package(path: &Utf8Path, asked: Option<&KernelRelease>) -> Result<KernelSymbols, ProveError> {
    let package = package::open(path)?;
    if package.is_source {
        return Err(ProveError::SourceRpm(path.to_owned()));
    }
    let table = table_of(&package, path, asked)?;
    let directory = table.parent().unwrap_or(&table);
    let release = settle(&label(Some(path.as_str()), table.as_str()), release_of(directory), asked)?;
    let mut parts = Parts::default();
    let config = config_of(&package, directory);
    let mut config_is_read = config.is_none();
    package::walk(path, |entry, content| {
        let file = Utf8Path::new(&entry.file.path);
        let name = label(Some(path.as_str()), file.as_str());
        if file == table {
            parts.symbols = Some(read_table(content, &name)?);
        } else if Some(file) == config {
            parts.config = read_config(content)?;
            config_is_read = true;
        } else if parts.reference.is_none() && is_reference(entry, directory) {
            parts.reference = read_reference(content, &name, &release)?;
        }
        let is_done = parts.symbols.is_some() && config_is_read;
        Ok(if is_done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    parts.kernel(release).ok_or_else(|| ProveError::NoSymvers(path.to_owned()))
}

/// Whether it is a module of the kernel's own tree.
fn is_reference(entry: &Entry<'_>, directory: &Utf8Path) -> bool {
    let path = Utf8Path::new(&entry.file.path);
    entry.content_size > 0 && is_module_path(path.as_str()) && path.starts_with(directory.join("kernel"))
}

/// The kernel's configuration in an RPM.
fn config_of<'a>(package: &'a RpmFile, directory: &Utf8Path) -> Option<&'a Utf8Path> {
    CONFIGS.iter().find_map(|name| {
        let path = directory.join(name);
        package
            .files
            .iter()
            .find(|file| has_content(file) && path == file.path)
            .map(|file| file.path.as_str().into())
    })
}

/// The path of the table in an RPM.
fn table_of(
    package: &RpmFile,
    path: &Utf8Path,
    asked: Option<&KernelRelease>,
) -> Result<Utf8PathBuf, ProveError> {
    let mut tables = Tables::new();
    for file in package.files.iter().filter(|file| has_content(file)) {
        let file = Utf8Path::new(&file.path);
        let is_table = file.file_name().is_some_and(|name| TABLES.contains(&name));
        if let Some(release) = file.parent().filter(|_| is_table).and_then(release_of) {
            tables.entry(release).or_insert_with(|| file.to_owned());
        }
    }
    pick(tables, path, asked)
}
