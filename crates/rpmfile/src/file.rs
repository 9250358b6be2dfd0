//! What an RPM's header says.

use std::io::Read;
use std::path::Path;

use drivetrain_model::{Architecture, Capability, Checksum, Comparison, Evr, KernelRelease, Nevra, Package};
use rpm::{DependencyFlags, IndexSignatureTag, IndexTag, PackageMetadata};

use crate::error::{name_of, shortened};
use crate::header::{self, Head, facts};
use crate::{Problem, Result};

/// Longest path of a file: the kernel's `PATH_MAX`. A header may name one directory for all its files, so
/// without it a small header could describe any amount of text.
const MAX_PATH_BYTES: usize = 4096;

/// The facts of an RPM file, from its header. Nothing is verified here: see [`crate::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpmFile {
    /// Its full name; the architecture of a source RPM is `src`.
    pub nevra: Nevra,
    /// Whether it is a source RPM.
    pub is_source: bool,
    /// The file name of the source RPM that it was built from; absent for a source RPM.
    pub source_rpm: Option<String>,
    /// Its licence, in the header's words; empty where that is not said.
    pub license: String,
    /// When it was built, in seconds since 1970; 0 where that is not said.
    pub build_time: u64,
    /// The size of its payload without compression, where the header says it.
    pub payload_size: Option<u64>,
    /// What it offers.
    pub provides: Vec<Capability>,
    /// What it needs, without `rpmlib(…)`: what rpm itself must be able to do is no package's to provide. A
    /// source RPM needs it to be built.
    pub requires: Vec<Capability>,
    /// What it must not be installed with.
    pub conflicts: Vec<Capability>,
    /// What it replaces.
    pub obsoletes: Vec<Capability>,
    /// What should be installed with it, where that is possible.
    pub recommends: Vec<Capability>,
    /// What it should be installed with, where that is possible.
    pub supplements: Vec<Capability>,
    /// What goes well with it.
    pub suggests: Vec<Capability>,
    /// What it goes well with.
    pub enhances: Vec<Capability>,
    /// Its files, in the order of the header.
    pub files: Vec<FileFact>,
}

/// One file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFact {
    /// The absolute path; in a source RPM the bare name.
    pub path: String,
    /// The size in bytes.
    pub size: u64,
    /// The permission bits, `0o7777`.
    pub mode: u16,
    /// What it is.
    pub kind: FileKind,
    /// Whether the package owns the path and does not bring it (`%ghost`).
    pub ghost: bool,
    /// The digest of its content, as the header says it; absent for what has none.
    pub digest: Option<String>,
    /// When it was last changed, in seconds since 1970.
    pub modified: u32,
    /// Where a symbolic link points to.
    pub link_target: Option<String>,
    /// Files of a package with the same number here are one file under several names.
    pub link_group: Option<u64>,
    /// Whether it is the source RPM's spec file.
    pub spec: bool,
}

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A file with content.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a pipe or a socket.
    Special,
}

impl RpmFile {
    /// Reads a file's header.
    ///
    /// # Errors
    /// Where it is no RPM, or its header is damaged or lacks what every package has.
    pub fn open(path: &Path) -> Result<Self> {
        let (head, _) = header::open(path)?;
        Self::from_head(&head, &name_of(path))
    }

    /// Reads a header from the start of a stream. `file` names it in errors. The stream is read beyond the
    /// header, by as much as a buffer holds.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_reader(reader: impl Read, file: &str) -> Result<Self> {
        let (head, _) = header::from_reader(reader, file)?;
        Self::from_head(&head, file)
    }

    pub(crate) fn from_head(head: &Head, file: &str) -> Result<Self> {
        Self::from_metadata(&head.metadata).map_err(|problem| problem.of(file))
    }

    fn from_metadata(metadata: &PackageMetadata) -> std::result::Result<Self, Problem> {
        let fail = |error: rpm::Error| facts(&error);
        let is_source = metadata.is_source_package();
        let arch = if is_source { "src" } else { metadata.get_arch().map_err(fail)? };
        let arch = Architecture::parse(arch).map_err(|error| Problem::Facts(error.to_string()))?;
        let name = metadata.get_name().map_err(fail)?;
        let (version, release) =
            (metadata.get_version().map_err(fail)?, metadata.get_release().map_err(fail)?);
        // Names become paths and URLs further on.
        for (what, text) in [("name", name), ("version", version), ("release", release)] {
            if text.is_empty() || text.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
                return Err(Problem::Facts(format!(
                    "has the {what} {:?}, which no package can have",
                    shortened(text)
                )));
            }
        }
        let evr = Evr::new(metadata.get_epoch().unwrap_or(0), version, release);
        let mut requires = capabilities(metadata.get_requires().map_err(fail)?);
        requires.retain(|capability| !capability.name.starts_with("rpmlib("));
        let signature = &metadata.signature;
        let payload_size = metadata
            .header
            .get_entry_data_as_u64(IndexTag::RPMTAG_PAYLOADSIZEALT)
            .or_else(|_| signature.get_entry_data_as_u64(IndexSignatureTag::RPMSIGTAG_LONGARCHIVESIZE))
            .or_else(|_| {
                signature.get_entry_data_as_u32(IndexSignatureTag::RPMSIGTAG_PAYLOADSIZE).map(u64::from)
            })
            .ok();
        Ok(Self {
            nevra: Nevra::new(name, evr, arch),
            is_source,
            source_rpm: metadata.get_source_rpm().ok().filter(|text| !text.is_empty()).map(str::to_owned),
            license: metadata.get_license().unwrap_or_default().to_owned(),
            build_time: metadata.get_build_time().unwrap_or(0),
            payload_size,
            provides: capabilities(metadata.get_provides().map_err(fail)?),
            requires,
            conflicts: capabilities(metadata.get_conflicts().map_err(fail)?),
            obsoletes: capabilities(metadata.get_obsoletes().map_err(fail)?),
            recommends: capabilities(metadata.get_recommends().map_err(fail)?),
            supplements: capabilities(metadata.get_supplements().map_err(fail)?),
            suggests: capabilities(metadata.get_suggests().map_err(fail)?),
            enhances: capabilities(metadata.get_enhances().map_err(fail)?),
            files: files(metadata)?,
        })
    }

    /// The package as a repository's metadata would describe it, with all its files.
    #[must_use]
    pub fn into_package(self, checksum: Checksum, size: u64, location: impl Into<String>) -> Package {
        Package {
            build_time: self.build_time,
            source_rpm: self.source_rpm,
            provides: self.provides,
            requires: self.requires,
            conflicts: self.conflicts,
            obsoletes: self.obsoletes,
            recommends: self.recommends,
            supplements: self.supplements,
            suggests: self.suggests,
            enhances: self.enhances,
            files: self.files.into_iter().map(|file| file.path).collect(),
            ..Package::bare(self.nevra, checksum, size, location)
        }
    }

    /// The first thing provided under this name.
    #[must_use]
    pub fn provided(&self, name: &str) -> Option<&Capability> {
        self.provides.iter().find(|capability| capability.name == name)
    }

    /// The kernel release of a `kernel-core`, `kernel-devel` or their like: what `kernel-uname-r` is provided
    /// as.
    #[must_use]
    pub fn uname_r(&self) -> Option<KernelRelease> {
        let provided = self.provided("kernel-uname-r")?.constraint.as_ref()?;
        KernelRelease::parse(&provided.evr.to_string()).ok()
    }
}

