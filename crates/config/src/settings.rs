//! The settings as the rest of drivetrain reads them. Every value here has been checked.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use camino::Utf8PathBuf;
use drivetrain_model::{
    Architecture, Cell, ComponentName, DriverVersion, KernelPolicy, KernelRelease, RepositoryId,
    Sha256Digest, Snapshot, TrainName, VersionRange,
};
use serde::Serialize;
use url::Url;

use crate::{ChannelName, Kayobe, Layout, Location, LockstepPath, Secret, Template};

/// The whole configuration: what to build for, what to build, where, and where to put the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// The release train.
    pub train: Train,
    /// The driver stack.
    pub driver: Driver,
    /// Where the build's commands run.
    pub builder: Builder,
    /// What is proven beyond symbols.
    pub prove: Prove,
    /// Where the driver repository goes.
    pub publish: Publish,
    /// What the machines that install from it see.
    pub consumers: Consumers,
}

impl Config {
    /// The cell that this configuration means, once the kernel policy has chosen a kernel.
    #[must_use]
    pub fn cell(&self, kernel: KernelRelease) -> Cell {
        Cell {
            train: self.train.name.clone(),
            arch: self.train.arch.clone(),
            kernel,
            driver: self.driver.version.clone(),
        }
    }

    /// All repositories by their id: the train's, and the driver's under [`Driver::repository_id`].
    pub fn repositories(&self) -> impl Iterator<Item = (RepositoryId, &Repository)> {
        let train = self.train.repositories.iter().map(|(id, repository)| (id.clone(), repository));
        train.chain(std::iter::once((self.driver.repository_id.clone(), &self.driver.repository)))
    }
}

/// What is proven beyond symbols before anything is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prove {
    /// Whether the kernel is booted with what was built. Default: it is not.
    pub boot: BootTest,
    /// Where. Default: on the host that drivetrain runs on.
    pub on: BootOn,
    /// The memory of the booted machine, in MiB. Default: 2048.
    pub memory: u32,
    /// How long it may take. Default: five minutes.
    #[serde(serialize_with = "seconds")]
    pub timeout: Duration,
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_secs())
}

impl Default for Prove {
    fn default() -> Self {
        Self { boot: BootTest::Off, on: BootOn::Host, memory: 2048, timeout: Duration::from_secs(300) }
    }
}

/// Whether the target kernel is booted with what is about to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootTest {
    /// It is not.
    Off,
    /// It is; what fails is told, and published all the same.
    Warn,
    /// It is; what fails is not published.
    Require,
}

/// Where the target kernel is booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootOn {
    /// On the host that drivetrain runs on.
    Host,
    /// On the machine that the driver is built on.
    Machine,
}

/// The release train: pinned repositories of one distribution release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Train {
    /// Its name, chosen by the site; part of the address that is published to.
    pub name: TrainName,
    /// The architecture of the machines that will load the modules.
    pub arch: Architecture,
    /// Which of the train's kernels to build for. Default: the newest.
    pub kernel: KernelPolicy,
    /// The repositories that make up the train, by id. At least one.
    pub repositories: BTreeMap<RepositoryId, Repository>,
    /// Module streams that are enabled beside the default ones, as `name:stream`. What other streams have is as if
    /// it were not there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub module_streams: BTreeMap<String, String>,
    /// Where it came from, where that is a site's Kayobe configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kayobe: Option<Box<crate::TrainOrigin>>,
}

/// One YUM repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repository {
    /// The URL of the directory that holds `repodata/`, with its placeholders filled in. Ends in `/`; holds
    /// no user, password, query or fragment. `http`, `https` or `file`.
    pub url: Url,
    /// The snapshot that the URL names, where it names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// What to log in with, where the server asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// The public keys that its packages are signed with. Not empty where [`Verify::Signatures`] is asked
    /// for; the train's `keys` where the repository names none of its own.
    pub keys: Vec<Location>,
    /// What a package of this repository has to prove.
    pub verify: Verify,
    /// As DNF means it: of the repositories that have a package, only those with the lowest number count.
    /// Default 99.
    pub priority: u32,
    /// Name patterns (`*`, `?`) of packages that are treated as if the repository did not have them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// User and password of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Credentials {
    /// The user.
    pub username: Secret,
    /// The password; always from the environment.
    pub password: Secret,
}

