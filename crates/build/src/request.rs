//! What is to be built, from what, and how: pure data.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use camino::Utf8PathBuf;
use drivetrain_host::RootFs;
use drivetrain_model::{
    Architecture, Capability, Checksum, ComponentName, KernelRelease, Nevra, Sha256Digest,
};
use serde::{Deserialize, Serialize};

use crate::Toolchain;

/// Everything that [`build`](crate::build) needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BuildRequest {
    /// The kernel that the modules are for.
    pub kernel: TargetKernel,
    /// The components. The order decides only which of two that could both start goes first.
    pub components: Vec<Component>,
    /// How to go about it; none of it changes what is built.
    pub options: BuildOptions,
    /// Where to read and write.
    pub directories: Directories,
    /// What compiles.
    pub toolchain: Toolchain,
    /// The system that it is part of. Not told to other machines: they build with their own.
    #[serde(skip)]
    pub root: RootFs,
    /// The vendor's tool, where that builds all components.
    #[serde(default)]
    pub vendor_tool: Option<VendorTool>,
}

/// The vendor's tool that builds components, and what it is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VendorTool {
    /// The packages that are installed for it: the one that has it, and the one that has the source archive.
    pub packages: Vec<ToolPackage>,
    /// Where the first of these has the tool.
    pub program: Utf8PathBuf,
    /// The configuration's arguments for it.
    pub arguments: Vec<String>,
    /// RPM macros. The tool has no option for them; rpm reads them from the user's configuration.
    pub macros: BTreeMap<String, String>,
    /// Components of the archive that are not built.
    pub left_out: BTreeSet<ComponentName>,
    /// Components whose source RPMs are not those of the archive.
    pub extra: BTreeSet<ComponentName>,
}

/// A package that is installed on a builder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToolPackage {
    /// Its full name.
    pub nevra: Nevra,
    /// Its file.
    pub path: Utf8PathBuf,
    /// Its SHA-256; checked before use.
    pub sha256: Sha256Digest,
}

/// The kernel that the modules are for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TargetKernel {
    /// Its release. The kernel that happens to run on the builder does not matter.
    pub release: KernelRelease,
    /// Its architecture.
    pub arch: Architecture,
    /// The extracted development tree: the directory that is `/usr/src/kernels/<release>` when installed.
    /// Everyone must be able to read it.
    pub devel: Utf8PathBuf,
    /// The checksum of the kernel-devel RPM that it was extracted from.
    pub devel_checksum: Checksum,
    /// What that RPM provides; to answer `BuildRequires: kernel-devel`.
    pub devel_provides: Vec<Capability>,
}

/// One component to build.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Component {
    /// Its name.
    pub name: ComponentName,
    /// Its source RPM.
    pub srpm: Utf8PathBuf,
    /// The source RPM's SHA-256; checked before use.
    pub sha256: Sha256Digest,
    /// The components that it is built against.
    pub needs: Vec<ComponentName>,
    /// The digest over all its inputs, from [`component_key`](crate::component_key).
    pub key: Sha256Digest,
    /// The same whatever the kernel, from [`family_key`](crate::family_key); absent where nobody asks for it.
    #[serde(default)]
    pub family: Option<Sha256Digest>,
    /// How to build it.
    pub recipe: Recipe,
    /// Milliseconds that its last build took; for the progress view.
    pub estimate_ms: Option<u64>,
}

/// What of a component's build the configuration may choose, and all of which changes what is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// RPM macros to define, on top of drivetrain's own ([`Recipe::macros_for`]) and stronger than those.
    pub macros: BTreeMap<String, String>,
    /// `--with` conditionals.
    pub with: BTreeSet<String>,
    /// `--without` conditionals.
    pub without: BTreeSet<String>,
    /// Patches on top of the source RPM's own, in order.
    pub patches: Vec<Patch>,
    /// Whether modules keep their debugging information.
    pub debuginfo: Debuginfo,
    /// How RPMs are compressed, as RPM's `_binary_payload` says it.
    pub payload: String,
    /// Whether the spec files may use `%kernel_module_package`, and so make `kmod-NAME` packages: what the vendor's
    /// call `KMP`. Without that macro they make `NAME-modules`.
    pub kernel_module_packages: bool,
}

/// A patch that is applied at the end of `%prep`, with `patch -p1`, in the source's top directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// What people call it: its file's name. Not part of a component's identity.
    pub name: String,
    /// Where it is. Not part of a component's identity: the digest is.
    pub path: Utf8PathBuf,
    /// Its SHA-256; checked before use.
    pub sha256: Sha256Digest,
}

/// Whether to compile with debugging information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Debuginfo {
    /// Compile with `-g0`. The vendor's makefiles ask for `-g` and strip it off again when modules are
    /// installed; the machine code is the same, and a third of the time is saved.
    #[default]
    Drop,
    /// Compile as the makefiles say, and move what debuggers read into packages of its own.
    Keep,
}