fn capabilities(dependencies: Vec<rpm::Dependency>) -> Vec<Capability> {
    dependencies
        .into_iter()
        .map(|dependency| match comparison(dependency.flags) {
            Some(comparison) if !dependency.version.is_empty() => {
                Capability::versioned(dependency.name, comparison, Evr::parse(&dependency.version))
            }
            _ => Capability::unversioned(dependency.name),
        })
        .collect()
}

/// `RPMSENSE_LESS`, `RPMSENSE_GREATER`, `RPMSENSE_EQUAL`; the other bits say when something is needed.
fn comparison(flags: DependencyFlags) -> Option<Comparison> {
    let has = |flag| flags.contains(flag);
    match (has(DependencyFlags::LESS), has(DependencyFlags::EQUAL), has(DependencyFlags::GREATER)) {
        (true, false, false) => Some(Comparison::Less),
        (true, true, false) => Some(Comparison::LessOrEqual),
        (false, true, false) => Some(Comparison::Equal),
        (false, true, true) => Some(Comparison::GreaterOrEqual),
        (false, false, true) => Some(Comparison::Greater),
        _ => None,
    }
}

fn files(metadata: &PackageMetadata) -> std::result::Result<Vec<FileFact>, Problem> {
    let entries = metadata.get_file_entries().map_err(|error| facts(&error))?;
    let header = &metadata.header;
    let devices = header.get_entry_data_as_u32_array(IndexTag::RPMTAG_FILEDEVICES).unwrap_or_default();
    let inodes = header.get_entry_data_as_u32_array(IndexTag::RPMTAG_FILEINODES).unwrap_or_default();
    let mut files = Vec::with_capacity(entries.len());
    let mut text_bytes = 0;
    for (index, entry) in entries.iter().enumerate() {
        let length = entry.dirname().len() + entry.basename().len();
        if length > MAX_PATH_BYTES {
            return Err(Problem::Facts(format!(
                "has a path of {length} bytes, and {MAX_PATH_BYTES} are allowed"
            )));
        }
        text_bytes += length;
        // Directories are named once and used by many files; this bounds what that comes to.
        if text_bytes > 256 << 20 {
            return Err(Problem::Facts("has paths of more than 256 MiB".to_owned()));
        }
        let kind = match entry.file_type() {
            rpm::FileType::Regular => FileKind::Regular,
            rpm::FileType::Dir => FileKind::Directory,
            rpm::FileType::SymbolicLink => FileKind::Symlink,
            _ => FileKind::Special,
        };
        let group =
            devices.get(index).zip(inodes.get(index)).map(|(&d, &i)| u64::from(d) << 32 | u64::from(i));
        files.push(FileFact {
            path: format!("{}{}", entry.dirname(), entry.basename()),
            size: entry.size() as u64,
            mode: entry.permissions(),
            kind,
            ghost: entry.flags().contains(rpm::FileFlags::GHOST),
            digest: entry.digest().map(|digest| digest.as_hex().to_owned()),
            modified: entry.modified_at().0,
            link_target: entry.linkto().map(str::to_owned),
            link_group: group.filter(|_| kind == FileKind::Regular),
            spec: entry.flags().contains(rpm::FileFlags::SPECFILE),
        });
    }
    forget_single_links(&mut files);
    Ok(files)
}

/// Every file has a device and an inode; only those that are shared mean anything.
fn forget_single_links(files: &mut [FileFact]) {
    let mut counts = std::collections::HashMap::new();
    for group in files.iter().filter(|file| !file.ghost).filter_map(|file| file.link_group) {
        *counts.entry(group).or_insert(0_usize) += 1;
    }
    for file in files {
        file.link_group =
            file.link_group.filter(|group| !file.ghost && counts.get(group).is_some_and(|&n| n > 1));
    }
}