/// What a package has to prove before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// `signatures`: that its signature was made by one of the repository's keys, and its checksum is the
    /// metadata's. The default.
    Signatures,
    /// `checksums-only`: that its checksum is the metadata's. Whoever can change the repository can then
    /// change what is built.
    ChecksumsOnly,
}

/// The driver stack's name, chosen by the site: `doca-ofed`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct DriverName(pub(crate) String);

impl DriverName {
    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DriverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The driver stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Driver {
    /// Its name.
    pub name: DriverName,
    /// Its version, exactly as written.
    pub version: DriverVersion,
    /// The id of its repository: the same text as [`Driver::name`], and no id of the train's.
    pub repository_id: RepositoryId,
    /// The vendor's repository.
    pub repository: Repository,
    /// The package that holds the source archive. Default `doca-ofed-source`.
    pub source: String,
    /// Which components of the archive to build. Default: all.
    pub components: Components,
    /// Which component is built against which others, beside what the source RPMs say themselves. Free of
    /// cycles.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub needs: BTreeMap<ComponentName, Vec<ComponentName>>,
    /// Source RPMs beside those of the archive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<ExtraSource>,
    /// RPM macros to define for every component, by name without the `%`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub macros: BTreeMap<String, String>,
    /// Build conditions to switch on (`rpmbuild --with`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
    /// Build conditions to switch off (`rpmbuild --without`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// Patches of the site's own, on top of the components' source RPMs, in the order that they are applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<DriverPatch>,
    /// The vendor's userspace packages to publish beside the modules; absent for modules alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userspace: Option<Userspace>,
    /// The vendor's build tool, where that builds; absent where each source RPM is built by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_tool: Option<VendorTool>,
    /// Whether modules that were built for another kernel may be taken. Default: never.
    #[serde(skip_serializing_if = "Reuse::is_never")]
    pub reuse: Reuse,
    /// The certificates that modules are signed for; none where they stay as they are built.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub module_signing: Vec<ModuleSigner>,
}

/// A certificate that modules are signed for, and who signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModuleSigner {
    /// The file with the certificate.
    pub certificate: Utf8PathBuf,
    /// The hash: `sha256` or `sha512`. Default `sha256`.
    pub hash: ModuleHash,
    /// Who has the key.
    #[serde(flatten)]
    pub by: SignBy,
}

/// The hash of modules' signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModuleHash {
    /// In every kernel.
    #[default]
    Sha256,
    /// A module itself in some kernels.
    Sha512,
}

/// Who has the key that modules are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignBy {
    /// A file on this host.
    Key {
        /// The file.
        file: Utf8PathBuf,
        /// What opens it.
        passphrase: Option<Secret>,
    },
    /// A token.
    Pkcs11 {
        /// The library that knows the token.
        module: Utf8PathBuf,
        /// The token's label.
        token: String,
        /// The key's label.
        label: String,
        /// What opens the token.
        pin: Secret,
    },
    /// A command, by its words.
    Command(Vec<String>),
    /// Another host, by files that are carried there and back.
    Exchange,
}

/// Whether modules that were built for another kernel may be taken in place of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reuse {
    /// No: everything is built for its kernel.
    #[default]
    Never,
    /// Where every symbol that they need, and the layout of a module, are the same on both kernels.
    WhenIdentical,
}

impl Reuse {
    fn is_never(&self) -> bool {
        *self == Self::Never
    }
}

/// A patch of the site's own for a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriverPatch {
    /// The component.
    pub component: ComponentName,
    /// The file, as `patch -p1` takes it. Absolute.
    pub path: Utf8PathBuf,
    /// The versions of the source RPM that it is for; for another one the plan is refused. Absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<VersionRange>,
    /// What has to hold of the kernel's headers; a kernel for which it does not is built for without the patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderCondition>,
}

/// A question to the kernel's headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeaderCondition {
    /// The header as sources include it: `linux/dpll.h`.
    pub file: String,
    /// What has to hold of it.
    pub is: HeaderTest,
}