/// What makes packages of debugging information on any host. RHEL's macros add them in front of `%install`, and
/// Debian's do not.
const DEBUGINFO: &[(&str, &str)] = &[
    ("_enable_debug_packages", "1"),
    ("install", "{%{!?__debug_package:%{?buildsubdir:%{debug_package}}}\n%%install\n%{nil}}"),
    // Only files that can be executed are looked at, which modules need not be.
    (
        "__spec_install_post",
        "{%{?__debug_package:\n\
         find \"$RPM_BUILD_ROOT\" -type f -name '*.ko' ! -perm -0100 -print0 >\"$DRIVETRAIN_TOP/out/modules\"\n\
         xargs -0 -r chmod u+x <\"$DRIVETRAIN_TOP/out/modules\"\n\
         %{__debug_install_post}\n\
         xargs -0 -r chmod u-x <\"$DRIVETRAIN_TOP/out/modules\"\n\
         }\n%{__arch_install_post}\n%{__os_install_post}}",
    ),
    // A component without anything compiled has none, and is no failure.
    ("_empty_manifest_terminate_build", "0"),
];

impl Default for Recipe {
    fn default() -> Self {
        Self {
            macros: BTreeMap::new(),
            // One that a spec does not know does nothing. RPM takes a dash for the underscore.
            with: ["building_kmods".to_owned()].into(),
            without: BTreeSet::new(),
            patches: Vec::new(),
            debuginfo: Debuginfo::Drop,
            payload: "w3.zstdio".to_owned(),
            kernel_module_packages: true,
        }
    }
}

impl Recipe {
    /// All macros of a build for this kernel: drivetrain's own, with the configured ones over them.
    ///
    /// They are the same on every host. What an RPM distribution's own macros would say is said here as well,
    /// so that a component built on Debian is the one built on Rocky.
    #[must_use]
    pub fn macros_for(&self, kernel: &KernelRelease) -> BTreeMap<String, String> {
        let own = [
            // The interface of the vendor's spec files.
            ("KVERSION", kernel.as_str()),
            ("K_SRC", &format!("/usr/src/kernels/{kernel}")),
            ("KMP", if self.kernel_module_packages { "1" } else { "0" }),
            ("_kmp_build_num", ".1"),
            // What they ask of the distribution.
            ("_vendor", "redhat"),
            ("rhel", "9"),
            ("dist", ".rhel9"),
            ("_dist", ".rhel9"),
            ("_unitdir", "/usr/lib/systemd/system"),
            ("_udevrulesdir", "/usr/lib/udev/rules.d"),
            ("_modulesloaddir", "/usr/lib/modules-load.d"),
            // Their scripts take RHEL's /bin/sh for granted, which is bash.
            ("_buildshell", "/bin/bash"),
            // No links that would make two packages of debugging information conflict.
            ("_build_id_links", "none"),
            // The same bytes every time.
            ("_buildhost", "builder"),
            ("use_source_date_epoch_as_buildtime", "1"),
            ("clamp_mtime_to_source_date_epoch", "1"),
            ("source_date_epoch_from_changelog", "0"),
            ("_binary_payload", &self.payload),
            ("_rpmfilename", "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm"),
        ];
        let mut macros: BTreeMap<String, String> =
            own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let debuginfo: &[(&str, &str)] = match self.debuginfo {
            Debuginfo::Drop => &[("debug_package", "%{nil}")],
            Debuginfo::Keep => DEBUGINFO,
        };
        macros.extend(debuginfo.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        macros.extend(self.macros.iter().map(|(name, value)| (name.clone(), value.clone())));
        macros
    }
}

/// How to go about a build. Nothing here changes what comes out of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BuildOptions {
    /// How many processes compile at once, all components together.
    pub jobs: NonZeroUsize,
    /// Whether the other components go on when one fails.
    pub keep_going: bool,
    /// Capabilities to take as provided by the builder although they cannot be seen there.
    pub provides: Vec<Capability>,
    /// Whether to use ccache where the builder has it.
    pub ccache: bool,
    /// Whether configure's failing probes are remembered, by what each of them read. Needs `ccache`'s
    /// directory, not the program.
    pub probe_cache: bool,
    /// A component that takes longer is killed.
    pub deadline: Option<Duration>,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            jobs: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            keep_going: false,
            provides: Vec::new(),
            ccache: true,
            probe_cache: true,
            deadline: Some(Duration::from_secs(4 * 3600)),
        }
    }
}

/// Where a build reads and writes. All are created when they are missing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Directories {
    /// For the run: one directory per run and component, removed when done. What a killed run left here is
    /// removed by the next one.
    pub work: Utf8PathBuf,
    /// Finished components, by key; shared by all cells.
    pub components: Utf8PathBuf,
    /// The compiler's cache; shared by all cells of one trust domain, for a build can write to it.
    pub ccache: Utf8PathBuf,
    /// One log per component.
    pub logs: Utf8PathBuf,
}