/// What has to hold of a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeaderTest {
    /// It is there.
    There,
    /// It is not there.
    Missing,
    /// It is there, and has this text.
    Contains(String),
    /// It is not there, or does not have this text.
    Lacks(String),
}

/// The vendor's tool that builds all components.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VendorTool {
    /// The package that has it. Default: doca-extra.
    pub package: String,
    /// Arguments for it, beside those that say what is built.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
}

/// The vendor's userspace packages: those that are asked for, with what they need and the train lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Userspace {
    /// What is wanted: package names, or capabilities such as `libibverbs >= 2510`. At least one.
    pub packages: Vec<String>,
    /// Whether what they recommend comes as well. Default: no.
    pub weak_dependencies: bool,
}

/// Which components of the source archive to build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Components {
    /// Only these; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include: Option<Vec<ComponentName>>,
    /// Not these.
    pub exclude: Vec<ComponentName>,
}

impl Components {
    /// Why a component of the archive is left out; `None` where it is built.
    #[must_use]
    pub fn reason_to_skip(&self, name: &ComponentName) -> Option<&'static str> {
        if self.exclude.contains(name) {
            Some("excluded by driver.components.exclude")
        } else if self.include.as_ref().is_some_and(|include| !include.contains(name)) {
            Some("not among driver.components.include")
        } else {
            None
        }
    }
}

/// A source RPM, or a directory of them, that is not from the vendor's archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExtraSource {
    /// A file, or a directory whose `*.src.rpm` are meant. Absolute.
    Path(Utf8PathBuf),
    /// A file on a server. It is named with its checksum, since no metadata vouches for it.
    Url {
        /// Where it is.
        url: Url,
        /// What it must be.
        sha256: Sha256Digest,
    },
}

/// Where the build's commands run, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Builder {
    /// Where.
    #[serde(flatten)]
    pub kind: BuilderKind,
    /// Whose system builds see. Default: the builder's own.
    #[serde(skip_serializing_if = "BuildRoot::is_host")]
    pub root: BuildRoot,
    /// How many jobs at once.
    pub jobs: Jobs,
    /// Names that are taken as present on the builder although no RPM provides them there, such as `gcc` on a
    /// host that is not RPM-based.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<String>,
    /// What becomes of debuginfo packages. Default: drop.
    pub debuginfo: Debuginfo,
    /// Whether compilations go through ccache. Default: yes.
    pub ccache: bool,
    /// Where builds take place on this host; absent for a directory below the state directory. Absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work: Option<Utf8PathBuf>,
}

/// Whose system builds see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildRoot {
    /// The builder's own.
    Host,
    /// One that is installed from the train's packages and nothing else: its compilers, whatever the builder has.
    Train {
        /// What it has; what these need, and what components require for their builds, comes by itself.
        packages: Vec<String>,
    },
}

impl BuildRoot {
    /// Whether it is the builder's own.
    #[must_use]
    pub fn is_host(&self) -> bool {
        *self == Self::Host
    }
}

/// Where the build's commands run, by kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum BuilderKind {
    /// On this host, in a sandbox without network.
    Sandbox,
    /// On a host that is there, over SSH.
    Ssh {
        /// Which.
        ssh: SshHost,
        /// How it is used.
        machine: MachineSettings,
    },
    /// On a machine that is made with QEMU on this host.
    Qemu {
        /// What it is made of.
        qemu: QemuMachine,
        /// How it is used.
        machine: MachineSettings,
    },
    /// On a server that is made in an OpenStack cloud.
    #[serde(rename = "openstack")]
    OpenStack {
        /// What it is made of.
        openstack: Box<OpenStackServer>,
        /// How it is used.
        machine: MachineSettings,
    },
}

/// A host that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SshHost {
    /// A name of the user's ssh configuration, a host's name, or an address.
    pub host: String,
    /// The user; absent for what the ssh configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The port; absent for what the ssh configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The private key; absent for the agent's and the ssh configuration's. Absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Utf8PathBuf>,
    /// Another ssh configuration than the user's. Absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Utf8PathBuf>,
}

/// A machine under QEMU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QemuMachine {
    /// The disk image that it begins from. Absolute.
    pub image: Utf8PathBuf,
    /// Memory in MiB. Default 4096.
    pub memory: u32,
    /// Processors. Default 2.
    pub cpus: u32,
    /// The size of its disk in GiB; absent for the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<u32>,
    /// The user to log in as. Default root.
    pub user: String,
    /// Firmware for an image that boots by UEFI; absent for the BIOS. Absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<Utf8PathBuf>,
    /// Where machines are while they are there. Default /var/tmp/drivetrain-machines. Absolute.
    pub directory: Utf8PathBuf,
}

/// A server in an OpenStack cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenStackServer {
    /// The cloud of `clouds.yaml`; absent for the `OS_*` variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud: Option<String>,
    /// The image, by name or id.
    pub image: String,
    /// The flavor, by name or id.
    pub flavor: String,
    /// The network, by name or id.
    pub network: String,
    /// The user to log in as. Default root.
    pub user: String,
    /// The size in GiB of the volume that it boots from; absent for a disk of the flavor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<u32>,
    /// The external network that it gets a floating IP of; absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floating_ip: Option<String>,
    /// Security groups by name; empty for the project's default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    /// The availability zone; absent for the scheduler's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// Whether it has a configuration drive. Default: yes.
    pub config_drive: bool,
}

/// How a builder that is another machine is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MachineSettings {
    /// Where everything of drivetrain's is on it. Default /var/lib/drivetrain-builder. Absolute, of letters, digits
    /// and `./_-+`.
    pub directory: Utf8PathBuf,
    /// The program that is put there and run; absent for this one. Absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<Utf8PathBuf>,
    /// How many hours a machine that is made is needed for at most, 1 to 168. Default 6. Then anybody may remove it.
    pub lease: u32,
    /// How many minutes it may take to boot: to its first answer, and to its answer after a reboot. Default 15.
    pub patience: u32,
    /// Beginnings of URLs that the machine reaches under another name than this host does.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub urls: BTreeMap<String, String>,
    /// How it is made ready; absent for a host that is as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prepare: Option<Prepare>,
}

/// How a machine is made ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prepare {
    /// The site's Kayobe configuration, applied before all of the rest; absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kayobe: Option<Box<Kayobe>>,
    /// Whether the root file system is grown to its disk. Default: yes, and no where kayobe is run.
    pub grow: bool,
    /// Whether the train's repositories, at their snapshots, become the only ones that it knows. Default: yes, and no
    /// where kayobe is run.
    pub repositories: bool,
    /// Whether all packages are brought to those of the train. Default: yes, and no where kayobe is run.
    pub sync: bool,
    /// Packages that builds take, by name or by what they provide.
    pub packages: Vec<String>,
    /// Mount points of volumes that programs have to be executed on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exec: Vec<Utf8PathBuf>,
    /// Whether it has to run the kernel that is built for. Default: yes.
    pub boot: bool,
}

/// How many jobs at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Jobs {
    /// As many as the builder has processors.
    Auto,
    /// This many.
    Count(NonZeroU32),
}

/// What becomes of debuginfo packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Debuginfo {
    /// They are not made: much less disk, a shorter build.
    Drop,
    /// They are made and published with the rest.
    Keep,
}

/// Where the driver repository goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Publish {
    /// The kind of target.
    #[serde(flatten)]
    pub target: PublishTarget,
    /// The path of a cell's repository in a channel: below the directory, or the base path of the distribution.
    /// Holds `{channel}` where there are two channels or more, and not where there is none. Default
    /// `{train}/{driver}/{kernel}/{arch}`, with channels `{channel}` before it.
    pub layout: Layout,
    /// How many versions of each repository stay, the served one included. At least 2, so that there is one to go
    /// back to. Default 5.
    pub keep: u32,
    /// The channels, in the order in which a version goes through them; a run publishes to the first. Empty: there is
    /// one, without a name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelName>,
    /// The key that packages are signed with, and the metadata of a directory; absent where they are not signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign: Option<PublishSign>,
    /// The repository that holds kernels and drivers together, one for all kernels; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockstep: Option<Lockstep>,
}

/// The repository that holds kernels and drivers together: its address stays while kernels come and go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lockstep {
    /// The name of the package that nodes install; absent for that of the driver stack with `-lockstep` after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its path in a channel, without `{kernel}`. Default `{train}/{driver}/{arch}`, with channels `{channel}` before it.
    pub path: LockstepPath,
    /// How many kernels it has, the newest first. More than nodes keep, or one that is still there could not be installed
    /// anew. Default 5.
    pub keep: u32,
}

impl Lockstep {
    /// The name of the package that nodes install.
    #[must_use]
    pub fn package(&self, driver: &DriverName) -> String {
        self.name.clone().unwrap_or_else(|| format!("{driver}-lockstep"))
    }
}

/// The key that packages are signed with, and the metadata of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishSign {
    /// The file with the armored OpenPGP secret key. Absolute.
    pub key: Utf8PathBuf,
    /// What opens it; absent where it is not locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
}

/// What the driver repository is published to, by kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublishTarget {
    /// A directory on this host, which a web server may serve.
    Directory(PublishDirectory),
    /// A Pulp server.
    Pulp(Box<PublishPulp>),
}

/// A directory that driver repositories are published below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishDirectory {
    /// The directory. Absolute.
    pub path: Utf8PathBuf,
    /// The URL under which consumers see it, ending in `/`; absent where they read it as files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<Url>,
}

/// A Pulp server that driver repositories are published to. It has an address, a profile that has one, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishPulp {
    /// The server: scheme (`http` or `https`), host, port, perhaps a path before [`PublishPulp::api_root`]. Ends in
    /// `/`; holds no user, password, query or fragment. Absent where the profile says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// A profile of pulp-cli: `[cli-NAME]` of its settings file, or `[cli]` for `default`. Absent where none is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// pulp-cli's settings file; absent for `~/.config/pulp/cli.toml`. Absolute; only together with a profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile_file: Option<Utf8PathBuf>,
    /// What to log in with; absent where the profile says it, or the server does not ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<PulpCredentials>,
    /// Certificate authorities (PEM) that the server may be certified by, beside those that the host knows. Absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<Utf8PathBuf>,
    /// Pulp's `API_ROOT`, with `/` at both ends. Default `/pulp/`.
    pub api_root: String,
    /// The domain; absent for servers without domains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The name of a cell's repository in Pulp, which its channels share. Holds `{kernel}`, and no `{channel}`.
    /// Default `{name}-{train}-{driver}-{kernel}-{arch}`.
    pub repository: Template,
    /// The name of a cell's distribution in a channel. Holds `{kernel}`, and `{channel}` as [`Publish::layout`] does.
    /// Default `{name}-{train}-{driver}-{kernel}-{arch}`, with channels
    /// `{name}-{channel}-{train}-{driver}-{kernel}-{arch}`.
    pub distribution: Template,
    /// Labels beside drivetrain's own. A repository belongs to all channels, and so goes without those that hold
    /// `{channel}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Template>,
    /// The name of a content guard that distributions get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_guard: Option<String>,
    /// The name of the signing service of the server that signs the metadata of repositories. Absent where none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_service: Option<String>,
    /// How many connections at once, 1 to 32. Default 6.
    pub connections: u32,
    /// Files larger than this many MiB are sent in chunks of that size, 1 to 1024, unless the first of them shows that
    /// the line takes them whole in good time. Default 32.
    pub chunk_mib: u32,
    /// Whether a repository or distribution of these names that drivetrain did not make may be taken over. Default:
    /// no.
    pub adopt: bool,
}

/// What to log in to Pulp with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PulpCredentials {
    /// User and password as other servers get them, the password from the environment.
    Given(Credentials),
    /// The password stands in a file of its own.
    File {
        /// The user.
        username: String,
        /// The file with the password. Absolute.
        password_file: Utf8PathBuf,
    },
}

/// What the machines that install from the driver repository see, beside the train.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Consumers {
    /// The priority of the driver repository there, as DNF means it. Default 50, or less where another repository has
    /// as little.
    pub priority: u32,
    /// Whether they see the vendor's repository.
    pub vendor: VendorVisibility,
    /// Name patterns of packages of the vendor's repository that they are not to see, and that are not published
    /// either. Default `*-dkms`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// Whether machines see the vendor's repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VendorVisibility {
    /// They do not: all that they get of the vendor's is what is published. The default.
    Hidden,
    /// They do: for what is not published.
    Exposed,
}
